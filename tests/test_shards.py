"""A snapshot cut by customers: the parts together are the whole, and hear together what the whole hears."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from settings import SMALL
from torch_geometric.data import HeteroData

from patron.graph.edges import EDGES
from patron.graph.shards import shard
from patron.graph.store import structure
from patron.tables.database import Database

CUTOFF = date(2021, 1, 1)


@pytest.fixture(scope="module")
def shot(shop: Database) -> HeteroData:
    """All relations; every third customer has a row, whose label is the customer's place."""
    config = replace(SMALL.graph, relations=tuple(EDGES))
    shot = structure(shop.upto(CUTOFF), cutoff=CUTOFF, config=config)
    for kind in shot.node_types:
        shot[kind].x = torch.randn(shot[kind].num_nodes, 3, generator=torch.Generator().manual_seed(0))
    customers = shot["customer"]
    customers.rows = torch.arange(0, customers.num_nodes, 3).flip(0)
    customers.y = customers.rows.float()
    customers.auxiliary, customers.offset = customers.y[:, None] + 0.5, -customers.y[:, None]
    return shot


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_customer_is_in_one_part_and_its_row_with_it(shot: HeteroData, world: int) -> None:
    parts = [shard(shot, rank=rank, world=world) for rank in range(world)]
    np.testing.assert_array_equal(np.concatenate([part["customer"].ids for part in parts]), shot["customer"].ids)
    whole = shot["customer"]
    for part in parts:
        store = part["customer"]
        place = pd.Index(whole.ids).get_indexer(store.ids[store.rows.numpy()])
        np.testing.assert_array_equal(store.y.numpy(), place)
        np.testing.assert_array_equal(store.auxiliary[:, 0].numpy(), place + 0.5)
        np.testing.assert_array_equal(store.offset[:, 0].numpy(), -place)
        assert abs(len(store.rows) - len(whole.rows) / world) <= 1, "the rows are not shared out evenly"
        assert torch.equal(store.x[store.rows], whole.x[place])


def test_what_belongs_to_a_customer_goes_along_and_products_are_everywhere(shot: HeteroData) -> None:
    parts = [shard(shot, rank=rank, world=3) for rank in range(3)]
    for kind in ("order", "order_event", "interaction", "return", "loyalty"):
        ids = np.concatenate([part[kind].ids for part in parts])
        assert len(np.unique(ids)) == len(ids), f"{kind}: in two parts"
        assert min(part[kind].num_nodes for part in parts) > 0
    heard = np.unique(shot["order", "rev_placed", "customer"].adj_t.col_indices().numpy())
    np.testing.assert_array_equal(
        np.sort(np.concatenate([part["order"].ids for part in parts])), np.sort(shot["order"].ids[heard])
    )
    for kind in ("product", "category", "campaign"):
        assert all(part[kind].num_nodes == shot[kind].num_nodes for part in parts)
    assert all(set(part.edge_types) == set(shot.edge_types) for part in parts)


@pytest.mark.parametrize("world", [1, 2, 5])
def test_the_parts_hear_together_what_the_whole_hears(shot: HeteroData, world: int) -> None:
    """Of every edge type, by what `across` says; the transpose, too, which carries the gradients."""
    parts = [shard(shot, rank=rank, world=world) for rank in range(world)]
    across = set()
    for edge in shot.edge_types:
        source, _, target = edge
        expected = {"mean": shot[edge].adj_t @ shot[source].x, "stats": shot[edge].stats}
        found = {name: torch.zeros_like(value) for name, value in expected.items()}
        for part in parts:
            how = part[edge].get("across")
            across.add(how)
            x = part[source].x
            if how == "gather":
                x = torch.zeros_like(shot[source].x)
                for other in parts:
                    x[other[edge].own] = other[source].x
            here = torch.from_numpy(pd.Index(shot[target].ids).get_indexer(part[target].ids).astype(np.int64))
            heard = part[edge].adj_t @ x
            found["mean"][here] = found["mean"][here] + heard if how == "sum" else heard
            found["stats"][here] = part[edge].stats
            assert torch.equal(part[edge].transposed.to_dense(), part[edge].adj_t.to_dense().T)
        for name, value in expected.items():
            assert torch.allclose(found[name], value, atol=1e-6), (edge, name)
    assert across == {None, "sum", "gather"}


def test_fewer_rows_than_processes_are_refused(shot: HeteroData) -> None:
    with pytest.raises(ValueError, match="customers cannot be shared out among 100000 processes"):
        shard(shot, rank=0, world=100_000)
