"""All estimators behind one Protocol, and the one `match` that builds them."""

from typing import Annotated

from pydantic import Field

from patron.estimators.base import Estimator, Setting
from patron.estimators.btyd import BTYD, BTYDConfig
from patron.estimators.gnn import GNN, GNNConfig
from patron.estimators.heuristics import LastWindow, LastWindowConfig, Zero, ZeroConfig
from patron.estimators.lightgbm import LightGBM, LightGBMConfig
from patron.estimators.oracle import Oracle, OracleConfig
from patron.estimators.rfm import RFM, RFMConfig

EstimatorConfig = Annotated[
    ZeroConfig | LastWindowConfig | RFMConfig | BTYDConfig | LightGBMConfig | GNNConfig | OracleConfig,
    Field(discriminator="name"),
]


def build(config: EstimatorConfig, setting: Setting) -> Estimator:
    """The estimator that `config` names, not yet fitted."""
    match config:
        case ZeroConfig():
            return Zero()
        case LastWindowConfig():
            return LastWindow(setting)
        case RFMConfig():
            return RFM(config, setting)
        case BTYDConfig():
            return BTYD(config, setting)
        case LightGBMConfig():
            return LightGBM(config, setting)
        case GNNConfig():
            return GNN(config, setting)
        case OracleConfig():
            return Oracle(config, setting)


def is_seeded(config: EstimatorConfig) -> bool:
    """Whether another seed gives other predictions."""
    return isinstance(config, LightGBMConfig | GNNConfig)
