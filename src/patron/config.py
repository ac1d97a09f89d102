"""The root config. Hydra composes YAML; `load` turns it into frozen dataclasses once and says everything that is wrong with it.

After that nobody imports omegaconf. Each component's config stands beside the component; every value appears once, in YAML.
"""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as config_dataclass
from rich.console import Console
from rich.logging import RichHandler

from patron.estimators import EstimatorConfig
from patron.features.asof import FeatureConfig
from patron.graph.build import GraphConfig
from patron.tables.sources import DataConfig
from patron.task.ltv import TaskConfig
from patron.task.split import SplitConfig
from patron.training.module import TrainerConfig

T = TypeVar("T")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvaluationConfig:
    """Bootstrap replicates, and the estimator that the others are compared with."""

    n_boot: Annotated[int, Field(ge=0)]
    reference: str


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """One experiment: data, task, split, and the estimators that are fitted to it, once a seed. Its runs are in `runs/name`."""

    name: str
    data: DataConfig
    task: TaskConfig
    split: SplitConfig
    features: FeatureConfig
    graph: GraphConfig
    trainer: TrainerConfig
    estimators: Annotated[Mapping[str, EstimatorConfig], Field(min_length=1)]
    evaluation: EvaluationConfig
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    runs: Path
    force: bool
    ckpt_path: Path | None


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BenchmarkConfig(Config):
    """An experiment whose table is kept: as `results/name.csv`, and in the README if that has its markers."""

    results: Path
    readme: Path | None


class ConfigError(ValueError):
    """The message names every key or value that is wrong, one a line."""


def load(composed: DictConfig | Mapping[str, Any], *, schema: type[T]) -> T:
    """`composed` as a `schema`. Raises ConfigError with all mistakes at once."""
    plain = OmegaConf.to_container(composed, resolve=True) if isinstance(composed, DictConfig) else dict(composed)
    try:
        return TypeAdapter(schema).validate_python(plain)
    except ValidationError as error:
        mistakes = [_mistake(one, plain) for one in error.errors()]
        raise ConfigError(f"the configuration has {len(mistakes)} mistake(s):\n" + "\n".join(mistakes)) from None


def dump(config: Any) -> dict[str, Any]:
    """The config as plain YAML values: `load` of it gives an equal config."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def entry(task: Callable[[Any], None], *, schema: type, configs: Path, name: str) -> None:
    """Run a script: compose `configs/name.yaml` with the command line, check it, call `task`. A user's mistake exits with 1, in a line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True), show_path=False)])
    logging.getLogger("patron").setLevel(logging.INFO)
    sys.argv[1:] = [_lenient(argument, configs) for argument in sys.argv[1:]]

    def checked(composed: DictConfig) -> None:
        try:
            task(load(composed, schema=schema))
        except (ValueError, OSError) as error:
            if os.environ.get("HYDRA_FULL_ERROR"):
                raise
            print(f"error: {error}\n(HYDRA_FULL_ERROR=1 shows where)", file=sys.stderr)
            sys.exit(1)

    hydra.main(version_base=None, config_path=str(configs.resolve()), config_name=name)(checked)()


def _lenient(argument: str, configs: Path) -> str:
    # Hydra stops at the first unknown key. Forced in, it reaches `load`, which names all of them and what was meant.
    match = re.match(r"([A-Za-z_][\w.]*)=", argument)
    if match is None or match[1].startswith("hydra") or (configs / match[1].replace(".", "/")).is_dir():
        return argument
    return f"++{argument}"


def _mistake(error: Mapping[str, Any], plain: Any) -> str:
    path, parent = _walk(error["loc"], plain)
    where = ".".join(path) or "(root)"
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            siblings = [key for key in parent if key != path[-1]] if isinstance(parent, Mapping) else []
            near = difflib.get_close_matches(path[-1], [str(key) for key in siblings], n=1, cutoff=0.6)
            meant = f"did you mean '{near[0]}'?" if near else f"allowed here: {', '.join(sorted(map(str, siblings)))}"
            return f"  {where}: no such key; {meant}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"  {where}: missing; give it a value"
        case "union_tag_invalid":
            return f"  {where}: name '{error['ctx']['tag']}' is not one of {error['ctx']['expected_tags']}"
    return f"  {where}: {error['msg'].removeprefix('Value error, ')} (it is {error['input']!r})"


def _walk(location: Sequence[Any], plain: Any) -> tuple[list[str], Any]:
    # pydantic puts the tag of a union into the path; YAML has no such level.
    path: list[str] = []
    parent = here = plain
    for step in location:
        if isinstance(here, Mapping) and step not in here and here.get("name") == step:
            continue
        parent = here
        here = here[step] if (isinstance(here, Mapping) and step in here) or (isinstance(here, list) and isinstance(step, int)) else None
        path.append(str(step))
    return path, parent
