"""The same data and folds, other configurations: what each table, relation or group of features is worth; and the same
world with other values of one of its keys: what cross-customer signal, or a shift, does to each estimator. Differences
are paired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config
from patron.estimators import GNNConfig, OracleConfig
from patron.features.asof import design, specify
from patron.features.groups import Group, group_of
from patron.graph.build import build
from patron.graph.edges import Relation
from patron.pipeline import Experiment, Variant, compare, prepare
from patron.tables.schema import REQUIRED_TABLES, TABLES
from patron.tables.worlds.config import WorldConfig
from patron.task.pql import compile
from patron.task.split import TemporalConfig

EVERYTHING = "everything"
REFERENCE = "lightgbm"  # of a sweep
SHIFT = "data.calendar.shift"


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AblationConfig(Config):
    """An experiment whose single estimator is fitted again without one table, relation or group of features each.

    Null leaves out one at a time of those that the data have, [] none. Relations are for the GNN alone.
    """

    leave_out_tables: tuple[str, ...] | None
    leave_out_relations: tuple[Relation, ...] | None
    leave_out_groups: tuple[Group, ...] | None
    results: Path


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SweepConfig(Config):
    """An experiment on a world that is made again with each of these `values` of one `key` of its configuration, such
    as data.communities.graph_signal. With `co_shoppers` a GNN runs with the co-shopper edges alone, too."""

    key: str
    values: Annotated[tuple[float, ...], Field(min_length=1)]
    co_shoppers: bool
    results: Path

    @property
    def column(self) -> str:
        """What the results call the value: the last word of the key."""
        return self.key.rpartition(".")[2]


def ablated(config: AblationConfig) -> str:
    """The one estimator that an ablation fits again; an oracle may stand beside it, which needs no table. Raises
    ValueError if there are more."""
    fitted = [name for name, estimator in config.estimators.items() if not isinstance(estimator, OracleConfig)]
    if len(fitted) != 1:
        raise ValueError(f"an ablation is of one estimator, not {sorted(fitted)}; give estimator=[gnn]")
    return fitted[0]


def ablate(config: AblationConfig) -> pd.DataFrame:
    """The long table of `evaluate` with the estimator as it is (`everything`) and without each part.

    Raises ValueError unless there is exactly one estimator, and for a query that says which tables there are.
    """
    name = ablated(config)
    config = replace(config, estimators={name: config.estimators[name]})
    if config.leave_out_tables != () and config.query and compile(config.query).tables is not None:
        raise ValueError("USING fixes the tables, so none can be left out; drop it, or give leave_out_tables=[]")
    experiment = prepare(config)
    return compare(experiment, list(_left_out(experiment, config)), reference=EVERYTHING)


def sweep(config: SweepConfig) -> pd.DataFrame:
    """The long tables of every estimator at every value, with the value in the column `config.column`. Raises
    ValueError, before anything runs, unless the data are a world that has the key and can take all values, and the
    reference is among the estimators."""
    if not isinstance(config.data, WorldConfig):
        raise ValueError(f"only a made-up world can be made again, not {config.data.name}; take data=shop")
    if REFERENCE not in config.estimators:
        raise ValueError(f"a sweep compares with {REFERENCE}, not among {sorted(config.estimators)}; add it")
    worlds = {value: _with_value(config.data, key=config.key, value=value) for value in config.values}
    parts = []
    for value, data in worlds.items():
        here = replace(config, data=data, name=f"{config.name}/{value:g}")
        variants = list(_with_relations(here))
        results = compare(prepare(here), variants, reference=REFERENCE)
        parts.append(results.assign(**{config.column: value}))
    return pd.concat(parts, ignore_index=True)


def stress(config: SweepConfig) -> pd.DataFrame:
    """The sweep over a shift of level that begins at the only test cutoff, so that nothing in the past shows it. Raises
    ValueError for any other key, or a day on which it shows too early or too late."""
    data, split = config.data, config.split
    if config.key != SHIFT or not isinstance(split, TemporalConfig) or len(split.test) != 1:
        raise ValueError(f"a stress test is of {SHIFT}, with a temporal split of one test; write key={SHIFT}")
    if isinstance(data, WorldConfig):
        (test,) = split.test
        begins, wanted = data.calendar.start + timedelta(data.calendar.shift_day), (test - data.calendar.start).days
        if begins != test:
            raise ValueError(
                f"the shift begins on {begins}, not at the test cutoff {test}; write data.calendar.shift_day={wanted}"
            )
    return sweep(config)


def _with_value(data: WorldConfig, *, key: str, value: float) -> WorldConfig:
    first, *path = key.split(".")
    if first != "data" or not path:
        raise ValueError(f"key: a sweep is over a key of the world, not '{key}'; write for example {SHIFT}")
    try:
        return _put(data, path, value, key=key)
    except ValidationError as error:
        raise ValueError(f"values: {value:g} is no {key}: {error.errors()[0]['msg']}") from error


def _put(node: Any, path: Sequence[str], value: float, *, key: str) -> Any:
    name, *rest = path
    names = [field.name for field in fields(node)] if is_dataclass(node) else []
    if name not in names:
        raise ValueError(f"key: the world has no {key}; in place of '{name}' there are {', '.join(names) or 'none'}")
    return replace(node, **{name: _put(getattr(node, name), rest, value, key=key) if rest else value})


def _left_out(experiment: Experiment, config: AblationConfig) -> Iterator[Variant]:
    (name,) = config.estimators
    yield Variant(EVERYTHING, config, name)
    for label, changed in _parts(experiment, config):
        folder = f"{config.name}/without_{label.replace(' ', '_')}"
        yield Variant(f"without {label}", replace(changed, name=folder), name)


def _parts(experiment: Experiment, config: AblationConfig) -> Iterator[tuple[str, AblationConfig]]:
    seen = experiment.db.only(config.tables)
    with_rows = [table for table in TABLES if table not in REQUIRED_TABLES and seen[table].num_rows]
    for table in _chosen(config.leave_out_tables, with_rows, what="tables"):
        yield table, replace(config, tables=tuple(name for name in with_rows if name != table))
    for relation in _chosen(config.leave_out_relations, _relations(experiment), what="relations"):
        kept = tuple(name for name in config.graph.relations if name != relation)
        yield relation, replace(config, graph=replace(config.graph, relations=kept))
    for group in _chosen(config.leave_out_groups, _groups(experiment), what="groups"):
        groups = tuple(name for name in config.features.groups if name != group)
        yield f"features {group}", replace(config, features=replace(config.features, groups=groups))


def _chosen(wanted: Sequence[str] | None, present: Sequence[str], *, what: str) -> Sequence[str]:
    unknown = sorted(set(wanted or ()) - set(present))
    if unknown:
        there = ", ".join(present) or "none"
        raise ValueError(f"leave_out_{what}: {unknown} are not there to be left out; there are {there}")
    return present if wanted is None else list(dict.fromkeys(wanted))


def relations_with_edges(experiment: Experiment) -> tuple[Relation, ...]:
    """The relations of the configured graph that have an edge before the last test."""
    config = experiment.config
    past = experiment.db.only(config.tables).upto(experiment.folds[-1].cutoff)
    there = {relation for _, relation, _ in build(past, config=config.graph).edge_types}
    return tuple(relation for relation in config.graph.relations if relation in there)


def _relations(experiment: Experiment) -> Sequence[Relation]:
    estimators = experiment.config.estimators.values()
    return relations_with_edges(experiment) if any(isinstance(one, GNNConfig) for one in estimators) else ()


def _groups(experiment: Experiment) -> list[str]:
    fold, config = experiment.folds[-1], experiment.config
    past = experiment.db.only(config.tables).upto(fold.cutoff)
    spec = specify(past, config=config.features, horizon=fold.test.horizon, cutoffs=fold.refit.cutoffs)
    found = {group_of(str(column)) for column in design(past, rows=fold.test, spec=spec)}
    groups: list[str] = [group for group in config.features.groups if group in found]
    return groups if len(groups) > 1 else []  # without the only one there would be no features


def _with_relations(config: SweepConfig) -> Iterator[Variant]:
    for name, estimator in config.estimators.items():
        yield Variant(name, config, name)
        if config.co_shoppers and isinstance(estimator, GNNConfig):
            alone = replace(config.graph, relations=("co_shopper",))
            yield Variant(f"{name}_co_shoppers", replace(config, graph=alone, name=f"{config.name}/co_shoppers"), name)


def advantages(results: pd.DataFrame, *, reference: str, column: str = "graph_signal") -> pd.DataFrame:
    """`estimator, value, lo, hi` of the paired differences in Spearman to the reference, over all folds and seeds, and
    the value of the swept `column`, if the results have it."""
    metric = f"spearman_minus_{reference}"
    rows = results[(results["metric"] == metric) & (results["slice"] == "all") & (results["fold"] == "mean")]
    kept: Mapping[str, None] = dict.fromkeys([column, "estimator", "value", "lo", "hi", "n"])
    return rows[[name for name in kept if name in rows]].reset_index(drop=True)
