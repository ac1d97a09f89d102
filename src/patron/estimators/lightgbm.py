"""LightGBM on as-of features: the opponent that published graph models have to beat (field notes), on RFM alone, on
what a customer's own row says, on all of them, or with what the other buyers of the same products did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, Self

import lightgbm
import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.decode import Residuals
from patron.estimators.base import Setting, Stored, predictions
from patron.features.asof import RFM, FeatureSpec, design, specify
from patron.features.encode import Encoder, encode, fit_encoder
from patron.features.groups import Group
from patron.tables.database import Database
from patron.task.ltv import TaskTable


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LightGBMConfig:
    """`params` are LightGBM's own. The number of trees is chosen on the validation rows, at most `max_trees`.

    `features`: rfm is five columns; flat is attributes, rfm and windows, nothing of products or other customers; all is
    every group of the run's features; twohop adds the two-hop aggregates to those.
    """

    name: Literal["lightgbm"]
    features: Literal["rfm", "flat", "all", "twohop"]
    max_trees: Annotated[int, Field(gt=0)]
    patience: Annotated[int, Field(gt=0)]
    params: Mapping[str, float | int | str | bool]


FLAT: tuple[Group, ...] = ("attributes", "rfm", "windows")


@dataclass(frozen=True)
class Scale:
    """A transform of the label that boosting fits by squared error; with `offset` it starts from the pace of the
    past, which only a total of money has."""

    forward: Callable[[np.ndarray], np.ndarray]
    offset: bool


def _fourth_root(spend: np.ndarray) -> np.ndarray:
    return np.asarray(spend**0.25)


# The log ranks best where many spend nothing, the fourth root where few do, and money is best decoded from the fourth
# root with an offset, since trees alone cut the heavy tail into steps. Chosen on validation rows (LOG.md,
# 2026-11-22).
SCALES = (Scale(np.log1p, offset=False), Scale(_fourth_root, offset=True))


@dataclass(frozen=True)
class Matrix:
    """What LightGBM sees of rows [n, columns], and the spend that their past pace would come to: [n]."""

    values: np.ndarray
    pace: np.ndarray


@dataclass(frozen=True)
class Boosted:
    """A booster on one scale, and mean and standard deviation of what it said of rows it had not learned from."""

    booster: lightgbm.Booster
    centre: float
    spread: float


class LightGBM(Stored):
    """Boosted trees on two scales of spend: their standardised sum ranks, the second is decoded to money by its
    validation residuals."""

    spec: FeatureSpec
    words: Encoder
    scales: tuple[Scale, ...]
    boosted: tuple[Boosted, ...]
    residuals: Residuals

    def __init__(self, config: LightGBMConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        first = train.at(train.cutoffs[0])
        self.words = fit_encoder(self._design(db, first).select_dtypes(exclude="number"))
        known, checked, everything = (self._matrix(db, rows) for rows in (train, val, refit))
        self.scales = tuple(replace(scale, offset=scale.offset and refit.is_total) for scale in SCALES)
        boosted = []
        for scale in self.scales:
            tuned = self._boost(known, train.label, scale=scale, valid=(checked, val.label))
            held_out = _apply(tuned, checked, scale=scale)
            final = self._boost(everything, refit.label, scale=scale, trees=max(1, tuned.best_iteration))
            boosted.append(Boosted(final, held_out.mean(), max(held_out.std(), 1e-9)))
        # The final booster knows the level of the validation window, which the tuned one met as a surprise: only the
        # spread about that level is news to it, or the season's shift would be counted twice.
        level = (self.scales[-1].forward(val.label) - held_out).mean()
        self.boosted, self.residuals = tuple(boosted), Residuals.fit(_log_spend(held_out + level), val.label)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        matrix = self._matrix(db, rows)
        said = [_apply(one.booster, matrix, scale=scale) for one, scale in zip(self.boosted, self.scales, strict=True)]
        rank = sum((z - one.centre) / one.spread for one, z in zip(self.boosted, said, strict=True))
        location = _log_spend(said[-1])
        return predictions(
            rows,
            mean=self.residuals.mean(location),
            rank=np.asarray(rank),
            quantile=partial(self.residuals.quantile, location),
        )

    def _design(self, db: Database, rows: TaskTable) -> pd.DataFrame:
        made = self.spec.groups
        asked: Mapping[str, tuple[Group, ...]] = {
            "rfm": ("rfm",),
            "flat": tuple(group for group in made if group in FLAT),
            "all": made,
            "twohop": (*made, "twohop"),
        }
        features = design(db, rows=rows, spec=self.spec, groups=asked[self.config.features])
        return features[list(RFM)] if self.config.features == "rfm" else features

    def _matrix(self, db: Database, rows: TaskTable) -> Matrix:
        features = self._design(db, rows)
        words = encode(self.words, features)
        pace = design(db, rows=rows, spec=self.spec, groups=("rfm",))["spend_pace"].fillna(0)
        return Matrix(np.hstack([features.select_dtypes("number").to_numpy(), words]), pace.to_numpy())

    def _boost(
        self,
        matrix: Matrix,
        y: np.ndarray,
        *,
        scale: Scale,
        trees: int = 0,
        valid: tuple[Matrix, np.ndarray] | None = None,
    ) -> lightgbm.Booster:
        params: dict[str, Any] = {
            **self.config.params,
            "objective": "regression",
            "seed": self.setting.seed,
            "deterministic": True,
            "verbosity": -1,
        }
        # Column names may hold what LightGBM's JSON refuses, so it gets positions.
        data = lightgbm.Dataset(matrix.values, scale.forward(y), init_score=_offset(matrix, scale))
        if valid is None:
            return lightgbm.train(params, data, num_boost_round=trees)
        rows, labels = valid
        check = data.create_valid(rows.values, scale.forward(labels), init_score=_offset(rows, scale))
        stop = lightgbm.early_stopping(self.config.patience, verbose=False)
        return lightgbm.train(params, data, num_boost_round=self.config.max_trees, valid_sets=[check], callbacks=[stop])


def _apply(booster: lightgbm.Booster, matrix: Matrix, *, scale: Scale) -> np.ndarray:
    boosted = np.asarray(booster.predict(matrix.values), dtype=np.float64)
    offset = _offset(matrix, scale)
    return boosted if offset is None else boosted + offset


def _offset(matrix: Matrix, scale: Scale) -> np.ndarray | None:
    return scale.forward(matrix.pace) if scale.offset else None


def _log_spend(fourth_root: np.ndarray) -> np.ndarray:
    return np.log1p(np.maximum(fourth_root, 0) ** 4)
