"""A snapshot cut by customers, for processes that train together on a graph that does not fit one of them.

A process holds some customers with all that belongs to them, and every product, category and campaign. What reaches its
own nodes it has; what reaches a product comes from the customers of all processes and is summed over them; and an edge
that joins customers of several, as co-shoppers are, gathers the states of all. Gradients flow back the same way.
"""

import copy

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.graph.edges import EDGES, EdgeType
from patron.graph.snapshot import csr


def shard(shot: HeteroData, *, rank: int, world: int) -> HeteroData:
    """Of a snapshot whose customers carry `rows` the part of process `rank` among `world`: customers with every
    `world`-th of the rows, in order, and those between; `x` and what comes with `rows` are cut alike.

    An edge type whose messages are not complete in one process says in `across` what to do about it: `sum` what each
    has heard, or `gather` the states of the sources, of which this process has those at `own`. Raises ValueError for
    fewer rows than processes.
    """
    if len(shot["customer"].rows) < world:
        raise ValueError(f"{len(shot['customer'].rows)} customers cannot be shared out among {world} processes")
    part, mine = copy.copy(shot), _own(shot, _customers(shot, rank=rank, world=world))
    for kind, own in mine.items():
        part[kind].ids, part[kind].num_nodes = shot[kind].ids[own], len(own)
        if "x" in shot[kind]:
            part[kind].x = shot[kind].x[torch.from_numpy(own)]
    _cut_rows(part, shot, mine["customer"])
    for edge in shot.edge_types:
        _cut_edge(part, shot, edge, mine)
    return part


def take_labels(part: HeteroData, shot: HeteroData, chosen: "Tensor | np.ndarray") -> None:
    """What the customers' `rows` of a snapshot carry, of those that are chosen, for a part of it."""
    for name in ("y", "auxiliary", "offset"):
        if name in shot["customer"]:
            part["customer"][name] = shot["customer"][name][chosen]


def _customers(shot: HeteroData, *, rank: int, world: int) -> np.ndarray:
    rows = np.sort(shot["customer"].rows.numpy())
    first = [0, *(int(rows[len(rows) * k // world]) for k in range(1, world)), shot["customer"].num_nodes]
    return np.arange(first[rank], first[rank + 1])


def _own(shot: HeteroData, customers: np.ndarray) -> dict[str, np.ndarray]:
    # The nodes of this process, of each type that belongs to customers, at first or at second hand.
    mine = {"customer": customers}
    while fresh := [edge for edge in shot.edge_types if _belongs(edge) and edge[2] in mine and edge[0] not in mine]:
        source, _, target = fresh[0]
        mine[source] = np.unique(_scipy(shot[fresh[0]].adj_t)[mine[target]].indices).astype(np.int64)
    return mine


def _belongs(edge: EdgeType) -> bool:
    # Whether the source belongs to the target.
    source, relation, target = edge
    return target == EDGES[relation.removeprefix("rev_")].owner and source != target


def _cut_rows(part: HeteroData, shot: HeteroData, own: np.ndarray) -> None:
    store, rows = part["customer"], shot["customer"].rows
    here = (rows >= int(own[0])) & (rows <= int(own[-1]))
    store.rows = rows[here] - int(own[0])
    take_labels(part, shot, here)


def _cut_edge(part: HeteroData, shot: HeteroData, edge: EdgeType, mine: dict[str, np.ndarray]) -> None:
    (source, _, target), rows = edge, _scipy(shot[edge].adj_t)
    if target in mine:
        rows, part[edge].stats = rows[mine[target]], shot[edge].stats[torch.from_numpy(mine[target])]
    if source in mine and (target not in mine or _belongs(edge)):
        rows = rows[:, mine[source]]
    part[edge].adj_t, part[edge].transposed = _torch(rows), _torch(rows.T.tocsr())
    if source in mine and not _belongs(edge):
        part[edge].across = "gather" if target in mine else "sum"
        part[edge].own = torch.from_numpy(mine[source])


def _scipy(matrix: Tensor) -> sp.csr_matrix:
    parts = matrix.values(), matrix.col_indices(), matrix.crow_indices()
    return sp.csr_matrix(tuple(each.numpy() for each in parts), shape=tuple(matrix.shape))


def _torch(matrix: sp.csr_matrix) -> Tensor:
    start, column, value = (torch.from_numpy(each) for each in (matrix.indptr, matrix.indices, matrix.data))
    return csr(start, column, value, matrix.shape)
