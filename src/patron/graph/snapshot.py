"""The graph as it stood at a cutoff, ready for message passing: one CSR matrix an edge type and direction, rows
summing to 1.

Several purchases of one product become one edge. An edge weighs `2 ** (-age / half_life)`, a co-shopper edge its
Jaccard index, and rows are normalised, so that `adj_t @ x` is a weighted mean and works alike on CPU and CUDA.
"""

import warnings
from datetime import date

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.days import DAY_SECONDS, epoch_seconds, midnight
from patron.graph.build import EdgeType


def snapshot(data: HeteroData, *, cutoff: date, half_life_days: float) -> HeteroData:
    """Nodes of `data` and, for each edge type and its reverse, `adj_t`: CSR [targets, sources] of the edges with
    `time <= cutoff`."""
    now = int(epoch_seconds(midnight(cutoff)))
    shot = HeteroData()
    for kind in data.node_types:
        shot[kind].ids, shot[kind].num_nodes = data[kind].ids, data[kind].num_nodes
    for edge in data.edge_types:
        index, weight = _weighted(data, edge, now=now, half_life_days=half_life_days)
        source, relation, target = edge
        sizes = (data[target].num_nodes, data[source].num_nodes)
        shot[edge].adj_t = _mean_csr(index[1], index[0], weight, size=sizes)
        if source != target:
            shot[target, f"rev_{relation}", source].adj_t = _mean_csr(index[0], index[1], weight, size=sizes[::-1])
    return shot


def adjacency(shot: HeteroData) -> dict[EdgeType, Tensor]:
    """{edge: CSR [targets, sources]} of a snapshot; empty for one without edges, where `adj_t_dict` raises."""
    return {edge: shot[edge].adj_t for edge in shot.edge_types}


def _weighted(data: HeteroData, edge: EdgeType, *, now: int, half_life_days: float) -> tuple[Tensor, Tensor]:
    store = data[edge]
    index, count = store.edge_index, store.edge_index.size(1)
    if "time" not in store:
        return index, torch.ones(count)
    known = store.time <= now
    if "jaccard" in store:
        return index[:, known], store.jaccard[known]
    age = (now - store.time[known]).to(torch.float64) / DAY_SECONDS
    # In float64 and not below 1e-6 of a new edge: a row of very old edges keeps their ratios and never sums to 0.
    return index[:, known], torch.exp2(-age / half_life_days).clamp_min(1e-6).to(torch.float32)


def _mean_csr(row: Tensor, col: Tensor, weight: Tensor, *, size: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")  # advice, not trouble
        merged = torch.sparse_coo_tensor(torch.stack([row, col]), weight.to(torch.float64), size).coalesce()
        row, value = merged.indices()[0], merged.values()
        total = torch.zeros(size[0], dtype=torch.float64).index_add_(0, row, value)
        mean = (value / total[row]).to(torch.float32)
        return torch.sparse_coo_tensor(merged.indices(), mean, size, is_coalesced=True).to_sparse_csr()
