"""The message passing: layers of `HeteroConv` over one `SAGEConv` an edge type, Hamilton et al. 2017, Schlichtkrull
et al. 2018.

`adj_t` rows are normalised weights, so that what SAGEConv hears is a weighted mean; a linear map of the edges' `stats`
adds what a mean forgets, number and recency. Customers, and every node type that hears of another, keep a path to
themselves, with a residual and a LayerNorm of their own; who hears nobody stays as it is. Only what can still reach a
customer is computed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch_geometric.nn import HeteroConv, SAGEConv

from patron.graph.edges import EdgeType
from patron.graph.snapshot import STATS, Incoming


def reach(edge_types: Sequence[EdgeType], *, num_layers: int) -> list[frozenset[str]]:
    """Whose state the customers' outputs depend on: before the first layer, and after each. The last is {customer}."""
    heard = [frozenset({"customer"})]
    for _ in range(num_layers):
        sources = {source for source, _, target in edge_types if target in heard[0]}
        heard.insert(0, heard[0] | sources)
    return heard


class WeightedMean(torch.autograd.Function):
    """`adj_t @ x`: [targets, sources], [sources, channels] -> [targets, channels], whose gradient flows by the
    transpose that is stored; torch would make it anew in every backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adj_t: Tensor, transposed: Tensor) -> Tensor:
        """The weighted means."""
        ctx.transposed = transposed
        return adj_t @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by `x`; the weights have none."""
        return ctx.transposed @ grads[0].contiguous(), None, None


class CSRSAGEConv(SAGEConv):
    """SAGEConv of what is `Incoming` by one edge type, without a path to itself."""

    def __init__(self, channels: int) -> None:
        super().__init__((channels, channels), channels, aggr="sum", root_weight=False)

    def forward(self, x: Tensor | tuple[Tensor, Tensor], edges: Incoming) -> Tensor:
        """Of sources [S, channels], or these and the targets [T, channels]: [T, channels]."""
        return self.lin_l(_heard(x if isinstance(x, Tensor) else x[0], edges))


def _heard(x: Tensor, edges: Incoming) -> Tensor:
    # The weighted means of the sources' states, be they in this process or in others.
    if edges.across == "gather":
        assert edges.own is not None
        x = all_reduce(x.new_zeros(edges.adj_t.shape[1], x.shape[1]).index_copy(0, edges.own, x))
    heard = WeightedMean.apply(x, edges.adj_t, edges.transposed)
    return all_reduce(heard) if edges.across == "sum" else heard


class HeteroSAGE(nn.Module):
    """`num_layers` hops over the purchase graph."""

    def __init__(self, edge_types: Sequence[EdgeType], *, channels: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        heard = reach(edge_types, num_layers=num_layers)
        self.layers = nn.ModuleList(
            _Layer(sorted(kinds), [edge for edge in edge_types if edge[2] in kinds], channels=channels, dropout=dropout)
            for kinds in heard[1:]
        )

    def forward(
        self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None = None
    ) -> Tensor:
        """{type: [N, channels]}, {edge: what comes in} -> customers [N, channels]; layer by layer, and of each layer
        `size` nodes at a time, so that no more messages are held at once."""
        for layer in self.layers:
            x_dict = layer(x_dict, edges, size=size)
        return x_dict["customer"]


class _Layer(nn.Module):
    def __init__(
        self, node_types: Sequence[str], edge_types: Sequence[EdgeType], *, channels: int, dropout: float
    ) -> None:
        super().__init__()
        convs = {edge: CSRSAGEConv(channels) for edge in edge_types}
        self.conv = HeteroConv(convs, aggr="sum") if convs else None
        self.edge_types = tuple(edge_types)
        self.of_stats = nn.ModuleDict({"__".join(edge): _zero(len(STATS), channels) for edge in edge_types})
        hearing = [kind for kind in node_types if kind == "customer" or kind in {edge[2] for edge in edge_types}]
        self.self_path = nn.ModuleDict({kind: nn.Linear(channels, channels) for kind in hearing})
        self.norm = nn.ModuleDict({kind: nn.LayerNorm(channels) for kind in hearing})
        self.node_types = tuple(node_types)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None = None
    ) -> dict[str, Tensor]:
        known = [kind for kind in self.node_types if kind in x_dict]  # an early snapshot may lack a type
        return {kind: self._next(kind, x_dict, edges, size=size) for kind in known}

    def _next(
        self, kind: str, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None
    ) -> Tensor:
        number = len(x_dict[kind])
        if kind not in self.self_path:
            return x_dict[kind]
        if size is None or number <= size:
            return self._hear(x_dict[kind], kind, x_dict, edges)
        parts = [slice(start, min(start + size, number)) for start in range(0, number, size)]
        heard = {edge: edges[edge] for edge in edges if edge[2] == kind}
        return torch.cat([
            self._hear(x_dict[kind][rows], kind, x_dict, {edge: some.of(rows) for edge, some in heard.items()})
            for rows in parts
        ])  # fmt: skip

    def _hear(self, x: Tensor, kind: str, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming]) -> Tensor:
        # The next state of nodes of one kind, whose state is x and whom the edges reach: [n, channels].
        message = self.self_path[kind](x)
        incoming = {edge: edges[edge] for edge in self.edge_types if edge[2] == kind and edge in edges}
        if incoming:
            message = message + self._messages(kind, x_dict, incoming)
        return x + self.dropout(torch.relu(self.norm[kind](message)))

    def _messages(self, kind: str, x_dict: Mapping[str, Tensor], incoming: dict[EdgeType, Incoming]) -> Tensor:
        assert self.conv is not None
        with torch.autocast(x_dict[kind].device.type, enabled=False):  # sparse CSR products know float32 only
            heard = self.conv({sender: x.float() for sender, x in x_dict.items()}, incoming)[kind]
            for edge, edges in incoming.items():
                heard = heard + self.of_stats["__".join(edge)](edges.stats)
        return heard


def _zero(width: int, channels: int) -> nn.Linear:
    # The net starts without the stats. No bias: a target without edges hears nothing of them.
    linear = nn.Linear(width, channels, bias=False)
    nn.init.zeros_(linear.weight)
    return linear
