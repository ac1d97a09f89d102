"""Scores: what each customer is expected to spend after a cutoff, by an estimator that has been fitted."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config, load
from patron.estimators import BTYD, GNN, RFM, BoostedGNN, Estimator, LastWindow, LightGBM, Stack, Zero
from patron.estimators.base import QUANTILES
from patron.pipeline import load_database
from patron.run import RunFolder
from patron.tables.database import Database
from patron.task.ltv import population

log = logging.getLogger("patron")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScoreConfig:
    """`data` overrides the run's own data, for newer tables of the same schema. `out` null: the folder `run/scores`."""

    run: Path
    cutoff: date
    data: Mapping[str, Any]
    out: Path | None


@dataclass(frozen=True)
class Written:
    """The scores and where they are."""

    scores: pd.DataFrame
    parquet: Path
    csv: Path


def score(config: ScoreConfig) -> Written:
    """Score the task's population at the cutoff: expected spend, median, 80 % interval, rank and decile (1 is best).

    Writes `scores_<cutoff>.parquet` and `.csv`, each complete or not at all. Raises ValueError for a run that is not
    done, and for a cutoff after the last order's day.
    """
    folder = RunFolder(config.run)
    stored = folder.config()
    if not folder.is_done:
        raise ValueError(f"run {config.run} is not done: it was stopped before the end; give the same command again")
    experiment = load({**stored, "data": {**stored["data"], **config.data}}, schema=Config)
    db = load_database(experiment.data)
    _require_known(db, config.cutoff)
    rows = population(db, cutoff=config.cutoff, config=experiment.task)
    estimator = _load(next(iter(experiment.estimators.values())).name, config.run)
    scores = _ranked(estimator.predict(db.only(experiment.tables).upto(config.cutoff), rows=rows))
    return _write(scores, config.out or config.run / "scores", cutoff=config.cutoff)


def _load(name: str, run: Path) -> Estimator:
    kinds: Mapping[str, type[Estimator]] = {
        "zero": Zero, "last_window": LastWindow, "rfm": RFM, "btyd": BTYD, "lightgbm": LightGBM, "gnn": GNN,
        "boosted_gnn": BoostedGNN, "stack": Stack,
    }  # fmt: skip
    return kinds[name].load(run)


def _require_known(db: Database, cutoff: date) -> None:
    # At a cutoff after the data's end everybody looks as if they had stopped buying.
    if cutoff > db.last_day + timedelta(days=1):
        raise ValueError(
            f"cutoff {cutoff} is after the last order of '{db.name}' ({db.last_day}); "
            f"give a cutoff up to the day after it, or newer tables: data.path=..."
        )


def _ranked(predictions: pd.DataFrame) -> pd.DataFrame:
    rank = predictions["rank_score"].rank(ascending=False, method="first").astype(int)
    decile = np.ceil(10 * rank / len(rank)).astype(int)
    kept = predictions[["customer_id", "cutoff", "ltv_mean", "ltv_median", *QUANTILES, "p_active"]]
    return kept.assign(rank=rank, decile=decile).sort_values("rank", ignore_index=True)


def _write(scores: pd.DataFrame, folder: Path, *, cutoff: date) -> Written:
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(scores, folder / f"scores_{cutoff}.parquet", folder / f"scores_{cutoff}.csv")
    for path, write in ((written.parquet, scores.to_parquet), (written.csv, scores.to_csv)):
        partial = path.with_name(path.name + ".partial")
        write(partial, index=False)
        partial.rename(path)
    log.info("scored %d customers at %s: %s, %s", len(scores), cutoff, written.parquet, written.csv)
    return written
