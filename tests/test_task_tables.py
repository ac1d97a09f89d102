"""What a task table says of its rows, by hand: percentiles, histories, and the two ways to part its customers."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table

from patron.task.ltv import TaskTable

EARLY, LATE = date(2021, 1, 1), date(2021, 4, 1)


def test_percentiles_are_within_a_cutoff_with_ties_in_the_middle() -> None:
    """Rows of two cutoffs in turns. Early: 0, 0, 5 -> two share the first two thirds. Late: 9, 1 -> 3/4, 1/4."""
    rows = table([0, 9, 0, 1, 5], customers=[1, 1, 2, 2, 3], cutoffs=[EARLY, LATE, EARLY, LATE, EARLY])
    assert_allclose(rows.percentile, [1 / 3, 3 / 4, 1 / 3, 1 / 4, 5 / 6])


def test_percentiles_of_one_row_and_of_rows_alike_are_one_half() -> None:
    assert_allclose(table([7]).percentile, [0.5])
    assert_allclose(table([0, 0, 0]).percentile, 0.5)


def test_history_by_hand() -> None:
    """One order wins over dormant: of an old customer of one order nothing more is known than of a new one."""
    frame = table([0, 0, 0, 0]).frame.assign(
        slice_one_order=[True, True, False, False], slice_dormant=[True, False, True, False]
    )
    assert_array_equal(TaskTable(frame, table([0]).horizon).history, [0, 0, 1, 2])


def test_tables_are_compared_by_identity() -> None:
    one, other = table([1, 2]), table([1, 2])
    assert one == one
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize("number", [2, 5])
def test_a_customer_is_in_one_bucket_whoever_else_there_is(number: int) -> None:
    rows = table(np.zeros(600), customers=np.tile(np.arange(300), 2), cutoffs=[EARLY] * 300 + [LATE] * 300)
    bucket = rows.bucket(number)
    assert_array_equal(bucket[:300], bucket[300:])
    assert set(bucket) == set(range(number))
    some = np.flatnonzero(np.random.default_rng(0).random(600) < 0.3)[::-1]
    assert_array_equal(TaskTable(rows.frame.iloc[some], rows.horizon).bucket(number), bucket[some])
    assert np.bincount(bucket).min() > 0.7 * 600 / number


@pytest.mark.parametrize("number", [2, 3])
def test_parts_are_equal_and_of_whole_customers(number: int) -> None:
    rows = table(np.zeros(602), customers=np.tile(np.arange(301), 2), cutoffs=[EARLY] * 301 + [LATE] * 301)
    part = rows.parts(number)
    assert_array_equal(part[:301], part[301:])
    sizes = np.bincount(part[:301], minlength=number)
    assert sizes.max() - sizes.min() <= 1
    assert np.corrcoef(part[:301], np.arange(301) % number)[0, 1] < 0.2  # ids may have a rhythm of their own


def test_parts_are_full_where_the_table_is_a_choice_of_buckets() -> None:
    """As in a fold of the customers protocol, whose buckets are of the same number."""
    rows = table(np.zeros(300))
    rest = rows.where(rows.bucket(3) != 0)
    assert np.bincount(rest.parts(3)).tolist() == pytest.approx([len(rest) / 3] * 3, abs=1)
    assert set(rest.bucket(3)) == {1, 2}


def test_parts_do_not_depend_on_names_or_on_the_order_of_rows() -> None:
    rows = table(np.zeros(100))
    named = TaskTable(rows.frame.assign(customer_id=[f"c{k:03d}" for k in range(100)]), rows.horizon)
    assert_array_equal(named.parts(3), rows.parts(3))
    order = np.random.default_rng(0).permutation(100)
    assert_array_equal(TaskTable(rows.frame.iloc[order], rows.horizon).parts(3), rows.parts(3)[order])
    assert not np.array_equal(named.bucket(3), rows.bucket(3))


def test_parts_of_two_and_of_three_have_nothing_to_do_with_each_other() -> None:
    rows = table(np.zeros(600))
    both = pd.crosstab(rows.parts(2), rows.parts(3)).to_numpy()
    assert_array_equal(both, 100)
