"""The whole way: read, validate, split, fit and predict every estimator at every seed, evaluate. One pass."""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from tqdm import tqdm

from patron.config import Config, dump
from patron.estimators import EstimatorConfig, OracleConfig, StackConfig, fit, is_seeded
from patron.estimators.oracle import TARGETS
from patron.evaluation.answers import MEAN
from patron.evaluation.evaluate import evaluate
from patron.evaluation.metrics import SCALE, Metric, metrics_for
from patron.evaluation.occasions import occasions
from patron.memory import release
from patron.run import RunFolder, command, commit
from patron.tables.database import Database
from patron.tables.sources import DataConfig, label, read
from patron.tables.sources import truth as truth_of
from patron.tables.validate import validate
from patron.tables.worlds.truth import Truth
from patron.task.level import levels
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds, truth
from patron.training.ranks import rank

log = logging.getLogger("patron")
# Keys that leave a fit as it is.
NO_FIT = ("force", "runs", "ckpt_path", "evaluation.", "trainer.progress", "graph.cache")


@runtime_checkable
class Embedder(Protocol):
    """An estimator that can say where it sees each customer."""

    def embeddings(self, db: Database, *, rows: TaskTable) -> np.ndarray: ...


@dataclass(frozen=True)
class Experiment:
    """What all runs of a config share: the data, the folds with their test labels and what `evaluate` asks of them,
    which no estimator is handed, and the truth of a made-up world."""

    config: Config
    db: Database
    folds: tuple[Fold, ...]
    truth: pd.DataFrame
    world: Truth | None

    @property
    def is_flag(self) -> bool:
        """Whether the target is 1 or 0."""
        return self.folds[0].test.is_flag

    def only_last_fold(self) -> "Experiment":
        """The same with its last fold alone."""
        last = self.folds[-1]
        return replace(self, folds=(last,), truth=self.truth[self.truth["fold"] == last.name])


def load_database(config: DataConfig) -> Database:
    """The validated tables, their rows in order of time. Raises UnreadableTables or InvalidTables; what was repaired or
    is odd goes to the log."""
    database = load_stored(config).in_order_of_time()
    release()
    return database


def load_stored(config: DataConfig) -> Database:
    """The same tables with their rows in the order in which they were stored."""
    with stage(f"reading {label(config)}"):
        raw = read(config)
    with stage("validating"):
        checked = validate(raw, name=label(config), mode=config.validation, today=date.today())
    if checked.report.violations:
        log.info("%s", checked.report)
    return checked.database


def prepare(config: Config) -> Experiment:
    """Read the data and split them. Raises ValueError for anything that makes no sense together."""
    db = load_database(config.data)
    with stage("splitting"):
        parts = tuple(folds(db, task=config.task, split=config.split))
        answers = [truth(db, fold=fold, task=config.task) for fold in parts]
    for fold, answer in zip(parts, answers, strict=True):
        log.info(
            "fold %s: %s\nmean label (zeros) by cutoff: %s", fold.name, _sizes(fold, answer), _levels(fold, answer)
        )
    _warn_of_shift(parts)
    frames = [_answered(db, fold, answer) for fold, answer in zip(parts, answers, strict=True)]
    return Experiment(config, db, parts, pd.concat(frames, ignore_index=True), truth_of(config.data))


def _answered(db: Database, fold: Fold, answer: TaskTable) -> pd.DataFrame:
    # RelBench's error is over the sample standard deviation of the training labels.
    scale = float(pd.Series(fold.train.label).std())
    frame = answer.frame.join(occasions(db, answer)).assign(fold=fold.name)
    frame[SCALE] = scale
    return frame


def run_all(config: Config) -> pd.DataFrame:
    """Every estimator at every seed, each in its run folder; returns the long table of `evaluate`."""
    variants = [Variant(name, config, name) for name in config.estimators]
    return compare(prepare(config), variants, reference=config.evaluation.reference)


@dataclass(frozen=True)
class Variant:
    """An estimator of a configuration, under a name of its own in tables; a `control` is fitted to the last fold alone,
    at the first seed."""

    label: str
    config: Config
    estimator: str
    control: bool = False

    @property
    def fitted(self) -> EstimatorConfig:
        """The configuration of the estimator."""
        return self.config.estimators[self.estimator]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of the configuration, or the first where another one changes nothing."""
        return self.config.seeds if is_seeded(self.fitted) and not self.control else self.config.seeds[:1]


def compare(
    experiment: Experiment, variants: Sequence[Variant], *, reference: str, pairs: Sequence[tuple[str, str]] = ()
) -> pd.DataFrame:
    """The long table of `evaluate` of all variants at their seeds, each under its label; rows
    `<metric>_minus_<reference>` are paired, and so are those of the other `pairs` of labels that are there. Controls
    are compared with the others' last fold and first seed."""
    # A stack comes last: it need not fit again what was fitted for its own row. Only controls come after it.
    able = sorted(_able(experiment, variants), key=lambda one: (one.control, isinstance(one.fitted, StackConfig)))
    jobs = [(variant, seed) for variant in able for seed in variant.seeds]
    bar = tqdm(jobs, unit="run", dynamic_ncols=True, disable=rank() > 0 or not experiment.config.trainer.progress)
    parts, last = [], experiment.only_last_fold()
    for variant, seed in bar:
        bar.set_description(f"{variant.label} seed {seed}")
        there = replace(last if variant.control else experiment, config=variant.config)
        parts.append(run_one(there, name=variant.estimator, seed=seed).assign(estimator=variant.label))
    predictions = pd.concat(parts, ignore_index=True)
    controls = [variant.label for variant in able if variant.control]
    plain = predictions[~predictions["estimator"].isin(controls)]
    results = _judged(experiment, plain, reference=reference, pairs=pairs)
    if not controls:
        return results
    beside = _of_controls(last, predictions, controls, reference=reference, pairs=pairs)
    once = beside["fold"] != MEAN  # over the folds there is no mean of what was fitted to one of several
    return pd.concat([results, beside if len(experiment.folds) == 1 else beside[once]], ignore_index=True)


def _of_controls(
    last: Experiment, predictions: pd.DataFrame, controls: Sequence[str], *, reference: str,
    pairs: Sequence[tuple[str, str]],
) -> pd.DataFrame:  # fmt: skip
    # What is to be said of the controls, and of the distance of the others to them: at one seed, of the last fold.
    bounds = (last.config.evaluation.floor, last.config.evaluation.ceiling, last.config.evaluation.attainable)
    compared = {reference, *bounds, *controls, *(ours for ours, against in pairs if against in controls)}
    asked = predictions["estimator"].isin(compared) & (predictions["fold"] == last.folds[0].name)
    asked &= predictions["seed"] == last.config.seeds[0]
    rows = _judged(last, predictions[asked], reference=reference, pairs=pairs)
    distance = rows["metric"].str.endswith(tuple(f"_minus_{control}" for control in controls))
    return rows[rows["estimator"].isin(controls) | distance]


def _able(experiment: Experiment, variants: Sequence[Variant]) -> Sequence[Variant]:
    # Experiments on worlds bring the oracle along; a target of which it knows nothing should not fail for that.
    target = experiment.folds[0].test.target
    blind = [one for one in variants if isinstance(one.fitted, OracleConfig) and target not in TARGETS]
    if len(blind) == len(variants):
        return variants
    if blind:
        names = ", ".join(one.label for one in blind)
        log.warning("%s left out: the truth is known of %s only", names, ", ".join(TARGETS))
    return [one for one in variants if one not in blind]


def _judged(
    experiment: Experiment, predictions: pd.DataFrame, *, reference: str, pairs: Sequence[tuple[str, str]]
) -> pd.DataFrame:
    config = experiment.config
    settings = {**vars(config.evaluation), "reference": reference, "pairs": pairs}
    with stage(f"bootstrapping {config.evaluation.n_boot} times over customers"):
        return evaluate(predictions, experiment.truth, **settings, flag=experiment.is_flag, context=_context(config))


def run_one(experiment: Experiment, *, name: str, seed: int) -> pd.DataFrame:
    """The test predictions of one estimator at one seed, from its run folder if that is done."""
    config = experiment.config
    folder = RunFolder(config.runs / config.name / f"{name}-seed{seed}")
    resolved = _resolved(config, name=name, seed=seed)
    if folder.is_done and not config.force:
        folder.require_format()
        _require_same(folder, resolved)
        log.info("%s is done and left alone (force=true fits it again)", folder.path)
        return folder.predictions()
    with ExitStack() as stack:
        if rank():  # the first process writes what all of them have made
            folder = RunFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        else:
            stack.enter_context(folder.lock())
        return _run(experiment, folder, name=name, seed=seed, resolved=resolved)


def _run(
    experiment: Experiment, folder: RunFolder, *, name: str, seed: int, resolved: Mapping[str, Any]
) -> pd.DataFrame:
    from patron.reporting.tensorboard import log_run  # it draws, and matplotlib takes its time to import

    config = experiment.config
    folder.begin(resolved)
    started = time.perf_counter()
    chosen = config.estimators[name]
    parts = [_fit_fold(experiment, fold, chosen=chosen, seed=seed, folder=folder.path) for fold in experiment.folds]
    predictions = pd.concat(parts, ignore_index=True).assign(estimator=name, seed=seed)
    metrics = _metrics(predictions, experiment.truth, metrics=metrics_for(flag=experiment.is_flag))
    report: dict[str, Any] = {"estimator": name, "seed": seed, "seconds": round(time.perf_counter() - started, 2)}
    finite = {key: value if np.isfinite(value) else None for key, value in metrics.items()}  # JSON has no NaN
    report |= {"known_until": str(experiment.folds[-1].cutoff), "floored_labels": experiment.folds[-1].refit.floored}
    last = experiment.truth[experiment.truth["fold"] == experiment.folds[-1].name]
    title = f"{config.name}, {name}"
    log_run(folder.path, title=title, config=resolved, metrics=metrics, truth=last, predictions=parts[-1])
    folder.finish(predictions=predictions, report=report | {"metrics": finite})
    return predictions


def _resolved(config: Config, *, name: str, seed: int) -> dict[str, Any]:
    # What made this run: of a benchmark, neither its other estimators nor where its table goes.
    everything = dump(config)
    shared = {field.name: everything[field.name] for field in fields(Config)}
    return {**shared, "estimators": {name: everything["estimators"][name]}, "seeds": [seed]}


def _fit_fold(experiment: Experiment, fold: Fold, *, chosen: EstimatorConfig, seed: int, folder: Path) -> pd.DataFrame:
    config, scores = experiment.config, fold is experiment.folds[-1]  # it is the last fold's estimator that scores
    here = folder if scores else folder / fold.name
    here.mkdir(parents=True, exist_ok=True)
    setting = config.setting(here, seed=seed, ckpt_path=config.ckpt_path, world=experiment.world)
    past = experiment.db.only(config.tables).upto(fold.cutoff)
    estimator = fit(chosen, setting, past, train=fold.train, val=fold.val, refit=fold.refit)
    estimator.save(here)
    predictions = estimator.predict(past, rows=fold.test).assign(fold=fold.name)
    if isinstance(estimator, Embedder):
        from patron.reporting.tensorboard import log_embeddings

        rows = experiment.truth[experiment.truth["fold"] == fold.name]
        seen, spend = estimator.embeddings(past, rows=fold.test), predictions["ltv_mean"].to_numpy()
        log_embeddings(here, embeddings=seen, rows=rows, predicted=spend)
    return predictions


def _metrics(predictions: pd.DataFrame, truth: pd.DataFrame, *, metrics: Mapping[str, Metric]) -> dict[str, float]:
    # Point values, mean over folds; the intervals need all estimators side by side and are in the benchmark's table.
    both = truth.merge(predictions, on=["customer_id", "cutoff", "fold"], validate="1:1")
    per_fold = [_scored(part, metrics=metrics) for _, part in both.groupby("fold")]
    return {name: float(np.mean([scores[name] for scores in per_fold])) for name in metrics}


def _scored(rows: pd.DataFrame, *, metrics: Mapping[str, Metric]) -> dict[str, float]:
    columns = {name: rows[list(metric.columns)].to_numpy().squeeze() for name, metric in metrics.items()}
    return {name: metric(rows["label"], columns[name]) for name, metric in metrics.items()}


def _require_same(folder: RunFolder, resolved: Mapping[str, Any]) -> None:
    there, here = _flat(folder.config()), _flat(resolved)
    changed = [key for key in {**there, **here} if not key.startswith(NO_FIT) and there.get(key) != here.get(key)]
    if changed:
        differences = ", ".join(f"{key} was {there.get(key)}, now {here.get(key)}" for key in changed)
        raise ValueError(
            f"{folder.path} is done, with another configuration ({differences}); "
            f"choose another name=..., or force=true to fit it again"
        )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _context(config: Config) -> dict[str, str]:
    what = {"data": label(config.data), "task": config.task.title, "split": config.split.name}
    return {**what, "command": command(), "commit": commit()}


def _sizes(fold: Fold, answer: TaskTable) -> str:
    zero = float((answer.label == 0).mean())
    return (
        f"train {len(fold.train)} rows at {_cutoffs(fold.train)}, validation {len(fold.val)} at {_cutoffs(fold.val)}, "
        f"refit {len(fold.refit)} at {_cutoffs(fold.refit)}, test {len(answer)}, {zero:.0%} of their labels are 0; "
        f"labels floored at 0: {fold.refit.floored} in refit, {answer.floored} in test"
    )


def _levels(fold: Fold, answer: TaskTable) -> str:
    # Of all windows that may be learned from, with what each cutoff is for.
    roles: dict[Any, str] = {
        **dict.fromkeys(fold.val.cutoffs, "validation"),
        **dict.fromkeys(fold.train.cutoffs, "train"),
    }
    said: dict[str, list[str]] = {}
    for cutoff, row in levels(fold.refit).iterrows():
        said.setdefault(roles.get(cutoff, "refit alone"), []).append(_level(cutoff, row))
    said["test"] = [_level(cutoff, row) for cutoff, row in levels(answer).iterrows()]
    return "; ".join(f"{role} {', '.join(ones)}" for role, ones in said.items())


def _level(cutoff: Any, row: pd.Series) -> str:
    return f"{cutoff} {row['mean']:,.4g} ({row['zeros']:.1%})"


def _warn_of_shift(parts: Sequence[Fold]) -> None:
    # Once, of the latest fold that has it: the others are of the same months.
    said = [f"fold {fold.name}: {fold.shift}" for fold in parts if fold.shift]
    if said:
        log.warning("%s", said[-1])


def _cutoffs(rows: TaskTable) -> str:
    cutoffs = rows.cutoffs
    return str(cutoffs[0]) if len(cutoffs) == 1 else f"{len(cutoffs)} cutoffs {cutoffs[0]} to {cutoffs[-1]}"


@contextmanager
def quietly() -> Iterator[None]:
    """Only warnings are logged: what is said of the same tables again need not be read again."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Say in the log that `what` begins, and when it has ended how long it took."""
    log.info("%s ...", what)
    started = time.perf_counter()
    yield
    log.info("%s: %.1f s", what, time.perf_counter() - started)
