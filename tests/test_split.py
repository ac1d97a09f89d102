"""Which cutoffs a fold has, that no label window reaches past the next role's cutoff, and who is held out."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from pydantic import TypeAdapter, ValidationError

from patron.days import Horizon, midnight
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, labelled
from patron.task.split import CustomersConfig, Fold, Plan, SplitConfig, TemporalConfig, folds, plan, truth
from patron.testing import scrambled_after

FIRST, TEST = date(2020, 1, 1), date(2020, 7, 1)
TASK = TaskConfig(horizon=Horizon(30, "days"), target="net", population=None, horizons=(), query=None)
TEMPORAL = TemporalConfig(
    name="temporal",
    test=(TEST,),
    val=None,
    train=None,
    validation="cutoff",
    step_days=30,
    max_cutoffs=24,
    min_history_days=None,
    max_rows=1_000_000,
)
BY_CUSTOMER = replace(TEMPORAL, validation="customers")
HELD_OUT = CustomersConfig(name="customers", cutoff=TEST, folds=4)


def make_shop(days: list[datetime], *, customers: range = range(60)) -> Database:
    """One order of every customer on each of `days`, each of another amount."""
    who = [customer for _ in days for customer in customers]
    orders = list(range(len(who)))
    when = pa.array([day for day in days for _ in customers], pa.timestamp("us"))
    return Database(
        "shop",
        {
            "customers": pa.table({"customer_id": list(customers)}),
            "orders": pa.table({"order_id": orders, "customer_id": who, "order_date": when}),
            "order_items": pa.table({"order_id": orders, "amount": [1.0 + order % 7 for order in orders]}),
        },
    )


def noons(*, last: date) -> list[datetime]:
    """Noon of every day from the first to `last`."""
    return [midnight(FIRST) + timedelta(days=k, hours=12) for k in range((last - FIRST).days + 1)]


@pytest.fixture(scope="module")
def busy() -> Database:
    """An order of every customer every day, to the last day of the test window."""
    return make_shop(noons(last=date(2020, 7, 30)))


def planned(split: TemporalConfig, *, horizon: str = "30d", test: date = TEST) -> Plan:
    opened = make_shop(noons(last=FIRST))  # a plan needs the first day alone
    return plan(opened, task=replace(TASK, horizon=Horizon.parse(horizon)), split=split, test=test)


def days(*texts: str) -> tuple[date, ...]:
    return tuple(date.fromisoformat(f"2020-{text}") for text in texts)


def pairs(*tables: TaskTable) -> set[tuple[int, pd.Timestamp]]:
    return {pair for table in tables for pair in zip(table.frame["customer_id"], table.frame["cutoff"], strict=True)}


def customers(table: TaskTable) -> set[int]:
    return set(table.frame["customer_id"])


# --- plan


def test_cutoffs_step_back_while_a_horizon_of_history_remains() -> None:
    chosen = planned(TEMPORAL)
    train = days("02-02", "03-03", "04-02", "05-02")  # the next, 2020-01-03, has 2 days behind it
    assert chosen == Plan(train, date(2020, 6, 1), (*train, date(2020, 6, 1)), TEST)


def test_refit_has_every_closed_cutoff_and_train_only_those_closed_at_val() -> None:
    chosen = planned(replace(TEMPORAL, step_days=20))
    assert chosen.train == days("01-23", "02-12", "03-03", "03-23", "04-12", "05-02")
    assert chosen.refit == (*chosen.train, *days("05-12", "06-01"))  # 05-12 closes by the test and not by val
    assert planned(replace(BY_CUSTOMER, step_days=20)).refit == days(
        "01-13", "02-02", "02-22", "03-13", "04-02", "04-22", "05-12", "06-01"
    )


def test_a_val_of_one_s_own_leaves_later_cutoffs_to_refit() -> None:
    chosen = planned(replace(TEMPORAL, val=date(2020, 4, 2)))
    assert (chosen.val, chosen.train) == (date(2020, 4, 2), days("02-02", "03-03"))
    assert chosen.refit == days("02-02", "03-03", "04-02", "05-02", "06-01")


def test_explicit_cutoffs_are_taken_as_they_are() -> None:
    chosen = planned(replace(TEMPORAL, train=days("01-05", "03-15"), val=date(2020, 4, 20)))
    assert chosen == Plan(days("01-05", "03-15"), date(2020, 4, 20), days("01-05", "03-15", "04-20"), TEST)
    assert planned(replace(BY_CUSTOMER, train=days("03-15"))) == Plan(days("03-15"), None, days("03-15"), TEST)


@pytest.mark.parametrize(("history", "train"), [(92, ("04-02", "05-02")), (93, ("05-02",)), (122, ("05-02",))])
def test_min_history_is_counted_to_the_day(history: int, train: tuple[str, ...]) -> None:
    assert planned(replace(TEMPORAL, min_history_days=history)).train == days(*train)


def test_max_cutoffs_keeps_the_latest() -> None:
    assert planned(replace(TEMPORAL, max_cutoffs=2)).train == days("04-02", "05-02")
    assert planned(replace(BY_CUSTOMER, max_cutoffs=2)).train == days("05-02", "06-01")


@pytest.mark.parametrize("split", [TEMPORAL, BY_CUSTOMER], ids=["cutoff", "customers"])
def test_a_history_too_short_says_what_to_do(split: TemporalConfig) -> None:
    with pytest.raises(ValueError, match="'shop' starts on 2020-01-01: too short for a train cutoff") as caught:
        planned(replace(split, min_history_days=153))  # one day more than the latest cutoff of all has
    said = str(caught.value)
    assert "with 153 days of history before the test at 2020-07-01" in said
    mends = ("split.validation=customers", "split.min_history_days", "task.horizon", "split=customers")
    assert all(mend in said for mend in mends)
    with pytest.raises(ValueError, match="with 122 days of history"):
        planned(split, horizon="12m")  # unset, it is a third of one horizon: that of a leap year


@pytest.mark.parametrize(
    ("split", "windows"),
    [
        (
            replace(TEMPORAL, train=days("04-01", "05-15")),
            ["train window (2020-05-15, 2020-06-14] reaches past the validation cutoff 2020-06-01"],
        ),
        (
            replace(TEMPORAL, val=date(2020, 6, 2)),
            ["window (2020-06-02, 2020-07-02] reaches past the test cutoff 2020-07-01"],
        ),
        (
            replace(BY_CUSTOMER, train=days("04-01", "06-02")),
            [
                "train window (2020-06-02, 2020-07-02] reaches past the test cutoff 2020-07-01",
                "refit window (2020-06-02, 2020-07-02] reaches past the test cutoff 2020-07-01",
            ],
        ),
        (
            replace(TEMPORAL, train=days("05-20", "06-20")),
            [
                "train window (2020-05-20, 2020-06-19] reaches past the validation cutoff 2020-06-01",
                "train window (2020-06-20, 2020-07-20] reaches past the validation cutoff 2020-06-01",
                "refit window (2020-06-20, 2020-07-20] reaches past the test cutoff 2020-07-01",
            ],
        ),
    ],
    ids=["train", "val", "customers", "all at once"],
)
def test_overlap_is_refused_and_every_window_named(split: TemporalConfig, windows: list[str]) -> None:
    with pytest.raises(ValueError, match=r"(?s)label windows overlap.*move these cutoffs back") as caught:
        planned(split)
    assert all(window in str(caught.value) for window in windows)
    assert str(caught.value).count("reaches past") == len(windows)


def test_windows_that_end_on_the_next_cutoff_do_not_overlap() -> None:
    touching = replace(TEMPORAL, train=days("05-02"), val=date(2020, 6, 1))
    assert planned(touching).train == days("05-02")
    with pytest.raises(ValueError, match="overlap"):
        planned(replace(touching, train=days("05-03")))


@pytest.mark.parametrize("validation", ["cutoff", "customers"])
@pytest.mark.parametrize("horizon", ["1m", "3m", "45d"])
def test_no_planned_window_reaches_past_the_next_role(horizon: str, validation: str) -> None:
    length = Horizon.parse(horizon)
    split = replace(TEMPORAL, validation=validation, step_days=13)
    for test in (date(2021, 2, 22) + timedelta(days=k) for k in range(12)):  # across the end of February
        chosen = planned(split, horizon=horizon, test=test)
        assert all(length.after(cutoff) <= test for cutoff in chosen.refit)
        assert all(length.after(cutoff) <= (chosen.val or test) for cutoff in chosen.train)
        assert set(chosen.train) <= set(chosen.refit)
        assert len(chosen.train) > 5


# --- temporal folds


def assert_fair(fold: Fold, *, horizon: Horizon) -> None:
    for part in (fold.train, fold.val, fold.refit):
        assert len(part) > 0
        assert max(horizon.after(cutoff) for cutoff in part.cutoffs) <= fold.cutoff
    assert fold.test.cutoffs == (fold.cutoff,)
    assert "label" not in fold.test.frame
    assert pairs(fold.train, fold.val) <= pairs(fold.refit)
    assert not pairs(fold.train) & pairs(fold.val)


def test_a_fold_has_the_rows_of_its_plan(busy: Database) -> None:
    (fold,) = folds(busy, task=TASK, split=replace(TEMPORAL, step_days=20))
    chosen = plan(busy, task=TASK, split=replace(TEMPORAL, step_days=20), test=TEST)
    assert_fair(fold, horizon=TASK.horizon)
    assert (fold.train.cutoffs, fold.val.cutoffs) == (chosen.train, (chosen.val,))
    assert (fold.refit.cutoffs, fold.cutoff, fold.name) == (chosen.refit, TEST, "2020-07-01")
    assert max(fold.train.horizon.after(cutoff) for cutoff in fold.train.cutoffs) <= fold.val.cutoffs[0]
    for cutoff in chosen.refit:
        expected = labelled(busy, cutoff=cutoff, config=TASK).frame
        assert_frame_equal(fold.refit.at(cutoff).frame, expected)
    assert_frame_equal(fold.val.frame, fold.refit.at(date(2020, 6, 1)).frame)


def test_folds_come_in_order_of_time_and_each_has_its_own_past(busy: Database) -> None:
    first, second = folds(busy, task=TASK, split=replace(TEMPORAL, test=(TEST, date(2020, 5, 15))))
    assert (first.cutoff, second.cutoff) == (date(2020, 5, 15), TEST)
    for fold in (first, second):
        assert_fair(fold, horizon=TASK.horizon)
        assert len(fold.test) == 60


def test_truth_has_the_labels_of_the_test_rows(busy: Database) -> None:
    (fold,) = folds(busy, task=TASK, split=TEMPORAL)
    answer = truth(busy, fold=fold, task=TASK)
    assert_frame_equal(answer.without_label().frame, fold.test.frame)
    assert_frame_equal(answer.frame, labelled(busy, cutoff=TEST, config=TASK).frame)
    assert answer.label.min() > 0


def test_what_comes_after_the_test_cutoff_is_in_no_fold(shop: Database) -> None:
    test, task = date(2021, 4, 1), replace(TASK, horizon=Horizon(60, "days"))
    split = replace(TEMPORAL, test=(test,), max_cutoffs=2)
    fold, other = (folds(db, task=task, split=split)[0] for db in (shop, scrambled_after(shop, cutoff=test)))
    for role in ("train", "val", "refit", "test"):
        assert_frame_equal(getattr(fold, role).frame, getattr(other, role).frame, check_exact=True)
    changed = truth(scrambled_after(shop, cutoff=test), fold=other, task=task).label
    assert abs(truth(shop, fold=fold, task=task).label - changed).max() > 0


@pytest.mark.parametrize("validation", ["cutoff", "customers"])
def test_quiet_days_before_the_test_do_not_open_a_window(validation: str) -> None:
    """Nobody bought on 2020-06-29 and 2020-06-30, but the data go on: what closes by the test is closed."""
    shop = make_shop([day for day in noons(last=date(2020, 7, 30)) if day.date() not in days("06-29", "06-30")])
    (fold,) = folds(shop, task=TASK, split=replace(TEMPORAL, validation=validation))
    assert fold.refit.cutoffs[-1] == date(2020, 6, 1)


# --- customers who validate or are tested


def test_validation_by_customers_shares_no_customer_and_every_cutoff(busy: Database) -> None:
    (fold,) = folds(busy, task=TASK, split=BY_CUSTOMER)
    assert_fair(fold, horizon=TASK.horizon)
    assert not customers(fold.train) & customers(fold.val)
    assert pairs(fold.train, fold.val) == pairs(fold.refit)
    assert fold.train.cutoffs == fold.val.cutoffs == days("02-02", "03-03", "04-02", "05-02", "06-01")
    assert 0.1 < len(customers(fold.val)) / 60 < 0.3


def test_of_too_many_rows_some_customers_are_learned_from_and_everybody_is_tested(busy: Database) -> None:
    """60 customers at 5 cutoffs, and room for 150 rows: about half of the customers, at each cutoff the same."""
    (whole,), (some,) = (folds(busy, task=TASK, split=replace(TEMPORAL, max_rows=rows)) for rows in (300, 150))
    assert len(whole.refit) == 300
    assert 0.3 * 60 < len(customers(some.refit)) < 0.7 * 60
    assert len(some.refit) == 5 * len(customers(some.refit))
    assert pairs(some.train) | pairs(some.val) == pairs(some.refit)
    assert customers(some.train) == customers(some.val)
    assert_frame_equal(some.test.frame, whole.test.frame)


def test_held_out_customers_are_tested_once(busy: Database) -> None:
    parts = folds(busy, task=TASK, split=HELD_OUT)
    assert [fold.name for fold in parts] == [f"customers-{k}" for k in range(4)]
    tested = [customer for fold in parts for customer in fold.test.frame["customer_id"]]
    assert sorted(tested) == list(range(60))
    validated = [customer for fold in parts for customer in fold.val.frame["customer_id"]]
    assert sorted(validated) == list(range(60))


def test_held_out_customers_are_in_no_other_role(busy: Database) -> None:
    for fold in folds(busy, task=TASK, split=HELD_OUT):
        roles = [customers(part) for part in (fold.train, fold.val, fold.test)]
        assert all(roles)
        assert set.union(*roles) == set(range(60))
        assert sum(map(len, roles)) == 60
        assert pairs(fold.refit) == pairs(fold.train, fold.val)
        assert "label" not in fold.test.frame
        assert fold.train.cutoffs == fold.val.cutoffs == fold.test.cutoffs == (fold.cutoff,) == (TEST,)
        answer = truth(busy, fold=fold, task=TASK)
        assert_frame_equal(answer.without_label().frame, fold.test.frame)


def test_a_customer_stays_in_its_bucket_whoever_else_is_there(busy: Database) -> None:
    fewer = make_shop(noons(last=date(2020, 7, 30)), customers=range(0, 60, 2))
    for task_split in (HELD_OUT, BY_CUSTOMER):
        whole, part = (folds(db, task=TASK, split=task_split) for db in (busy, fewer))
        for fold, smaller in zip(whole, part, strict=True):
            for role in ("train", "val", "refit", "test"):
                expected = customers(getattr(fold, role)) & set(range(0, 60, 2))
                assert customers(getattr(smaller, role)) == expected
                assert expected


def test_an_open_test_window_is_refused_for_held_out_customers(busy: Database) -> None:
    with pytest.raises(ValueError, match=r"\(2020-07-02, 2020-08-01\] is not closed.* 2020-07-30"):
        folds(busy, task=TASK, split=replace(HELD_OUT, cutoff=date(2020, 7, 2)))


@pytest.mark.parametrize("wrong", [{"folds": 2}, {"step_days": 3}, {"name": "random"}])
def test_a_wrong_split_is_refused(wrong: dict[str, object]) -> None:
    right = {"name": "customers", "cutoff": "2020-07-01", "folds": 3}
    adapter: TypeAdapter[CustomersConfig | TemporalConfig] = TypeAdapter(SplitConfig)
    assert adapter.validate_python(right) == replace(HELD_OUT, folds=3)
    with pytest.raises(ValidationError, match=next(iter(wrong)) if "name" not in wrong else "discriminator|tag"):
        adapter.validate_python(right | wrong)
