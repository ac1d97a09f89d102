"""The root config. Hydra composes YAML; `load` turns it into frozen dataclasses, or says all that is wrong with it.

After that nobody imports omegaconf. Each component's config stands beside the component; every value appears once, in
YAML.
"""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as config_dataclass
from rich.console import Console
from rich.logging import RichHandler
from yaml import YAMLError

from patron.estimators import EstimatorConfig, Setting
from patron.features.asof import FeatureConfig
from patron.graph.build import GraphConfig
from patron.tables.schema import known_tables
from patron.tables.sources import DataConfig
from patron.tables.worlds.truth import Truth
from patron.task.ltv import TaskConfig
from patron.task.pql import PQLError, PQLText, Query, compile
from patron.task.split import SplitConfig
from patron.training.config import TrainerConfig
from patron.training.ranks import rank

T = TypeVar("T")
QUERIES = ("query", "task.query")  # keys that hold PQL


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvaluationConfig:
    """Bootstrap replicates, the estimator that the others are compared with, and the three between which gains lie: the
    floor, the ceiling, and what is attainable from the past."""

    n_boot: Annotated[int, Field(ge=0)]
    reference: str
    floor: str
    ceiling: str
    attainable: str


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """One experiment: data, task, split, and the estimators fitted to it, once a seed. Its runs are in `runs/name`.

    `tables` are those that estimators may see, beside customers and orders; null is all. Labels are made from all. A
    `query` says what the task is, and with USING what the tables are; it wins over both.
    """

    name: Annotated[str, Field(min_length=1)]
    data: DataConfig
    tables: Annotated[tuple[str, ...], AfterValidator(known_tables)] | None
    task: TaskConfig
    query: PQLText | None
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

    def __post_init__(self) -> None:
        text = self.query or self.task.query
        if text is not None:
            self._follow(compile(text))

    def setting(
        self, folder: Path, *, seed: int | None = None, ckpt_path: Path | None = None, world: Truth | None = None
    ) -> Setting:
        """What an estimator is built with, by default at the first seed."""
        seed = self.seeds[0] if seed is None else seed
        return Setting(
            self.features, self.graph, self.trainer, seed=seed, folder=folder, ckpt_path=ckpt_path, world=world
        )

    def _follow(self, query: Query) -> None:
        object.__setattr__(self, "query", query.text)
        object.__setattr__(self, "task", replace(self.task, query=query.text))
        if query.tables is not None:
            object.__setattr__(self, "tables", query.tables)
            object.__setattr__(self, "graph", replace(self.graph, tables=query.graph))  # type: ignore[arg-type]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BenchmarkConfig(Config):
    """An experiment whose table is kept: as `results/name.csv`, and in the README if that has its markers. With
    `controls` a GNN beside the reference is fitted twice more, on no graph and on another one, to the last test."""

    controls: bool
    results: Path
    readme: Path | None


class ConfigError(ValueError):
    """The message names every key or value that is wrong, one a line."""


def load(composed: DictConfig | Mapping[str, Any], *, schema: type[T]) -> T:
    """`composed` as a `schema`. Raises ConfigError with all mistakes at once."""
    wrong: dict[str, str] = {}
    plain = _resolved(composed, wrong=wrong) if isinstance(composed, DictConfig) else dict(composed)
    try:
        config = TypeAdapter(schema).validate_python(plain)
    except ValidationError as error:
        for where, what in (_mistake(one, plain, schema=schema) for one in error.errors()):
            wrong.setdefault(where, what)
    if wrong:
        lines = [f"  {where}: {what}" for where, what in wrong.items()]
        raise ConfigError(f"the configuration has {len(lines)} mistake(s):\n" + "\n".join(lines))
    return config


def load_experiment(name: str, *, overrides: Sequence[str]) -> Config:
    """The experiment `name` with LightGBM alone and what `overrides` change, from the configs of the script that runs:
    call it inside `entry`. Raises ConfigError, or Hydra's own for a name or override that it does not know."""
    words = [f"experiment={name}", "estimator=[lightgbm]", *overrides]
    return load(hydra.compose("config", overrides=words), schema=Config)


def dump(config: Any) -> dict[str, Any]:
    """The config as plain YAML values: `load` of it gives an equal config."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def entry(task: Callable[[Any], None], *, schema: type, configs: Path, name: str) -> None:
    """Run a script: compose `configs/name.yaml` with the command line, check it, call `task`.

    A user's mistake exits with 1 and one message; HYDRA_FULL_ERROR=1 in the environment shows the traceback.
    """
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("patron").setLevel(logging.INFO if rank() == 0 else logging.ERROR)  # all would say the same
    sys.argv[1:] = [_lenient(argument, configs) for argument in sys.argv[1:]]
    traceback = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises then; else it prints a traceback for a slip in somebody's YAML

    def checked(composed: DictConfig) -> None:
        with _said(configs, traceback=traceback):
            task(load(composed, schema=schema))

    with _said(configs, traceback=traceback):
        hydra.main(version_base=None, config_path=str(configs.resolve()), config_name=name)(checked)()


@contextmanager
def _said(configs: Path, *, traceback: bool) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, HydraException, OmegaConfBaseException, YAMLError) as error:
        if traceback:
            raise
        print(f"error: {_message(error, configs)}\n(HYDRA_FULL_ERROR=1 shows where)", file=sys.stderr)
        sys.exit(1)


def _message(error: Exception, configs: Path) -> str:
    if isinstance(error, MissingConfigException) and "/" in (error.missing_cfg_file or ""):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = error.options or [file.stem for file in (configs / group).glob("*.yaml")]
        return f"{group} has no '{option}'; it has {', '.join(sorted(options))}"
    told = [error, error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [error]
    return "\n".join(map(str, told)).strip()


def _lenient(argument: str, configs: Path) -> str:
    # Hydra stops at the first unknown key. Forced in, it reaches `load`, which names all of them and what was meant.
    match = re.match(r"([A-Za-z_][\w.]*)=", argument)
    if match is None or match[1].startswith("hydra") or (configs / match[1].replace(".", "/")).is_dir():
        return argument
    if match[1] in QUERIES:
        return f"++{match[1]}={_in_quotes(argument[match.end() :])}"
    return f"++{argument}"


def _in_quotes(value: str) -> str:
    # A query as it is typed; Hydra would take its brackets, commas and signs for its own.
    if not re.match(r"predict\b", value.strip(), flags=re.IGNORECASE):
        return value
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2].replace('"', '\\"'), value)
    return f'"{escaped}"'


def _resolved(node: Any, *, wrong: dict[str, str], path: tuple[str, ...] = ()) -> Any:
    # The plain values of `node`, without those that have none, of which `wrong` says why.
    if not isinstance(node, DictConfig | ListConfig):
        return node
    values: dict[Any, Any] = {}
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        where = (*path, str(key))
        try:
            values[key] = _resolved(node[key], wrong=wrong, path=where)
        except MissingMandatoryValue:
            wrong[".".join(where)] = _no_value(".".join(where))
        except OmegaConfBaseException as error:
            wrong[".".join(where)] = f"{str(error).splitlines()[0]}; write a value, or ${{the path of another key}}"
    return values if isinstance(node, DictConfig) else list(values.values())


def _mistake(error: Mapping[str, Any], plain: Any, *, schema: Any) -> tuple[str, str]:
    # Where it is, and what to write there instead.
    path, parent = _walk(error["loc"], plain)
    where, given, context = ".".join(path) or "(root)", error["input"], error.get("ctx", {})
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return where, f"no such key; {_allowed(path, _keys(schema, error['loc'], name=parent.get('name')))}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return where, _no_value(where)
        case "union_tag_invalid":
            expected = re.findall(r"'(.*?)'", context["expected_tags"])
            return f"{where}.name", f"there is no '{context['tag']}'; {_allowed([context['tag']], expected)}"
        case "union_tag_not_found":
            others = [key for key, value in parent.items() if isinstance(value, Mapping) and "name" in value]
            return where, f"it has no name to say what it is; {_allowed(path, others)}"
        case "tuple_type" | "list_type":
            return where, f"should be a list; write [{given}]"
        case kind if kind.startswith("date_"):
            return where, f"'{given}' is no date; write it as year-month-day, for example 2017-10-01"
        case "value_error" if isinstance(context["error"], PQLError):
            return where, str(context["error"])  # it shows the query itself
    return where, f"{error['msg'].removeprefix('Value error, ')} (it is {given!r})"


def _no_value(where: str) -> str:
    return f"has no value; write {where}=... on the command line, or set it in YAML"


def _allowed(path: Sequence[str], keys: Iterable[Any]) -> str:
    if list(path) == ["experiment"]:
        return "the first line of an experiment's file must be '# @package _global_'"
    near = difflib.get_close_matches(path[-1], names := sorted(map(str, keys)), n=1)
    return f"did you mean '{near[0]}'?" if near else f"allowed here: {', '.join(names)}"


def _keys(schema: Any, location: Sequence[Any], *, name: Any) -> set[str]:
    # The keys that the config classes have at `location`; of a union, those of the class called `name`.
    kinds = [schema]
    for step in location[:-1]:
        fields = [kind.__pydantic_fields__[step] for kind in kinds if step in kind.__pydantic_fields__]
        kinds = [kind for field in fields for kind in _classes(field.annotation)] or kinds
    called = [kind for kind in kinds if name in get_args(kind.__annotations__.get("name"))]
    return {key for kind in called or kinds for key in kind.__pydantic_fields__}


def _classes(annotation: Any) -> list[Any]:
    if is_dataclass(annotation):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _classes(inner)]


def _walk(location: Sequence[Any], plain: Any) -> tuple[list[str], Any]:
    # pydantic's path also names the member of a union, which is no level of the YAML.
    path: list[str] = []
    parent = here = plain
    for step in location:
        if isinstance(here, list) and isinstance(step, int):
            parent, here = here, here[step]
        elif isinstance(here, Mapping) and (step in here or here.get("name") != step):
            parent, here = here, here.get(step)
        else:
            continue
        path.append(str(step))
    return path, parent
