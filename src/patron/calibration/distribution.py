"""A predictive distribution of spend: a point mass at 0 (a hurdle; Cragg 1971), and the quantile function of payers.

Mean, median, quantiles and P(spend > 0) are functionals of one distribution a row, so that they agree: a quantile below
the mass at 0 is exactly 0, quantiles never cross, and the mean is the integral of the quantile function.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

LEVELS = np.linspace(0.005, 0.995, 100)  # of the payers' quantiles that are kept
STEP = float(LEVELS[1] - LEVELS[0])
END = float(LEVELS[0])  # the share of payers below the first level, and above the last one


@dataclass(frozen=True, eq=False)
class Distribution:
    """Spend of n customers, in the currency of the orders.

    `p_active` [n] is P(spend > 0), and `logs` [n, 100] are the logs of the quantiles of spend, given that it is above
    0, at `LEVELS`. Between two levels the log is linear, below the first one it is flat; above the last one spend is
    Pareto, with a mean of `tail` [n] (at least 1) times the last quantile.
    """

    p_active: np.ndarray
    logs: np.ndarray
    tail: np.ndarray

    def __len__(self) -> int:
        return len(self.p_active)

    @property
    def mean(self) -> np.ndarray:
        """Expected spend: the integral of the quantile function: [n]."""
        return self.p_active * self.mean_of_payers

    @property
    def mean_of_payers(self) -> np.ndarray:
        """Expected spend, given that it is above 0: [n]."""
        spend = np.exp(self.logs)
        rise, slope = np.diff(spend, axis=1), np.diff(self.logs, axis=1)
        steep = slope > 1e-6  # else the curve is flat, and its integral the value
        between = np.where(steep, rise / np.where(steep, slope, 1), spend[:, :-1])
        return STEP * between.sum(axis=1) + END * (spend[:, 0] + self.tail * spend[:, -1])

    @property
    def median(self) -> np.ndarray:
        """The quantile at one half: [n]."""
        return self.quantile(0.5)

    def quantile(self, level: float) -> np.ndarray:
        """The spend that is exceeded with probability 1 - level: [n]; exactly 0 up to P(spend = 0)."""
        zero = 1 - self.p_active
        pays = level > zero
        within = (level - zero) / np.where(pays, self.p_active, 1)
        return np.where(pays, np.exp(self._log_of_payers(np.where(pays, within, 0.5)[:, None])[:, 0]), 0.0)

    def level_of_payers(self, spend: np.ndarray) -> np.ndarray:
        """The share of payers who spend at most this much, all above 0: [n] -> [n] in (0, 1): the probability integral
        transform. Within the point below the first quantile it is the middle."""
        at = np.log(spend)
        below = (self.logs < at[:, None]).sum(axis=1)
        upper, lower = np.clip(below, 1, len(LEVELS) - 1), np.clip(below, 1, len(LEVELS) - 1) - 1
        row = np.arange(len(at))
        low, high = self.logs[row, lower], self.logs[row, upper]
        share = np.clip((at - low) / np.maximum(high - low, 1e-12), 0, 1)
        inside = LEVELS[lower] + STEP * share
        beyond = 1 - END * np.exp(-np.maximum(at - self.logs[:, -1], 0) / np.maximum(self._shape, 1e-9))
        return np.select([below == 0, below == len(LEVELS)], [END / 2, beyond], inside)

    def at_levels(self, levels: np.ndarray) -> "Distribution":
        """The distribution whose payers' quantiles at `LEVELS` are what they are here at `levels`, [n, 100] or [100]
        and rising."""
        return replace(self, logs=self._log_of_payers(np.broadcast_to(levels, self.logs.shape)))

    def scaled(self, factor: "float | np.ndarray") -> "Distribution":
        """All of spend times `factor`, [] or [n]."""
        return replace(self, logs=self.logs + np.log(np.broadcast_to(factor, len(self)))[:, None])

    def stretched(self, factor: float) -> "Distribution":
        """Spend in a window `factor` times as long, if it goes on as it is: without any as often as in so many windows
        one after the other, and `factor` times as much in the mean."""
        if factor == 1:
            return self
        p_active = 1 - (1 - self.p_active) ** factor
        known = self.p_active > 0
        more = np.where(known, factor * self.p_active, 1) / np.where(known, p_active, 1)
        return replace(self.scaled(more), p_active=p_active)

    def at_most(self, largest: float) -> "Distribution":
        """No quantile up to the last level above `largest`."""
        return replace(self, logs=np.minimum(self.logs, np.log(max(largest, 1e-9))))

    def where(self, rows: "np.ndarray | slice") -> "Distribution":
        """The rows of a mask, of positions or of a slice."""
        return Distribution(self.p_active[rows], self.logs[rows], self.tail[rows])

    @property
    def _shape(self) -> np.ndarray:
        # 1 / a of a Pareto distribution, whose mean is a / (a - 1) times its least value: [n], 0 for a point.
        return 1 - 1 / self.tail

    def _log_of_payers(self, levels: np.ndarray) -> np.ndarray:
        # [n, L] -> [n, L]
        place = (levels - END) / STEP
        lower = np.clip(place.astype(np.int64), 0, len(LEVELS) - 2)
        share = np.clip(place - lower, 0, 1)
        low, high = (np.take_along_axis(self.logs, index, axis=1) for index in (lower, lower + 1))
        beyond = np.log(np.maximum(END / np.maximum(1 - levels, 1e-9), 1))  # above the last level, else 0
        return low + share * (high - low) + self._shape[:, None] * beyond


def crps(spend: Distribution, y: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each row, in money: [n]. Matheson & Winkler 1976.

    Twice the integral of the pinball loss over all levels (Gneiting & Ranjan 2011): in closed form over the mass at 0,
    by the middle of each hundredth of the payers above it.
    """
    zero, p = 1 - spend.p_active, spend.p_active
    at_zero = y * zero**2 / 2  # the integral of level x y, from 0 to P(spend = 0)
    levels = zero[:, None] + p[:, None] * LEVELS
    over = y[:, None] - np.exp(spend.logs)
    of_payers = np.maximum(levels * over, (levels - 1) * over).mean(axis=1)
    return 2 * (at_zero + p * of_payers)


def tweedie_deviance(mean: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Tweedie deviance of power 1.5 of each row, for means above 0: [n]. Jorgensen 1987."""
    return 4 * (np.sqrt(mean) + y / np.sqrt(mean) - 2 * np.sqrt(y))


def lognormal(p_active: np.ndarray, location: np.ndarray, width: np.ndarray) -> Distribution:
    """Zero-inflated lognormals: P(spend > 0), and centre and width of the log of payers' spend: [n] each."""
    scores = ndtri(LEVELS)
    last = scores[-1]
    # What is expected beyond the last level, over the quantile there.
    tail = np.exp(width**2 / 2 - width * last) * ndtr(width - last) / END
    return Distribution(p_active, location[:, None] + width[:, None] * scores, np.maximum(tail, 1))


def concat(parts: "list[Distribution]", *, order: np.ndarray) -> Distribution:
    """The rows of all parts; row k of the result is row `order[k]` of them one after the other."""
    columns = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("p_active", "logs", "tail"))
    return Distribution(*columns)


def blend(parts: Mapping[str, Distribution], weights: Mapping[str, float]) -> Distribution:
    """P(spend > 0) and the payers' quantiles averaged, with `weights` that sum to 1 (Vincentization; Ratcliff 1979).

    Averages of quantiles are as sharp as the parts are on average, where a mixture is wider than they are.
    """
    if len(weights) == 1:
        return parts[next(iter(weights))]
    spend = sum(weight * np.exp(parts[name].logs) for name, weight in weights.items())
    above = sum(weight * parts[name].tail * np.exp(parts[name].logs[:, -1]) for name, weight in weights.items())
    p_active = sum(weight * parts[name].p_active for name, weight in weights.items())
    return Distribution(np.asarray(p_active), np.log(spend), np.maximum(above / np.asarray(spend)[:, -1], 1.0))
