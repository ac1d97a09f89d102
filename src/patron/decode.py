"""From the log back to money. A model of log1p(spend) has residuals; what they were on the validation rows says how
to decode.

`expm1(mean(log1p y))` recovers only a part of the revenue (field note 6). Here the residuals of each tenth of the
predictions are kept, and mean, median and quantiles are those of `expm1(prediction + residual)`: Duan's smearing
estimator (1983), by decile.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

LEVELS = np.linspace(0.005, 0.995, 100)  # of the residual quantiles that are kept


@dataclass(frozen=True)
class Residuals:
    """Residual quantiles [bins, 100] in log1p units, by bins of the prediction that end at `edges` [bins - 1].

    `correction` makes up for what the mean loses in the tail beyond the last quantile.
    """

    edges: np.ndarray
    quantiles: np.ndarray
    correction: "MeanCorrection | None" = None

    @classmethod
    def fit(cls, predicted: np.ndarray, y: np.ndarray, *, bins: int = 10, minimum: int = 50) -> Self:
        """The residuals of log1p(y) about `predicted`, both [n]: ten bins, or fewer where a bin would hold under
        `minimum` rows."""
        edges = _edges(predicted, bins=bins, minimum=minimum)
        residual, bin_of = np.log1p(y) - predicted, np.searchsorted(edges, predicted, side="right")
        everywhere = np.quantile(residual, LEVELS)
        rows = [residual[bin_of == k] for k in range(len(edges) + 1)]
        kept = cls(edges, np.stack([np.quantile(row, LEVELS) if len(row) else everywhere for row in rows]))
        return replace(kept, correction=MeanCorrection.fit(kept.mean(predicted), y, bins=bins, minimum=minimum))

    def mean(self, predicted: np.ndarray) -> np.ndarray:
        """Expected spend, in the currency of the orders: [n] -> [n]."""
        mean = self._spend(predicted).mean(axis=1)
        return mean if self.correction is None else self.correction.apply(mean)

    def quantile(self, predicted: np.ndarray, level: float) -> np.ndarray:
        """The spend that is exceeded with probability 1 - level: [n] -> [n]. A level of 0.5 gives the median."""
        at = np.array([np.interp(level, LEVELS, row) for row in self.quantiles])
        return np.maximum(np.expm1(predicted + at[self._bins(predicted)]), 0)

    def _spend(self, predicted: np.ndarray) -> np.ndarray:
        return np.maximum(np.expm1(predicted[:, None] + self.quantiles[self._bins(predicted)]), 0)  # [n, 100]

    def _bins(self, predicted: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.edges, predicted, side="right")


@dataclass(frozen=True)
class MeanCorrection:
    """By how much a mean falls short, as one factor a bin of the prediction; bins end at `edges` [bins - 1]."""

    edges: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(cls, predicted: np.ndarray, y: np.ndarray, *, bins: int = 10, minimum: int = 50) -> Self:
        """The factors that make the mean of `predicted` that of `y` in every bin, both [n] in money, kept within
        [1/3, 3]."""
        edges = _edges(predicted, bins=bins, minimum=minimum)
        bin_of = np.searchsorted(edges, predicted, side="right")
        totals = [np.bincount(bin_of, weights=values, minlength=len(edges) + 1) for values in (y, predicted)]
        empty = np.bincount(bin_of, minlength=len(edges) + 1) == 0  # such a bin has the factor of all
        spent, expected = (np.where(empty, values.sum(), values) for values in totals)
        return cls(edges, np.clip(spent / np.maximum(expected, 1e-9), 1 / 3, 3))

    def apply(self, predicted: np.ndarray) -> np.ndarray:
        """The corrected mean: [n] -> [n]."""
        return predicted * self.factor[np.searchsorted(self.edges, predicted, side="right")]


@dataclass(frozen=True)
class RankMap:
    """Takes a score to the scale of another one, quantile by quantile: sorted `score` [K] -> sorted `scale` [K]."""

    score: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, score: np.ndarray, scale: np.ndarray) -> Self:
        """The map that gives `score` [n] the distribution of `scale` [n]."""
        at = np.linspace(0, 1, min(len(score), 500))
        return cls(np.quantile(score, at), np.quantile(scale, at))

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """[n] -> [n], flat beyond the ends."""
        return np.interp(score, self.score, self.scale)


def interpolated(quantiles: np.ndarray, *, levels: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Spend at the levels `at`, [L] or [n, L], from quantiles of log1p of spend [n, Q] at `levels` [Q]: [n, L], flat
    beyond the outer ones."""
    at = np.broadcast_to(at, (len(quantiles), at.shape[-1]))
    upper = np.clip(np.searchsorted(levels, at), 1, len(levels) - 1)
    share = np.clip((at - levels[upper - 1]) / (levels[upper] - levels[upper - 1]), 0, 1)
    below, above = (np.take_along_axis(quantiles, index, axis=1) for index in (upper - 1, upper))
    return np.maximum(np.expm1(below * (1 - share) + above * share), 0)


def _edges(predicted: np.ndarray, *, bins: int, minimum: int) -> np.ndarray:
    bins = max(1, min(bins, len(predicted) // minimum))
    return np.unique(np.quantile(predicted, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)
