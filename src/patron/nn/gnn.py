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
        source = x if isinstance(x, Tensor) else x[0]
        return self.lin_l(WeightedMean.apply(source, edges.adj_t, edges.transposed))


class HeteroSAGE(nn.Module):
    """`num_layers` hops over the purchase graph."""

    def __init__(self, edge_types: Sequence[EdgeType], *, channels: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        heard = reach(edge_types, num_layers=num_layers)
        self.layers = nn.ModuleList(
            _Layer(sorted(kinds), [edge for edge in edge_types if edge[2] in kinds], channels=channels, dropout=dropout)
            for kinds in heard[1:]
        )

    def forward(self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming]) -> Tensor:
        """{type: [N, channels]}, {edge: what comes in} -> customers [N, channels]."""
        for layer in self.layers:
            x_dict = layer(x_dict, edges)
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

    def forward(self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming]) -> dict[str, Tensor]:
        heard = self._listen(x_dict, edges)
        out = {kind: x_dict[kind] for kind in self.node_types if kind in x_dict}  # an early snapshot may lack a type
        for kind in [kind for kind in self.self_path if kind in x_dict]:
            message = self.self_path[kind](x_dict[kind]) + heard.get(kind, 0)  # [N, channels]
            out[kind] = x_dict[kind] + self.dropout(torch.relu(self.norm[kind](message)))
        return out

    def _listen(self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming]) -> dict[str, Tensor]:
        if self.conv is None:
            return {}
        known = [edge for edge in self.edge_types if edge in edges]
        device = x_dict["customer"].device.type
        with torch.autocast(device, enabled=False):  # sparse CSR products know float32 only
            x_dict = {kind: x.float() for kind, x in x_dict.items()}
            heard = self.conv(x_dict, {edge: edges[edge] for edge in known})
            for edge in known:
                heard[edge[2]] = heard[edge[2]] + self.of_stats["__".join(edge)](edges[edge].stats)
        return heard


def _zero(width: int, channels: int) -> nn.Linear:
    # The net starts without the stats. No bias: a target without edges hears nothing of them.
    linear = nn.Linear(width, channels, bias=False)
    nn.init.zeros_(linear.weight)
    return linear
