"""Shops of a few customers whose every order is written down, and rows of their customers."""

from datetime import date, datetime

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
