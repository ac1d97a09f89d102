"""A planted signal that only the graph carries: what a customer will spend is what earlier buyers of her products spent
lately."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from settings import ESTIMATORS, rows_for, setting, with_dropout

from patron.days import back
from patron.estimators import GNN
from patron.tables.database import Database
from patron.task.ltv import TaskTable

CUSTOMERS, COMMUNITIES, PRODUCTS = 400, 20, 3  # products of each community
MONTHS, START = 9, date(2020, 1, 1)
CUTOFFS = tuple(back(START, -30 * month) for month in range(4, MONTHS))
EARLY = np.arange(CUSTOMERS) // COMMUNITIES % 3 > 0  # two thirds of every community
SEEDS = 3


@dataclass(frozen=True)
class Planted:
    """The shop, and each community's level of spending in each month, [communities, months]."""

    db: Database
    level: np.ndarray

    def rows(self, *cutoffs: date) -> TaskTable:
        """Those who are not early buyers. They will spend 20 times the level of their community's last month, give or
        take a fifth."""
        rows = rows_for(np.flatnonzero(~EARLY).tolist(), cutoffs=cutoffs)
        month = [(cutoff.date() - START).days // 30 - 1 for cutoff in rows.frame["cutoff"]]
        level = self.level[rows.frame["customer_id"] % COMMUNITIES, month]
        noise = np.random.default_rng(len(rows)).lognormal(0, 0.2, len(rows))
        return TaskTable(rows.frame.assign(label=20 * level * noise), rows.horizon)


@pytest.fixture(scope="module")
def planted() -> Planted:
    """In the first days every customer buys five products of her community; then all spend every month on what has no
    product. Early buyers spend by the level of their community in that month, which is drawn anew each time; the others
    spend about the same every month. No product tells the level, nor a customer's own past."""
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1, (COMMUNITIES, MONTHS))
    who, month = np.repeat(np.arange(CUSTOMERS), MONTHS), np.tile(np.arange(MONTHS), CUSTOMERS)
    pace = np.where(EARLY[who], level[who % COMMUNITIES, month], 1)
    basket = np.repeat(np.arange(CUSTOMERS), 5)
    owner = np.concatenate([who, np.arange(CUSTOMERS)])
    day = np.concatenate([30 * month + rng.integers(1, 29, len(who)), np.zeros(CUSTOMERS, dtype=np.int64)])
    time = (np.datetime64(START, "us") + day.astype("timedelta64[D]")).astype("datetime64[us]")
    product = basket % COMMUNITIES * PRODUCTS + rng.integers(0, PRODUCTS, len(basket))
    tables = {
        "customers": {"customer_id": np.arange(CUSTOMERS)},
        "orders": {"order_id": np.arange(len(owner)), "customer_id": owner, "order_date": time},
        "order_items": {
            "order_id": np.concatenate([np.arange(len(who)), len(who) + basket]),
            "product_id": pa.array([None] * len(who) + product.tolist(), pa.int64()),
            "amount": np.concatenate([10 * pace * rng.lognormal(0, 0.1, len(who)), np.ones(len(basket))]),
        },
    }
    return Planted(Database("planted", {name: pa.table(columns) for name, columns in tables.items()}), level)


def rank_correlation(planted: Planted, folder: Path, *, seed: int, num_layers: int) -> float:
    """Of a net of so many hops, for two cutoffs later than all it has learned from; the mean of the two."""
    steps = {"max_steps": 20, "steps_per_check": 20, "warmup_steps": 1, "learning_rate": 0.0075}
    given = setting(folder / f"{seed}_{num_layers}", seed=seed, **steps)
    features = replace(given.features, groups=("windows",), windows=(30,), lags=0)
    given = replace(given, graph=replace(given.graph, relations=("purchased",)), features=features)
    model = replace(with_dropout(ESTIMATORS["gnn"].model, 0.0), channels=32, num_layers=num_layers)
    gnn = GNN(replace(ESTIMATORS["gnn"], model=model), given)
    *known, val, one, other = CUTOFFS
    rows = planted.rows(*known), planted.rows(val), planted.rows(*known, val)
    gnn.fit(planted.db.upto(one), train=rows[0], val=rows[1], refit=rows[2])
    asked = planted.rows(one, other)
    predicted = gnn.predict(planted.db.upto(other), rows=asked.without_label())
    frame = pd.DataFrame({"cutoff": asked.frame["cutoff"], "said": predicted["rank_score"], "label": asked.label})
    return float(np.mean([spearmanr(part["said"], part["label"]).statistic for _, part in frame.groupby("cutoff")]))


def gain(planted: Planted, folder: Path, *, seed: int) -> float:
    """By how much two hops rank better than no hop, everything else equal."""
    gnn, mlp = (rank_correlation(planted, folder, seed=seed, num_layers=layers) for layers in (2, 0))
    return gnn - mlp


def test_gnn_hears_what_the_earlier_buyers_of_my_products_spend(planted: Planted, tmp_path: Path) -> None:
    gains = [gain(planted, tmp_path, seed=seed) for seed in range(SEEDS)]
    assert np.median(gains) > 0.5  # 0.81 on average over ten seeds, standard deviation 0.05
