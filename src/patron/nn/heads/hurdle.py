"""What the heads share that say apart whether a customer spends and how much."""

import numpy as np
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


def conditional_level(levels: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Where the quantiles of the whole at `levels` [L] stand among those of payers, who are a share `p` [B, 1]: [B, L],
    0 where the whole is still at 0."""
    return np.clip((levels - (1 - p)) / np.maximum(p, 1e-12), 0, 1)
