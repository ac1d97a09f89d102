"""What must not matter does not: which rows are asked for, the order of rows, edges and nodes, what ids are called."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, GNNS, SMALL, TEST, each, fit, rows_for
from torch_geometric.data import HeteroData

from patron.estimators import Estimator
from patron.estimators.base import COLUMNS
from patron.graph.build import build
from patron.graph.snapshot import incoming, snapshot
from patron.nn.model import LTVModel
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds
from patron.testing import shuffled

Fitted = Callable[[str], Estimator]
EVERY = sorted(ESTIMATORS)
NUMBERS = list(COLUMNS[2:])
WITHOUT_ORDERS = 0  # the customer of the small shop who never ordered


@pytest.fixture(scope="module")
def rows(fold: Fold) -> TaskTable:
    """Three cutoffs, so that an order of rows can get lost between them."""
    return fold.refit.without_label()


def assert_same_customers(predicted: pd.DataFrame, expected: pd.DataFrame, *, rtol: float = 1e-12) -> None:
    both = predicted[["customer_id", "cutoff"]].merge(expected, how="left", validate="1:1")
    np.testing.assert_allclose(predicted[NUMBERS], both[NUMBERS], rtol=rtol, atol=0)


def _tolerance(name: str) -> float:
    return 1e-4 if name in GNNS else 0.0  # sums of float32 messages may be taken in another order


# Rows


@each(EVERY, alike=True)
def test_a_subset_of_rows_gets_the_same_numbers(name: str, shop: Database, rows: TaskTable, fitted: Fitted) -> None:
    expected = fitted(name).predict(shop.upto(TEST), rows=rows)
    subset = rows.where(np.random.default_rng(0).random(len(rows)) < 0.2)
    assert 20 < len(subset) < len(rows) / 2
    assert_same_customers(fitted(name).predict(shop.upto(TEST), rows=subset), expected)
    assert_same_customers(fitted(name).predict(shop.upto(TEST), rows=rows.where(np.arange(len(rows)) == 7)), expected)


@each(EVERY, alike=True)
def test_rows_come_back_in_the_order_they_were_asked_for(
    name: str, shop: Database, rows: TaskTable, fitted: Fitted
) -> None:
    expected = fitted(name).predict(shop.upto(TEST), rows=rows)
    asked = rows.frame.sample(frac=1, random_state=0)  # keeps the old index too: positions must not come from it
    assert asked["cutoff"].is_monotonic_increasing is False
    predicted = fitted(name).predict(shop.upto(TEST), rows=TaskTable(asked, rows.horizon))
    keys = ["customer_id", "cutoff"]
    assert_frame_equal(predicted[keys].reset_index(drop=True), asked[keys].reset_index(drop=True))
    assert_same_customers(predicted, expected)


# Tables


@pytest.fixture(scope="module")
def reordered(shop: Database) -> Database:
    other = shuffled(shop)
    assert not other["orders"].equals(shop["orders"])
    return other


@each(EVERY, alike=True)
def test_order_of_table_rows_changes_nothing(
    name: str, reordered: Database, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    (again,) = folds(reordered, task=SMALL.task, split=SMALL.split)
    assert_frame_equal(again.refit.frame, fold.refit.frame, check_exact=True)
    predicted = fit(name, reordered, fold=again, folder=tmp_path).predict(reordered.upto(TEST), rows=again.test)
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    assert_same_customers(predicted, expected, rtol=_tolerance(name))


@pytest.fixture(scope="module")
def renamed(shop: Database) -> Database:
    """The shop with ids of text, in the same order."""
    ids = {"customer_id": "c", "order_id": "o", "product_id": "p", "category_id": "k"}
    tables = dict(shop.tables)
    for name, table in tables.items():
        for at, column in enumerate(table.column_names):
            if column in ids and table[column].type == pa.int64():
                padded = pc.utf8_lpad(pc.cast(table[column], pa.string()), 6, "0")
                tables[name] = tables[name].set_column(at, column, pc.binary_join_element_wise(ids[column], padded, ""))
    return Database(shop.name, tables)


@each(EVERY, alike=True)
def test_names_of_ids_change_nothing(
    name: str, renamed: Database, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    (again,) = folds(renamed, task=SMALL.task, split=SMALL.split)
    predicted = fit(name, renamed, fold=again, folder=tmp_path).predict(renamed.upto(TEST), rows=again.test)
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    assert predicted["customer_id"].tolist() == [f"c{customer:06d}" for customer in expected["customer_id"]]
    np.testing.assert_allclose(predicted[NUMBERS], expected[NUMBERS], rtol=_tolerance(name), atol=0)


# What every prediction is


@each(EVERY, alike=True)
def test_predictions_are_spend(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    predicted = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    _assert_spend(predicted)
    assert predicted["customer_id"].tolist() == fold.test.frame["customer_id"].tolist()
    assert name == "zero" or predicted["rank_score"].nunique() > 5


@each(EVERY, alike=True)
def test_a_customer_without_orders_gets_a_prediction(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    assert WITHOUT_ORDERS not in set(shop["orders"]["customer_id"].to_pylist())
    rows = rows_for([5, WITHOUT_ORDERS, 6], cutoffs=(fold.val.cutoffs[0], TEST))
    predicted = fitted(name).predict(shop.upto(TEST), rows=rows)
    assert predicted["customer_id"].tolist() == [5, WITHOUT_ORDERS, 6] * 2
    _assert_spend(predicted)


@each([name for name in EVERY if name != "zero"], alike=True)
def test_an_unknown_customer_is_refused(name: str, shop: Database, fitted: Fitted) -> None:
    """And not given the numbers of somebody else."""
    with pytest.raises(ValueError, match=r"customers.*does not know 1 .*9999"):
        fitted(name).predict(shop.upto(TEST), rows=rows_for([5, 9999], cutoffs=(TEST,)))


def _assert_spend(predicted: pd.DataFrame) -> None:
    always = ["ltv_mean", "ltv_median", "rank_score"]
    assert np.isfinite(predicted[always].to_numpy()).all()
    assert (predicted[["ltv_mean", "ltv_median"]] >= 0).all(axis=None)
    bounds = predicted[["q05", "q10", "q25", "ltv_median", "q75", "q90", "q95"]]
    assert predicted["q10"].isna().all() or (np.diff(bounds, axis=1) >= 0).all()
    assert predicted["q10"].isna().equals(predicted["q90"].isna())
    assert predicted["p_active"].isna().all() or predicted["p_active"].between(0, 1).all()


# The graph


@pytest.fixture(scope="module")
def graph(shop: Database) -> HeteroData:
    return build(shop.upto(TEST), config=SMALL.graph)


def test_order_of_edges_changes_nothing(graph: HeteroData) -> None:
    permuted, rng = graph.clone(), torch.Generator().manual_seed(0)
    for edge in permuted.edge_types:
        order = torch.randperm(permuted[edge].edge_index.size(1), generator=rng)
        permuted[edge].edge_index = permuted[edge].edge_index[:, order]
        for column in {"time", "jaccard"} & set(permuted[edge].keys()):
            permuted[edge][column] = permuted[edge][column][order]
    one, other = (snapshot(data, cutoff=TEST, half_life_days=90) for data in (graph, permuted))
    model, x = _model(one), _features(one)
    torch.testing.assert_close(model(x, incoming(other)), model(x, incoming(one)), rtol=1e-5, atol=1e-6)


def test_an_edge_more_changes_something(graph: HeteroData) -> None:
    """The control."""
    edge = ("customer", "purchased", "product")
    fewer = graph.clone()
    fewer[edge].edge_index, fewer[edge].time = fewer[edge].edge_index[:, 200:], fewer[edge].time[200:]
    one, other = (snapshot(data, cutoff=TEST, half_life_days=90) for data in (graph, fewer))
    model, x = _model(one), _features(one)
    assert (model(x, incoming(other)) - model(x, incoming(one))).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["customer", "product", "order"])
def test_order_of_nodes_changes_nothing(graph: HeteroData, kind: str) -> None:
    """Customers in another order get their outputs in that order; that of other nodes is not seen at all."""
    shot = snapshot(graph, cutoff=TEST, half_life_days=90)
    order = torch.randperm(shot[kind].num_nodes, generator=torch.Generator().manual_seed(0))
    renumbered = graph.clone()
    for source, relation, target in renumbered.edge_types:
        index = renumbered[source, relation, target].edge_index
        for end in (end for end, node in enumerate((source, target)) if node == kind):
            index[end] = torch.argsort(order)[index[end]]
    other = snapshot(renumbered, cutoff=TEST, half_life_days=90)
    model, x = _model(shot), _features(shot)
    expected = model(x, incoming(shot))
    expected = expected[order] if kind == "customer" else expected
    got = model({**x, kind: x[kind][order]}, incoming(other))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def _features(shot: HeteroData) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {kind: torch.randn(shot[kind].num_nodes, 3, generator=rng) for kind in shot.node_types}


def _model(shot: HeteroData, heads: Sequence[str] = GNNS) -> LTVModel:
    torch.manual_seed(0)
    config = ESTIMATORS[heads[0]].model
    return LTVModel(dict.fromkeys(shot.node_types, 3), shot.edge_types, config=config).eval()
