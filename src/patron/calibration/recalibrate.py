"""Calibration of predictive distributions on rows that were not learned from: what is said of each history held there.

1. P(spend > 0): logistic recalibration (Cox 1958; Platt 1999), one slope, an intercept of each history's own.
2. Payers' quantiles: their levels are moved to where they held, for each history of its own: distributional conformal
   prediction (Chernozhukov, Wüthrich & Zhu 2021), Mondrian by group (Vovk et al. 2005). As levels move and not money,
   no quantile leaves what the distribution itself holds possible.
3. The mean of the tail beyond the last quantile, by tenths of the expected spend, and a factor of all spend, so that
   sums of money are right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from patron.calibration.distribution import END, LEVELS, Distribution, concat
from patron.task.ltv import TaskTable

HISTORIES = 3  # of TaskTable.history
MIN_PAYERS = 100  # of a history; with fewer its levels stay as they are
LARGEST = 1.5  # times the largest label that was ever seen: no quantile up to the last level lies above it
TAIL = (1.0, 4.0)  # least and most mean of the tail, in last quantiles
FACTOR = (0.5, 2.0)  # least and most by which all spend is multiplied
CERTAIN = 12.0  # logit of a probability that all rows share
_PRIOR = 4.0  # precision of a history's intercept about 0, and of a slope about 1: a standard deviation of one half


@dataclass(frozen=True, eq=False)
class Steps:
    """A number for each bin of a value; bins end at `edges` [bins - 1]."""

    edges: np.ndarray
    values: np.ndarray

    def of(self, value: np.ndarray) -> np.ndarray:
        """The number of each row: [n] -> [n]."""
        return self.values[self.bins(value)]

    def bins(self, value: np.ndarray) -> np.ndarray:
        """The bin of each row: [n] -> [n]."""
        return np.searchsorted(self.edges, value, side="right")


@dataclass(frozen=True, eq=False)
class Calibration:
    """`slope` and `intercepts` [3] of the logit of P(spend > 0), the `levels` [3, 100] at which payers' quantiles are
    read, and the means of the `tails` by expected spend. Spend is at most `largest`, and then
    multiplied by `factor`."""

    slope: float
    intercepts: np.ndarray
    levels: np.ndarray
    tails: Steps
    factor: float
    largest: float

    @classmethod
    def fit(cls, said: Distribution, rows: TaskTable, *, seen: float) -> "Calibration":
        """From what was said of labelled `rows` by models that had not learned from them. `seen` is the largest label
        that was."""
        coefficients = _logistic(_logits(said.p_active), rows.history, rows.label > 0)
        largest = LARGEST * max(seen, float(rows.label.max(initial=0.0)))
        as_is, points = np.tile(LEVELS, (HISTORIES, 1)), Steps(np.empty(0), np.ones(1))
        fitted = cls(coefficients[0], coefficients[1:], as_is, points, 1.0, largest)
        if rows.is_flag:
            return fitted
        fitted = replace(fitted, levels=_levels(said, rows))
        fitted = replace(fitted, tails=_tails(fitted.apply(said, rows.history), rows.label))
        expected = float(fitted.apply(said, rows.history).mean.sum())
        return replace(fitted, factor=float(np.clip(rows.label.sum() / max(expected, 1e-9), *FACTOR)))

    def apply(self, said: Distribution, history: np.ndarray) -> Distribution:
        """The calibrated distributions of rows of a `history` [n]."""
        p_active = expit(self.intercepts[history] + self.slope * _logits(said.p_active))
        moved = replace(said.at_levels(self.levels[history]), p_active=p_active).at_most(self.largest)
        return replace(moved, tail=self.tails.of(_body(moved))).scaled(self.factor)


def tenths(values: np.ndarray, *, bins: int = 10, minimum: int = 50) -> np.ndarray:
    """Where the tenths of `values` [n] end, or fewer parts where one would hold under `minimum` rows: [bins - 1]."""
    bins = max(1, min(bins, len(values) // minimum))
    return np.unique(np.quantile(values, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)


def cross_fitted(rows: TaskTable, calibrated: Callable[[np.ndarray, np.ndarray], Distribution]) -> Distribution:
    """Distributions of all `rows` such that whatever is calibrated for a half of the customers was fitted to the other
    half: `calibrated(fitted, asked)`, two masks [n] of rows, returns those of the rows that are asked."""
    first = rows.parts(2) == 0
    if first.all():  # of a single customer there is no other half
        return calibrated(first, first)
    parts = [calibrated(~half, half) for half in (first, ~first)]
    return concat(parts, order=np.argsort(np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])))


def _body(said: Distribution) -> np.ndarray:
    # Expected spend as if the tail were a point at the last quantile: [n].
    return replace(said, tail=np.ones(len(said))).mean


def _tails(said: Distribution, y: np.ndarray) -> Steps:
    # The mean of the tail that makes the total of each tenth of the rows what it was.
    body = _body(said)
    steps = Steps(tenths(body), np.ones(1))
    last, bins = END * said.p_active * np.exp(said.logs[:, -1]), steps.bins(body)
    missing, unit = (np.bincount(bins, weights=of, minlength=len(steps.edges) + 1) for of in (y - body + last, last))
    return replace(steps, values=np.clip(missing / np.maximum(unit, 1e-12), *TAIL))


def _levels(said: Distribution, rows: TaskTable) -> np.ndarray:
    paid, history = rows.label > 0, rows.history
    levels = np.tile(LEVELS, (HISTORIES, 1))
    if paid.any():
        reached = said.where(paid).level_of_payers(rows.label[paid])
        for group in range(HISTORIES):
            here = reached[history[paid] == group]
            if len(here) >= MIN_PAYERS:
                # A new payer, exchangeable with these m, is below the k-th with probability k / (m + 1).
                levels[group] = np.quantile(here, LEVELS, method="weibull")
    return levels


def _logits(p: np.ndarray) -> np.ndarray:
    return logit(np.clip(p, expit(-CERTAIN), expit(CERTAIN)))


def _logistic(score: np.ndarray, history: np.ndarray, pays: np.ndarray) -> np.ndarray:
    """Slope of the score and intercepts of the histories, by penalised likelihood: [1 + 3]. A common intercept is free,
    so that the share of payers is right; differences between histories and the slope are shrunk towards 0 and 1."""
    design = np.column_stack([score, np.ones(len(score)), *(history == group for group in range(HISTORIES))])
    prior, precision = np.array([1.0, 0, 0, 0, 0]), np.array([_PRIOR, 1e-3, _PRIOR, _PRIOR, _PRIOR])
    at = prior.copy()
    for _ in range(50):
        p = expit(design @ at)
        gradient = design.T @ (pays - p) - precision * (at - prior)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))  # far from the optimum Newton overshoots
        at = at + step
        if np.abs(step).max() < 1e-9:
            break
    return np.array([at[0], *(at[1] + at[2:])])
