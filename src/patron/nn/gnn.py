"""The message passing: layers of `HeteroConv` over one `SAGEConv` an edge type, Hamilton et al. 2017, Schlichtkrull
et al. 2018.

`adj_t` rows are normalised weights, so SAGEConv's sum is a weighted mean. Every node type keeps a path to itself
(`HeteroConv` drops types without incoming edges), with a residual and a LayerNorm of its own. The last layer only
serves the customers.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import HeteroConv, SAGEConv

from patron.graph.build import EdgeType


class HeteroSAGE(nn.Module):
    """`num_layers` hops over the purchase graph."""

    def __init__(
        self,
        node_types: Sequence[str],
        edge_types: Sequence[EdgeType],
        *,
        channels: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        layers = [_Layer(node_types, edge_types, channels=channels, dropout=dropout) for _ in range(num_layers - 1)]
        last = [_Layer(["customer"], [e for e in edge_types if e[2] == "customer"], channels=channels, dropout=dropout)]
        self.layers = nn.ModuleList(layers + last if num_layers else [])

    def forward(self, x_dict: Mapping[str, Tensor], adj_t_dict: Mapping[EdgeType, Tensor]) -> Tensor:
        """{type: [N, channels]}, {edge: CSR [N_target, N_source]} -> customers [N, channels]."""
        for layer in self.layers:
            x_dict = layer(x_dict, adj_t_dict)
        return x_dict["customer"]


class _Layer(nn.Module):
    def __init__(
        self, node_types: Sequence[str], edge_types: Sequence[EdgeType], *, channels: int, dropout: float
    ) -> None:
        super().__init__()
        convs = {edge: SAGEConv((channels, channels), channels, aggr="sum", root_weight=False) for edge in edge_types}
        self.conv = HeteroConv(convs, aggr="sum") if convs else None
        self.self_path = nn.ModuleDict({kind: nn.Linear(channels, channels) for kind in node_types})
        self.norm = nn.ModuleDict({kind: nn.LayerNorm(channels) for kind in node_types})
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_dict: Mapping[str, Tensor], adj_t_dict: Mapping[EdgeType, Tensor]) -> dict[str, Tensor]:
        heard = self._listen(x_dict, adj_t_dict)
        out = {}
        for kind in [kind for kind in self.self_path if kind in x_dict]:  # an early snapshot may lack a type
            message = self.self_path[kind](x_dict[kind]) + heard.get(kind, 0)  # [N, channels]
            out[kind] = x_dict[kind] + self.dropout(torch.relu(self.norm[kind](message)))
        return out

    def _listen(self, x_dict: Mapping[str, Tensor], adj_t_dict: Mapping[EdgeType, Tensor]) -> dict[str, Tensor]:
        if self.conv is None:
            return {}
        device = x_dict["customer"].device.type
        with torch.autocast(device, enabled=False):  # sparse CSR products know float32 only
            return self.conv({kind: x.float() for kind, x in x_dict.items()}, adj_t_dict)
