"""Events of orders, interactions, campaigns, returns, loyalty and the world outside, by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import nan
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from patron.days import Horizon, midnight
from patron.features.asof import FeatureConfig, FeatureSpec, customer_features, specify
from patron.features.groups import Group
from patron.tables.database import Database
from patron.testing import scrambled_after, shuffled

CUTOFF, MONTH = date(2020, 7, 1), Horizon(30, "days")
GROUPS = tuple(group for group in get_args(Group) if group != "twohop")
CONFIG = FeatureConfig(groups=GROUPS, windows=(10, 50), lags=0, top_categories=0, top_types=2, columns={})


def at(age: float) -> datetime:
    """The instant `age` days before the cutoff."""
    return midnight(CUTOFF) - timedelta(days=age)


def table(rows: list[tuple[Any, ...]], *names: str) -> pa.Table:
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return pa.table({n: pa.array(c, pa.timestamp("us") if "date" in n else None) for n, c in columns.items()})


def make_shop() -> Database:
    """100 days of history. Every table has rows of the days after the cutoff too."""
    events = [(1, "shipped", at(98)), (1, "delivered", at(95)), (2, "shipped", at(18)), (3, "shipped", at(9.5)),
              (3, "lost", at(1)), (2, "delivered", at(-2))]  # fmt: skip
    interactions = [(1, "ann", at(5), "visit"), (2, "ann", at(40), "visit"), (3, "ann", at(60), "call"),
                    (4, "ann", at(3), None), (5, "cat", at(30), "call"), (6, "cat", at(-1), "fax")]  # fmt: skip
    campaigns = [("m", "ann", at(50), "mail", 1.0), ("m", "ann", at(20), "mail", 0.0), ("s", "ann", at(4), "sms", None),
                 ("m", "ben", at(2), "mail", 0.0), ("s", "ben", at(-3), "sms", 1.0)]  # fmt: skip
    returns = [(1, "ann", at(90), "broken", 2.0), (2, "ann", at(15), "late", 1.0), (3, "ann", at(-4), "late", 3.0)]
    loyalty = [(1, "ann", at(80), "silver", 100.0, 100.0, 0.0), (2, "ann", at(25), "gold", 150.0, 60.0, 10.0),
               (3, "ann", at(8), None, 140.0, None, 10.0), (4, "ann", at(-3), "platinum", 900.0, 800.0, 0.0),
               (6, "ben", at(40), "gold", 20.0, 0.0, 0.0), (5, "ben", at(40), "silver", 10.0, 10.0, 0.0)]  # fmt: skip
    outside = [(at(100), "rain", 2.0), (at(3), "rain", 4.0), (at(364), "rain", 6.0), (at(365), "rain", 99.0),
               (at(-1), "rain", 77.0), (at(10), "mood", 5.0), (at(10), "mood", 7.0)]  # fmt: skip
    return Database("shop", {
        "customers": table([("cat",), ("ann",), ("ben",)], "customer_id"),
        "orders": table(
            [(1, "ann", at(100)), (2, "ann", at(20)), (3, "ben", at(10))], "order_id", "customer_id", "order_date"
        ),
        "order_items": table([(1, 6.0), (1, 1.0), (2, 3.0), (3, 8.0)], "order_id", "amount"),
        "order_events": table(events, "order_id", "event_type", "event_date"),
        "interactions": table(interactions, "interaction_id", "customer_id", "interaction_date", "interaction_type"),
        "campaigns": table(
            campaigns, "campaign_id", "customer_id", "campaign_date", "campaign_type", "campaign_response"
        ),
        "returns": table(returns, "return_id", "customer_id", "return_date", "return_reason", "refund_amount"),
        "loyalty": table(loyalty, "loyalty_id", "customer_id", "loyalty_date", "membership_level", "loyalty_points",
                         "points_earned", "points_redeemed"),
        "external": table(outside, "date", "series", "value"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def spec() -> FeatureSpec:
    return specify(make_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])


@pytest.fixture(scope="module")
def features(spec: FeatureSpec) -> pd.DataFrame:
    groups = (*(group for group in spec.groups if group != "btyd"), "external")
    return customer_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec, groups=groups)


def assert_values(row: pd.Series, expected: dict[str, float]) -> None:
    assert row[list(expected)].astype(float).to_dict() == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_types_are_the_most_frequent_ones_then_by_name(spec: FeatureSpec) -> None:
    assert spec.windows == (10, 30, 50)
    assert spec.event_types == ("shipped", "delivered")
    assert spec.interaction_types == ("call", "visit")
    assert (spec.campaign_types, spec.return_reasons) == (("mail", "sms"), ("broken", "late"))
    assert spec.series == ("rain", "mood")


def test_events_of_orders(features: pd.DataFrame) -> None:
    """Of ann's shipments one of two is in the last 30 of 100 days, where 0.6 would be usual."""
    shipped = {"count": 2, "recency": 18, "per_order": 1, "delay": 2, "trend": 1 / 0.6}
    delivered = {"count": 1, "recency": 95, "per_order": 0.5, "delay": 5, "trend": 0}
    for name, values in {"shipped": shipped, "delivered": delivered}.items():
        assert_values(features.loc["ann"], {f"event_{what}_{name}": value for what, value in values.items()})
    assert_values(features.loc["ben"], {"event_delay_shipped": 0.5, "event_trend_shipped": 1 / 0.3})
    none = {"event_count_delivered": 0, "event_per_order_delivered": 0, "event_recency_delivered": nan}
    assert_values(features.loc["ben"], none | {"event_trend_delivered": nan, "event_delay_delivered": nan})
    assert_values(features.loc["cat"], {"event_count_shipped": 0, "event_per_order_shipped": nan})
    assert not [name for name in features if "lost" in name]


def test_interactions(features: pd.DataFrame) -> None:
    """One of ann's has no type; cat's is on the edge: not in (cutoff - 30 days, cutoff]."""
    every = {"interactions": 4, "interactions_10d": 6, "interactions_30d": 2, "interactions_50d": 3 * 0.6}
    visits = {"interaction_count_visit": 2, "interaction_30d_visit": 1, "interaction_50d_visit": 2 * 0.6}
    recency = {"interaction_recency": 3, "interaction_recency_visit": 5, "interaction_recency_call": 60}
    assert_values(features.loc["ann"], every | visits | recency)
    assert_values(features.loc["cat"], {"interactions": 1, "interactions_30d": 0, "interactions_50d": 0.6})
    nothing = {"interactions": 0, "interaction_count_call": 0, "interaction_recency": nan}
    assert_values(features.loc["ben"], nothing | {"interaction_recency_call": nan})


def test_campaigns_and_responses(features: pd.DataFrame) -> None:
    """Of ann's three touches two have a known answer."""
    touches = {"campaigns": 3, "campaigns_10d": 3, "campaigns_30d": 2, "campaign_recency": 4}
    answers = {"campaign_responses": 1, "campaign_response_share": 0.5, "campaign_response_recency": 50}
    assert_values(features.loc["ann"], touches | answers | {"campaign_type_mail": 2, "campaign_type_sms": 1})
    unmoved = {"campaigns": 1, "campaign_responses": 0, "campaign_response_share": 0, "campaign_response_recency": nan}
    assert_values(features.loc["ben"], unmoved)
    assert_values(features.loc["cat"], {"campaigns": 0, "campaign_responses": 0, "campaign_response_share": nan})


def test_reasons_of_returns(features: pd.DataFrame) -> None:
    shares = {"returns": 2, "return_line_share": 2 / 3, "return_reason_broken": 1, "return_reason_late": 1}
    assert_values(features.loc["ann"], shares)
    assert_values(features.loc["ben"], {"return_line_share": 0, "return_reason_late": 0})
    assert_values(features.loc["cat"], {"return_line_share": nan, "return_reason_late": 0})


def test_loyalty_is_the_last_state_known(features: pd.DataFrame) -> None:
    """Ann's last row has no level, so the one before counts. Ben's two of one instant come in order of their ids."""
    state = {"loyalty_points": 140, "loyalty_changes": 3, "loyalty_recency": 8, "loyalty_tenure": 80}
    earned = {"loyalty_earned": 160, "loyalty_earned_10d": 0, "loyalty_earned_30d": 60, "loyalty_earned_50d": 36}
    assert_values(features.loc["ann"], state | earned | {"loyalty_redeemed": 20, "loyalty_redeemed_10d": 30})
    assert_values(features.loc["ben"], {"loyalty_points": 20, "loyalty_changes": 2, "loyalty_recency": 40})
    assert features["loyalty_level"].isna().to_dict() == {"ann": False, "ben": False, "cat": True}
    assert features.loc[["ann", "ben"], "loyalty_level"].tolist() == ["gold", "gold"]
    assert_values(features.loc["cat"], {"loyalty_points": nan, "loyalty_changes": 0, "loyalty_earned_30d": 0})


def test_external_series_by_their_last_value_and_the_year_before(features: pd.DataFrame) -> None:
    """(2 + 4 + 6) / 3 is the mean of 365 days; of two values of one day the higher counts. It is the same for all."""
    outside = {"external_last_rain": 4, "external_ratio_rain": 1, "external_last_mood": 7, "external_ratio_mood": 1}
    for customer in features.index:
        assert_values(features.loc[customer], outside)


def test_external_needs_each_season_in_two_years(spec: FeatureSpec) -> None:
    assert "external" not in spec.groups
    early = midnight(date(2019, 6, 1))
    orders = make_shop()["orders"].set_column(2, "order_date", pa.array([early, at(20), at(10)], pa.timestamp("us")))
    long = Database("long", {**make_shop().tables, "orders": orders})
    seasons = [date(2019 + month // 12, month % 12 + 1, 2) for month in range(6, 30, 3)]
    twice = specify(long, config=CONFIG, horizon=MONTH, cutoffs=seasons)
    once = specify(long, config=CONFIG, horizon=MONTH, cutoffs=seasons[:-1])
    assert ("external" in twice.groups, "external" in once.groups) == (True, False)


TABLES = {"order_events": "event_", "interactions": "interaction", "campaigns": "campaign", "returns": "ref",
          "loyalty": "loyalty", "external": "external"}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_absent_tables_add_no_columns(name: str) -> None:
    tables = {other: rows for other, rows in make_shop().tables.items() if other != name}
    bare = specify(Database("bare", tables), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])
    assert name not in bare.groups
    groups = tuple(group for group in bare.groups if group != "btyd")
    found = customer_features(Database("bare", tables).upto(CUTOFF), cutoff=CUTOFF, spec=bare, groups=groups)
    assert not [column for column in found if column.startswith(TABLES[name])]
    assert "recency" in found


def test_tables_that_start_after_the_first_cutoff_add_no_columns() -> None:
    """Training rows of that cutoff could say nothing about them."""
    early = specify(make_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF, date(2020, 3, 28)])
    assert not {"interactions", "loyalty", "campaigns", "returns"} & set(early.groups)
    assert (early.event_types, "order_events" in early.groups) == (("delivered", "shipped"), True)


# --- all groups, at cutoffs a year apart

FIRST, LAST = date(2020, 4, 1), date(2021, 4, 1)
# Each season in two years; what lies after LAST is made to be known by nothing but its date.
SEASONS = [date(2020 + month // 12, month % 12 + 1, 1) for month in range(3, 27, 3)]


@pytest.fixture(scope="module")
def wide(shop: Database) -> FeatureSpec:
    return specify(shop, config=CONFIG, horizon=Horizon(90, "days"), cutoffs=SEASONS)


def every_column(db: Database, spec: FeatureSpec) -> pd.DataFrame:
    return customer_features(db.upto(LAST), cutoff=LAST, spec=spec, groups=(*spec.groups, "twohop"))


@pytest.mark.parametrize("change", [lambda db: scrambled_after(db, cutoff=LAST), shuffled], ids=["future", "order"])
def test_neither_the_future_nor_the_order_of_rows_reaches_any_group(
    change: Callable[[Database], Database], shop: Database, wide: FeatureSpec
) -> None:
    assert set(wide.groups) == set(GROUPS)
    other = change(shop)
    assert specify(other, config=CONFIG, horizon=Horizon(90, "days"), cutoffs=SEASONS) == wide
    assert_frame_equal(every_column(other, wide), every_column(shop, wide), check_exact=True)


@pytest.mark.parametrize("name", ["order_events", "interactions", "campaigns", "returns", "loyalty", "external"])
def test_the_past_of_a_table_reaches_its_group_and_no_other(name: str, shop: Database, wide: FeatureSpec) -> None:
    """The control of the test above: the scramble of this one table after the first cutoff shows."""
    changed = scrambled_after(shop, cutoff=FIRST)[name]
    plain = replace(wide, groups=tuple(group for group in wide.groups if group != "btyd"))
    one, other = every_column(shop, plain), every_column(Database(shop.name, {**shop.tables, name: changed}), plain)
    moved = [column for column in one if not one[column].equals(other[column])]
    assert moved
    also = ("net_", "lag_", "last_year") if name == "returns" else ()
    own = {"order_events": "event_", "interactions": "interaction", "campaigns": "campaign", "loyalty": "loyalty",
           "external": "external", "returns": ("return", "refund")}[name]  # fmt: skip
    assert all(column.startswith(own) or column.startswith(also) for column in moved)
