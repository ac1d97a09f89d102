"""What all heads share: the scale of their outputs, their level, and the two ways back to money."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from patron.decode import LEVELS, MeanCorrection, Residuals


class Head(Protocol):
    """Outputs of width `out` a customer; decoded to money after `calibrate`. `p_active` is the probability of spend
    above 0, or None of a head that does not know it."""

    out: int

    def start_at(self, target: Tensor) -> Tensor: ...
    def loss(self, out: Tensor, target: Tensor) -> Tensor: ...
    def rank(self, out: Tensor) -> Tensor: ...
    def location(self, out: Tensor) -> Tensor: ...
    def calibrate(self, out: Tensor, y: np.ndarray) -> Tensor: ...
    def calibrated_as(self, other: Any) -> None: ...
    def mean(self, out: Tensor) -> np.ndarray: ...
    def quantile(self, out: Tensor, level: float) -> np.ndarray: ...
    def p_active(self, out: Tensor) -> "np.ndarray | None": ...
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

    def p_active(self, out: Tensor) -> np.ndarray | None:
        """The probability of spend above 0, [B], of a head that knows it."""
        return None

    def offset(self, start: Any) -> Tensor:
        """What outputs are when they say `start`: [B, out], of a head that can start from anywhere."""
        raise NotImplementedError(f"{type(self).__name__} starts at the average; use the head 'ranked'")


class ByResiduals(Scaled):
    """Decoded by the residuals that its location had on validation rows. Duan 1983."""

    residuals: Residuals | None = None

    def calibrate(self, out: Tensor, y: np.ndarray) -> Tensor:
        """Keep the residuals of outputs [B, out] for spend `y` [B], rows the net was not trained on, about their
        level; returns the outputs at that level."""
        out = at_level(self, out, y)
        self.residuals = Residuals.fit(as_numpy(self.location(out)), y)
        return out

    def calibrated_as(self, other: Any) -> None:
        """Take over what another head of this kind learned in `calibrate`."""
        self.residuals = other.residuals

    def mean(self, out: Tensor) -> np.ndarray:
        """Expected spend, in the currency of the orders: [B, out] -> [B]."""
        assert self.residuals is not None, "calibrate first"
        return self.residuals.mean(as_numpy(self.location(out)))

    def quantile(self, out: Tensor, level: float) -> np.ndarray:
        """The quantile of spend at `level`: [B, out] -> [B]."""
        assert self.residuals is not None, "calibrate first"
        return self.residuals.quantile(as_numpy(self.location(out)), level)


class ByQuantiles(Scaled):
    """Decoded from the quantiles that the head says itself; only their mean is corrected, by decile, for the tail
    beyond the last level."""

    correction: MeanCorrection | None = None

    @abstractmethod
    def spend(self, out: Tensor, levels: np.ndarray) -> np.ndarray:
        """Spend at `levels` [L], in the currency of the orders: [B, out] -> [B, L]."""

    def calibrate(self, out: Tensor, y: np.ndarray) -> Tensor:
        """Keep by how much the mean of outputs [B, out] falls short for spend `y` [B], by decile, about their level;
        rows the net was not trained on. Returns the outputs at that level."""
        out = at_level(self, out, y)
        self.correction = MeanCorrection.fit(self._raw_mean(out), y)
        return out

    def calibrated_as(self, other: Any) -> None:
        """Take over what another head of this kind learned in `calibrate`."""
        self.correction = other.correction

    def mean(self, out: Tensor) -> np.ndarray:
        """Expected spend, in the currency of the orders: [B, out] -> [B]."""
        assert self.correction is not None, "calibrate first"
        return self.correction.apply(self._raw_mean(out))

    def quantile(self, out: Tensor, level: float) -> np.ndarray:
        """The quantile of spend at `level`: [B, out] -> [B]."""
        return self.spend(out, np.array([level]))[:, 0]

    def _raw_mean(self, out: Tensor) -> np.ndarray:
        return self.spend(out, LEVELS).mean(axis=1)


def at_level(head: Scaled, out: Tensor, y: np.ndarray) -> Tensor:
    """Outputs [B, out], all shifted alike so that the head's own loss for spend `y` [B] is least.

    The net that is calibrated met the level of these rows as a surprise; the one that predicts has learned from them
    and knows it. Only the spread about that level is news to it, or a season's shift would be counted twice. The level
    is that of the loss and not the mean residual, since a head that says a median of log spend does not say its mean.
    """
    target = torch.from_numpy(np.log1p(y)).to(out)
    for at in head.levels_at:  # they meet in no term of the loss
        best = minimize_scalar(_loss_at(head, out, target, at), bounds=(-10, 10), method="bounded")
        out = shifted(out, float(best.x), at=at)
    return out


def _loss_at(head: Scaled, out: Tensor, target: Tensor, at: int) -> Any:
    return lambda by: float(head.loss(shifted(out, by, at=at), target))


def shifted(out: Tensor, by: float, *, at: int) -> Tensor:
    """Outputs [B, out] with `by` added to that at place `at`."""
    chosen = torch.zeros(out.shape[1], dtype=out.dtype, device=out.device)
    chosen[at] = 1
    return out + chosen * by


def as_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers on the CPU, float64."""
    return tensor.detach().cpu().double().numpy()
