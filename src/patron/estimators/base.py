"""The one seam of the modelling: anything that turns the past into expected spend is an `Estimator`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import joblib
import numpy as np
import pandas as pd

from patron.features.asof import FeatureConfig
from patron.files import whole_file
from patron.graph.build import GraphConfig
from patron.tables.database import Database
from patron.tables.worlds.truth import Truth
from patron.task.ltv import TaskTable
from patron.training.config import TrainerConfig

QUANTILES: Mapping[str, float] = {"q05": 0.05, "q10": 0.1, "q25": 0.25, "q75": 0.75, "q90": 0.9, "q95": 0.95}
COLUMNS = ("customer_id", "cutoff", "ltv_mean", "ltv_median", "rank_score", "p_active", *QUANTILES)


class Estimator(Protocol):
    """Anything that turns the past into expected spend. It never sees a row or label past the cutoff it is given.

    `fit` chooses on `train` and `val`, then learns from `refit`, all whose windows have closed in `db`: beside those
    two the protocol needs it, since between the last train cutoff and the test there are closed windows that overlap
    validation's. `on_graph` says whether the run's graph and trainer make a difference to it.
    """

    on_graph: bool

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self: ...
    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame: ...
    def save(self, folder: Path) -> None: ...
    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Component(Estimator, Protocol):
    """An estimator that a stack can be made of: `held_out` is what it said of the validation rows when it had not
    learned from them, in their order."""

    held_out: pd.DataFrame


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

    on_graph = False

    def save(self, folder: Path) -> None:
        """Write `folder/estimator.joblib`, complete or not at all."""
        with whole_file(folder / "estimator.joblib") as partial:
            joblib.dump(self, partial)

    @classmethod
    def load(cls, folder: Path) -> Any:
        """The object that `save` wrote. Raises FileNotFoundError if there is none."""
        return joblib.load(folder / "estimator.joblib")


def predictions(
    rows: TaskTable,
    *,
    mean: np.ndarray,
    median: np.ndarray | None = None,
    rank: np.ndarray | None = None,
    p_active: np.ndarray | None = None,
    quantile: Callable[[float], np.ndarray] | None = None,
) -> pd.DataFrame:
    """The predictions frame of `rows`, in their order; `p_active` is the probability of a label above 0.

    Without a median it is the quantile at one half, or else the mean, and so is the rank; what is not given otherwise
    is NaN. Of a flag all but the rank are kept within [0, 1].
    """
    nothing = np.full(len(rows), np.nan)
    if median is None:
        median = mean if quantile is None else quantile(0.5)
    spend = {"ltv_mean": mean, "ltv_median": median}
    bounds = {name: nothing if quantile is None else quantile(level) for name, level in QUANTILES.items()}
    if rows.is_flag:
        spend, bounds = ({name: of.clip(0, 1) for name, of in some.items()} for some in (spend, bounds))
    others = {"rank_score": mean if rank is None else rank, "p_active": nothing if p_active is None else p_active}
    return rows.frame[["customer_id", "cutoff"]].assign(**spend, **others, **bounds)
