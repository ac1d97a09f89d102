"""Which label windows lie at the level of the last one: explicit shares, chance in small tables, flags and totals."""

from datetime import date

import numpy as np
import pytest
import rows_by_hand
from numpy.testing import assert_allclose

from patron.task.level import at_level, levels
from patron.task.ltv import TaskTable

DAYS = [date(2021, month, 1) for month in range(1, 7)]


def rows(shares: list[float], *, customers: int = 1000, target: str = "net") -> TaskTable:
    """`customers` at each of the first cutoffs, of whom these shares have a label of 2 (of a flag 1), the others 0."""
    label, cutoffs = [], []
    for share, cutoff in zip(shares, DAYS, strict=False):
        label += [float(place < round(share * customers)) for place in range(customers)]
        cutoffs += [cutoff] * customers
    values = np.array(label) * (1 if target == "churn" else 2)
    places = np.tile(np.arange(customers), len(shares))
    return rows_by_hand.table(values, customers=places, cutoffs=cutoffs, target=target)


@pytest.mark.parametrize("target", ["net", "churn"])
@pytest.mark.parametrize(
    ("shares", "kept"),
    [
        ([0.3, 0.35, 0.4], 3),
        ([0.0, 0.0, 0.0, 0.002, 0.184, 0.416], 2),  # 0.184 is 1.15 logits below 0.416
        ([0.8, 0.8, 0.1], 1),  # a fall is a break as a rise is
        ([0.17, 0.5], 1),  # 1.59 logits
        ([0.2, 0.5], 2),  # 1.39 logits
        ([0.0, 0.0], 2),
        ([0.4], 1),
    ],
)
def test_windows_are_kept_whose_share_of_buyers_is_that_of_the_last(
    shares: list[float], kept: int, target: str
) -> None:
    assert at_level(rows(shares, target=target)) == tuple(DAYS[len(shares) - kept : len(shares)])


def test_a_window_between_may_be_left_out() -> None:
    assert at_level(rows([0.4, 0.02, 0.4])) == (DAYS[0], DAYS[2])


def test_the_last_window_is_always_kept() -> None:
    assert at_level(rows([0.5, 0.5, 0.5, 0.0])) == (DAYS[3],)


def test_what_chance_explains_is_no_other_level() -> None:
    """1 of 10 against 5 of 10 are 2 logits, and 2.2 standard errors."""
    assert at_level(rows([0.1, 0.5], customers=10)) == (DAYS[0], DAYS[1])
    assert at_level(rows([0.1, 0.5], customers=40)) == (DAYS[1],)


def test_no_break_is_seen_where_nothing_changes() -> None:
    """Of 400 random tables of five windows of 200 customers, a tenth of whom buy, none leaves a window out."""
    rng = np.random.default_rng(0)
    for _ in range(400):
        assert len(at_level(rows((rng.binomial(200, 0.1, size=5) / 200).tolist(), customers=200))) == 5


def test_levels_by_hand() -> None:
    table = levels(rows([0.25, 0.5], customers=4))
    assert table["customers"].tolist() == [4, 4]
    assert table["buyers"].tolist() == [1, 2]
    assert_allclose(table["mean"], [0.5, 1.0])
    assert_allclose(table["zeros"], [0.75, 0.5])
