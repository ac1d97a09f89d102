"""The baselines that cost nothing: nobody buys again, everybody goes on as in the last window (field note 11), and
whoever ordered most will be worth most."""

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, expectations, level_factor
from patron.features.asof import FeatureSpec, design, specify
from patron.tables.database import Database
from patron.task.ltv import TaskTable, last_outcome


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ZeroConfig:
    name: Literal["zero"]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LastWindowConfig:
    name: Literal["last_window"]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FrequencyConfig:
    """`cells` is the number of parts of the customers, by their orders, that have a prediction each."""

    name: Literal["frequency"]
    cells: Annotated[int, Field(gt=0)]


class Zero(Stored):
    """Predicts a label of 0 for everybody: that nobody spends anything. MAE rewards it; it ranks nobody."""

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return expectations(rows, mean=np.zeros(len(rows)))


class LastWindow(Stored):
    """Predicts the label of the window of the same length that ends at the cutoff.

    Net spend comes from the features; where the history is shorter than the window, its longest one counts, scaled up
    to the label's length. Any other target is computed as a label is, from what the history holds of the window.
    """

    spec: FeatureSpec

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        if rows.target != "net":
            return expectations(rows, mean=last_outcome(db, rows=rows))
        days = self.spec.horizon.days_after(rows.cutoffs[0])
        window = min(self.spec.windows, key=lambda w: abs(w - days))
        features = design(db, rows=rows, spec=self.spec, groups=("windows",))
        return expectations(rows, mean=features[f"net_{window}d"].clip(lower=0).to_numpy())


class Frequency(Stored):
    """Ranks by the number of orders so far; predicts the mean and the median label of the refit rows in the same part
    of the customers by it.

    The parts are of all customers at the cutoff, since numbers of orders grow with the length of a history. A flag that
    is rarer among those with more orders, as churn is, is ranked the other way round.
    """

    def __init__(self, config: FrequencyConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec: FeatureSpec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        rows = self._orders(db, refit).assign(label=refit.stretch * refit.label)
        self.falls = refit.is_flag and rows["orders"].corr(rows["label"], method="spearman") < 0
        by_cell = rows.groupby("cell")["label"].agg(["mean", "median"])
        self.by_cell = by_cell.reindex(range(1, self.config.cells + 1)).interpolate(limit_direction="both")
        self.by_cell = level_factor(refit, partial(self.predict, db)) * self.by_cell
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        orders = self._orders(db, rows)
        said, rank = self.by_cell.loc[orders["cell"]], orders["orders"].to_numpy(dtype=np.float64)
        rank = -rank if self.falls else rank
        return expectations(rows, mean=said["mean"].to_numpy(), median=said["median"].to_numpy(), rank=rank)

    def _orders(self, db: Database, rows: TaskTable) -> pd.DataFrame:
        """`orders` and `cell` of each row: 1 for the fewest orders, or none."""
        features = design(db, rows=rows, spec=self.spec, groups=("rfm", "percentiles"))
        part = self.config.cells * features["orders_percentile"].fillna(0.0) - 1e-9
        return features[["orders"]].assign(cell=np.ceil(part).clip(1, self.config.cells).astype(int))
