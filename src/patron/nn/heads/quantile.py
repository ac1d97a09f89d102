"""Quantiles of log1p of spend, monotone by construction."""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn.functional import softplus

from patron.nn.heads.base import Scaled


def _distinct(levels: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("a level stands twice; give every level once")
    return tuple(sorted(levels))


Levels = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=2), AfterValidator(_distinct)]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QuantileConfig:
    """Pinball loss at `levels`, which never cross."""

    name: Literal["quantile"]
    levels: Levels


class QuantileHead(Scaled):
    """Quantiles of log1p of spend: the first is free, the others add a softplus. Koenker & Bassett 1978."""

    levels: Tensor

    def __init__(self, config: QuantileConfig) -> None:
        super().__init__()
        self.out = len(config.levels)
        self.register_buffer("levels", torch.tensor(config.levels, dtype=torch.float32))

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [Q] that predict the quantiles of `target` [B], log1p of spend."""
        return start_of_quantiles(self.standardise_by(target), self.levels)

    def quantiles(self, out: Tensor) -> Tensor:
        """[B, Q] -> increasing quantiles of log1p of spend [B, Q]."""
        return self.loc + self.unit * increasing(out)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, Q], log1p of spend [B] -> mean pinball loss []."""
        return pinball(increasing(out), self.standard(target), levels=self.levels).mean()

    def location(self, out: Tensor) -> Tensor:
        """The mean of the quantiles of log1p of spend: [B, Q] -> [B]. As a rank it beats the median, which ties at
        0."""
        return self.quantiles(out).mean(dim=1)


def start_of_quantiles(values: Tensor, levels: Tensor) -> Tensor:
    """The outputs [Q] of which `increasing` makes the quantiles of `values` [B] at `levels` [Q]."""
    quantiles = torch.quantile(values, levels)
    steps = quantiles.diff().clamp_min(1e-3)
    return torch.cat([quantiles[:1], steps.expm1().log()])  # the inverse of softplus


def increasing(out: Tensor) -> Tensor:
    """[B, Q] -> increasing quantiles [B, Q], in standard deviations."""
    return torch.cat([out[:, :1], softplus(out[:, 1:])], dim=1).cumsum(dim=1)


def pinball(quantiles: Tensor, target: Tensor, *, levels: Tensor) -> Tensor:
    """The pinball loss of `quantiles` [B, Q] at `levels` [Q] for `target` [B]: [B, Q]."""
    error = target[:, None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error)
