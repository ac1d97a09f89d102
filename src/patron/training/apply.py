"""What a model says of snapshots, and whether that is anything at all."""

import copy
import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.graph.snapshot import incoming
from patron.nn.heads import as_numpy
from patron.nn.model import LTVModel

log = logging.getLogger("patron")
AT_ONCE = 2**16  # nodes, of which messages are held where nothing is learned
COLLAPSED = 0.02  # standard deviation of predictions, in units of that of log1p of spend


def said(model: LTVModel, shot: HeteroData, *, size: int | None = None) -> Tensor:
    """Outputs of the head for the `rows` of a snapshot, added to their `offset` [B, head.out] if it carries one:
    [B, head.out]; messages of `size` nodes at a time."""
    return said_of_all_horizons(model, shot, size=size)[0]


def said_of_all_horizons(model: LTVModel, shot: HeteroData, *, size: int | None = None) -> tuple[Tensor, Tensor]:
    """What is `said`, and the same at the other horizons: [B, head.out], [B, H]."""
    store, width = shot["customer"], model.head.out
    out = model(shot.x_dict, incoming(shot), size=size)[store.rows]
    of_head = out[:, :width] + store.offset if "offset" in store else out[:, :width]
    return of_head, out[:, width:]


@torch.no_grad()
def outputs(model: LTVModel, shots: Sequence[HeteroData]) -> Tensor:
    """What the model says of the `rows` of all snapshots, dropout off: [sum of B, head.out]."""
    return _of_rows(model, shots, partial(said, model, size=AT_ONCE))


@torch.no_grad()
def embedded(model: LTVModel, shots: Sequence[HeteroData]) -> Tensor:
    """What the readout knows of the `rows` of all snapshots, dropout off: [sum of B, channels]."""
    return _of_rows(
        model, shots, lambda shot: model.embed(shot.x_dict, incoming(shot), size=AT_ONCE)[shot["customer"].rows]
    )


def _of_rows(model: LTVModel, shots: Sequence[HeteroData], of: Callable[[HeteroData], Tensor]) -> Tensor:
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([of(copy.copy(shot).to(device)) for shot in shots])


def warn_if_collapsed(model: LTVModel, out: Tensor) -> bool:
    """Whether the predictions are all but constant; if so, say it and name the mends."""
    spread = float(np.std(as_numpy(model.head.location(out)))) / float(model.head.scale)
    collapsed = not spread >= COLLAPSED  # NaN is the worst collapse
    if collapsed:
        log.warning(
            "the GNN has collapsed: its predictions vary by %.4f standard deviations of the target, so they rank "
            "nobody; lower trainer.learning_rate, try the other head, or check the features", spread
        )  # fmt: skip
    return collapsed
