"""A shop of three customers as a graph: nodes, timed edges, co-shoppers, and the snapshot's weights by hand."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.days import DAY_SECONDS, epoch_seconds, midnight
from patron.graph.build import GraphConfig, build
from patron.graph.coshopper import CoShopperConfig
from patron.graph.edges import EDGES, EdgeType, Relation
from patron.graph.snapshot import snapshot
from patron.tables.database import Database
from patron.testing import scrambled_after, shuffled

CUTOFF, HALF_LIFE = date(2020, 1, 31), 10.0
PLACED, CONTAINS, PURCHASED, BELONGS_TO, CO_SHOPPER = BOUGHT = [
    EDGES[name].type for name in ("placed", "contains", "purchased", "belongs_to", "co_shopper")
]
CO_SHOPPERS = CoShopperConfig(threshold=0.1, top_k=8, min_products=2, max_popularity=None)
TIME, INT, REAL = pa.timestamp("us"), pa.int64(), pa.float64()

ORDERS = [  # rows are not in the order of time, nor ids in that of the rows
    (102, 10, datetime(2020, 1, 21)),
    (101, 20, datetime(2020, 1, 11)),
    (103, 10, datetime(2020, 1, 1, 8)),
    (105, 30, datetime(2020, 1, 25)),
    (104, 20, datetime(2020, 1, 31)),
]
ITEMS = [
    (102, 7, 3.0, 30.0),  # 10 buys 7 again: its set does not grow
    (103, 7, 1.0, 10.0),
    (103, 5, 2.0, 4.0),
    (101, 5, 1.0, 2.0),
    (101, 7, None, 10.0),
    (104, 9, 1.0, 6.0),  # the set of 20 grows once more
    (105, None, 1.0, 1.0),  # no product
]
PRODUCTS = [(9, 2), (5, None), (7, 1), (1, 3)]  # 5 has no category, 1 was never bought


def table(rows: Sequence[tuple[Any, ...]], **types: pa.DataType) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(column, kind) for (name, kind), column in zip(types.items(), columns, strict=True)})


def make_shop(items: Sequence[tuple[Any, ...]] = ITEMS, orders: Sequence[tuple[Any, ...]] = ORDERS) -> Database:
    tables = {
        "customers": table([(30,), (10,), (20,)], customer_id=INT),
        "orders": table(orders, order_id=INT, customer_id=INT, order_date=TIME),
        "order_items": table(items, order_id=INT, product_id=INT, quantity=REAL, amount=REAL),
        "products": table(PRODUCTS, product_id=INT, category_id=INT),
    }
    return Database("shop", tables)


def config(*relations: Relation, co_shopper: CoShopperConfig = CO_SHOPPERS) -> GraphConfig:
    return GraphConfig(
        tables=None, relations=relations or get_args(Relation), half_life_days=HALF_LIFE, co_shopper=co_shopper,
        shuffled=False, cache=None,
    )  # fmt: skip


@pytest.fixture
def graph() -> HeteroData:
    return build(make_shop(), config=config())


def ends(data: HeteroData, edge: EdgeType) -> list[tuple[Any, Any]]:
    """Every edge as the ids of its ends."""
    source, _, target = edge
    index = data[edge].edge_index.numpy()
    return list(zip(data[source].ids[index[0]].tolist(), data[target].ids[index[1]].tolist(), strict=True))


def seconds(*instants: datetime) -> list[int]:
    return [int((instant - datetime(1970, 1, 1)).total_seconds()) for instant in instants]


def dense(data: HeteroData, edge: EdgeType) -> np.ndarray:
    """[targets, sources] of a snapshot."""
    return data[edge].adj_t.to_dense().numpy()


def decay(*days: float) -> float:
    return sum(2 ** (-age / HALF_LIFE) for age in days)


# --- build


def test_nodes_are_what_was_bought_and_by_whom_sorted(graph: HeteroData) -> None:
    known = {"customer": [10, 20, 30], "order": [101, 102, 103, 104, 105], "product": [5, 7, 9], "category": [1, 2]}
    assert {kind: graph[kind].ids.tolist() for kind in graph.node_types} == known
    assert {kind: graph[kind].num_nodes for kind in graph.node_types} == {kind: len(known[kind]) for kind in known}
    assert set(graph.edge_types) == set(BOUGHT)


def test_orders_are_placed_when_they_were(graph: HeteroData) -> None:
    assert ends(graph, PLACED) == [(20, 101), (10, 102), (10, 103), (20, 104), (30, 105)]
    at = {order: when for order, _, when in ORDERS}
    assert graph[PLACED].time.tolist() == seconds(*(at[order] for order in (101, 102, 103, 104, 105)))
    assert graph[PLACED].time.dtype == torch.int64


def test_lines_are_edges_of_their_order_and_of_its_customer(graph: HeteroData) -> None:
    """In order of time; the line without a product is none."""
    assert ends(graph, CONTAINS) == [(103, 5), (103, 7), (101, 5), (101, 7), (102, 7), (104, 9)]
    assert ends(graph, PURCHASED) == [(10, 5), (10, 7), (20, 5), (20, 7), (10, 7), (20, 9)]
    first, second, third, fourth = (datetime(2020, 1, 1, 8), *(datetime(2020, 1, day) for day in (11, 21, 31)))
    for edge in (CONTAINS, PURCHASED):
        assert graph[edge].time.tolist() == seconds(first, first, second, second, third, fourth)
        assert graph[edge].amount.tolist() == [4, 10, 2, 10, 30, 6]
        assert graph[edge].quantity.tolist() == [2, 1, 1, 0, 3, 1]


def test_products_belong_to_the_category_they_have(graph: HeteroData) -> None:
    assert ends(graph, BELONGS_TO) == [(7, 1), (9, 2)]
    assert "time" not in graph[BELONGS_TO]


def test_co_shoppers_are_known_from_the_later_of_the_two_last_growths(graph: HeteroData) -> None:
    """10 bought {5, 7} on the first day and nothing new since; 20 bought {5, 7} on the 11th, and 9 on the 31st."""
    assert ends(graph, CO_SHOPPER) == [(20, 10), (10, 20)]
    assert graph[CO_SHOPPER].jaccard.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert graph[CO_SHOPPER].time.tolist() == seconds(*[datetime(2020, 1, 31)] * 2)
    before = build(make_shop().upto(date(2020, 1, 30)), config=config())
    assert before[CO_SHOPPER].jaccard.tolist() == [1, 1]
    assert before[CO_SHOPPER].time.tolist() == seconds(*[datetime(2020, 1, 11)] * 2)


def test_co_shopper_config_is_obeyed() -> None:
    strict = build(
        make_shop(),
        config=config(co_shopper=CoShopperConfig(threshold=0.7, top_k=8, min_products=2, max_popularity=None)),
    )
    picky = build(
        make_shop(),
        config=config(co_shopper=CoShopperConfig(threshold=0.1, top_k=8, min_products=3, max_popularity=None)),
    )
    for graph in (strict, picky):
        assert set(graph.edge_types) == set(BOUGHT) - {CO_SHOPPER}


def test_repeated_purchases_do_not_overflow_a_set() -> None:
    """More lines of one product than a byte counts are still one product of the set."""
    often = [(103, 7, 1.0, 1.0)] * 256 + [(103, 5, 1.0, 1.0), (101, 7, 1.0, 1.0), (101, 5, 1.0, 1.0)]
    assert build(make_shop(often), config=config())[CO_SHOPPER].jaccard.tolist() == [1, 1]


def test_relations_restrict_edges_and_the_nodes_they_reach() -> None:
    bought = build(make_shop(), config=config("purchased"))
    assert (bought.edge_types, sorted(bought.node_types)) == ([PURCHASED], ["customer", "product"])
    nested = build(make_shop(), config=config("belongs_to"))
    assert sorted(nested.node_types) == ["category", "customer", "product"]
    social = build(make_shop(), config=config("co_shopper"))
    assert (social.edge_types, social.node_types) == ([CO_SHOPPER], ["customer"])


def test_without_products_there_are_customers_and_orders() -> None:
    shop = make_shop([(order, None, 1.0, 5.0) for order, _, _ in ORDERS])
    graph = build(shop, config=config())
    assert (sorted(graph.node_types), graph.edge_types) == (["customer", "order"], [PLACED])
    shot = snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)
    assert sorted(shot.edge_types) == sorted([PLACED, ("order", "rev_placed", "customer")])


@pytest.mark.parametrize("key", [INT, pa.string()], ids=["integer", "text"])
def test_products_may_be_known_from_order_items_alone(key: pa.DataType) -> None:
    tables = {name: make_shop()[name] for name in ("customers", "orders", "order_items")}
    items = tables["order_items"]
    tables["order_items"] = items.set_column(1, "product_id", items["product_id"].cast(key))
    graph = build(Database("shop", tables), config=config())
    assert sorted(graph.node_types) == ["customer", "order", "product"]
    assert graph["product"].ids.astype(str).tolist() == ["5", "7", "9"]


def test_items_of_no_order_are_no_edge() -> None:
    """Item lines name an order that is not there, and 9 is known from them alone. No edge may end at a missing node:
    torch takes an index of -1 and writes outside the matrix."""
    graph = build(make_shop(orders=[order for order in ORDERS if order[0] != 104]), config=config())
    assert graph["product"].ids.tolist() == [5, 7]
    assert min(int(graph[edge].edge_index.min()) for edge in graph.edge_types) == 0
    assert ends(graph, BELONGS_TO) == [(7, 1)]


# --- snapshot


def test_rows_are_means_weighted_by_age(graph: HeteroData) -> None:
    """At 2020-01-31: product 7 was bought by 10 (29 2/3 and 10 days ago, which is one edge) and by 20 (20 days ago)."""
    shot = snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)
    ten, twenty = decay(30 - 1 / 3, 10), decay(20)
    five = decay(30 - 1 / 3)
    by_product = np.array([[five, twenty, 0], [ten, twenty, 0], [0, 1, 0]])
    np.testing.assert_allclose(dense(shot, PURCHASED), by_product / by_product.sum(1, keepdims=True), rtol=1e-6)
    by_customer = np.array([[five, ten, 0], [twenty, twenty, 1]])
    found = dense(shot, ("product", "rev_purchased", "customer"))
    np.testing.assert_allclose(found[:2], by_customer / by_customer.sum(1, keepdims=True), rtol=1e-6)
    assert found[2].tolist() == [0, 0, 0]  # 30 bought nothing that is a product
    assert shot[PURCHASED].adj_t.values().numel() == 5  # six lines


def test_edges_without_a_time_weigh_the_same(graph: HeteroData) -> None:
    shot = snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)
    assert dense(shot, BELONGS_TO).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert dense(shot, ("category", "rev_belongs_to", "product")).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert dense(shot, PLACED).tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_co_shoppers_weigh_by_jaccard_and_have_no_reverse() -> None:
    """10 shares 2 of 3 products with 20 and 2 of 4 with 30."""
    items = [(103, 5, 1.0, 1.0), (103, 7, 1.0, 1.0), *((101, p, 1.0, 1.0) for p in (5, 7, 9)),
             *((105, p, 1.0, 1.0) for p in (5, 7, 2, 3))]  # fmt: skip
    shot = snapshot(build(make_shop(items), config=config()), cutoff=CUTOFF, half_life_days=HALF_LIFE)
    assert dense(shot, CO_SHOPPER)[0] == pytest.approx([0, 4 / 7, 3 / 7])
    assert ("customer", "rev_co_shopper", "customer") not in shot.edge_types


def test_every_edge_type_has_its_reverse_and_nodes_stay(graph: HeteroData) -> None:
    shot = snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)
    both = {(target, f"rev_{name}", source) for source, name, target in BOUGHT if source != target}
    assert set(shot.edge_types) == set(BOUGHT) | both
    for kind in graph.node_types:
        assert (shot[kind].num_nodes, shot[kind].ids.tolist()) == (graph[kind].num_nodes, graph[kind].ids.tolist())
    for source, name, target in both:
        size = (graph[target].num_nodes, graph[source].num_nodes)
        assert shot[source, name, target].adj_t.shape == size
        there, back = dense(shot, (source, name, target)), dense(shot, (target, name.removeprefix("rev_"), source))
        assert ((there > 0) == (back > 0).T).all()


def test_a_snapshot_has_no_edge_after_its_cutoff(graph: HeteroData) -> None:
    """At 2020-01-11 the order of that midnight is known, and of the graph of all time nothing later."""
    shot = snapshot(graph, cutoff=date(2020, 1, 11), half_life_days=HALF_LIFE)
    found = dense(shot, PURCHASED)
    young = decay(10 - 1 / 3)
    np.testing.assert_allclose(found[:2, :2], np.array([[young, 1], [young, 1]]) / (young + 1), rtol=1e-6)
    assert found[2].tolist() == [0, 0, 0]
    assert dense(shot, PLACED).sum(1).tolist() == [1, 0, 1, 0, 0]
    assert dense(shot, CO_SHOPPER).sum() == 0  # as it is in this graph it is known from 2020-01-31


@pytest.mark.parametrize("later", [timedelta(microseconds=1), timedelta(seconds=0.5), timedelta(seconds=1)], ids=str)
def test_a_snapshot_ends_at_midnight_as_a_database_does(later: timedelta) -> None:
    orders = [(101, 20, midnight(CUTOFF)), (102, 10, midnight(CUTOFF) + later)]
    shop = make_shop([item for item in ITEMS if item[0] in (101, 102)], orders)
    assert shop.upto(CUTOFF)["orders"]["order_id"].to_pylist() == [101]
    shot = snapshot(build(shop, config=config()), cutoff=CUTOFF, half_life_days=HALF_LIFE)
    assert dense(shot, PLACED).sum(1).tolist() == [1, 0]


def test_very_old_edges_keep_their_row() -> None:
    shot = snapshot(build(make_shop(), config=config()), cutoff=date(2520, 1, 1), half_life_days=1.0)
    assert dense(shot, PURCHASED).sum(1) == pytest.approx([1, 1, 1])
    assert dense(shot, PURCHASED)[0].tolist() == [0.5, 0.5, 0]


# --- what must not matter, on a larger shop

EARLY, LATE = date(2020, 11, 1), date(2021, 3, 1)
EVERY = {edge.type for edge in EDGES.values()}


@pytest.fixture(scope="module")
def whole(shop: Database) -> Database:
    """The small shop with parents of its categories, so that every relation has rows."""
    categories = shop["categories"].drop_columns("parent_id")
    parents = pa.array([None, 0, 0, 1], INT)
    return Database(shop.name, {**shop.tables, "categories": categories.append_column("parent_id", parents)})


def rows_sum_to_one_or_nothing(adj_t: Tensor) -> bool:
    totals = adj_t.to_dense().sum(1)
    alone = torch.diff(adj_t.crow_indices()) == 0
    return bool(torch.allclose(totals[~alone], torch.ones(1), atol=1e-6) and (totals[alone] == 0).all())


def assert_same_graph(one: HeteroData, other: HeteroData) -> None:
    """Every tensor equal to the bit."""
    assert (one.node_types, one.edge_types) == (other.node_types, other.edge_types)
    for kind in one.node_types:
        assert one[kind].ids.tolist() == other[kind].ids.tolist()
    for edge in one.edge_types:
        assert set(one[edge].keys()) == set(other[edge].keys())
        for name, tensor in one[edge].items():
            assert all(torch.equal(*parts) for parts in zip(_parts(tensor), _parts(other[edge][name]), strict=True))


def _parts(tensor: Tensor) -> list[Tensor]:
    if tensor.layout == torch.sparse_csr:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor]


def test_every_row_of_a_snapshot_sums_to_one_or_nothing(whole: Database) -> None:
    shot = snapshot(build(whole, config=config()), cutoff=EARLY, half_life_days=90.0)
    assert len(shot.edge_types) == 2 * len(EVERY) - 1  # a co-shopper edge has no reverse
    for edge in shot.edge_types:
        assert rows_sum_to_one_or_nothing(shot[edge].adj_t), edge
        assert shot[edge].adj_t.values().min() > 0
    assert (torch.diff(shot[PLACED].adj_t.crow_indices()) == 0).any()


@pytest.mark.parametrize("change", [lambda db: scrambled_after(db, cutoff=LATE), shuffled], ids=["future", "order"])
def test_neither_the_future_nor_the_order_of_rows_reaches_an_edge(
    change: Callable[[Database], Database], whole: Database
) -> None:
    other = change(whole)
    assert not other["orders"].equals(whole["orders"])
    graphs = [build(db.upto(LATE), config=config()) for db in (whole, other)]
    assert set(graphs[0].edge_types) == EVERY
    assert_same_graph(*graphs)
    assert_same_graph(*(snapshot(graph, cutoff=LATE, half_life_days=90.0) for graph in graphs))


def test_the_past_reaches_edges(whole: Database) -> None:
    """The control of the test above, for every relation but that of categories, which have no time."""
    one, other = (build(db.upto(LATE), config=config()) for db in (whole, scrambled_after(whole, cutoff=EARLY)))
    for edge in EVERY - {BELONGS_TO, EDGES["child_of"].type}:
        same = one[edge].edge_index.shape == other[edge].edge_index.shape
        assert not (same and torch.equal(one[edge].time, other[edge].time)), edge


def test_nothing_later_is_in_an_earlier_snapshot_of_a_later_graph(whole: Database) -> None:
    """What is left is what the earlier graph has; of co-shoppers, those whose sets did not grow in between.

    With no limit to their number: who is among the K nearest depends on what the others bought later, which is why
    an estimator builds its graph from `db.upto(cutoff)`.
    """
    unlimited = config(co_shopper=CoShopperConfig(threshold=0.1, top_k=1_000, min_products=2, max_popularity=None))
    later, earlier = (build(whole.upto(cutoff), config=unlimited) for cutoff in (LATE, EARLY))
    now = int(epoch_seconds(midnight(EARLY)))
    shots = [snapshot(graph, cutoff=EARLY, half_life_days=90.0) for graph in (later, earlier)]
    for edge in EVERY - {BELONGS_TO, EDGES["child_of"].type}:
        assert (later[edge].time > now + 30 * DAY_SECONDS).any(), edge
        assert (earlier[edge].time <= now).all(), edge
        of_later, of_earlier = (_named(shot, edge) for shot in shots)
        assert of_later <= of_earlier, edge
        assert edge == CO_SHOPPER or of_later == of_earlier, edge
        assert len(of_later) > 10, edge


def _named(shot: HeteroData, edge: EdgeType) -> set[tuple[Any, Any]]:
    source, _, target = edge
    rows, columns = shot[edge].adj_t.to_dense().nonzero(as_tuple=True)
    return set(zip(shot[source].ids[columns.numpy()].tolist(), shot[target].ids[rows.numpy()].tolist(), strict=True))
