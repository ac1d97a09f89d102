"""Where and how long to train."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.training.shots import SamplingConfig


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrainerConfig:
    """Where and how long to train. A check is a look at the validation rows, every `steps_per_check` steps, by weights
    that are averaged over the steps, each counting `weight_averaging` times as much as the next.

    `devices` on each of `num_nodes` machines train together, one process each, which torchrun starts.
    A step learns from a whole snapshot or, with `sampling`, from trees sampled for some of its customers, for graphs
    whose messages do not fit."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Annotated[int, Field(gt=0)]
    num_nodes: Annotated[int, Field(gt=0)]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    max_steps: Annotated[int, Field(gt=0)]
    steps_per_check: Annotated[int, Field(gt=0)]
    patience: Annotated[int, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    gradient_clip: Annotated[float, Field(gt=0)]
    weight_averaging: Annotated[float, Field(ge=0, lt=1)]
    sampling: SamplingConfig | None
    progress: bool
