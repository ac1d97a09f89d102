"""The model: node encoders, hops over the purchase graph, and a head that also sees the customer's own features by a
skip."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor, nn

from patron.graph.edges import EdgeType
from patron.graph.snapshot import Incoming
from patron.nn.auxiliary import Auxiliary
from patron.nn.encoders import NodeEncoders
from patron.nn.gnn import HeteroSAGE, reach
from patron.nn.heads import HeadConfig, build_head
from patron.nn.numeric import Numeric, NumericEncoder


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ModelConfig:
    """Width, depth in hops, dropout of hidden units and of the customers' own features, the encoder of these, head, and
    the weight of the loss at other horizons, if the task has some."""

    channels: Annotated[int, Field(gt=0)]
    num_layers: Annotated[int, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    input_dropout: Annotated[float, Field(ge=0, lt=1)]
    numeric: Numeric
    head: HeadConfig
    auxiliary_weight: Annotated[float, Field(ge=0)]


class LTVModel(nn.Module):
    """Customers of a snapshot -> outputs of the head.

    The engineered features reach the head three times: through the graph, past it into the readout, and by one linear
    map straight to the outputs, "wide and deep" (Cheng et al. 2016), so that the graph can only add.
    """

    def __init__(
        self, widths: Mapping[str, int], edge_types: Sequence[EdgeType], *, config: ModelConfig, horizons: int = 0
    ) -> None:
        super().__init__()
        channels = config.channels
        self.numeric = NumericEncoder(config.numeric, columns=widths["customer"], dropout=config.input_dropout)
        widths = {**widths, "customer": self.numeric.width}
        with warnings.catch_warnings():
            # PyG warns of types without incoming edges, which have a self path, torch of types without features.
            warnings.simplefilter("ignore", UserWarning)
            heard = reach(edge_types, num_layers=config.num_layers)[0]
            self.encoders = NodeEncoders(
                {kind: width for kind, width in widths.items() if kind in heard}, channels=channels
            )
            self.gnn = HeteroSAGE(edge_types, channels=channels, num_layers=config.num_layers, dropout=config.dropout)
        self.skip = nn.Linear(widths["customer"], channels)
        self.head = build_head(config.head)
        self.readout = nn.Sequential(
            nn.LayerNorm(2 * channels), nn.Linear(2 * channels, channels), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.auxiliary, self.auxiliary_weight = Auxiliary(horizons), config.auxiliary_weight
        self.out = nn.Linear(channels, self.head.out + horizons)
        self.wide = nn.Linear(widths["customer"], self.head.out + horizons, bias=False)

    @torch.no_grad()
    def start_at(self, target: Tensor, *, auxiliary: Tensor | None = None) -> None:
        """Before training, every customer is predicted what `target` [B], log1p of spend, is on average, and at the
        other horizons what `auxiliary` [B, H] is. Offsets come on top of that."""
        self.out.weight.mul_(0.1)
        self.wide.weight.zero_()
        others = self.auxiliary.start_at(torch.empty(0, self.auxiliary.number) if auxiliary is None else auxiliary)
        self.out.bias.copy_(torch.cat([self.head.start_at(target), others]))

    @torch.no_grad()
    def start_at_offset(self) -> None:
        """Before training, every customer is predicted what the offset says: the net is a correction that is 0."""
        self.out.weight[: self.head.out].zero_()
        self.out.bias[: self.head.out].zero_()

    def embed(
        self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None = None
    ) -> Tensor:
        """{type: [N, width]}, {edge: what comes in} -> one embedding a customer [N, channels]; messages of `size` nodes
        at a time."""
        return self._read({**x_dict, "customer": self.numeric(x_dict["customer"])}, edges, size=size)

    def forward(
        self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None = None
    ) -> Tensor:
        """{type: [N, width]}, {edge: what comes in} -> outputs of the head, then of the other horizons: [N, head.out +
        H]; messages of `size` nodes at a time."""
        own = self.numeric(x_dict["customer"])
        return self.out(self._read({**x_dict, "customer": own}, edges, size=size)) + self.wide(own)

    def _read(self, x_dict: Mapping[str, Tensor], edges: Mapping[EdgeType, Incoming], *, size: int | None) -> Tensor:
        graph = self.gnn(self.encoders(x_dict), edges, size=size)  # [N, channels]
        return self.readout(torch.cat([graph, self.skip(x_dict["customer"])], dim=1))
