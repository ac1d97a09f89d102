"""Futures of a world: they have the distribution of what happens, and every column of an oracle is the best by its own
metric."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.stats import kstest, spearmanr
from settings import setting
from shared_worlds import START, close, world_of

from patron.days import Horizon, midnight
from patron.estimators import OracleConfig, build
from patron.estimators.base import QUANTILES
from patron.tables.database import Database
from patron.tables.worlds import futures, truth
from patron.tables.worlds.blocks import draw_block
from patron.tables.worlds.futures import Forecast, forecast_from_state
from patron.tables.worlds.posterior import forecast_from_past
from patron.tables.worlds.world import World
from patron.task.ltv import TaskTable, outcome

NOW, DAYS, FUTURES = 1000, 182, 16
CUTOFF = START + timedelta(days=NOW)
LIVELY = (
    "data.customers=3000", "data.purchases.lifetime_days=600", "data.catalogue.return_rate=0.3",
    "data.contacts={reach:0.8,response:0.5,lift:2,discount:0.2}",
    "data.calendar={christmas:1,shift:1.5,shift_day:1050}",
)  # fmt: skip


def forecast(world: World, knows: str, *, draws: int, days: int = DAYS) -> Forecast:
    if knows == "state":
        return forecast_from_state(world.truth, cutoff=CUTOFF, days=days, draws=draws, seed=0)
    db = Database("world", world.tables)
    return forecast_from_past(world.truth, db, cutoff=CUTOFF, days=days, draws=draws, seed=0)


def happened(world: World, target: str, *, days: int = DAYS) -> np.ndarray:
    """What every customer of the world did in the window, by its tables."""
    who = pd.Series(np.arange(len(world.truth.customers)))
    db, end = Database("world", world.tables), CUTOFF + timedelta(days=days)
    return outcome(db, customers=who, start=CUTOFF, end=end, target=target).clip(min=0)


def again(world: World, *, seed: int) -> np.ndarray:
    """Gross spend in the window if the same customers lived once more, by the lines that a world's tables are made of:
    who is there at the cutoff leaves on another day, unless contacts foreshadow it already."""
    customers, rng = world.truth.customers, np.random.default_rng([9, seed])
    known = NOW + truth.foreseen(world.truth.config)
    later = known + rng.exponential(1 / customers.hazard)
    customers = replace(customers, leaves=np.where(customers.leaves > known, later, customers.leaves))
    config = replace(world.truth.config, seed=1000 + seed)
    block = draw_block(customers, world.truth.catalogue, start=0, config=config)
    day = block.orders.day[block.items.order]
    inside = (day > NOW) & (day <= NOW + DAYS)
    return np.bincount(block.orders.owner[block.items.order], block.items.amount * inside, len(customers))


def place(drawn: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where a value lies among the draws of its row: uniform in (0, 1) if it is one more of them, ties at random."""
    off = drawn - value[:, None]
    below, same = (off < -0.05).sum(axis=1), (np.abs(off) <= 0.05).sum(axis=1)  # amounts of tables are rounded
    return (below + np.random.default_rng(0).random(len(value)) * (same + 1)) / (drawn.shape[1] + 1)


@pytest.mark.parametrize("knows", ["state", "past"])
def test_what_happens_is_one_more_of_the_futures(knows: str) -> None:
    """Simulation-based calibration, Talts et al. 2018: of all customers, and of those of whom little or much is
    expected."""
    world = world_of("world", *LIVELY)
    found = forecast(world, knows, draws=80)
    for target in ("orders", "gross", "net"):
        drawn, real = getattr(found.drawn, target).clip(min=0), happened(world, target)
        assert not drawn[~found.come].any()
        drawn, real = drawn[found.come], real[found.come]
        assert 0.1 < (real == 0).mean() < 0.9
        where = place(drawn, real)
        assert kstest(where, "uniform").pvalue > 1e-3, target
        for part in np.array_split(np.argsort(drawn.mean(axis=1), kind="stable"), 4):
            assert kstest(where[part], "uniform").pvalue > 1e-3, target


@pytest.mark.parametrize("knows", ["state", "past"])
def test_futures_are_on_average_what_is_expected(knows: str) -> None:
    world = world_of("world", *LIVELY)
    found = forecast(world, knows, draws=80)
    for target in ("orders", "gross", "net"):
        off = (getattr(found.drawn, target).mean(axis=1) - getattr(found.expected, target))[found.come]
        close(off.mean(), 0, sd=off.std(), n=len(off))
        assert off.std() < 0.4 * getattr(found.expected, target)[found.come].std()


@pytest.mark.slow
def test_a_leaving_that_complaints_foreshadow_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of customers who complained lately, as many orders are expected as they have to come; without the drawn day of
    leaving it were too many."""
    contacts = "data.contacts={complaints:0.1,interactions:0}"
    world = world_of("world", "data.customers=3000", "data.purchases={rate:20,lifetime_days:500}", contacts)
    events = world.tables["order_events"].to_pandas().merge(world.tables["orders"].to_pandas(), on="order_id")
    lately = events["event_date"].between(midnight(CUTOFF - timedelta(days=60)), midnight(CUTOFF))
    who = events.loc[lately & (events["event_type"] == "complaint"), "customer_id"].unique()
    assert len(who) > 200
    known = forecast(world, "state", draws=1).expected.orders[who]  # in the mean what happens, with less noise
    seen = forecast(world, "past", draws=200).expected.orders[who]
    close((seen - known).mean(), 0, sd=(seen - known).std(), n=len(who))
    monkeypatch.setattr(truth, "foreseen", lambda config: 0.0)
    forgotten = forecast(world, "past", draws=200).expected.orders[who]
    assert (forgotten - seen).mean() > 3 * (forgotten - seen).std() / np.sqrt(len(who))
    assert (forgotten - known).mean() > 2 * abs((seen - known).mean())


# What the oracle says of them


def rows_of(world: World, *, target: str = "gross") -> TaskTable:
    come = np.flatnonzero(world.truth.customers.arrives <= NOW)
    frame = pd.DataFrame({"customer_id": come, "cutoff": pd.Timestamp(CUTOFF).as_unit("us")})
    return TaskTable(frame, Horizon(DAYS, "days"), target=target)


def oracle(world: World, knows: str, folder: Path, *, draws: int, target: str = "gross") -> pd.DataFrame:
    config = OracleConfig(name="oracle", knows=knows, draws=draws)  # type: ignore[arg-type]
    rows = rows_of(world, target=target)
    return build(config, replace(setting(folder), world=world.truth)).predict(
        Database("world", world.tables), rows=rows
    )


def test_rank_and_median_are_better_than_the_mean_in_its_place(tmp_path: Path) -> None:
    """By the metric of each, in futures that the tables of a world are made of: paired, and every column of its own."""
    world = world_of("shop", "data.customers=2000", "data.catalogue.return_rate=0", "data.purchases.value_shape=0.5")
    said = oracle(world, "state", tmp_path, draws=400)
    mean, who = said["ltv_mean"], said["customer_id"]
    better, nearer, farther = [], [], []
    for seed in range(FUTURES):
        real = again(world, seed=seed)[who]
        better.append(spearmanr(said["rank_score"], real).statistic - spearmanr(mean, real).statistic)
        nearer.append(np.abs(mean - real).mean() - np.abs(said["ltv_median"] - real).mean())
        farther.append(np.square(said["ltv_median"] - real).mean() - np.square(mean - real).mean())
    for gain in (better, nearer, farther):
        assert np.mean(gain) > 5 * np.std(gain, ddof=1) / np.sqrt(FUTURES)


def test_by_hand(tmp_path: Path) -> None:
    """Every column of the state oracle follows from the draws."""
    world = world_of("world", *LIVELY)
    for target in ("orders", "net"):
        said = oracle(world, "state", tmp_path, draws=7, target=target)
        drawn = getattr(forecast(world, "state", draws=7).drawn, target)[said["customer_id"]].clip(min=0)
        ordered = np.sort(drawn, axis=1)
        assert said["ltv_median"].tolist() == ordered[:, 3].tolist()
        for name, level in QUANTILES.items():
            assert said[name].tolist() == ordered[:, int(np.ceil(level * 7)) - 1].tolist()
        assert said["p_active"].tolist() == (drawn > 0).mean(axis=1).tolist()
        one, all_of = drawn[5], drawn.ravel()
        rank = [(all_of < value).mean() + (all_of == value).mean() / 2 for value in one]
        assert said["rank_score"].iloc[5] == pytest.approx(np.mean(rank))


def test_no_future_of_one_customer_depends_on_who_else_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of("world", "data.customers=300")
    rows = rows_of(world)
    config = OracleConfig(name="oracle", knows="past", draws=60)
    one = build(config, replace(setting(tmp_path), world=world.truth))
    some = np.arange(len(rows)) % 3 == 0
    everybody = one.predict(Database("world", world.tables), rows=rows)
    part = one.predict(Database("world", world.tables), rows=rows.where(some))
    assert_frame_equal(part, everybody[some].reset_index(drop=True), check_exact=True)
    monkeypatch.setattr(futures, "CHUNK", 100)  # five customers at a time, by other numbers
    parts = one.predict(Database("world", world.tables), rows=rows)
    assert spearmanr(parts["rank_score"], everybody["rank_score"]).statistic > 0.9
