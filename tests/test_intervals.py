"""Metrics of quantiles: hand values, scikit-learn's pinball loss, and forecasts whose score is known."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from patron.evaluation import metrics
from patron.evaluation.intervals import LEVELS

LEVEL = np.array([*LEVELS.values()])


def test_the_levels_are_those_that_estimators_publish() -> None:
    from patron.estimators.base import QUANTILES

    assert {**QUANTILES, "ltv_median": 0.5} == LEVELS
    assert list(LEVEL) == sorted(LEVEL)
    assert set(metrics.OPTIONAL) == {*QUANTILES, "p_active", "label_scale"}


def test_pinball_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y, quantiles = rng.lognormal(3, 1, 50), np.sort(rng.lognormal(3, 1, (50, len(LEVEL))), axis=1)
    losses = [mean_pinball_loss(y, of, alpha=level) for level, of in zip(LEVEL, quantiles.T, strict=True)]
    assert metrics.pinball(y, quantiles) == pytest.approx(np.mean(losses) / y.mean())


def test_pinball_by_hand() -> None:
    at_one = np.ones((2, len(LEVEL)))
    assert metrics.pinball([1, 1], at_one) == 0
    assert metrics.pinball([3, 3], at_one) == pytest.approx(2 * LEVEL.mean() / 3)
    assert metrics.pinball([0, 2], at_one) == pytest.approx(0.5 / 1)  # of what is missed below 1 - level, above level


def test_crps_of_a_single_number_is_its_absolute_error() -> None:
    y, said = np.array([0.0, 10.0, 30.0]), np.array([4.0, 10.0, 20.0])
    assert metrics.crps(y, np.tile(said[:, None], len(LEVEL))) == pytest.approx(metrics.nmae(y, said))


def test_crps_of_a_known_law() -> None:
    """Who says Exp(1) of labels from Exp(1) scores 1/2 on average: the CRPS is y + 2 exp(-y) - 3/2."""
    y = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    quantiles = -np.log1p(-LEVEL)
    right = metrics.crps(y, np.tile(quantiles, (len(y), 1)))
    assert right == pytest.approx(np.mean(y + 2 * np.exp(-y) - 1.5) / y.mean(), rel=0.03)
    for factor in (0.5, 2):  # a law that is too narrow or too wide scores worse
        assert metrics.crps(y, np.tile(factor * quantiles, (len(y), 1))) > 1.05 * right


def test_coverage_and_width_by_hand() -> None:
    y, bounds = np.array([0.0, 10.0, 30.0, 0.0]), np.array([[0, 1], [10, 12], [31, 40], [1, 2]])
    assert metrics.coverage90(y, bounds) == metrics.coverage80(y, bounds) == 0.5
    assert metrics.coverage90_upper(y, bounds[:, 1]) == 1
    assert metrics.coverage90_upper(y, [0, 9, 30, 1]) == 0.75  # the bound itself counts
    assert metrics.width80(y, bounds) == pytest.approx((1 + 2 + 9 + 1) / 40)


def test_randomised_coverage_is_nominal_where_the_plain_one_is_not() -> None:
    """Who says what is true of customers of whom most spend nothing: 80 % in the end, 90 % and more plainly, as the
    predictions themselves promise."""
    rng = np.random.default_rng(0)
    p = rng.random(60_000) ** 2
    y = rng.exponential(size=len(p)) * (rng.random(len(p)) < p)

    def quantile(level: float) -> np.ndarray:
        within = np.clip((level - (1 - p)) / p, 0, None)
        return -np.log1p(-within)

    said = np.column_stack([quantile(0.1), quantile(0.9), p])
    plain, payers = metrics.coverage80(y, said[:, :2]), metrics.coverage80_payers(y, said[:, :2])
    assert metrics.coverage80_randomised(y, said) == pytest.approx(0.8, abs=0.006)
    assert plain > 0.87
    assert metrics.coverage80_implied(y, said) == pytest.approx(plain, abs=0.006)
    assert metrics.coverage80_payers_implied(y, said) == pytest.approx(payers, abs=0.008)
    wide = np.column_stack([said[:, 0], 2 * said[:, 1], p])
    assert metrics.coverage80_randomised(y, wide) > 0.82


def test_randomised_coverage_by_hand() -> None:
    """Of a zero with P(spend > 0) of 0.4, the transform is uniform up to 0.6: five sixths of it are above 0.1. With
    0.04 it is uniform up to 0.96, of which 0.8 lie between."""
    said = np.array([[0.0, 9.0, 0.4], [0.0, 0.0, 0.04], [0.0, 9.0, 0.4], [2.0, 9.0, 1.0]])
    y = np.array([0.0, 0.0, 9.5, 3.0])
    assert metrics.coverage80_randomised(y, said) == pytest.approx((5 / 6 + 0.8 / 0.96 + 0 + 1) / 4)
    assert metrics.coverage80_implied(y, said) == pytest.approx((0.9 + 0.96 + 0.9 + 0.8) / 4)
    assert metrics.coverage80_payers_implied(y, said) == pytest.approx((0.3 + 0 + 0.3 + 0.8) / (0.4 + 0.04 + 0.4 + 1))


def test_ideals() -> None:
    assert [getattr(metrics, name).ideal for name in ("coverage80", "coverage90", "coverage90_upper", "crps")] == [
        0.8, 0.9, 0.9, 0.0,
    ]  # fmt: skip
    assert metrics.coverage90.shortfall(0.95) == pytest.approx(0.05)
