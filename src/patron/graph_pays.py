"""Does the graph pay? LightGBM, the net on the graph, and the same net on less of it, none of it, or another one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config
from patron.graph.build import GraphConfig
from patron.graph.edges import Relation
from patron.pipeline import Variant, compare, prepare
from patron.reporting.graph_page import CONTRASTS, NET, OURS, REFERENCE
from patron.reporting.verdict import CONTROLS
from patron.variants import relations_with_edges


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GraphPaysConfig(Config):
    """An experiment whose graph models are fitted again on controls of the graph; table and page go to `results`."""

    results: Path


def graph_pays(config: GraphPaysConfig) -> pd.DataFrame:
    """The long table of `evaluate` of all estimators and controls, paired with LightGBM and as `CONTRASTS` asks.

    Raises ValueError unless both sides of the verdict are among the estimators.
    """
    missing = [name for name in (REFERENCE, OURS) if name not in config.estimators]
    if missing:
        there = ",".join([*config.estimators, *missing])
        raise ValueError(f"the verdict is {OURS} minus {REFERENCE}; {missing} not there, give estimator=[{there}]")
    experiment = prepare(config)
    plain = [Variant(name, config, name) for name in config.estimators]
    variants = [*plain, *_controls(config, relations_with_edges(experiment))]
    return compare(experiment, variants, reference=REFERENCE, pairs=[(one.ours, one.against) for one in CONTRASTS])


def _controls(config: GraphPaysConfig, relations: Sequence[Relation]) -> Iterator[Variant]:
    if NET in config.estimators:
        yield _on(replace(config.graph, relations=()), "mlp", config, control="no_edges", name=NET)
        for control, graph in _graphs(config.graph, relations):
            yield _on(graph, f"{NET}_{control}", config, control=control, name=NET)
    if relations:  # the net of the verdict has the two controls that it needs only
        no_edges, shuffled = CONTROLS[OURS]
        yield _on(replace(config.graph, relations=()), no_edges, config, control="no_edges", name=OURS)
        yield _on(replace(config.graph, shuffled=True), shuffled, config, control="shuffled", name=OURS)


def _graphs(graph: GraphConfig, relations: Sequence[Relation]) -> Iterator[tuple[str, GraphConfig]]:
    """What is left of the graph or made of it, where that is neither all nor nothing of the relations with edges."""
    if relations:
        yield "shuffled", replace(graph, shuffled=True)
    parts: dict[str, set[Relation]] = {
        "no_co_shoppers": set(relations) - {"co_shopper"},
        "purchases_only": {"purchased"},
    }
    for control, kept in parts.items():
        if kept and kept < set(relations):
            yield control, replace(graph, relations=tuple(name for name in graph.relations if name in kept))


def _on(graph: GraphConfig, label: str, config: GraphPaysConfig, *, control: str, name: str) -> Variant:
    return Variant(label, replace(config, graph=graph, name=f"{config.name}/{control}"), name)
