"""Shops of a few customers whose every order is written down, and rows of their customers."""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
from settings import rows_for

from patron.tables.database import Database
from patron.task.ltv import TaskTable


def purchases(rows: list[tuple[int, date, float]], *, customers: int) -> Database:
    """A shop of customers 0, 1, ... with orders `(customer, day, amount)` at noon, and no products."""
    orders = pa.table({
        "order_id": np.arange(len(rows)),
        "customer_id": [customer for customer, _, _ in rows],
        "order_date": pa.array([datetime(d.year, d.month, d.day, 12) for _, d, _ in rows], pa.timestamp("us")),
    })  # fmt: skip
    items = pa.table({"order_id": np.arange(len(rows)), "amount": [amount for _, _, amount in rows]})
    known = pa.table({"customer_id": np.arange(customers)})
    return Database("by_hand", {"customers": known, "orders": orders, "order_items": items})


def at(cutoff: date, customers: list[int], *, label: list[float] | None = None) -> TaskTable:
    rows = rows_for(customers, cutoffs=(cutoff,))
    return rows if label is None else TaskTable(rows.frame.assign(label=label), rows.horizon)


def waking_shop() -> Database:
    """600 customers who came in 2020, one after the other; nobody comes back before 2021. Then half of them, those who
    came first, order every third week to the end of the year."""
    first, back = date(2020, 1, 1), date(2021, 1, 2)
    once = [(k, first + timedelta(days=k * 365 // 600), 10.0) for k in range(600)]
    again = [(k, back + timedelta(days=k % 21 + 21 * j), 10.0) for k in range(300) for j in range(17)]
    return purchases(sorted(once + again, key=lambda order: order[1]), customers=600)
