"""LightGBM on as-of features: the opponent that published graph models have to beat (field notes), on RFM alone or on all of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import lightgbm
import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.decode import Residuals
from patron.estimators.base import Setting, Stored, first_cutoff, predictions
from patron.features.asof import RFM, TEXT, FeatureSpec, design, specify
from patron.features.encode import Encoder, encode, fit_encoder
from patron.tables.database import Database
from patron.task.ltv import TaskTable


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LightGBMConfig:
    """`params` are LightGBM's own. The number of trees is chosen on the validation rows, at most `max_trees`."""

    name: Literal["lightgbm"]
    features: Literal["rfm", "all"]
    max_trees: Annotated[int, Field(gt=0)]
    patience: Annotated[int, Field(gt=0)]
    params: Mapping[str, float | int | str | bool]


class LightGBM(Stored):
    """Boosted trees on log1p of spend, decoded to money by the residuals of the validation rows."""

    booster: lightgbm.Booster
    residuals: Residuals
    spec: FeatureSpec
    words: Encoder

    def __init__(self, config: LightGBMConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        first = train.at(first_cutoff(train))
        self.words = fit_encoder(design(db, rows=first, spec=self.spec)[list(TEXT)])
        tuned = self._boost(self._matrix(db, train), train.label, valid=(self._matrix(db, val), val.label))
        self.residuals = Residuals.fit(_predict(tuned, self._matrix(db, val)), val.label)
        self.booster = self._boost(self._matrix(db, refit), refit.label, trees=max(1, tuned.best_iteration))
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        location = _predict(self.booster, self._matrix(db, rows))
        low, median, high = (self.residuals.quantile(location, level) for level in (0.1, 0.5, 0.9))
        return predictions(rows, mean=self.residuals.mean(location), median=median, rank=location, low=low, high=high)

    def _matrix(self, db: Database, rows: TaskTable) -> pd.DataFrame:
        features = design(db, rows=rows, spec=self.spec)
        if self.config.features == "rfm":
            return features[list(RFM)]
        words = encode(self.words, features[list(TEXT)])
        return features.drop(columns=list(TEXT)).join(pd.DataFrame(words, index=features.index).add_prefix("text_"))

    def _boost(
        self, matrix: pd.DataFrame, y: np.ndarray, *, trees: int | None = None, valid: tuple[pd.DataFrame, np.ndarray] | None = None
    ) -> lightgbm.Booster:
        # Column names may hold what LightGBM's JSON refuses, so it gets positions.
        data = lightgbm.Dataset(matrix.to_numpy(), np.log1p(y))
        params: dict[str, Any] = {**self.config.params, "objective": "regression", "seed": self.setting.seed, "deterministic": True, "verbosity": -1}
        if valid is None:
            return lightgbm.train(params, data, num_boost_round=trees or self.config.max_trees)
        check = data.create_valid(valid[0].to_numpy(), np.log1p(valid[1]))
        stop = lightgbm.early_stopping(self.config.patience, verbose=False)
        return lightgbm.train(params, data, num_boost_round=self.config.max_trees, valid_sets=[check], callbacks=[stop])


def _predict(booster: lightgbm.Booster, matrix: pd.DataFrame) -> np.ndarray:
    return np.asarray(booster.predict(matrix.to_numpy()), dtype=np.float64)
