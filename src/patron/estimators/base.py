"""The one seam of the modelling: anything that turns the past into expected spend is an `Estimator`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import joblib
import numpy as np
import pandas as pd

from patron.calibration.distribution import Distribution
from patron.features.asof import FeatureConfig
from patron.files import whole_file
from patron.graph.build import GraphConfig
from patron.tables.database import Database
from patron.tables.worlds.truth import Truth
from patron.task.ltv import TaskTable
from patron.training.config import TrainerConfig

QUANTILES: Mapping[str, float] = {
    "q025": 0.025, "q05": 0.05, "q10": 0.1, "q25": 0.25, "q75": 0.75, "q90": 0.9, "q95": 0.95, "q975": 0.975,
}  # fmt: skip
AT_ONCE = 2**16  # rows whose distributions are held
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


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is predicted of n rows: a score that ranks them, [n], and the distributions of their spend, of a slice of
    them at a time, since each is a hundred numbers."""

    rank: np.ndarray
    spend: Callable[[slice], Distribution]

    def frame(self, rows: TaskTable) -> pd.DataFrame:
        """The predictions frame of `rows`, in their order. Of a flag mean and quantiles are probabilities."""
        parts = [_functionals(self.spend(some)) for some in blocks(len(rows))]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return rows.frame[["customer_id", "cutoff"]].assign(**columns, rank_score=self.rank)[list(COLUMNS)]


def blocks(number: int) -> list[slice]:
    """`number` rows, in parts whose distributions may be held at once."""
    return [slice(start, min(start + AT_ONCE, number)) for start in range(0, max(number, 1), AT_ONCE)]


def level_factor(refit: TaskTable, predict: Callable[..., pd.DataFrame]) -> float:
    """By what spend is to be multiplied so that it is at the level to which the rows of `refit` are anchored: 1 where
    they are not, within a third and three."""
    if refit.anchor is None:
        return 1.0
    expected = float(predict(rows=refit.anchor.rows)["ltv_mean"].mean())
    return float(np.clip(refit.anchor.mean / max(expected, 1e-9), 1 / 3, 3))


class Component(Estimator, Protocol):
    """An estimator that a stack can be made of: `held_out` is what it said of the validation rows when it had not
    learned from them, in their order; nothing that it calibrated on a row has gone into what it says of it."""

    held_out: Prediction

    def say(self, db: Database, *, rows: TaskTable) -> Prediction: ...


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

    def __getstate__(self) -> dict[str, Any]:
        # What was held out is for who chooses on it, in the same process: a hundred numbers a validation row.
        return {name: value for name, value in self.__dict__.items() if name != "held_out"}

    def save(self, folder: Path) -> None:
        """Write `folder/estimator.joblib`, complete or not at all."""
        with whole_file(folder / "estimator.joblib") as partial:
            joblib.dump(self, partial)

    @classmethod
    def load(cls, folder: Path) -> Any:
        """The object that `save` wrote. Raises FileNotFoundError if there is none."""
        return joblib.load(folder / "estimator.joblib")


def expectations(
    rows: TaskTable,
    *,
    mean: np.ndarray,
    median: np.ndarray | None = None,
    rank: np.ndarray | None = None,
    p_active: np.ndarray | None = None,
) -> pd.DataFrame:
    """The predictions frame of `rows`, in their order, by an estimator that knows no distribution: quantiles are NaN.

    Without a median it is the mean, and so is the rank; `p_active`, the probability of a label above 0, is NaN if it is
    not known. Of a flag mean and median are kept within [0, 1].
    """
    nothing = np.full(len(rows), np.nan)
    spend = {"ltv_mean": mean, "ltv_median": mean if median is None else median}
    if rows.is_flag:
        spend = {name: of.clip(0, 1) for name, of in spend.items()}
    others = {"rank_score": mean if rank is None else rank, "p_active": nothing if p_active is None else p_active}
    columns = {**spend, **others, **dict.fromkeys(QUANTILES, nothing)}
    return rows.frame[["customer_id", "cutoff"]].assign(**columns)[list(COLUMNS)]


def _functionals(spend: Distribution) -> dict[str, np.ndarray]:
    quantiles = {name: spend.quantile(level) for name, level in QUANTILES.items()}
    return {"ltv_mean": spend.mean, "ltv_median": spend.median, "p_active": spend.p_active, **quantiles}
