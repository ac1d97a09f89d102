"""Metrics of predicted spend, as pure functions of arrays that a bootstrap can evaluate many times at little cost.

`metric(y [n], prediction [n], weights=None)` is one number; `weights [n]` are the times each row was drawn, and
`weights [B, n]` give B numbers at once: the same, to rounding, as evaluating `np.repeat(rows, weights)` B times. All
that does not depend on the weights, sorting above all, happens once in `prepare`. Tied rows share, so that no metric
depends on the order of the rows. A ratio with denominator 0 is NaN: without spend there is nothing to rank.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray
Replicates = Callable[[Array], Array]  # weights [B, n] -> values [B]


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

    def __call__(self, y: Any, prediction: Any, weights: Any = None) -> Any:
        """A float for weights None or [n], an array [B] for [B, n]. `prediction` is [n], or [n, 2] for two columns."""
        y, prediction = np.asarray(y, dtype=float), np.asarray(prediction, dtype=float)
        drawn = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
        if not len(y) == len(prediction) == drawn.shape[-1]:
            sizes = f"{len(y)} labels, {len(prediction)} predictions, {drawn.shape[-1]} weights"
            raise ValueError(f"{self.name}: {sizes}; there must be as many of each")
        values = self.prepare(y, prediction)(np.atleast_2d(drawn))
        return values if drawn.ndim == 2 else float(values[0])


@dataclass(frozen=True)
class Ranking:
    """The rows in ascending order of a score, tied rows as one group: what weighted mid-ranks need, sorted once."""

    order: Array  # [n] row numbers, ascending in the score
    ends: Array  # [G] position in `order` of the last row of each tied group
    group: Array  # [n] the group of each row

    @classmethod
    def of(cls, score: Array) -> "Ranking":
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        group = np.empty(len(score), dtype=np.int64)
        group[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
        return cls(order, ends, group)

    def cumulative(self, values: Array) -> Array:
        """Sum of all rows up to and including each tied group: [B, n] -> [B, G]."""
        running = np.cumsum(values.take(self.order, axis=1), axis=1)
        return running if len(self.ends) == values.shape[1] else running.take(self.ends, axis=1)

    def centred(self, weights: Array) -> Array:
        """Weighted mid-ranks less their mean: [B, n] -> [B, n]. Exactly 0 where all that was drawn is tied."""
        upper = self.cumulative(weights)
        middle = upper - upper[:, -1:] / 2
        middle[:, 0] -= upper[:, 0] / 2
        middle[:, 1:] -= np.diff(upper, axis=1) / 2
        return middle.take(self.group, axis=1)


def _spearman(y: Array, score: Array) -> Replicates:
    """Pearson's correlation of mid-ranks. A score that is all ties has no rank information and earns 0, like chance."""
    by_y, by_score = Ranking.of(y), Ranking.of(score)

    def at(weights: Array) -> Array:
        a, b = by_y.centred(weights), by_score.centred(weights)
        weighted = weights * b
        spread_y, spread_score = np.einsum("bn,bn,bn->b", weights, a, a), np.einsum("bn,bn->b", weighted, b)
        correlation = _ratio(np.einsum("bn,bn->b", weighted, a), np.sqrt(spread_y * spread_score))
        return np.where((spread_score == 0) & (spread_y > 0), 0.0, correlation)

    return at


def _gini(y: Array, score: Array) -> Replicates:
    """Normalised Gini: area between gains curve and diagonal, over that of the perfect ranking. Wang et al. 2019.

    Google's lifetime_value sums the curve by rectangles, row by row. Here tied scores share by a straight line, which
    makes a constant score 0, does not depend on the row order, and differs by O(1/n) where nothing is tied.
    """
    by_y, by_score = Ranking.of(y), Ranking.of(score)

    def at(weights: Array) -> Array:
        revenue = weights * y
        area, perfect = (np.einsum("bn,bn->b", revenue, ranking.centred(weights)) for ranking in (by_score, by_y))
        return _ratio(area, perfect)

    return at


def _capture(share: float) -> Callable[[Array, Array], Replicates]:
    """Share of all revenue held by the `share` of customers with the highest scores; ties at the border are shared."""

    def prepare(y: Array, score: Array) -> Replicates:
        ranking = Ranking.of(-score)

        def at(weights: Array) -> Array:
            count, revenue = ranking.cumulative(weights), ranking.cumulative(weights * y)
            wanted = share * count[:, -1]
            border = np.argmax(count >= wanted[:, None], axis=1)  # the tied group in which the wanted number is reached
            return _ratio(_interpolated(count, revenue, border, wanted), revenue[:, -1])

        return at

    return prepare


def _interpolated(count: Array, revenue: Array, border: Array, wanted: Array) -> Array:
    replicate = np.arange(len(border))
    upper, gained = count[replicate, border], revenue[replicate, border]
    first = border == 0
    lower = np.where(first, 0.0, count[replicate, border - 1])
    before = np.where(first, 0.0, revenue[replicate, border - 1])
    return before + (gained - before) * _ratio(wanted - lower, upper - lower)


def _mean_of(numerator: Array, denominator: Array) -> Replicates:
    """sum(w numerator) / sum(w denominator) over [n] columns."""
    return lambda weights: _ratio(weights @ numerator, weights @ denominator)


def _mae(y: Array, prediction: Array) -> Replicates:
    return _mean_of(np.abs(y - prediction), np.ones_like(y))


def _nmae(y: Array, prediction: Array) -> Replicates:
    """MAE over the mean label. RelBench's `nmae` divides by the standard deviation of the training labels instead."""
    return _mean_of(np.abs(y - prediction), y)


def _rmse(y: Array, prediction: Array) -> Replicates:
    squared = _mean_of((y - prediction) ** 2, np.ones_like(y))
    return lambda weights: np.sqrt(squared(weights))


def _bias(y: Array, prediction: Array) -> Replicates:
    """sum(prediction) / sum(y) - 1: +0.1 promises a tenth more revenue than came."""
    total = _mean_of(prediction, y)
    return lambda weights: total(weights) - 1


def _coverage(y: Array, bounds: Array) -> Replicates:
    """Share of labels in [lower, upper], both ends included: bounds [n, 2]. NaN where any bound is NaN."""
    return _mean_of(_inside(y, bounds), np.ones_like(y))


def _coverage_payers(y: Array, bounds: Array) -> Replicates:
    """Coverage among those with spend: an interval that covers the zeros well may still miss the payers."""
    paid = (y > 0).astype(float)
    return _mean_of(_inside(y, bounds) * paid, paid)


def _roc_auc(y: Array, score: Array) -> Replicates:
    """Probability that a row of label 1 scores above one of label 0, ties counting half. Hanley & McNeil 1982."""
    ranking = Ranking.of(score)

    def at(weights: Array) -> Array:
        positive = weights * y
        number = positive.sum(axis=1)
        above = np.einsum("bn,bn->b", positive, ranking.centred(weights))
        return _ratio(above, number * (weights.sum(axis=1) - number)) + 0.5

    return at


def _average_precision(y: Array, score: Array) -> Replicates:
    """Area under the precision-recall curve by steps, tied rows as one step: what scikit-learn calls so."""
    ranking = Ranking.of(-score)

    def at(weights: Array) -> Array:
        count, found = ranking.cumulative(weights), ranking.cumulative(weights * y)
        precision = np.divide(found, count, out=np.zeros_like(found), where=count > 0)
        gained = np.diff(found, axis=1, prepend=0)
        return _ratio(np.einsum("bg,bg->b", gained, precision), found[:, -1])

    return at


def _brier(y: Array, probability: Array) -> Replicates:
    """Mean squared error of a probability. Brier 1950."""
    return _mean_of((y - probability) ** 2, np.ones_like(y))


def _inside(y: Array, bounds: Array) -> Array:
    inside = ((y >= bounds[:, 0]) & (y <= bounds[:, 1])).astype(float)
    return np.where(np.isnan(bounds).any(axis=1), np.nan, inside)


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator != 0)


# Each decoded value has its metrics: the rank for targeting, the median for absolute errors, the mean for money totals.
spearman = Metric("spearman", ("rank_score",), 1.0, "Spearman rank correlation", _spearman)
gini = Metric("gini", ("rank_score",), 1.0, "normalised Gini", _gini)
capture10 = Metric("capture10", ("rank_score",), 1.0, "share of revenue in the top 10 %", _capture(0.1))
nmae = Metric("nmae", ("ltv_median",), 0.0, "MAE / mean spend", _nmae)
mae = Metric("mae", ("ltv_median",), 0.0, "MAE (currency of the orders)", _mae)
rmse = Metric("rmse", ("ltv_mean",), 0.0, "RMSE (currency of the orders)", _rmse)
bias = Metric("bias", ("ltv_mean",), 0.0, "predicted / actual revenue − 1", _bias)
coverage80 = Metric("coverage80", ("q10", "q90"), 0.8, "80 % interval: share covered", _coverage)
coverage80_payers = Metric("coverage80_payers", ("q10", "q90"), 0.8, "80 % interval: payers covered", _coverage_payers)
_ALL = (spearman, gini, capture10, nmae, mae, rmse, bias, coverage80, coverage80_payers)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})

roc_auc = Metric("roc_auc", ("rank_score",), 1.0, "ROC AUC", _roc_auc)
average_precision = Metric("average_precision", ("rank_score",), 1.0, "average precision", _average_precision)
brier = Metric("brier", ("ltv_mean",), 0.0, "Brier score", _brier)
FLAG_METRICS: Mapping[str, Metric] = MappingProxyType(
    {**METRICS, **{metric.name: metric for metric in (roc_auc, average_precision, brier)}}
)


def metrics_for(*, flag: bool) -> Mapping[str, Metric]:
    """What a target is scored by; of a `flag`, whose labels are 0 or 1, three more metrics."""
    return FLAG_METRICS if flag else METRICS


def spearman_ceiling(y: Any) -> float:
    """The highest Spearman an untied score can reach: sqrt(1 - z^3), z the share of zeros; other ties taken as rare."""
    return float(np.sqrt(1 - np.mean(np.asarray(y) == 0) ** 3))


@dataclass(frozen=True)
class Gains:
    """Share of revenue gained against share of customers targeted, best score first: both [G + 1], from 0 to 1."""

    customers: Array
    revenue: Array


def gains(y: Any, score: Any) -> Gains:
    """The gains curve, straight through tied scores. Revenue is NaN when nobody spent."""
    spend = np.asarray(y, dtype=float)[None]
    ranking = Ranking.of(-np.asarray(score, dtype=float))
    count, revenue = ranking.cumulative(np.ones_like(spend))[0], ranking.cumulative(spend)[0]
    return Gains(np.append(0, count / count[-1]), np.append(0, _ratio(revenue, np.full_like(revenue, revenue[-1]))))


def decile_table(y: Any, predictions: pd.DataFrame) -> pd.DataFrame:
    """Ten rows, decile 1 the highest `rank_score`; predicted is `ltv_mean`; money in the currency of the orders.

    `predictions` holds one row a label, in the same order. Tied rows go together into the decile of their mid-rank, so
    that deciles are uneven where scores are tied, and a decile without rows has n = 0 and NaN.
    """
    spend, predicted = np.asarray(y, dtype=float), predictions["ltv_mean"].to_numpy(dtype=float)
    decile = _decile(predictions["rank_score"].to_numpy(dtype=float))
    frame = pd.DataFrame({"decile": decile, "predicted": predicted, "actual": spend, "spent": spend > 0})
    grouped = frame.groupby("decile")
    table = grouped.agg(
        n=("actual", "size"),
        predicted_mean=("predicted", "mean"),
        actual_mean=("actual", "mean"),
        actual_median=("actual", "median"),
        share_with_spend=("spent", "mean"),
    ).reindex(range(1, 11))
    table.insert(4, "share_of_revenue", grouped["actual"].sum() / (spend.sum() or np.nan))
    table["bias"] = table["predicted_mean"] / table["actual_mean"].replace(0, np.nan) - 1
    table["n"] = table["n"].fillna(0).astype(int)
    return table.rename_axis("decile").reset_index()


def _decile(score: Array) -> Array:
    """1 for the highest tenth to 10 for the lowest: [n] -> int [n]."""
    n = len(score)
    twice = 2 * Ranking.of(-score).centred(np.ones((1, n)))[0] + n  # whole numbers in (0, 2n), so the division is exact
    return (10 * twice // (2 * n)).astype(int) + 1
