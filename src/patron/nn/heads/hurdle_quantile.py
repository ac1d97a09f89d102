"""Whether a customer spends, and quantiles of how much if so."""

from typing import Literal

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.special import expit, ndtri
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from patron.calibration.decode import TAIL
from patron.calibration.distribution import LEVELS, Distribution
from patron.nn.heads.base import Scaled, as_numpy
from patron.nn.heads.hurdle import hurdle_logit, payers
from patron.nn.heads.quantile import Levels, increasing, pinball, start_of_quantiles

EVEN = np.linspace(0.05, 0.95, 19)  # levels of which an expectation is the mean
LEAST = 1e-2  # log1p of spend, below which a quantile goes on towards 0 as its log does
RUNGS = 101  # of the ladder of payers' spend


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HurdleQuantileConfig:
    """Cross-entropy of spend > 0, and pinball loss at `levels` among payers, which never cross."""

    name: Literal["hurdle_quantile"]
    levels: Levels


class HurdleQuantileHead(Scaled):
    """Quantiles of log1p of payers' spend, and last the logit of P(spend > 0). Cragg 1971; Koenker & Bassett 1978.

    Ranks are expected percentiles: Spearman's correlation is that of ranks, and what is expected of a rank ranks best.
    """

    levels: Tensor
    ladder: Tensor
    zeros: Tensor
    levels_at = (0, -1)

    def __init__(self, config: HurdleQuantileConfig) -> None:
        super().__init__()
        self.out = len(config.levels) + 1
        self.register_buffer("levels", torch.tensor(config.levels, dtype=torch.float32))
        self.register_buffer("ladder", torch.linspace(-1, 1, RUNGS))
        self.register_buffer("zeros", torch.zeros(()))

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [Q + 1] that predict the share of payers and their quantiles of `target` [B], log1p of spend."""
        among = self.standardise_by(target, among=payers(target))
        self.ladder.copy_(torch.quantile(among, torch.linspace(0, 1, RUNGS).to(among)))
        self.zeros.copy_((target <= 0).float().mean())
        return torch.cat([start_of_quantiles(among, self.levels), hurdle_logit(target)[None]])

    def quantiles(self, out: Tensor) -> Tensor:
        """[B, Q + 1] -> increasing quantiles of log1p of spend among payers [B, Q]."""
        return self.loc + self.unit * increasing(out[:, :-1])

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """[B, Q + 1], log1p of spend [B] -> mean cross-entropy, plus the pinball loss of payers a customer: []."""
        pays = (target > 0).to(out)
        of_payer = pinball(increasing(out[:, :-1]), self.standard(target), levels=self.levels).mean(dim=1)
        return binary_cross_entropy_with_logits(out[:, -1], pays) + (pays * of_payer).mean()

    def location(self, out: Tensor) -> Tensor:
        """Expected log1p of spend: [B, Q + 1] -> [B]."""
        return torch.sigmoid(out[:, -1]) * self.quantiles(out).mean(dim=1)

    def rank(self, out: Tensor) -> Tensor:
        """The expected share of customers who spend less, ties halved, by the distribution of the target that the head
        started at: [B, Q + 1] -> [B]. Beyond its ends ranks go on rising, by next to nothing."""
        quantiles = increasing(out[:, :-1]) @ _evenly(self.levels).to(out)  # [B, L] standard deviations
        among, p = _share_below(quantiles, self.ladder.to(out)).mean(dim=1), torch.sigmoid(out[:, -1])
        expected = (1 - p) * self.zeros / 2 + p * (self.zeros + (1 - self.zeros) * among)
        return expected + 1e-4 * p * quantiles.mean(dim=1)

    def forecast(self, out: Tensor) -> Distribution:
        """P(spend > 0) and payers' quantiles, between and beyond the head's own linear in normal scores, as those of a
        lognormal are: [B, Q + 1] -> [B]."""
        scores, known = ndtri(LEVELS), ndtri(as_numpy(self.levels))
        upper = np.clip(np.searchsorted(known, scores), 1, len(known) - 1)
        share = (scores - known[upper - 1]) / (known[upper] - known[upper - 1])
        quantiles = as_numpy(self.quantiles(out))
        log1p = quantiles[:, upper - 1] * (1 - share) + quantiles[:, upper] * share
        logs = np.where(log1p > LEAST, np.log(np.expm1(np.maximum(log1p, LEAST))), log1p + np.log(LEAST) - LEAST)
        return Distribution(expit(as_numpy(out[:, -1])), logs, np.full(len(logs), TAIL))


def _evenly(levels: Tensor) -> Tensor:
    # By which quantiles at `levels` [Q] are multiplied to have them at EVEN, linear between: [Q, L].
    known = as_numpy(levels)
    return torch.from_numpy(np.stack([np.interp(EVEN, known, one) for one in np.eye(len(known))]))


def _share_below(values: Tensor, ladder: Tensor) -> Tensor:
    # Where `values` [B, L] stand between the rungs: [B, L] within [0, 1].
    above = torch.searchsorted(ladder, values.contiguous()).clamp(1, RUNGS - 1)
    low, high = ladder[above - 1], ladder[above]
    within = ((values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    return (above - 1 + within) / (RUNGS - 1)
