"""The snapshots that nets learn from, kept on disk by what they are made of: a graph is built once for all seeds,
estimators and runs, and processes that train together read the same pages of memory.

The name of a file is a hash of the tables up to the cutoff, of the configuration and of the code that makes graphs, so
that nothing stale is ever read. A file that is not whole is not there: it is renamed when it is.
"""

import hashlib
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.files import whole_file
from patron.graph.build import GraphConfig, build
from patron.graph.edges import is_echo
from patron.graph.snapshot import csr, snapshot
from patron.tables.database import Database


class Build(Protocol):
    """`graph.build.build`, or what remembers what it built."""

    def __call__(self, db: Database, *, config: GraphConfig) -> HeteroData: ...


def structure(db: Database, *, cutoff: date, config: GraphConfig, build: Build = build) -> HeteroData:
    """The snapshot at `cutoff` of the graph of `db`, without echoes (`is_echo`): most of the work, and nothing to be
    learned. With a folder `config.cache` it is read from there, or left there for the next one; its tensors are then
    mapped and not read until they are used."""
    if config.cache is None:
        return _made(build(db, config=config), cutoff=cutoff, config=config)
    file = config.cache.expanduser() / f"{_name(db, cutoff=cutoff, config=config)}.pt"
    if not file.exists():
        _write(_made(build(db, config=config), cutoff=cutoff, config=config), file)
    return _read(file)


def _made(data: HeteroData, *, cutoff: date, config: GraphConfig) -> HeteroData:
    shot = snapshot(data, cutoff=cutoff, half_life_days=config.half_life_days, shuffle=config.shuffled)
    for edge in [edge for edge in shot.edge_types if is_echo(edge)]:
        del shot[edge]
    return shot


def _name(db: Database, *, cutoff: date, config: GraphConfig) -> str:
    made_of = (db.fingerprint, str(cutoff), replace(config, cache=None), _code(), torch.__version__)
    return hashlib.blake2b(repr(made_of).encode(), digest_size=16).hexdigest()


@cache
def _code() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join(source.read_bytes() for source in sources), digest_size=16).hexdigest()


def _write(shot: HeteroData, file: Path) -> None:
    plain = {
        "now": shot.now,
        "nodes": {kind: (shot[kind].num_nodes, _plain(shot[kind].ids)) for kind in shot.node_types},
        "edges": {
            edge: (_parts(shot[edge].adj_t), _parts(shot[edge].transposed), shot[edge].stats)
            for edge in shot.edge_types
        },
    }
    with whole_file(file) as partial:
        torch.save(plain, partial)


def _read(file: Path) -> HeteroData:
    plain = torch.load(file, mmap=True, weights_only=True)
    shot = HeteroData(now=plain["now"])
    for kind, (number, ids) in plain["nodes"].items():
        shot[kind].ids = ids.numpy() if isinstance(ids, Tensor) else np.array(ids, dtype=object)
        shot[kind].num_nodes = number
    for edge, (adj_t, transposed, stats) in plain["edges"].items():
        shot[edge].adj_t, shot[edge].transposed, shot[edge].stats = csr(*adj_t), csr(*transposed), stats
    return shot


def _plain(ids: np.ndarray) -> "Tensor | list[str]":
    return torch.from_numpy(ids) if np.issubdtype(ids.dtype, np.integer) else ids.tolist()


def _parts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    return matrix.crow_indices(), matrix.col_indices(), matrix.values(), tuple(matrix.shape)
