"""Features of customers at a cutoff, by hand."""

from dataclasses import replace
from datetime import date
from math import log, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from features_by_hand import CONFIG, CUTOFF, MONTH, assert_values, features_by_hand, make_shop, spec_by_hand

from patron.days import Horizon
from patron.features.asof import FeatureSpec, specify


@pytest.fixture(scope="module")
def spec() -> FeatureSpec:
    return spec_by_hand()


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    return features_by_hand()


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
