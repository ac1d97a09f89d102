"""What each stage of the way costs, from reading the tables to scoring every customer, and how that grows.

Every size is run in a process of its own, so that its memory is its own, on a world that lies on disk as Parquet.
"""

import copy
import logging
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config
from patron.estimators import EstimatorConfig, OracleConfig, build
from patron.features.asof import customer_features, specify
from patron.graph.build import build as build_graph
from patron.graph.snapshot import snapshot
from patron.speed.measure import measured
from patron.speed.opponents import OpponentsConfig
from patron.tables.database import Database
from patron.tables.read import FilesConfig, TableConfig, read_files
from patron.tables.validate import validate
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.world import write
from patron.task.ltv import population
from patron.task.split import Fold, folds

T = TypeVar("T")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SpeedConfig(Config):
    """An experiment on a world, made in each of these `sizes` (customers); figures go to `results`. And how large the
    comparisons with others are."""

    sizes: Annotated[tuple[int, ...], Field(min_length=1)]
    opponents: OpponentsConfig
    results: Path


@dataclass
class _Clock:
    """Figures of the stages so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def stage(self, name: str, call: Callable[[], T]) -> T:
        """What `call` gives, measured as the stage `name`."""
        found = measured(call)
        self.rows.append(
            {"stage": name, "seconds": found.seconds, "peak_mb": found.peak_mb, "added_mb": found.added_mb}
        )
        logging.getLogger("patron").info("%s: %.1f s, peak %.0f MB", name, found.seconds, found.peak_mb)
        return found.value


def measure(config: SpeedConfig) -> Iterator[pd.DataFrame]:
    """Size by size, one row a stage, `read`, `validate`, `labels`, `features`, `graph` and of each estimator `fit`,
    `score` and `score` again, when features and graph are there: `customers`, `order_items`, `seconds`, `peak_mb` of
    the process and `added_mb` to what it held. Raises ValueError unless the data are a made-up world, and
    BrokenProcessPool where memory was not enough."""
    if not isinstance(config.data, WorldConfig):
        raise ValueError(f"data={config.data.name} has one size only; take a made-up world, such as data=million")
    for size in config.sizes:
        alone = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        with tempfile.TemporaryDirectory() as parent, alone:
            folder = Path(parent) / "world"
            rows = write(replace(config.data, customers=size), folder=folder)
            found = alone.submit(_stages, config, folder).result()
        yield found.assign(customers=size, order_items=rows["order_items"])


def _stages(config: SpeedConfig, folder: Path) -> pd.DataFrame:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    clock = _Clock()
    db = _read(clock, folder)
    (*_, fold) = clock.stage("labels", lambda: folds(db, task=config.task, split=config.split))
    spec = specify(db, config=config.features, horizon=fold.refit.horizon, cutoffs=fold.refit.cutoffs)
    cutoffs = fold.refit.cutoffs
    clock.stage("features", lambda: [len(customer_features(db.upto(day), cutoff=day, spec=spec)) for day in cutoffs])
    clock.stage("graph", lambda: [_nodes(db, day, config) for day in cutoffs])
    for name, chosen in config.estimators.items():
        if not isinstance(chosen, OracleConfig):  # an experiment on a world brings it along
            _fit_and_score(clock, name, chosen, db=db, fold=fold, config=config)
    return pd.DataFrame(clock.rows)


def _read(clock: _Clock, folder: Path) -> Database:
    # Nothing else stays in memory.
    tables = {file.stem: TableConfig(file=file.name) for file in sorted(folder.glob("*.parquet"))}
    raw = clock.stage("read", lambda: read_files(FilesConfig(folder, tables)))
    checked = clock.stage("validate", lambda: validate(raw, name="world", mode="strict", today=date.today()))
    return checked.database.in_order_of_time()


def _fit_and_score(
    clock: _Clock, name: str, chosen: EstimatorConfig, *, db: Database, fold: Fold, config: SpeedConfig
) -> None:
    past = db.upto(fold.cutoff)
    rows = population(past, cutoff=fold.cutoff, config=config.task)
    with tempfile.TemporaryDirectory() as folder:
        model = build(chosen, config.setting(Path(folder)))
        clock.stage(f"fit {name}", lambda: model.fit(past, train=fold.train, val=fold.val, refit=fold.refit))
        clock.stage(f"score {name}", lambda: model.predict(past, rows=rows))
        unprepared = copy.copy(model)  # a net keeps its last answers, but a copy has none ready
        said = clock.stage(f"score {name} again", lambda: unprepared.predict(past, rows=rows))
    assert np.isfinite(said["ltv_mean"]).all()


def _nodes(db: Database, cutoff: date, config: SpeedConfig) -> int:
    shot = snapshot(build_graph(db.upto(cutoff), config=config.graph), cutoff=cutoff,
                    half_life_days=config.graph.half_life_days)  # fmt: skip
    return int(shot.num_nodes)
