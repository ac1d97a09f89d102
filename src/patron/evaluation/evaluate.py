"""Every number that patron reports about predictions, in one long table: intervals, slices, differences and ceilings.

Each estimator, fold and seed is scored on the same truth rows and the same bootstrap customers, so that a difference
between two estimators is paired. Means over folds and seeds are taken within each replicate: their interval says how
far the numbers depend on which customers were seen, not on the seed; `<metric>_seed_sd` says the latter. The evaluator
never asks which estimator made the predictions.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd

from patron.evaluation.answers import ALL, MEAN, Answers, names
from patron.evaluation.bootstrap import interval
from patron.evaluation.ceiling import REPLICATES, propensity_ceiling, spearman_ceiling
from patron.evaluation.curves import deciles
from patron.evaluation.metrics import BY_DECILE
from patron.evaluation.scores import DECILES, Scores, score

log = logging.getLogger("patron")
CONTEXT = ("data", "task", "split", "command", "commit")
_CELL = ("fold", "estimator", "seed", "slice", "metric", "value", "lo", "hi", "n")
COLUMNS = (*CONTEXT[:3], *_CELL, *CONTEXT[3:])
GAIN, ATTAINED = "spearman_gain_share", "spearman_attained_share"
CEILING, PROPENSITY = "spearman_ceiling", "spearman_propensity"


def evaluate(
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    reference: str = "lightgbm",
    pairs: Collection[tuple[str, str]] = (),
    floor: str = "rfm",
    ceiling: str = "oracle",
    attainable: str = "oracle_past",
    flag: bool = False,
    context: Mapping[str, str],
) -> pd.DataFrame:
    """The long table of `COLUMNS`; [lo, hi] is the 95 % percentile interval of a bootstrap over customers.

    `truth` is the task table, with boolean columns `slice_*`. A column `fold` there says which rows belong to which
    fold; without it every fold holds every row. Its columns `OCCASIONS` say when each customer bought, for a ceiling by
    the propensity, and `label_scale` holds the spread of the training labels; without them there is neither.

    Rows `<metric>_minus_<reference>` appear where the reference was predicted, and likewise `<metric>_minus_<second>`
    of the first of each of the `pairs` of estimators of which both were; rows `spearman_gain_share` where `floor` and
    `ceiling` were: (Spearman - floor) / (ceiling - floor); and `spearman_attained_share`, the same with `attainable` in
    place of the ceiling, who knows no more than any history tells. All are of every fold and, as fold `mean`, of the
    mean over folds. Slices `decile_1` to `decile_10` are the tenths of an estimator's own
    ranking in the sample, 1 the highest, and have the metrics `BY_DECILE`. Rows of the estimator `ceiling` say how far
    anybody could get. `n` is the number of truth rows. `flag` says
    that labels are 0 or 1, and adds the metrics of a classification.

    Raises ValueError, naming estimator and customers, unless each estimator has exactly one finite prediction for every
    row of every fold and seed: nobody is dropped silently.
    """
    answers = Answers.of(truth, folds=names(predictions["fold"]), flag=flag)
    _check_context(context)
    scores = {
        str(name): score(frame, answers, estimator=str(name), n_boot=n_boot, seed=seed)
        for name, frame in predictions.groupby("estimator", sort=False, observed=True)
    }
    rows = chain(
        chain.from_iterable(_estimator_rows(slices, answers) for slices in scores.values()),
        _difference_rows(scores, answers, pairs=[*((name, reference) for name in scores), *pairs]),
        _gain_rows(scores, GAIN, between=(floor, ceiling), but=(floor, ceiling)),
        _gain_rows(scores, ATTAINED, between=(floor, attainable), but=(floor, attainable, ceiling)),
        _ceiling_rows(answers, n_boot=n_boot, seed=seed),
    )
    return pd.DataFrame([{**context, **row} for row in rows], columns=list(COLUMNS))


def _check_context(context: Mapping[str, str]) -> None:
    if set(context) != set(CONTEXT):
        raise ValueError(f"context has the keys {sorted(context)}; it needs exactly {list(CONTEXT)}")


def _estimator_rows(slices: Mapping[str, Scores], answers: Answers) -> Iterator[dict[str, Any]]:
    for name in answers.slices:
        scores = slices[name]
        detailed = product((*scores.folds, MEAN), (*scores.seeds, MEAN)) if name == ALL else [(MEAN, MEAN)]
        for (fold, seed), metric in product(detailed, scores.metrics):
            yield _row(scores, metric, scores.at(metric, fold=fold, seed=seed), fold=fold, seed=seed)
    everybody = slices[ALL]
    if len(everybody.seeds) > 1:
        for fold, metric in product((*everybody.folds, MEAN), answers.metrics):
            spread = np.array([everybody.seed_sd(metric, fold=fold)])
            yield _row(everybody, f"{metric}_seed_sd", spread, fold=fold)
    given = [name for name in BY_DECILE if name not in answers.metrics or np.isfinite(everybody.at(name)[0])]
    for fold, metric, name in product((*everybody.folds, MEAN), given, DECILES):
        yield _row(slices[name], metric, slices[name].at(metric, fold=fold), fold=fold)


def _difference_rows(
    scores: Mapping[str, Mapping[str, Scores]], answers: Answers, *, pairs: Collection[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    there = [(one, other) for one, other in dict.fromkeys(pairs) if one != other and {one, other} <= set(scores)]
    for (one, other), metric, name in product(there, answers.metrics, answers.slices):
        ours, theirs = scores[one][name], scores[other][name]
        folds = (*ours.folds, MEAN) if name == ALL else (MEAN,)
        for fold in folds if metric in ours.metrics else ():
            difference = ours.at(metric, fold=fold) - theirs.at(metric, fold=fold)
            yield _row(ours, f"{metric}_minus_{other}", difference, fold=fold)


def _gain_rows(
    scores: Mapping[str, Mapping[str, Scores]], metric: str, *, between: tuple[str, str], but: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    if not set(between) <= set(scores):
        return
    bounds = [scores[bound][ALL] for bound in between]
    for ours in (slices[ALL] for name, slices in scores.items() if name not in but):
        for fold in (*ours.folds, MEAN):
            low, high = (bound.at("spearman", fold=fold) for bound in bounds)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(high > low, (ours.at("spearman", fold=fold) - low) / (high - low), np.nan)
            yield _row(ours, metric, share, fold=fold)


def _ceiling_rows(answers: Answers, *, n_boot: int, seed: int) -> Iterator[dict[str, Any]]:
    folds = tuple(answers.folds)
    ties = [np.array([spearman_ceiling(answers.y[rows])]) for rows in answers.folds.values()]
    chance = [_propensity(answers, fold=fold, n_boot=n_boot, seed=seed) for fold in folds]
    of_folds = {metric: np.stack(found)[:, None, None] for metric, found in ((CEILING, ties), (PROPENSITY, chance))}
    for metric, values in of_folds.items():
        ceiling = Scores("ceiling", ALL, folds, (MEAN,), (metric,), values, answers.n(ALL))
        found = (_row(ceiling, metric, ceiling.at(metric, fold=fold), fold=fold) for fold in (*folds, MEAN))
        yield from (row for row in found if np.isfinite(row["value"]))
    yield from _perfect_rows(answers)


def _perfect_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    """The mean label of each tenth of the customers by their label itself: no ranking gains more."""
    tenths = {fold: deciles(answers.y[rows]) for fold, rows in answers.folds.items()}
    for k, name in enumerate(DECILES, start=1):
        within = {fold: answers.y[rows][tenths[fold] == k] for fold, rows in answers.folds.items()}
        means = {fold: float(y.mean()) if len(y) else np.nan for fold, y in within.items()}
        values = np.array(list(means.values()))[:, None, None, None]
        n = {**{fold: len(y) for fold, y in within.items()}, MEAN: sum(map(len, within.values()))}
        perfect = Scores("ceiling", name, tuple(means), (MEAN,), ("label_mean",), values, n)
        yield from (_row(perfect, "label_mean", perfect.at("label_mean", fold=fold), fold=fold) for fold in n)


def _propensity(answers: Answers, *, fold: str, n_boot: int, seed: int) -> np.ndarray:
    rows, replicates = answers.folds[fold], min(n_boot, REPLICATES)
    draws = answers.draws(fold, n_boot=replicates, seed=seed)
    found = propensity_ceiling(answers.y[rows], answers.occasions[rows], draws)
    if found.reason:
        log.info("fold %s has no ceiling by the propensity of customers: %s", fold, found.reason)
        return np.full(1 + replicates, np.nan)
    return found.values


def _row(scores: Scores, metric: str, values: np.ndarray, *, fold: str = MEAN, seed: str = MEAN) -> dict[str, Any]:
    bounds = interval(values[1:])
    where = {"fold": fold, "estimator": scores.estimator, "seed": seed, "slice": scores.slice, "metric": metric}
    return {**where, "value": float(values[0]), "lo": bounds.lo, "hi": bounds.hi, "n": scores.n[fold]}
