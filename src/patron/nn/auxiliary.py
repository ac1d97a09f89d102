"""What else is learned beside the prediction: spend at other horizons, which shares the readout with it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss


class Auxiliary(nn.Module):
    """Huber loss of log1p of spend at `number` other horizons, in standard deviations of each. Where a window is still
    open the target is NaN and counts for nothing. Caruana 1997."""

    loc: Tensor
    scale: Tensor

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.register_buffer("loc", torch.zeros(number))
        self.register_buffer("scale", torch.ones(number))

    def start_at(self, target: Tensor) -> Tensor:
        """The outputs [H] that predict the averages of what is known of `target` [B, H], log1p of spend."""
        for place, column in enumerate(target.T):
            known = column[~column.isnan()]
            if len(known) > 1:
                self.loc[place], self.scale[place] = known.mean(), known.std().clamp_min(1e-3)
        return torch.zeros(self.number)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Outputs [B, H], log1p of spend [B, H] -> mean loss [] of what is known; 0 of nothing."""
        known = ~target.isnan()
        if not known.any():
            return out.sum() * 0
        return huber_loss(out[known], ((target - self.loc) / self.scale)[known])
