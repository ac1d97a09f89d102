"""The baselines that cost nothing: nobody buys again, everybody goes on as in the last window (field note 11), and
whoever ordered most will be worth most."""

from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, predictions
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
    """`least` is the number of rows that a cell of customers with about as many orders has at least."""

    name: Literal["frequency"]
    least: Annotated[int, Field(gt=0)]


class Zero(Stored):
    """Predicts a label of 0 for everybody: that nobody spends anything. MAE rewards it; it ranks nobody."""

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return predictions(rows, mean=np.zeros(len(rows)))


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
            return predictions(rows, mean=last_outcome(db, rows=rows))
        days = self.spec.horizon.days_after(rows.cutoffs[0])
        window = min(self.spec.windows, key=lambda w: abs(w - days))
        features = design(db, rows=rows, spec=self.spec, groups=("windows",))
        return predictions(rows, mean=features[f"net_{window}d"].clip(lower=0).to_numpy())


class Frequency(Stored):
    """Ranks by the number of orders so far; predicts the mean and the median label of the refit rows with about as
    many.

    A flag that is rarer among those with more orders, as churn is, is ranked the other way round.
    """

    def __init__(self, config: FrequencyConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec: FeatureSpec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        rows = pd.DataFrame({"orders": self._orders(db, refit), "label": refit.label})
        self.falls = refit.is_flag and rows["orders"].corr(rows["label"], method="spearman") < 0
        self.starts = _starts(rows["orders"], least=self.config.least)
        self.cells = rows.groupby(self._cell(rows["orders"]))["label"].agg(["mean", "median"])
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        orders = self._orders(db, rows)
        cell = self.cells.loc[self._cell(orders)]
        rank = -orders if self.falls else orders
        return predictions(rows, mean=cell["mean"].to_numpy(), median=cell["median"].to_numpy(), rank=rank)

    def _orders(self, db: Database, rows: TaskTable) -> np.ndarray:
        return design(db, rows=rows, spec=self.spec, groups=("rfm",))["orders"].to_numpy(dtype=np.float64)

    def _cell(self, orders: "pd.Series | np.ndarray") -> np.ndarray:
        return np.clip(np.searchsorted(self.starts, orders, side="right") - 1, 0, None)


def _starts(orders: pd.Series, *, least: int) -> np.ndarray:
    """The smallest number of orders of each cell: a cell closes with the first number that fills it, and what is left
    over joins the last one."""
    starts, held = [], least
    for number, rows in orders.value_counts().sort_index().items():
        if held >= least:
            starts.append(number)
            held = 0
        held += rows
    return np.array(starts if held >= least or len(starts) == 1 else starts[:-1])
