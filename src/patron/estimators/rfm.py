"""Recency, frequency, monetary value: customers in cells of all three, with what became of each cell. Hughes 1994.

It is the floor of every share of gain, so it is a fair one: the marketer's fifths are refined to tenths as far as there
are rows for it, within a cell customers rank by a line through the three columns, and where one of these alone ranks
the validation rows better than all that, it ranks.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, expectations, level_factor
from patron.estimators.choose import rank_losses
from patron.features.asof import FeatureSpec, design, specify
from patron.tables.database import Database
from patron.task.ltv import TaskTable

log = logging.getLogger("patron")
_PERCENTILES = {"recency": "recency_percentile", "frequency": "orders_percentile", "monetary": "spend_pace_percentile"}
CELLS = "cells"


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RFMConfig:
    """`prior` is the number of rows of the coarser cell that each cell is shrunk by."""

    name: Literal["rfm"]
    prior: Annotated[float, Field(ge=0)]


class RFM(Stored):
    """A cell of R, F and M among all customers at the cutoff predicts the mean and the median label of its refit rows,
    and the distance of their ranks from a line.

    Tenths are shrunk towards their fifths, and those towards all cells with the same R + F + M, so that small and empty
    cells have values too. `ranks_by` is `cells`, or the column whose Spearman on the validation rows is above theirs.
    """

    def __init__(self, config: RFMConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec: FeatureSpec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        known, asked = self._columns(db, train), self._columns(db, val)
        # Churn is rarer among better customers: of a flag the train rows say which way a column points.
        self.falls = {name: train.is_flag and _spearman(train.label, known[name]) < 0 for name in _PERCENTILES}
        cells = Cells.fit(known, train, prior=self.config.prior).say(asked)["rank"]
        found = {CELLS: _spearman(val.label, cells)} | {
            name: _spearman(val.label, self._signed(asked, name)) for name in _PERCENTILES
        }
        self.ranks_by = max(found, key=lambda name: found[name])
        log.info(
            "rfm ranks by %s: Spearman on validation %s", self.ranks_by, {k: round(v, 3) for k, v in found.items()}
        )
        self.cells, self.factor = Cells.fit(self._columns(db, refit), refit, prior=self.config.prior), 1.0
        self.factor = level_factor(refit, partial(self.predict, db))
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        columns = self._columns(db, rows)
        said = self.cells.say(columns)
        rank = said["rank"].to_numpy() if self.ranks_by == CELLS else self._signed(columns, self.ranks_by)
        mean, median = (self.factor * said[name].to_numpy() for name in ("mean", "median"))
        return expectations(rows, mean=mean, median=median, rank=rank)

    def _columns(self, db: Database, rows: TaskTable) -> pd.DataFrame:
        """The percentiles of each row's F and M among all customers at its cutoff, and minus that of its recency, so
        that more is better: [n, 3]."""
        features = design(db, rows=rows, spec=self.spec, groups=("percentiles",))
        percentile = features[list(_PERCENTILES.values())].set_axis(list(_PERCENTILES), axis=1)
        percentile = percentile.fillna({"recency": 1.0}).fillna(0.0)  # who never ordered is the worst of all
        return percentile.assign(recency=-percentile["recency"])

    def _signed(self, columns: pd.DataFrame, name: str) -> np.ndarray:
        return columns[name].to_numpy() * (-1 if self.falls[name] else 1)


@dataclass(frozen=True, eq=False)
class Cells:
    """`mean`, `median` and `rank` of the cells that have rows, from coarse to fine, the rank as distance from a line
    through R, F and M."""

    tables: tuple[pd.DataFrame, ...]
    line: np.ndarray

    @classmethod
    def fit(cls, columns: pd.DataFrame, rows: TaskTable, *, prior: float) -> Self:
        """Each cell shrunk towards the coarser one by `prior` rows; of sums without a row, what lies between their
        neighbours. The line is that of least squares through the percentiles of the labels."""
        (coarsest, *finer), rank = _keys(columns), rows.percentile
        line = np.linalg.lstsq(np.column_stack([columns, np.ones(len(columns))]), rank)[0]
        off = rank - _along(line, columns)
        spend = rows.stretch * rows.label
        outcomes = pd.DataFrame({"mean": spend, "median": spend, "rank": off})
        how = {"mean": "mean", "median": "median", "rank": "mean"}
        tables = [outcomes.groupby(coarsest).agg(how).reindex(range(3, 16)).interpolate(limit_direction="both")]
        near = tables[0].loc[coarsest].reset_index(drop=True)
        for key in finer:
            weight = key.groupby(key).size() / (key.groupby(key).size() + prior)
            own, coarser = outcomes.groupby(key).agg(how), near.groupby(key).first()
            tables.append(own.mul(weight, axis=0) + coarser.mul(1 - weight, axis=0))
            near = tables[-1].loc[key].reset_index(drop=True)
        return cls(tuple(tables), line)

    def say(self, columns: pd.DataFrame) -> pd.DataFrame:
        """`mean`, `median` and `rank` of each row by the finest of its cells that has rows."""
        keys = _keys(columns)
        said = self.tables[0].loc[keys[0]].reset_index(drop=True)
        for table, key in zip(self.tables[1:], keys[1:], strict=True):
            said = table.reindex(key).reset_index(drop=True).fillna(said)
        return said.assign(rank=said["rank"] + _along(self.line, columns))


def _keys(columns: pd.DataFrame) -> list[pd.Series]:
    """The cells of each row from coarse to fine: R + F + M by fifths, the fifths, and the tenths."""
    tenth = (10 * columns.abs() - 1e-9).apply(np.ceil).clip(1, 10).astype(int).set_axis(list("RFM"), axis=1)
    tenth["R"] = 11 - tenth["R"]  # the most recent tenth scores 10, who never ordered 1
    fifth = (tenth + 1) // 2
    codes = (100 * fifth["R"] + 10 * fifth["F"] + fifth["M"], 10_000 * tenth["R"] + 100 * tenth["F"] + tenth["M"])
    return [fifth.sum(axis=1), *codes]


def _along(line: np.ndarray, columns: pd.DataFrame) -> np.ndarray:
    return (columns.to_numpy() * line[:3]).sum(axis=1) + line[3]  # the same of a row, whoever stands beside it


def _spearman(y: np.ndarray, score: "np.ndarray | pd.Series") -> float:
    return -float(rank_losses(y, np.asarray(score)).mean())
