"""The predictive distribution of purchases and of what they come to, given that there is one.

A purchase model says P(N >= 1) and E[N] of the N purchases to come. Given one of them the rate is Gamma with a shape of
r + frequency + 1, so that the others are negative binomial with that shape; their mean is such that E[N] is right,
however customers leave. What n purchases come to, after x past ones with the mean m, is a ratio of gamma variables:
(v + x m) Gamma(p n) / Gamma(q + p x) (Fader & Hardie 2013).

Quantiles are read off low-discrepancy points, the same for all customers: what is said of one depends on no other.
"""

import numpy as np
from scipy.special import ndtri

from patron.features.btyd.gamma_gamma import GammaGamma

POINTS = 256
MOST_COUNTED = 60  # purchases beyond the first; the few customers who expect more have a gamma count
_GOLDEN = 1.2207440846057596  # in three dimensions: the real root of x^4 = x + 1 (Roberts 2018)


def counts_of_buyers(expected: np.ndarray, p_purchase: np.ndarray, *, shape: np.ndarray) -> np.ndarray:
    """Equally likely numbers of purchases, given that there is one: `expected`, `p_purchase`, `shape` [n] ->
    [n, POINTS]. Their mean is expected / p_purchase, but for the discrepancy of the points."""
    mean = np.maximum(expected / np.maximum(p_purchase, 1e-12) - 1, 0)[:, None]
    shape, u = shape[:, None] + 1, _points()[0]
    odds = mean / (mean + shape)
    probability = (1 - odds) ** shape
    below, count = probability.copy(), np.zeros((len(mean), POINTS))
    for k in range(MOST_COUNTED):
        count += u > below
        probability = probability * odds * (shape + k) / (k + 1)
        below += probability
    gamma = mean / shape * _gamma_quantile(shape, ndtri(u))
    return 1 + np.where(mean > MOST_COUNTED / 3, gamma, count)


def spend_of_buyers(
    counts: np.ndarray, *, spend: GammaGamma, frequency: np.ndarray, monetary: np.ndarray
) -> np.ndarray:
    """Equally likely sums of money of `counts` [n, POINTS] purchases, after `frequency` [n] ones with the mean
    `monetary` [n]: [n, POINTS]."""
    _, first, second = _points()
    own, past = spend.p * counts, spend.q + spend.p * frequency[:, None]
    unit = spend.v + (frequency * np.maximum(monetary, 0))[:, None]
    return unit * _gamma_quantile(own, ndtri(first)) / _gamma_quantile(past, ndtri(second))


def _points() -> np.ndarray:
    # An additive recurrence of low discrepancy: [3, POINTS] in (0, 1).
    steps = _GOLDEN ** -np.arange(1.0, 4.0)
    return (0.5 + np.outer(steps, np.arange(1, POINTS + 1))) % 1


def _gamma_quantile(shape: np.ndarray, z: np.ndarray) -> np.ndarray:
    # Wilson & Hilferty 1931: the cube root of a gamma variable is nearly normal. For small shapes by one of shape + 1,
    # of which a uniform's power makes it, the tail being what counts.
    lifted = np.where(shape < 1, shape + 1, shape)
    value = lifted * np.maximum(1 - 1 / (9 * lifted) + z / (3 * np.sqrt(lifted)), 0.05) ** 3
    return np.where(shape < 1, value * shape / lifted, value)
