"""Conformal calibration of quantiles by group: what the validation rows, at the latest closed cutoff, say of them.

A head or a decoder calibrates by decile of its score. Customers of one order and dormant ones can still be misjudged
within their decile, so every quantile is moved, for each history of its own, to where it held on the validation rows:
conformalised quantile regression (Romano et al. 2019) on both sides, Mondrian by group (Vovk et al. 2005).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from patron.estimators.base import QUANTILES
from patron.task.ltv import TaskTable

HISTORIES = 3  # of TaskTable.history
MIN_ROWS = 100  # of a history on the validation rows; with fewer its quantiles stay as they are


@dataclass(frozen=True)
class Conformal:
    """By how much each quantile moves, in log1p units: {column: [HISTORIES]}."""

    shifts: Mapping[str, np.ndarray]

    @classmethod
    def fit(cls, held_out: pd.DataFrame, rows: TaskTable) -> Self:
        """From predictions of `rows` by who had not learned from them, in their order."""
        log_y, history = np.log1p(rows.label), rows.history
        errors = {name: log_y - np.log1p(held_out[name].to_numpy()) for name in QUANTILES}
        return cls({name: _shifts(error, history, level=QUANTILES[name]) for name, error in errors.items()})

    def apply(self, frame: pd.DataFrame, rows: TaskTable) -> pd.DataFrame:
        """The predictions `frame` of `rows` with its quantiles moved; they do not cross, nor fall below 0."""
        moved = {
            name: np.expm1(np.log1p(frame[name].to_numpy()) + shift[rows.history])
            for name, shift in self.shifts.items()
        }
        return frame.assign(**_ordered(moved, median=frame["ltv_median"].to_numpy(), flag=rows.is_flag))


def _shifts(error: np.ndarray, history: np.ndarray, *, level: float) -> np.ndarray:
    return np.array([_shift(error[history == group], level=level) for group in range(HISTORIES)])


def _shift(error: np.ndarray, *, level: float) -> float:
    if len(error) < MIN_ROWS:
        return 0.0
    # A new row, exchangeable with these n, lies at or below the k-th smallest error with probability k / (n + 1).
    k = (len(error) + 1) * level
    rank = int(np.clip(np.ceil(k) if level > 0.5 else np.floor(k), 1, len(error)))
    return float(np.partition(error, rank - 1)[rank - 1])


def _ordered(moved: Mapping[str, np.ndarray], *, median: np.ndarray, flag: bool) -> dict[str, np.ndarray]:
    lower = [name for name in QUANTILES if QUANTILES[name] < 0.5]
    upper = [name for name in QUANTILES if QUANTILES[name] > 0.5]
    rising = np.maximum.accumulate([median, *(moved[name] for name in upper)])[1:]
    falling = np.minimum.accumulate([median, *(moved[name] for name in reversed(lower))])[1:]
    ordered = dict(zip([*upper, *reversed(lower)], [*rising, *falling], strict=True))
    return {name: ordered[name].clip(0, 1 if flag else None) for name in QUANTILES}
