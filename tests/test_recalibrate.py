"""Recalibration of distributions: what holds afterwards on new customers, and what it never does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table
from scipy.special import expit, logit
from scipy.stats import binom, norm

from patron.calibration.distribution import LEVELS, Distribution
from patron.calibration.recalibrate import HISTORIES, LARGEST, MIN_PAYERS, Calibration, cross_fitted, tenths
from patron.estimators.base import QUANTILES
from patron.task.ltv import TaskTable


def lognormal(p: np.ndarray, location: np.ndarray, *, sigma: float = 1.0) -> Distribution:
    """What takes the log of payers' spend to be Normal(location, sigma)."""
    return Distribution(p, location[:, None] + sigma * norm.ppf(LEVELS), np.full(len(p), 1.5))


def world(number: int, seed: int) -> tuple[TaskTable, Distribution, np.ndarray]:
    """Rows, what is said of them, and P(spend > 0). Everybody's sigma is said to be 1; it is 0.5 after one order, 1.5
    of the dormant, and the others spend more than is said. Logits of P(spend > 0) are twice too far from 0, and of the
    dormant 1 too high."""
    rng = np.random.default_rng(seed)
    history, location = rng.integers(HISTORIES, size=number), rng.normal(5, 1, number)
    truth = expit(rng.normal(0, 1, number))
    sigma, bias = np.array([0.5, 1.5, 1.0])[history], np.array([0.0, 0.0, 0.4])[history]
    spend = np.exp(location + bias + sigma * rng.normal(size=number)) * (rng.random(number) < truth)
    said = lognormal(expit(2 * logit(truth) + (history == 1)), location)
    return table(spend, history=history), said, truth


def test_every_quantile_holds_in_every_history() -> None:
    rows, said, _ = world(40_000, seed=0)
    new, raw, _ = world(8_000, seed=1)
    calibrated, wrong = Calibration.fit(said, rows, seen=0).apply(raw, new.history), 0
    for history in range(HISTORIES):
        paid = (new.history == history) & (new.label > 0)
        for level in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95):
            low, high = binom.interval(0.9999, paid.sum(), level) + np.array([-1, 1]) * 0.005 * paid.sum()
            reached, before = (of.where(paid).level_of_payers(new.label[paid]) for of in (calibrated, raw))
            assert low <= (reached <= level).sum() <= high, (history, level)
            wrong += not low <= (before <= level).sum() <= high
    assert wrong >= 14  # of 18


def test_p_active_is_recalibrated_by_history() -> None:
    rows, said, _ = world(40_000, seed=0)
    new, raw, truth = world(8_000, seed=1)
    found = Calibration.fit(said, rows, seen=0).apply(raw, new.history).p_active
    assert np.abs(found - truth).max() < 0.03
    assert np.abs(raw.p_active - truth).max() > 0.2


def test_the_total_is_that_of_the_rows() -> None:
    """Within 1 %, the tail of a few rows included; and of the tenths by expected spend within a few."""
    rows, said, _ = world(20_000, seed=2)
    mean = Calibration.fit(said, rows, seen=0).apply(said, rows.history).mean
    assert mean.sum() / rows.label.sum() == pytest.approx(1, abs=0.01)
    tenth = np.searchsorted(tenths(mean), mean, side="right")
    assert_allclose(np.bincount(tenth, mean) / np.bincount(tenth, rows.label), 1, atol=0.12)


def test_no_quantile_exceeds_a_multiple_of_what_was_seen() -> None:
    rows, said, _ = world(2_000, seed=0)
    calibration = Calibration.fit(said, rows, seen=0)
    wild = lognormal(np.ones(3), np.array([5.0, 50.0, 500.0]))
    found = calibration.apply(wild, np.array([0, 1, 2]))
    assert found.quantile(0.975).max() == pytest.approx(LARGEST * calibration.factor * rows.label.max())
    assert np.isfinite(found.mean).all()
    seen = Calibration.fit(said, rows, seen=1e6)
    most = seen.apply(wild, np.array([0, 1, 2])).quantile(0.975).max()
    assert most == pytest.approx(LARGEST * seen.factor * 1e6)


def test_payers_of_a_history_that_are_few_keep_their_levels() -> None:
    for number, moves in ((MIN_PAYERS - 1, False), (MIN_PAYERS, True)):
        rows = table(np.full(number, np.exp(6.0)), history=1)
        levels = Calibration.fit(lognormal(np.full(number, 0.9), np.full(number, 5.0)), rows, seen=0).levels
        assert_array_equal(levels[[0, 2]], np.tile(LEVELS, (2, 1)))
        assert (not np.array_equal(levels[1], LEVELS)) == moves


@pytest.mark.parametrize("paid", [0, 1, 30])
def test_rows_that_all_pay_or_none_are_no_error(paid: int) -> None:
    rows = table([100.0] * paid + [0.0] * (30 - paid))
    said = lognormal(np.full(30, 0.5), np.full(30, 4.0))
    found = Calibration.fit(said, rows, seen=0).apply(said, rows.history)
    assert found.p_active.mean() == pytest.approx(paid / 30, abs=0.04)
    assert np.isfinite(found.mean).all()


def test_of_a_flag_spend_is_one() -> None:
    rng = np.random.default_rng(0)
    truth = expit(rng.normal(size=4_000))
    rows = table((rng.random(4_000) < truth).astype(float), target="churn")
    said = Distribution(truth, np.zeros((4_000, len(LEVELS))), np.ones(4_000))
    found = Calibration.fit(said, rows, seen=0).apply(said, rows.history)
    assert_allclose(found.mean, found.p_active)
    assert set(np.unique([found.quantile(level) for level in QUANTILES.values()])) == {0.0, 1.0}


def test_what_is_calibrated_for_a_customer_comes_from_others() -> None:
    """Other labels of one half leave what is said of it as it was, and move the other half."""
    rows, said, _ = world(2_000, seed=0)
    first = rows.parts(2) == 0
    other = table(np.where(first, rows.label * 5, rows.label), history=rows.history)

    def calibrated(labels: TaskTable) -> Distribution:
        def of(fitted: np.ndarray, asked: np.ndarray) -> Distribution:
            fit = Calibration.fit(said.where(fitted), labels.where(fitted), seen=0)
            return fit.apply(said.where(asked), labels.history[asked])

        return cross_fitted(labels, of)

    before, after = calibrated(rows), calibrated(other)
    assert_array_equal(before.logs[first], after.logs[first])
    assert_array_equal(before.tail[first], after.tail[first])
    assert np.median(after.logs[~first] - before.logs[~first]) > 0.5


def test_a_single_customer_is_calibrated_alone() -> None:
    rows = table([20.0])
    found = cross_fitted(rows, lambda fitted, asked: lognormal(np.full(asked.sum(), 0.5), np.zeros(asked.sum())))
    assert len(found) == 1
