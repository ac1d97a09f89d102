"""Scores: what each customer is expected to spend after a cutoff, by an estimator that has been fitted."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config, load
from patron.estimators import BTYD, GNN, RFM, BoostedGNN, Estimator, Frequency, LastWindow, LightGBM, Stack, Zero
from patron.estimators.base import QUANTILES
from patron.files import lock, whole_file, whole_folder
from patron.pipeline import load_database
from patron.run import RunFolder
from patron.serving.parts import Parts
from patron.tables.database import Database
from patron.task.ltv import population

log = logging.getLogger("patron")
BEST = 10


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScoreConfig:
    """`data` overrides the run's own data, for newer tables of the same schema. `out` null: the folder `run/scores`.
    More than one of `parts`: so many Parquet files in a folder, written one by one."""

    run: Path
    cutoff: date
    data: Mapping[str, Any]
    out: Path | None
    parts: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Written:
    """How many customers have scores, the ten best of them, and where all are."""

    customers: int
    best: pd.DataFrame
    paths: tuple[Path, ...]


def score(config: ScoreConfig) -> Written:
    """Score the task's population at the cutoff: expected spend, median, 80 % interval, rank and decile (1 is best).

    Writes `scores_<cutoff>.parquet` and `.csv`, or in several parts the folder `scores_<cutoff>` of Parquet files, each
    complete or not at all; parts that a stopped run has left are not predicted again. Raises ValueError for a run that
    is not done, and for a cutoff after the last order's day.
    """
    folder = RunFolder(config.run)
    stored = folder.config()
    if not folder.is_done:
        raise ValueError(f"run {config.run} is not done: it was stopped before the end; give the same command again")
    folder.require_format()
    experiment = load({**stored, "data": {**stored["data"], **config.data}}, schema=Config)
    db = load_database(experiment.data)
    _require_known(db, config.cutoff)
    rows = population(db, cutoff=config.cutoff, config=experiment.task)
    estimator = _load(next(iter(experiment.estimators.values())).name, config.run)
    past, out = db.only(experiment.tables).upto(config.cutoff), config.out or config.run / "scores"
    scores = out / f"scores_{config.cutoff}"
    with lock(scores, fix="wait until it is done, stop it, or choose another folder: out=..."):
        if config.parts == 1:
            return _write(_ranked(estimator.predict(past, rows=rows)), scores)
        made_of = {"estimator": _hash(config.run / "estimator.joblib"), "tables": past.fingerprint}
        parts = Parts(out / f"{scores.name}.parts", rows, config.parts, made_of)
        parts.write(estimator, past)
        return _assembled(parts, scores)


def _load(name: str, run: Path) -> Estimator:
    kinds: Mapping[str, type[Estimator]] = {
        "zero": Zero, "last_window": LastWindow, "frequency": Frequency, "rfm": RFM, "btyd": BTYD,
        "lightgbm": LightGBM, "gnn": GNN, "boosted_gnn": BoostedGNN, "stack": Stack,
    }  # fmt: skip
    return kinds[name].load(run)


def _require_known(db: Database, cutoff: date) -> None:
    # At a cutoff after the data's end everybody looks as if they had stopped buying.
    if cutoff > db.last_day + timedelta(days=1):
        raise ValueError(
            f"cutoff {cutoff} is after the last order of '{db.name}' ({db.last_day}); "
            f"give a cutoff up to the day after it, or newer tables: data.path=..."
        )


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def _ranked(predictions: pd.DataFrame) -> pd.DataFrame:
    rank = _ranks(predictions["rank_score"])
    return _scores(predictions, rank=rank, among=len(rank)).sort_values("rank", ignore_index=True)


def _ranks(score: pd.Series) -> np.ndarray:
    return score.rank(ascending=False, method="first").to_numpy(dtype=np.int64)


def _scores(predictions: pd.DataFrame, *, rank: np.ndarray, among: int) -> pd.DataFrame:
    kept = predictions[["customer_id", "cutoff", "ltv_mean", "ltv_median", *QUANTILES, "p_active"]]
    return kept.assign(rank=rank, decile=np.ceil(10 * rank / among).astype(int))


def _write(scores: pd.DataFrame, path: Path) -> Written:
    parquet, csv = (path.with_name(f"{path.name}.{kind}") for kind in ("parquet", "csv"))
    for path, write in ((parquet, scores.to_parquet), (csv, scores.to_csv)):
        with whole_file(path) as partial:
            write(partial, index=False)
    log.info("scored %d customers: %s, %s", len(scores), parquet, csv)
    return Written(len(scores), scores.head(BEST), (parquet, csv))


def _assembled(parts: Parts, folder: Path) -> Written:
    # A rank is among all customers, so it comes when all parts are there; of the others one is held at a time.
    rank, best = _ranks(pd.Series(parts.rank_scores())), []
    with whole_folder(folder) as partial:
        for k, (at, predictions) in enumerate(parts):
            scores = _scores(predictions, rank=rank[at], among=len(rank)).sort_values("rank", ignore_index=True)
            scores.to_parquet(partial / f"part-{k:05d}.parquet", index=False)
            best.append(scores.head(BEST))
    parts.remove()
    log.info("scored %d customers: %s, %d parts", len(rank), folder, parts.number)
    return Written(len(rank), pd.concat(best).sort_values("rank", ignore_index=True).head(BEST), (folder,))
