"""LightGBM on as-of features: the opponent that published graph models have to beat (field notes), on RFM alone, on
what a customer's own row says, on all of them, or with what the other buyers of the same products did."""

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.calibration.decode import Decoder, held_out
from patron.calibration.distribution import Distribution
from patron.calibration.recalibrate import cross_fitted
from patron.estimators.base import Prediction, Setting, Stored, level_factor
from patron.estimators.boosting import Boosted, Level, Matrix, Name, Said, boost
from patron.features.asof import RFM, FeatureSpec, design, specify
from patron.features.encode import Encoder, encode, fit_encoder
from patron.features.groups import Group
from patron.tables.database import Database
from patron.task.ltv import TaskTable


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LightGBMConfig:
    """`params` are LightGBM's own. The number of trees is chosen on customers held out, at most `max_trees`.

    `features`: rfm is five columns; flat is attributes, rfm and windows, nothing of products or other customers; all is
    every group of the run's features; twohop adds the two-hop aggregates to those.
    """

    name: Literal["lightgbm"]
    features: Literal["rfm", "flat", "all", "twohop"]
    max_trees: Annotated[int, Field(gt=0)]
    patience: Annotated[int, Field(gt=0)]
    params: Mapping[str, float | int | str | bool]


FLAT: tuple[Group, ...] = ("attributes", "rfm", "windows")
PARTS = 3  # of the customers, each held out once


class LightGBM(Stored):
    """Boosted trees on several views of spend: one ranks, two make a hurdle model, one gives a mean.

    The customers of all closed windows, each of them held out once, choose the number of trees, and what is left of
    them turns what is said into a distribution: they are many more than the rows of the validation window, and whoever
    learns from the same windows knows their seasons, as the final boosters do.
    """

    spec: FeatureSpec
    words: Encoder
    trees: dict[Name, int]
    tuned: Boosted  # that learned from `train` alone
    final: Boosted
    known: Said  # of the rows of `refit`, by boosters that had not learned from their customers
    decoder: Decoder
    held_out: Prediction

    def __init__(self, config: LightGBMConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.begin(db, train=train, cutoffs=refit.cutoffs)
        matrix, past, later = self.matrix(db, refit), self.matrix(db, train), self.matrix(db, val)
        if set(val.cutoffs) <= set(train.cutoffs):  # other customers of the same windows validate
            self.known, self.trees = self._cross_validated(matrix, refit)
            self.tuned = self._boost(past, train, self.trees)
        else:
            self.tuned = self._boost(past, train, self.most, valid=(later, val))
            self.trees = self.tuned.trees
            self.known, _ = self._held_out(matrix, refit, trees=self.trees, choose=False)
        self.decoder = Decoder.fit(self.known.forecast, refit, seen=refit.largest)
        self.final = self._boost(matrix, refit, self.trees)
        self.held_out = self.out_of_time(self.tuned.say(later), val, refit=refit)
        self.decoder = self.decoder.stretched(refit.stretch)
        self.decoder = self.decoder.scaled(level_factor(refit, partial(self.predict, db)))
        return self

    def out_of_time(self, said: Said, val: TaskTable, *, refit: TaskTable) -> Prediction:
        """What is predicted of the validation rows if earlier boosters say `said` of them: for each half of their
        customers, level and decoder are what the others taught."""
        customers, seen = refit.frame["customer_id"], refit.largest

        def calibrated(fitted: np.ndarray, asked: np.ndarray) -> Distribution:
            others = ~customers.isin(val.frame["customer_id"][asked]).to_numpy()
            decoder = Decoder.fit(self.known.where(others).forecast, refit.where(others), seen=seen)
            level = Level.between(said.where(fitted), val.label[fitted])
            return decoder.decode(said.where(asked).moved(level).forecast, val.history[asked])

        return Prediction(said.rank, cross_fitted(val, calibrated).where)

    def begin(self, db: Database, *, train: TaskTable, cutoffs: tuple[date, ...]) -> Self:
        """Know which features rows at `cutoffs` have, and the words of the first train cutoff: enough for `matrix`."""
        self.spec = specify(db, config=self.setting.features, horizon=train.horizon, cutoffs=cutoffs)
        first = train.at(train.cutoffs[0])
        self.words = fit_encoder(self._design(db, first).select_dtypes(exclude="number"))
        return self

    @property
    def most(self) -> dict[Name, int]:
        """The most trees that each view may have."""
        return dict.fromkeys(get_args(Name), self.config.max_trees)

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return self.say(db, rows=rows).frame(rows)

    def say(self, db: Database, *, rows: TaskTable) -> Prediction:
        """What is predicted of `rows`."""
        return decoded(self.raw(db, rows=rows), rows, decoder=self.decoder)

    def raw(self, db: Database, *, rows: TaskTable) -> Said:
        """What the final boosters say of `rows`."""
        return self.final.say(self.matrix(db, rows))

    def cross_fitted(self, db: Database, *, rows: TaskTable) -> Said:
        """What is said of labelled `rows` by boosters that learned from the other customers among them, with as many
        trees as were chosen in `fit`."""
        matrix = self.matrix(db, rows)
        said, _ = self._held_out(matrix, rows, trees=self.trees, choose=False)
        return said

    def _cross_validated(self, matrix: Matrix, rows: TaskTable) -> tuple[Said, dict[Name, int]]:
        # The same with the number of trees that each part of the customers likes best, and the mean of these numbers.
        said, liked = self._held_out(matrix, rows, trees=self.most, choose=True)
        return said, {name: round(sum(trees[name] for trees in liked) / PARTS) for name in self.most}

    def _held_out(
        self, matrix: Matrix, rows: TaskTable, *, trees: Mapping[Name, int], choose: bool
    ) -> tuple[Said, list[dict[Name, int]]]:
        said, part, liked = Said(*(np.empty(len(rows)) for _ in range(4))), rows.parts(PARTS), []
        for here in (part == k for k in range(PARTS)):
            held_out = matrix.where(here), rows.where(here)
            boosted = self._boost(matrix.where(~here), rows.where(~here), trees, valid=held_out if choose else None)
            liked.append(boosted.trees)
            for name, values in vars(boosted.say(held_out[0])).items():
                getattr(said, name)[here] = values
        return said, liked

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

    def matrix(self, db: Database, rows: TaskTable) -> Matrix:
        """What boosting sees of the rows."""
        features = self._design(db, rows)
        words = encode(self.words, features)
        pace = design(db, rows=rows, spec=self.spec, groups=("rfm",))["tenure_pace"].fillna(0).to_numpy()
        known = pace if rows.is_total else np.full(len(rows), np.nan)
        return Matrix(np.hstack([features.select_dtypes("number").to_numpy(), words]), known)

    def _boost(
        self, matrix: Matrix, rows: TaskTable, trees: Mapping[Name, int], *,
        valid: tuple[Matrix, TaskTable] | None = None,
    ) -> Boosted:  # fmt: skip
        params: dict[str, Any] = {**self.config.params, "seed": self.setting.seed}
        return boost(matrix, rows, params=params, trees=trees, valid=valid, patience=self.config.patience)


def decoded(said: Said, rows: TaskTable, *, decoder: Decoder) -> Prediction:
    """What boosters say of `rows`, as predictions."""
    forecast, history = said.forecast, rows.history
    return Prediction(said.rank, lambda some: decoder.decode(forecast.where(some), history[some]))


def median_losses(said: Said, rows: TaskTable) -> np.ndarray:
    """Absolute errors of the medians that `said` decodes to, as the other half of the customers among `rows` taught:
    [n]."""
    return np.abs(held_out(said.forecast, rows).median - rows.label)
