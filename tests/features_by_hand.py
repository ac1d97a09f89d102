"""A shop of four customers whose features are known by hand, and features of it that several files of tests read."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pytest

from patron.days import Horizon, midnight
from patron.features.asof import FeatureConfig, FeatureSpec, customer_features, specify
from patron.features.groups import Group
from patron.tables.database import Database

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


@cache
def spec_by_hand() -> FeatureSpec:
    return specify(make_shop(), config=CONFIG, horizon=MONTH, cutoffs=[CUTOFF])


@cache
def features_by_hand() -> pd.DataFrame:
    """Those of the customers. Shared by all tests."""
    return customer_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec_by_hand())


def assert_values(row: pd.Series, expected: dict[str, float]) -> None:
    assert row[list(expected)].astype(float).to_dict() == pytest.approx(expected, rel=1e-12, nan_ok=True)
