"""The predictive distribution of BTYD, against the models drawn from by hand: closed forms and simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import gamma, nbinom

from patron.features.btyd import GammaGamma
from patron.features.btyd.predictive import MOST_COUNTED, POINTS, counts_of_buyers, spend_of_buyers


def test_counts_have_the_mean_and_the_law_that_was_expected() -> None:
    """Given a purchase the others are negative binomial: mean and share of each number."""
    expected, p, shape = np.array([0.3, 1.5, 6.0]), np.array([0.2, 0.7, 0.95]), np.array([0.5, 1.2, 4.0])
    counts = counts_of_buyers(expected, p, shape=shape)
    assert counts.shape == (3, POINTS)
    assert counts.min() == 1
    assert_allclose(counts.mean(axis=1), expected / p, rtol=0.02)
    others = expected / p - 1
    for row, mean, size in zip(counts, others, shape + 1, strict=True):
        law = nbinom(size, size / (size + mean))
        for number in range(4):
            assert (row == number + 1).mean() == pytest.approx(law.pmf(number), abs=0.01)


def test_who_buys_hundreds_of_times_has_as_many() -> None:
    counts = counts_of_buyers(np.array([400.0]), np.array([1.0]), shape=np.array([30.0]))
    assert counts.mean() == pytest.approx(400, rel=0.02)
    assert counts.std() == pytest.approx(np.sqrt(399 + 399**2 / 31), rel=0.06)
    assert counts.max() > MOST_COUNTED


def test_one_is_said_apart_from_all_others() -> None:
    expected, p, shape = np.array([0.3, 1.5, 6.0]), np.array([0.2, 0.7, 0.95]), np.array([0.5, 1.2, 4.0])
    both = counts_of_buyers(expected, p, shape=shape)
    alone = counts_of_buyers(expected[1:2], p[1:2], shape=shape[1:2])
    assert_allclose(both[1], alone[0], rtol=0)


def test_spend_is_that_of_a_simulation() -> None:
    """Quantiles of 200,000 draws: a rate nu given the past, then so many purchases of Gamma(p, nu)."""
    model = GammaGamma(p=3.0, q=4.0, v=30.0, mean_spend=30.0)
    counts = counts_of_buyers(np.array([2.0]), np.array([0.8]), shape=np.array([1.5]))
    frequency, monetary = np.array([2.0]), np.array([45.0])
    found = spend_of_buyers(counts, spend=model, frequency=frequency, monetary=monetary)
    rng = np.random.default_rng(0)
    others = nbinom(2.5, 2.5 / (2.5 + 1.5)).rvs(200_000, random_state=rng)
    nu = gamma(4 + 3 * 2).rvs(200_000, random_state=rng) / (30 + 2 * 45)
    drawn = gamma(3 * (1 + others)).rvs(random_state=rng) / nu
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    assert_allclose(np.quantile(found[0], levels), np.quantile(drawn, levels), rtol=0.05)
    assert found.mean() == pytest.approx(drawn.mean(), rel=0.03)
