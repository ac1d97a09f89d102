"""Recency, frequency, monetary value: the marketer's quintile cells, with the mean label of each cell. Hughes 1994."""

from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, expectations
from patron.features.asof import FeatureSpec, design, specify
from patron.tables.database import Database
from patron.task.ltv import TaskTable

_SCORES = {"R": "recency_percentile", "F": "orders_percentile", "M": "spend_pace_percentile"}


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RFMConfig:
    """`prior` is the number of rows of the cell's neighbourhood (same R + F + M) that each cell is shrunk by."""

    name: Literal["rfm"]
    prior: Annotated[float, Field(ge=0)]


class RFM(Stored):
    """Scores of 1 to 5 for R, F and M among all customers at the cutoff; a cell predicts the mean label of its
    training rows.

    The mean is shrunk towards that of all cells with the same R + F + M, so that small and empty cells have one too.
    """

    def __init__(self, config: RFMConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec: FeatureSpec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        cells = self._cells(db, refit).assign(label=refit.label)
        by_sum = (
            cells.groupby("sum")["label"]
            .agg(["mean", "median"])
            .reindex(range(3, 16))
            .interpolate(limit_direction="both")
        )
        by_cell = cells.groupby("cell")["label"].agg(["mean", "median", "size"]).reindex(range(555 + 1))
        weight = by_cell["size"].fillna(0) / (by_cell["size"].fillna(0) + self.config.prior).clip(lower=1e-9)
        near = by_sum.reindex([sum(int(digit) for digit in str(cell)) for cell in by_cell.index]).set_axis(
            by_cell.index
        )
        self.table = near.mul(1 - weight, axis=0).fillna(0) + by_cell[["mean", "median"]].fillna(0).mul(weight, axis=0)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        cell = self.table.loc[self._cells(db, rows)["cell"]]
        return expectations(rows, mean=cell["mean"].to_numpy(), median=cell["median"].to_numpy())

    def _cells(self, db: Database, rows: TaskTable) -> pd.DataFrame:
        features = design(db, rows=rows, spec=self.spec, groups=("percentiles",))
        percentile = features[list(_SCORES.values())].fillna({"recency_percentile": 1.0}).fillna(0.0)
        frame = (5 * percentile).apply(np.ceil).clip(1, 5).astype(int).set_axis(list(_SCORES), axis=1)
        frame["R"] = 6 - frame["R"]  # the most recent fifth scores 5, who never ordered 1
        return pd.DataFrame({"cell": 100 * frame["R"] + 10 * frame["F"] + frame["M"], "sum": frame.sum(axis=1)})
