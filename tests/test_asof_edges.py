"""Features of products, categories and orders by hand; and those of odd, absent and short histories."""

from datetime import date
from math import log, nan, pi, sin

import numpy as np
import pandas as pd
import pytest
from features_by_hand import (
    CONFIG,
    CUTOFF,
    INT,
    MONTH,
    REAL,
    TEXT,
    TIME,
    assert_values,
    at,
    features_by_hand,
    make_shop,
    spec_by_hand,
    table,
)
from pandas.testing import assert_frame_equal

from patron.days import midnight
from patron.features.asof import FeatureSpec, customer_features, order_features, product_features, specify
from patron.tables.database import Database
from patron.testing import shuffled


@pytest.fixture(scope="module")
def spec() -> FeatureSpec:
    return spec_by_hand()


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    return features_by_hand()


# --- products, categories and orders


def test_products_by_hand(spec: FeatureSpec) -> None:
    products = product_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="product_id")
    assert products.index.tolist() == ["cup", "pot", "tea"]
    tea = {"buyers": 1, "buyers_repeated": 1, "buyers_recent": 1, "orders": 2, "quantity": 3, "revenue": 15}
    ages = {"last_sold": 15, "first_sold": 179.5, "revenue_recent": 5, "revenue_before": 0, "trend": log(6)}
    assert_values(products.loc["tea"], tea | ages | {"price_median": 5, "amount_per_unit": 5, "repeat_share": 1})
    pot = {"buyers": 2, "buyers_repeated": 0, "buyers_recent": 0, "orders": 2, "revenue": 58, "revenue_per_buyer": 29}
    sold = {"amount_per_unit": 58 / 3, "discount_share": 2 / 60, "revenue_recent": 0, "revenue_before": 40}
    assert_values(products.loc["pot"], pot | sold | {"trend": -log(41), "repeat_share": 0})


def test_categories_by_hand(spec: FeatureSpec) -> None:
    categories = product_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="category_id")
    assert categories.index.tolist() == [1, 2]
    assert_values(categories.loc[2], {"buyers": 2, "buyers_repeated": 1, "orders": 3, "revenue": 70, "last_sold": 5})


def test_orders_by_hand() -> None:
    orders = order_features(make_shop().upto(CUTOFF), cutoff=CUTOFF)
    assert orders.index.tolist() == [1, 2, 3, 5, 6]
    assert_values(orders.loc[1], {"amount": 28, "items": 3, "lines": 2, "discount": 2, "age": 179.5})
    assert_values(orders.loc[3], {"amount": 15, "items": 4, "lines": 2, "discount": 0, "age": 5})
    assert_values(orders.loc[6], {"amount": 0, "items": 0, "discount": 0, "age": 90})


# --- odd histories and absent tables


def make_odd_shop() -> Database:
    """tim orders twice at one instant, una returns what she never paid for, vic orders at the edges of windows."""
    orders = [(1, "tim", at(20)), (2, "tim", at(20)), (3, "una", at(40)), (4, "vic", at(60)), (5, "vic", at(59.5)),
              (6, "vic", at(30)), (7, "vic", at(29.5))]  # fmt: skip
    items = [(order, "tea", amount) for order, amount in ((1, 6.0), (2, 9.0), (4, 1.0), (5, 2.0), (6, 4.0), (7, 8.0))]
    odd = {
        "customers": table([("tim",), ("una",), ("vic",)], customer_id=TEXT),
        "orders": table(orders, order_id=INT, customer_id=TEXT, order_date=TIME),
        "order_items": table(items, order_id=INT, product_id=TEXT, amount=REAL),
        "returns": table(
            [(1, "una", at(3), 2.0)], return_id=INT, customer_id=TEXT, return_date=TIME, refund_amount=REAL
        ),
    }
    return Database("odd shop", odd)


def test_what_cannot_be_divided_is_unknown() -> None:
    spec = specify(make_odd_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])
    found = customer_features(make_odd_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec)
    assert_values(found.loc["tim"], {"gap_mean": 0, "gap_last": 0, "overdue": nan, "gap_last_ratio": nan})
    assert_values(found.loc["una"], {"amount_mean": 0, "refund_share": nan, "amount_last_ratio": nan, "net_30d": -2})
    assert not np.isinf(found.select_dtypes("number").to_numpy()).any()


def test_orders_at_one_instant_have_an_order_of_their_own() -> None:
    """That of their ids: the two ends of a customer's history never are the same one of two orders."""
    spec = specify(make_odd_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])
    found, again = (customer_features(db.upto(CUTOFF), cutoff=CUTOFF, spec=spec)
                    for db in (make_odd_shop(), shuffled(make_odd_shop(), seed=2)))  # fmt: skip
    assert sorted(found.loc["tim", ["amount_first", "amount_last"]]) == [6, 9]
    assert found.loc["tim", "amount_second_last"] == found.loc["tim", "amount_first"]
    assert_values(found.loc["vic"], {"amount_first": 1, "amount_second_last": 4, "amount_last": 8})
    assert_frame_equal(found, again, check_exact=True)


def test_recent_sales_and_those_before_share_no_order(spec: FeatureSpec) -> None:
    """Ages below 30 days, and of 30 to below 60: the order of 60 days ago is in neither."""
    tea = product_features(make_odd_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="product_id").loc["tea"]
    assert_values(tea, {"revenue": 30, "revenue_recent": 6 + 9 + 8, "revenue_before": 2 + 4})


def test_absent_tables_count_as_nothing(spec: FeatureSpec, features: pd.DataFrame) -> None:
    less = customer_features(make_shop(returns=None, campaigns=None).upto(CUTOFF), cutoff=CUTOFF, spec=spec)
    assert list(less.columns) == list(features.columns)
    changed = [name for name in features if not less[name].equals(features[name])]
    assert all(name.startswith(("return", "refund", "net", "campaign", "lag_1")) for name in changed)
    assert_values(less.loc["ann"], {"net_30d": 20, "lag_1": 0, "returns": 0, "campaigns": 0, "campaign_recency": nan})


def test_features_want_a_database_that_ends_at_the_cutoff(spec: FeatureSpec) -> None:
    for known in (make_shop(), make_shop().upto(date(2020, 6, 30))):
        with pytest.raises(AssertionError, match="features at 2020-07-01 from a database that ends at"):
            customer_features(known, cutoff=CUTOFF, spec=spec)
        with pytest.raises(AssertionError, match="from a database that ends at"):
            product_features(known, cutoff=CUTOFF, spec=spec, key="product_id")
        with pytest.raises(AssertionError, match="from a database that ends at"):
            order_features(known, cutoff=CUTOFF)


def test_an_order_at_the_very_cutoff_is_a_history() -> None:
    """One order at midnight, which is age 0: nothing is divided by the length of no history."""
    cutoff = date(2020, 1, 4)
    orders = table([(1, "ann", midnight(cutoff))], order_id=INT, customer_id=TEXT, order_date=TIME)
    shop = Database("new shop", make_shop().tables | {"orders": orders})
    spec = specify(shop, config=CONFIG, horizon=MONTH, cutoffs=[cutoff])
    row = customer_features(shop.upto(cutoff), cutoff=cutoff, spec=spec).loc["ann"]
    assert_values(row, {"recency": 0, "tenure": 0, "orders": 1, "amount_mean": 28})
    assert np.isfinite(row[["spend_pace", "net_pace", "tenure_pace"]].astype(float)).all()


# --- histories that are short at one cutoff and long at another


EARLY, LATE = date(2019, 7, 1), date(2020, 7, 1)


@pytest.fixture(scope="module")
def two_years() -> tuple[FeatureSpec, Database]:
    """Orders of one customer 447, 401, 400, 352, 336 and 335 days before the late cutoff: history from 2019-04-11."""
    ages = [447, 401, 400, 352, 336, 335]
    orders = [(k, "eva", at(age)) for k, age in enumerate(ages)]
    items = [(k, "tea", 10.0**k) for k in range(len(ages))]
    tables = {
        "customers": table([("eva", None)], customer_id=TEXT, registration_date=TIME),
        "orders": table(orders, order_id=INT, customer_id=TEXT, order_date=TIME),
        "order_items": table(items, order_id=INT, product_id=TEXT, amount=REAL),
    }
    db = Database("two years", tables)
    return specify(db, config=CONFIG, horizon=MONTH, cutoffs=[LATE, EARLY]), db


def test_last_year_is_the_label_window_of_a_year_ago(two_years: tuple[FeatureSpec, Database]) -> None:
    """Ages of at least 335 and less than 365 days: those of 352, 336 and 335."""
    spec, db = two_years
    late = customer_features(db.upto(LATE), cutoff=LATE, spec=spec).loc["eva"]
    assert (spec.windows, spec.season, spec.calendar) == ((7, 30, 91, 182, 365), True, False)
    assert_values(late, {"last_year": 111_000, "lag_1": 0, "spend_365d": 111_000 * 30 / 365, "spend_182d": 0})
    dated = customer_features(db.upto(LATE), cutoff=LATE, spec=spec, groups=("calendar",)).loc["eva"]
    assert_values(dated, {"season_sin": sin(2 * pi * 183 / 365.25)})


def test_windows_that_reach_before_the_first_order_are_unknown(two_years: tuple[FeatureSpec, Database]) -> None:
    """Early, 81 days are known: days 60 to 90 and last year are not, and longer windows shrink to 81 days."""
    spec, db = two_years
    early = customer_features(db.upto(EARLY), cutoff=EARLY, spec=spec).loc["eva"]
    assert_values(early, {"tenure": 81, "lag_1": 110, "lag_2": nan, "lag_3": nan, "last_year": nan})
    assert_values(early, dict.fromkeys(("spend_91d", "spend_182d", "spend_365d", "spend_pace"), 111 * 30 / 81))
    assert_values(early, {"spend_30d": 0, "orders_91d": 3 * 30 / 81})
