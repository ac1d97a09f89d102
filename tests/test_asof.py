"""Features at a cutoff by hand; neither the future, the order of rows nor the other rows asked for reach them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import log, nan, pi, sin, sqrt
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from patron.days import Horizon, midnight
from patron.features.asof import (
    FeatureConfig,
    FeatureSpec,
    customer_features,
    design,
    order_features,
    product_features,
    specify,
)
from patron.features.btyd import fit_bgnbd, fit_gamma_gamma
from patron.features.groups import Group
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.testing import scrambled_after, shuffled

CUTOFF, MONTH = date(2020, 7, 1), Horizon(30, "days")
GROUPS = tuple(group for group in get_args(Group) if group not in ("btyd", "twohop"))
CONFIG = FeatureConfig(groups=GROUPS, windows=(7, 30, 91, 182, 365), lags=4, top_categories=5, top_types=2, columns={})


def at(age: float) -> datetime:
    """The instant `age` days before the cutoff."""
    return midnight(CUTOFF) - timedelta(days=age)


def table(rows: Sequence[tuple[Any, ...]], **types: pa.DataType) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(column, kind) for (name, kind), column in zip(types.items(), columns, strict=True)})


TIME, TEXT, INT, REAL = pa.timestamp("us"), pa.string(), pa.int64(), pa.float64()
CUSTOMERS = [
    ("cat", at(50), "web", "south"),  # never ordered
    ("ann", None, "web", "north"),
    ("new", at(-1), "shop", "east"),  # registers after the cutoff
    ("dan", at(100), None, "north"),
    ("ben", at(31), "shop", "south"),
]
ORDERS = [
    (4, "ann", at(-9)),
    (1, "ann", at(179.5)),
    (3, "ann", at(5)),
    (2, "ann", at(15)),
    (5, "ben", at(30)),  # on the edge: not in (cutoff - 30 days, cutoff]
    (6, "dan", at(90)),  # without items
    (7, "new", at(-2)),
]
ITEMS = [
    (1, "tea", 2.0, 5.0, 10.0),
    (1, "pot", 1.0, 20.0, 18.0),  # 2 off
    (2, "tea", 1.0, 5.0, 5.0),
    (3, "cup", 4.0, 3.0, 12.0),
    (3, None, None, None, 3.0),  # no product, quantity or price
    (4, "tea", 200.0, 5.0, 1000.0),
    (5, "pot", 2.0, 20.0, 40.0),
    (7, "pot", 9.0, 20.0, 10.0),
]
RETURNS = [
    (1, "ann", at(40), 4.0),
    (2, "ann", at(10), 5.0),
    (3, "ann", at(-4), 50.0),
]
CAMPAIGNS = [("m1", "ann", at(20)), ("m1", "ann", at(60)), ("m2", "ann", at(-2)), ("m2", "cat", at(1))]


def make_shop(**absent: None) -> Database:
    """History of 180 days, from 2020-01-03. Tables in `absent` are left out."""
    tables = {
        "customers": table(CUSTOMERS, customer_id=TEXT, registration_date=TIME, channel=TEXT, geo=TEXT),
        "orders": table(ORDERS, order_id=INT, customer_id=TEXT, order_date=TIME),
        "order_items": table(ITEMS, order_id=INT, product_id=TEXT, quantity=REAL, price=REAL, amount=REAL),
        "products": table([("tea", 1), ("pot", 2), ("cup", 2), ("unsold", 3)], product_id=TEXT, category_id=INT),
        "returns": table(RETURNS, return_id=INT, customer_id=TEXT, return_date=TIME, refund_amount=REAL),
        "campaigns": table(CAMPAIGNS, campaign_id=TEXT, customer_id=TEXT, campaign_date=TIME),
    }
    return Database("shop", {name: rows for name, rows in tables.items() if name not in absent})


@pytest.fixture(scope="module")
def spec() -> FeatureSpec:
    return specify(make_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])


@pytest.fixture(scope="module")
def features(spec: FeatureSpec) -> pd.DataFrame:
    return customer_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec)


def assert_values(row: pd.Series, expected: dict[str, float]) -> None:
    assert row[list(expected)].astype(float).to_dict() == pytest.approx(expected, rel=1e-12, nan_ok=True)


# --- by hand


def test_the_columns_are_what_the_history_supports(spec: FeatureSpec) -> None:
    assert spec == FeatureSpec(
        horizon=MONTH,
        windows=(7, 30, 91),
        lags=4,
        season=False,
        calendar=False,
        groups=("attributes", "rfm", "windows", "percentiles", "baskets", "returns", "campaigns"),
        columns=spec.columns,  # tests/test_columns.py
        top_categories=(2, 1),  # 70 and 15 were spent in them
    )


def test_windows_near_the_label_s_length_give_way_to_it() -> None:
    def windows(*candidates: int) -> tuple[int, ...]:
        config = replace(CONFIG, windows=candidates)
        return specify(make_shop(), config=config, horizon=MONTH, cutoffs=[CUTOFF]).windows

    assert windows(33, 27, 34, 26) == (26, 30, 34)
    assert windows(180, 181) == (30, 180)
    long = specify(make_shop(), config=CONFIG, horizon=Horizon(12, "months"), cutoffs=[date(2020, 1, 6)])
    assert (long.windows, long.lags) == ((3,), 0)  # nothing fits into 3 days of history


def test_recency_frequency_and_money(features: pd.DataFrame) -> None:
    common = {"recency": 5, "tenure": 179.5, "orders": 3, "days_active": 3, "products": 3, "categories": 2}
    amounts = {"amount_mean": 16, "amount_per_day": 16, "amount_sd": sqrt((28**2 + 5**2 + 15**2) / 3 - 16**2)}
    extremes = {"amount_max": 28, "amount_last": 15, "amount_second_last": 5, "amount_first": 28}
    shares = {"amount_last_ratio": 15 / 16, "items_per_order": 8 / 3, "lines_per_order": 5 / 3, "repeat_share": 1 / 3}
    assert_values(features.loc["ann"], common | amounts | extremes | shares)
    once = {"recency": 30, "tenure": 30, "orders": 1, "days_active": 1, "products": 1, "categories": 1}
    assert_values(features.loc["ben"], once | {"amount_mean": 40, "amount_sd": 0, "amount_second_last": nan})


def test_gaps_between_orders(features: pd.DataFrame) -> None:
    """Of 164.5 and 10 days."""
    gaps = {"gap_mean": 87.25, "gap_sd": 77.25, "gap_max": 164.5, "gap_last": 10}
    assert_values(features.loc["ann"], gaps | {"gap_last_ratio": 10 / 87.25, "overdue": 5 / 87.25})
    for once in ("ben", "dan", "cat"):
        assert_values(features.loc[once], dict.fromkeys([*gaps, "overdue"], nan))


def test_sums_are_paces_of_the_label_window(features: pd.DataFrame) -> None:
    """What 30 days would hold if it went on: 7 days count 30/7-fold, 91 days 30/91-fold, all 180 days 1/6-fold."""
    week, quarter = 30 / 7, 30 / 91
    spend = {"spend_7d": 15 * week, "spend_30d": 20, "spend_91d": 20 * quarter, "spend_pace": 8}
    orders = {"orders_7d": week, "orders_30d": 2, "orders_91d": 2 * quarter}
    items = {"items_7d": 4 * week, "items_30d": 5, "items_91d": 5 * quarter, "discount_91d": 0}
    ratios = {"spend_7d_over_91d": 15 * 13 / 20, "orders_7d_over_91d": 6.5, "tenure_pace": 48 / 179.5 * 30}
    assert_values(features.loc["ann"], spend | orders | items | ratios)
    edge = {"spend_30d": 0, "orders_30d": 0, "spend_91d": 40 * quarter, "spend_7d_over_91d": 0, "spend_pace": 40 / 6}
    assert_values(features.loc["ben"], edge | {"tenure_pace": 40})
    assert_values(features.loc["dan"], {"orders_91d": quarter, "orders_30d": 0, "spend_91d": 0, "tenure_pace": 0})


def test_variety_counts_a_product_by_its_latest_purchase(features: pd.DataFrame) -> None:
    products = {"products_7d": 1, "products_30d": 2, "products_91d": 2, "products_repeated": 1}
    assert_values(features.loc["ann"], products | {"categories_7d": 1, "categories_30d": 2, "categories_91d": 2})
    assert_values(features.loc["ben"], {"products_30d": 0, "products_91d": 1, "products_repeated": 0})


def test_refunds_and_net(features: pd.DataFrame) -> None:
    refunds = {"refund_7d": 0, "refund_30d": 5, "refund_91d": 9 * 30 / 91, "refund_share": 9 / 48}
    returned = {"returns": 2, "returns_30d": 1, "returns_91d": 2 * 30 / 91, "return_recency": 10}
    net = {"net_7d": 15 * 30 / 7, "net_30d": 15, "net_91d": 11 * 30 / 91, "net_pace": (48 - 9) / 6}
    assert_values(features.loc["ann"], refunds | returned | net)
    assert_values(features.loc["ben"], {"refund_91d": 0, "refund_share": 0, "returns": 0, "return_recency": nan})


def test_lags_are_past_label_windows_net_of_returns(features: pd.DataFrame) -> None:
    assert_values(features.loc["ann"], {"lag_1": -4, "lag_2": 0, "lag_3": 0})
    assert_values(features.loc["ben"], {"lag_1": 40, "lag_2": 0, "lag_3": 0})
    assert "lag_4" not in features


def test_discounts_prices_and_campaigns(features: pd.DataFrame) -> None:
    prices = {"price_mean": 8.25, "price_median": 5, "price_max": 20, "price_min": 3, "discount_share": 2 / 50}
    touched = {"campaigns": 2, "campaigns_7d": 0, "campaigns_30d": 1, "campaigns_91d": 2 * 30 / 91}
    assert_values(features.loc["ann"], prices | touched | {"campaign_recency": 20})
    assert_values(features.loc["cat"], {"campaigns": 1, "campaigns_7d": 30 / 7, "campaign_recency": 1})
    assert_values(features.loc["dan"], {"price_mean": nan, "discount_share": nan, "campaigns": 0})


def test_category_shares_and_mix(features: pd.DataFrame) -> None:
    entropy = -(log(1 / 3) / 3 + log(2 / 3) * 2 / 3)
    shares = {"share_of_2": 30 / 48, "share_of_1": 15 / 48, "category_top_share": 2 / 3}  # 3 were spent in no category
    assert_values(features.loc["ann"], shares)
    assert features.loc["ann", "category_entropy"] == pytest.approx(entropy, abs=1e-11)
    assert_values(features.loc["ben"], {"share_of_2": 1, "share_of_1": 0, "category_entropy": 0})
    assert_values(features.loc["dan"], {"share_of_2": nan, "category_top_share": nan})


def test_percentiles_are_among_customers_with_an_order(features: pd.DataFrame) -> None:
    expected = pd.DataFrame(
        {"recency": [1 / 3, 2 / 3, 1, nan], "orders": [1, 0.5, 0.5, nan], "amount_mean": [2 / 3, 1, 1 / 3, nan],
         "spend_pace": [1, 2 / 3, 1 / 3, nan]},
        index=["ann", "ben", "dan", "cat"],
    )  # fmt: skip
    found = features.loc[expected.index, [f"{name}_percentile" for name in expected]]
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy())


def test_rows_are_the_customers_known_at_the_cutoff(features: pd.DataFrame) -> None:
    assert features.index.tolist() == ["ann", "ben", "cat", "dan"]
    assert features.index.name == "customer_id"
    texts = features[["customer_channel", "customer_geo"]]
    assert texts.loc["ben"].tolist() == ["shop", "south"]
    assert texts.isna().sum().tolist() == [1, 0]
    assert (features.drop(columns=texts.columns).dtypes == np.float64).all()


def test_a_customer_without_orders_has_counts_of_zero(features: pd.DataFrame) -> None:
    windowed = ("spend", "orders", "items", "discount", "returns", "refund", "net", "products", "categories")
    ever = ["orders", "days_active", "products", "products_repeated", "categories", "returns", "spend_pace", "net_pace"]
    counted = [*ever, "lag_1", "lag_2", "lag_3", *(f"{what}_{w}d" for what in windowed for w in (7, 30, 91))]
    assert_values(features.loc["cat"], dict.fromkeys(counted, 0))
    undefined = ["recency", "tenure", "gap_mean", "amount_mean", "price_mean", "spend_7d_over_91d", "share_of_1"]
    assert_values(features.loc["cat"], dict.fromkeys(undefined, nan))


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
    assert (spec.windows, spec.season, spec.calendar) == ((7, 30, 91, 182, 365), True, True)
    assert_values(late, {"last_year": 111_000, "lag_1": 0, "spend_365d": 111_000 * 30 / 365, "spend_182d": 0})
    assert_values(late, {"season_sin": sin(2 * pi * 183 / 365.25)})


def test_windows_that_reach_before_the_first_order_are_unknown(two_years: tuple[FeatureSpec, Database]) -> None:
    """Early, 81 days are known: days 60 to 90 and last year are not, and longer windows shrink to 81 days."""
    spec, db = two_years
    early = customer_features(db.upto(EARLY), cutoff=EARLY, spec=spec).loc["eva"]
    assert_values(early, {"tenure": 81, "lag_1": 110, "lag_2": nan, "lag_3": nan, "last_year": nan})
    assert_values(early, dict.fromkeys(("spend_91d", "spend_182d", "spend_365d", "spend_pace"), 111 * 30 / 81))
    assert_values(early, {"spend_30d": 0, "orders_91d": 3 * 30 / 81})


# --- what must not matter

QUARTER, FIRST, SECOND = Horizon(90, "days"), date(2020, 9, 1), date(2021, 1, 1)
SHOP_CONFIG = replace(CONFIG, groups=(*GROUPS, "btyd"), windows=(14, 30, 182), lags=3, top_categories=3)


@pytest.fixture(scope="module")
def shop_spec(shop: Database) -> FeatureSpec:
    return specify(shop, config=SHOP_CONFIG, horizon=QUARTER, cutoffs=[FIRST, SECOND])


def every_frame(db: Database, *, spec: FeatureSpec) -> dict[str, pd.DataFrame]:
    past = db.upto(SECOND)
    return {
        "customers": customer_features(past, cutoff=SECOND, spec=spec, groups=(*spec.groups, "twohop")),
        "products": product_features(past, cutoff=SECOND, spec=spec, key="product_id"),
        "categories": product_features(past, cutoff=SECOND, spec=spec, key="category_id"),
        "orders": order_features(past, cutoff=SECOND),
    }


@pytest.fixture(scope="module")
def frames(shop: Database, shop_spec: FeatureSpec) -> dict[str, pd.DataFrame]:
    return every_frame(shop, spec=shop_spec)


def rows_of(customers: Sequence[int], cutoffs: Sequence[date]) -> TaskTable:
    stamps = [pd.Timestamp(cutoff).as_unit("us") for cutoff in cutoffs]
    return TaskTable(pd.DataFrame({"customer_id": list(customers), "cutoff": stamps}), QUARTER)


def assert_identical(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert_frame_equal(one, other, check_exact=True)
    numbers = one.select_dtypes("number")
    difference = (numbers - other[numbers.columns]).abs().max(axis=None)
    assert difference == 0.0
    assert numbers.notna().any(axis=None)


@pytest.mark.parametrize("change", [lambda db: scrambled_after(db, cutoff=SECOND), shuffled], ids=["future", "order"])
def test_neither_the_future_nor_the_order_of_rows_reaches_a_feature(
    change: Callable[[Database], Database], shop: Database, shop_spec: FeatureSpec, frames: dict[str, pd.DataFrame]
) -> None:
    other = change(shop)
    assert not other["orders"].equals(shop["orders"])
    assert specify(other, config=SHOP_CONFIG, horizon=QUARTER, cutoffs=[FIRST, SECOND]) == shop_spec
    for name, frame in every_frame(other, spec=shop_spec).items():
        assert_identical(frame, frames[name])
    rows = rows_of([13, 0, 7, 7], [SECOND, SECOND, SECOND, FIRST])
    assert_identical(design(other, rows=rows, spec=shop_spec), design(shop, rows=rows, spec=shop_spec))


def test_the_past_reaches_features(shop: Database, shop_spec: FeatureSpec, frames: dict[str, pd.DataFrame]) -> None:
    """The control of the test above."""
    plain = replace(shop_spec, groups=tuple(group for group in shop_spec.groups if group != "btyd"))
    for name, frame in every_frame(scrambled_after(shop, cutoff=FIRST), spec=plain).items():
        assert not frame.equals(frames[name][frame.columns]), name


def test_the_vocabulary_is_that_of_the_first_cutoff(shop: Database, shop_spec: FeatureSpec) -> None:
    other = scrambled_after(shop, cutoff=FIRST)
    kept = specify(other, config=SHOP_CONFIG, horizon=QUARTER, cutoffs=[FIRST, SECOND])
    assert kept.top_categories == shop_spec.top_categories
    assert len(kept.top_categories) == 3


def test_design_gives_each_row_its_own_cutoff_whatever_else_is_asked(
    shop: Database, shop_spec: FeatureSpec, frames: dict[str, pd.DataFrame]
) -> None:
    customers, cutoffs = [9, 2, 9, 30, 0, 2], [FIRST, SECOND, SECOND, FIRST, SECOND, FIRST]
    whole = design(shop, rows=rows_of(customers, cutoffs), spec=shop_spec)
    assert whole.index.tolist() == list(range(6))
    for part in ([5, 4, 3, 2, 1, 0], [2, 0], [4]):
        asked = rows_of([customers[k] for k in part], [cutoffs[k] for k in part])
        assert_identical(design(shop, rows=asked, spec=shop_spec), whole.loc[part].reset_index(drop=True))
    second = frames["customers"].loc[[2, 9, 0], whole.columns].reset_index(drop=True)
    assert_identical(whole.loc[[1, 2, 4]].reset_index(drop=True), second)
    assert whole.loc[0, "tenure"] != whole.loc[2, "tenure"]


def test_design_refuses_customers_it_does_not_know(shop: Database, shop_spec: FeatureSpec) -> None:
    with pytest.raises(ValueError, match=r"does not know 2 customers at cutoff 2021-01-01, for example \[777, 999\]"):
        design(shop, rows=rows_of([1, 777, 999], [SECOND] * 3), spec=shop_spec)


def test_nothing_is_infinite(frames: dict[str, pd.DataFrame], features: pd.DataFrame, spec: FeatureSpec) -> None:
    hand = product_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="product_id")
    for frame in (*frames.values(), features, hand):
        numbers = frame.select_dtypes("number")
        assert numbers.shape[1] > 4
        assert not np.isinf(numbers.to_numpy()).any()


def test_an_order_at_the_very_cutoff_is_a_history() -> None:
    """One order at midnight, which is age 0: nothing is divided by the length of no history."""
    cutoff = date(2020, 1, 4)
    orders = table([(1, "ann", midnight(cutoff))], order_id=INT, customer_id=TEXT, order_date=TIME)
    shop = Database("new shop", make_shop().tables | {"orders": orders})
    spec = specify(shop, config=CONFIG, horizon=MONTH, cutoffs=[cutoff])
    row = customer_features(shop.upto(cutoff), cutoff=cutoff, spec=spec).loc["ann"]
    assert_values(row, {"recency": 0, "tenure": 0, "orders": 1, "amount_mean": 28})
    assert np.isfinite(row[["spend_pace", "net_pace", "tenure_pace"]].astype(float)).all()


def test_btyd_columns_are_a_fit_to_the_purchases(shop: Database, frames: dict[str, pd.DataFrame]) -> None:
    """Days with a purchase count, and money is an average over them, net of nothing."""
    past = shop.upto(SECOND)
    spend = past["order_items"].to_pandas().groupby("order_id")["amount"].sum()
    orders = past["orders"].to_pandas().assign(amount=lambda frame: frame["order_id"].map(spend).to_numpy())
    orders["age"] = (midnight(SECOND) - orders["order_date"]).dt.days
    each = orders.groupby("customer_id").agg(
        days=("age", "nunique"), first=("age", "max"), last=("age", "min"), spend=("amount", "sum")
    )
    frequency, recency, age = each["days"] - 1, each["first"] - each["last"], each["first"]
    model = fit_bgnbd(frequency, recency, age)
    number = model.expected_purchases(90, frequency=frequency, recency=recency, T=age)
    money = fit_gamma_gamma(each["days"], each["spend"] / each["days"]).expected_spend(
        each["days"], each["spend"] / each["days"]
    )
    found = frames["customers"].loc[each.index]
    assert model.converged
    np.testing.assert_allclose(found["btyd_alive"], model.p_alive(frequency, recency, age), rtol=1e-6)
    np.testing.assert_allclose(found["btyd_purchases"], number, rtol=1e-6)
    np.testing.assert_allclose(found["btyd_spend"], number * money, rtol=1e-5)
    assert frames["customers"].loc[0, ["btyd_alive", "btyd_purchases", "btyd_spend"]].isna().all()
