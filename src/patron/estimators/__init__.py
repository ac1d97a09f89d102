"""All estimators behind one Protocol, and the one `match` that builds them."""

from typing import Annotated

from pydantic import Field

from patron.estimators.base import Estimator, Setting
from patron.estimators.boosted_gnn import BoostedGNN, BoostedGNNConfig
from patron.estimators.btyd import BTYD, BTYDConfig
from patron.estimators.components import build_component
from patron.estimators.gnn import GNN, GNNConfig
from patron.estimators.heuristics import (
    Frequency,
    FrequencyConfig,
    LastWindow,
    LastWindowConfig,
    Zero,
    ZeroConfig,
)
from patron.estimators.lightgbm import LightGBM, LightGBMConfig
from patron.estimators.once import fitted
from patron.estimators.oracle import Oracle, OracleConfig
from patron.estimators.rfm import RFM, RFMConfig
from patron.estimators.stack import Stack, StackConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable

__all__ = [
    "BTYD",
    "GNN",
    "RFM",
    "BTYDConfig",
    "BoostedGNN",
    "BoostedGNNConfig",
    "Estimator",
    "EstimatorConfig",
    "Frequency",
    "FrequencyConfig",
    "GNNConfig",
    "LastWindow",
    "LastWindowConfig",
    "LightGBM",
    "LightGBMConfig",
    "Oracle",
    "OracleConfig",
    "RFMConfig",
    "Setting",
    "Stack",
    "StackConfig",
    "Zero",
    "ZeroConfig",
    "build",
    "is_seeded",
]  # fmt: skip

Plain = ZeroConfig | LastWindowConfig | FrequencyConfig | RFMConfig | OracleConfig
EstimatorConfig = Annotated[
    Plain | BTYDConfig | LightGBMConfig | GNNConfig | BoostedGNNConfig | StackConfig,
    Field(discriminator="name"),
]


def build(config: EstimatorConfig, setting: Setting) -> Estimator:
    """The estimator that `config` names, not yet fitted."""
    match config:
        case ZeroConfig():
            return Zero()
        case LastWindowConfig():
            return LastWindow(setting)
        case FrequencyConfig():
            return Frequency(config, setting)
        case RFMConfig():
            return RFM(config, setting)
        case OracleConfig():
            return Oracle(config, setting)
        case StackConfig():
            return Stack(config, setting)
        case component:
            return build_component(component, setting)


def fit(
    config: EstimatorConfig, setting: Setting, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable
) -> Estimator:
    """The estimator that `config` names, fitted; a component of a later stack is remembered for it."""
    estimator = build(config, setting)
    if isinstance(config, Plain | StackConfig):
        return estimator.fit(db, train=train, val=val, refit=refit)
    return fitted(estimator, config=config, setting=setting, db=db, train=train, val=val, refit=refit)


def is_seeded(config: EstimatorConfig) -> bool:
    """Whether another seed gives other predictions."""
    return isinstance(config, LightGBMConfig | GNNConfig | BoostedGNNConfig | StackConfig)
