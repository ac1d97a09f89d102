"""The estimators that a stack can be made of, and the `match` that builds them."""

from typing import Annotated

from pydantic import Field

from patron.estimators.base import Component, Setting
from patron.estimators.boosted_gnn import BoostedGNN, BoostedGNNConfig
from patron.estimators.btyd import BTYD, BTYDConfig
from patron.estimators.gnn import GNN, GNNConfig
from patron.estimators.lightgbm import LightGBM, LightGBMConfig

ComponentConfig = Annotated[
    BTYDConfig | LightGBMConfig | GNNConfig | BoostedGNNConfig,
    Field(discriminator="name"),
]


def build_component(config: ComponentConfig, setting: Setting) -> Component:
    """The estimator that `config` names, not yet fitted."""
    match config:
        case BTYDConfig():
            return BTYD(config, setting)
        case LightGBMConfig():
            return LightGBM(config, setting)
        case GNNConfig():
            return GNN(config, setting)
        case BoostedGNNConfig():
            return BoostedGNN(config, setting)
