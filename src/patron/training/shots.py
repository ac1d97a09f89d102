"""What one step learns from: a whole snapshot, or trees sampled from one, of some of its customers.

Processes that train together draw the same customers, and each learns from those of its own, or holds a part of the
snapshot; DDP takes the mean of their gradients, so that a step is the one that a single process would take.
"""

import copy
from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch_geometric.data import HeteroData
from torch_geometric.loader import NodeLoader

from patron.graph.sampler import How, TemporalSampler
from patron.graph.shards import shard, take_labels
from patron.graph.snapshot import of_trees
from patron.training.ranks import rank, world


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SamplingConfig:
    """At most `hops[h]` edges of each type for every node that hop h reaches, the `last` ones or drawn (`uniform`), for
    `batch_size` customers a step."""

    hops: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)]
    how: How
    batch_size: Annotated[int, Field(gt=0)]


class Shots(Protocol):
    """So many snapshots to learn from; `draw` gives what step number `step` learns from the k-th."""

    def __len__(self) -> int: ...
    def draw(self, k: int, *, step: int) -> HeteroData: ...


class Whole:
    """Each snapshot as it is, or what this process holds of it: the same for every step."""

    def __init__(self, shots: Sequence[HeteroData]) -> None:
        self.shots = held(shots)

    def __len__(self) -> int:
        return len(self.shots)

    def draw(self, k: int, *, step: int) -> HeteroData:
        """The k-th snapshot."""
        return copy.copy(self.shots[k])


def held(shots: Sequence[HeteroData]) -> list[HeteroData]:
    """What this process holds of each snapshot: all, or a shard, whose `share` says how much that is."""
    parts = [copy.copy(shot) if world() == 1 else shard(shot, rank=rank(), world=world()) for shot in shots]
    for part, shot in zip(parts, shots, strict=True):
        part["customer"].share = len(part["customer"].rows) * world() / len(shot["customer"].rows)
    return parts


class Sampled:
    """Trees of some of the `rows` of each snapshot, sampled from the timed graph (`both_ways`) that it was made of, in
    the time of its cutoff `now`. What a step draws depends on seed and step alone, so it survives a resume."""

    def __init__(
        self, shots: Sequence[HeteroData], timed: Sequence[HeteroData], *, config: SamplingConfig,
        half_life_days: float, seed: int,
    ) -> None:  # fmt: skip
        self.shots, self.config, self.half_life_days, self.seed = shots, config, half_life_days, seed
        self.generator = torch.Generator()
        self.loaders = [self._loader(shot, data) for shot, data in zip(shots, timed, strict=True)]

    def __len__(self) -> int:
        return len(self.shots)

    def draw(self, k: int, *, step: int) -> HeteroData:
        """The trees of `batch_size` customers of the k-th snapshot, or of all of them if there are no more."""
        number, rng = len(self.shots[k]["customer"].rows), np.random.default_rng([self.seed, step])
        drawn, share = _mine(rng.choice(number, min(self.config.batch_size, number), replace=False))
        self.generator.manual_seed(int(rng.integers(2**63)))
        trees = of_trees(self.loaders[k](drawn.tolist()), self.shots[k], half_life_days=self.half_life_days)
        trees["customer"].rows, trees["customer"].share = torch.arange(len(drawn)), share
        take_labels(trees, self.shots[k], drawn)
        return trees

    def _loader(self, shot: HeteroData, data: HeteroData) -> NodeLoader:
        rows = shot["customer"].rows
        sampler = TemporalSampler(data, hops=self.config.hops, how=self.config.how, generator=self.generator)
        return NodeLoader(
            data, node_sampler=sampler, input_nodes=("customer", rows), input_time=torch.full_like(rows, shot.now)
        )


def _mine(drawn: np.ndarray) -> tuple[np.ndarray, float]:
    """Of what all processes draw, what this one learns from, and how much more than the average process that is."""
    mine = drawn[rank() :: world()]
    return mine, len(mine) * world() / len(drawn)
