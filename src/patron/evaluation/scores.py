"""All metrics of one estimator, in the sample and in every bootstrap replicate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from patron.evaluation.answers import ALL, MEAN, Answers, names
from patron.evaluation.curves import deciles
from patron.evaluation.metrics import BY_DECILE, Metric
from patron.evaluation.weighted import together

WHOLE = ("decile_mape",)  # not of slices: a tenth of a small slice is nobody, and it costs more than the others
MIN_SLICE_ROWS = 30  # in every fold; below it a slice gets its n and a NaN
DECILES = tuple(f"decile_{k}" for k in range(1, 11))  # of the estimator's own ranking, the highest first


@dataclass(frozen=True, eq=False)
class Scores:
    """All metrics of one estimator on one slice: float [F, K, M, 1 + B]; entry 0 is the sample, the rest replicates."""

    estimator: str
    slice: str
    folds: tuple[str, ...]
    seeds: tuple[str, ...]
    metrics: tuple[str, ...]
    values: np.ndarray
    n: Mapping[str, int]  # rows in each fold and, as `mean`, in all

    def at(self, metric: str, *, fold: str = MEAN, seed: str = MEAN) -> np.ndarray:
        """[1 + B] of one metric: of one fold and seed, or the mean over either or both."""
        values = self.values[:, :, self.metrics.index(metric)]
        values = values.mean(0) if fold == MEAN else values[self.folds.index(fold)]
        return values.mean(0) if seed == MEAN else values[self.seeds.index(seed)]

    def seed_sd(self, metric: str, *, fold: str) -> float:
        """Standard deviation of a metric over seeds, of which there are several, of one fold or the mean over folds."""
        return float(np.std([self.at(metric, fold=fold, seed=seed)[0] for seed in self.seeds], ddof=1))


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of a cell, and all metrics of them: weights [b, rows] -> [M, b]."""

    belongs: np.ndarray  # [n] of the cell
    metrics: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, cell: pd.DataFrame, y: np.ndarray, belongs: np.ndarray, *, metrics: Mapping[str, Metric]) -> "_Part":
        rows = {str(name): column.to_numpy()[belongs] for name, column in cell.items()}

        def read(metric: Metric) -> np.ndarray:
            first, *others = (rows[name] for name in metric.columns)
            return np.stack([first, *others], axis=1) if others else first

        return cls(belongs, together([metric.replicates(y[belongs], read(metric)) for metric in metrics.values()]))

    @classmethod
    def too_small(cls, belongs: np.ndarray, *, metrics: Mapping[str, Metric]) -> "_Part":
        return cls(belongs, lambda weights: np.full((len(metrics), len(weights)), np.nan))

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Every metric in every replicate: weights [b, n] -> [M, b]."""
        return self.metrics(weights if self.belongs.all() else weights[:, self.belongs])


def score(predictions: pd.DataFrame, answers: Answers, *, estimator: str, n_boot: int, seed: int) -> dict[str, Scores]:
    """The estimator's scores on each slice, and on each tenth of its own ranking."""
    grouped = predictions.groupby(["fold", "seed"], dropna=False, observed=True)
    cells = {(str(fold), str(run)): frame for (fold, run), frame in grouped}
    folds, seeds = tuple(answers.folds), tuple(names(predictions["seed"]))
    metrics = {name: _metrics(name, answers) for name in (*answers.slices, *DECILES)}
    values = {name: np.empty((len(folds), len(seeds), len(of), 1 + n_boot)) for name, of in metrics.items()}
    rows = {name: np.empty((len(folds), len(seeds))) for name in metrics}
    for (f, fold), (k, run) in product(enumerate(folds), enumerate(seeds)):
        who = f"estimator '{estimator}' (fold {fold}, seed {run})"
        cell = answers.aligned(cells.get((fold, run), predictions.iloc[:0]), fold=fold, who=who)
        parts, stop = dict(_parts(cell, answers, fold=fold)), 0
        for name, part in parts.items():
            rows[name][f, k] = part.belongs.sum()
        for weights in answers.draws(fold, n_boot=n_boot, seed=seed):
            start, stop = stop, stop + len(weights)
            for name, part in parts.items():
                values[name][f, k, :, start:stop] = part.at(weights)
    return {
        name: Scores(estimator, name, folds, seeds, tuple(of), values[name], _n(name, answers, rows[name]))
        for name, of in metrics.items()
    }


def _metrics(name: str, answers: Answers) -> Mapping[str, Metric]:
    if name in DECILES:
        return BY_DECILE
    return {metric: of for metric, of in answers.metrics.items() if name == ALL or metric not in WHOLE}


def _parts(cell: pd.DataFrame, answers: Answers, *, fold: str) -> Iterator[tuple[str, _Part]]:
    rows, decile = answers.folds[fold], deciles(cell["rank_score"].to_numpy())
    members = {name: belongs[rows] for name, belongs in answers.slices.items()}
    members |= {name: decile == k for k, name in enumerate(DECILES, start=1)}
    for name, belongs in members.items():
        metrics = _metrics(name, answers)
        fewest = belongs.sum() if name in DECILES else min(answers.n(name).values())
        if name != ALL and fewest < MIN_SLICE_ROWS:
            yield name, _Part.too_small(belongs, metrics=metrics)
        else:
            yield name, _Part.of(cell, answers.y[rows], belongs, metrics=metrics)


def _n(name: str, answers: Answers, rows: np.ndarray) -> dict[str, int]:
    # Tenths are of each seed's own ranking, so that ties may make them differ by some rows.
    if name in answers.slices:
        return answers.n(name)
    in_folds = rows.mean(axis=1).round().astype(int)
    all_rows = answers.n(ALL)
    shared = all_rows[MEAN] / sum(all_rows[fold] for fold in answers.folds)  # below 1 if folds hold the same rows
    return {**dict(zip(answers.folds, in_folds.tolist(), strict=True)), MEAN: round(in_folds.sum() * shared)}
