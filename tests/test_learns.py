"""Estimators learn: what they are shown, more than nothing about tomorrow, and what only the graph can tell."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from settings import ESTIMATORS, GNNS, SMALL, TEST, fit, rows_for, setting, with_dropout
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from patron.estimators import GNN, LightGBM, Setting
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold, truth

NOON = datetime(2021, 1, 1, 12)
LATER = date(2021, 2, 1)


def learner(folder: Path, *, name: str = "gnn", channels: int = 16, **trainer: object) -> GNN:
    """A GNN that may learn by heart: no dropout, no weight decay, all the steps."""
    folder.mkdir(parents=True, exist_ok=True)
    free = {"patience": 1000, "weight_decay": 0.0, "warmup_steps": 5, **trainer}
    model = replace(with_dropout(ESTIMATORS[name].model, 0.0), channels=channels)
    return GNN(replace(ESTIMATORS[name], model=model), setting(folder, **free))


# What they are shown


@pytest.mark.parametrize("name", GNNS)
def test_gnn_learns_64_customers_by_heart(name: str, shop: Database, fold: Fold, tmp_path: Path) -> None:
    rows = fold.val.where(np.arange(len(fold.val)) < 64)
    assert len(rows) == 64
    gnn = learner(tmp_path, name=name, max_steps=160, steps_per_check=160, learning_rate=0.03)
    gnn.fit(shop.upto(TEST), train=rows, val=rows, refit=rows)
    predicted = gnn.predict(shop.upto(TEST), rows=rows.without_label())
    assert spearmanr(predicted["rank_score"], rows.label).statistic > 0.9
    losses = [event.value for event in EventAccumulator(str(tmp_path / "refit")).Reload().Scalars("train_loss")]
    assert losses[-1] < losses[0] / 3


# Tomorrow


@pytest.mark.parametrize("name", ["lightgbm", "lightgbm_rfm"])
def test_lightgbm_beats_zero(name: str, shop: Database, fold: Fold, tmp_path: Path) -> None:
    label = truth(shop, fold=fold, task=SMALL.task).label
    predicted = fit(name, shop, fold=fold, folder=tmp_path).predict(shop.upto(TEST), rows=fold.test)
    assert np.abs(predicted["ltv_median"] - label).mean() < 0.9 * label.mean()  # label.mean() is the error of zero
    assert spearmanr(predicted["rank_score"], label).statistic > 0.3
    assert predicted["ltv_mean"].sum() == pytest.approx(label.sum(), rel=0.3)


# What only the graph can tell


@pytest.fixture(scope="module")
def crowd() -> Database:
    """40 products, each bought once by 8 scouts and 10 others. Scouts of one product come from one country.

    Who is not a scout has a country at random, and all have one order of one unit at one price at one time: nothing
    about a customer tells whether the scouts of the product come from the north. That is two hops away.
    """
    rng = np.random.default_rng(0)
    product = np.repeat(np.arange(40), 18)
    scout = np.tile(np.arange(18) < 8, 40)
    north = np.where(scout, product % 2 == 0, rng.random(720) < 0.5)
    number, once = np.arange(720), np.ones(720)
    customers = {"customer_id": number, "geo": np.where(north, "north", "south")}
    orders = {"order_id": number, "customer_id": number, "order_date": pa.array([NOON] * 720, pa.timestamp("us"))}
    items = {"order_id": number, "product_id": product, "quantity": once, "price": once, "amount": once}
    tables = {"customers": customers, "orders": orders, "order_items": items, "products": {"product_id": np.arange(40)}}
    return Database("crowd", {name: pa.table(columns) for name, columns in tables.items()})


def others(*, even: bool) -> TaskTable:
    """Who is not a scout, of half of the products, with 100 to be spent where the scouts come from the north."""
    customers = [18 * product + at for product in range(40) for at in range(8, 18) if (product // 2 % 2 == 0) == even]
    label = [100.0 if customer // 18 % 2 == 0 else 0.0 for customer in customers]
    rows = rows_for(customers, cutoffs=(LATER,))
    return TaskTable(rows.frame.assign(label=label), rows.horizon)


def reach(gnn: GNN | LightGBM, crowd: Database) -> float:
    """The rank correlation with what customers of products that were not learned from spend."""
    train, test = others(even=True), others(even=False)
    gnn.fit(crowd.upto(LATER), train=train, val=train, refit=train)
    predicted = gnn.predict(crowd.upto(LATER), rows=test.without_label())
    score = pd.Series(predicted["rank_score"])
    return 0.0 if score.nunique() == 1 else float(spearmanr(score, test.label).statistic)


def seen(gnn: GNN, **graph: object) -> GNN:
    given: Setting = gnn.setting
    return GNN(gnn.config, replace(given, graph=replace(given.graph, **graph)))


def test_gnn_hears_what_is_two_hops_away(crowd: Database, tmp_path: Path) -> None:
    gnn = learner(tmp_path, channels=8, max_steps=40, steps_per_check=40, learning_rate=0.02)
    assert reach(seen(gnn, relations=("purchased",)), crowd) > 0.8


def test_nobody_else_can_know(crowd: Database, tmp_path: Path) -> None:
    """The control: without the edges, with one hop only, or from the customers' own features, it is a guess."""
    gnn = learner(tmp_path, channels=8, max_steps=40, steps_per_check=40, learning_rate=0.02)
    assert abs(reach(seen(gnn, relations=("placed",)), crowd)) < 0.3
    one_hop = replace(gnn.config, model=replace(gnn.config.model, num_layers=1))
    assert abs(reach(seen(GNN(one_hop, gnn.setting), relations=("purchased",)), crowd)) < 0.3
    assert abs(reach(LightGBM(ESTIMATORS["lightgbm"], gnn.setting), crowd)) < 0.3
