"""The zero-inflated lognormal."""

from typing import Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from patron.calibration.distribution import Distribution, lognormal
from patron.nn.heads.base import Scaled, as_numpy
from patron.nn.heads.hurdle import hurdle_logit, payers

NARROWEST = 1e-2  # standard deviation, of the payers' log of spend: a likelihood without a floor has no bottom


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ZILNConfig:
    """Negative log likelihood of a zero-inflated lognormal."""

    name: Literal["ziln"]


class ZILNHead(Scaled):
    """Centre and width of the log of payers' spend, in its standard deviations, and the logit of P(spend > 0). Wang,
    Liu & Miao 2019."""

    out = 3
    levels_at = (0, 2)

    def __init__(self, config: ZILNConfig) -> None:
        super().__init__()

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [3] of the one zero-inflated lognormal that fits `target` [B], log1p of spend, best."""
        logs = self.standardise_by(target, among=_log_spend(payers(target)))
        width = logs.std(correction=0).clamp_min(2 * NARROWEST) - NARROWEST
        return torch.stack([logs.mean(), width.expm1().log(), hurdle_logit(target)])

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, 3], log1p of spend [B] -> mean negative log likelihood, up to a constant: []."""
        pays = target > 0
        width = _width(out)
        error = (self.standard(_log_spend(target)) - out[:, 0]) / width
        of_payer = torch.where(pays, error.square() / 2 + width.log(), 0.0)
        return binary_cross_entropy_with_logits(out[:, 2], pays.to(out)) + of_payer.mean()

    def location(self, out: Tensor) -> Tensor:
        """P(spend > 0) times log1p of the payer's median, near the mean of log1p of spend: [B, 3] -> [B]."""
        return torch.sigmoid(out[:, 2]) * softplus(self.loc + self.unit * out[:, 0])

    def forecast(self, out: Tensor) -> Distribution:
        """P(spend > 0) and the lognormal of payers: [B, 3] -> [B]."""
        centre = float(self.loc) + float(self.unit) * as_numpy(out[:, 0])
        return lognormal(expit(as_numpy(out[:, 2])), centre, float(self.unit) * as_numpy(_width(out)))


def _log_spend(target: Tensor) -> Tensor:
    # Of log1p of spend; of who spends nothing anything finite, for the gradient of a row that does not count is 0 * it.
    return torch.where(target > 0, target, 1.0).expm1().log()


def _width(out: Tensor) -> Tensor:
    return NARROWEST + softplus(out[:, 1])
