"""Snapshots kept on disk: what is read is what was made, and nothing stale or half written ever is."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from settings import SMALL
from torch_geometric.data import HeteroData

from patron.graph import store
from patron.graph.store import structure
from patron.tables.database import Database
from patron.testing import scrambled_after

CUTOFF = date(2021, 1, 1)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def made(db: Database, *, cache: Path | None, cutoff: date = CUTOFF, **changes: object) -> HeteroData:
    return structure(db.upto(cutoff), cutoff=cutoff, config=replace(SMALL.graph, cache=cache, **changes))


def same(one: HeteroData, other: HeteroData) -> None:
    assert (one.now, one.node_types, one.edge_types) == (other.now, other.node_types, other.edge_types)
    for kind in one.node_types:
        assert one[kind].num_nodes == other[kind].num_nodes
        assert one[kind].ids.tolist() == other[kind].ids.tolist()
    for edge in one.edge_types:
        assert torch.equal(one[edge].stats, other[edge].stats)
        for name in ("adj_t", "transposed"):
            here, there = one[edge][name], other[edge][name]
            assert here.shape == there.shape
            for part in ("crow_indices", "col_indices", "values"):
                assert torch.equal(getattr(here, part)(), getattr(there, part)()), (edge, name, part)


def test_what_is_read_is_what_was_made(shop: Database, tmp_path: Path) -> None:
    """Written, and then read."""
    expected = made(shop, cache=None)
    for _ in range(2):
        same(made(shop, cache=tmp_path), expected)
    assert [file.suffix for file in kept(tmp_path)] == [".pt"]


def test_ids_may_be_texts(shop: Database, tmp_path: Path) -> None:
    tables = dict(shop.tables)
    for name in ("order_items", "products", "returns"):
        place = tables[name].column_names.index("product_id")
        texts = tables[name]["product_id"].cast(pa.string())
        tables[name] = tables[name].set_column(place, "product_id", texts)
    named = Database("shop", tables)
    expected = made(named, cache=None)
    assert isinstance(expected["product"].ids[0], str)
    for _ in range(2):
        same(made(named, cache=tmp_path), expected)


def test_nothing_is_built_twice(shop: Database, tmp_path: Path) -> None:
    def again(*_: object, **__: object) -> HeteroData:
        pytest.fail("built again")

    first, config = made(shop, cache=tmp_path), replace(SMALL.graph, cache=tmp_path)
    same(structure(shop.upto(CUTOFF), cutoff=CUTOFF, config=config, build=again), first)
    with pytest.raises(pytest.fail.Exception, match="built again"):
        structure(shop.upto(CUTOFF), cutoff=CUTOFF, config=replace(config, cache=None), build=again)


def test_other_tables_configurations_cutoffs_and_code_are_other_files(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(shop, cache=tmp_path)
    changed = scrambled_after(shop, cutoff=date(2020, 12, 1))
    for number, again in enumerate(
        (
            lambda: made(changed, cache=tmp_path),
            lambda: made(shop, cache=tmp_path, cutoff=date(2021, 1, 2)),
            lambda: made(shop, cache=tmp_path, half_life_days=30.0),
        ),
        start=2,
    ):
        again()
        assert len(kept(tmp_path)) == number
    monkeypatch.setattr(store, "_code", lambda: "edited")
    made(shop, cache=tmp_path)
    assert len(kept(tmp_path)) == 5


def test_a_changed_future_is_no_other_graph(shop: Database, tmp_path: Path) -> None:
    """The scramble: the same file, and in it the same."""
    first = made(shop, cache=tmp_path)
    same(made(scrambled_after(shop, cutoff=CUTOFF), cache=tmp_path), first)
    assert len(kept(tmp_path)) == 1


def test_a_write_that_fails_leaves_no_file(shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", broken)
        with pytest.raises(OSError, match="the disk is full"):
            made(shop, cache=tmp_path)
    assert not [*tmp_path.glob("*.pt")]
    same(made(shop, cache=tmp_path), made(shop, cache=None))
