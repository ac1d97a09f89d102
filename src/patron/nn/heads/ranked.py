"""Three views of spend at once: its rank, its fourth root, and whether there is any."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

from patron.calibration.decode import Centre, log_of_payers
from patron.nn.heads.base import Scaled, as_numpy


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RankedConfig:
    """Cross-entropy on ranks and on spend > 0, and Huber loss on the fourth root, linear beyond `delta` standard
    deviations."""

    name: Literal["ranked"]
    delta: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Start:
    """Where a net starts from, for each row: the fourth root of spend, and logits of its percentile and of spend > 0:
    [B] each. What it learns is the correction."""

    root: np.ndarray
    rank: np.ndarray
    buys: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """The same as inputs: [B, 3]."""
        return np.column_stack([self.root, self.rank, self.buys]).astype(np.float32)


class RankedHead(Scaled):
    """The fourth root of spend in standard deviations from its average, the logit of the share of customers who spend
    less, and that of P(spend > 0).

    Spearman's correlation is Pearson's of ranks, so what is expected of a rank ranks best; the fourth root keeps its
    scale where customers are heavy, and is decoded to money by its residuals.
    """

    out = 3

    def __init__(self, config: RankedConfig) -> None:
        super().__init__()
        self.delta = config.delta

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [3] that predict the average rank, root and share of payers of `target` [B], log1p of spend."""
        self.standardise_by(target, among=_root(target))
        share = (target > 0).float().mean().clamp(1e-3, 1 - 1e-3)
        return torch.stack([torch.zeros(()), torch.zeros(()), share.logit().cpu()])

    def offset(self, start: Start) -> Tensor:
        """What outputs are when they say `start`: [B, 3]."""
        root = (torch.from_numpy(start.root).float() - self.loc) / self.unit
        return torch.stack([root, *(torch.from_numpy(logit).float() for logit in (start.rank, start.buys))], dim=1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, 3], log1p of spend [B] of customers at one cutoff -> mean loss []."""
        root = huber_loss(out[:, 0], self.standard(_root(target)), delta=self.delta)
        rank = binary_cross_entropy_with_logits(out[:, 1], _percentile(target))
        return root + rank + binary_cross_entropy_with_logits(out[:, 2], (target > 0).to(out))

    def root(self, out: Tensor) -> Tensor:
        """The fourth root of spend: [B, 3] -> [B]."""
        return self.loc + self.unit * out[:, 0]

    def location(self, out: Tensor) -> Tensor:
        """log1p of spend, from its root: [B, 3] -> [B]."""
        return self.root(out).clamp_min(0).pow(4).log1p()

    def rank(self, out: Tensor) -> Tensor:
        """The logit of the share of customers who spend less: [B, 3] -> [B]."""
        return out[:, 1]

    def forecast(self, out: Tensor) -> Centre:
        """The logit of P(spend > 0), and payers by their root, which the rank may correct: [B, 3] -> [B]."""
        root, rank, active = (as_numpy(part) for part in (self.root(out), out[:, 1], out[:, 2]))
        return Centre(active, log_of_payers(root, active), rank[:, None])


def _root(target: Tensor) -> Tensor:
    return target.expm1().pow(0.25)


def _percentile(target: Tensor) -> Tensor:
    # Mid-ranks over their number: [B] in (0, 1).
    _, place, count = torch.unique(target, return_inverse=True, return_counts=True)
    below = count.cumsum(0) - count
    return ((below + count / 2) / len(target))[place]
