"""What each estimator says, by hand where a hand can do it, and what all of them share: a folder, an order of rows."""

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, GNNS, SMALL, TEST, each, fit, rows_for, setting
from shops_by_hand import at, purchases

from patron.days import Horizon
from patron.estimators import BTYD, Estimator, LastWindow, Zero, build
from patron.estimators.base import COLUMNS
from patron.features.expected import purchase_history
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds

Fitted = Callable[[str], Estimator]
EVERY = sorted(ESTIMATORS)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, logger="patron"):
        yield caplog


# All of them


@each(EVERY, alike=True)
def test_what_is_loaded_predicts_what_was_saved(
    name: str, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    estimator = fitted(name)
    estimator.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["estimator.joblib"]
    loaded = type(estimator).load(tmp_path)
    expected = estimator.predict(shop.upto(TEST), rows=fold.test)
    assert_frame_equal(loaded.predict(shop.upto(TEST), rows=fold.test), expected, check_exact=True)


@each(EVERY, alike=True)
def test_nothing_to_load_is_said(name: str, fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"estimator\.joblib"):
        type(fitted(name)).load(tmp_path)


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    Zero().save(tmp_path)
    broken = Zero()
    broken.cannot_be_saved = lambda: None  # type: ignore[attr-defined]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        broken.save(tmp_path)
    assert isinstance(Zero.load(tmp_path), Zero)


@each(EVERY, alike=True)
def test_several_cutoffs_in_one_call_are_several_calls(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    rows = rows_for(fold.test.frame["customer_id"].tolist()[:12], cutoffs=(TEST, TEST - timedelta(days=40)))
    rows = TaskTable(rows.frame.iloc[np.arange(24).reshape(2, 12).T.ravel()].reset_index(drop=True), rows.horizon)
    together = fitted(name).predict(shop.upto(TEST), rows=rows)
    assert list(together.columns) == list(COLUMNS)
    assert_frame_equal(together[["customer_id", "cutoff"]], rows.frame[["customer_id", "cutoff"]])
    for cutoff in rows.cutoffs:
        alone = fitted(name).predict(shop.upto(TEST), rows=rows.at(cutoff))
        part = together[together["cutoff"] == pd.Timestamp(cutoff)].reset_index(drop=True)
        assert_frame_equal(part, alone, rtol=1e-12)


# Zero and last window


def test_zero_predicts_nothing(shop: Database, fold: Fold, fitted: Fitted) -> None:
    predicted = fitted("zero").predict(shop.upto(TEST), rows=fold.test)
    assert (predicted[["ltv_mean", "ltv_median", "rank_score"]] == 0).all(axis=None)


def test_last_window_is_the_spend_in_the_last_window(shop: Database, fold: Fold, fitted: Fitted) -> None:
    """Net of returns, not below 0, in (cutoff - 90 days, cutoff]."""
    start, end = (pa.scalar(datetime(d.year, d.month, d.day)) for d in (TEST - timedelta(days=90), TEST))
    orders = shop["orders"].join(shop["order_items"], "order_id").to_pandas()
    late = (orders["order_date"] > start.as_py()) & (orders["order_date"] <= end.as_py())
    spent = orders[late].groupby("customer_id")["amount"].sum()
    returns = shop["returns"].to_pandas()
    back = returns[(returns["return_date"] > start.as_py()) & (returns["return_date"] <= end.as_py())]
    expected = spent.sub(back.groupby("customer_id")["refund_amount"].sum(), fill_value=0).clip(lower=0)
    predicted = fitted("last_window").predict(shop.upto(TEST), rows=fold.test).set_index("customer_id")["ltv_mean"]
    assert (predicted > 0).mean() > 0.5
    assert_allclose(predicted, expected.reindex(predicted.index).fillna(0), atol=1e-9)


def test_last_window_scales_a_short_history(tmp_path: Path) -> None:
    """50 days are known and the label has 90: the longest window that fits has 30, and its spend is scaled by 3."""
    db = purchases([(0, date(2021, 1, 1), 5.0), (1, date(2021, 2, 1), 10.0)], customers=2)
    cutoff = date(2021, 2, 20)
    rows = at(cutoff, [0, 1], label=[0.0, 0.0])
    estimator = LastWindow(setting(tmp_path)).fit(db.upto(cutoff), train=rows, val=rows, refit=rows)
    assert estimator.spec.windows == (30,)
    assert_allclose(estimator.predict(db.upto(cutoff), rows=rows.without_label())["ltv_mean"], [0.0, 30.0])


# BTYD


def history(db: Database, *, cutoff: date) -> pd.DataFrame:
    """`frequency, recency, T, days, monetary` of each customer, from the orders: purchases of one day are one."""
    orders = db.upto(cutoff)["orders"].join(db["order_items"], "order_id").to_pandas()
    orders["age"] = np.floor((pd.Timestamp(cutoff) - orders["order_date"]) / pd.Timedelta(days=1))
    grouped = orders.groupby(["customer_id", "age"])["amount"].sum().reset_index().groupby("customer_id")
    first, last, days = grouped["age"].max(), grouped["age"].min(), grouped.size()
    columns = {"frequency": days - 1, "recency": first - last, "T": first}
    return pd.DataFrame({**columns, "days": days, "monetary": grouped["amount"].mean()})


def test_btyd_is_expected_purchases_times_expected_spend(shop: Database, fold: Fold, fitted: Fitted) -> None:
    estimator = fitted("btyd")
    assert isinstance(estimator, BTYD)
    predicted = estimator.predict(shop.upto(TEST), rows=fold.test).set_index("customer_id")
    known = history(shop, cutoff=TEST).loc[predicted.index]
    past = dict(known[["frequency", "recency", "T"]])
    number = estimator.purchases.expected_purchases(90, **past)
    assert_allclose(predicted["ltv_mean"], number * estimator.spend.expected_spend(known["days"], known["monetary"]))
    assert_allclose(predicted["p_active"], estimator.purchases.p_purchase(90, **past))


@pytest.mark.parametrize(("model", "kind"), [("bgnbd", "BGNBD"), ("mbgnbd", "MBGNBD"), ("paretonbd", "ParetoNBD")])
def test_btyd_fits_the_model_it_is_told(model: str, kind: str, shop: Database, fold: Fold, tmp_path: Path) -> None:
    estimator = BTYD(replace(ESTIMATORS["btyd"], model=model), setting(tmp_path))
    estimator.fit(shop.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)
    assert type(estimator.purchases).__name__ == kind
    predicted = estimator.predict(shop.upto(TEST), rows=fold.test)
    assert np.isfinite(predicted[["ltv_mean", "rank_score", "p_active"]]).all(axis=None)


def test_btyd_ranks_totals_of_money_as_it_is_told(shop: Database, fold: Fold, tmp_path: Path) -> None:
    """By expected purchases or by expected money; what it predicts is the same."""
    said = {}
    for rank in ("purchases", "spend"):
        estimator = BTYD(replace(ESTIMATORS["btyd"], rank=rank), setting(tmp_path))
        estimator.fit(shop.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)
        said[rank] = estimator.predict(shop.upto(TEST), rows=fold.test)
    assert_allclose(said["purchases"]["ltv_mean"], said["spend"]["ltv_mean"])
    assert_allclose(said["spend"]["rank_score"], said["spend"]["ltv_mean"])
    past = dict(history(shop, cutoff=TEST).loc[fold.test.frame["customer_id"]][["frequency", "recency", "T"]])
    assert_allclose(said["purchases"]["rank_score"], estimator.purchases.expected_purchases(90, **past))


def test_months_are_counted_from_each_cutoff(shop: Database, tmp_path: Path) -> None:
    """Three months after 1 February and after 1 April are 89 and 91 days."""
    cutoffs = (date(2021, 2, 1), date(2021, 4, 1))
    rows = TaskTable(rows_for([1, 2, 3], cutoffs=cutoffs).frame, Horizon.parse("3m"))
    estimator = BTYD(ESTIMATORS["btyd"], setting(tmp_path)).fit(shop.upto(TEST), train=rows, val=rows, refit=rows)
    together = estimator.predict(shop.upto(TEST), rows=rows)
    for cutoff, days in zip(cutoffs, (89, 91), strict=True):
        known = history(shop, cutoff=cutoff).loc[[1, 2, 3]]
        number = estimator.purchases.expected_purchases(days, **dict(known[["frequency", "recency", "T"]]))
        expected = number * estimator.spend.expected_spend(known["days"], known["monetary"])
        assert_allclose(together["ltv_mean"][together["cutoff"] == pd.Timestamp(cutoff)], expected)


def test_purchase_history_counts_days_not_orders() -> None:
    features = pd.DataFrame({"tenure": [10.5], "recency": [3.2], "days_active": [2.0], "amount_per_day": [7.0]})
    past = purchase_history(features)
    assert (past.frequency, past.recency, past.age, past.monetary) == (1.0, 7.0, 10.0, 7.0)


def test_btyd_falls_back_on_tiny_data_and_says_so(tmp_path: Path, heard: pytest.LogCaptureFixture) -> None:
    db = purchases([(0, date(2021, 1, 1), 5.0), (1, date(2021, 1, 3), 7.0), (1, date(2021, 1, 9), 9.0)], customers=4)
    cutoff = date(2021, 1, 15)
    rows = at(cutoff, [0, 1], label=[0.0, 1.0])
    estimator = build(ESTIMATORS["btyd"], setting(tmp_path)).fit(db.upto(cutoff), train=rows, val=rows, refit=rows)
    predicted = estimator.predict(db.upto(cutoff), rows=at(cutoff, [0, 1, 2]))
    assert "too few" in heard.text
    assert np.isfinite(predicted["ltv_mean"]).all()
    assert predicted["ltv_mean"].tolist()[:2] == sorted(predicted["ltv_mean"].tolist()[:2])
    assert predicted["ltv_mean"][0] > 0
    assert predicted["ltv_mean"][2] == 0  # no purchase process yet


def test_btyd_says_nothing_where_the_data_carry_a_fit(
    shop: Database, fold: Fold, tmp_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    """What it says about other data is the fallback's."""
    fit("btyd", shop, fold=fold, folder=tmp_path)
    assert "too few" not in heard.text
    assert "pooled" not in heard.text


# Shops that know less


@pytest.fixture(scope="module")
def plain(shop: Database) -> Database:
    """No products: orders have amounts and nothing else."""
    return _without_catalogue(shop, items=shop["order_items"].drop_columns(["product_id"]))


@pytest.fixture(scope="module")
def bare(shop: Database) -> Database:
    """Products that only order items name."""
    return _without_catalogue(shop, items=shop["order_items"])


def products_since(shop: Database, day: date) -> Database:
    """The shop with product ids in orders after `day` only."""
    items, orders = shop["order_items"], shop["orders"]
    after = orders.filter(pc.greater(orders["order_date"], pa.scalar(datetime(day.year, day.month, day.day))))
    named = pc.is_in(items["order_id"], value_set=after["order_id"].combine_chunks())
    ids = pc.if_else(named, items["product_id"], pa.scalar(None, items["product_id"].type))
    items = items.set_column(items.column_names.index("product_id"), "product_id", ids)
    return Database("late", {**shop.tables, "order_items": items})


def _without_catalogue(shop: Database, *, items: pa.Table) -> Database:
    kept = {name: table for name, table in shop.tables.items() if name not in ("products", "categories", "returns")}
    return Database("plain", {**kept, "order_items": items})


@each(EVERY, alike=True)
def test_every_estimator_does_without_products(
    name: str, plain: Database, tmp_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    _assert_runs(name, plain, tmp_path)
    assert ("has no products" in heard.text) == (name in (*GNNS, "boosted_gnn", "stack"))


@pytest.mark.parametrize("name", ["gnn", "lightgbm"])
def test_products_need_no_table_of_their_own(
    name: str, bare: Database, tmp_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    _assert_runs(name, bare, tmp_path)
    assert "has no products" not in heard.text


def test_gnn_learns_from_products_that_come_late(shop: Database, tmp_path: Path) -> None:
    """At the first training cutoff the graph has none."""
    db = products_since(shop, date(2020, 9, 15))
    (fold,) = folds(db, task=SMALL.task, split=SMALL.split)
    assert not db.upto(fold.train.cutoffs[0]).has_products
    assert db.upto(fold.train.cutoffs[-1]).has_products
    _assert_runs("gnn", db, tmp_path)


@pytest.mark.slow
def test_gnn_predicts_where_products_have_come_since(shop: Database, fold: Fold, tmp_path: Path) -> None:
    """At no training cutoff the graph has any."""
    db = products_since(shop, date(2021, 2, 1))
    assert not db.upto(fold.val.cutoffs[0]).has_products
    assert db.upto(TEST).has_products
    gnn = build(ESTIMATORS["gnn"], setting(tmp_path))
    gnn.fit(db.upto(TEST), train=fold.val, val=fold.val, refit=fold.val)
    assert gnn.predict(db.upto(TEST), rows=fold.test)["ltv_mean"].between(0, 1e6).all()


def _assert_runs(name: str, db: Database, folder: Path) -> None:
    (fold,) = folds(db, task=SMALL.task, split=SMALL.split)
    predicted = fit(name, db, fold=fold, folder=folder).predict(db.upto(TEST), rows=fold.test)
    assert np.isfinite(predicted[["ltv_mean", "ltv_median", "rank_score"]].to_numpy()).all()
    assert name == "zero" or predicted["rank_score"].nunique() > 5


# GNN


@each(GNNS)
def test_gnn_checkpoints_hold_no_code(name: str, fitted: Fitted) -> None:
    for file in ("best.ckpt", "last.ckpt", "checkpoint.ckpt"):
        state = torch.load(fitted(name).setting.folder / file, weights_only=True)  # type: ignore[attr-defined]
        assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


@each(GNNS)
def test_gnn_embeddings_are_those_of_the_rows(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    rows = fold.refit.without_label()
    embedded = fitted(name).embeddings(shop.upto(TEST), rows=rows)  # type: ignore[attr-defined]
    assert embedded.shape == (len(rows), ESTIMATORS[name].model.channels)
    mask = np.arange(len(rows)) % 3 == 0
    part = fitted(name).embeddings(shop.upto(TEST), rows=rows.where(mask))  # type: ignore[attr-defined]
    assert_allclose(part, embedded[mask], rtol=1e-6)


@each(GNNS)
def test_gnn_passes_messages_once_for_rows_that_come_in_parts(
    name: str, shop: Database, fold: Fold, fitted: Fitted
) -> None:
    estimator: Any = pickle.loads(pickle.dumps(fitted(name)))  # a copy, which remembers nothing
    passes: list[str] = []
    estimator.trained.model.register_forward_pre_hook(lambda *_: passes.append("pass"))
    past, rows = shop.upto(TEST), fold.test.without_label()
    half = rows.bucket(2) == 0
    for part in (half, ~half):
        expected = fitted(name).predict(past, rows=rows)[part].reset_index(drop=True)
        assert_frame_equal(estimator.predict(past, rows=rows.where(part)), expected, check_exact=True)
    assert len(passes) == 1
    estimator.predict(replace(past, _cuts={}, _parts={}), rows=rows)  # other tables, for all it knows
    assert len(passes) == 2
    estimator.trained = replace(estimator.trained)
    estimator.predict(past, rows=rows)
    assert len(passes) == 3
    copy.copy(estimator).predict(past, rows=rows)  # scripts/bench_speed.py measures a second score so
    assert len(passes) == 4


@pytest.mark.parametrize(
    "relations", [(), pytest.param(("placed",), marks=pytest.mark.slow), ("purchased", "co_shopper")]
)
def test_gnn_runs_on_any_choice_of_relations(
    relations: tuple[Any, ...], shop: Database, fold: Fold, tmp_path: Path
) -> None:
    chosen = replace(setting(tmp_path), graph=replace(SMALL.graph, relations=relations))
    estimator = build(ESTIMATORS["gnn"], chosen)
    estimator.fit(shop.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)
    predicted = estimator.predict(shop.upto(TEST), rows=fold.test)
    assert predicted["ltv_mean"].nunique() > 20
