"""Choices on validation rows: is one way of saying something better than another by more than chance?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

ROUNDING = 1e-5  # of the mean loss: what a net in float32 that changes nothing may seem to gain


@dataclass(frozen=True)
class Advantage:
    """By how much one loss is below another on average, and the standard error of that, customers being clusters."""

    gain: float
    se: float

    @property
    def is_clear(self) -> bool:
        """Whether the gain exceeds its standard error."""
        return self.gain > self.se


def advantage(reference: np.ndarray, other: np.ndarray, *, customers: pd.Series) -> Advantage:
    """That of losses `other` over losses `reference`, [n] each, of rows of `customers`."""
    codes, names = pd.factorize(customers)
    gains = reference - other
    gain = float(gains.mean())
    if len(names) < 2:
        return Advantage(gain, np.inf)  # of one customer nobody knows how much others differ
    by_customer = np.bincount(codes, weights=gains - gain)
    several = len(names) / (len(names) - 1)
    se = float(np.sqrt(several * (by_customer**2).sum()) / len(gains))
    return Advantage(gain, max(se, ROUNDING * float(np.abs(reference).mean())))


def rank_losses(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """[n], minus the share of each row in Spearman's correlation: their mean is minus that correlation."""
    return -_standard_ranks(y) * _standard_ranks(score)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(values)
    return (ranks - ranks.mean()) / max(ranks.std(), 1e-9)
