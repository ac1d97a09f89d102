"""Every number that patron reports about predictions, in one long table: intervals, slices, differences and a ceiling.

Each estimator, fold and seed is scored on the same truth rows and the same bootstrap customers, so that a difference
between two estimators is paired. Means over folds and seeds are taken within each replicate: their interval says how
far the numbers depend on which customers were seen, not on the seed; `<metric>_seed_sd` says the latter. The evaluator
never asks which estimator made the predictions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd

from patron.days import epoch_seconds
from patron.evaluation.bootstrap import interval, weight_chunks
from patron.evaluation.metrics import Metric, Replicates, metrics_for, spearman_ceiling

CONTEXT = ("data", "task", "split", "command", "commit")
_CELL = ("fold", "estimator", "seed", "slice", "metric", "value", "lo", "hi", "n")
COLUMNS = (*CONTEXT[:3], *_CELL, *CONTEXT[3:])
PREFIX = "slice_"  # of the boolean truth columns that name a slice
MIN_SLICE_ROWS = 30  # in every fold; below it a slice gets its n and a NaN
MEAN, ALL = "mean", "all"
GAIN = "spearman_gain_share"
_BOUNDS = ("q10", "q90")


@dataclass(frozen=True, eq=False)
class Answers:
    """The truth, in the order of customer and cutoff: what every prediction is scored against."""

    customers: np.ndarray  # [n] ids
    keys: pd.MultiIndex  # [n] customer and cutoff, unique
    y: np.ndarray  # [n] spend
    codes: np.ndarray  # [n] number of the row's customer, for the bootstrap
    folds: Mapping[str, np.ndarray]  # row numbers of each fold
    slices: Mapping[str, np.ndarray]  # [n] whether the row belongs; "all" comes first
    metrics: Mapping[str, Metric]

    def counts(self, name: str) -> dict[str, int]:
        """Number of rows of a slice in each fold."""
        return {fold: int(self.slices[name][rows].sum()) for fold, rows in self.folds.items()}

    def n(self, name: str, fold: str = MEAN) -> int:
        """Number of truth rows of a slice, in one fold or in all of them together."""
        return int(self.slices[name].sum()) if fold == MEAN else self.counts(name)[fold]


@dataclass(frozen=True, eq=False)
class Scores:
    """All metrics of one estimator on one slice: float [F, K, M, 1 + B]; entry 0 is the sample, the rest replicates."""

    estimator: str
    slice: str
    folds: tuple[str, ...]
    seeds: tuple[str, ...]
    metrics: tuple[str, ...]
    values: np.ndarray

    def at(self, metric: str, *, fold: str = MEAN, seed: str = MEAN) -> np.ndarray:
        """[1 + B] of one metric: of one fold and seed, or the mean over either or both."""
        values = self.values[:, :, self.metrics.index(metric)]
        values = values.mean(0) if fold == MEAN else values[self.folds.index(fold)]
        return values.mean(0) if seed == MEAN else values[self.seeds.index(seed)]

    @property
    def seed_sd(self) -> dict[str, float]:
        """Standard deviation over seeds of each metric's mean over folds; NaN for a single seed."""
        means = self.values[..., 0].mean(0)
        sd = means.std(0, ddof=1) if len(self.seeds) > 1 else np.full(means.shape[1], np.nan)
        return dict(zip(self.metrics, sd.tolist(), strict=True))


def evaluate(
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    reference: str = "lightgbm",
    floor: str = "rfm",
    ceiling: str = "oracle",
    flag: bool = False,
    context: Mapping[str, str],
) -> pd.DataFrame:
    """The long table of `COLUMNS`; [lo, hi] is the 95 % percentile interval of a bootstrap over customers.

    `truth` is the task table, with boolean columns `slice_*`. A column `fold` there says which rows belong to which
    fold; without it every fold holds every row. Rows `<metric>_minus_<reference>` appear where the reference was
    predicted, rows `spearman_gain_share` where `floor` and `ceiling` were: (Spearman - floor) / (ceiling - floor), the
    share of the attainable gain. `n` is the number of truth rows. `flag` says that labels are 0 or 1, and adds the
    metrics of a classification. Raises ValueError, naming estimator and customers, unless each estimator has exactly
    one finite prediction for every row of every fold and seed: nobody is dropped silently.
    """
    answers = _answers(truth, folds=_names(predictions["fold"]), flag=flag)
    _check_context(context)
    scores = {
        str(name): _score(frame, answers, estimator=str(name), n_boot=n_boot, seed=seed)
        for name, frame in predictions.groupby("estimator", sort=False, observed=True)
    }
    rows = chain(
        chain.from_iterable(_estimator_rows(slices, answers) for slices in scores.values()),
        _difference_rows(scores, answers, reference=reference),
        _gain_rows(scores, answers, floor=floor, ceiling=ceiling),
        [_ceiling_row(answers)],
    )
    return pd.DataFrame([{**context, **row} for row in rows], columns=list(COLUMNS))


def _answers(truth: pd.DataFrame, *, folds: list[str], flag: bool) -> Answers:
    truth = truth.sort_values(["customer_id", "cutoff"], ignore_index=True)  # no result depends on the row order
    keys, y = _keys(truth), truth["label"].to_numpy(dtype=float)
    _refuse(keys.duplicated(), truth["customer_id"], "truth rows share customer_id and cutoff; keep one of each")
    unusable = ~((y >= 0) & (y < np.inf))
    _refuse(unusable, truth["customer_id"], "truth rows have a negative or missing label; a label is spend >= 0")
    _refuse((y > 0) & (y != 1) & flag, truth["customer_id"], "truth rows have a label that is neither 0 nor 1")
    customers = truth["customer_id"].to_numpy()
    codes, metrics = pd.factorize(customers)[0], metrics_for(flag=flag)
    return Answers(customers, keys, y, codes, _fold_rows(truth, folds), _slices(truth), metrics)


def _slices(truth: pd.DataFrame) -> dict[str, np.ndarray]:
    named = [column for column in map(str, truth.columns) if column.startswith(PREFIX)]
    wrong = {column: str(truth[column].dtype) for column in named if not pd.api.types.is_bool_dtype(truth[column])}
    if wrong:
        raise ValueError(f"the truth's slice columns must be boolean, without gaps; these are not: {wrong}")
    everyone = {ALL: np.ones(len(truth), dtype=bool)}
    return everyone | {column.removeprefix(PREFIX): truth[column].to_numpy(dtype=bool) for column in named}


def _fold_rows(truth: pd.DataFrame, folds: list[str]) -> dict[str, np.ndarray]:
    if "fold" not in truth:
        return {fold: np.arange(len(truth)) for fold in folds}
    fold_of = truth["fold"].astype(str)
    if set(fold_of) != set(folds):
        raise ValueError(f"the truth has folds {_names(fold_of)} and the predictions {folds}; they must be the same")
    return {fold: np.flatnonzero(fold_of == fold) for fold in folds}


def _check_context(context: Mapping[str, str]) -> None:
    if set(context) != set(CONTEXT):
        raise ValueError(f"context has the keys {sorted(context)}; it needs exactly {list(CONTEXT)}")


def _score(predictions: pd.DataFrame, answers: Answers, *, estimator: str, n_boot: int, seed: int) -> dict[str, Scores]:
    """The estimator's scores on each slice."""
    grouped = predictions.groupby(["fold", "seed"], dropna=False, observed=True)
    cells = {(str(fold), str(run)): frame for (fold, run), frame in grouped}
    folds, seeds = tuple(answers.folds), tuple(_names(predictions["seed"]))
    shape = (len(folds), len(seeds), len(answers.slices), len(answers.metrics), 1 + n_boot)
    values = np.empty(shape)
    for (f, fold), (k, run) in product(enumerate(folds), enumerate(seeds)):
        who = f"estimator '{estimator}' (fold {fold}, seed {run})"
        cell = _aligned(cells.get((fold, run), predictions.iloc[:0]), answers, rows=answers.folds[fold], who=who)
        values[f, k] = _replicates(cell, answers, rows=answers.folds[fold], n_boot=n_boot, seed=seed)
    names = tuple(answers.metrics)
    return {
        name: Scores(estimator, name, folds, seeds, names, values[:, :, s]) for s, name in enumerate(answers.slices)
    }


def _aligned(cell: pd.DataFrame, answers: Answers, *, rows: np.ndarray, who: str) -> pd.DataFrame:
    """The cell's predictions in the order of the truth `rows`. Raises ValueError unless each has one finite."""
    keys, asked, given = _keys(cell), answers.customers[rows], cell["customer_id"]
    position = answers.keys[rows].get_indexer(keys)
    missing = ~np.isin(np.arange(len(rows)), position)
    _refuse(missing, asked, f"of {len(rows)} truth rows have no prediction by {who}; predict every row")
    _refuse(position < 0, given, f"predictions by {who} belong to no truth row; predict the task table only")
    _refuse(keys.duplicated(), given, f"predictions by {who} repeat a customer and cutoff; keep one of each")
    needed = list(dict.fromkeys(column for metric in answers.metrics.values() for column in metric.columns))
    values = cell[needed].astype(float).set_axis(position).sort_index()
    without = [column for column in _BOUNDS if values[column].isna().all()]  # an estimator may have no interval at all
    unusable = ~np.isfinite(values.drop(columns=without).to_numpy()).all(axis=1)
    _refuse(unusable, asked, f"predictions by {who} are NaN or infinite; every value must be finite")
    return values


def _replicates(cell: pd.DataFrame, answers: Answers, *, rows: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """Every metric on every slice of one fold: float [S, M, 1 + B], NaN for slices of too few rows."""
    prepared = [
        (s, belongs, _prepared(cell[belongs], answers.y[rows][belongs], metrics=answers.metrics))
        for s, belongs in _large_slices(answers, rows)
    ]
    values = np.full((len(answers.slices), len(answers.metrics), 1 + n_boot), np.nan)
    clusters = int(answers.codes.max()) + 1
    draws = weight_chunks(answers.codes[rows], clusters=clusters, n_boot=n_boot, rng=np.random.default_rng(seed))
    start = 0
    for weights in chain([np.ones((1, len(rows)))], draws):
        stop = start + len(weights)
        for s, belongs, metrics in prepared:
            drawn = weights if belongs.all() else weights[:, belongs]
            for m, metric in enumerate(metrics):
                values[s, m, start:stop] = metric(drawn)
        start = stop
    return values


def _large_slices(answers: Answers, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for s, (name, belongs) in enumerate(answers.slices.items()):
        if name == ALL or min(answers.counts(name).values()) >= MIN_SLICE_ROWS:
            yield s, belongs[rows]


def _prepared(cell: pd.DataFrame, y: np.ndarray, *, metrics: Mapping[str, Metric]) -> list[Replicates]:
    def columns(metric: Metric) -> np.ndarray:
        return cell[list(metric.columns)].to_numpy().squeeze(axis=1 if len(metric.columns) == 1 else ())

    return [metric.prepare(y, columns(metric)) for metric in metrics.values()]


def _estimator_rows(slices: Mapping[str, Scores], answers: Answers) -> Iterator[dict[str, Any]]:
    for name, scores in slices.items():
        detailed = product((*scores.folds, MEAN), (*scores.seeds, MEAN)) if name == ALL else [(MEAN, MEAN)]
        for (fold, seed), metric in product(detailed, answers.metrics):
            yield _row(scores, metric, scores.at(metric, fold=fold, seed=seed), answers, fold=fold, seed=seed)
    spread = slices[ALL].seed_sd
    if len(slices[ALL].seeds) > 1:
        yield from (_row(slices[ALL], f"{metric}_seed_sd", np.array([sd]), answers) for metric, sd in spread.items())


def _difference_rows(
    scores: Mapping[str, Mapping[str, Scores]], answers: Answers, *, reference: str
) -> Iterator[dict[str, Any]]:
    others = [slices for name, slices in scores.items() if name != reference] if reference in scores else []
    for slices, metric in product(others, answers.metrics):
        for name, ours in slices.items():
            difference = ours.at(metric) - scores[reference][name].at(metric)
            yield _row(ours, f"{metric}_minus_{reference}", difference, answers)


def _gain_rows(
    scores: Mapping[str, Mapping[str, Scores]], answers: Answers, *, floor: str, ceiling: str
) -> Iterator[dict[str, Any]]:
    if not {floor, ceiling} <= set(scores):
        return
    low, high = (scores[bound][ALL].at("spearman") for bound in (floor, ceiling))
    attainable = high - low
    for ours in (slices[ALL] for name, slices in scores.items() if name not in (floor, ceiling)):
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(attainable > 0, (ours.at("spearman") - low) / attainable, np.nan)
        yield _row(ours, GAIN, share, answers)


def _row(
    scores: Scores, metric: str, values: np.ndarray, answers: Answers, *, fold: str = MEAN, seed: str = MEAN
) -> dict[str, Any]:
    bounds = interval(values[1:])
    where = {"fold": fold, "estimator": scores.estimator, "seed": seed, "slice": scores.slice, "metric": metric}
    return {**where, "value": float(values[0]), "lo": bounds.lo, "hi": bounds.hi, "n": answers.n(scores.slice, fold)}


def _ceiling_row(answers: Answers) -> dict[str, Any]:
    value = float(np.mean([spearman_ceiling(answers.y[rows]) for rows in answers.folds.values()]))
    where = {"fold": MEAN, "estimator": "ceiling", "seed": MEAN, "slice": ALL, "metric": "spearman_ceiling"}
    return {**where, "value": value, "lo": np.nan, "hi": np.nan, "n": answers.n(ALL)}


def _keys(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([frame["customer_id"], epoch_seconds(frame["cutoff"])])


def _names(values: pd.Series) -> list[str]:
    return [str(value) for value in sorted(values.unique(), key=lambda value: (isinstance(value, str), value))]


def _refuse(wrong: np.ndarray, customers: Any, what: str) -> None:
    """Raises ValueError with the count and the first five customer ids where any entry of `wrong [n]` is true."""
    if wrong.any():
        sample = np.asarray(customers)[wrong][:5].tolist()
        raise ValueError(f"{int(wrong.sum())} {what}; first customers: {sample}")
