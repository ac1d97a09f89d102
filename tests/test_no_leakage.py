"""Nothing after a cutoff reaches what is predicted at it: change the future, and every number stays, bit for bit."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, HELD_OUT, SMALL, TEST, fit

from patron.days import midnight
from patron.estimators import BTYDConfig, Estimator, EstimatorConfig, LightGBMConfig, ZeroConfig
from patron.nn.heads import HeadConfig
from patron.tables.database import Database
from patron.task.split import Fold, folds
from patron.testing import scrambled_after, small_shop

Fitted = Callable[[str], Estimator]
EVERY = sorted(ESTIMATORS)
SUPERVISED = [name for name in EVERY if not isinstance(ESTIMATORS[name], ZeroConfig | BTYDConfig)]
COUNTED = ["customer_id", "cutoff", "ltv_mean", "ltv_median", "rank_score", "p_active", "q10", "q90"]


@pytest.fixture(scope="module")
def other(shop: Database) -> Database:
    """The shop with another future after the test cutoff."""
    return scrambled_after(shop, cutoff=TEST)


@pytest.fixture(scope="module")
def held_out(shop: Database) -> Fold:
    return folds(shop, task=SMALL.task, split=HELD_OUT)[0]


def only_fold(db: Database) -> Fold:
    (fold,) = folds(db, task=SMALL.task, split=SMALL.split)
    return fold


def assert_identical(predicted: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same customers in the same order, and a largest absolute difference of exactly 0 in every column."""
    assert list(predicted.columns) == COUNTED
    assert len(predicted) > 20
    assert_frame_equal(predicted, expected, check_exact=True)


def differ(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    both = one.merge(other, on=["customer_id", "cutoff"], suffixes=("", "_other"))
    assert len(both) > 20
    return not both["ltv_mean"].equals(both["ltv_mean_other"])


def test_every_estimator_is_tested() -> None:
    configs = get_args(get_args(EstimatorConfig)[0])
    assert {type(config) for config in ESTIMATORS.values()} == set(configs)
    heads = get_args(get_args(HeadConfig)[0])
    assert {type(config.model.head) for config in ESTIMATORS.values() if hasattr(config, "model")} == set(heads)
    sets = get_args(LightGBMConfig.__annotations__["features"])
    assert {config.features for config in ESTIMATORS.values() if isinstance(config, LightGBMConfig)} == set(sets)


def test_the_scramble_changes_the_future_and_nothing_else(shop: Database, other: Database) -> None:
    for name, table in shop.upto(TEST).tables.items():
        assert other.upto(TEST)[name].equals(table), name
    for name in ("orders", "order_items", "returns", "campaigns"):
        assert shop[name].num_rows > shop.upto(TEST)[name].num_rows, f"nothing to scramble in {name}"
        assert not other[name].equals(shop[name]), name


@pytest.mark.parametrize("name", EVERY)
def test_the_future_changes_no_prediction(
    name: str, other: Database, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    again = only_fold(other)
    for role in ("train", "val", "refit", "test"):
        assert_frame_equal(getattr(again, role).frame, getattr(fold, role).frame, check_exact=True)
    predicted = fit(name, other, fold=again, folder=tmp_path).predict(other.upto(TEST), rows=again.test)
    assert_identical(predicted, fitted(name).predict(shop.upto(TEST), rows=fold.test))


@pytest.mark.parametrize("name", EVERY)
def test_the_past_changes_predictions(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    """The control: the tests of this file can fail."""
    past = scrambled_after(shop, cutoff=TEST - timedelta(days=60)).upto(TEST)
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    changed = differ(fitted(name).predict(past, rows=fold.test), expected)
    assert changed != isinstance(ESTIMATORS[name], ZeroConfig)


@pytest.mark.parametrize("name", SUPERVISED)
def test_training_rows_see_only_their_own_past(
    name: str, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    """Between the latest training cutoff and the test nothing is learned but labels, which are the same here.

    BTYD is not among them: it learns from all purchases up to the test, and from no label.
    """
    latest = fold.refit.cutoffs[-1]
    assert latest < TEST
    other = scrambled_after(shop, cutoff=latest)
    rows = fold.refit.at(latest).without_label()
    predicted = fit(name, other, fold=fold, folder=tmp_path).predict(other.upto(TEST), rows=rows)
    assert_identical(predicted, fitted(name).predict(shop.upto(TEST), rows=rows))


@pytest.mark.parametrize("name", EVERY)
def test_predict_cuts_off_what_comes_later(
    name: str, shop: Database, other: Database, fold: Fold, fitted: Fitted
) -> None:
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    for whole in (shop, other):
        assert_identical(fitted(name).predict(whole, rows=fold.test), expected)


@pytest.mark.parametrize("name", EVERY)
def test_customers_protocol_sees_labels_and_no_other_future(
    name: str, shop: Database, held_out: Fold, tmp_path: Path
) -> None:
    other = scrambled_after(shop, cutoff=HELD_OUT.cutoff)
    answers = [
        fit(name, db, fold=held_out, folder=tmp_path / str(k)).predict(db.upto(HELD_OUT.cutoff), rows=held_out.test)
        for k, db in enumerate((shop, other))
    ]
    assert_identical(answers[1], answers[0])


@pytest.mark.parametrize("name", EVERY)
def test_customers_protocol_never_sees_test_labels(name: str, shop: Database, held_out: Fold, tmp_path: Path) -> None:
    assert "label" not in held_out.test.frame
    answers = []
    for k, db in enumerate((shop, _without_future(shop, held_out.test.frame["customer_id"]))):
        fold = folds(db, task=SMALL.task, split=HELD_OUT)[0]
        answers.append(fit(name, db, fold=fold, folder=tmp_path / str(k)).predict(db.upto(fold.cutoff), rows=fold.test))
    assert_identical(answers[1], answers[0])


@pytest.mark.parametrize("name", SUPERVISED)
def test_customers_protocol_learns_from_the_other_labels(
    name: str, shop: Database, held_out: Fold, tmp_path: Path
) -> None:
    """The control, with the same customers' future taken away from training: all that learn from labels change."""
    if ESTIMATORS[name].name == "last_window":
        pytest.skip("last_window learns nothing")
    db = _without_future(shop, held_out.refit.frame["customer_id"].iloc[::2])
    folds_ = [folds(each, task=SMALL.task, split=HELD_OUT)[0] for each in (shop, db)]
    assert_frame_equal(folds_[0].test.frame, folds_[1].test.frame)
    answers = [
        fit(name, each, fold=fold, folder=tmp_path / str(k)).predict(each.upto(fold.cutoff), rows=fold.test)
        for k, (each, fold) in enumerate(zip((shop, db), folds_, strict=True))
    ]
    assert differ(*answers)


def test_a_window_that_closes_late_is_no_label(shop: Database) -> None:
    """No row that is trained on or chosen by has a label that reaches past the test cutoff."""
    fold = only_fold(shop)
    for rows, limit in ((fold.train, fold.val.cutoffs[0]), (fold.val, TEST), (fold.refit, TEST)):
        assert max(rows.horizon.after(cutoff) for cutoff in rows.cutoffs) <= limit
    assert "label" not in fold.test.frame


def _without_future(db: Database, customers: pd.Series) -> Database:
    """`db` without what these customers did after the cutoff of the customers protocol."""

    def kept(name: str, time: str) -> pa.Table:
        table = db[name]
        theirs = pc.is_in(table["customer_id"], value_set=pa.array(customers))
        return table.filter(pc.invert(pc.and_(theirs, pc.greater(table[time], pa.scalar(_instant(HELD_OUT.cutoff))))))

    orders = kept("orders", "order_date")
    assert orders.num_rows < db["orders"].num_rows
    items = db["order_items"].filter(pc.is_in(db["order_items"]["order_id"], value_set=orders["order_id"].combine_chunks()))
    return Database(db.name, {**db.tables, "orders": orders, "order_items": items, "returns": kept("returns", "return_date")})


def _instant(day: date) -> pa.Scalar:
    return pa.scalar(midnight(day), pa.timestamp("us"))


def test_small_shop_is_the_same_every_time() -> None:
    for name, table in small_shop().tables.items():
        assert small_shop()[name].equals(table), name
