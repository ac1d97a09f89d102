"""Worlds: what is planted is there, what is latent stays hidden, and the truth is what happens on average.

Chance is held still by seeds; what is compared with an expectation may be off by three standard errors.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from newcomer import CONFIGS, Shell, composed
from scipy.stats import spearmanr

from patron.config import Config, dump, load
from patron.days import Horizon
from patron.features.asof import customer_features, specify
from patron.tables.read import FilesConfig, TableConfig
from patron.tables.schema import TABLES
from patron.tables.sources import CdnowConfig, label, read, truth
from patron.tables.validate import InvalidTables, Validated, validate
from patron.tables.worlds import blocks
from patron.tables.worlds import world as assembly
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.dirt import dirty as soil
from patron.tables.worlds.latent import Customers, draw_customers
from patron.tables.worlds.purchases import campaign_days, gone
from patron.tables.worlds.world import MakeConfig, World, generate, write

PRESETS = ("tiny", "shop", "no_signal", "cold", "seed_regime")
TODAY = date(2026, 1, 1)
START = date(2020, 1, 1)
NO_EFFECT = ("data.communities.rate_effect=0", "data.communities.value_effect=0")
STAYING = ("data.purchases.lifetime_days=1e9",)
SIGNAL = (
    "data.customers=4000", "data.communities={number:50,graph_signal:0.8,rate_effect:0.5,value_effect:0.5}",
    "data.catalogue.products=1500",
    "data.purchases.trial_days=200", "data.purchases.value_spread=0.1", "data.purchases.rate_shape=20",
)  # fmt: skip


def config_of(preset: str, *overrides: str) -> WorldConfig:
    return load(composed("make_world", f"data={preset}", *overrides), schema=MakeConfig).data


@cache
def world_of(preset: str, *overrides: str) -> World:
    """Shared by all tests."""
    return generate(config_of(preset, *overrides))


def frame(world: World, name: str) -> pd.DataFrame:
    return world.tables[name].to_pandas()


def checked(tables: Mapping[str, pa.Table], mode: Any = "strict") -> Validated:
    return validate(tables, name="world", mode=mode, today=TODAY)


def sql(world: World, query: str) -> pd.DataFrame:
    """`query` on the tables of the world and on the latent state `latent`."""
    with duckdb.connect() as connection:
        for name, table in world.tables.items():
            connection.register(name, table)
        latent = {field.name: getattr(world.truth.customers, field.name) for field in fields(Customers)}
        connection.register("latent", pa.table(latent))
        return connection.sql(query).df()


def close(mean: float, expected: float, *, sd: float, n: int) -> None:
    """Within three standard errors."""
    assert abs(mean - expected) <= 3 * sd / np.sqrt(n), (mean, expected, 3 * sd / np.sqrt(n))


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


# What is latent


def test_no_column_of_a_customer_is_the_latent_state() -> None:
    world = world_of("shop")
    customers, hidden = frame(world, "customers"), world.truth.customers
    names = {field.name for field in fields(Customers)} - {"customer_id"}
    assert all(names.isdisjoint(table.column_names) for name, table in world.tables.items() if name != "external")
    for column in customers.columns:
        codes = customers[column].rank(method="dense")
        known = {"arrives", "leaves"} if column == "registration_date" else set()  # who comes late leaves late
        for name in names - known:
            correlation = spearmanr(codes, getattr(hidden, name)).statistic
            assert abs(correlation) < 4 / np.sqrt(len(customers)), (column, name)


def test_no_column_of_a_product_is_its_community() -> None:
    world = world_of("shop")
    products, catalogue = frame(world, "products"), world.truth.catalogue
    for column in products.columns:
        codes = products[column].rank(method="dense")
        assert abs(spearmanr(codes, catalogue.community).statistic) < 4 / np.sqrt(len(products)), column


def test_graph_signal_is_the_share_of_the_level_that_communities_have() -> None:
    for signal in (0.0, 0.5, 0.95):
        customers = draw_customers(config_of("shop", "data.customers=20000", f"data.communities.graph_signal={signal}"))
        level = pd.Series(customers.level)
        between = level.groupby(customers.community).transform("mean").var() / level.var()
        assert between == pytest.approx(signal, abs=0.02)
        close(level.mean(), 0, sd=1, n=20000)
        assert level.var() == pytest.approx(1, abs=0.03)


def test_every_community_has_products_of_the_same_kinds() -> None:
    products = world_of("shop").truth.catalogue
    columns = ["category", "price", "cost", "return_rate"]
    shelf = pd.DataFrame({name: getattr(products, name) for name in columns}).sort_values(columns)
    shelves = [part.to_numpy() for _, part in shelf.groupby(products.community[shelf.index])]
    assert len(shelves) == 12
    assert all(np.array_equal(one, shelves[0]) for one in shelves)
    turns = np.diff(products.offers, prepend=0).reshape(-1, 12, len(shelves[0]))
    assert np.allclose(np.sort(turns), np.sort(turns[:, :1]), atol=1e-9)  # and as popular at any time


def test_customers_buy_mostly_from_their_own_community() -> None:
    world = world_of("shop")
    lines = sql(
        world,
        "SELECT product_id, community FROM order_items JOIN orders USING (order_id) JOIN latent USING (customer_id)",
    )
    own = world.truth.catalogue.community[lines["product_id"]] == lines["community"]
    expected = 0.75 + 0.25 / 12
    close(own.mean(), expected, sd=np.sqrt(expected * (1 - expected)), n=len(lines))


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    """Customers by what the orders of their trial say, their level, and the mean level of those who bought the same."""
    world = world_of("world", *SIGNAL)
    lines = sql(world, """
        SELECT customer_id, o.order_id, product_id, i.price, amount, category_id, level, community
        FROM orders o JOIN order_items i USING (order_id) JOIN products p USING (product_id)
        JOIN latent l USING (customer_id) JOIN customers c USING (customer_id)
        WHERE order_date < registration_date + INTERVAL 200 DAY
    """)  # fmt: skip
    by_customer = lines.groupby("customer_id")
    trial = by_customer[["level", "community"]].first()
    trial["price"], trial["lines"] = by_customer["price"].mean(), by_customer.size()
    trial["amount"] = by_customer["amount"].sum()
    trial["orders"] = by_customer["order_id"].nunique()
    trial["order_value"] = trial["amount"] / trial["orders"]
    for category in range(16):
        trial[f"category_{category}"] = (lines["category_id"] == category).groupby(lines["customer_id"]).mean()
    by_product = lines.groupby("product_id")["level"].agg(["sum", "size"]).loc[lines["product_id"]].to_numpy()
    others = (by_product[:, 0] - lines["level"]) / np.maximum(by_product[:, 1] - 1, 1)  # but for the own line
    trial["company"] = others.groupby(lines["customer_id"]).mean()
    return trial


def test_what_a_customer_does_in_the_trial_says_nothing_about_the_level(trial: pd.DataFrame) -> None:
    """Sampling is of communities; there are 21 columns."""
    standard = (trial - trial.mean()) / trial.std()
    for column in trial.columns.drop(["level", "company", "community"]):
        product = (standard[column] * standard["level"]).groupby(trial["community"]).sum()
        assert abs(product.sum()) <= 3.5 * np.sqrt((product**2).sum()), column


def test_the_company_a_customer_keeps_does(trial: pd.DataFrame) -> None:
    assert spearmanr(trial["company"], trial["level"]).statistic > 0.6


# Who buys how much


def test_counts_and_values_are_those_of_the_models() -> None:
    """Orders of the trial: 1 + negative binomial. Values: Gamma-Gamma, whose variance between customers is known."""
    world = world_of("world", "data.customers=8000", *STAYING, *NO_EFFECT)
    purchases = world.truth.config.purchases
    orders = sql(world, """
        SELECT customer_id, order_id, any_value(arrives) AS arrives, any_value(order_date) AS day, sum(amount) AS amount
        FROM orders JOIN order_items USING (order_id) JOIN latent USING (customer_id) GROUP BY ALL
    """)  # fmt: skip
    age = (orders["day"] - pd.Timestamp(START)).dt.total_seconds() / 86400 - orders["arrives"]
    seen = (world.truth.customers.arrives < 1461 - 365).nonzero()[0]
    mean = purchases.trial_rate * 90 / 365
    counts = age[age < 90].groupby(orders["customer_id"]).size().loc[seen] - 1
    variance = mean + mean**2 / purchases.rate_shape
    close(counts.mean(), mean, sd=np.sqrt(variance), n=len(seen))
    assert counts.var() == pytest.approx(variance, rel=0.1)
    mature = age[(age >= 90) & (age < 365)].groupby(orders["customer_id"]).size().reindex(seen, fill_value=0)
    mean = purchases.rate * 275 / 365
    close(mature.mean(), mean, sd=np.sqrt(mean + mean**2 / purchases.rate_shape), n=len(seen))
    first = orders["amount"][age < 0.001]
    between = (purchases.value * purchases.value_spread) ** 2
    within = (purchases.value**2 + between) / purchases.value_shape
    close(first.mean(), purchases.value, sd=np.sqrt(between + within), n=len(first))
    assert first.var() == pytest.approx(between + within, rel=0.1)


def test_cold_share_is_the_share_with_one_order_until_the_trial_ends() -> None:
    world = world_of("world", "data.arrivals.cold_share=0.4", "data.purchases.trial_rate=60", *STAYING,
                     "data.purchases.rate_shape=50", "data.customers=3000", "data.calendar.days=600")  # fmt: skip
    ages = sql(world, """
        SELECT customer_id, any_value(arrives) AS arrives, count(*) AS ever,
               sum((epoch(order_date - DATE '2020-01-01') / 86400 < arrives + 90)::INT) AS trial
        FROM orders JOIN latent USING (customer_id) GROUP BY ALL
    """)  # fmt: skip
    seen = ages[ages["arrives"] < 510]
    close((seen["trial"] == 1).mean(), 0.4, sd=0.49, n=len(seen))
    assert (seen["ever"][seen["arrives"] < 200] > 1).mean() > 0.9  # and come back after it


def test_who_leaves_orders_at_the_leaving_rate_and_then_no_more() -> None:
    found = sql(world_of("world", "data.customers=4000"), """
        SELECT (epoch(order_date - DATE '2020-01-01') / 86400 - leaves)::DOUBLE AS late
        FROM orders JOIN latent USING (customer_id) WHERE leaves < 1400 AND leaves > arrives + 200
    """)["late"]  # fmt: skip
    before, during = ((found > -60) & (found < 0)).sum(), ((found > 0) & (found < 60)).sum()
    assert found.max() < 60.001
    close(during / before, 0.5, sd=1, n=before)


@pytest.mark.parametrize(("table", "kind"), [("order_events", "complaint"), ("interactions", "support")])
def test_complaints_and_support_foreshadow_leaving_and_visits_thin(table: str, kind: str) -> None:
    """At day 800 of the shop: who has just complained leaves soon, who visits stays."""
    world = world_of("shop", "data.customers=20000", "data.contacts.interactions=12")
    owner = "JOIN orders USING (order_id)" if table == "order_events" else ""
    type_, day = ("event_type", "event_date") if owner else ("interaction_type", "interaction_date")
    rows = sql(world, f"""
        SELECT DISTINCT customer_id, {type_} AS kind FROM {table} {owner}
        WHERE {day} BETWEEN DATE '2020-01-01' + 770 AND DATE '2020-01-01' + 800
    """)  # fmt: skip
    customers = world.truth.customers
    there = (customers.arrives < 770) & (customers.leaves > 800)
    soon = customers.leaves < 860
    told = np.isin(customers.customer_id, rows["customer_id"][rows["kind"] == kind])
    assert soon[there & told].mean() > 2 * soon[there & ~told].mean()
    if table == "interactions":
        visited = np.isin(customers.customer_id, rows["customer_id"][rows["kind"] == "visit"])
        assert soon[there & visited].mean() < soon[there & ~visited].mean()


# The truth


def realised(world: World, *, now: int, days: int) -> dict[str, np.ndarray]:
    """Orders, gross and net spend of every customer in `(now, now + days]`."""
    window = f"> DATE '{START}' + {now} AND {{day}} <= DATE '{START}' + {now + days}"
    found = sql(world, f"""
        WITH bought AS (
            SELECT customer_id, count(DISTINCT order_id) AS orders, sum(amount) AS gross
            FROM orders JOIN order_items USING (order_id)
            WHERE order_date {window.format(day='order_date')} GROUP BY customer_id
        ), sent AS (
            SELECT customer_id, sum(refund_amount) AS refund FROM returns
            WHERE return_date {window.format(day='return_date')} GROUP BY customer_id
        )
        SELECT coalesce(orders, 0) AS orders, coalesce(gross, 0) AS gross,
               coalesce(gross, 0) - coalesce(refund, 0) AS net
        FROM latent LEFT JOIN bought USING (customer_id) LEFT JOIN sent USING (customer_id) ORDER BY customer_id
    """)  # fmt: skip
    return {name: found[name].to_numpy(dtype=float) for name in found}


def states(world: World, now: int) -> dict[str, np.ndarray]:
    """Where customers stand in their life: masks."""
    customers, purchases = world.truth.customers, world.truth.config.purchases
    come, stays, left = customers.arrives <= now, customers.leaves > now, gone(customers, world.truth.config) <= now
    new = customers.arrives + purchases.trial_days > now
    return {
        "trial": come & stays & new,
        "mature": come & stays & ~new,
        "leaving": come & ~stays & ~left,
        "gone": come & left,
    }


@pytest.mark.parametrize(
    "wanted",
    [
        (),
        ("data.calendar={christmas:2,shift:1.5,shift_day:950}",),
        ("data.contacts={reach:0.8,lift:3,discount:0.2}", "data.catalogue.return_rate=0.2"),
        ("data.arrivals={growth:40,cold_share:0.5}", "data.purchases={trial_days:270,lifetime_days:600}"),
    ],
    ids=["plain", "season and shift", "campaigns and returns", "growth and cold"],
)
@pytest.mark.parametrize(("now", "days"), [(905, 90), (1060, 365)])
def test_the_truth_is_what_happens_on_average(wanted: tuple[str, ...], now: int, days: int) -> None:
    world = world_of("world", "data.customers=20000", "data.seed=3", "data.contacts.interactions=0", *wanted)
    expected = world.truth.expected(START + timedelta(days=now), days=days)
    happened = realised(world, now=now, days=days)
    for name, mask in states(world, now).items():
        assert mask.sum() > 200
        for measure, values in happened.items():
            off = (values - getattr(expected, measure))[mask]
            close(off.mean(), 0, sd=off.std(), n=len(off))
            if name == "gone" and measure != "net":
                assert not values[mask].any()
                assert not getattr(expected, measure)[mask].any()
    nobody = world.truth.customers.arrives > now
    assert not expected.orders[nobody].any()
    assert not expected.net[nobody].any()


def test_a_first_order_that_is_sent_back_later_is_expected_to_be() -> None:
    """Nobody orders again, all is sent back: what is there at the cutoff is refunded until day 30 of the order."""
    wanted = "data.purchases={rate:1e-9,trial_rate:1e-9,value_spread:0}"
    world = world_of("world", wanted, "data.catalogue.return_rate=1", "data.customers=3000", *NO_EFFECT)
    age = 800 - world.truth.customers.arrives
    expected = world.truth.expected(START + timedelta(days=800), days=90)
    still_there = np.where(age > 0, 1 - np.clip((age - 3) / 27, 0, 1), 0)
    assert expected.net == pytest.approx(-50 * still_there, abs=1e-5)
    assert expected.gross == pytest.approx(np.zeros(3000), abs=1e-5)
    off = (realised(world, now=800, days=90)["net"] - expected.net)[(age > 0) & (age < 30)]
    close(off.mean(), 0, sd=off.std(), n=len(off))


def test_the_truth_goes_two_years_beyond_the_world() -> None:
    known, end = world_of("tiny").truth, START + timedelta(days=731)
    assert (known.expected(end, days=730).gross >= known.expected(end, days=365).gross).all()
    with pytest.raises(ValueError, match=f"731 days from {end}"):
        known.expected(end, days=731)


def test_the_truth_ranks_better_than_the_past() -> None:
    world = world_of("world", *SIGNAL)
    expected = world.truth.expected(START + timedelta(days=1000), days=365).gross
    past, future = realised(world, now=700, days=300)["gross"], realised(world, now=1000, days=365)["gross"]
    come = world.truth.customers.arrives <= 1000
    assert spearmanr(expected[come], future[come]).statistic > spearmanr(past[come], future[come]).statistic + 0.1


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


# Files, configs and sources


def test_a_written_world_reads_back_as_files(tmp_path: Path) -> None:
    world, folder = world_of("tiny"), tmp_path / "here" / "tiny"
    rows = write(config_of("tiny"), folder=folder)
    assert rows == {name: table.num_rows for name, table in world.tables.items()}
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]  # nothing partial
    tables = {name: TableConfig(file=f"{name}.parquet") for name in TABLES}
    back = read(FilesConfig(folder, tables, label="tiny"))
    assert checked(back).report.of("error") == ()
    for name, table in world.tables.items():
        assert back[name].to_pandas().equals(table.to_pandas()), name
    hidden = pq.read_table(folder / "truth" / "customers.parquet")
    assert hidden["level"].to_numpy() == pytest.approx(world.truth.customers.level)


def test_what_a_written_world_says_of_itself_is_true(tmp_path: Path) -> None:
    write(config_of("tiny"), folder=tmp_path / "tiny")
    said = yaml.safe_load((tmp_path / "tiny" / "world.yaml").read_text())
    assert load({"data": said, "out": "x"}, schema=MakeConfig).data == config_of("tiny")
    block = (tmp_path / "tiny" / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    mapping = yaml.safe_load(block)["data"]
    tables = {name: TableConfig(**table) for name, table in mapping.pop("tables").items()}
    assert len(read(FilesConfig(**mapping, tables=tables))["customers"]) == 300


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="remove it, or choose another folder"):
        write(config_of("tiny"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_script_writes_a_world_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, monkeypatch)
    said = shell("make_world", "data=tiny")
    assert said.code == 0, said.err
    assert "       300  customers" in said.out
    assert (tmp_path / "data" / "worlds" / "tiny" / "orders.parquet").exists()
    shell("make_world", "data=tiny").refused("error: data/worlds/tiny is there already; remove it")
    shell("make_world", "data=tiny", "out=other", "data.customers=0").refused("  data.customers: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_personal_fields_never_become_features() -> None:
    db, day = checked(world_of("tiny").tables).database, date(2021, 6, 1)
    config = load(composed("config", "data=tiny"), schema=Config).features
    spec = specify(db, config=config, horizon=Horizon.parse("90d"), cutoffs=[day])
    columns = set(customer_features(db.upto(day), cutoff=day, spec=spec).columns)
    assert {"customer_geo", "customer_age_band", "customer_household_size", "returns"} <= columns
    assert not any(column.startswith(("customer_first", "customer_email", "customer_phone")) for column in columns)


def test_sources_know_worlds() -> None:
    config = config_of("tiny")
    assert label(config) == "tiny"
    assert read(config)["orders"].equals(world_of("tiny").tables["orders"])
    known = truth(config)
    assert known is not None
    assert np.array_equal(known.customers.level, world_of("tiny").truth.customers.level)
    assert truth(CdnowConfig()) is None


@pytest.mark.parametrize("preset", sorted(file.stem for file in (CONFIGS / "data").glob("*.yaml")))
def test_presets_are_called_by_their_file(preset: str) -> None:
    if preset in ("files", "cdnow", "complete_journey", "online_retail_ii"):
        return
    config = config_of(preset)
    assert config.preset == preset
    assert load({"data": dump(config), "out": "x"}, schema=MakeConfig).data == config


def test_a_response_of_everybody_is_allowed() -> None:
    config = config_of("tiny", "data.contacts.response=1")
    assert frame(generate(replace(config, customers=50)), "campaigns")["campaign_response"].eq(1).all()
