"""What the heads share that say apart whether a customer spends and how much."""

import torch
from torch import Tensor


def payers(target: Tensor) -> Tensor:
    """Those of `target` [B] above 0; all of them where fewer than two are, so that there is a scale."""
    above = target[target > 0]
    return above if len(above) > 1 else target


def hurdle_logit(target: Tensor) -> Tensor:
    """The logit of the share of `target` [B] above 0, [], finite also where nobody or everybody is."""
    pays = (target > 0).sum()
    return torch.log((pays + 0.5) / (len(target) - pays + 0.5))
