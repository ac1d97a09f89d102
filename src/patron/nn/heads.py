"""Heads on log1p of spend. A head owns its number of outputs, its loss and its decoding; nobody else asks which one
it is.

A head starts at the training target: its outputs are standard deviations from the average, and at first every
customer is predicted the average, which keeps a net from collapsing to the constant 0 (field notes).
"""

from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import huber_loss, softplus

from patron.decode import LEVELS, MeanCorrection, Residuals, interpolated


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HuberConfig:
    """Huber loss, linear beyond `delta` standard deviations of the target."""

    name: Literal["huber"]
    delta: Annotated[float, Field(gt=0)]


def _distinct(levels: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("a level stands twice; give every level once")
    return tuple(sorted(levels))


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QuantileConfig:
    """Pinball loss at `levels`, which never cross."""

    name: Literal["quantile"]
    levels: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=2), AfterValidator(_distinct)]


HeadConfig = Annotated[HuberConfig | QuantileConfig, Field(discriminator="name")]


class Head(Protocol):
    """Outputs of width `out` a customer, in standard deviations of the target; decoded to money after `calibrate`."""

    out: int

    def start_at(self, target: Tensor) -> Tensor: ...
    def loss(self, out: Tensor, target: Tensor) -> Tensor: ...
    def location(self, out: Tensor) -> Tensor: ...
    def calibrate(self, out: Tensor, y: np.ndarray) -> None: ...
    def calibrated_as(self, other: Any) -> None: ...
    def mean(self, out: Tensor) -> np.ndarray: ...
    def quantile(self, out: Tensor, level: float) -> np.ndarray: ...


class _Scaled(nn.Module):
    loc: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def standardise_by(self, target: Tensor) -> Tensor:
        """From now on outputs are standard deviations from the average of `target` [B]; returns it so standardised."""
        self.loc.copy_(target.mean())
        self.scale.copy_(target.std().clamp_min(1e-3))
        return self.standard(target)

    def standard(self, target: Tensor) -> Tensor:
        """[B] log1p of spend -> [B] standard deviations from the average."""
        return (target - self.loc) / self.scale


class HuberHead(_Scaled):
    """A location of log1p of spend, decoded by the residuals that it had on validation rows. Huber 1964; Duan 1983."""

    out = 1

    def __init__(self, config: HuberConfig) -> None:
        super().__init__()
        self.delta = config.delta
        self.residuals: Residuals | None = None

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [1] that predict the average of `target` [B], log1p of spend."""
        self.standardise_by(target)
        return torch.zeros(1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, 1], log1p of spend [B] -> mean loss []."""
        return huber_loss(out[:, 0], self.standard(target), delta=self.delta)

    def location(self, out: Tensor) -> Tensor:
        """The centre of log1p of spend: [B, 1] -> [B]."""
        return self.loc + self.scale * out[:, 0]

    def calibrate(self, out: Tensor, y: np.ndarray) -> None:
        """Keep the residuals of outputs [B, 1] for spend `y` [B], rows the net was not trained on, about their
        level."""
        self.residuals = Residuals.fit(as_numpy(self.location(at_level(self, out, y))), y)

    def calibrated_as(self, other: Any) -> None:
        """Take over what another head of this kind learned in `calibrate`."""
        self.residuals = other.residuals

    def mean(self, out: Tensor) -> np.ndarray:
        """Expected spend, in the currency of the orders: [B, 1] -> [B]."""
        assert self.residuals is not None, "calibrate first"
        return self.residuals.mean(as_numpy(self.location(out)))

    def quantile(self, out: Tensor, level: float) -> np.ndarray:
        """The quantile of spend at `level`: [B, 1] -> [B]."""
        assert self.residuals is not None, "calibrate first"
        return self.residuals.quantile(as_numpy(self.location(out)), level)


class QuantileHead(_Scaled):
    """Quantiles of log1p of spend, monotone by construction: the first is free, the others add a softplus. Koenker &
    Bassett 1978.

    Money is decoded from the quantiles themselves; only their mean is corrected, by decile, for the tail beyond the
    last level.
    """

    levels: Tensor

    def __init__(self, config: QuantileConfig) -> None:
        super().__init__()
        self.out = len(config.levels)
        self.register_buffer("levels", torch.tensor(config.levels, dtype=torch.float32))
        self.correction: MeanCorrection | None = None

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [Q] that predict the quantiles of `target` [B], log1p of spend."""
        quantiles = torch.quantile(self.standardise_by(target), self.levels)
        steps = quantiles.diff().clamp_min(1e-3)
        return torch.cat([quantiles[:1], steps.expm1().log()])  # the inverse of softplus

    def standard_quantiles(self, out: Tensor) -> Tensor:
        """[B, Q] -> increasing quantiles [B, Q], in standard deviations."""
        return torch.cat([out[:, :1], softplus(out[:, 1:])], dim=1).cumsum(dim=1)

    def quantiles(self, out: Tensor) -> Tensor:
        """[B, Q] -> increasing quantiles of log1p of spend [B, Q]."""
        return self.loc + self.scale * self.standard_quantiles(out)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, Q], log1p of spend [B] -> mean pinball loss []."""
        error = self.standard(target)[:, None] - self.standard_quantiles(out)  # [B, Q]
        return torch.maximum(self.levels * error, (self.levels - 1) * error).mean()

    def location(self, out: Tensor) -> Tensor:
        """The mean of the quantiles of log1p of spend: [B, Q] -> [B]. As a rank it beats the median, which ties at
        0."""
        return self.quantiles(out).mean(dim=1)

    def calibrate(self, out: Tensor, y: np.ndarray) -> None:
        """Keep by how much the mean falls short for spend `y` [B], by decile, about their level; rows the net was not
        trained on."""
        self.correction = MeanCorrection.fit(self._raw_mean(at_level(self, out, y)), y)

    def calibrated_as(self, other: Any) -> None:
        """Take over what another head of this kind learned in `calibrate`."""
        self.correction = other.correction

    def mean(self, out: Tensor) -> np.ndarray:
        """Expected spend, in the currency of the orders: [B, Q] -> [B]."""
        assert self.correction is not None, "calibrate first"
        return self.correction.apply(self._raw_mean(out))

    def quantile(self, out: Tensor, level: float) -> np.ndarray:
        """The quantile of spend at `level`, linear between the head's own: [B, Q] -> [B]."""
        return interpolated(as_numpy(self.quantiles(out)), levels=as_numpy(self.levels), at=np.array([level]))[:, 0]

    def _raw_mean(self, out: Tensor) -> np.ndarray:
        return interpolated(as_numpy(self.quantiles(out)), levels=as_numpy(self.levels), at=LEVELS).mean(axis=1)


def at_level(head: Head, out: Tensor, y: np.ndarray) -> Tensor:
    """Outputs [B, out], all shifted alike so that the head's own loss for spend `y` [B] is least.

    The net that is calibrated met the level of these rows as a surprise; the one that predicts has learned from them
    and knows it. Only the spread about that level is news to it, or a season's shift would be counted twice. The level
    is that of the loss and not the mean residual, since a head that says a median of log spend does not say its mean.
    """
    target = torch.from_numpy(np.log1p(y)).to(out)

    def shifted(by: float) -> Tensor:
        return torch.cat([out[:, :1] + by, out[:, 1:]], dim=1)  # the first output moves all quantiles

    best = minimize_scalar(lambda by: float(head.loss(shifted(by), target)), bounds=(-10, 10), method="bounded")
    return shifted(float(best.x))


def build_head(config: "HuberConfig | QuantileConfig") -> "HuberHead | QuantileHead":
    """The head that `config` names."""
    match config:
        case HuberConfig():
            return HuberHead(config)
        case QuantileConfig():
            return QuantileHead(config)


def as_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers on the CPU, float64."""
    return tensor.detach().cpu().double().numpy()
