"""What two exports of different days say of what was known at the first: the same, unless something was rewritten."""

from collections.abc import Callable
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from leaks_planted import PLANTED, plant
from shared_worlds import world_of

from patron.evaluation.leaks import Check, Finding
from patron.evaluation.two_exports import two_exports
from patron.tables.database import Database
from patron.testing import shuffled

LAST = date(2021, 12, 31)
FIRST = {"12m": date(2020, 12, 31), "90d": date(2021, 10, 2)}
WHERE = {  # where each leak is found, among other places
    "customers.segment": "table customers, column segment",
    "customers.segment_code": "table customers, column segment_code",
    "customers.total_spend": "table customers, column total_spend",
    "customers.tier": "table customers, column tier",
    "customers.channel": "table customers, column channel",
    "customers.updated_at": "table customers, column updated_at",
    "products.units_sold": "table products, column units_sold",
    "campaigns": "table campaigns, rows",
    "campaigns.campaign_response": "table campaigns, column campaign_response",
    "loyalty.membership_level": "table loyalty, column membership_level",
    "loyalty.loyalty_points": "table loyalty, column loyalty_points",
    "interactions": "table interactions, rows",
    "customers.customer_id": "table orders, column customer_id",
    "order of rows": "table customers, order of the rows",
    "order_items.price": "table order_items, column price",
}


@cache
def export(day: date) -> Database:
    """The tables of a small world as they were on a day, in the order in which they were written."""
    whole = Database("tiny", world_of("tiny").tables)
    return Database("tiny", whole.upto(day).tables)


def found(checks: tuple[Check, ...]) -> list[Finding]:
    findings = [finding for check in checks for finding in check.findings]
    assert all(finding.certain for finding in findings)
    return findings


@pytest.mark.parametrize("horizon", [pytest.param("12m", marks=pytest.mark.slow), "90d"])
@pytest.mark.parametrize("name", PLANTED)
def test_each_kind_of_leak_is_found(name: str, horizon: str) -> None:
    """Planted in both exports, as each would have it on its own day."""
    earlier, later = (plant(name, export(day), cutoff=FIRST[horizon]) for day in (FIRST[horizon], LAST))
    where = [finding.where for finding in found(two_exports(earlier, later))]
    assert WHERE[name] in where
    if name != "customers.customer_id":  # new ids change every table that has them
        assert where == [WHERE[name]]


@pytest.mark.parametrize("horizon", FIRST)
@pytest.mark.parametrize("change", [lambda db: db, shuffled, Database.in_order_of_time])
def test_clean_exports_are_silent(change: Callable[[Database], Database], horizon: str) -> None:
    """However the rows of one are put, as long as it knows nothing of what came later."""
    checks = two_exports(export(FIRST[horizon]), change(export(LAST)))
    assert found(checks) == []
    assert len(checks) == 11
    assert found(two_exports(change(export(FIRST[horizon])), export(LAST))) == []


# By hand


def shop(days: list[str], **columns: list) -> Database:
    """Orders 0, 1, … on these days, of customers 0, 1, …, one line each, and columns of the customers."""
    ids, when = np.arange(len(days)), pd.to_datetime(days).as_unit("us")
    return Database("shop", {
        "customers": pa.table({"customer_id": ids, **columns}),
        "orders": pa.table({"order_id": ids, "customer_id": ids, "order_date": when}),
        "order_items": pa.table({"order_id": ids, "product_id": ids % 2, "amount": ids + 1.0}),
    })  # fmt: skip


DAYS = ["2021-01-01", "2021-01-02", "2021-02-01", "2021-03-01"]


def said(earlier: Database, later: Database) -> list[str]:
    return [f"{finding.where}: {finding.what}" for finding in found(two_exports(earlier, later))]


def test_what_differs_is_named_with_its_share_and_keys() -> None:
    """Known are the orders of two days; of the last day of the earlier export all may not have been there."""
    earlier = shop(DAYS[:3], tier=["none", "none", "gold"])
    later = shop(DAYS, tier=["none", "gold", "gold", "none"])
    assert said(earlier, later) == [
        "table customers, column tier: 1 of 3 (33.3%) of the rows known at 2021-01-31 have another value in the later "
        "export, for example customer_id 1"
    ]


def test_rows_that_come_and_go() -> None:
    earlier, later = shop(DAYS[:3]), shop([*DAYS, "2021-01-05"])
    gone = Database("shop", {**later.tables, "orders": later["orders"].slice(1)})
    assert said(earlier, later) == [
        "table orders, rows: 1 of 3 (33.3%) of those dated by 2021-01-31 were not in the earlier export, for example "
        "order_id 4",
        "table order_items, rows: 1 of 3 (33.3%) of those dated by 2021-01-31 were not in the earlier export, for "
        "example order_id and product_id 4/0",
    ]
    assert (
        "table orders, rows: 1 of 2 (50.0%) of those known at 2021-01-31 are not in the later export, for example "
        "order_id 0"
    ) in said(earlier, gone)


def test_equal_rows_are_counted() -> None:
    """Two equal lines of one order are two; a third is one too many, and one less is missing."""
    one, later = shop(DAYS[:3]), shop(DAYS)
    twice = Database("shop", {**one.tables, "order_items": one["order_items"].take([0, 0, 1, 2])})
    both = Database("shop", {**later.tables, "order_items": later["order_items"].take([0, 1, 0, 2, 3])})
    assert said(twice, both) == []
    assert "order_items, rows: 1 of 2 (50.0%)" not in "".join(said(one, later))
    assert [text.split(":")[0] for text in said(twice, later)] == ["table order_items, rows"]
    assert [text.split(":")[0] for text in said(one, both)] == ["table order_items, rows"]


def test_what_may_be_new_and_what_cannot_be_compared() -> None:
    """A customer without a date, a product, a column, another type of number."""
    earlier, later = shop(DAYS[:3], age=[1, 2, 3]), shop(DAYS, age=[1.0, 2.0, 3.0, 4.0], size=["s", "m", "l", "m"])
    products = [pa.table({"product_id": list(range(number)), "price": [1.0] * number}) for number in (2, 3)]
    pair = [
        Database("shop", {**db.tables, "products": new}) for db, new in zip((earlier, later), products, strict=True)
    ]
    assert said(*pair) == []
    dearer = products[1].set_column(1, "price", [[1.0, 1.5, 1.0]])
    (what,) = said(pair[0], Database("shop", {**later.tables, "products": dearer}))
    assert what.startswith("table products, column price: 1 of 2 (50.0%) of the rows known at 2021-01-31")


def test_the_last_day_may_not_be_complete() -> None:
    """The earlier export was made at noon; in the afternoon somebody ordered."""
    assert said(shop(DAYS[:3]), shop([*DAYS, DAYS[2]])) == []


def test_a_table_that_one_export_lacks() -> None:
    stars = pa.table(
        {"campaign_id": [1], "customer_id": [1], "campaign_date": pd.to_datetime(["2021-01-05"]).as_unit("us")}
    )
    with_it = Database("shop", {**shop(DAYS).tables, "campaigns": stars})
    assert said(shop(DAYS[:3]), with_it) == []


def test_the_later_export_must_go_on() -> None:
    with pytest.raises(ValueError, match=r"the earlier export 'shop' ends on 2021-03-01, the later one .* 2021-02-01"):
        two_exports(shop(DAYS), shop(DAYS[:3]))
