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
    y, quantiles = rng.lognormal(3, 1, 50), np.sort(rng.lognormal(3, 1, (50, 7)), axis=1)
    losses = [mean_pinball_loss(y, of, alpha=level) for level, of in zip(LEVEL, quantiles.T, strict=True)]
    assert metrics.pinball(y, quantiles) == pytest.approx(np.mean(losses) / y.mean())


def test_pinball_by_hand() -> None:
    at_one = np.ones((2, 7))
    assert metrics.pinball([1, 1], at_one) == 0
    assert metrics.pinball([3, 3], at_one) == pytest.approx(2 * LEVEL.mean() / 3)
    assert metrics.pinball([0, 2], at_one) == pytest.approx(0.5 / 1)  # of what is missed below 1 - level, above level


def test_crps_of_a_single_number_is_its_absolute_error() -> None:
    y, said = np.array([0.0, 10.0, 30.0]), np.array([4.0, 10.0, 20.0])
    assert metrics.crps(y, np.tile(said[:, None], 7)) == pytest.approx(metrics.nmae(y, said))


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


def test_ideals() -> None:
    assert [getattr(metrics, name).ideal for name in ("coverage80", "coverage90", "coverage90_upper", "crps")] == [
        0.8, 0.9, 0.9, 0.0,
    ]  # fmt: skip
    assert metrics.coverage90.shortfall(0.95) == pytest.approx(0.05)
