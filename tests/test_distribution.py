"""The predictive distribution against a zero-inflated lognormal and a Pareto tail in closed form."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import lognorm, norm

from patron.calibration.distribution import END, LEVELS, Distribution, blend, concat, crps

SIGMA = 0.8
P = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
MU = np.array([3.0, 2.0, 3.0, 4.0, 5.0])


def zero_inflated_lognormal(p: np.ndarray = P, mu: np.ndarray = MU, *, tail: float | None = None) -> Distribution:
    logs = mu[:, None] + SIGMA * norm.ppf(LEVELS)
    # What is expected beyond the last level, in units of the quantile there.
    beyond = np.exp(SIGMA**2 / 2) * norm.sf(norm.ppf(LEVELS[-1]) - SIGMA) / END / np.exp(SIGMA * norm.ppf(LEVELS[-1]))
    return Distribution(p, logs, np.full(len(p), beyond if tail is None else tail))


def test_mean_is_that_of_the_distribution() -> None:
    assert_allclose(zero_inflated_lognormal().mean, P * np.exp(MU + SIGMA**2 / 2), rtol=2e-3)


def test_quantiles_are_those_of_the_distribution() -> None:
    said = zero_inflated_lognormal()
    for level in (0.05, 0.1, 0.3, 0.5, 0.75, 0.9, 0.95):
        within = (level - (1 - P[1:])) / P[1:]
        expected = np.where(within > 0, np.exp(MU[1:] + SIGMA * norm.ppf(np.clip(within, 1e-9, 1))), 0)
        inside = (within <= 0) | ((within > 0.02) & (within < 0.98))
        assert_allclose(said.quantile(level)[1:][inside], expected[inside], rtol=5e-3)
        assert said.quantile(level)[0] == 0


def test_a_quantile_within_the_mass_at_zero_is_exactly_zero() -> None:
    said = zero_inflated_lognormal(np.array([0.4]), np.array([3.0]))
    assert_array_equal([said.quantile(level)[0] for level in (0.025, 0.3, 0.6)], 0)
    assert said.quantile(0.61)[0] > 1
    assert said.median[0] == 0


@pytest.mark.parametrize("tail", [1.0, 1.5, 3.0])
def test_the_mean_is_the_integral_of_the_quantile_function(tail: float) -> None:
    said = zero_inflated_lognormal(tail=tail)
    below = np.mean([said.quantile(level) for level in 0.99 * (np.arange(1_000) + 0.5) / 1_000], axis=0)
    upper = np.mean([said.quantile(level) for level in 0.99 + 0.01 * (np.arange(4_000) + 0.5) / 4_000], axis=0)
    assert_allclose(said.mean, 0.99 * below + 0.01 * upper, rtol=1e-2)
    assert_allclose(said.mean - zero_inflated_lognormal(tail=1).mean, P * END * (tail - 1) * np.exp(said.logs[:, -1]))


def test_the_tail_is_pareto() -> None:
    """With a mean of twice its least value the shape is 2: the quantile doubles as what is beyond falls to 1/4."""
    said = zero_inflated_lognormal(np.ones(1), np.zeros(1), tail=2.0)
    at = [said.quantile(1 - END / share)[0] for share in (1, 4, 16)]
    assert_allclose(np.divide(at[1:], at[:-1]), 2)


def test_quantiles_never_cross() -> None:
    rng = np.random.default_rng(0)
    logs = np.sort(rng.normal(2, 2, (200, len(LEVELS))), axis=1)
    said = Distribution(rng.random(200), logs, 1 + rng.random(200))
    curves = np.stack([said.quantile(level) for level in np.linspace(0.001, 0.999, 300)])
    assert (np.diff(curves, axis=0) >= 0).all()


def test_level_and_quantile_are_each_others_inverse() -> None:
    said = zero_inflated_lognormal(np.ones(5))
    for level in (0.006, 0.2, 0.5, 0.77, 0.99, 0.997):
        assert_allclose(said.level_of_payers(said.quantile(level)), level, atol=1e-9)
    assert_allclose(said.level_of_payers(np.full(5, 1e-6)), END / 2)
    assert (said.level_of_payers(np.full(5, 1e12)) < 1.0 + 1e-12).all()


def test_levels_that_are_moved_move_the_quantiles() -> None:
    said = zero_inflated_lognormal(np.ones(5))
    moved = said.at_levels(LEVELS**2)
    for level in (0.2, 0.5, 0.9):
        assert_allclose(moved.quantile(level), said.quantile(level**2), rtol=5e-3)
    assert_allclose(said.at_levels(LEVELS).logs, said.logs)


def test_scaled_money() -> None:
    said = zero_inflated_lognormal()
    assert_allclose(said.scaled(3.0).mean, 3 * said.mean)
    assert_allclose(said.scaled(3.0).quantile(0.9), 3 * said.quantile(0.9))


def test_crps_is_the_integral_of_the_squared_error_of_the_distribution_function() -> None:
    """Matheson & Winkler 1976, by quadrature."""
    p, mu = 0.6, 3.0
    said = zero_inflated_lognormal(np.full(4, p), np.full(4, mu))
    y = np.array([0.0, 5.0, 30.0, 200.0])

    def below(x: float) -> float:
        return 1 - p + p * lognorm.cdf(x, SIGMA, scale=np.exp(mu))

    expected = [
        quad(lambda x: below(x) ** 2, 0, at)[0] + quad(lambda x: (1 - below(x)) ** 2, at, 5_000, limit=200)[0]
        for at in y
    ]
    assert_allclose(crps(said, y), expected, rtol=0.01)


def test_a_blend_averages_p_and_the_quantiles_of_payers() -> None:
    one, other = zero_inflated_lognormal(), zero_inflated_lognormal(P[::-1].copy(), MU + 1)
    mixed = blend({"a": one, "b": other}, {"a": 0.25, "b": 0.75})
    assert_allclose(mixed.p_active, 0.25 * P + 0.75 * P[::-1])
    assert_allclose(np.exp(mixed.logs), 0.25 * np.exp(one.logs) + 0.75 * np.exp(other.logs))
    expected = 0.25 * one.mean_of_payers + 0.75 * other.mean_of_payers
    assert_allclose(mixed.mean_of_payers, expected, rtol=1e-3)
    assert blend({"a": one, "b": other}, {"b": 1.0}) is other


def test_parts_are_put_in_order() -> None:
    said = zero_inflated_lognormal()
    parts = [said.where(np.array([3, 0])), said.where(slice(1, 3)), said.where(np.array([4]))]
    whole = concat(parts, order=np.array([1, 2, 3, 0, 4]))
    assert_array_equal(whole.logs, said.logs)
    assert_array_equal(whole.p_active, P)


def test_a_longer_window_of_the_same_process() -> None:
    """Twice the time: nobody pays as rarely as twice in a row, the mean is twice, and payers keep their spread."""
    said = zero_inflated_lognormal()
    twice = said.stretched(2.0)
    assert_allclose(1 - twice.p_active, (1 - P) ** 2)
    assert_allclose(twice.mean, 2 * said.mean)
    assert_allclose(np.diff(twice.logs, axis=1), np.diff(said.logs, axis=1), atol=1e-12)
    assert said.stretched(1.0) is said


def test_no_quantile_lies_above_the_most() -> None:
    said = zero_inflated_lognormal(np.ones(5))
    most = said.at_most(100.0)
    assert_allclose(most.quantile(0.975), np.minimum(said.quantile(0.975), 100))
    assert_array_equal(most.quantile(0.1), np.minimum(said.quantile(0.1), 100))
    assert (most.mean < said.mean)[-1]
