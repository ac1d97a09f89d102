"""The one seam of the modelling: anything that turns the past into expected spend is an `Estimator`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import joblib
import numpy as np
import pandas as pd

from patron.features.asof import FeatureConfig
from patron.graph.build import GraphConfig
from patron.tables.database import Database
from patron.tables.worlds.truth import Truth
from patron.task.ltv import TaskTable
from patron.training.module import TrainerConfig

COLUMNS = ("customer_id", "cutoff", "ltv_mean", "ltv_median", "rank_score", "p_active", "q10", "q90")


class Estimator(Protocol):
    """Anything that turns the past into expected spend. It never sees a row or label past the cutoff it is given.

    `fit` chooses on `train` and `val`, then learns from `refit`, all whose windows have closed in `db`: beside those
    two the protocol needs it, since between the last train cutoff and the test there are closed windows that overlap
    validation's.
    """

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self: ...
    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame: ...
    def save(self, folder: Path) -> None: ...
    @classmethod
    def load(cls, folder: Path) -> Self: ...


@dataclass(frozen=True)
class Setting:
    """What the estimators of a run share. `world` is the truth, where the data are a made-up world, and nobody but the
    oracle may look at it."""

    features: FeatureConfig
    graph: GraphConfig
    trainer: TrainerConfig
    seed: int
    folder: Path
    ckpt_path: Path | None
    world: Truth | None


class Stored:
    """Saves and loads the whole object as `estimator.joblib`. Only load what you trust: a pickle can run code."""

    def save(self, folder: Path) -> None:
        """Write `folder/estimator.joblib`, complete or not at all."""
        partial = folder / "estimator.joblib.partial"
        joblib.dump(self, partial)
        partial.rename(folder / "estimator.joblib")

    @classmethod
    def load(cls, folder: Path) -> Any:
        """The object that `save` wrote. Raises FileNotFoundError if there is none."""
        return joblib.load(folder / "estimator.joblib")


def predictions(
    rows: TaskTable, *, mean: np.ndarray, median: np.ndarray | None = None, rank: np.ndarray | None = None,
    p_active: np.ndarray | None = None, low: np.ndarray | None = None, high: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The predictions frame of `rows`, in their order. Median and rank are the mean where none is given; the rest is
    NaN then. Of a flag all but the rank are kept within [0, 1]."""
    nothing = np.full(len(rows), np.nan)
    given = {"ltv_mean": mean, "ltv_median": median, "rank_score": rank, "p_active": p_active, "q10": low, "q90": high}
    default = {"ltv_median": mean, "rank_score": mean}
    columns = {name: default.get(name, nothing) if values is None else values for name, values in given.items()}
    if rows.is_flag:
        columns |= {name: columns[name].clip(0, 1) for name in ("ltv_mean", "ltv_median", "q10", "q90")}
    return rows.frame[["customer_id", "cutoff"]].assign(**columns)
