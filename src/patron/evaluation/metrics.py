"""The catalogue of metrics of predicted spend: what each reads, where it cannot get better, and what it is called.

`metric(y [n], prediction [n], weights=None)` is one number; `weights [n]` are the times each row was drawn, and
`weights [B, n]` give B numbers at once. How each is computed stands in `ranking`, `kendall`, `errors` and `intervals`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from patron.evaluation import errors, intervals, ranking
from patron.evaluation.kendall import kendall as _kendall
from patron.evaluation.weighted import Array, Replicates, mean_of

SCALE = "label_scale"  # column of the truth: standard deviation of the labels that the fold was trained on
# Columns that may be NaN throughout; their metrics are then NaN.
OPTIONAL = (*(name for name in intervals.LEVELS if name != "ltv_median"), "p_active", SCALE)


@dataclass(frozen=True)
class Metric:
    """A metric, the columns of the predictions frame that it reads, and the value at which it cannot get better."""

    name: str
    columns: tuple[str, ...]
    ideal: float
    label: str
    prepare: Callable[[Array, Array], Replicates]

    @property
    def higher_is_better(self) -> bool:
        """True when more is always better; False for errors, and for bias and coverage, which have a target."""
        return self.ideal == 1.0

    def shortfall(self, value: Any) -> Any:
        """How far `value` is from the ideal; the smallest is the best, whichever way the metric points."""
        return abs(value - self.ideal)

    def replicates(self, y: Array, prediction: Array) -> Replicates:
        """The function of weights [B, n]; all NaN where the prediction [n] or [n, k] holds any."""
        if np.isnan(prediction).any():
            return lambda weights: np.full(len(weights), np.nan)
        return self.prepare(y, prediction)

    def __call__(self, y: Any, prediction: Any, weights: Any = None) -> Any:
        """A float for weights None or [n], an array [B] for [B, n]. `prediction` is [n], or [n, k] for k columns."""
        y, prediction = np.asarray(y, dtype=float), np.asarray(prediction, dtype=float)
        drawn = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
        if not len(y) == len(prediction) == drawn.shape[-1]:
            sizes = f"{len(y)} labels, {len(prediction)} predictions, {drawn.shape[-1]} weights"
            raise ValueError(f"{self.name}: {sizes}; there must be as many of each")
        values = self.replicates(y, prediction)(np.atleast_2d(drawn))
        return values if drawn.ndim == 2 else float(values[0])


# Each decoded value has its metrics: the rank for targeting, the median for absolute errors, the mean for money totals.
spearman = Metric("spearman", ("rank_score",), 1.0, "Spearman rank correlation", ranking.spearman)
kendall = Metric("kendall", ("rank_score",), 1.0, "Kendall's tau-b", _kendall)
gini = Metric("gini", ("rank_score",), 1.0, "normalised Gini", ranking.gini)
capture10 = Metric("capture10", ("rank_score",), 1.0, "share of revenue in the top 10 %", ranking.capture(0.1))
nmae = Metric("nmae", ("ltv_median",), 0.0, "MAE / mean spend", errors.nmae)
nmae_std = Metric("nmae_std", ("ltv_median", SCALE), 0.0, "MAE / SD of training labels (RelBench)", errors.nmae_std)
mae = Metric("mae", ("ltv_median",), 0.0, "MAE (currency of the orders)", errors.mae)
rmsle = Metric("rmsle", ("ltv_median",), 0.0, "RMSLE", errors.rmsle)
rmse = Metric("rmse", ("ltv_mean",), 0.0, "RMSE (currency of the orders)", errors.rmse)
r2 = Metric("r2", ("ltv_mean",), 1.0, "R²", errors.r2)
tweedie = Metric("tweedie", ("ltv_mean",), 0.0, "Tweedie deviance of the mean, power 1.5", errors.tweedie)
bias = Metric("bias", ("ltv_mean",), 0.0, "predicted / actual revenue − 1", errors.bias)
decile_mape = Metric("decile_mape", ("ltv_mean",), 0.0, "mean error of a decile's mean", errors.decile_mape)
pr_auc_active = Metric("pr_auc_active", ("p_active",), 1.0, "PR AUC of P(buy)", errors.pr_auc_active)
brier_active = Metric("brier_active", ("p_active",), 0.0, "Brier score of P(buy)", errors.brier_active)
pinball = Metric("pinball", tuple(intervals.LEVELS), 0.0, "pinball loss / mean spend", intervals.pinball)
crps = Metric("crps", tuple(intervals.LEVELS), 0.0, "CRPS / mean spend", intervals.crps)
coverage80 = Metric("coverage80", ("q10", "q90"), 0.8, "80 % interval: share covered", intervals.coverage)
coverage80_payers = Metric(
    "coverage80_payers", ("q10", "q90"), 0.8, "80 % interval: payers covered", intervals.coverage_payers
)
coverage80_randomised = Metric(
    "coverage80_randomised", ("q10", "q90", "p_active"), 0.8, "80 % interval, randomised at 0: share covered",
    intervals.coverage_randomised,
)  # fmt: skip
coverage80_implied = Metric(
    "coverage80_implied", ("q10", "q90", "p_active"), np.nan, "80 % interval: share promised",
    intervals.coverage_implied,
)  # fmt: skip
coverage80_payers_implied = Metric(
    "coverage80_payers_implied", ("q10", "q90", "p_active"), np.nan, "80 % interval: payers promised",
    intervals.coverage_payers_implied,
)  # fmt: skip
coverage90 = Metric("coverage90", ("q05", "q95"), 0.9, "90 % interval: share covered", intervals.coverage)
coverage90_upper = Metric("coverage90_upper", ("q90",), 0.9, "90 % upper bound: share below", intervals.coverage_upper)
width80 = Metric("width80", ("q10", "q90"), 0.0, "width of the 80 % interval / mean spend", intervals.width)
_ALL = (
    spearman, kendall, gini, capture10, nmae, nmae_std, mae, rmsle, rmse, r2, tweedie, bias, decile_mape, pr_auc_active,
    brier_active, pinball, crps, coverage80, coverage80_payers, coverage80_randomised, coverage80_implied,
    coverage80_payers_implied, coverage90, coverage90_upper, width80,
)  # fmt: skip
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})

roc_auc = Metric("roc_auc", ("rank_score",), 1.0, "ROC AUC", ranking.roc_auc)
average_precision = Metric("average_precision", ("rank_score",), 1.0, "average precision", ranking.average_precision)
brier = Metric("brier", ("ltv_mean",), 0.0, "Brier score", errors.brier)
FLAG_METRICS: Mapping[str, Metric] = MappingProxyType(
    {**METRICS, **{metric.name: metric for metric in (roc_auc, average_precision, brier)}}
)

label_mean = Metric("label_mean", ("ltv_mean",), np.nan, "mean spend", lambda y, _: mean_of(y))
prediction_mean = Metric(
    "prediction_mean", ("ltv_mean",), np.nan, "mean predicted spend", lambda _, mean: mean_of(mean)
)
_OF_TENTHS = (label_mean, prediction_mean, coverage80, coverage80_payers, coverage80_randomised, coverage90_upper)
BY_DECILE: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _OF_TENTHS})


def metrics_for(*, flag: bool) -> Mapping[str, Metric]:
    """What a target is scored by; of a `flag`, whose labels are 0 or 1, three more metrics."""
    return FLAG_METRICS if flag else METRICS
