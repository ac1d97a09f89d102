"""The customers of worlds: what is latent stays hidden, and who buys how much is what the models say."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from shared_worlds import NO_EFFECT, SIGNAL, START, close, config_of, frame, sql, world_of

from patron.tables.worlds.latent import Customers, draw_customers

STAYING = ("data.purchases.lifetime_days=1e9",)


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
