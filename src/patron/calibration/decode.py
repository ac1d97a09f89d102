"""From what a model says, on the scales on which it learns best, to a distribution of spend.

A model of the log has residuals; what they were on rows that it had not learned from says how to decode it (Duan's
smearing estimator, 1983, by bins). `expm1(mean(log1p y))` recovers only a part of the revenue (field note 6).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit

from patron.calibration.distribution import LEVELS, Distribution
from patron.calibration.recalibrate import Calibration, cross_fitted, tenths
from patron.task.ltv import TaskTable

RARE = 7.0  # logit: of one payer among a thousand, what is expected over P(spend > 0) says nothing
TAIL = 1.5  # mean of what is beyond the last quantile, in units of it, before calibration: a Pareto shape of 3
_PRIOR = 10.0  # rows that a coefficient of 0 is worth before any is seen


@dataclass(frozen=True, eq=False)
class Centre:
    """What is said of n rows: `active` [n], the logit of P(spend > 0) or what rises with it; `location` [n] of log1p of
    spend, given that it is above 0; and `corrections` [n, V], of which some multiples may improve on it."""

    active: np.ndarray
    location: np.ndarray
    corrections: np.ndarray

    def __len__(self) -> int:
        return len(self.active)

    def where(self, rows: "np.ndarray | slice") -> "Centre":
        """The rows of a mask or a slice."""
        return Centre(self.active[rows], self.location[rows], self.corrections[rows])


Forecast = Centre | Distribution  # of a model, before it is calibrated


@dataclass(frozen=True, eq=False)
class Residuals:
    """Payers' location is corrected by `coefficients` [V + 1], the first one a constant; log spend has residual
    quantiles [bins, 100] about it, by bins of the location that end at `edges`.

    The location itself counts as it is: a slope other than 1, fitted to the many, would carry the heaviest customers
    away from all that was seen.
    """

    coefficients: np.ndarray
    edges: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def fit(cls, said: Centre, y: np.ndarray) -> Self:
        """From what was said of payers and their spend, [n], by a model that had not learned from them."""
        coefficients = _least_squares(said.corrections, np.log1p(y) - said.location)
        location = _corrected(said, coefficients)
        edges = tenths(location)
        residual, bins = np.log(y) - location, np.searchsorted(edges, location, side="right")
        everywhere = np.quantile(residual, LEVELS) if len(y) else np.zeros(len(LEVELS))
        of_bins = [residual[bins == k] for k in range(len(edges) + 1)]
        quantiles = np.stack([np.quantile(of, LEVELS) if len(of) else everywhere for of in of_bins])
        return cls(coefficients, edges, quantiles)

    def apply(self, said: Centre) -> Distribution:
        """The distributions of what is said of rows."""
        location = _corrected(said, self.coefficients)
        logs = location[:, None] + self.quantiles[np.searchsorted(self.edges, location, side="right")]
        return Distribution(expit(said.active), logs, np.full(len(said), TAIL))


@dataclass(frozen=True, eq=False)
class Decoder:
    """Makes distributions of spend of a model's forecasts: by the residuals of a `Centre`, calibrated, and of a horizon
    `stretch` times as long as the windows that were learned. Of a flag payers' spend is 1."""

    residuals: Residuals | None
    is_flag: bool
    calibration: Calibration | None = None
    stretch: float = 1.0

    @classmethod
    def fit(cls, said: Forecast, rows: TaskTable, *, seen: float = 0.0) -> Self:
        """From what was said of labelled `rows` by models that had not learned from them. `seen` is the largest label
        that was, of any row."""
        paid = rows.label > 0
        residuals = Residuals.fit(said.where(paid), rows.label[paid]) if isinstance(said, Centre) else None
        raw = cls(residuals, rows.is_flag)
        return replace(raw, calibration=Calibration.fit(raw._raw(said), rows, seen=seen))

    def decode(self, said: Forecast, history: np.ndarray) -> Distribution:
        """The distributions of rows of a `history` [n]."""
        assert self.calibration is not None
        calibrated = self.calibration.apply(self._raw(said), history)
        most = self.calibration.largest * self.calibration.factor
        return calibrated if self.stretch == 1 else calibrated.stretched(self.stretch).at_most(most)

    def stretched(self, stretch: float) -> Self:
        """The same, of a horizon `stretch` times as long as the windows that were learned."""
        return replace(self, stretch=stretch)

    def scaled(self, factor: float) -> Self:
        """The same, with all spend times `factor`, and with it the most that is possible."""
        if self.calibration is None or factor == 1:
            return self
        return replace(self, calibration=replace(self.calibration, factor=self.calibration.factor * factor))

    def _raw(self, said: Forecast) -> Distribution:
        if isinstance(said, Centre):
            assert self.residuals is not None, "fitted to what needs no residuals"
            raw = self.residuals.apply(said)
        else:
            raw = said
        return replace(raw, logs=np.zeros_like(raw.logs), tail=np.ones(len(raw))) if self.is_flag else raw


def held_out(said: Forecast, rows: TaskTable, *, seen: float = 0.0) -> Distribution:
    """The distributions of labelled `rows`, those of each half of the customers decoded as the other half taught."""

    def decoded(fitted: np.ndarray, asked: np.ndarray) -> Distribution:
        decoder = Decoder.fit(said.where(fitted), rows.where(fitted), seen=seen)
        return decoder.decode(said.where(asked), rows.history[asked])

    return cross_fitted(rows, decoded)


def log_of_payers(root: np.ndarray, active: np.ndarray) -> np.ndarray:
    """log1p of payers' spend, from the expected fourth root of everybody's and the logit of P(spend > 0): [n]."""
    return np.log1p((np.maximum(root, 0) / expit(active.clip(-RARE, RARE))) ** 4)


def _corrected(said: Centre, coefficients: np.ndarray) -> np.ndarray:
    return said.location + coefficients[0] + said.corrections @ coefficients[1:]


def _least_squares(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients of [1, columns] of the target [n], shrunk towards 0 but for the first: [V + 1]."""
    if not len(target):
        return np.zeros(columns.shape[1] + 1)
    centre, spread = columns.mean(axis=0), columns.std(axis=0) + 1e-9
    design = (columns - centre) / spread
    slopes = np.linalg.solve(design.T @ design + _PRIOR * np.eye(columns.shape[1]), design.T @ target) / spread
    return np.append(target.mean() - centre @ slopes, slopes)
