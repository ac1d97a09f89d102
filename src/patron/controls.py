"""A benchmark: every estimator of an experiment, and the net on the graph again without it, so that the verdict about
the graph has its controls."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from patron.config import BenchmarkConfig
from patron.graph.build import GraphConfig
from patron.pipeline import Experiment, Variant, compare, prepare
from patron.reporting.verdict import CONTROLS
from patron.variants import relations_with_edges

NET = "gnn"  # of which a benchmark's verdict is


def benchmark(config: BenchmarkConfig) -> pd.DataFrame:
    """The long table of `evaluate` of every estimator at every seed, and of the controls of the GNN if there is one
    beside the reference: fitted to the last fold, at the first seed."""
    experiment = prepare(config)
    plain = [Variant(name, config, name) for name in config.estimators]
    there = {NET, config.evaluation.reference} <= set(config.estimators)
    controls = list(_controls(experiment, config)) if there and config.controls else []
    pairs = [(NET, one.label) for one in controls]
    return compare(experiment, [*plain, *controls], reference=config.evaluation.reference, pairs=pairs)


def _controls(experiment: Experiment, config: BenchmarkConfig) -> Iterator[Variant]:
    if not relations_with_edges(experiment):
        return  # the net has no other graph than none
    no_messages, shuffled = CONTROLS[NET]
    yield _on(replace(config.graph, relations=()), no_messages, config)
    if config.trainer.sampling is None:  # edges are shuffled of whole snapshots only
        yield _on(replace(config.graph, shuffled=True), shuffled, config)


def _on(graph: GraphConfig, label: str, config: BenchmarkConfig) -> Variant:
    return Variant(label, replace(config, graph=graph, name=f"{config.name}/control_{label}"), NET, control=True)
