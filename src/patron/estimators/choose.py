"""Choices on validation rows: is one way of saying something better than another by more than chance?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

ROUNDING = 1e-5  # of the mean loss: what a net in float32 that changes nothing may seem to gain


@dataclass(frozen=True)
class Advantage:
    """By how much one loss is below another on average, the standard error of that, customers being clusters, and the
    least gain that is no rounding."""

    gain: float
    se: float
    least: float

    @property
    def is_clear(self) -> bool:
        """Whether the gain exceeds its standard error, and what rounding may seem to gain."""
        return self.gain > max(self.se, self.least)


def advantage(reference: np.ndarray, other: np.ndarray, *, customers: pd.Series) -> Advantage:
    """That of losses `other` over losses `reference`, [n] each, of rows of `customers`."""
    codes, names = pd.factorize(customers)
    gains = reference - other
    gain, least = float(gains.mean()), ROUNDING * float(np.abs(reference).mean())
    if len(names) < 2:
        return Advantage(gain, np.inf, least)  # of one customer nobody knows how much others differ
    by_customer = np.bincount(codes, weights=gains - gain)
    several = len(names) / (len(names) - 1)
    se = float(np.sqrt(several * (by_customer**2).sum()) / len(gains))
    return Advantage(gain, se, least)


def rank_losses(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """[n], minus the share of each row in Spearman's correlation: their mean is minus that correlation."""
    return -_standard_ranks(y) * _standard_ranks(score)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(values)
    return (ranks - ranks.mean()) / max(ranks.std(), 1e-9)
