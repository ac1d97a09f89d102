"""From a model's scales to money, against hand values and a hurdle lognormal whose mean is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table
from scipy.special import expit, logit

from patron.calibration.decode import Centre, Decoder, held_out, log_of_payers
from patron.calibration.recalibrate import LARGEST
from patron.task.ltv import TaskTable

SIGMA = 0.8


def hurdle(number: int = 20_000, *, seed: int = 0) -> tuple[Centre, TaskTable, np.ndarray]:
    """What is said of customers, their rows and their expected spend. P(spend > 0) is what `active` says, the log of
    payers' spend Normal about the location, which half of one correction makes right; the other says nothing."""
    rng = np.random.default_rng(seed)
    active = rng.normal(0, 1.5, number)
    location, missed = rng.normal(4, 0.8, number), rng.normal(0, 0.4, number)
    location = location + missed
    y = np.exp(location + SIGMA * rng.normal(size=number)) * (rng.random(number) < expit(active))
    said = Centre(active, location - missed, np.column_stack([2 * missed, rng.normal(size=number)]))
    return said, table(y), expit(active) * np.exp(location + SIGMA**2 / 2)


def test_mean_recovers_a_known_mean() -> None:
    said, rows, known = hurdle()
    new, others, expected = hurdle(seed=1)
    mean = Decoder.fit(said, rows).decode(new, others.history).mean
    assert mean.sum() / expected.sum() == pytest.approx(1, abs=0.03)
    tenth = np.argsort(np.argsort(expected)) // 2_000
    assert_allclose((np.bincount(tenth, mean) / np.bincount(tenth, expected))[2:], 1, atol=0.08)
    logs = np.log1p(known) - SIGMA**2 / 2
    assert np.expm1(logs).sum() / known.sum() < 0.75  # without the residuals: the log bias


def test_corrections_are_weighed_by_least_squares() -> None:
    said, rows, _ = hurdle()
    assert_allclose(Decoder.fit(said, rows).residuals.coefficients[1:], [0.5, 0], atol=0.05)


def test_few_payers_leave_the_location_as_it_is() -> None:
    said, rows, _ = hurdle(40)
    nobody = table(np.zeros(40))
    assert_array_equal(Decoder.fit(said, nobody).residuals.coefficients, [0, 0, 0])
    assert 0 < Decoder.fit(said, rows).residuals.coefficients[1] < 0.5


def test_quantiles_hold_their_level() -> None:
    said, rows, _ = hurdle()
    new, others, _ = hurdle(seed=1)
    spend = Decoder.fit(said, rows).decode(new, others.history)
    for level in (0.1, 0.5, 0.75, 0.95):
        paid = others.label > 0
        reached = spend.where(paid).level_of_payers(others.label[paid])
        assert (reached <= level).mean() == pytest.approx(level, abs=0.015)
    assert spend.p_active.mean() == pytest.approx((others.label > 0).mean(), abs=0.02)


def test_a_heavy_customer_is_no_further_out_than_what_was_said() -> None:
    """Payers' spend rises more steeply than what is said of them; beyond what was seen it goes on as what is said."""
    rng = np.random.default_rng(0)
    location = rng.normal(4, 0.5, 5_000)
    said = Centre(np.full(5_000, 9.0), location, np.empty((5_000, 0)))
    rows = table(np.exp(4 + 1.5 * (location - 4) + 0.1 * rng.normal(size=5_000)))
    decoder = Decoder.fit(said, rows, seen=1e9)
    far = Centre(np.full(2, 9.0), np.array([7.0, 9.0]), np.empty((2, 0)))
    assert np.diff(np.log(decoder.decode(far, np.array([2, 2])).median)) == pytest.approx(2)


def test_nothing_said_exceeds_what_was_seen_by_much() -> None:
    """A net that says more than any label ever was, as where the level breaks, is bounded by these."""
    said, rows, _ = hurdle(2_000)
    wild = Centre(said.active, said.location + 20, said.corrections)
    spend = Decoder.fit(said, rows).decode(wild, rows.history)
    assert spend.quantile(0.95).max() <= 1.1 * LARGEST * rows.label.max()
    assert np.isfinite(spend.mean).all()


@pytest.mark.parametrize("paid", [0, 1, 2, 60])
def test_few_rows_are_decoded(paid: int) -> None:
    y = np.where(np.arange(60) < paid, 50.0, 0.0)
    said = Centre(np.zeros(60), np.full(60, 3.0), np.zeros((60, 1)))
    spend = Decoder.fit(said, table(y)).decode(said, np.full(60, 2))
    assert np.isfinite(spend.mean).all()
    assert spend.mean.sum() == pytest.approx(y.sum(), abs=50)


def test_a_flag_is_one_or_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = expit(rng.normal(size=3_000))
    rows = table((rng.random(3_000) < truth).astype(float), target="churn")
    said = Centre(logit(truth), rng.normal(size=3_000), np.empty((3_000, 0)))
    spend = Decoder.fit(said, rows).decode(said, rows.history)
    assert_allclose(spend.mean, truth, atol=0.04)
    assert set(np.unique(spend.quantile(0.9))) <= {0.0, 1.0}


def test_held_out_customers_are_decoded_by_the_others() -> None:
    said, rows, _ = hurdle(2_000)
    first = rows.parts(2) == 0
    other = table(np.where(first, rows.label * 9, rows.label))
    before, after = held_out(said, rows, seen=1e9), held_out(said, other, seen=1e9)
    assert_array_equal(before.logs[first], after.logs[first])
    assert np.median(after.logs[~first] - before.logs[~first]) > 1.5


def test_a_root_of_everybody_becomes_the_payers() -> None:
    assert_allclose(
        log_of_payers(np.array([1.0, 2.0]), logit(np.array([0.5, 0.999]))), np.log1p([2**4, 2.002**4]), rtol=1e-3
    )
    assert np.isfinite(log_of_payers(np.array([1.0]), np.array([-800.0]))).all()


def test_a_longer_horizon_is_decoded_within_what_was_seen() -> None:
    said, rows, _ = hurdle(4_000)
    decoder = Decoder.fit(said, rows)
    plain, longer = decoder.decode(said, rows.history), decoder.stretched(2.0).decode(said, rows.history)
    assert_allclose(1 - longer.p_active, (1 - plain.p_active) ** 2)
    assert longer.mean.sum() == pytest.approx(2 * plain.mean.sum(), rel=0.02)
    assert longer.quantile(0.975).max() <= 1.1 * LARGEST * rows.label.max()
    assert decoder.scaled(1.5).decode(said, rows.history).mean.sum() == pytest.approx(1.5 * plain.mean.sum())
