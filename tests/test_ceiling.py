"""Ceilings of Spearman: purchase occasions by hand, and whoever knows the propensity of simulated customers reaches the
ceiling."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import rankdata, spearmanr
from shared_worlds import world_of
from shoppers import Shoppers, rows_of, shoppers

from patron.days import Horizon, midnight
from patron.evaluation.bootstrap import interval, weight_chunks
from patron.evaluation.ceiling import Ceiling, propensity_ceiling, spearman_ceiling
from patron.evaluation.occasions import CONCENTRATION, COUNTS, GAP_PAIRS, GAP_SPREAD, OCCASIONS, occasions
from patron.tables.database import Database
from patron.tables.worlds.futures import forecast_from_state
from patron.task.ltv import TaskConfig, TaskTable, labelled

CUTOFF = date(2020, 7, 1)
AT, TICK, DAY = midnight(CUTOFF), timedelta(microseconds=1), timedelta(days=1)
GROSS = TaskConfig(horizon=Horizon(60, "days"), target="gross", population=None, horizons=(), query=None)
Event = tuple[str, datetime, float]  # customer, time, money

ORDERS: list[Event] = [
    ("edges", AT - 9 * DAY, 1.0),
    ("edges", AT - 5 * DAY, 1.0),
    ("edges", AT, 5.0),  # is past, day 0
    ("edges", AT + TICK, 10.0),  # day 1
    ("edges", AT + DAY, 20.0),  # the same day, which its midnight ends
    ("edges", AT + DAY + TICK, 0.0),  # nothing is spent on day 2
    ("edges", AT + 5 * DAY, 30.0),  # the last day of the first period
    ("edges", AT + 5 * DAY + TICK, 40.0),  # the first day of the second
    ("edges", AT + 60 * DAY, 100.0),
    ("edges", AT + 60 * DAY + TICK, 7.0),  # after the window
    ("once", AT - 3 * DAY, 1.0),
    ("once", AT + 30 * DAY, 30.0),
    ("silent", AT - DAY, 2.0),
]


def make_shop(orders: Sequence[Event] = ORDERS) -> Database:
    names, times, money = zip(*orders, strict=True)
    number = [str(k) for k in range(len(orders))]
    moments = pa.array(times, pa.timestamp("us"))
    tables = {
        "customers": pa.table({"customer_id": sorted(set(names))}),
        "orders": pa.table({"order_id": number, "customer_id": names, "order_date": moments}),
        "order_items": pa.table({"order_id": number, "amount": money}),
        "returns": pa.table({
            "customer_id": pa.array(["once"]), "return_date": pa.array([AT + 31 * DAY], pa.timestamp("us")),
            "refund_amount": [4.0],
        }),
    }  # fmt: skip
    return Database("shop", tables, read_until=date(2022, 1, 1))


def rows_by_hand(db: Database, **changed: object) -> TaskTable:
    return labelled(db, cutoff=CUTOFF, config=replace(GROSS, **changed))


def found_of(db: Database, rows: TaskTable) -> pd.DataFrame:
    return occasions(db, rows).set_index(rows.frame["customer_id"])


# Occasions


def test_occasions_by_hand() -> None:
    db = make_shop()
    found = found_of(db, rows_by_hand(db))
    assert list(found.columns) == list(OCCASIONS)
    counts = {name: found.loc[name, list(COUNTS)].tolist() for name in found.index}
    assert counts == {"edges": [2, 1, *[0] * 9, 1], "once": [0] * 5 + [1] + [0] * 6, "silent": [0] * 12}
    assert found[CONCENTRATION].to_dict() == {
        "edges": pytest.approx((30**2 + 30**2 + 40**2 + 100**2) / 200**2), "once": 1, "silent": 1,
    }  # fmt: skip
    # Days -9, -5, 0, 1, 5, 6 and 60: gaps of 4, 5, 1, 4, 1 and 54.
    pairs = np.array([(4, 5), (5, 1), (1, 4), (4, 1), (1, 54)])
    assert found.loc["edges", GAP_PAIRS] == pytest.approx((1 - 2 / pairs.sum(axis=1)).sum())
    assert found.loc["edges", GAP_SPREAD] == pytest.approx(((pairs[:, 0] / pairs.sum(axis=1) - 0.5) ** 2).sum())
    assert found.loc[["once", "silent"], [GAP_PAIRS, GAP_SPREAD]].eq(0).all(axis=None)


def test_of_orders_a_day_counts_them() -> None:
    db = make_shop()
    found = found_of(db, rows_by_hand(db, target="orders"))
    assert found.loc["edges", list(COUNTS)].sum() == 5  # the order of nothing is one
    assert found.loc["edges", CONCENTRATION] == pytest.approx((2**2 + 4) / 6**2)


def test_of_net_spend_the_purchases_count() -> None:
    db = make_shop()
    pd.testing.assert_frame_equal(found_of(db, rows_by_hand(db, target="net")), found_of(db, rows_by_hand(db)))


@pytest.mark.parametrize(
    "changed",
    [{"target": "churn"}, {"target": "order_value"}, {"horizon": Horizon(27, "days")}, {"query": "PREDICT ..."}],
)
def test_what_does_not_add_up_has_none(changed: dict) -> None:
    db = make_shop()
    rows = rows_by_hand(db)
    assert occasions(db, rows).notna().all(axis=None)
    assert occasions(db, replace(rows, **changed)).isna().all(axis=None)


def test_what_comes_after_the_window_changes_nothing() -> None:
    db = make_shop()
    later = [(name, time, 9 * money if time > AT + 60 * DAY else money) for name, time, money in ORDERS]
    later += [("silent", AT + 61 * DAY, 5.0)]
    pd.testing.assert_frame_equal(occasions(make_shop(later), rows_by_hand(db)), occasions(db, rows_by_hand(db)))


def test_gaps_of_chance_are_a_twelfth_in_whole_days() -> None:
    """Each day with the same probability: the spread of ratios that a habit of 1 stands for, whatever the rate."""
    for chance in (0.02, 0.3):
        bought = np.random.default_rng(0).random((400, 300)) < chance
        orders = [(f"c{row}", AT - int(day) * DAY, 1.0) for row, day in zip(*np.nonzero(bought), strict=True)]
        db = make_shop(orders)
        found = occasions(db, rows_by_hand(db))
        assert found[GAP_SPREAD].sum() / found[GAP_PAIRS].sum() == pytest.approx(1 / 12, rel=0.05)


# Zeros


def test_zeros_cap_scores_without_ties_only() -> None:
    y = np.concatenate([np.zeros(600), 1 + np.arange(400.0)])
    assert spearmanr(np.arange(1000), y).statistic == pytest.approx(spearman_ceiling(y), abs=1e-5)
    assert spearmanr(y, y).statistic > 0.999 > spearman_ceiling(y) + 0.1  # the same customers are tied
    others = np.where(np.arange(1000) < 500, 0.0, np.arange(1000))
    assert spearmanr(others, y).statistic < 1


# Propensity

Make = Callable[[np.random.Generator, int], Shoppers]


def some(rng: np.random.Generator, rate: np.ndarray, *, left: float) -> np.ndarray:
    return np.where(rng.random(len(rate)) < left, 0.0, rate)


REGIMES: dict[str, Make] = {
    "dense": lambda rng, n: shoppers(rng, rng.lognormal(2.75, 0.7, n)),
    "sparse": lambda rng, n: shoppers(rng, some(rng, rng.gamma(0.6, 2, n), left=0.3)),
    "leaving": lambda rng, n: shoppers(
        rng, some(rng, rng.gamma(1.5, 4, n), left=0.3), hazard=rng.gamma(2, 0.5, n)
    ),
    "periodic": lambda rng, n: shoppers(rng, rng.lognormal(2.5, 0.3, n), regular=50.0, spread=0.2),
    "periodic, a few times": lambda rng, n: shoppers(rng, rng.lognormal(0.97, 0.5, n), regular=8.0),
    "season": lambda rng, n: shoppers(rng, rng.gamma(1, 5, n), season=[[0, 0.7, 0.9, 1], [0, 0.5, 0.8, 1]]),
    "heavy tails": lambda rng, n: shoppers(rng, rng.gamma(1.5, 3, n), tail=1.2),
}  # fmt: skip


def ceiling_of(people: Shoppers, rng: np.random.Generator, *, n_boot: int = 0) -> Ceiling:
    db, rows = rows_of(people, rng)
    n = len(rows)
    draws = weight_chunks(np.arange(n), clusters=n, n_boot=n_boot, rng=np.random.default_rng(1))
    return propensity_ceiling(rows.label, occasions(db, rows).to_numpy(), chain([np.ones((1, n))], draws))


@pytest.mark.parametrize("regime", REGIMES)
def test_who_knows_the_propensity_reaches_the_ceiling(regime: str) -> None:
    """Within 0.05. Over seeds the difference has a mean of -0.01 to 0.03 and an SD of 0.02 at most."""
    rng = np.random.default_rng(0)
    people = REGIMES[regime](rng, 2000)
    found = ceiling_of(people, rng)
    assert not found.reason
    assert found.values[0] == pytest.approx(people.attainable(rng, futures=24), abs=0.05)


def test_the_regimes_are_different_ones() -> None:
    """So that one number cannot pass for all: the ceilings are far apart, and leaving costs as much as it should."""
    rng = np.random.default_rng(0)
    reached = {name: REGIMES[name](rng, 2000).attainable(rng, futures=16) for name in ("dense", "sparse", "leaving")}
    assert reached["dense"] > reached["leaving"] + 0.08 > reached["sparse"] + 0.08
    people = REGIMES["leaving"](rng, 2000)
    staying = replace(people, hazard=np.zeros(2000))
    assert staying.attainable(rng, futures=16) > people.attainable(rng, futures=16) + 0.08
    assert ceiling_of(staying, rng).values[0] > ceiling_of(people, rng).values[0] + 0.08


@pytest.mark.parametrize("days", [91, 365])
def test_the_oracle_of_a_world_reaches_the_ceiling(days: int) -> None:
    """By the tables of a world with returns, seasons and trials, which the process knows nothing of; contacts do not
    foreshadow a leaving here."""
    world = world_of("shop", "data.customers=2000", "data.contacts={interactions:0,complaints:0}")
    cutoff, db = date(2023, 1, 1), Database("shop", world.tables)
    rows = labelled(db, cutoff=cutoff, config=replace(GROSS, target="net", horizon=Horizon(days, "days")))
    found = propensity_ceiling(rows.label, occasions(db, rows).to_numpy(), iter([np.ones((1, len(rows)))]))
    forecast = forecast_from_state(world.truth, cutoff=cutoff, days=days, draws=60, seed=0)
    spent = forecast.drawn.net[forecast.come].clip(min=0)
    rank = rankdata(spent, axis=None).reshape(spent.shape)
    total = rank.sum(axis=1)
    reached = np.mean([spearmanr(total - rank[:, k], spent[:, k]).statistic for k in range(20)])
    assert found.values[0] == pytest.approx(reached, abs=0.05)


@pytest.mark.slow
def test_its_interval_is_that_of_other_samples() -> None:
    rng = np.random.default_rng(0)
    (truth,) = ceiling_of(REGIMES["dense"](rng, 5000), rng).values
    found = ceiling_of(REGIMES["dense"](rng, 500), rng, n_boot=40)
    assert len(found.values) == 41
    bounds = interval(found.values[1:])
    assert bounds.lo < truth < bounds.hi
    assert 0.01 < bounds.hi - bounds.lo < 0.06


def test_neither_the_currency_nor_the_order_of_rows_matters() -> None:
    rng = np.random.default_rng(0)
    db, rows = rows_of(REGIMES["sparse"](rng, 1000), rng)
    label, bought, order = rows.label, occasions(db, rows).to_numpy(), rng.permutation(len(rows))
    (one,) = propensity_ceiling(label, bought, iter([np.ones((1, 1000))])).values
    (other,) = propensity_ceiling(100 * label[order], bought[order], iter([np.ones((1, 1000))])).values
    assert other == pytest.approx(one, abs=1e-6)


def test_where_there_is_none_the_reason_is_said() -> None:
    rng = np.random.default_rng(0)
    db, rows = rows_of(REGIMES["sparse"](rng, 1000), rng)
    label, bought = rows.label, occasions(db, rows).to_numpy()
    cases = {
        "do not add up": (label, bought * np.nan),
        "of no purchase": (label + 1, bought),
        "bought on two days of their window, fewer than 50": (label[:100], bought[:100]),
        "bought on three days, fewer than 50": (label, bought * (np.arange(len(OCCASIONS)) < 13)),
    }
    for reason, (of, columns) in cases.items():
        found = propensity_ceiling(of, columns, iter([np.ones((1, len(of)))]))
        assert np.isnan(found.values).all()
        assert reason in found.reason
    others = {
        "differ too little to tell it from chance": shoppers(rng, rng.lognormal(1.4, 0.15, 1000), spread=0.1),
        # Subscribers, and customers who have left.
        "not those of the process": shoppers(
            rng, some(rng, np.full(1000, 6.0), left=0.6), regular=200.0, spread=0.05, tail=0.05
        ),
    }
    for reason, people in others.items():
        found = ceiling_of(people, rng)
        assert np.isnan(found.values).all()
        assert reason in found.reason
