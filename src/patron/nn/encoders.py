"""Per-type node encoders: what a node is, in `channels` numbers."""

from collections.abc import Mapping

from torch import Tensor, nn


class NodeEncoders(nn.Module):
    """One linear map, LayerNorm and ReLU a node type; types differ in what is known of them, not in what comes out."""

    def __init__(self, widths: Mapping[str, int], *, channels: int) -> None:
        super().__init__()
        # A type of which nothing is known has width 0 and becomes one learned vector, the bias.
        self.by_type = nn.ModuleDict(
            {
                kind: nn.Sequential(nn.Linear(width, channels), nn.LayerNorm(channels), nn.ReLU())
                for kind, width in widths.items()
            }
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            linear.reset_parameters()
            nn.init.zeros_(linear.bias)

    def forward(self, x_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{type: [N, width]} -> {type: [N, channels]}."""
        return {kind: encode(x_dict[kind]) for kind, encode in self.by_type.items() if kind in x_dict}
