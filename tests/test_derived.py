"""Columns of every table as of a cutoff, and what the orders tell honestly, on rows that can be counted by hand."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from patron.evaluation.derived import Derived, is_ratio
from patron.evaluation.history import history
from patron.tables.database import Database
from patron.testing import scrambled_after, small_shop

CUTOFF = date(2021, 3, 1)


def days(*texts: str) -> pa.Array:
    return pa.array(pd.to_datetime(list(texts)).as_unit("us"))


@pytest.fixture(scope="module")
def past() -> Database:
    """Customer 1 orders twice, customer 2 once, in order of rows that is not that of time; 3 never."""
    db = Database("by hand", {
        "customers": pa.table({
            "customer_id": [3, 1, 2], "channel": ["web", "store", None], "score": ["0.5", "2", None],
            "updated_at": ["2021-05-01", "2021-01-02", None], "email": ["a@b.de", "c@d.de", "e@f.de"],
        }),
        "orders": pa.table({
            "order_id": [11, 10, 12, 13], "customer_id": [1, 1, 2, 2],
            "order_date": days("2021-02-09", "2021-01-10", "2021-01-20", "2021-03-05"),
            "channel": ["web", "store", "web", "web"],
        }),
        "order_items": pa.table({
            "order_id": [10, 11, 11, 13], "product_id": [7, 7, 8, 8], "quantity": [1.0, 2.0, 1.0, 9.0],
            "price": [5.0, 6.0, 4.0, 4.0], "amount": [5.0, 10.0, 4.0, 36.0],
        }),
        "products": pa.table({"product_id": [8, 7], "price": [4.0, 10.0], "units_sold": [10, 3]}),
        "campaigns": pa.table({
            "campaign_id": [1, 2, 3], "customer_id": [1, 1, 2],
            "campaign_date": days("2021-02-20", "2021-01-01", "2021-01-19"), "campaign_response": [1, 0, 1],
        }),
    })  # fmt: skip
    return db.upto(CUTOFF)


def test_columns_of_customers(past: Database) -> None:
    frame = Derived(past).of_customers(pd.Index([1, 2, 3], name="customer_id"))
    assert list(frame.index) == [1, 2, 3]
    expected = {
        "customers.customer_id": [1, 2, 3], "customers, place of the row": [1, 2, 0],
        "customers.score": [2, np.nan, 0.5],
        "campaigns, rows": [2, 1, 0], "campaigns.campaign_response, first": [0, 1, np.nan],
        "campaigns.campaign_response, last": [1, 1, np.nan], "campaigns.campaign_response, mean": [0.5, 1, np.nan],
        "orders, first place of a row": [1, 2, np.nan], "orders, last place of a row": [0, 2, np.nan],
        "orders.order_id, last": [11, 12, np.nan], "order_items.price, mean": [5, np.nan, np.nan],
        "order_items.price over paid, mean": [(1 + 1.2 + 1) / 3, np.nan, np.nan],
        "order_items.price over list, last": [1, np.nan, np.nan],  # of lines of one order, the last in the table
        "customers.channel as in orders.channel, last": [0, 0, 0],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(frame[name].to_numpy(dtype=float), values, err_msg=name)
    assert list(frame["orders.channel, last"]) == ["web", "web", ""]
    later = pd.Timestamp("2021-05-01") - pd.Timestamp("1970-01-01")
    assert frame.loc[3, "customers.updated_at"] == later.days  # a plain column: nothing of it is cut off
    assert not [name for name in frame if "email" in name or name == "orders.customer_id, last"]
    assert not [name for name in frame if name.startswith("orders, rows")]  # the past tells it


def test_signs_that_a_customer_comes_back(past: Database) -> None:
    signs = Derived(past).signs(pd.Index([1, 2, 3], name="customer_id"))
    assert signs["campaigns, a row since the last order"].tolist() == [True, False, False]
    assert signs["campaigns.campaign_response, above 0 since the last order"].tolist() == [True, False, False]
    assert signs["customers.channel, other than orders.channel"].tolist() == [True, False, False]
    assert len(signs.columns) == 3


def test_columns_of_products(past: Database) -> None:
    frame = Derived(past).of_products(pd.Index([7, 8], name="product_id"))
    assert frame["products.units_sold"].tolist() == [3, 10]
    assert frame["products, place of the row"].tolist() == [1, 0]
    np.testing.assert_allclose(frame["order_items.paid over list, mean"], [0.5, 1.0])
    np.testing.assert_allclose(frame["order_items.price over list, spread"], [0.1, 0.0])  # 5 and 6 of 10, one of 4
    assert not [name for name in frame if ("price" in name or "amount" in name) and not is_ratio(name)]


def test_the_history_of_customers(past: Database) -> None:
    frame = history(past, key="customer_id", owners=pd.Index([1, 2, 3], name="customer_id"), days=90)
    assert frame.loc[1, ["recency", "tenure", "orders", "spend", "units", "others"]].tolist() == [20, 50, 2, 19, 4, 2]
    assert frame.loc[1, ["gap_mean", "gap_last", "order_value", "last_value"]].tolist() == [30, 30, 9.5, 14]
    assert frame.loc[1, ["orders_30", "spend_30", "orders_60", "spend_90"]].tolist() == [1, 14, 2, 19]
    assert frame.loc[2, ["recency", "orders", "spend"]].tolist() == [40, 1, 0]  # an order without a line
    assert frame.loc[3, ["orders", "spend", "orders_365"]].tolist() == [0, 0, 0]
    assert np.isnan(frame.loc[3, "recency"])


def test_the_history_of_products_is_in_units(past: Database) -> None:
    frame = history(past, key="product_id", owners=pd.Index([7, 8], name="product_id"), days=90)
    assert frame["spend"].tolist() == [3, 1]
    assert frame["orders"].tolist() == [2, 1]
    assert frame["others"].tolist() == [1, 1]


def test_another_future_changes_none_of_them() -> None:
    shop, cutoff = small_shop(customers=60), date(2021, 1, 1)
    customers, products = (pd.Index(shop[name][key].to_pandas()) for name, key in (
        ("customers", "customer_id"), ("products", "product_id")))  # fmt: skip
    for one, other in zip(*([
        Derived(db.upto(cutoff)).of_customers(customers), Derived(db.upto(cutoff)).of_products(products),
        Derived(db.upto(cutoff)).signs(customers),
        history(db.upto(cutoff), key="customer_id", owners=customers, days=90),
        history(db.upto(cutoff), key="product_id", owners=products, days=90),
    ] for db in (shop, scrambled_after(shop, cutoff=cutoff))), strict=True):  # fmt: skip
        pd.testing.assert_frame_equal(one, other, check_exact=True)
