"""Heads on log1p of spend, and the one `match` that builds them. A head owns its number of outputs, its loss and the
forecast that a `Decoder` makes money of; nobody else asks which one it is.

A head starts at the training target: at first every customer is predicted what all of them spend, which keeps a net
from collapsing to the constant 0 (field notes).

| head | outputs | loss | money by |
|---|---|---|---|
| `huber` | a location of log1p of spend | Huber | residuals |
| `ranked` | rank, fourth root and P(spend > 0) | cross-entropy and Huber | residuals |
| `quantile` | quantiles of log1p of spend | pinball | residuals about their mean |
| `tweedie` | log of the mean of spend | Tweedie deviance | residuals |
| `ziln` | P(spend > 0), and a lognormal of payers | likelihood | its distribution |
| `hurdle_quantile` | P(spend > 0), and payers' quantiles | cross-entropy and pinball | its quantiles |
"""

from typing import Annotated

from pydantic import Field

from patron.nn.heads.base import Head, as_numpy, level
from patron.nn.heads.huber import HuberConfig, HuberHead
from patron.nn.heads.hurdle_quantile import HurdleQuantileConfig, HurdleQuantileHead
from patron.nn.heads.quantile import QuantileConfig, QuantileHead
from patron.nn.heads.ranked import RankedConfig, RankedHead, Start
from patron.nn.heads.tweedie import TweedieConfig, TweedieHead
from patron.nn.heads.ziln import ZILNConfig, ZILNHead

__all__ = [
    "Head", "HeadConfig", "HuberConfig", "HuberHead", "HurdleQuantileConfig", "HurdleQuantileHead", "QuantileConfig",
    "QuantileHead", "RankedConfig", "RankedHead", "Start",
    "TweedieConfig", "TweedieHead", "ZILNConfig", "ZILNHead", "as_numpy", "build_head", "level",
]  # fmt: skip

HeadConfig = Annotated[
    HuberConfig | RankedConfig | QuantileConfig | TweedieConfig | ZILNConfig | HurdleQuantileConfig,
    Field(discriminator="name"),
]


def build_head(
    config: HeadConfig,
) -> HuberHead | RankedHead | QuantileHead | TweedieHead | ZILNHead | HurdleQuantileHead:
    """The head that `config` names."""
    match config:
        case HuberConfig():
            return HuberHead(config)
        case RankedConfig():
            return RankedHead(config)
        case QuantileConfig():
            return QuantileHead(config)
        case TweedieConfig():
            return TweedieHead(config)
        case ZILNConfig():
            return ZILNHead(config)
        case HurdleQuantileConfig():
            return HurdleQuantileHead(config)
