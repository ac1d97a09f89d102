"""The shuffled graph: as many edges at every node, to others; and no more of the future than the graph itself."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import ESTIMATORS, SMALL, TEST, setting
from torch_geometric.data import HeteroData

from patron.estimators import build
from patron.graph.build import build as build_graph
from patron.graph.edges import EDGES, EdgeType
from patron.graph.shuffle import shuffled_ends
from patron.graph.snapshot import snapshot
from patron.tables.database import Database
from patron.task.split import Fold, folds
from patron.testing import scrambled_after, shuffled

PURCHASED, CO_SHOPPER, PLACED = (EDGES[name].type for name in ("purchased", "co_shopper", "placed"))
BOUGHT = ("product", "rev_purchased", "customer")


def shot_of(db: Database, *, shuffle: bool = True, cutoff: date = TEST) -> HeteroData:
    graph = build_graph(db.upto(cutoff), config=SMALL.graph)
    return snapshot(graph, cutoff=cutoff, half_life_days=90.0, shuffle=shuffle)


@pytest.fixture(scope="module")
def pair(shop: Database) -> tuple[HeteroData, HeteroData]:
    """The graph as it is, and shuffled."""
    return shot_of(shop, shuffle=False), shot_of(shop)


def pairs(shot: HeteroData, edge: EdgeType) -> set[tuple[int, int]]:
    """{(target, source)}"""
    return {(int(row), int(column)) for row, column in shot[edge].adj_t.to_dense().nonzero()}


def same(one: HeteroData, other: HeteroData) -> bool:
    def parts(shot: HeteroData, edge: EdgeType) -> list[torch.Tensor]:
        adj_t = shot[edge].adj_t
        return [adj_t.crow_indices(), adj_t.col_indices(), adj_t.values(), shot[edge].stats]

    return all(
        torch.equal(*two) for edge in one.edge_types for two in zip(parts(one, edge), parts(other, edge), strict=True)
    )


def test_the_customers_end_stays_and_the_other_is_permuted() -> None:
    customers, others = torch.arange(100), torch.arange(100) // 3
    source, target = shuffled_ends(PURCHASED, customers, others)
    assert torch.equal(source, customers)
    assert torch.equal(torch.bincount(target), torch.bincount(others))
    assert not torch.equal(target, others)
    source, target = shuffled_ends(CO_SHOPPER, others, customers)  # the target hears
    assert torch.equal(target, customers)
    assert torch.equal(torch.bincount(source), torch.bincount(others))
    assert not torch.equal(source, others)


def test_each_relation_is_shuffled_in_an_order_of_its_own() -> None:
    ends = torch.arange(50), torch.arange(50)
    assert not torch.equal(shuffled_ends(PURCHASED, *ends)[1], shuffled_ends(PLACED, *ends)[1])


def test_every_node_keeps_its_number_of_edges(pair: tuple[HeteroData, HeteroData]) -> None:
    true, other = pair
    assert true.edge_types == other.edge_types
    assert len(true.edge_types) > 20
    for edge in true.edge_types:
        assert torch.equal(true[edge].stats[:, 0], other[edge].stats[:, 0]), edge


def test_edges_join_others(pair: tuple[HeteroData, HeteroData]) -> None:
    true, other = pair
    for edge in (PURCHASED, BOUGHT, CO_SHOPPER, PLACED):
        before, after = pairs(true, edge), pairs(other, edge)
        assert len(before & after) < 0.5 * len(before), edge
    assert {(b, a) for a, b in pairs(other, PURCHASED)} == pairs(other, BOUGHT)  # in both directions the same


def test_a_customer_keeps_the_times_and_weights_of_its_edges(pair: tuple[HeteroData, HeteroData]) -> None:
    true, other = pair
    for edge in (BOUGHT, CO_SHOPPER, ("order", "rev_placed", "customer")):
        assert torch.equal(true[edge].stats, other[edge].stats), edge
    assert not torch.equal(true[PURCHASED].stats, other[PURCHASED].stats)  # a product does not


def test_tastes_are_gone(shop: Database, pair: tuple[HeteroData, HeteroData]) -> None:
    """Customers of the small shop buy four lines in five from one of four categories; here it is one in four."""
    categories = shop["products"].to_pandas().set_index("product_id")["category_id"]
    shares = []
    for shot in pair:
        of = np.eye(4, dtype=np.float32)[categories[shot["product"].ids].to_numpy()]
        mean = (shot[BOUGHT].adj_t @ torch.from_numpy(of)).numpy()
        shares.append(float(mean[mean.sum(1) > 0].max(1).mean()))
    assert shares[0] > 0.75
    assert shares[1] < 0.6


@pytest.mark.parametrize("change", [lambda db: scrambled_after(db, cutoff=TEST), shuffled], ids=["future", "order"])
def test_neither_the_future_nor_the_order_of_rows_reaches_a_shuffled_edge(
    change: Callable[[Database], Database], shop: Database, pair: tuple[HeteroData, HeteroData]
) -> None:
    other = change(shop)
    assert not other["orders"].equals(shop["orders"])
    assert same(pair[1], shot_of(other))
    assert not same(pair[0], pair[1])


def test_the_past_reaches_shuffled_edges(shop: Database, pair: tuple[HeteroData, HeteroData]) -> None:
    """The control of the test above."""
    assert not torch.equal(
        shot_of(scrambled_after(shop, cutoff=date(2020, 11, 1)))[BOUGHT].stats, pair[1][BOUGHT].stats
    )


def test_no_shuffled_edge_is_later_than_an_earlier_cutoff(shop: Database) -> None:
    """Of a graph of all time, a snapshot draws from what was known: a product first sold later has no edge."""
    early = date(2020, 2, 1)
    graph = build_graph(shop, config=SMALL.graph)
    shots = [snapshot(graph, cutoff=early, half_life_days=90.0, shuffle=shuffle) for shuffle in (False, True)]
    unsold = shots[0][PURCHASED].stats[:, 0] == 0
    assert 0 < unsold.sum() < len(unsold)
    assert (shots[1][PURCHASED].stats[unsold] == 0).all()


def test_the_future_changes_no_prediction_on_a_shuffled_graph(shop: Database, fold: Fold, tmp_path: Path) -> None:
    """Difference exactly 0.0; and the same net says other things of the graph as it is."""
    here = setting(tmp_path, max_steps=4)
    graph = replace(here.graph, relations=("purchased", "co_shopper"))

    def said(estimator: Any, db: Database) -> np.ndarray:
        return estimator.predict(db.upto(TEST), rows=fold.test)[["ltv_mean", "rank_score"]].to_numpy()

    def fit(db: Database, at: Fold) -> Any:
        estimator = build(ESTIMATORS["gnn"], replace(here, graph=replace(graph, shuffled=True)))
        return estimator.fit(db.upto(TEST), train=at.train, val=at.val, refit=at.refit)

    other = scrambled_after(shop, cutoff=TEST)
    (again,) = folds(other, task=SMALL.task, split=SMALL.split)
    fitted = fit(shop, fold)
    expected = said(fitted, shop)
    assert np.abs(said(fit(other, again), other) - expected).max() == 0.0
    fitted.setting = replace(here, graph=graph)
    assert not np.array_equal(said(fitted, shop), expected)
