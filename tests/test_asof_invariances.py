"""Neither the future, the order of rows nor the other rows asked for reach features at a cutoff; and BTYD columns."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from features_by_hand import CONFIG, CUTOFF, GROUPS, features_by_hand, make_shop, spec_by_hand
from pandas.testing import assert_frame_equal

from patron.days import Horizon, midnight
from patron.features.asof import FeatureSpec, customer_features, design, order_features, product_features, specify
from patron.features.btyd import fit_bgnbd, fit_gamma_gamma
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.testing import scrambled_after, shuffled


@pytest.fixture(scope="module")
def spec() -> FeatureSpec:
    return spec_by_hand()


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    return features_by_hand()


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


def test_btyd_columns_are_a_fit_relative_to_all(shop: Database, frames: dict[str, pd.DataFrame]) -> None:
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
    alive = pd.Series(model.p_alive(frequency, recency, age)).round(12)
    np.testing.assert_allclose(found["btyd_alive"], alive.rank(pct=True), atol=0.01)
    np.testing.assert_allclose(found["btyd_purchases"], number / number.mean(), rtol=1e-6)
    np.testing.assert_allclose(found["btyd_spend"], number * money / (number * money).mean(), rtol=1e-5)
    assert frames["customers"].loc[0, ["btyd_alive", "btyd_purchases", "btyd_spend"]].isna().all()
