"""All ten tables in the graph: nodes, edges and times of events by hand, the last loyalty state, tables left out, and
what a snapshot says of the edges that a mean forgets."""

from datetime import date, datetime
from math import log1p
from typing import Any, get_args

import pytest
import torch
from test_nodes import INT, REAL, TEXT, TIME, on, table
from torch_geometric.data import HeteroData

from patron.days import epoch_seconds
from patron.graph.build import GraphConfig, build
from patron.graph.coshopper import CoShopperConfig
from patron.graph.edges import EDGES, Relation, Table
from patron.graph.snapshot import STATS, incoming, snapshot
from patron.tables.database import Database
from patron.tables.schema import TABLES

CUTOFF, HALF_LIFE = date(2020, 3, 1), 10.0
CO_SHOPPERS = CoShopperConfig(threshold=0.1, top_k=8, min_products=1, max_popularity=None)
KINDS = {
    "customer", "product", "category", "order", "order_event", "interaction", "return", "loyalty", "campaign"
}  # fmt: skip


def make_shop() -> Database:
    """Two customers who buy the one product, and customer 3, who is nobody's: rows that name her are no edges."""
    touches = [("b", 1, on(2, 20), 1.0), ("b", 2, on(2, 10), 0.0), ("a", 1, on(1, 1), None), ("b", 1, on(2, 25), 0.0),
               ("b", 3, on(2, 10), 1.0)]  # fmt: skip
    states = [(94, 1, on(2, 20)), (91, 1, on(1, 1)), (96, 2, on(2, 1)), (95, 2, on(2, 1)), (97, 3, on(2, 1))]
    tables = {
        "customers": table([(2,), (1,)], customer_id=INT),
        "orders": table([(11, 1, on(2, 10)), (12, 2, on(2, 20))], order_id=INT, customer_id=INT, order_date=TIME),
        "order_items": table([(11, 5, 30.0), (12, 5, 1.0)], order_id=INT, product_id=INT, amount=REAL),
        "products": table([(5, 51), (6, 52)], product_id=INT, category_id=INT),
        "categories": table([(51, 60), (52, 61), (60, 70), (70, 60)], category_id=INT, parent_id=INT),
        "order_events": table(
            [(12, "paid", on(2, 21)), (11, "paid", on(2, 9)), (99, "paid", on(2, 9))],
            order_id=INT, event_type=TEXT, event_date=TIME,
        ),
        "interactions": table([(72, 1, on(2, 28)), (71, 2, on(1, 31)), (70, 3, on(1, 31))],
                              interaction_id=INT, customer_id=INT, interaction_date=TIME),
        "returns": table(
            [(81, 11, 5, 1, on(2, 15), 20.0), (82, None, None, 1, on(2, 20), 25.0), (83, 12, 6, 2, on(2, 29), 7.0)],
            return_id=INT, order_id=INT, product_id=INT, customer_id=INT, return_date=TIME, refund_amount=REAL,
        ),
        "loyalty": table(states, loyalty_id=INT, customer_id=INT, loyalty_date=TIME),
        "campaigns": table(touches, campaign_id=TEXT, customer_id=INT, campaign_date=TIME, campaign_response=REAL),
    }  # fmt: skip
    return Database("shop", tables)


def config(*, tables: tuple[Table, ...] | None = None) -> GraphConfig:
    return GraphConfig(
        tables=tables, relations=get_args(Relation), half_life_days=HALF_LIFE, co_shopper=CO_SHOPPERS, shuffled=False,
        cache=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> HeteroData:
    return build(make_shop(), config=config())


@pytest.fixture(scope="module")
def shot(graph: HeteroData) -> HeteroData:
    return snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)


def edges(data: HeteroData, relation: str) -> set[tuple[Any, ...]]:
    """{(source id, target id, time)}; without the time where the relation has none."""
    source, _, target = edge = EDGES[relation].type
    index = data[edge].edge_index.numpy()
    ends = [data[source].ids[index[0]].tolist(), data[target].ids[index[1]].tolist()]
    times = [data[edge].time.tolist()] if "time" in data[edge] else []
    return set(zip(*ends, *times, strict=True))


def timed(*rows: tuple[Any, Any, datetime]) -> set[tuple[Any, ...]]:
    return {(source, target, int(epoch_seconds(time))) for source, target, time in rows}


# Nodes and edges


def test_every_kind_of_node_is_there(graph: HeteroData) -> None:
    assert set(graph.node_types) == KINDS
    assert set(graph.edge_types) == {edge.type for edge in EDGES.values()}
    ids = {kind: graph[kind].ids.tolist() for kind in KINDS}
    assert ids == {
        "customer": [1, 2], "order": [11, 12], "product": [5], "category": [51, 60, 70], "order_event": [0, 1],
        "interaction": [71, 72], "return": [81, 82, 83], "loyalty": [91, 94, 95, 96], "campaign": ["a", "b"],
    }  # fmt: skip


def test_order_events_hang_on_their_order_and_its_customer(graph: HeteroData) -> None:
    """The event that is dated before its order is known with the order; that of no order is none."""
    assert edges(graph, "happened_to") == timed((0, 11, on(2, 10)), (1, 12, on(2, 21)))
    assert edges(graph, "concerned") == timed((0, 1, on(2, 10)), (1, 2, on(2, 21)))


def test_interactions_and_returns_are_of_customers_who_are_known(graph: HeteroData) -> None:
    assert edges(graph, "did") == timed((1, 72, on(2, 28)), (2, 71, on(1, 31)))
    assert edges(graph, "returned") == timed((1, 81, on(2, 15)), (1, 82, on(2, 20)), (2, 83, on(2, 29)))


def test_returns_are_of_products_and_orders_that_are_nodes(graph: HeteroData) -> None:
    """Product 6 was sent back and never sold."""
    assert edges(graph, "of_product") == timed((81, 5, on(2, 15)))
    assert edges(graph, "of_order") == timed((81, 11, on(2, 15)), (83, 12, on(2, 29)))


def test_categories_reach_up_to_their_ancestors(graph: HeteroData) -> None:
    """Even in a ring: 60 and 70 are each other's parent. Category 52 sold nothing and is no node."""
    assert edges(graph, "belongs_to") == {(5, 51)}
    assert edges(graph, "child_of") == {(51, 60), (60, 70), (70, 60)}


def test_campaigns_touch_and_are_answered(graph: HeteroData) -> None:
    touches = timed((1, "b", on(2, 20)), (2, "b", on(2, 10)), (1, "a", on(1, 1)), (1, "b", on(2, 25)))
    assert edges(graph, "touched_by") == touches
    assert edges(graph, "responded_to") == timed((1, "b", on(2, 20)))


def test_all_states_of_loyalty_are_edges_of_the_graph(graph: HeteroData) -> None:
    states = timed((1, 91, on(1, 1)), (1, 94, on(2, 20)), (2, 95, on(2, 1)), (2, 96, on(2, 1)))
    assert edges(graph, "has") == states


# Snapshots


@pytest.mark.parametrize(("cutoff", "held"), [(date(2020, 2, 20), {1: 94, 2: 96}), (date(2020, 2, 19), {1: 91, 2: 96}),
                                              (date(2020, 1, 31), {1: 91}), (date(2019, 1, 1), {})])  # fmt: skip
def test_a_customer_has_the_last_state_before_the_cutoff(cutoff: date, held: dict[int, int], graph: HeteroData) -> None:
    """Of two states of one day, the one with the later id."""
    shot = snapshot(graph, cutoff=cutoff, half_life_days=HALF_LIFE)
    for edge, customers in ((EDGES["has"].type, 1), (("loyalty", "rev_has", "customer"), 0)):
        entries = shot[edge].adj_t.to_dense().nonzero().numpy()
        customer, state = shot["customer"].ids[entries[:, customers]], shot["loyalty"].ids[entries[:, 1 - customers]]
        assert dict(zip(customer.tolist(), state.tolist(), strict=True)) == held
        assert len(entries) == len(held)


def test_every_relation_has_its_reverse(shot: HeteroData) -> None:
    there = {edge.type for edge in EDGES.values()}
    back = {(target, f"rev_{name}", source) for source, name, target in there if name != "co_shopper"}
    assert set(shot.edge_types) == there | back
    up, down = (shot["category", name, "category"].adj_t.to_dense() for name in ("child_of", "rev_child_of"))
    assert torch.equal(up > 0, (down > 0).T)
    assert not torch.equal(up, down)


def test_stats_by_hand(shot: HeteroData) -> None:
    """Campaign b touched customer 1 ten and five days ago and customer 2 twenty days ago: three edges, two of them one
    in `adj_t`."""
    found = incoming(shot)[EDGES["touched_by"].type]
    assert STATS == ("count", "weight", "latest", "earliest")
    weight = 2 ** (-10 / HALF_LIFE) + 2 ** (-5 / HALF_LIFE) + 2 ** (-20 / HALF_LIFE)
    b = [log1p(3), log1p(weight), log1p(5), log1p(20)]
    a = [log1p(1), log1p(2 ** (-60 / HALF_LIFE)), log1p(60), log1p(60)]
    assert found.stats.tolist() == [pytest.approx(a), pytest.approx(b)]
    assert found.stats.dtype == torch.float32
    back = incoming(shot)["campaign", "rev_touched_by", "customer"].stats
    two = [log1p(1), log1p(2 ** (-20 / HALF_LIFE)), log1p(20), log1p(20)]
    assert back[1].tolist() == pytest.approx(two)
    assert back[0, 0].item() == pytest.approx(log1p(3))
    assert back[0, 2:].tolist() == pytest.approx([log1p(5), log1p(60)])


def test_stats_are_nought_without_edges_and_without_times(graph: HeteroData, shot: HeteroData) -> None:
    assert shot["category", "rev_child_of", "category"].stats[:, 2:].tolist() == [[0, 0]] * 3
    assert shot[EDGES["belongs_to"].type].stats.tolist() == [[pytest.approx(log1p(1))] * 2 + [0, 0], [0] * 4, [0] * 4]
    early = snapshot(graph, cutoff=date(2019, 1, 1), half_life_days=HALF_LIFE)
    for source, name, target in early.edge_types:
        stats = early[source, name, target].stats
        assert stats.shape == (early[target].num_nodes, 4)
        assert "time" not in graph[EDGES[name.removeprefix("rev_")].type] or not stats.any(), name


def test_stats_are_there_exactly_where_edges_are(shop: Database) -> None:
    """On a larger shop: whoever has a row in `adj_t` has a count, the latest is no later than the earliest."""
    shot = snapshot(build(shop, config=config()), cutoff=date(2021, 1, 1), half_life_days=90)
    for edge, found in incoming(shot).items():
        some = torch.diff(found.adj_t.crow_indices()) > 0
        count, weight, latest, earliest = found.stats.T
        assert some.any(), edge
        assert torch.equal(count > 0, some), edge
        assert torch.equal(weight > 0, some), edge
        assert (latest <= earliest).all(), edge


# Tables left out


def test_the_tables_are_the_canonical_ones() -> None:
    assert set(get_args(Table)) == set(TABLES)
    assert set(EDGES) == set(get_args(Relation))
    assert all(edge.type[1] == name for name, edge in EDGES.items())


LOST = {
    "customers": set(),
    "orders": {"order"},
    "order_items": {"product", "category"},
    "products": {"category"},
    "categories": {"category"},
    "order_events": {"order_event"},
    "interactions": {"interaction"},
    "returns": {"return"},
    "loyalty": {"loyalty"},
    "campaigns": {"campaign"},
    "external": set(),
}


@pytest.mark.parametrize("left_out", sorted(LOST))
def test_a_table_may_be_left_out(left_out: Table) -> None:
    """Nodes and edges that need it are not there; the others are as they were."""
    kept = tuple(name for name in get_args(Table) if name != left_out)
    graph, everything = build(make_shop(), config=config(tables=kept)), build(make_shop(), config=config())
    assert set(graph.node_types) == KINDS - LOST[left_out]
    gone = {edge.type for edge in EDGES.values() if left_out in edge.needs}
    assert set(graph.edge_types) == set(everything.edge_types) - gone
    for edge in graph.edge_types:
        assert torch.equal(graph[edge].edge_index, everything[edge].edge_index)
    assert all(end in graph.node_types for source, _, target in graph.edge_types for end in (source, target))


def test_the_tables_of_the_seed_make_its_graph() -> None:
    tables: tuple[Table, ...] = ("customers", "order_items", "products", "categories")
    graph = build(make_shop(), config=config(tables=tables))
    assert set(graph.node_types) == {"customer", "product", "category"}
    assert {name for _, name, _ in graph.edge_types} == {"purchased", "belongs_to", "child_of", "co_shopper"}


def test_without_tables_there_are_customers() -> None:
    graph = build(make_shop(), config=config(tables=()))
    assert (graph.node_types, graph.edge_types) == (["customer"], [])
    assert incoming(snapshot(graph, cutoff=CUTOFF, half_life_days=HALF_LIFE)) == {}


@pytest.mark.parametrize("missing", sorted(set(TABLES) - {"customers", "orders", "external"}))
def test_a_table_that_is_not_there_leaves_its_nodes_out(missing: str) -> None:
    shop = make_shop()
    graph = build(
        Database("shop", {name: table for name, table in shop.tables.items() if name != missing}), config=config()
    )
    lost = LOST[missing] - ({"category"} if missing == "categories" else set())  # products name their category
    assert set(graph.node_types) == KINDS - lost
