"""The graph as it stood at a cutoff, ready for message passing: one CSR matrix an edge type and direction, rows
summing to 1, and beside it what a mean forgets: how many edges, how heavy, how recent.

Several purchases of one product become one edge. An edge weighs `2 ** (-age / half_life)`, a co-shopper edge its
Jaccard index, and rows are normalised, so that `adj_t @ x` is a weighted mean and works alike on CPU and CUDA.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import EdgeStorage
from torch_geometric.index import index2ptr

from patron.days import DAY_SECONDS, epoch_seconds, midnight
from patron.graph.edges import EDGES, EdgeType
from patron.graph.shuffle import shuffled_ends

Across = Literal["sum", "gather"]
STATS = ("count", "weight", "latest", "earliest")


@dataclass(frozen=True)
class Incoming:
    """What reaches the targets of one edge type.

    `adj_t`: CSR [targets, sources], rows of weights that sum to 1, or empty; `transposed`: the same turned round, CSR
    [sources, targets], by which gradients flow back. `stats` [targets, 4], in the order of
    `STATS`: log1p of the number of edges, of the sum of their weights, of the days since the latest and since the
    earliest. A target without edges has 0 in all, and edges without a time have 0 for the days.

    `across` is what processes that hold parts of one snapshot do about it, and `own` are the sources that this one has:
    `patron.graph.shards`.
    """

    adj_t: Tensor
    transposed: Tensor
    stats: Tensor
    across: Across | None = None
    own: Tensor | None = None

    def of(self, targets: slice) -> "Incoming":
        """What reaches these targets alone; gradients do not flow back from there."""
        assert self.across is None, "nodes at a time are for those who hold all of a snapshot"
        start, col, weight = self.adj_t.crow_indices(), self.adj_t.col_indices(), self.adj_t.values()
        first, last = int(start[targets.start]), int(start[targets.stop])
        size = (targets.stop - targets.start, self.adj_t.shape[1])
        rows = csr(start[targets.start : targets.stop + 1] - first, col[first:last], weight[first:last], size)
        return Incoming(rows, torch.empty(0), self.stats[targets])


def snapshot(data: HeteroData, *, cutoff: date, half_life_days: float, shuffle: bool = False) -> HeteroData:
    """Nodes of `data` and, for each edge type and its reverse, `adj_t` and `stats` of the edges with `time <= cutoff`;
    `now` is the cutoff in seconds since 1970.

    Of a relation that is a state, a source keeps its last edge only. Symmetric relations have no reverse. With
    `shuffle` these edges join other nodes, in both directions the same (`shuffled_ends`).
    """
    now = int(epoch_seconds(midnight(cutoff)))
    shot = HeteroData(now=now)
    for kind in data.node_types:
        shot[kind].ids, shot[kind].num_nodes = data[kind].ids, data[kind].num_nodes
    for edge in data.edge_types:
        known = _known(data, edge, age=_age(data, edge, now=now), half_life_days=half_life_days)
        known = known.shuffled(edge) if shuffle else known
        source, relation, target = edge
        size = (data[target].num_nodes, data[source].num_nodes)
        _add(shot, edge, known, size=size)
        if not EDGES[relation].symmetric:
            _add(shot, (target, f"rev_{relation}", source), known.reversed(), size=size[::-1])
    return shot


def of_trees(batch: HeteroData, shot: HeteroData, *, half_life_days: float) -> HeteroData:
    """A batch of `TemporalSampler` as a snapshot, its seeds being customers at the cutoff of `shot`: features and
    `stats` as they are there, of all edges, and the rows of `adj_t` over the edges that were sampled.

    Raises AssertionError for an edge that is later than its seed.
    """
    trees, now = HeteroData(), batch["customer"].seed_time
    for kind in [kind for kind in batch.node_types if kind in shot.node_types]:
        trees[kind].num_nodes = len(batch[kind].n_id)
        if "x" in shot[kind]:
            trees[kind].x = shot[kind].x[batch[kind].n_id]
    for edge in batch.edge_types:
        source, _, target = edge
        age = _age(batch, edge, now=now[batch[target].batch[batch[edge].edge_index[1]]])
        assert age is None or len(age) == 0 or int(age.min()) >= 0, f"{edge}: an edge is later than its seed"
        known = _known(batch, edge, age=age, half_life_days=half_life_days)
        size = (trees[target].num_nodes, trees[source].num_nodes)
        trees[edge].adj_t, trees[edge].transposed = mean_csr(known.target, known.source, known.weight, size=size)
        trees[edge].stats = shot[edge].stats[batch[target].n_id]
    return trees


def incoming(shot: HeteroData) -> dict[EdgeType, Incoming]:
    """What reaches whom in a snapshot, by edge type; empty for one without edges."""
    return {edge: _incoming(shot[edge]) for edge in shot.edge_types}


def _incoming(store: EdgeStorage) -> Incoming:
    return Incoming(store.adj_t, store.transposed, store.stats, store.get("across"), store.get("own"))


@dataclass(frozen=True)
class _Known:
    source: Tensor
    target: Tensor
    weight: Tensor
    days: Tensor | None  # since the edge

    def reversed(self) -> "_Known":
        return _Known(self.target, self.source, self.weight, self.days)

    def shuffled(self, edge: EdgeType) -> "_Known":
        return _Known(*shuffled_ends(edge, self.source, self.target), self.weight, self.days)


def _age(data: HeteroData, edge: EdgeType, *, now: "int | Tensor") -> Tensor | None:
    return now - data[edge].time if "time" in data[edge] else None  # seconds; negative: not known yet


def _known(data: HeteroData, edge: EdgeType, *, age: Tensor | None, half_life_days: float) -> _Known:
    store = data[edge]
    source, target = store.edge_index
    if age is None:
        return _Known(source, target, torch.ones(len(source)), None)
    kept = torch.nonzero(age >= 0)[:, 0]
    relation = edge[1].removeprefix("rev_")
    if EDGES[relation].last_only:
        owner, owned = (source, target) if relation == edge[1] else (target, source)
        kept = kept[_last(owner[kept], store.time[kept], owned[kept])]
    days = age[kept].to(torch.float64) / DAY_SECONDS
    # In float64 and not below 1e-6 of a new edge: a row of very old edges keeps their ratios and never sums to 0.
    aged = torch.exp2(-days / half_life_days).clamp_min(1e-6).to(torch.float32)
    return _Known(source[kept], target[kept], store.jaccard[kept] if "jaccard" in store else aged, days)


def _last(source: Tensor, time: Tensor, target: Tensor) -> Tensor:
    # Positions of the latest edge of each source; of several at one time, that to the last target.
    order = np.lexsort((target.numpy(), time.numpy(), source.numpy()))
    of = source.numpy()[order]
    return torch.from_numpy(order[np.append(of[1:] != of[:-1], True)] if len(of) else order)


def _add(shot: HeteroData, edge: EdgeType, known: _Known, *, size: tuple[int, int]) -> None:
    shot[edge].adj_t, shot[edge].transposed = mean_csr(known.target, known.source, known.weight, size=size)
    shot[edge].stats = _stats(known, size=size[0])


def _stats(known: _Known, *, size: int) -> Tensor:
    def total(values: Tensor) -> Tensor:
        return torch.zeros(size, dtype=torch.float64).index_add_(0, known.target, values.to(torch.float64))

    def extreme(days: Tensor, reduce: str) -> Tensor:
        return torch.zeros(size, dtype=torch.float64).scatter_reduce_(0, known.target, days, reduce, include_self=False)

    days = torch.zeros(len(known.target), dtype=torch.float64) if known.days is None else known.days
    columns = [total(torch.ones_like(days)), total(known.weight), extreme(days, "amin"), extreme(days, "amax")]
    return torch.stack(columns, dim=1).log1p().to(torch.float32)


def mean_csr(row: Tensor, col: Tensor, weight: Tensor, *, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weighted means of what edges [E] bring, as CSR [targets, sources] with rows that sum to 1, and its transpose.
    Edges between the same two become one."""
    with _quiet():
        merged = torch.sparse_coo_tensor(torch.stack([row, col]), weight.to(torch.float64), size).coalesce()
    (row, col), value = merged.indices(), merged.values()
    total = torch.zeros(size[0], dtype=torch.float64).index_add_(0, row, value)
    mean, turned = (value / total[row]).to(torch.float32), torch.argsort(col, stable=True)
    return _csr(row, col, mean, size=size), _csr(col[turned], row[turned], mean[turned], size=size[::-1])


def _csr(row: Tensor, col: Tensor, value: Tensor, *, size: tuple[int, int]) -> Tensor:
    # Rows in order. Indices of 32 bits, where they suffice, are read in half the time.
    bits = torch.int32 if max(len(value), *size) < 2**31 else torch.int64
    return csr(index2ptr(row, size[0]).to(bits), col.to(bits), value, size)


def csr(start: Tensor, col: Tensor, value: Tensor, size: tuple[int, ...]) -> Tensor:
    """The CSR matrix of these rows."""
    with _quiet():
        return torch.sparse_csr_tensor(start, col, value, size)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")  # advice, not trouble
        yield
