"""Nothing after a cutoff reaches what is predicted at it: change the future, and every number stays, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, HELD_OUT, SMALL, TEST, each, fit, setting

from patron.days import midnight
from patron.estimators import (
    BoostedGNNConfig,
    BTYDConfig,
    Estimator,
    EstimatorConfig,
    GNNConfig,
    LastWindowConfig,
    LightGBMConfig,
    OracleConfig,
    StackConfig,
    ZeroConfig,
    build,
)
from patron.estimators.base import COLUMNS
from patron.nn.heads import HeadConfig
from patron.tables.database import Database
from patron.tables.schema import TABLES
from patron.task.split import Fold, folds
from patron.testing import scrambled_after

Fitted = Callable[[str], Estimator]
EVERY = sorted(ESTIMATORS)
SUPERVISED = [name for name in EVERY if not isinstance(ESTIMATORS[name], ZeroConfig | BTYDConfig)]
ALONE = [name for name in SUPERVISED if not isinstance(ESTIMATORS[name], StackConfig)]  # without BTYD among them
LEARN_FROM_LABELS = [name for name in SUPERVISED if not isinstance(ESTIMATORS[name], LastWindowConfig)]
TIMED = (("orders", "order_date"), ("returns", "return_date"))


@pytest.fixture(scope="module")
def other(shop: Database) -> Database:
    """The shop with another future after the test cutoff."""
    return scrambled_after(shop, cutoff=TEST)


@pytest.fixture(scope="module")
def changed(shop: Database, fold: Fold) -> Database:
    """The shop with another future after the latest cutoff that is trained on."""
    return scrambled_after(shop, cutoff=fold.refit.cutoffs[-1])


@pytest.fixture(scope="module")
def renewed(shop: Database) -> Database:
    """The shop with another future after the cutoff of the customers protocol."""
    return scrambled_after(shop, cutoff=HELD_OUT.cutoff)


@pytest.fixture(scope="module")
def held_out(shop: Database) -> Fold:
    return folds(shop, task=SMALL.task, split=HELD_OUT)[0]


@pytest.fixture(scope="module")
def unseen(shop: Database, held_out: Fold) -> Database:
    """The shop in which the customers who are tested do nothing after the cutoff of the customers protocol."""
    return _without_future(shop, held_out.test.frame["customer_id"])


@pytest.fixture(scope="module")
def idle(shop: Database, held_out: Fold) -> Database:
    """The same for half of the customers who are trained on."""
    return _without_future(shop, held_out.refit.frame["customer_id"].iloc[::2])


@pytest.fixture(scope="module")
def fitted_held_out(shop: Database, held_out: Fold, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return cache(lambda name: fit(name, shop, fold=held_out, folder=tmp_path_factory.mktemp(name)))


def only_fold(db: Database) -> Fold:
    (fold,) = folds(db, task=SMALL.task, split=SMALL.split)
    return fold


def assert_identical(predicted: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same customers in the same order, and a largest absolute difference of exactly 0 in every column."""
    assert list(predicted.columns) == list(COLUMNS)
    assert len(predicted) > 20
    assert_frame_equal(predicted, expected, check_exact=True)


def differ(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    both = one.merge(other, on=["customer_id", "cutoff"], suffixes=("", "_other"))
    assert len(both) > 20
    return not both["ltv_mean"].equals(both["ltv_mean_other"])


def test_every_estimator_is_tested() -> None:
    configs = get_args(get_args(EstimatorConfig)[0])
    assert {type(config) for config in ESTIMATORS.values()} == set(configs) - {OracleConfig}
    heads, nets = get_args(get_args(HeadConfig)[0]), (GNNConfig, BoostedGNNConfig)
    assert {type(config.model.head) for config in ESTIMATORS.values() if isinstance(config, nets)} == set(heads)
    sets = get_args(LightGBMConfig.__annotations__["features"])
    assert {config.features for config in ESTIMATORS.values() if isinstance(config, LightGBMConfig)} == set(sets)


def test_the_scramble_changes_the_future_and_nothing_else(shop: Database, other: Database) -> None:
    for name, table in shop.upto(TEST).tables.items():
        assert other.upto(TEST)[name].equals(table), name
    timed = [name for name, schema in TABLES.items() if schema.time]
    assert len(timed) == 8  # customers by their registration
    for name in (*timed, "order_items"):
        assert shop[name].num_rows > shop.upto(TEST)[name].num_rows, f"nothing to scramble in {name}"
        assert not other[name].equals(shop[name]), name
    for name in ("order_items", "order_events", "returns"):
        assert set(other[name]["order_id"].to_pylist()) <= set(other["orders"]["order_id"].to_pylist()), name
    assert set(other["orders"]["customer_id"].to_pylist()) <= set(other["customers"]["customer_id"].to_pylist())


@each(EVERY)
def test_the_future_changes_no_prediction(
    name: str, other: Database, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    again = only_fold(other)
    for role in ("train", "val", "refit", "test"):
        assert_frame_equal(getattr(again, role).frame, getattr(fold, role).frame, check_exact=True)
    predicted = fit(name, other, fold=again, folder=tmp_path).predict(other.upto(TEST), rows=again.test)
    assert_identical(predicted, fitted(name).predict(shop.upto(TEST), rows=fold.test))


@each(EVERY)
def test_the_past_changes_predictions(name: str, changed: Database, shop: Database, fold: Fold, fitted: Fitted) -> None:
    """The control: the tests of this file can fail."""
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    differs = differ(fitted(name).predict(changed.upto(TEST), rows=fold.test), expected)
    assert differs != isinstance(ESTIMATORS[name], ZeroConfig)


def test_a_stack_without_btyd_sees_no_more(changed: Database, shop: Database, fold: Fold, tmp_path: Path) -> None:
    whole = ESTIMATORS["stack"]
    assert isinstance(whole, StackConfig)
    config = replace(whole, components={name: whole.components[name] for name in ("lightgbm_twohop", "gnn")})
    rows, predicted = fold.refit.at(fold.refit.cutoffs[-1]).without_label(), []
    for db in (shop, changed):
        stack = build(config, setting(tmp_path)).fit(db.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)
        predicted.append(stack.predict(db.upto(TEST), rows=rows))
    assert_identical(*predicted)


@each(ALONE, alike=True)
def test_training_rows_see_only_their_own_past(
    name: str, changed: Database, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    """Between the latest training cutoff and the test nothing is learned but labels, which are the same here.

    BTYD is not among them: it learns from all purchases up to the test, and from no label.
    """
    rows = fold.refit.at(fold.refit.cutoffs[-1]).without_label()
    predicted = fit(name, changed, fold=fold, folder=tmp_path).predict(changed.upto(TEST), rows=rows)
    assert_identical(predicted, fitted(name).predict(shop.upto(TEST), rows=rows))


@each(EVERY)
def test_predict_cuts_off_what_comes_later(
    name: str, shop: Database, other: Database, fold: Fold, fitted: Fitted
) -> None:
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    for whole in (shop, other):
        assert_identical(fitted(name).predict(whole, rows=fold.test), expected)


@each(EVERY, alike=True)
def test_customers_protocol_sees_labels_and_no_other_future(
    name: str, renewed: Database, shop: Database, held_out: Fold, fitted_held_out: Fitted, tmp_path: Path
) -> None:
    predicted = fit(name, renewed, fold=held_out, folder=tmp_path).predict(renewed, rows=held_out.test)
    assert_identical(predicted, fitted_held_out(name).predict(shop, rows=held_out.test))


@each(EVERY, alike=True)
def test_customers_protocol_never_sees_test_labels(
    name: str, unseen: Database, shop: Database, held_out: Fold, fitted_held_out: Fitted, tmp_path: Path
) -> None:
    assert "label" not in held_out.test.frame
    again = folds(unseen, task=SMALL.task, split=HELD_OUT)[0]
    predicted = fit(name, unseen, fold=again, folder=tmp_path).predict(unseen, rows=again.test)
    assert_identical(predicted, fitted_held_out(name).predict(shop, rows=held_out.test))


@each(LEARN_FROM_LABELS, alike=True)
def test_customers_protocol_learns_from_the_other_labels(
    name: str, idle: Database, shop: Database, held_out: Fold, fitted_held_out: Fitted, tmp_path: Path
) -> None:
    """The control of the test above: the same change to customers who are trained on shows."""
    again = folds(idle, task=SMALL.task, split=HELD_OUT)[0]
    assert_frame_equal(again.test.frame, held_out.test.frame)
    predicted = fit(name, idle, fold=again, folder=tmp_path).predict(idle, rows=again.test)
    assert differ(predicted, fitted_held_out(name).predict(shop, rows=held_out.test))


def test_label_windows_close_before_the_next_role(fold: Fold) -> None:
    """No row that is trained on or chosen by has a label that reaches past the cutoff it is used for."""
    for rows, limit in ((fold.train, fold.val.cutoffs[0]), (fold.val, TEST), (fold.refit, TEST)):
        assert max(rows.horizon.after(cutoff) for cutoff in rows.cutoffs) <= limit
    assert "label" not in fold.test.frame


def _without_future(db: Database, customers: pd.Series) -> Database:
    """`db` without what these customers bought and returned after the cutoff of the customers protocol."""
    orders, returns = (_without(db[name], customers, time=time) for name, time in TIMED)
    assert orders.num_rows < db["orders"].num_rows
    kept = pc.is_in(db["order_items"]["order_id"], value_set=orders["order_id"].combine_chunks())
    items = db["order_items"].filter(kept)
    return Database(db.name, {**db.tables, "orders": orders, "order_items": items, "returns": returns})


def _without(table: pa.Table, customers: pd.Series, *, time: str) -> pa.Table:
    theirs = pc.is_in(table["customer_id"], value_set=pa.array(customers))
    later = pc.greater(table[time], pa.scalar(midnight(HELD_OUT.cutoff), pa.timestamp("us")))
    return table.filter(pc.invert(pc.and_(theirs, later)))
