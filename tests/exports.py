"""Exports for RelBench that several files of tests read, and the cut that RelBench makes of them, written out here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from settings import SMALL

from patron.days import midnight
from patron.features.columns import Settings
from patron.pipeline import Experiment
from patron.serving import relbench as module
from patron.serving.relbench import Exported
from patron.serving.relbench_tables import Relational, relational
from patron.tables.database import Database
from patron.task.split import folds, truth

TASK = "customer-net-90d"
VAL = date(2021, 1, 1)  # 90 days before the test
NO_SETTINGS: Settings = ()


def experiment_of(db: Database, **task: Any) -> Experiment:
    config = replace(SMALL, task=replace(SMALL.task, **task))
    parts = folds(db, task=config.task, split=config.split)
    answers = [truth(db, fold=fold, task=config.task).frame.assign(fold=fold.name) for fold in parts]
    return Experiment(config, db, tuple(parts), pd.concat(answers, ignore_index=True), None)


@dataclass(frozen=True)
class Folder:
    """An export, read back."""

    exported: Exported

    def manifest(self) -> dict[str, Any]:
        return yaml.safe_load((self.exported.folder / "manifest.yaml").read_text())

    def task(self) -> dict[str, Any]:
        return yaml.safe_load((self.exported.folder / "tasks" / self.exported.task / "manifest.yaml").read_text())

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.exported.folder / "db" / f"{name}.parquet")

    def labels(self, split: str) -> pd.DataFrame:
        return pd.read_parquet(self.exported.folder / "tasks" / self.exported.task / f"{split}.parquet")


@cache
def made(db: Database, *, chosen: Settings = NO_SETTINGS) -> Relational:
    return relational(db, chosen=chosen)


def made_once() -> Iterator[None]:
    """The tables of one database are made once, however often it is exported here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "relational", made)
        yield


def cut(data: Relational, cutoff: date) -> dict[str, pd.DataFrame]:
    """What RelBench shows at `cutoff`: each table cut by its own time, and keys of rows that are not there missing."""
    known = {}
    for name, table in data.tables.items():
        frame = table.rows.to_pandas()
        known[name] = frame if table.time_col is None else frame[frame[table.time_col] <= midnight(cutoff)]
    for name, table in data.tables.items():
        gone = {column: known[name][column] >= len(known[other]) for column, other in table.fkeys.items()}
        known[name] = known[name].assign(**{column: known[name][column].mask(rows) for column, rows in gone.items()})
    return known


CUSTOMERS = {
    "customer_id": ["never", "late", "early", "undated", "future", "soon"],
    "registration_date": [None, "2021-05-01", "2020-01-01", None, "2021-07-01", "2021-03-01"],
}
ORDERS = {
    "order_id": ["o1", "o2", "o3", "o4"], "customer_id": ["early", "late", "undated", "future"],
    "order_date": ["2020-02-01 10:00", "2021-02-01 10:00", "2021-06-01 10:00", "2021-08-01 10:00"],
}  # fmt: skip


@cache
def by_hand() -> Database:
    """Customers who registered before and after their first order, never, or without ordering; an event before its
    order."""
    frames = {
        "customers": pd.DataFrame(CUSTOMERS).astype({"registration_date": "datetime64[us]"}),
        "orders": pd.DataFrame(ORDERS).astype({"order_date": "datetime64[us]"}),
        "order_items": pd.DataFrame({"order_id": ["o4", "o1", "o3", "o2", "o1"], "amount": [4.0, 1.0, 3.0, 2.0, 1.5]}),
        "order_events": pd.DataFrame({"order_id": ["o3"], "event_type": ["reserved"], "event_date": ["2021-04-01"]}),
    }
    frames["order_events"] = frames["order_events"].astype({"event_date": "datetime64[us]"})
    return Database("by hand", {name: pa.Table.from_pandas(f, preserve_index=False) for name, f in frames.items()})


def predicted(experiment: Experiment) -> pd.DataFrame:
    """Something for every test row, in an order of its own; no two alike."""
    rng = np.random.default_rng(3)
    rows = experiment.truth[["customer_id", "cutoff"]].sample(frac=1, random_state=1, ignore_index=True)
    return rows.assign(ltv_median=rng.gamma(1, 50, len(rows)), ltv_mean=rng.gamma(1, 60, len(rows)),
                       rank_score=rng.random(len(rows)))  # fmt: skip
