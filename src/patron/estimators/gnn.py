"""The graph neural network as an estimator: snapshots in, spend out."""

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from torch_geometric.data import HeteroData

from patron.calibration.decode import Decoder
from patron.calibration.distribution import Distribution
from patron.calibration.recalibrate import FACTOR, cross_fitted
from patron.days import midnight
from patron.estimators.base import Prediction, Setting, Stored, blocks, level_factor
from patron.features.asof import (
    FeatureSpec,
    customer_features,
    order_features,
    product_features,
    require_known,
    specify,
)
from patron.features.encode import Encoder, encode, fit_encoder
from patron.features.nodes import RELATIVE_TIME, EventKind, event_features, relative_time
from patron.graph.build import build
from patron.graph.sampler import both_ways
from patron.graph.store import structure
from patron.memory import release
from patron.nn.gnn import reach
from patron.nn.heads import Start, as_numpy, level
from patron.nn.model import LTVModel, ModelConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.training.apply import embedded, outputs, warn_if_collapsed
from patron.training.shots import Sampled, Shots, Whole

if TYPE_CHECKING:
    from patron.training.fit import Fitted

log = logging.getLogger("patron")
SCORES = 3  # columns of a customer that is corrected, of each view one
What = Callable[..., torch.Tensor]
TIMED = ("order", *get_args(EventKind))  # node types with an age


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GNNConfig:
    """The model; the graph, the trainer and the features are those of the run."""

    name: Literal["gnn"]
    model: ModelConfig


@dataclass(frozen=True)
class Rows:
    """Rows of a task table, and where the net starts from for each of them, if its head can start from anywhere.

    `around` are the other customers of the graph at these cutoffs, where the net sees what it corrects: what it says of
    one customer must not depend on who else is asked about.
    """

    table: TaskTable
    start: Start | None
    around: "Rows | None" = None

    def at(self, cutoff: date) -> "Rows":
        """The rows of one cutoff."""
        here = (self.table.frame["cutoff"] == midnight(cutoff)).to_numpy()
        start = self.start and Start(*(values[here] for values in vars(self.start).values()))
        return Rows(self.table.where(here), start, self.around and self.around.at(cutoff))


@dataclass(frozen=True, eq=False)
class _Trained:
    model: LTVModel
    encoders: Mapping[str, Encoder]


@dataclass(frozen=True)
class _Kept:
    """What was asked, and what was said of whom."""

    asked: tuple[object, ...]
    everybody: pd.Index
    said: torch.Tensor


class GNN(Stored):
    """HeteroConv of SAGEConv on the purchase graph. Early stopping chooses the number of steps, then it learns from
    all closed cutoffs.

    The head is calibrated on the validation rows before that, while it does not know them.
    """

    on_graph = True
    corrects = False  # whether the net begins as a correction of 0, and sees what it corrects
    spec: FeatureSpec
    trained: _Trained
    decoder: Decoder
    held_out: Prediction
    _kept: _Kept | None = None

    def __init__(self, config: GNNConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        rows = self.begin(db, refit)
        self.learn(db, train=self.begin(db, train), val=self.begin(db, val), refit=rows)
        self.decoder = self.decoder.scaled(self._factor(db, rows)).stretched(refit.stretch)
        self.decoder = self.decoder.scaled(level_factor(refit, partial(self.predict, db)))
        return self

    def _factor(self, db: Database, rows: Rows) -> float:
        # The level of one validation window is not that of the next: totals are set by all windows that have closed.
        head, table = self.trained.model.head, rows.table
        if not table.is_total:
            return 1.0
        out = in_order(table, outputs(self.trained.model, self._shots(db, rows=rows, of=self.trained)))
        expected = sum(
            float(self.decoder.decode(head.forecast(out[some]), table.history[some]).mean.sum())
            for some in blocks(len(table))
        )
        return float(np.clip(table.label.sum() / max(expected, 1e-9), *FACTOR))

    def learn(self, db: Database, *, train: Rows, val: Rows, refit: Rows) -> Self:
        """`fit`, from where the rows start; `spec` is there."""
        if not db.has_products:
            log.warning(
                "gnn: '%s' has no products, so its graph holds customers and their events only, and no co-shoppers",
                db.name,
            )
        start = self._start(db, rows=train)
        tuned = self._tune(db, start=start, train=train, val=val)
        out = in_order(val.table, outputs(tuned.model, self._shots(db, rows=val, of=start)))
        release()  # Lightning's trainer and module point at each other, and would keep the snapshots of tuning
        self.trained = self._refit(db, rows=refit, steps=tuned.steps)
        # Of the net that predicts: the one that was tuned may have met other labels.
        warn_if_collapsed(self.trained.model, outputs(self.trained.model, self._shots(db, rows=val, of=self.trained)))
        return self.calibrate(db, out, val, head=tuned.model.head, refit=refit.table)

    def calibrate(self, db: Database, out: torch.Tensor, val: Rows, *, head: Any, refit: TaskTable) -> Self:
        """Learn to decode from the outputs of `head` for rows that it had not learned from, about their
        level; `refit` are all rows whose labels are known."""
        rows, seen = val.table, refit.largest

        def learned(some: np.ndarray) -> tuple[torch.Tensor, Decoder]:
            by = level(head, out[torch.from_numpy(some)], rows.label[some])
            return by, Decoder.fit(head.forecast(out + by).where(some), rows.where(some), seen=seen)

        def calibrated(fitted: np.ndarray, asked: np.ndarray) -> Distribution:
            by, decoder = learned(fitted)
            return decoder.decode(head.forecast(out[torch.from_numpy(asked)] + by), rows.history[asked])

        _, self.decoder = learned(np.ones(len(rows), dtype=bool))
        self.held_out = Prediction(as_numpy(head.rank(out)), cross_fitted(rows, calibrated).where)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return self.say(db, rows=rows).frame(rows)

    def say(self, db: Database, *, rows: TaskTable) -> Prediction:
        """What is predicted of `rows`."""
        head, out, history = self.trained.model.head, self.apply(db, rows, outputs), rows.history

        def spend(some: slice) -> Distribution:
            return self.decoder.decode(head.forecast(out[some]), history[some])

        return Prediction(as_numpy(head.rank(out)), spend)

    def embeddings(self, db: Database, *, rows: TaskTable) -> np.ndarray:
        """What the readout knows of each row's customer: [n, channels]."""
        return as_numpy(self.apply(db, rows, embedded))

    def begin(self, db: Database, rows: TaskTable) -> Rows:
        """The rows with the start that they have when something is predicted of them: here none."""
        return Rows(rows, None)

    def _tune(self, db: Database, *, start: _Trained, train: Rows, val: Rows) -> "Fitted":
        from patron.training.fit import tune  # Lightning takes seconds to import, and only who learns needs it

        setting = self.setting
        return tune(
            start.model,
            train=self._steps(db, rows=train, of=start),
            val=self._shots(db, rows=val, of=start),
            config=setting.trainer,
            folder=setting.folder,
            seed=setting.seed,
            ckpt_path=setting.ckpt_path,
        )

    def _refit(self, db: Database, *, rows: Rows, steps: int) -> _Trained:
        from patron.training.fit import refit

        start, setting = self._start(db, rows=rows), self.setting
        shots = self._steps(db, rows=rows, of=start)
        model = refit(
            start.model, train=shots, steps=steps, config=setting.trainer, folder=setting.folder, seed=setting.seed
        )
        return _Trained(model, start.encoders)

    def _steps(self, db: Database, *, rows: Rows, of: _Trained) -> Shots:
        shots, graph, sampling = self._shots(db, rows=rows, of=of), self.setting.graph, self.setting.trainer.sampling
        if sampling is None:
            return Whole(shots)
        if graph.shuffled:
            raise ValueError("graph.shuffled is a control of whole snapshots; write trainer.sampling=null")
        timed = [both_ways(_graph(db.upto(cutoff), config=graph)) for cutoff in rows.table.cutoffs]
        return Sampled(shots, timed, config=sampling, half_life_days=graph.half_life_days, seed=self.setting.seed)

    def _start(self, db: Database, *, rows: Rows) -> _Trained:
        table = rows.table
        shapes = [self._structure(db, cutoff) for cutoff in table.cutoffs]
        edge_types = shapes[-1].edge_types  # the latest has every type that an earlier one has
        heard = reach(edge_types, num_layers=self.config.model.num_layers)[0]
        kinds = [kind for kind in shapes[-1].node_types if kind in heard]
        cutoffs = list(zip(table.cutoffs, shapes, strict=True))
        encoders = {kind: self._encoder(db, kind=kind, cutoffs=cutoffs) for kind in kinds}
        torch.manual_seed(self.setting.seed)
        widths = {kind: encoder.width + RELATIVE_TIME * (kind in TIMED) for kind, encoder in encoders.items()}
        widths["customer"] += SCORES * self.corrects
        model = LTVModel(widths, edge_types, config=self.config.model, horizons=table.auxiliary.shape[1])
        target, others = (torch.from_numpy(np.log1p(label)).float() for label in (table.label, table.auxiliary))
        model.start_at(target, auxiliary=others)
        if self.corrects:
            model.start_at_offset()
        return _Trained(model, encoders)

    def _encoder(self, db: Database, *, kind: str, cutoffs: list[tuple[date, HeteroData]]) -> Encoder:
        known = [(cutoff, shape) for cutoff, shape in cutoffs if kind in shape.node_types]
        return fit_encoder(pd.concat([self._nodes(db, cutoff, shape, kind=kind) for cutoff, shape in known]))

    def apply(self, db: Database, rows: TaskTable, what: What) -> torch.Tensor:
        """`what` the final model says of the rows, in their order: [n, ...]. The last that was found is kept for all
        customers of the graph, so that rows may come in parts."""
        said = []
        for cutoff in rows.cutoffs:
            everybody, of_all = self._of_all(db.upto(cutoff), cutoff, rows=rows, what=what)
            said.append(of_all[_places(rows.at(cutoff), known=everybody)])
        return in_order(rows, torch.cat(said))

    def _of_all(self, past: Database, cutoff: date, *, rows: TaskTable, what: What) -> tuple[pd.Index, torch.Tensor]:
        # Whoever is in the graph, and `what` is said of them.
        asked = (past, cutoff, self.setting.graph, self.trained, what)
        if self._kept is None or self._kept.asked != asked:
            everybody = pd.Index(self._structure(past, cutoff)["customer"].ids)
            table = replace(rows, frame=pd.DataFrame({"customer_id": everybody, "cutoff": midnight(cutoff)}))
            shot = self._shot(past, rows=self.begin(past, table), of=self.trained)
            self._kept = _Kept(asked, everybody, what(self.trained.model, [shot]))
        return self._kept.everybody, self._kept.said

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": None}  # a copy, or what is stored, has no answers ready

    def _shots(self, db: Database, *, rows: Rows, of: _Trained) -> list[HeteroData]:
        return [self._shot(db, rows=rows.at(cutoff), of=of) for cutoff in rows.table.cutoffs]

    def _shot(self, db: Database, *, rows: Rows, of: _Trained) -> HeteroData:
        (cutoff,) = rows.table.cutoffs
        encoders, shape = of.encoders, self._structure(db, cutoff)
        shot = copy.copy(shape)  # shares the edges with the other fits at this cutoff
        for kind in [
            kind for kind in encoders if kind in shape.node_types
        ]:  # one that training had not met stays unheard
            shot[kind].x = _encoded(encoders[kind], self._nodes(db, cutoff, shape, kind=kind), kind=kind)
        known, customers = pd.Index(shape["customer"].ids), shot["customer"]
        customers.rows = _places(rows.table, known=known)
        if rows.start is not None:
            customers.offset = of.model.head.offset(rows.start)
        if rows.around is not None:
            customers.x = torch.cat([customers.x, _scores(rows, rows.around, known=known)], dim=1)
        if "label" in rows.table.frame:
            customers.y = torch.tensor(rows.table.label, dtype=torch.float32)
            customers.auxiliary = torch.tensor(rows.table.auxiliary, dtype=torch.float32)
        return shot

    def _structure(self, db: Database, cutoff: date) -> HeteroData:
        setting = self.setting
        kept = build if setting.trainer.sampling is None else _graph  # trees are sampled from the graph itself
        return _structure(db.upto(cutoff), cutoff=cutoff, config=setting.graph, build=kept)

    def _nodes(self, db: Database, cutoff: date, shape: HeteroData, *, kind: str) -> pd.DataFrame:
        past = db.upto(cutoff)
        tables: dict[str, Callable[[], pd.DataFrame]] = {
            "customer": lambda: customer_features(past, cutoff=cutoff, spec=self.spec),
            "product": lambda: product_features(past, cutoff=cutoff, spec=self.spec, key="product_id"),
            "category": lambda: product_features(past, cutoff=cutoff, spec=self.spec, key="category_id"),
            "order": lambda: order_features(past, cutoff=cutoff),
        }
        for event in get_args(EventKind):
            tables[event] = partial(event_features, past, kind=event, cutoff=cutoff)
        return tables[kind]().reindex(shape[kind].ids)  # of a category that sold nothing itself nothing is known


def in_order(rows: TaskTable, by_cutoff: torch.Tensor) -> torch.Tensor:
    """Of outputs by cutoff, [n, ...] in the order of `rows`, whatever the order of their cutoffs."""
    # In float64, or the last digit of a decoded row would depend on how many others there are.
    return by_cutoff.double()[torch.from_numpy(rows.places_by_cutoff)]


def _places(table: TaskTable, *, known: pd.Index) -> torch.Tensor:
    # Where among the known customers those of each row stand, all of one cutoff: [n].
    asked = table.frame["customer_id"]
    for cutoff in table.cutoffs:
        require_known(asked, known=known, cutoff=cutoff)
    return torch.from_numpy(known.get_indexer(pd.Index(asked)).astype(np.int64))


def _scores(*parts: Rows, known: pd.Index) -> torch.Tensor:
    # What is corrected, of every customer of the graph: [customers, SCORES].
    scores = torch.empty(len(known), SCORES)
    for part in parts:
        if part.start is not None:
            scores[_places(part.table, known=known)] = torch.from_numpy(part.start.columns)
    return scores


def _encoded(encoder: Encoder, table: pd.DataFrame, *, kind: str) -> torch.Tensor:
    x = torch.from_numpy(encode(encoder, table))
    return torch.cat([x, torch.from_numpy(relative_time(table["age"].to_numpy()))], dim=1) if kind in TIMED else x


_structure = lru_cache(maxsize=64)(structure)

_graph = lru_cache(maxsize=64)(build)
