"""The two baselines that cost nothing: nobody buys again, and everybody goes on as in the last window (field note
11)."""

from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, expectations
from patron.features.asof import FeatureSpec, design, specify
from patron.tables.database import Database
from patron.task.ltv import TaskTable, last_outcome


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ZeroConfig:
    name: Literal["zero"]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LastWindowConfig:
    name: Literal["last_window"]


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
