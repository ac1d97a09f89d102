"""Which of the processes this is that `torchrun` started to train together; on its own it is the first of one."""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def world() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched() else 1


def everybodys(values: Tensor) -> Tensor:
    """What all processes have, one after the other: [n, ...] each, of any n."""
    if world() == 1:
        return values
    parts: list[Tensor] = [values] * world()
    dist.all_gather_object(parts, values.cpu())
    return torch.cat(parts).to(values.device)


def require(*, devices: int, num_nodes: int) -> None:
    """Raises ValueError unless as many processes were started as the configuration asks for."""
    asked = devices * num_nodes
    if world() != asked:
        raise ValueError(
            f"trainer.devices={devices} and trainer.num_nodes={num_nodes} ask for {asked} processes, and there are "
            f"{world()}; start them with torchrun --nnodes={num_nodes} --nproc_per_node={devices} scripts/train.py ..."
        )


def _is_launched() -> bool:
    return dist.is_available() and dist.is_torchelastic_launched()
