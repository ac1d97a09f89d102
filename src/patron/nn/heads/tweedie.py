"""The mean of spend as a compound Poisson-gamma: a number of orders, each of a gamma's worth."""

from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor

from patron.nn.heads.base import Scaled


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TweedieConfig:
    """Deviance of a variance that goes with the `power` of the mean: near 1 as of orders, near 2 as of amounts."""

    name: Literal["tweedie"]
    power: Annotated[float, Field(gt=1, lt=2)]


class TweedieHead(Scaled):
    """The log of expected spend, in units of its average. Tweedie 1984; Jorgensen & de Souza 1994.

    Money is decoded by residuals all the same: the deviance fits a mean, and says nothing of quantiles without a
    dispersion, which is not the same for all customers.
    """

    out = 1
    average: Tensor

    def __init__(self, config: TweedieConfig) -> None:
        super().__init__()
        self.power = config.power
        self.register_buffer("average", torch.ones(()))

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [1] that predict the average spend of those with `target` [B], log1p of spend."""
        self.scale.copy_(target.std().clamp_min(1e-3))
        self.average.copy_(target.double().expm1().mean().clamp_min(1e-3))
        return torch.zeros(1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, 1], log1p of spend [B] -> mean deviance []."""
        power, log_mean, y = self.power, out[:, 0].float(), target.expm1() / self.average
        fixed = y ** (2 - power) / ((1 - power) * (2 - power))
        of_mean = torch.exp((2 - power) * log_mean) / (2 - power) - y * torch.exp((1 - power) * log_mean) / (1 - power)
        return 2 * (fixed + of_mean).mean()

    def location(self, out: Tensor) -> Tensor:
        """log1p of expected spend: [B, 1] -> [B]."""
        return torch.log1p(self.average * torch.exp(out[:, 0]))
