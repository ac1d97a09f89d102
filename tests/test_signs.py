"""What interactions, complaints and campaigns tell of who is leaving: likelihoods by hand, and the world agrees."""

from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from newcomer import composed
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr

from patron.config import load
from patron.tables.database import Database
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import Customers
from patron.tables.worlds.posterior import forecast_from_past
from patron.tables.worlds.signs import Signs, Timeline
from patron.tables.worlds.world import MakeConfig, World, generate

# One customer who came on day 0, in five states: left on each of these days, the last ones after all that happened.
LEAVES = np.array([100.0, 200.0, 300.0, 400.0, 1000.0])
NOW = 365.0


@cache
def world_of(*overrides: str) -> World:
    return generate(load(composed("make_world", *overrides), schema=MakeConfig).data)


def config_of(*overrides: str) -> WorldConfig:
    return load(composed("make_world", "data=world", *overrides), schema=MakeConfig).data


def states(response: "np.ndarray | float" = 0.2) -> Customers:
    n = len(LEAVES)
    return Customers(
        customer_id=np.zeros(n, int), community=np.zeros(n, int), arrives=np.zeros(n), leaves=LEAVES,
        hazard=np.full(n, 1e-3), rate=np.ones(n), level=np.zeros(n), value=np.ones(n),
        response=np.broadcast_to(response, n).astype(float), cold=np.zeros(n, bool),
    )  # fmt: skip


def events(*days: float, value: "list[float] | float" = 0.0) -> Timeline:
    return Timeline.of(pd.DataFrame({"customer_id": np.zeros(len(days), int), "day": days}), np.array(value))


def signs(**known: Timeline) -> Signs:
    return Signs(**{"interactions": events(), "complaints": events(), "touches": events(), **known})


def told(found: Signs, config: WorldConfig, *, response: "np.ndarray | float" = 0.2) -> np.ndarray:
    return found.log_likelihood(states(response), now=NOW, config=config)


def test_a_timeline_counts_from_the_first_day_to_before_the_last() -> None:
    frame = pd.DataFrame({"customer_id": [0, 0, 2, 2, 2], "day": [1.0, 5.0, 1.0, 1.0, 9.0]})
    line = Timeline.of(frame, np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    who = np.array([0, 0, 1, 2, 2])
    since, until = np.array([0, 1, 0, 1, 1.5]), np.array([5, np.inf, np.inf, 9, np.inf])
    assert_array_equal(line.number(who, since, until), [1, 2, 0, 2, 1])
    assert_array_equal(line.total(who, since, until), [1, 3, 0, 12, 16])


def test_nothing_known_tells_nothing() -> None:
    assert_array_equal(told(signs(), config_of()), np.zeros(5))


def test_visits_by_hand() -> None:
    """36.5 a year: 0.1 a day of who stays, half as many in the 60 days before the leaving, a tenth after it."""
    config = config_of("data.contacts.interactions=36.5", "data.purchases.leaving_days=30")
    looked = events(10, 90, 190, 295, 350)
    early, late = (np.clip(LEAVES - gap, 0, NOW) for gap in (60, 0))
    exposure = 0.1 * (early + 0.5 * (late - early) + 0.1 * (NOW - late))
    kept = np.log([1, 0.5, 0.1])
    #  of 10, 90, 190, 295 and 350: before the leaving begins, in its foreshadow, after it
    counts = np.array([[1, 1, 3], [2, 1, 2], [3, 1, 1], [4, 1, 0], [5, 0, 0]])
    assert_allclose(told(signs(interactions=looked), config), counts @ kept - exposure)


def test_kinds_count_from_the_foreshadow_until_who_leaves_is_gone() -> None:
    config = config_of("data.contacts.interactions=36.5", "data.purchases.leaving_days=30")
    days = (10.0, 90.0, 190.0, 295.0, 350.0)
    plain, kinds = (told(signs(interactions=events(*days, value=v)), config) for v in (0.0, [1.0, 2.0, 4.0, 8.0, 16.0]))
    #  [40, 130) holds 90; [140, 230) 190; [240, 330) 295; [340, 430) 350; [940, ...) none
    assert_allclose(kinds - plain, [2, 4, 8, 16, 0])


def test_complaints_by_hand() -> None:
    """Of an order on day 90 that was complained of, one on day 355 of which nobody knows yet, and a silent one."""
    config = config_of("data.contacts.complaints=0.02")
    tables = {
        "customers": {"customer_id": [0]},
        "orders": {"order_id": [1, 2, 3], "customer_id": [0, 0, 0], "order_date": day(90, 120, 355)},
        "order_events": {"order_id": [1, 2], "event_type": ["complaint", "delivered"], "event_date": day(92, 124)},
    }
    found = Signs.of(database(tables), now=NOW, config=config)
    complained, silent = np.log(6), np.log((1 - 0.12) / (1 - 0.02))
    heard = (NOW - 355 - 1) / 13
    fresh = np.log((1 - 0.12 * heard) / (1 - 0.02 * heard))
    #  leaving has begun 60 days before: from day 40 on all three, from 140 on the last, from 240, from 340, then none
    expected = [complained + silent + fresh, fresh, fresh, fresh, 0]
    assert_allclose(told(found, config), expected)


def test_touches_by_hand() -> None:
    """Campaigns on days 14, 42, ... 350: 13 until day 365. Two reached the customer, the last one on day 210."""
    config = config_of("data.contacts.reach=0.3", "data.purchases.leaving_days=30")
    response = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = signs(touches=events(126, 210, value=[1.0, 0.0]))
    campaigns = np.arange(14, 366, 28)
    there = np.array([(campaigns < leaves + 30).sum() for leaves in LEAVES])
    expected = (there - 2) * np.log(0.7) + np.log(response) + np.log(1 - response)
    assert there.tolist() == [5, 8, 12, 13, 13]
    assert_allclose(told(found, config, response=response), np.where(LEAVES + 30 > 210, expected, -np.inf))


def test_what_responses_bring_is_a_fortnight_each() -> None:
    found, clock = signs(touches=events(10, 50, 100, value=[1.0, 0.0, 1.0])), 2.0 * np.arange(400)
    until = np.array([5.0, 10.0, 17.0, 24.0, 60.0, 107.0, 300.0])
    brought = found.brought(np.zeros(7, int), until, clock=clock)
    assert_allclose(brought, 2 * np.array([0, 0, 7, 14, 14, 21, 28]))
    assert_array_equal(found.brought(np.ones(7, int), until, clock=clock), np.zeros(7))
    assert_array_equal(signs().brought(np.zeros(7, int), until, clock=clock), np.zeros(7))


def day(*days: float) -> np.ndarray:
    start = np.datetime64(config_of().calendar.start, "us")
    return start + (np.array(days) * 86_400_000_000).astype("timedelta64[us]")


def database(tables: dict[str, dict[str, object]]) -> Database:
    return Database("by hand", {name: pa.table(columns) for name, columns in tables.items()})


# On a whole world


LIVELY = ("data=shop", "data.customers=2000", "data.purchases.lifetime_days=500", "data.contacts.reach=0.8")


def test_every_table_tells_something() -> None:
    """Who sees one more table ranks better, and who sees all is nearer to the truth than by orders alone."""
    world = world_of(*LIVELY)
    cutoff, db = pd.Timestamp("2022-12-31").date(), Database("world", world.tables)
    known = world.truth.expected(cutoff, days=182)
    come = world.truth.customers.arrives <= (cutoff - world.truth.config.calendar.start).days
    alone = ("order_items",)
    more = [alone, (*alone, "interactions"), (*alone, "campaigns"), (*alone, "order_events"), None]
    said = [
        forecast_from_past(world.truth, db.only(tables), cutoff=cutoff, days=182, draws=60, seed=0).expected.net[come]
        for tables in more
    ]
    orders, interactions, campaigns, complaints, everything = (
        spearmanr(one, known.net[come]).statistic for one in said
    )
    assert interactions > orders + 0.01
    assert campaigns > orders + 0.01
    assert complaints > orders
    assert everything > max(interactions, campaigns) + 0.005
    for one in said:
        assert one.sum() == pytest.approx(known.net.sum(), rel=0.05)


def test_leavers_are_as_many_as_the_past_says() -> None:
    """Calibration: among those of whom much, some or little of a normal pace is expected, so much is left."""
    world = world_of(*LIVELY)
    cutoff = pd.Timestamp("2022-12-31").date()
    db = Database("world", world.tables)
    said = forecast_from_past(world.truth, db, cutoff=cutoff, days=91, draws=200, seed=0).expected.orders
    known = world.truth.expected(cutoff, days=91).orders
    tenths = pd.qcut(said[said > 0], 5, labels=False)
    by = pd.DataFrame({"said": said[said > 0], "known": known[said > 0]}).groupby(tenths).mean()
    assert_allclose(by["said"], by["known"], rtol=0.12, atol=0.01)
    assert by["said"].iloc[-1] > 20 * by["said"].iloc[0]
