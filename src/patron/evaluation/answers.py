"""The truth that every prediction is scored against, and the refusal to drop anybody silently."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from patron.days import epoch_seconds
from patron.evaluation.bootstrap import weight_chunks
from patron.evaluation.metrics import OPTIONAL, SCALE, Metric, metrics_for
from patron.evaluation.occasions import OCCASIONS

PREFIX = "slice_"  # of the boolean truth columns that name a slice
MEAN, ALL = "mean", "all"


@dataclass(frozen=True, eq=False)
class Answers:
    """The truth, in the order of customer and cutoff: what every prediction is scored against."""

    customers: np.ndarray  # [n] ids
    keys: pd.MultiIndex  # [n] customer and cutoff, unique
    y: np.ndarray  # [n] spend
    occasions: np.ndarray  # [n, OCCASIONS] of the label windows, NaN where there are none
    scale: np.ndarray  # [n] standard deviation of the labels that the row's fold was trained on, or NaN
    codes: np.ndarray  # [n] number of the row's customer, for the bootstrap
    folds: Mapping[str, np.ndarray]  # row numbers of each fold
    slices: Mapping[str, np.ndarray]  # [n] whether the row belongs; "all" comes first
    metrics: Mapping[str, Metric]

    @classmethod
    def of(cls, truth: pd.DataFrame, *, folds: list[str], flag: bool) -> "Answers":
        """The answers of a task table. Raises ValueError for rows given twice, labels that are no spend (of a `flag`,
        neither 0 nor 1), slices with gaps, and other folds than `folds`."""
        truth = truth.sort_values(["customer_id", "cutoff"], ignore_index=True)  # no result depends on the row order
        keys, y = _keys(truth), truth["label"].to_numpy(dtype=float)
        _refuse(keys.duplicated(), truth["customer_id"], "truth rows share customer_id and cutoff; keep one of each")
        unusable = ~((y >= 0) & (y < np.inf))
        _refuse(unusable, truth["customer_id"], "truth rows have a negative or missing label; a label is spend >= 0")
        _refuse((y > 0) & (y != 1) & flag, truth["customer_id"], "truth rows have a label that is neither 0 nor 1")
        customers = truth["customer_id"].to_numpy()
        codes, metrics = pd.factorize(customers)[0], metrics_for(flag=flag)
        bought, scale = (truth.reindex(columns=list(names)).to_numpy(dtype=float) for names in (OCCASIONS, [SCALE]))
        return cls(customers, keys, y, bought, scale[:, 0], codes, _fold_rows(truth, folds), _slices(truth), metrics)

    def n(self, name: str) -> dict[str, int]:
        """Number of truth rows of a slice in each fold, and as `mean` in all of them together."""
        belongs = self.slices[name]
        return {**{fold: int(belongs[rows].sum()) for fold, rows in self.folds.items()}, MEAN: int(belongs.sum())}

    def draws(self, fold: str, *, n_boot: int, seed: int) -> Iterator[np.ndarray]:
        """Weights [b, rows of the fold]: first the sample itself, then replicates, the same ones for whoever asks."""
        rows, clusters, rng = self.folds[fold], int(self.codes.max()) + 1, np.random.default_rng(seed)
        drawn = weight_chunks(self.codes[rows], clusters=clusters, n_boot=n_boot, rng=rng)
        return chain([np.ones((1, len(rows)))], drawn)

    def aligned(self, cell: pd.DataFrame, *, fold: str, who: str) -> pd.DataFrame:
        """The cell's predictions in the order of the fold's truth rows, and the fold's scale. Raises ValueError unless
        each row has one, and all of it finite; columns that an estimator need not give may be NaN throughout."""
        rows = self.folds[fold]
        keys, asked, given = _keys(cell), self.customers[rows], cell["customer_id"]
        position = self.keys[rows].get_indexer(keys)
        missing = ~np.isin(np.arange(len(rows)), position)
        _refuse(missing, asked, f"of {len(rows)} truth rows have no prediction by {who}; predict every row")
        _refuse(position < 0, given, f"predictions by {who} belong to no truth row; predict the task table only")
        _refuse(keys.duplicated(), given, f"predictions by {who} repeat a customer and cutoff; keep one of each")
        needed = list(dict.fromkeys(column for metric in self.metrics.values() for column in metric.columns))
        values = cell.reindex(columns=needed).astype(float).set_axis(position).sort_index()
        values[SCALE] = self.scale[rows]
        without = [column for column in OPTIONAL if values[column].isna().all()]
        unusable = ~np.isfinite(values.drop(columns=without).to_numpy()).all(axis=1)
        _refuse(unusable, asked, f"predictions by {who} are NaN or infinite; every value must be finite")
        return values


def names(values: pd.Series) -> list[str]:
    """The distinct values as text, numbers in their order before texts in theirs."""
    return [str(value) for value in sorted(values.unique(), key=lambda value: (isinstance(value, str), value))]


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
        raise ValueError(f"the truth has folds {names(fold_of)} and the predictions {folds}; they must be the same")
    return {fold: np.flatnonzero(fold_of == fold) for fold in folds}


def _keys(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([frame["customer_id"], epoch_seconds(frame["cutoff"])])


def _refuse(wrong: np.ndarray, customers: Any, what: str) -> None:
    """Raises ValueError with the count and the first five customer ids where any entry of `wrong [n]` is true."""
    if wrong.any():
        sample = np.asarray(customers)[wrong][:5].tolist()
        raise ValueError(f"{int(wrong.sum())} {what}; first customers: {sample}")
