"""Trees of sampled edges: which ones by hand, none from the future, and PyG's own form of a batch."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import get_args

import pytest
import torch
from settings import SMALL
from torch_geometric.data import HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NodeSamplerInput

from patron.days import epoch_seconds, midnight
from patron.graph.build import build
from patron.graph.edges import Relation, is_echo
from patron.graph.sampler import How, TemporalSampler, both_ways
from patron.graph.snapshot import snapshot
from patron.tables.database import Database
from patron.testing import scrambled_after

PURCHASED, BOUGHT_BY = ("customer", "purchased", "product"), ("product", "rev_purchased", "customer")
BELONGS_TO = ("product", "belongs_to", "category")
CUTOFF = date(2021, 1, 1)


def by_hand() -> HeteroData:
    """Customer 0 buys products 0, 1, 2 at times 10, 20, 30; customer 1 buys product 1 at 15 and at 25. Products 0 and
    1 are of category 0."""
    data = HeteroData()
    for kind, number in (("customer", 2), ("product", 3), ("category", 1)):
        data[kind].num_nodes = number
    data[PURCHASED].edge_index = torch.tensor([[0, 1, 0, 1, 0], [2, 1, 0, 1, 1]])
    data[PURCHASED].time = torch.tensor([30, 25, 10, 15, 20])
    data[BELONGS_TO].edge_index = torch.tensor([[0, 1], [0, 0]])
    return both_ways(data)


def sampler(data: HeteroData, *, hops: Sequence[int], how: How = "last", seed: int = 0) -> TemporalSampler:
    return TemporalSampler(data, hops=hops, how=how, generator=torch.Generator().manual_seed(seed))


def seeds(*nodes: int, time: Sequence[int]) -> NodeSamplerInput:
    return NodeSamplerInput(None, torch.tensor(nodes), torch.tensor(time), "customer")


@pytest.fixture(scope="module")
def timed(shop: Database) -> HeteroData:
    return both_ways(build(shop, config=SMALL.graph))


def test_the_latest_edges_before_the_seed_by_hand() -> None:
    """At 25 customer 0 has bought product 0, then 1; the last of these is 1. A time counts from itself on."""
    two = sampler(by_hand(), hops=[2]).sample_from_nodes(seeds(0, 0, 1, time=[25, 10, 14]))
    assert two.node["product"].tolist() == [0, 1, 0]
    assert two.batch["product"].tolist() == [0, 0, 1]
    assert (two.row[BOUGHT_BY].tolist(), two.col[BOUGHT_BY].tolist()) == ([0, 1, 2], [0, 0, 1])
    one = sampler(by_hand(), hops=[1]).sample_from_nodes(seeds(0, 0, time=[25, 10]))
    assert one.node["product"].tolist() == [1, 0]


def test_the_second_hop_lives_in_the_time_of_its_seed() -> None:
    """Customer 1 looked at at 15: product 1, which nobody else has bought yet. At 20: customer 0 has. Of which category
    a product is has no time."""
    found = sampler(by_hand(), hops=[4, 4]).sample_from_nodes(seeds(1, 1, time=[15, 20]))
    assert found.num_sampled_nodes == {"customer": [2, 0, 3], "product": [0, 2, 0], "category": [0, 0, 2]}
    assert found.node["customer"].tolist() == [1, 1, 1, 1, 0]
    assert found.batch["customer"].tolist() == [0, 1, 0, 1, 1]
    late = sampler(by_hand(), hops=[4, 4, 4]).sample_from_nodes(seeds(0, time=[9]))
    assert late.num_sampled_nodes["product"] == [0, 0, 0, 0]


def test_before_everything_what_has_no_time_is_known() -> None:
    data = by_hand()
    asked = NodeSamplerInput(None, torch.tensor([0]), torch.tensor([0]), "category")
    assert sampler(data, hops=[4]).sample_from_nodes(asked).node["product"].tolist() == [0, 1]


def test_seeds_without_a_time_are_refused() -> None:
    with pytest.raises(ValueError, match="input_time"):
        sampler(by_hand(), hops=[1]).sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]), None, "customer"))


def test_uniform_draws_all_sets_alike_and_never_twice() -> None:
    """Two of the four products that were there by the time: each of six pairs in a sixth of the draws."""
    data = HeteroData()
    data["customer"].num_nodes, data["product"].num_nodes = 1, 5
    data[BOUGHT_BY].edge_index = torch.tensor([[4, 0, 3, 1, 2], [0, 0, 0, 0, 0]])
    data[BOUGHT_BY].time = torch.tensor([99, 1, 2, 3, 4])
    number = 6_000
    found = sampler(data, hops=[2], how="uniform").sample_from_nodes(seeds(*[0] * number, time=[50] * number))
    pairs = found.node["product"].reshape(number, 2).sort(dim=1).values
    assert set(found.node["product"].tolist()) == {0, 1, 2, 3}
    kinds, counts = torch.unique(pairs, dim=0, return_counts=True)
    assert len(kinds) == 6
    assert (kinds[:, 0] < kinds[:, 1]).all()
    assert ((counts - number / 6).abs() < 4 * (number * 5 / 36) ** 0.5).all()


def test_uniform_takes_all_where_there_are_no_more() -> None:
    found = sampler(by_hand(), hops=[8], how="uniform").sample_from_nodes(seeds(0, time=[30]))
    assert sorted(found.node["product"].tolist()) == [0, 1, 2]


def test_the_same_generator_draws_the_same(timed: HeteroData) -> None:
    when = [int(epoch_seconds(midnight(CUTOFF)))] * 8
    same, again, other = (
        sampler(timed, hops=[3, 3], how="uniform", seed=seed).sample_from_nodes(seeds(*range(8), time=when))
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(same.edge[edge], again.edge[edge]) for edge in same.edge)
    assert any(not torch.equal(same.edge[edge], other.edge[edge]) for edge in same.edge)


@pytest.mark.parametrize("how", ["last", "uniform"])
def test_a_batch_of_the_loader_is_made_of_edges_of_the_graph_that_were_known(timed: HeteroData, how: How) -> None:
    """Every seed at a time of its own: ends, times and trees of all edges are right."""
    now, number = int(epoch_seconds(midnight(CUTOFF))), timed["customer"].num_nodes
    times = now - torch.arange(number) * 86_400
    loader = NodeLoader(timed, node_sampler=sampler(timed, hops=[5, 3], how=how), input_nodes=("customer", None),
                        input_time=times, batch_size=64)  # fmt: skip
    seen = 0
    for batch in loader:
        seed_time, seen = batch["customer"].seed_time, seen + batch["customer"].batch_size
        assert torch.equal(batch["customer"].n_id[: batch["customer"].batch_size], batch["customer"].input_id)
        for edge in timed.edge_types:
            source, _, target = edge
            (row, col), store = batch[edge].edge_index, batch[edge]
            ends = torch.stack([batch[source].n_id[row], batch[target].n_id[col]])
            assert torch.equal(ends, timed[edge].edge_index[:, store.e_id]), edge
            assert torch.equal(batch[source].batch[row], batch[target].batch[col]), edge
            if "time" in store:
                assert (store.time <= seed_time[batch[target].batch[col]]).all(), edge
                assert len(store.time) > 0, edge
    assert seen == number


def test_no_node_hears_of_more_than_it_may(timed: HeteroData) -> None:
    now = [int(epoch_seconds(midnight(CUTOFF)))] * 16
    found = sampler(timed, hops=[3, 2]).sample_from_nodes(seeds(*range(16), time=now))
    for edge, col in found.col.items():
        of_hop = torch.split(col, found.num_sampled_edges[edge])
        most = [int(torch.bincount(heard).max()) if len(heard) else 0 for heard in of_hop]
        assert (most[0] <= 3, most[1] <= 2) == (True, True), edge
    assert len(found.col[BOUGHT_BY]) > 16


def test_a_changed_future_changes_no_tree(shop: Database) -> None:
    """The scramble: from all that ever was, sampled in the time of the cutoff."""
    relations = get_args(Relation)
    config = replace(SMALL.graph, relations=tuple(name for name in relations if name != "co_shopper"))
    now = int(epoch_seconds(midnight(CUTOFF)))
    one, other = (ids_of_tree(build(db, config=config), now=now)
                  for db in (shop, scrambled_after(shop, cutoff=CUTOFF, seed=1)))  # fmt: skip
    assert one == other
    assert sum(map(len, one.values())) > 500
    assert one != ids_of_tree(build(shop, config=config), now=now + 30 * 86_400)


def test_relations_stand_in_the_directions_of_a_snapshot(shop: Database, timed: HeteroData) -> None:
    shot = snapshot(build(shop, config=SMALL.graph), cutoff=CUTOFF, half_life_days=90)
    assert set(timed.edge_types) == {edge for edge in shot.edge_types if not is_echo(edge)}


def ids_of_tree(data: HeteroData, *, now: int) -> dict[str, list[object]]:
    """By type, the ids that 32 customers hear of at `now`."""
    index = NodeSamplerInput(None, torch.arange(32), torch.full((32,), now), "customer")
    found = sampler(both_ways(data), hops=[4, 4]).sample_from_nodes(index)
    return {kind: data[kind].ids[nodes.numpy()].tolist() for kind, nodes in found.node.items() if len(nodes)}
