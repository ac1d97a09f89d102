"""What all heads share: the scale of their outputs, their level, and what they say to who decodes them to money."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from patron.calibration.decode import Centre, Forecast


class Head(Protocol):
    """Outputs of width `out` a customer. `forecast` is what a `Decoder` makes a distribution of spend from; `levels_at`
    are the outputs that carry a level."""

    out: int

    def start_at(self, target: Tensor) -> Tensor: ...
    def loss(self, out: Tensor, target: Tensor) -> Tensor: ...
    def rank(self, out: Tensor) -> Tensor: ...
    def location(self, out: Tensor) -> Tensor: ...
    def forecast(self, out: Tensor) -> Forecast: ...
    def offset(self, start: Any) -> Tensor: ...


class Scaled(nn.Module, ABC):
    """`scale` is the standard deviation of the target, log1p of spend, and `unit` what the first output counts in; it
    moves all that the head says of who spends at all. `levels_at` are the outputs that carry a level, each its own."""

    scale: Tensor
    loc: Tensor
    unit: Tensor
    levels_at: tuple[int, ...] = (0,)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("loc", torch.zeros(()))
        self.register_buffer("unit", torch.ones(()))

    @abstractmethod
    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Outputs [B, out], log1p of spend [B] -> mean loss []."""

    @abstractmethod
    def location(self, out: Tensor) -> Tensor:
        """The centre of log1p of spend: [B, out] -> [B]."""

    def standardise_by(self, target: Tensor, *, among: Tensor | None = None) -> Tensor:
        """From now on outputs are standard deviations from the average of `among` (default: of `target` [B]); returns
        it so standardised."""
        self.scale.copy_(target.std().clamp_min(1e-3))
        among = target if among is None else among
        self.loc.copy_(among.mean())
        self.unit.copy_(among.std().clamp_min(1e-3))
        return self.standard(among)

    def standard(self, values: Tensor) -> Tensor:
        """[B] -> [B] standard deviations from the average."""
        return (values - self.loc) / self.unit

    def rank(self, out: Tensor) -> Tensor:
        """What ranks customers: [B, out] -> [B]; the location, of a head that has nothing better."""
        return self.location(out)

    def forecast(self, out: Tensor) -> Forecast:
        """What the outputs [B, out] say of P(spend > 0) and of payers, for a `Decoder`. Of a head that does not tell
        payers apart the location stands for both."""
        location = as_numpy(self.location(out))
        return Centre(location, location, np.empty((len(location), 0)))

    def offset(self, start: Any) -> Tensor:
        """What outputs are when they say `start`: [B, out], of a head that can start from anywhere."""
        raise NotImplementedError(f"{type(self).__name__} starts at the average; use the head 'ranked'")


def level(head: Scaled, out: Tensor, y: np.ndarray) -> Tensor:
    """By what outputs [B, out] are to be shifted, all alike, so that the head's own loss for spend `y` [B] is least:
    [out].

    The net that is calibrated met the level of these rows as a surprise; the one that predicts has learned from them
    and knows it. Only the spread about that level is news to it, or a season's shift would be counted twice. The level
    is that of the loss and not the mean residual, since a head that says a median of log spend does not say its mean.
    """
    target = torch.from_numpy(np.log1p(y)).to(out)
    shift = torch.zeros(out.shape[1], dtype=out.dtype, device=out.device)
    for at in head.levels_at:  # they meet in no term of the loss
        best = minimize_scalar(_loss_at(head, out + shift, target, at), bounds=(-10, 10), method="bounded")
        shift[at] = float(best.x)
    return shift


def _loss_at(head: Scaled, out: Tensor, target: Tensor, at: int) -> Any:
    unit = torch.zeros(out.shape[1], dtype=out.dtype, device=out.device)
    unit[at] = 1
    return lambda by: float(head.loss(out + unit * by, target))


def as_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers on the CPU, float64."""
    return tensor.detach().cpu().double().numpy()
