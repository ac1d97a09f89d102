"""The GNN on any choice of tables: presets, tables left out, tables that begin late, and wrong names."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.compute as pc
import pytest
from newcomer import composed
from settings import ESTIMATORS, SMALL, TEST, setting

from patron.config import Config, ConfigError, load
from patron.estimators import GNN
from patron.features.nodes import RELATIVE_TIME
from patron.graph.edges import EDGES, Relation, Table
from patron.tables.database import Database
from patron.tables.schema import TABLES
from patron.task.split import Fold, folds
from patron.testing import small_shop

FEW = 60  # customers
EVENTS = ["order_events", "interactions", "returns", "loyalty", "campaigns"]
# All five at once, and for `make test-all` one by one.
together = pytest.mark.parametrize(
    "names",
    [pytest.param(EVENTS, id="all"), *(pytest.param([name], id=name, marks=pytest.mark.slow) for name in EVENTS)],
)


@pytest.fixture(scope="module")
def shop() -> Database:
    return small_shop(customers=FEW)


@pytest.fixture(scope="module")
def fold(shop: Database) -> Fold:
    return folds(shop, task=SMALL.task, split=SMALL.split)[0]


def fitted(db: Database, *, fold: Fold, folder: Path, tables: tuple[Table, ...] | None = None) -> GNN:
    given = setting(folder, max_steps=1, steps_per_check=1)
    features, graph = replace(given.features, groups=("rfm",)), replace(given.graph, tables=tables)
    gnn = GNN(ESTIMATORS["gnn"], replace(given, features=features, graph=graph))
    return gnn.fit(db.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)


def kinds(gnn: GNN) -> set[str]:
    return set(gnn.trained.encoders)


def assert_predicts(gnn: GNN, db: Database, fold: Fold) -> None:
    predicted = gnn.predict(db.upto(TEST), rows=fold.test)
    assert np.isfinite(predicted[["ltv_mean", "ltv_median", "rank_score"]]).all(axis=None)


def test_gnn_uses_every_table(shop: Database, fold: Fold, tmp_path: Path) -> None:
    gnn = fitted(shop, fold=fold, folder=tmp_path)
    assert kinds(gnn) == {end for edge in EDGES.values() for end in (edge.type[0], edge.type[2])}
    width = gnn.trained.model.encoders.by_type["interaction"][0].in_features
    assert width == gnn.trained.encoders["interaction"].width + RELATIVE_TIME
    assert gnn.trained.encoders["interaction"].vocabulary["interaction_type"] == ("visit", "call", "complaint")
    assert_predicts(gnn, shop, fold)


def since(db: Database, names: list[str], day: datetime) -> Database:
    """`db` with the rows of these tables that are later than `day`."""
    later = {name: db[name].filter(pc.greater(db[name][TABLES[name].time], day)) for name in names}
    return Database(db.name, {**db.tables, **later})


def nodes(names: list[str]) -> set[str]:
    """The node types of these tables."""
    return {name.removesuffix("s") for name in names}


@together
def test_gnn_runs_without_tables(names: list[str], shop: Database, fold: Fold, tmp_path: Path) -> None:
    tables = tuple(name for name in get_args(Table) if name not in names)
    gnn = fitted(shop, fold=fold, folder=tmp_path, tables=tables)
    assert kinds(gnn).isdisjoint(nodes(names))
    assert kinds(gnn) > {"customer", "product"} | nodes([name for name in EVENTS if name not in names])
    assert_predicts(gnn, shop, fold)


@together
def test_gnn_learns_where_tables_begin_late(names: list[str], shop: Database, fold: Fold, tmp_path: Path) -> None:
    """At the first training cutoff there is no row of them, and at the test there are many."""
    db = since(shop, names, datetime(2020, 9, 15))
    assert [db.upto(fold.train.cutoffs[0])[name].num_rows for name in names] == [0] * len(names)
    gnn = fitted(db, fold=fold, folder=tmp_path)
    assert kinds(gnn) >= nodes(EVENTS)
    assert_predicts(gnn, db, fold)


@together
def test_gnn_predicts_where_tables_have_come_since(
    names: list[str], shop: Database, fold: Fold, tmp_path: Path
) -> None:
    """At no training cutoff they have a row. What was not learned from stays unheard."""
    db = since(shop, names, datetime.combine(max(fold.refit.cutoffs), datetime.min.time()))
    assert all(db.upto(TEST)[name].num_rows > 0 for name in names)
    gnn = fitted(db, fold=fold, folder=tmp_path)
    assert kinds(gnn).isdisjoint(nodes(names))
    assert kinds(gnn) >= nodes([name for name in EVENTS if name not in names])
    assert_predicts(gnn, db, fold)


# Configuration

PRESETS = ("seed", "default", "full")


def test_presets() -> None:
    seed, default, full = (load(composed("config", f"graph={name}"), schema=Config).graph for name in PRESETS)
    assert set(full.chosen) == set(get_args(Relation))
    assert default.chosen == ("placed", *seed.chosen)
    assert seed.chosen == ("purchased", "belongs_to", "co_shopper")
    assert {EDGES[name].type[end] for name in seed.chosen for end in (0, 2)} == {"customer", "product", "category"}
    assert default.tables is None
    assert full.tables is None
    assert seed.tables == ("customers", "order_items", "products", "categories")


def test_a_table_that_patron_does_not_know_is_named() -> None:
    with pytest.raises(ConfigError, match=r"graph\.tables\.1: .*'returns', .*'retunrs'"):
        load(composed("config", "graph.tables=[customers,retunrs]"), schema=Config)
