"""Which label windows lie at the level of the last one: explicit shares, chance in small tables, flags and totals."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rows_by_hand
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from settings import SMALL
from shops_by_hand import waking_shop

from patron.days import Horizon
from patron.tables.scramble import scrambled_after
from patron.task.level import at_level, levels, shift
from patron.task.ltv import TaskTable, labelled
from patron.task.split import folds

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


def test_a_break_is_said_once_with_its_windows_and_what_can_be_done() -> None:
    said = shift(rows([0.0, 0.0, 0.002, 0.184, 0.416]))
    assert said.startswith(
        "the labels change level: after 2021-01-01, 2021-02-01, 2021-03-01 0.0 to 0.2 % of the labels"
    )
    assert "but after 2021-05-01, the last window that has closed, 41.6 % of the labels are above 0 and their" in said
    assert "can be survived, by learning from what lies after it, and not be predicted" in said


@pytest.mark.parametrize(("factor", "breaks"), [(1.0, False), (4.0, False), (5.0, True), (0.2, True)])
def test_a_mean_at_another_level_is_said_though_as_many_buy(factor: float, breaks: bool) -> None:
    plain = rows([0.8, 0.8, 0.8])
    frame = plain.frame.assign(
        label=plain.label * np.where(plain.frame["cutoff"] == plain.frame["cutoff"].max(), factor, 1)
    )
    changed = TaskTable(frame, plain.horizon)
    assert bool(shift(changed)) == breaks
    assert len(at_level(changed)) == 3


def test_a_few_large_labels_are_no_other_level() -> None:
    """The mean of 100 customers is 10 times as high because of one of them."""
    label = np.ones(200)
    label[-1] = 901.0
    cutoffs = [DAYS[0]] * 100 + [DAYS[1]] * 100
    assert shift(rows_by_hand.table(label, customers=np.tile(np.arange(100), 2), cutoffs=cutoffs)) == ""


def test_nothing_is_said_where_nothing_changes() -> None:
    assert shift(rows([0.3, 0.35, 0.4])) == ""
    assert shift(rows([0.0, 0.0])) == ""


@pytest.mark.parametrize(
    ("test", "windows", "said"),
    [
        ("2021-01-01", "90d", False),
        ("2021-04-01", "45d", True),
        ("2021-10-01", "45d", True),
    ],
)
def test_a_shop_that_wakes_up(test: str, windows: str, said: bool) -> None:
    """Nobody comes back for a year, then half of 600 customers do. No window that has closed shows it before spring;
    from then on windows of half the horizon are learned from."""
    task = replace(SMALL.task, horizon=Horizon.parse("90d"), horizons=())
    split = replace(SMALL.split, test=(date.fromisoformat(test),), train=None, step_days=90, max_cutoffs=4)
    (fold,) = folds(waking_shop(), task=task, split=split)
    assert (str(fold.refit.label_window), bool(fold.shift)) == (windows, said)
    assert at_level(fold.refit) == fold.refit.cutoffs
    if not said:
        assert fold.refit.anchor is None
        assert fold.refit.stretch == 1
        return
    last = fold.refit.cutoffs[-1]
    assert fold.refit.label_window.after(last) <= fold.cutoff
    assert fold.refit.stretch == 2
    assert set(fold.val.cutoffs) <= set(fold.train.cutoffs)
    assert not set(fold.val.frame["customer_id"]) & set(fold.train.frame["customer_id"])
    whole = labelled(waking_shop(), cutoff=task.horizon.before(fold.cutoff), config=task).label
    anchor = fold.refit.anchor
    assert anchor is not None
    assert (anchor.mean, anchor.largest) == (whole.mean(), whole.max())
    assert list(anchor.rows.frame["customer_id"]) == list(fold.test.frame["customer_id"])
    assert "label" not in anchor.rows.frame


def test_a_flag_keeps_windows_of_its_horizon() -> None:
    """Churn of half a window is not half of churn."""
    task = replace(SMALL.task, horizon=Horizon.parse("90d"), horizons=(), target="churn")
    split = replace(SMALL.split, test=(date(2021, 4, 1),), train=None, step_days=90, max_cutoffs=4)
    (fold,) = folds(waking_shop(), task=task, split=split)
    assert fold.refit.window is None
    assert fold.refit.anchor is None


def test_another_future_changes_nothing_after_a_break() -> None:
    task = replace(SMALL.task, horizon=Horizon.parse("90d"), horizons=())
    split = replace(SMALL.split, test=(date(2021, 4, 1),), train=None, step_days=90, max_cutoffs=4)
    shop = waking_shop()
    (one,), (other,) = (folds(db, task=task, split=split) for db in (shop, scrambled_after(shop, cutoff=split.test[0])))
    assert one.refit.anchor is not None
    assert other.refit.anchor is not None
    assert (one.shift, one.refit.anchor.mean, one.refit.anchor.largest) == (
        other.shift, other.refit.anchor.mean, other.refit.anchor.largest
    )  # fmt: skip
    pairs = [(one.refit, other.refit), (one.train, other.train), (one.val, other.val), (one.test, other.test)]
    for here, there in [*pairs, (one.refit.anchor.rows, other.refit.anchor.rows)]:
        assert_frame_equal(here.frame, there.frame, check_exact=True)
