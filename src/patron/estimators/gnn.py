"""The graph neural network as an estimator: snapshots in, spend out."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import joblib
import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from torch_geometric.data import HeteroData

from patron.estimators.base import Setting, predictions
from patron.features.asof import FeatureSpec, customer_features, order_features, product_features, specify
from patron.features.encode import Encoder, encode, fit_encoder
from patron.graph.build import GraphConfig, build
from patron.graph.snapshot import snapshot
from patron.nn.model import LTVModel, ModelConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.training.fit import outputs, refit, tune, warn_if_collapsed

log = logging.getLogger("patron")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GNNConfig:
    name: Literal["gnn"]
    model: ModelConfig


@dataclass(frozen=True)
class _Trained:
    model: LTVModel
    encoders: Mapping[str, Encoder]


class GNN:
    """HeteroConv of SAGEConv on the purchase graph. Early stopping chooses the number of steps, then it learns from all closed cutoffs."""

    spec: FeatureSpec
    trained: _Trained

    def __init__(self, config: GNNConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        if not db.has_products:
            log.warning("gnn: '%s' has no products, so the graph holds customers and orders only", db.name)
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        tuned, steps = self._tune(db, train=train, val=val)
        self.trained = self._refit(db, rows=refit, steps=steps)
        self.trained.model.head.load_calibration(tuned.head)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return pd.concat([self._predict_at(db, rows=rows.at(cutoff)) for cutoff in rows.cutoffs], ignore_index=True)
