"""Ceilings of Spearman: halves of labels by hand, and the reliability of labels whose propensity is known."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from patron.days import Horizon, midnight
from patron.evaluation.bootstrap import cluster_weights, interval
from patron.evaluation.ceiling import HALVES, halves, reliability_ceiling, spearman_ceiling
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, labelled
from patron.testing import small_shop

CUTOFF = date(2020, 7, 1)
AT, TICK, WEEK = midnight(CUTOFF), timedelta(microseconds=1), timedelta(days=7)
GROSS = TaskConfig(horizon=Horizon(28, "days"), target="gross", population=None, horizons=(), query=None)
Event = tuple[str, datetime, float]  # customer, time, money

ORDERS: list[Event] = [
    *[(name, AT - WEEK, 1.0) for name in ("edges", "sender", "silent")],
    ("edges", AT, 5.0),  # is past
    ("edges", AT + TICK, 10.0),
    ("edges", AT + WEEK, 20.0),
    ("edges", AT + WEEK + TICK, 100.0),
    ("edges", AT + 2 * WEEK, 200.0),
    ("edges", AT + 2 * WEEK + TICK, 40.0),
    ("edges", AT + 4 * WEEK, 400.0),
    ("edges", AT + 4 * WEEK + TICK, 7.0),  # after the window
    ("sender", AT + timedelta(days=1), 30.0),
]
RETURNS: list[Event] = [("sender", AT + timedelta(days=2), 10.0), ("sender", AT + timedelta(days=8), 5.0)]


def make_shop(orders: Sequence[Event] = ORDERS, returns: Sequence[Event] = RETURNS) -> Database:
    names, times, money = zip(*orders, strict=True)
    back, when, refunds = zip(*returns, strict=True)
    number = [str(k) for k in range(len(orders))]
    tables = {
        "customers": pa.table({"customer_id": sorted(set(names))}),
        "orders": pa.table(
            {"order_id": number, "customer_id": names, "order_date": pa.array(times, pa.timestamp("us"))}
        ),
        "order_items": pa.table({"order_id": number, "amount": money}),
        "returns": pa.table(
            {"customer_id": back, "return_date": pa.array(when, pa.timestamp("us")), "refund_amount": refunds}
        ),
    }
    return Database("shop", tables, read_until=date(2022, 1, 1))


def rows_of(task: TaskConfig, db: Database) -> TaskTable:
    return labelled(db, cutoff=CUTOFF, config=task)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("gross", {"edges": (70.0, 700.0), "sender": (30.0, 0.0), "silent": (0.0, 0.0)}),
        ("net", {"edges": (70.0, 700.0), "sender": (20.0, 0.0), "silent": (0.0, 0.0)}),  # -5 is floored
        ("orders", {"edges": (3.0, 3.0), "sender": (1.0, 0.0), "silent": (0.0, 0.0)}),
    ],
)
def test_halves_by_hand(target: str, expected: dict[str, tuple[float, float]]) -> None:
    db = make_shop()
    rows = rows_of(replace(GROSS, target=target), db)
    found = halves(db, rows)
    assert list(found.columns) == list(HALVES)
    assert dict(zip(rows.frame["customer_id"], map(tuple, found.to_numpy().tolist()), strict=True)) == expected


def test_halves_add_up_to_the_label() -> None:
    db = small_shop()
    rows = labelled(db, cutoff=date(2021, 3, 1), config=replace(GROSS, horizon=Horizon(90, "days")))
    found = halves(db, rows)
    np.testing.assert_allclose(found.sum(axis=1), rows.label)
    assert (found.to_numpy().sum(axis=0) > 0.2 * rows.label.sum()).all()


@pytest.mark.parametrize(
    "changed",
    [{"target": "churn"}, {"target": "order_value"}, {"horizon": Horizon(27, "days")}, {"query": "PREDICT ..."}],
)
def test_what_does_not_add_up_has_no_halves(changed: dict) -> None:
    db = make_shop()
    rows = rows_of(GROSS, db)
    assert halves(db, rows).notna().all(axis=None)
    assert halves(db, replace(rows, **changed)).isna().all(axis=None)


def simulated(customers: int, *, mean: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates of customers, and their orders in two halves of a window: Poisson about the rate, so that the rate is all
    that anybody can know."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.0, mean, customers)
    first, second = rng.poisson(rate / 2, (2, customers))
    return rate, first, second


@pytest.mark.parametrize("mean", [1.0, 3.0, 10.0])
def test_who_knows_the_rates_reaches_about_the_ceiling(mean: float) -> None:
    rate, first, second = simulated(20_000, mean=mean)
    reached = spearmanr(rate, first + second).statistic
    (ceiling,) = reliability_ceiling(first, second, np.ones(20_000))
    assert ceiling == pytest.approx(reached, abs=0.03)


def test_noise_lowers_the_ceiling() -> None:
    of_mean = [reliability_ceiling(*simulated(2000, mean=mean)[1:], np.ones(2000))[0] for mean in (10.0, 3.0, 1.0, 0.3)]
    assert of_mean == sorted(of_mean, reverse=True)
    assert of_mean[0] - of_mean[-1] > 0.2


def test_reliability_by_hand() -> None:
    one = np.ones(4)
    half = np.array([1.0, 2.0, 3.0, 4.0])
    assert reliability_ceiling(half, 5 * half, one)[0] == pytest.approx(1)
    assert reliability_ceiling(half, [2, 1, 4, 3], one)[0] == pytest.approx(np.sqrt(1.2 / 1.6))  # halves at 0.6
    assert reliability_ceiling(half, -half, one)[0] == 0
    assert reliability_ceiling(half, [2, 4, 1, 3], one)[0] == pytest.approx(0, abs=1e-6)
    assert reliability_ceiling(half, one, one)[0] == 0


def test_ties_do_not_lift_it_above_the_ceiling_by_zeros() -> None:
    """Of ten thousand customers a tenth buys, always alike: halves agree, and yet the zeros cannot be ranked."""
    half = np.repeat([0.0, 1.0], [9000, 1000]) * np.arange(10_000)
    (ceiling,) = reliability_ceiling(half, half, np.ones(10_000))
    assert ceiling == pytest.approx(spearman_ceiling(half)) == pytest.approx(np.sqrt(1 - 0.9**3))


def test_its_interval_holds_the_value_of_many() -> None:
    _, first, second = simulated(100_000, mean=3.0, seed=1)
    (truth,) = reliability_ceiling(first, second, np.ones(100_000))
    weights = cluster_weights(np.arange(500), n_boot=300, rng=np.random.default_rng(0))
    bounds = interval(reliability_ceiling(first[:500], second[:500], weights))
    assert bounds.lo < truth < bounds.hi
    assert bounds.hi - bounds.lo < 0.2


def test_labels_of_the_past_and_of_later_change_no_half() -> None:
    db = make_shop()
    rows = rows_of(GROSS, db)
    other = [(name, time, 9 * money if time <= AT or time > AT + 4 * WEEK else money) for name, time, money in ORDERS]
    pd.testing.assert_frame_equal(halves(make_shop(other), rows), halves(db, rows))
