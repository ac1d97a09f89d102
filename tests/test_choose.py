"""Choices on validation rows: the standard error of a gain among customers with several rows, and losses of ranks."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

from patron.estimators.choose import Advantage, advantage, rank_losses


def test_advantage_by_hand() -> None:
    """Gains 1, 3 of one customer and -1, 5 of two others average 2; about it they sum to 0, -3 and 3."""
    reference, other = np.array([2.0, 4.0, 1.0, 6.0]), np.array([1.0, 1.0, 2.0, 1.0])
    found = advantage(reference, other, customers=pd.Series(["a", "a", "b", "c"]))
    assert found.gain == pytest.approx(2.0)
    assert found.se == pytest.approx(np.sqrt(3 / 2 * (0 + 9 + 9)) / 4)


def test_one_row_a_customer_is_the_standard_error_of_a_mean() -> None:
    gains = np.random.default_rng(0).normal(1, 2, 50)
    found = advantage(gains, np.zeros(50), customers=pd.Series(np.arange(50)))
    assert found.se == pytest.approx(gains.std(ddof=1) / np.sqrt(50))


def test_rows_that_repeat_tell_nothing_new() -> None:
    """Every row five times over: the standard error stays, where that of as many customers would be less than half."""
    gains = np.random.default_rng(0).normal(1, 2, 40)
    once = advantage(gains, np.zeros(40), customers=pd.Series(np.arange(40)))
    often = advantage(np.tile(gains, 5), np.zeros(200), customers=pd.Series(np.tile(np.arange(40), 5)))
    assert_allclose([often.gain, often.se], [once.gain, once.se])
    apart = advantage(np.tile(gains, 5), np.zeros(200), customers=pd.Series(np.arange(200)))
    assert apart.se < 0.5 * often.se


def test_standard_error_is_that_of_a_bootstrap_of_customers() -> None:
    rng = np.random.default_rng(1)
    customers = rng.integers(300, size=900)
    gains = rng.normal(size=300)[customers] + rng.normal(size=900)
    found = advantage(gains, np.zeros(900), customers=pd.Series(customers))
    sums, counts = np.bincount(customers, gains, 300), np.bincount(customers, minlength=300)
    drawn = rng.multinomial(300, np.full(300, 1 / 300), size=4_000)
    resampled = (drawn @ sums) / (drawn @ counts)
    assert found.se == pytest.approx(resampled.std(), rel=0.06)
    assert found.se > 1.2 * gains.std() / np.sqrt(900)  # rows are no customers


def test_of_one_customer_nothing_is_clear() -> None:
    found = advantage(np.array([2.0, 1.0]), np.array([1.0, 1.0]), customers=pd.Series(["a", "a"]))
    assert (found.gain, found.se, found.is_clear) == (0.5, np.inf, False)


def test_what_rounding_gains_is_nothing() -> None:
    reference = np.full(50, 0.3)
    assert not advantage(reference, reference - 1e-16, customers=pd.Series(np.arange(50))).is_clear
    assert advantage(reference, reference - 1e-4, customers=pd.Series(np.arange(50))).is_clear


@pytest.mark.parametrize(("gain", "se", "is_clear"), [(1.0, 0.9, True), (1.0, 1.0, False), (-1.0, 0.1, False)])
def test_clear_is_more_than_one_standard_error(gain: float, se: float, is_clear: bool) -> None:
    assert Advantage(gain, se, 0.0).is_clear is is_clear
    assert not Advantage(gain, se, 1.0).is_clear  # no more than rounding


@pytest.mark.parametrize("ties", [False, True])
def test_rank_losses_are_shares_of_spearman(ties: bool) -> None:
    rng = np.random.default_rng(2)
    y, score = rng.normal(size=200), rng.normal(size=200)
    y = y + 0.5 * score
    if ties:
        y, score = np.maximum(y, 0).round(1), score.round(1)
    losses = rank_losses(y, score)
    assert losses.shape == (200,)
    assert losses.mean() == pytest.approx(-spearmanr(y, score).statistic, rel=1e-12)


def test_rank_losses_by_hand() -> None:
    """Ranks of three are -1.22, 0 and 1.22 standard deviations."""
    assert_allclose(rank_losses(np.array([5.0, 1.0, 3.0]), np.array([10.0, 20.0, 30.0])), [1.5, 0.0, 0.0], atol=1e-12)


def test_a_score_that_does_not_vary_ranks_nobody() -> None:
    assert_allclose(rank_losses(np.array([1.0, 2.0, 3.0]), np.ones(3)), 0)
