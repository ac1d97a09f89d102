"""From the log to money, against hand values and a lognormal whose mean is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from patron.decode import LEVELS, MeanCorrection, RankMap, Residuals, interpolated

SIGMA = 0.8


@pytest.fixture(scope="module")
def lognormal() -> tuple[np.ndarray, np.ndarray]:
    """log1p of spend is Normal(location, SIGMA), so expected spend is exp(location + SIGMA^2 / 2) - 1."""
    rng = np.random.default_rng(0)
    location = rng.normal(3, 1, 20_000)
    return location, np.expm1(np.maximum(location + SIGMA * rng.normal(size=20_000), 0))


# Residuals


def test_one_residual_is_added_in_the_log() -> None:
    predicted = np.linspace(1, 5, 100)
    residuals = Residuals.fit(predicted, np.expm1(predicted + 0.7))
    at = np.array([0.0, 3.0, 9.0])  # also below and above all that was seen
    assert_allclose(residuals.mean(at), np.expm1(at + 0.7))
    for level in (0.01, 0.5, 0.99):
        assert_allclose(residuals.quantile(at, level), np.expm1(at + 0.7))


def test_each_bin_has_its_own_residuals() -> None:
    predicted = np.repeat([2.0, 10.0], 50)
    residuals = Residuals.fit(predicted, np.expm1(predicted + np.repeat([1.0, -1.0], 50)))
    assert_allclose(residuals.edges, [6.0])
    assert_allclose(residuals.mean(np.array([0.0, 5.9, 6.1, 12.0])), np.expm1([1.0, 6.9, 5.1, 11.0]))


def test_quantiles_are_those_of_the_residuals() -> None:
    residual = np.random.default_rng(0).normal(size=1001)
    residuals = Residuals.fit(np.full(1001, 4.0), np.expm1(4.0 + residual))
    for level in (0.1, 0.5, 0.9):
        expected = np.expm1(4.0 + np.quantile(residual, level))
        assert_allclose(residuals.quantile(np.array([4.0]), level), expected, rtol=5e-3)
    assert_allclose(residuals.quantile(np.array([4.0]), 1e-4), residuals.quantile(np.array([4.0]), LEVELS[0]))
    assert_allclose(residuals.quantile(np.array([4.0]), 1.0), residuals.quantile(np.array([4.0]), LEVELS[-1]))


def test_quantiles_hold_their_level(lognormal: tuple[np.ndarray, np.ndarray]) -> None:
    location, spend = lognormal
    residuals = Residuals.fit(location, spend)
    for level in (0.1, 0.5, 0.9):
        assert (spend <= residuals.quantile(location, level)).mean() == pytest.approx(level, abs=0.005)


def test_quantiles_increase_with_level() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.normal(2, 1, 500)
    residuals = Residuals.fit(predicted, np.where(rng.random(500) < 0.4, 0, rng.lognormal(3, 1, 500)))
    curves = np.stack([residuals.quantile(predicted, level) for level in np.linspace(0.01, 0.99, 50)])
    assert (np.diff(curves, axis=0) >= 0).all()
    assert (curves[-1] > curves[0]).all()


def test_mean_recovers_a_known_mean(lognormal: tuple[np.ndarray, np.ndarray]) -> None:
    location, spend = lognormal
    known = np.exp(location + SIGMA**2 / 2) - 1
    decoded = Residuals.fit(location, spend).mean(location)
    assert decoded.sum() / known.sum() == pytest.approx(1, abs=0.03)
    decile = np.argsort(np.argsort(location)) // 2000
    by_decile = np.bincount(decile, decoded) / np.bincount(decile, known)
    assert_allclose(by_decile, 1, atol=0.06)
    assert np.expm1(location).sum() / known.sum() < 0.75  # without the residuals: the log bias


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("n", [200, 1_000])
def test_mean_recovers_the_sample_mean(sigma: float, n: int) -> None:
    """On the very rows the residuals are from, the revenue is recovered, the tail of a few rows included."""
    rng = np.random.default_rng(2)
    location = rng.normal(3, 1, n)
    spend = np.exp(location + sigma * rng.normal(size=n)) * (rng.random(n) > 0.4)
    assert Residuals.fit(location, spend).mean(location).sum() / spend.sum() == pytest.approx(1, abs=0.02)


def test_nothing_negative_where_most_spend_nothing() -> None:
    rng = np.random.default_rng(3)
    predicted = rng.normal(1, 1, 400)
    spend = np.where(rng.random(400) < 0.7, 0, rng.lognormal(2, 1, 400))
    residuals = Residuals.fit(predicted, spend)
    for decoded in (residuals.mean(predicted - 3), residuals.quantile(predicted - 3, 0.05)):
        assert (decoded >= 0).all()
        assert np.isfinite(decoded).all()


def test_a_mass_of_zeros_is_a_quantile_of_zero() -> None:
    spend = np.random.default_rng(3).permutation(np.repeat([0.0, 20.0], [280, 120]))
    residuals = Residuals.fit(np.full(400, 1.5), spend)
    assert_allclose(residuals.quantile(np.array([1.5]), 0.6), 0, atol=1e-12)
    assert_allclose(residuals.quantile(np.array([1.5]), 0.8), 20)
    assert_allclose(residuals.mean(np.array([1.5])), 6.0, rtol=0.02)


@pytest.mark.parametrize(("rows", "bins"), [(1, 1), (49, 1), (99, 1), (100, 2), (260, 5), (5_000, 10)])
def test_few_rows_have_few_bins(rows: int, bins: int) -> None:
    predicted = np.arange(rows, dtype=float) / rows
    spend = np.expm1(predicted + 1)
    assert Residuals.fit(predicted, spend).quantiles.shape == (bins, len(LEVELS))
    assert len(MeanCorrection.fit(predicted, spend).factor) == bins


@pytest.mark.parametrize("predicted", [np.full(300, 2.0), np.repeat([0.0, 2.0], [280, 20])])
def test_tied_predictions_are_decoded(predicted: np.ndarray) -> None:
    residuals = Residuals.fit(predicted, np.expm1(predicted + 1))
    assert_allclose(residuals.mean(predicted), np.expm1(predicted + 1))
    assert_allclose(residuals.mean(np.array([-0.5, 5.0])), np.expm1([0.5, 6.0]))


# MeanCorrection


def test_each_bin_has_its_own_factor() -> None:
    predicted = np.repeat([1.0, 10.0], 50)
    correction = MeanCorrection.fit(predicted, np.repeat([2.0, 5.0], 50))
    assert_allclose(correction.factor, [2.0, 0.5])
    assert_allclose(correction.apply(np.array([0.5, 5.4, 5.6, 100.0])), [1.0, 10.8, 2.8, 50.0])


def test_corrected_mean_is_that_of_the_sample() -> None:
    rng = np.random.default_rng(4)
    predicted = rng.gamma(2, 10, 1_000)
    spend = 1.3 * predicted * rng.gamma(2, 0.5, 1_000)
    correction = MeanCorrection.fit(predicted, spend)
    assert correction.apply(predicted).sum() == pytest.approx(spend.sum())
    bin_of = np.searchsorted(correction.edges, predicted, side="right")
    assert_allclose(np.bincount(bin_of, correction.apply(predicted)), np.bincount(bin_of, spend))


@pytest.mark.parametrize(("spend", "factor"), [(0.0, 1 / 3), (1.0, 0.5), (1e6, 3.0)])
def test_factors_stay_within_a_third_and_three(spend: float, factor: float) -> None:
    assert_allclose(MeanCorrection.fit(np.full(60, 2.0), np.full(60, spend)).apply(np.array([10.0])), 10 * factor)


def test_an_empty_bin_has_the_factor_of_all() -> None:
    """Where all predictions are tied, nobody is below the edge."""
    correction = MeanCorrection.fit(np.full(300, 10.0), np.full(300, 20.0))
    assert_allclose(correction.apply(np.array([5.0, 10.0, 15.0])), [10.0, 20.0, 30.0])


def test_nothing_predicted_stays_nothing() -> None:
    assert_array_equal(MeanCorrection.fit(np.zeros(60), np.ones(60)).apply(np.zeros(3)), 0)


# interpolated


def test_interpolation_is_linear_in_the_log_and_flat_outside() -> None:
    quantiles, levels = np.array([[1.0, 2.0, 4.0]]), np.array([0.25, 0.5, 0.75])
    at = np.array([0.01, 0.25, 0.375, 0.5, 0.6, 0.75, 0.99])
    expected = np.expm1([1, 1, 1.5, 2, 2.8, 4, 4])
    assert_allclose(interpolated(quantiles, levels=levels, at=at), expected[None, :])


def test_interpolated_spend_is_not_negative() -> None:
    quantiles = np.array([[-3.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    spend = interpolated(quantiles, levels=np.array([0.1, 0.5, 0.9]), at=np.array([0.1, 0.5, 0.9]))
    assert_allclose(spend, [[0, 0, np.expm1(1)], [0, 0, 0]])


# From one scale to another


def test_a_rank_map_by_hand() -> None:
    """The k-th of the scores becomes the k-th of the scale, linear between, flat beyond the ends."""
    mapped = RankMap.fit(np.array([3.0, 1.0, 2.0]), np.array([10.0, 40.0, 20.0]))
    assert_allclose(mapped(np.array([1.0, 2.0, 3.0, 1.5, 2.25])), [10, 20, 40, 15, 25])
    assert_allclose(mapped(np.array([-9.0, 9.0])), [10, 40])


def test_a_rank_map_gives_the_distribution_of_the_scale() -> None:
    rng = np.random.default_rng(0)
    score, scale = rng.normal(size=3_000), rng.lognormal(3, 1, 3_000)
    mapped = RankMap.fit(score, scale)(score)
    assert len(RankMap.fit(score, scale).score) == 500
    levels = np.linspace(0.02, 0.98, 25)
    assert_allclose(np.quantile(mapped, levels), np.quantile(scale, levels), rtol=0.01)
    assert (np.diff(mapped[np.argsort(score)]) >= 0).all()


def test_a_rank_map_of_a_score_that_does_not_vary_is_finite() -> None:
    mapped = RankMap.fit(np.zeros(50), np.arange(50.0))(np.array([-1.0, 0.0, 1.0]))
    assert (np.diff(mapped) >= 0).all()
    assert np.isfinite(mapped).all()
