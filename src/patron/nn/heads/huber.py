"""A location of log1p of spend."""

from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn.functional import huber_loss

from patron.nn.heads.base import Scaled


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HuberConfig:
    """Huber loss, linear beyond `delta` standard deviations of the target."""

    name: Literal["huber"]
    delta: Annotated[float, Field(gt=0)]


class HuberHead(Scaled):
    """A location of log1p of spend, in standard deviations from the average of the target. Huber 1964."""

    out = 1

    def __init__(self, config: HuberConfig) -> None:
        super().__init__()
        self.delta = config.delta

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [1] that predict the average of `target` [B], log1p of spend."""
        self.standardise_by(target)
        return torch.zeros(1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, 1], log1p of spend [B] -> mean loss []."""
        return huber_loss(out[:, 0], self.standard(target), delta=self.delta)

    def location(self, out: Tensor) -> Tensor:
        """The centre of log1p of spend: [B, 1] -> [B]."""
        return self.loc + self.unit * out[:, 0]
