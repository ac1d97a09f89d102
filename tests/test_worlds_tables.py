"""The tables of worlds: clean ones pass strict validation, and of dirty ones the report says what is planted."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from shared_worlds import START, checked, close, config_of, frame, sql, world_of

from patron.tables.schema import TABLES
from patron.tables.validate import InvalidTables
from patron.tables.worlds import blocks
from patron.tables.worlds import world as assembly
from patron.tables.worlds.dirt import dirty as soil
from patron.tables.worlds.purchases import campaign_days, gone
from patron.tables.worlds.world import World, generate

PRESETS = ("tiny", "shop", "no_signal", "cold", "seed_regime", "regime")


# The tables


@pytest.mark.parametrize("preset", PRESETS)
def test_a_clean_world_passes_strict_validation_without_a_word(preset: str) -> None:
    world = world_of(preset)
    assert set(world.tables) == set(TABLES)
    report = checked(world.tables).report
    assert (report.of("error"), report.of("warning")) == ((), ())
    assert world.planted == {}


def test_the_shop_has_rows_in_every_table_and_every_canonical_column() -> None:
    for name, table in world_of("tiny").tables.items():
        assert table.num_rows > 0, name
        assert set(TABLES[name].by_name) <= set(table.column_names)


def test_the_same_config_makes_the_same_tables() -> None:
    again = generate(config_of("tiny"))
    assert all(table.equals(again.tables[name]) for name, table in world_of("tiny").tables.items())


def test_another_seed_makes_other_tables() -> None:
    other, world = generate(config_of("tiny", "data.seed=1")), world_of("tiny")
    same = {name for name, table in world.tables.items() if table.equals(other.tables[name])}
    assert same == {"categories"}


def test_more_customers_are_another_crowd_in_the_same_shop() -> None:
    more, world = generate(config_of("tiny", "data.customers=301")), world_of("tiny")
    assert more.tables["customers"].num_rows == 301
    for name in ("products", "categories", "external"):
        assert more.tables[name].equals(world.tables[name])


def test_blocks_continue_the_ids_and_share_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "BLOCK", 100)
    monkeypatch.setattr(blocks, "BLOCK", 100)
    world = generate(config_of("tiny", "data.contacts.reach=0.9"))
    assert checked(world.tables).report.of("error") == ()  # keys are unique, references hold
    orders = frame(world, "orders")
    assert orders["order_id"].tolist() == list(range(len(orders)))
    channels = frame(world, "customers")["channel"].to_numpy().reshape(3, 100)
    assert 0.1 < (channels[0] == channels[1]).mean() < 0.4  # a quarter by chance


def test_all_happens_within_the_world_and_registration_before_the_first_order() -> None:
    world = world_of("tiny")
    calendar = world.truth.config.calendar
    start, end = np.datetime64(calendar.start), np.datetime64(calendar.start + timedelta(days=calendar.days))
    for name, schema in TABLES.items():
        if schema.time:
            when = frame(world, name)[schema.time]
            assert when.min() >= start
            assert when.max() < end
    dates = sql(world, """
        SELECT customer_id, min(c.registration_date) AS registered, min(o.order_date) AS ordered
        FROM customers c JOIN orders o USING (customer_id) GROUP BY ALL
    """)  # fmt: skip
    assert len(dates) == world.truth.config.customers  # everybody has an order
    assert (dates["registered"] == dates["ordered"].dt.floor("D")).all()


def test_ids_are_in_time_order() -> None:
    for name in ("orders", "returns", "interactions", "loyalty"):
        assert frame(world_of("tiny"), name)[TABLES[name].time].is_monotonic_increasing


def test_personal_fields_are_unique() -> None:
    customers = frame(world_of("shop"), "customers")
    assert customers["email"].is_unique
    assert customers["phone"].is_unique
    assert customers["email"].str.endswith("@example.com").all()


def test_returns_come_3_to_30_days_after_their_line_at_its_amount() -> None:
    world = world_of("shop")
    found = sql(world, """
        SELECT r.return_id, count(i.order_id) AS lines, min(date_diff('second', o.order_date, r.return_date)) AS seconds
        FROM returns r JOIN orders o ON o.order_id = r.order_id AND o.customer_id = r.customer_id
        JOIN order_items i ON i.order_id = r.order_id AND i.product_id = r.product_id AND i.amount = r.refund_amount
        GROUP BY ALL
    """)  # fmt: skip
    assert len(found) == world.tables["returns"].num_rows
    assert found["seconds"].between(3 * 86400 - 1, 30 * 86400 + 1).all()
    rates, lines = world.truth.catalogue.return_rate, frame(world, "order_items")["product_id"]
    sold, sent = np.bincount(lines, minlength=400), np.bincount(frame(world, "returns")["product_id"], minlength=400)
    assert spearmanr(rates[sold > 200], (sent / np.maximum(sold, 1))[sold > 200]).statistic > 0.8


def test_loyalty_has_a_row_whenever_the_level_changes_and_its_points_add_up() -> None:
    world = world_of("tiny")
    loyalty = frame(world, "loyalty").sort_values(["customer_id", "loyalty_id"])
    rank = loyalty["membership_level"].map({"basic": 0, "silver": 1, "gold": 2, "platinum": 3})
    step = rank.groupby(loyalty["customer_id"]).diff()
    assert (step.dropna() > 0).all()
    assert loyalty["customer_id"].nunique() == 300
    balance = (loyalty["points_earned"] - loyalty["points_redeemed"]).groupby(loyalty["customer_id"]).cumsum()
    assert (balance == loyalty["loyalty_points"]).all()
    spent = sql(world, """
        SELECT customer_id, sum(amount) AS spent FROM orders JOIN order_items USING (order_id) GROUP BY ALL ORDER BY ALL
    """)["spent"]  # fmt: skip
    expected = np.searchsorted([250, 750, 2000], spent, side="right")
    assert rank.groupby(loyalty["customer_id"]).max().tolist() == expected.tolist()


def test_campaigns_reach_and_answer_as_they_should() -> None:
    world = world_of("shop")
    config, touches = world.truth.config, frame(world, "campaigns")
    assert touches.groupby("campaign_id")[["campaign_type", "campaign_date"]].nunique().max().max() == 1
    assert not touches.duplicated(["campaign_id", "customer_id"]).any()
    starts, customers = campaign_days(config.calendar)[:, None], world.truth.customers
    there = int(((starts > customers.arrives) & (starts < gone(customers, config))).sum())
    share = config.contacts.reach
    close(len(touches) / there, share, sd=np.sqrt(share * (1 - share)), n=there)
    close(touches["campaign_response"].mean(), 0.2, sd=0.45, n=5000)  # customers differ in it


def test_external_series_follow_the_shift_and_the_season() -> None:
    wide = frame(world_of("shop", "data.calendar.shift=3"), "external").pivot(
        index="date", columns="series", values="value"
    )
    assert (wide.index.to_series().diff().dropna() == pd.Timedelta(days=7)).all()
    after = wide.index >= pd.Timestamp(START) + pd.Timedelta(days=900)
    assert wide["consumer_confidence"][after].mean() > wide["consumer_confidence"][~after].mean() + 10
    assert wide["temperature"][wide.index.month == 7].mean() > wide["temperature"][wide.index.month == 1].mean() + 12


# Dirt


@pytest.fixture(scope="module")
def dirty() -> World:
    return generate(config_of("tiny", "data.dirt=0.05", "data.validation=repair"))


def test_no_dirt_leaves_all_as_it_is() -> None:
    clean = world_of("tiny").tables
    soiled = soil(clean, share=0, rng=np.random.default_rng(0))
    assert all(table is clean[name] for name, table in soiled.tables.items())
    assert soiled.planted == {}


def test_the_report_counts_what_is_planted(dirty: World) -> None:
    with pytest.raises(InvalidTables) as caught:
        checked(dirty.tables)
    repaired = checked(dirty.tables, "repair")
    for report in (caught.value.report, repaired.report):
        found = {(error.table, error.column, error.rule): error.count for error in report.of("error")}
        assert len(found) == len(dirty.planted)
        for (table, column, rule), count in dirty.planted.items():
            (seen,) = [n for (t, c, r), n in found.items() if (t, c) == (table, column) and r.startswith(rule)]
            assert seen == count
        assert not report.of("warning")
    clean = world_of("tiny").tables
    for name, table in clean.items():
        planted = sum(count for (where, *_), count in dirty.planted.items() if where == name)
        assert planted == round(0.05 * table.num_rows)


def test_every_kind_of_dirt_is_there(dirty: World) -> None:
    kinds = {rule.split(" in table")[0] for _, _, rule in dirty.planted}
    assert kinds == {"NULL", "exact copies of a row", "not", "in the future", "below 0", "before its order"}
    assert {table for table, *_ in dirty.planted} == set(TABLES) - {"categories"}  # of which there are ten


def test_repair_gives_back_the_clean_orders(dirty: World) -> None:
    repaired, clean = checked(dirty.tables, "repair").database, world_of("tiny").tables
    for name in clean:
        assert repaired[name].num_rows == clean[name].num_rows
    assert repaired["orders"].equals(clean["orders"])
    for column in ("order_id", "amount"):
        assert repaired["order_items"][column].equals(clean["order_items"][column])
