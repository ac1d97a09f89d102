"""Boost, then convolve (Ivanov & Prokhorenkova, ICLR 2021): a graph net that starts from what LightGBM says and learns
what only the graph can add."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.special import expit

from patron.calibration.decode import Decoder
from patron.calibration.distribution import Distribution
from patron.calibration.recalibrate import cross_fitted
from patron.days import midnight
from patron.estimators.base import Prediction, Setting, level_factor
from patron.estimators.boosting import Boosted, Level, Said
from patron.estimators.choose import advantage
from patron.estimators.gnn import GNN, GNNConfig, Rows, in_order
from patron.estimators.lightgbm import LightGBM, LightGBMConfig, decoded
from patron.estimators.once import fitted
from patron.nn.heads import RankedConfig, Start, as_numpy
from patron.nn.model import ModelConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.training.apply import outputs

MOST = (1 / 3, 3)  # by which a correction of the root moves the mean


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BoostedGNNConfig:
    """The model, whose head must be `ranked`, and the LightGBM that it starts from."""

    name: Literal["boosted_gnn"]
    lightgbm: LightGBMConfig
    model: ModelConfig

    def __post_init__(self) -> None:
        if not isinstance(self.model.head, RankedConfig):
            raise ValueError("a boosted GNN starts from LightGBM's rank, root and P(buy); write model.head.name=ranked")


class BoostedGNN(GNN):
    """A GNN whose outputs are LightGBM's plus a correction that is 0 at first, so that without a signal in the graph
    it stays with LightGBM.

    What it starts from in training is as good as it will be when it predicts: of rows that are learned from, what
    boosters say that learned from other customers; of validation rows, what boosters say that learned from the past.
    """

    corrects = True
    boosted: LightGBM
    level: Level

    def __init__(self, config: BoostedGNNConfig, setting: Setting) -> None:
        super().__init__(GNNConfig("gnn", config.model), setting)
        self.boosting = config.lightgbm

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        boosted = self.boosted = fitted(
            LightGBM(self.boosting, self.setting), config=self.boosting, setting=self.setting, db=db, train=train,
            val=val, refit=refit,
        )  # fmt: skip
        self.spec = boosted.spec
        latest = self._rows(db, refit, boosted.known, by=boosted.final)
        self.learn(
            db,
            train=self._rows(db, train, boosted.cross_fitted(db, rows=train), by=boosted.tuned),
            val=self._rows(db, val, boosted.tuned.say(boosted.matrix(db, val)), by=boosted.tuned),
            refit=latest,
        )
        self.level = self._level(db, latest)
        self.decoder = self.decoder.scaled(level_factor(refit, partial(self.predict, db)))
        return self

    def _level(self, db: Database, rows: Rows) -> Level:
        # A correction is of who spends more than whom. The total is LightGBM's.
        out = in_order(rows.table, outputs(self.trained.model, self._shots(db, rows=rows, of=self.trained)))
        corrected = _corrected(self.boosted.known, out, head=self.trained.model.head)
        before, after = (Level.between(said, rows.table.label) for said in (self.boosted.known, corrected))
        return after.since(before)

    def begin(self, db: Database, rows: TaskTable) -> Rows:
        """The rows with what the final boosters say of them."""
        return self._rows(db, rows, self.boosted.raw(db, rows=rows), by=self.boosted.final)

    def _rows(self, db: Database, table: TaskTable, said: Said, *, by: Boosted) -> Rows:
        # The neighbours who are not among the rows are scored too, by boosters that learned from the rows alone.
        others = self._others(db, table)
        around = by.say(self.boosted.matrix(db, others)) if len(others) else Said(*(np.empty(0) for _ in range(4)))
        return Rows(table, _start(said), Rows(others, _start(around)))

    def _others(self, db: Database, table: TaskTable) -> TaskTable:
        # The customers of the graph at each cutoff of the table who are not in it.
        known = [(cutoff, pd.Index(self._structure(db, cutoff)["customer"].ids)) for cutoff in table.cutoffs]
        strangers = [
            pd.DataFrame(
                {"customer_id": ids.difference(table.at(cutoff).frame["customer_id"]), "cutoff": midnight(cutoff)}
            )
            for cutoff, ids in known
        ]
        return replace(table, frame=pd.concat(strangers, ignore_index=True))

    def calibrate(self, db: Database, out: torch.Tensor, val: Rows, *, head: Any, refit: TaskTable) -> Self:
        """Where the correction clearly pays on the validation rows, these say how to decode it; else LightGBM does."""
        rows, seen = val.table, refit.largest
        after = _corrected(self.boosted.tuned.say(self.boosted.matrix(db, rows)), out, head=head)

        def learned(some: np.ndarray) -> tuple[Level, Decoder]:
            level = Level.between(after.where(some), rows.label[some])
            return level, Decoder.fit(after.where(some).moved(level).forecast, rows.where(some), seen=seen)

        def calibrated(fitted: np.ndarray, asked: np.ndarray) -> Distribution:
            level, decoder = learned(fitted)
            return decoder.decode(after.where(asked).moved(level).forecast, rows.history[asked])

        self.decoder, self.held_out = self.boosted.decoder, self.boosted.out_of_time(after, rows, refit=refit)
        if _pays(self.held_out, self.boosted.held_out, rows=rows):
            self.decoder = learned(np.ones(len(rows), dtype=bool))[1].stretched(refit.stretch)
            self.held_out = Prediction(after.rank, cross_fitted(rows, calibrated).where)
        return self

    def say(self, db: Database, *, rows: TaskTable) -> Prediction:
        out, before = self.apply(db, rows, outputs), self.boosted.raw(db, rows=rows)
        after = _corrected(before, out, head=self.trained.model.head)
        return decoded(after.moved(self.level), rows, decoder=self.decoder)


def _start(said: Said) -> Start:
    return Start(root=said.root, rank=said.rank, buys=said.buys_logit)


def _corrected(before: Said, out: torch.Tensor, *, head: Any) -> Said:
    # The mean has no output of its own: it moves as the root's fourth power does, within bounds.
    root, buys = np.maximum(as_numpy(head.root(out)), 0), expit(head.forecast(out).active)
    factor = np.clip((root + 1e-6) / (before.root + 1e-6), *(bound**0.25 for bound in MOST)) ** 4
    return Said(as_numpy(head.rank(out)), buys, root, before.mean * factor)


def _pays(after: Prediction, before: Prediction, *, rows: TaskTable) -> bool:
    old, new = (np.abs(one.spend(slice(None)).median - rows.label) for one in (before, after))
    return advantage(old, new, customers=rows.frame["customer_id"]).is_clear
