"""Partial rank correlation, by cross-fitting, of what a column says with what the past leaves open of the label.

Label and column are ranked, and of both is taken away what ridge regression and boosted trees that were fitted to other
rows say of them from the past of the same row; what is left of the two should not correlate. This is the generalised
covariance measure (Shah and Peters 2020, Annals of Statistics 48, 1514), a test of conditional independence, as a
correlation.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from patron.evaluation.bootstrap import Interval, cluster_weights, interval
from patron.evaluation.derived import is_ratio
from patron.evaluation.leaks import Check, Finding
from patron.evaluation.metrics import spearman

if TYPE_CHECKING:
    import lightgbm

MIN_ROWS = 50  # below it a correlation as high as the cut may be chance
SURE = 4.0  # standard errors: of a hundred columns that say nothing, one exceeds them in 160 audits
HALF = 0.5
FEWEST, TIMES = 20, 10  # customers who should not have come back, and by how many times fewer they are
MOST_CODES = 50  # distinct numbers that may be a code whose order means nothing
MOST_NAMED = 8
FOLDS, FEW_ROWS, FOLDS_OF_FEW = 3, 500, 8  # few rows teach more where more of them teach
ROUNDS, DRAWS = 40, 200
RIDGE = 1.0
_TREES = {
    "objective": "regression", "learning_rate": 0.1, "num_leaves": 8, "max_bin": 63, "min_data_in_leaf": 10,
    "feature_fraction": 0.6, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "num_threads": 1, "seed": 0,
    "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
_AS_WORDS, _AS_CODE = ", by word", ", by code"
_MEND = (
    "find out when it was written: leave it out if that was after the cutoff, or bring it as a table with the dates on "
    "which it changed; keep it if it was known by then"
)
_MEND_ROWS = "find out whether rows were chosen or changed by what their customers did later; bring all, as they were"


@dataclass(frozen=True)
class Telling:
    """What a column says beyond the past: a correlation with its standard error, and what is left of its ranks, of
    which the past tells the share `told`."""

    column: str
    correlation: float
    error: float
    told: float
    rest: np.ndarray

    @property
    def is_total(self) -> bool:
        """Whether the past tells more than half of it, as it does of what is counted up to some day."""
        return self.told > HALF and not self.column.endswith(_AS_WORDS)

    def exceeds(self, cut: float) -> bool:
        """Whether it is above `cut`, and above `SURE` standard errors of a column that says nothing."""
        return abs(self.correlation) > max(cut, SURE / np.sqrt(len(self.rest)))


def suspicion(
    columns: pd.DataFrame, *, label: np.ndarray, past: pd.DataFrame, where: str, cut: float, untold: float | None = None
) -> Check:
    """Whether a column knows what comes: a row each customer (or product), with the label in the window after the
    cutoff, and what is told by the `past`, which is known to be honest.

    A column is suspicious if its correlation exceeds `cut`, or `untold` where that is given and the column is no
    total, but a price, say, which may well be honest. Those are listed by their gain, the Spearman that the column adds
    to a score of the past, with its interval of 95 % by a bootstrap over the rows. What is missing ranks lowest; words,
    and without `untold` numbers of few values, rank by the mean label of other rows.
    """
    if len(columns) < MIN_ROWS:
        return Check("suspicion", f"{where}: {len(columns)} rows, too few to tell (fewer than {MIN_ROWS})")
    fit = CrossFit(past)
    target = _ranks(label)
    rest = fit.rest(target)
    told = [
        _telling(name, x, rest=rest, fit=fit)
        for name, x in _tried(columns, target, fit.fold, codes=untold is None).items()
    ]
    largest, which = max(((abs(one.correlation), one.column) for one in told), default=(0.0, "none that differ"))
    higher = cut if untold is None else untold
    caught = [one for one in told if one.exceeds(cut if one.is_total or is_ratio(one.column) else higher)]
    found = _found(caught, label=label, score=target - rest, rest=rest, fold=fit.fold, where=where)
    measured = f"{where}: {len(told)} columns, {len(columns)} rows, largest correlation {largest:.2f} ({which})"
    return Check("suspicion", measured, found, largest)


class CrossFit:
    """Ridge regression on the ranks of the past, and boosted trees for what it leaves, for any target; each row is told
    of by those that were fitted to other rows."""

    def __init__(self, past: pd.DataFrame) -> None:
        import lightgbm  # it brings scikit-learn along

        self.values = past.to_numpy(dtype=np.float64)
        self.folds = FOLDS_OF_FEW if len(past) < FEW_ROWS else FOLDS
        self.fold = np.random.default_rng(0).permutation(len(past)) % self.folds
        ranks = past.rank(pct=True).fillna(0.5).to_numpy() - 0.5
        self.line = np.column_stack([np.ones(len(past)), ranks])
        whole = lightgbm.Dataset(self.values, params=_TREES, free_raw_data=False).construct()
        self.parts = [whole.subset(np.flatnonzero(self.fold != k).tolist()).construct() for k in range(self.folds)]

    def rest(self, target: np.ndarray) -> np.ndarray:
        """What is left of the target where the past has told what it can: [n]."""
        left = np.empty(len(target))
        for k, part in enumerate(self.parts):
            here = self.fold == k
            line = self.line @ self._slopes(~here, target)
            trees = self._trees(part, (target - line)[~here])
            left[here] = (target - line)[here] - trees.predict(self.values[here])
        return left

    def _slopes(self, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
        known = self.line[rows]
        return np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ target[rows])

    @staticmethod
    def _trees(part: "lightgbm.Dataset", target: np.ndarray) -> "lightgbm.Booster":
        import lightgbm

        part = part.set_label(target)  # the booster is kept as it is: to be written and read again takes its time
        return lightgbm.train(_TREES, part, num_boost_round=ROUNDS, keep_training_booster=True)


def signs(there: pd.DataFrame, *, came_back: np.ndarray, past: pd.DataFrame, where: str) -> Check:
    """Whether all who have a sign come back: a row each customer, whether a sign is there, and whether the customer has
    ordered again by the end of the data.

    A sign is suspicious if the past expects `FEWEST` with it not to come back, and of these at most one in `TIMES` did
    not: a row that tells of a customer who is still there is followed by an order more often, but not always.
    """
    if len(there) < MIN_ROWS:
        return Check("suspicion", f"{where}: {len(there)} rows, too few to tell (fewer than {MIN_ROWS})")
    back = came_back.astype(float)
    expected = np.clip(back - CrossFit(past).rest(back), 0.0, 1.0)
    found = []
    for name in there:
        mask = there[name].to_numpy(dtype=bool)
        lost, fewer = float((1 - expected[mask]).sum()), int((~came_back[mask]).sum())
        if lost >= FEWEST and fewer * TIMES <= lost:
            what = (
                f"of {int(mask.sum())} customers who have it, {fewer} did not order again by the end of the data, "
                f"where the past expects {lost:.0f}"
            )
            found.append(Finding("suspicion", f"{where}, {name}", what, _MEND_ROWS, certain=False))
    return Check("suspicion", f"{where}: {there.shape[1]} signs that a customer comes back", tuple(found))


def _tried(columns: pd.DataFrame, target: np.ndarray, fold: np.ndarray, *, codes: bool) -> dict[str, np.ndarray]:
    # The ranks of each column, once: a place in a table that is in order of time says what the time says.
    ranked: dict[str, np.ndarray] = {}
    for name, column in ((str(name), columns[name]) for name in columns):
        if not pd.api.types.is_numeric_dtype(column):
            ranked[f"{name}{_AS_WORDS}"] = _encoded(column.to_numpy(dtype=object), target, fold)
            continue
        ranked[name] = _ranks(column.to_numpy(dtype=float))
        if codes and _may_be_code(name) and 2 < column.nunique() <= MOST_CODES:
            ranked[f"{name}{_AS_CODE}"] = _encoded(column.to_numpy(dtype=float), target, fold)
    once = {x.tobytes(): name for name, x in reversed(ranked.items())}
    return {name: ranked[name] for name in ranked if once[ranked[name].tobytes()] == name and np.ptp(ranked[name]) > 0}


def _may_be_code(name: str) -> bool:
    return "." in name and not name.endswith("mean")


def _ranks(values: np.ndarray) -> np.ndarray:
    return pd.Series(values).rank(na_option="top").to_numpy(dtype=float) / len(values)


def _encoded(words: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    # The mean target of the rows of other folds with the same word, drawn to the mean of all where they are few.
    encoded = np.empty(len(words))
    for k in np.unique(fold):
        here = fold == k
        by, mean = pd.Series(target[~here]).groupby(words[~here]), target[~here].mean()
        means = (by.sum() + 5 * mean) / (by.size() + 5)
        encoded[here] = pd.Series(words[here]).map(means).fillna(mean).to_numpy(dtype=float)
    return encoded


def _telling(name: str, ranks: np.ndarray, *, rest: np.ndarray, fit: CrossFit) -> Telling:
    left = fit.rest(ranks)
    scale = np.sqrt(np.mean(left**2) * np.mean(rest**2))
    product = left * rest / scale if scale > 1e-12 else np.zeros(len(rest))
    value = float(product.mean())
    if name.endswith((_AS_WORDS, _AS_CODE)):  # words that rank against their own mean label say nothing
        value = max(value, 0.0)
    told = 1 - float(np.var(left) / np.var(ranks))
    return Telling(name, value, float(product.std() / np.sqrt(len(product))), told, left)


def _found(
    caught: list[Telling], *, label: np.ndarray, score: np.ndarray, rest: np.ndarray, fold: np.ndarray, where: str
) -> tuple[Finding, ...]:
    weights = cluster_weights(np.arange(len(label)), n_boot=DRAWS, rng=np.random.default_rng(0)) if caught else None
    before = spearman(label, score, weights)
    gains = {}
    for one in caught:
        with_it = score + _share(one.rest, rest, fold)
        gain = float(spearman(label, with_it) - spearman(label, score))
        gains[one.column] = gain, interval(spearman(label, with_it, weights) - before)
    ranked = sorted(caught, key=lambda one: -gains[one.column][0])
    named = ranked[:MOST_NAMED]
    more = f" (and {len(ranked) - len(named)} more columns)" if len(ranked) > len(named) else ""
    return tuple(
        Finding(
            "suspicion", f"{where}, {one.column}", _what(one, *gains[one.column]) + (more if one is named[-1] else ""),
            _MEND, certain=False,
        )
        for one in named
    )  # fmt: skip


def _what(one: Telling, gain: float, around: Interval) -> str:
    return (
        f"it adds {gain:+.3f} [{around.lo:+.3f}, {around.hi:+.3f}] of Spearman to what the past tells (partial rank "
        f"correlation {one.correlation:.2f} ± {one.error:.2f})"
    )


def _share(left: np.ndarray, rest: np.ndarray, fold: np.ndarray) -> np.ndarray:
    # What the column adds to a score, its slope fitted to other rows.
    added = np.empty(len(left))
    for k in np.unique(fold):
        here = fold == k
        added[here] = left[here] * (left[~here] @ rest[~here]) / max(left[~here] @ left[~here], 1e-12)
    return added
