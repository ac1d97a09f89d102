"""The whole way: read, validate, split, fit and predict every estimator at every seed, evaluate. One direction, one pass."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from tqdm import tqdm

from patron.config import Config, dump
from patron.estimators import EstimatorConfig, Setting, build, is_seeded
from patron.evaluation.evaluate import evaluate
from patron.evaluation.metrics import METRICS
from patron.reporting.tensorboard import log_embeddings, log_run
from patron.run import RunFolder, command, commit
from patron.tables.database import Database
from patron.tables.sources import DataConfig, label, read
from patron.tables.validate import validate
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds, truth

log = logging.getLogger("patron")


@runtime_checkable
class Embedder(Protocol):
    """An estimator that can say where it sees each customer."""

    def embeddings(self, db: Database, *, rows: TaskTable) -> np.ndarray: ...


@dataclass(frozen=True)
class Experiment:
    """What all runs of a config share: the data, and the folds with their test labels, which no estimator is handed."""

    config: Config
    db: Database
    folds: tuple[Fold, ...]
    truth: pd.DataFrame


def load_database(config: DataConfig) -> Database:
    """The validated tables. Raises UnreadableTables or InvalidTables; what was repaired or is odd goes to the log."""
    with _stage(f"reading {label(config)}"):
        raw = read(config)
    with _stage("validating"):
        checked = validate(raw, name=label(config), mode=config.validation, today=date.today())
    if checked.report.violations:
        log.info("%s", checked.report)
    return checked.database


def prepare(config: Config) -> Experiment:
    """Read the data and split them. Raises ValueError for anything that makes no sense together."""
    db = load_database(config.data)
    with _stage("splitting"):
        parts = tuple(folds(db, task=config.task, split=config.split))
        answers = [truth(db, fold=fold, task=config.task) for fold in parts]
    for fold, answer in zip(parts, answers, strict=True):
        log.info("fold %s: %s", fold.name, _sizes(fold, answer))
    frames = [answer.frame.assign(fold=fold.name) for fold, answer in zip(parts, answers, strict=True)]
    return Experiment(config, db, parts, pd.concat(frames, ignore_index=True))


def run_all(config: Config) -> pd.DataFrame:
    """Every estimator at every seed, each in its run folder; returns the long table of `evaluate`."""
    experiment = prepare(config)
    jobs = [(name, seed) for name, chosen in config.estimators.items() for seed in (config.seeds if is_seeded(chosen) else config.seeds[:1])]
    bar = tqdm(jobs, unit="run", dynamic_ncols=True, disable=not config.trainer.progress)
    parts = []
    for name, seed in bar:
        bar.set_description(f"{name} seed {seed}")
        parts.append(run_one(experiment, name=name, seed=seed))
    with _stage(f"bootstrapping {config.evaluation.n_boot} times over customers"):
        return evaluate(
            pd.concat(parts, ignore_index=True), experiment.truth,
            n_boot=config.evaluation.n_boot, reference=config.evaluation.reference, context=_context(config),
        )  # fmt: skip


def run_one(experiment: Experiment, *, name: str, seed: int) -> pd.DataFrame:
    """The test predictions of one estimator at one seed, from its run folder if that is done."""
    config = experiment.config
    folder = RunFolder(config.runs / config.name / f"{name}-seed{seed}")
    resolved = {**dump(config), "estimators": {name: dump(config)["estimators"][name]}, "seeds": [seed]}
    if folder.is_done and not config.force:
        _require_same(folder, resolved)
        log.info("%s is done and left alone (force=true fits it again)", folder.path)
        return folder.predictions()
    folder.begin(resolved)
    started = time.perf_counter()
    parts = [_fit_fold(experiment, fold, chosen=config.estimators[name], seed=seed, folder=folder.path) for fold in experiment.folds]
    predictions = pd.concat(parts, ignore_index=True).assign(estimator=name, seed=seed)
    metrics = _metrics(predictions, experiment.truth)
    report = {"estimator": name, "seed": seed, "metrics": metrics, "seconds": round(time.perf_counter() - started, 2)}
    report |= {"known_until": str(experiment.folds[-1].cutoff), "floored_labels": experiment.folds[-1].refit.floored}
    last = experiment.truth["fold"] == experiment.folds[-1].name
    log_run(folder.path, title=f"{config.name}, {name}", config=resolved, metrics=metrics, truth=experiment.truth[last], predictions=parts[-1])
    folder.finish(predictions=predictions, report=report)
    return predictions


def _fit_fold(experiment: Experiment, fold: Fold, *, chosen: EstimatorConfig, seed: int, folder: Path) -> pd.DataFrame:
    config = experiment.config
    here = folder if fold is experiment.folds[-1] else folder / fold.name  # the last fold's estimator is the one that scores
    here.mkdir(parents=True, exist_ok=True)
    setting = Setting(config.features, config.graph, config.trainer, seed=seed, folder=here, ckpt_path=config.ckpt_path)
    past = experiment.db.upto(fold.cutoff)
    estimator = build(chosen, setting).fit(past, train=fold.train, val=fold.val, refit=fold.refit)
    estimator.save(here)
    predictions = estimator.predict(past, rows=fold.test).assign(fold=fold.name)
    if isinstance(estimator, Embedder):
        rows = experiment.truth[experiment.truth["fold"] == fold.name]
        log_embeddings(here, embeddings=estimator.embeddings(past, rows=fold.test), rows=rows, predicted=predictions["ltv_mean"].to_numpy())
    return predictions


def _metrics(predictions: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    # Point values, mean over folds; the intervals need all estimators side by side and are in the benchmark's table.
    both = truth.merge(predictions, on=["customer_id", "cutoff", "fold"], validate="1:1")
    per_fold = [
        {name: metric(part["label"], part[list(metric.columns)].to_numpy().squeeze()) for name, metric in METRICS.items()}
        for _, part in both.groupby("fold")
    ]
    return pd.DataFrame(per_fold).mean().to_dict()


def _require_same(folder: RunFolder, resolved: Mapping[str, Any]) -> None:
    ignored = {"force", "runs", "ckpt_path"}
    there = folder.config()
    changed = sorted(key for key in {*there, *resolved} - ignored if there.get(key) != resolved.get(key))
    if changed:
        raise ValueError(
            f"{folder.path} is done, with another configuration ({', '.join(changed)} differ); "
            f"choose another name=..., or force=true to fit it again"
        )


def _context(config: Config) -> dict[str, str]:
    return {"data": label(config.data), "task": str(config.task.horizon), "split": config.split.name, "command": command(), "commit": commit()}


def _sizes(fold: Fold, answer: TaskTable) -> str:
    zero = float((answer.label == 0).mean())
    return (
        f"train {len(fold.train)} rows at {_cutoffs(fold.train)}, validation {len(fold.val)} at {_cutoffs(fold.val)}, "
        f"refit {len(fold.refit)} at {_cutoffs(fold.refit)}, test {len(answer)}, {zero:.0%} of them spend nothing; "
        f"labels floored at 0: {fold.refit.floored} in refit, {answer.floored} in test"
    )


def _cutoffs(rows: TaskTable) -> str:
    cutoffs = rows.cutoffs
    return str(cutoffs[0]) if len(cutoffs) == 1 else f"{len(cutoffs)} cutoffs {cutoffs[0]} to {cutoffs[-1]}"


@contextmanager
def _stage(what: str) -> Iterator[None]:
    log.info("%s ...", what)
    started = time.perf_counter()
    yield
    log.info("%s: %.1f s", what, time.perf_counter() - started)
