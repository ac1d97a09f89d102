"""Small explicit tables of one shop, clean, and the kinds of dirt that are planted in them."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from patron.tables.schema import REQUIRED_TABLES, TABLES

Rows = dict[str, list[dict[str, Any]]]

CORE = ("customers", "orders", "order_items", "products", "categories")
CLEAN: Rows = {
    "customers": [
        {"customer_id": 1, "registration_date": date(2023, 12, 1), "channel": "web", "vip": True},
        {"customer_id": 2, "registration_date": date(2024, 1, 6), "channel": "shop", "vip": False},
        {"customer_id": 3, "registration_date": None, "channel": None, "vip": None},
    ],
    "orders": [
        {"order_id": 10, "customer_id": 1, "order_date": datetime(2024, 1, 5, 9)},
        {"order_id": 11, "customer_id": 2, "order_date": datetime(2024, 1, 6, 8)},
        {"order_id": 12, "customer_id": 1, "order_date": datetime(2024, 2, 1, 7)},
    ],
    "order_items": [
        {"order_id": 10, "product_id": 100, "quantity": 2.0, "price": 5.0, "amount": 10.0, "note": "gift"},
        {"order_id": 10, "product_id": 101, "quantity": 1.0, "price": 7.5, "amount": 7.0, "note": None},
        {"order_id": 11, "product_id": 100, "quantity": 1.0, "price": 5.0, "amount": 5.0, "note": None},
        {"order_id": 12, "product_id": None, "quantity": None, "price": None, "amount": 3.25, "note": "loose"},
    ],
    "products": [
        {"product_id": 100, "product_name": "tea", "category_id": 1, "price": 5.0},
        {"product_id": 101, "product_name": "pot", "category_id": 2, "price": 7.5},
    ],
    "categories": [
        {"category_id": 1, "name": "food", "parent_id": None},
        {"category_id": 2, "name": "ware", "parent_id": 1},
    ],
    "order_events": [{"order_id": 10, "event_type": "shipped", "event_date": datetime(2024, 1, 7)}],
    "interactions": [{"interaction_id": 1, "customer_id": 3, "interaction_date": datetime(2024, 1, 7)}],
    "returns": [
        {"return_id": 7, "order_id": 10, "product_id": 101, "customer_id": 1, "return_date": date(2024, 1, 9),
         "refund_amount": 7.0},
    ],
    "loyalty": [{"loyalty_id": 1, "customer_id": 1, "loyalty_date": date(2024, 1, 5), "loyalty_points": 10}],
    "campaigns": [{"campaign_id": 5, "customer_id": 1, "campaign_date": date(2024, 1, 1), "campaign_response": 0.0}],
    "external": [
        {"date": date(2024, 1, 1), "series": "rain", "value": None},
        {"date": date(2024, 1, 2), "series": "rain", "value": 1.5},
    ],
}  # fmt: skip

Plant = Callable[[Rows], None]


def edit(table: str, row: int, **values: Any) -> Plant:
    """Other values in one row."""
    return lambda rows: rows[table][row].update(values)


def add(table: str, **values: Any) -> Plant:
    """One row more: the first one with other values."""
    return lambda rows: rows[table].append(rows[table][0] | values)


def each(table: str, column: str, change: Callable[[Any], Any] | list[Any]) -> Plant:
    """A whole column changed, which may change its type."""

    def plant(rows: Rows) -> None:
        for i, row in enumerate(rows[table]):
            row[column] = change[i] if isinstance(change, list) else change(row[column])

    return plant


def both(*plants: Plant) -> Plant:
    """Several kinds of dirt at once."""

    def plant(rows: Rows) -> None:
        for one in plants:
            one(rows)

    return plant


def arrow(*plants: Plant, only: Iterable[str] = CLEAN) -> dict[str, pa.Table]:
    """The clean tables with dirt, as `read.py` hands them over."""
    rows = {name: deepcopy(CLEAN[name]) for name in only}
    both(*plants)(rows)
    return {name: pa.Table.from_pylist(table) for name, table in rows.items()}


@dataclass(frozen=True)
class Dirt:
    """One planted kind: where strict must see it, with which sample and mend, and what repair leaves in one column."""

    plant: Plant
    where: str
    rule: str
    sample: str
    mend: str
    remedy: str
    left: tuple[str, list[Any]]

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables it is about, dirty: its own, those that one refers to, and the required ones."""
        table = self.where.split(".")[0]
        parents = {column.references for column in TABLES[table].columns if column.references}
        return arrow(self.plant, only=sorted({*REQUIRED_TABLES, *parents, table}))


def typed(value: str) -> list[str | None]:
    """The prices of the four order items as text, the second of them `value`."""
    return ["5.00", value, "5.00", None]


AMOUNT, PRICE, ORDER, PRODUCT = "order_items.amount", "order_items.price", "orders.order_id", "order_items.product_id"
SECOND = datetime(2024, 1, 6, 8)
DAYS_FIRST = ["25/12/2023", "06/01/2024 08:00", "01/02/2024"]
DIRT = {
    "exact copy": Dirt(
        add("orders"), ORDER, "exact copies of a row", "10", "remove the copies", "one kept", (ORDER, [10, 11, 12]),
    ),
    "conflict": Dirt(
        add("orders", customer_id=2, order_date=datetime(2024, 1, 4)), ORDER, "rows that differ under one key", "10",
        "give each row its own order_id", "dropped, first kept", ("orders.customer_id", [2, 1, 2]),
    ),
    "null key": Dirt(
        add("customers", customer_id=None), "customers.customer_id", "NULL key", "row 4", "fill it in", "dropped",
        ("customers.customer_id", [1, 2, 3]),
    ),
    "null": Dirt(
        add("orders", order_id=13, order_date=None), "orders.order_date", "NULL", "13", "fill it in", "dropped",
        (ORDER, [10, 11, 12]),
    ),
    "blank text": Dirt(
        add("order_events", event_type=" "), "order_events.event_type", "NULL", "10:  ", "fill it in", "dropped",
        ("order_events.event_type", ["shipped"]),
    ),
    "null amount": Dirt(
        edit("order_items", 3, amount=None), AMOUNT, "NULL", "12", "fill it in", "dropped", (AMOUNT, [10, 7, 5]),
    ),
    "item without order": Dirt(
        add("order_items", order_id=99), "order_items.order_id", "not in table orders", "99", "add it to orders",
        "dropped", ("order_items.order_id", [10, 10, 11, 12]),
    ),
    "order without customer": Dirt(
        add("orders", order_id=13, customer_id=9), "orders.customer_id", "not in table customers", "13: 9",
        "add it to customers", "dropped", (ORDER, [10, 11, 12]),
    ),
    "unknown product": Dirt(
        edit("order_items", 1, product_id=555), PRODUCT, "not in table products", "10: 555", "add it to products",
        "set to NULL", (PRODUCT, [100, None, 100, None]),
    ),
    "unknown category": Dirt(
        edit("products", 1, category_id=8), "products.category_id", "not in table categories", "101: 8",
        "add it to categories", "set to NULL", ("products.category_id", [1, None]),
    ),
    "unknown parent": Dirt(
        edit("categories", 1, parent_id=8), "categories.parent_id", "not in table categories", "2: 8",
        "correct parent_id", "set to NULL", ("categories.parent_id", [None, None]),
    ),
    "return of no order": Dirt(
        edit("returns", 0, order_id=99), "returns.order_id", "not in table orders", "7: 99", "add it to orders",
        "set to NULL", ("returns.order_id", [None]),
    ),
    "currency": Dirt(
        each("order_items", "price", typed("£12.50")), PRICE, "a number in other notation", "10: £12.50",
        "write numbers as 1200.5", "read as the number", (PRICE, [5, 12.5, 5, None]),
    ),
    "thousands": Dirt(
        each("order_items", "price", typed("1,200.00")), PRICE, "a number in other notation", "10: 1,200.00",
        "1200.5", "read as the number", (PRICE, [5, 1200, 5, None]),
    ),
    "decimal comma": Dirt(
        each("order_items", "price", ["5,00", "-1.234,50 EUR", "12,50", None]), PRICE, "a number in other notation",
        "10: 5,00", "1200.5", "read as the number", (PRICE, [5, None, 12.5, None]),
    ),
    "not a number": Dirt(
        each("order_items", "price", typed("n/a")), PRICE, "not a number", "10: n/a", "write numbers as 1200.5",
        "set to NULL", (PRICE, [5, None, 5, None]),
    ),
    "ambiguous number": Dirt(
        each("order_items", "price", ["5", "1,200", "7", None]), PRICE, "not a number", "10: 1,200", "1200.5",
        "set to NULL", (PRICE, [5, None, 7, None]),
    ),
    "unreadable amount": Dirt(
        each("order_items", "amount", ["10", "seven", "5", "?"]), AMOUNT, "not a number", "12: ?", "1200.5",
        "dropped", (AMOUNT, [10, 7.5, 5]),
    ),
    "negative price": Dirt(
        edit("order_items", 1, price=-7.5), PRICE, "below 0", "10: -7.5", "write 0 or more", "set to NULL",
        (PRICE, [5, None, 5, None]),
    ),
    "negative amount": Dirt(
        edit("order_items", 1, amount=-7.0), AMOUNT, "below 0", "10: -7.0", "returns belong in table returns",
        "dropped", (AMOUNT, [10, 5, 3.25]),
    ),
    "above maximum": Dirt(
        edit("campaigns", 0, campaign_response=2.0), "campaigns.campaign_response", "above 1", "5: 2.0",
        "write 1 or less", "set to NULL", ("campaigns.campaign_response", [None]),
    ),
    "infinite": Dirt(
        edit("order_items", 0, quantity=float("inf")), "order_items.quantity", "infinite or NaN", "10: inf",
        "write a number", "set to NULL", ("order_items.quantity", [None, 1, 1, None]),
    ),
    "NaN": Dirt(
        edit("order_items", 3, amount=float("nan")), AMOUNT, "infinite or NaN", "12: nan", "write a number",
        "dropped", (AMOUNT, [10, 7, 5]),
    ),
    "not a date": Dirt(
        each("customers", "registration_date", ["2023-12-01", "soon", None]), "customers.registration_date",
        "not a date", "2: soon", "write dates as 2024-01-31", "set to NULL",
        ("customers.registration_date", [datetime(2023, 12, 1), None, None]),
    ),
    "day first": Dirt(
        each("orders", "order_date", DAYS_FIRST), "orders.order_date", "a date in other notation", "10: 25/12/2023",
        "2024-01-31", "read as the date",
        ("orders.order_date", [datetime(2023, 12, 25), SECOND, datetime(2024, 2, 1)]),
    ),
    "ambiguous date": Dirt(
        each("orders", "order_date", ["2024-01-05", "2024-01-06 08:00", "01/02/2024"]), "orders.order_date",
        "not a date", "12: 01/02/2024", "2024-01-31", "dropped",
        ("orders.order_date", [datetime(2024, 1, 5), SECOND]),
    ),
    "future": Dirt(
        edit("orders", 2, order_date=datetime(2024, 7, 1)), "orders.order_date", "in the future, after 2024-06-30",
        "12: 2024-07-01 00:00:00", "correct the date", "dropped", (ORDER, [10, 11]),
    ),
    "absurd date": Dirt(
        edit("customers", 0, registration_date=date(1900, 1, 1)), "customers.registration_date", "before 1970",
        "1: 1900-01-01 00:00:00", "leave it empty", "set to NULL",
        ("customers.registration_date", [None, datetime(2024, 1, 6), None]),
    ),
    "first day of all": Dirt(
        edit("orders", 2, order_date=datetime(1, 1, 1)), "orders.order_date", "before 1970",
        "12: 0001-01-01 00:00:00", "correct the date", "dropped", (ORDER, [10, 11]),
    ),
    "late registration": Dirt(
        edit("customers", 0, registration_date=date(2024, 1, 6)), "customers.registration_date",
        "after the customer's first order", "1: 2024-01-06 00:00:00", "correct the registration date",
        "set to the first order's date",
        ("customers.registration_date", [datetime(2024, 1, 5, 9), datetime(2024, 1, 6), None]),
    ),
    "early return": Dirt(
        edit("returns", 0, return_date=date(2024, 1, 4)), "returns.return_date", "before its order",
        "7: 2024-01-04 00:00:00", "correct the return's date", "order_id set to NULL", ("returns.order_id", [None]),
    ),
    "early event": Dirt(
        add("order_events", event_date=datetime(2024, 1, 4, 23)), "order_events.event_date", "before its order",
        "10: 2024-01-04 23:00:00", "correct the event's date", "dropped",
        ("order_events.event_date", [datetime(2024, 1, 7)]),
    ),
}  # fmt: skip
