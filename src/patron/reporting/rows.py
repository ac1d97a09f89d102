"""What reports read of the long results of `patron.evaluation.evaluate`: rows, names and how a number is printed."""

import math
from collections.abc import Callable

import pandas as pd

from patron.evaluation.answers import ALL, MEAN
from patron.evaluation.evaluate import ATTAINED, GAIN
from patron.evaluation.metrics import FLAG_METRICS

ORACLES = ("oracle_past", "oracle")  # they know the truth of a made-up world, so none of them is ever the best
PRINTED = {
    "zero": "zero", "rfm": "RFM", "btyd": "BTYD", "lightgbm": "LightGBM", "gnn": "GNN",
    "lightgbm_rfm": "LightGBM on RFM", "lightgbm_flat": "LightGBM, flat table",
    "lightgbm_twohop": "LightGBM + two hops",
    "gnn_co_shoppers": "GNN, co-shoppers alone", "mlp": "MLP, no graph", "gnn_shuffled": "GNN, edges shuffled",
    "gnn_no_co_shoppers": "GNN, no co-shoppers", "gnn_purchases_only": "GNN, purchases only",
    "boosted_gnn": "boosted GNN", "stack": "stack", "boosted_mlp": "boosted MLP, no graph",
    "boosted_gnn_shuffled": "boosted GNN, edges shuffled", "last_window": "last window",
    "oracle": "oracle", "oracle_past": "oracle that knows the past",
}  # fmt: skip


def printed(estimator: str) -> str:
    """An estimator's name in running text."""
    return PRINTED.get(estimator, estimator)


def tests_of(results: pd.DataFrame) -> list[str]:
    """The folds that are tests of their own, in order of time: those of a temporal split with several. Held-out parts
    of the customers are one test together, whatever their number."""
    folds = sorted(set(results["fold"]) - {MEAN})
    return folds if len(folds) > 1 and set(results["split"]) == {"temporal"} else []


def headline(results: pd.DataFrame, *, fold: str | None = None) -> pd.DataFrame:
    """The rows over all seeds and customers, of one fold or `mean`; without a name, of the last test, or of the mean
    where there is only one. Raises ValueError unless they are of one data, task and split."""
    fold = fold or [MEAN, *tests_of(results)][-1]
    rows = results[(results["fold"] == fold) & (results["seed"] == MEAN) & (results["slice"] == ALL)]
    experiments = rows[["data", "task", "split"]].drop_duplicates()
    if len(experiments) != 1:
        raise ValueError(f"a table is of one data, task and split; these results hold {experiments.to_dict('records')}")
    return rows


def has(rows: pd.DataFrame, estimator: str, metric: str) -> bool:
    """Whether the rows have this metric of this estimator."""
    return bool(((rows["estimator"] == estimator) & (rows["metric"] == metric)).any())


def value_of(rows: pd.DataFrame, estimator: str, metric: str) -> tuple[float, float, float]:
    """Value, lo and hi of the first row of this metric of this estimator."""
    row = rows[(rows["estimator"] == estimator) & (rows["metric"] == metric)].iloc[0]
    return float(row["value"]), float(row["lo"]), float(row["hi"])


def seeds_said(rows: pd.DataFrame, estimator: str) -> str:
    """The interval is over customers only, so the spread over seeds is said beside it."""
    spread = rows[(rows["estimator"] == estimator) & (rows["metric"] == "spearman_seed_sd")]["value"]
    return " (one seed)" if spread.empty else f" (SD over seeds {plain(spread.iloc[0])})"


def formatter(metric: str) -> Callable[[float], str]:
    """How a value of the metric is printed: money in four digits, shares in per cent, differences with a sign."""
    if metric in ("mae", "rmse"):
        return money
    if metric == "bias":
        return lambda value: f"{signed(100 * value, digits=1)} %"
    if metric in ("capture10", "decile_mape", ATTAINED, GAIN) or metric.startswith("coverage"):
        return lambda value: f"{100 * value:.1f} %".replace("-", "−")
    return plain if metric in FLAG_METRICS else signed


def plain(value: float) -> str:
    """Three decimals."""
    return f"{value:.3f}".replace("-", "−")


def signed(value: float, *, digits: int = 3) -> str:
    """Decimals, and the sign before them."""
    return f"{value:+.{digits}f}".replace("-", "−")


def money(value: float) -> str:
    """Four significant digits, and never fewer than the whole units."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, 3 - magnitude)}f}"


def bracketed(value: float, lo: float, hi: float, *, show: Callable[[float], str] | None = None) -> str:
    """A value and its interval, signed unless `show` says otherwise; the value alone where there is no interval."""
    show = show or signed
    return f"{show(value)} {between(lo, hi, show)}".strip()


def between(lo: float, hi: float, show: Callable[[float], str]) -> str:
    """An interval; "" where there is none."""
    return "" if math.isnan(lo) else f"[{show(lo)}, {show(hi)}]"
