"""What follows from orders: returns, deliveries, complaints, a loyalty programme.

Complaints foreshadow the leaving of a customer: they are more frequent in its last days and after it has begun.
"""

import numpy as np
import pyarrow as pa

from patron.tables.worlds.blocks import Block, instants, numbered, words
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import RETURN_DAYS, Catalogue

FORESHADOW_DAYS = 60  # before the leaving, from when on a customer behaves otherwise
COMPLAINTS_LEAVING = 6  # times as often
COMPLAINT_DAYS = (1, 14)  # after the order
CHANNELS = ("store", "web", "app")
REASONS = ("too small", "too large", "damaged", "not as described", "changed my mind")
LEVELS = ("basic", "silver", "gold", "platinum")
THRESHOLDS = (5.0, 15.0, 40.0)  # of cumulative spend, in values of an average order


def orders_table(rng: np.random.Generator, block: Block, *, config: WorldConfig, before: int) -> pa.Table:
    """The orders, numbered in time order."""
    orders = block.orders
    customer_id = block.customers.customer_id[orders.owner]
    when = instants(orders.day, config.calendar)
    channel = words(CHANNELS, rng.integers(0, len(CHANNELS), len(orders.owner)))
    table = {"customer_id": customer_id, "order_date": when, "channel": channel}
    return numbered(table, key="order_id", before=before)


def items_table(block: Block, *, orders_before: int) -> pa.Table:
    """The lines of the orders."""
    items = block.items
    return pa.table({
        "order_id": orders_before + items.order, "product_id": items.product, "quantity": items.quantity,
        "price": items.price, "amount": items.amount,
    })  # fmt: skip


def returns_table(
    rng: np.random.Generator,
    block: Block,
    catalogue: Catalogue,
    *,
    config: WorldConfig,
    orders_before: int,
    before: int,
) -> pa.Table:
    """Lines sent back whole until the end of the world, by the return rate of their product."""
    items, orders = block.items, block.orders
    sent = np.flatnonzero(rng.random(len(items.order)) < catalogue.return_rate[items.product])
    day = orders.day[items.order[sent]] + rng.uniform(*RETURN_DAYS, len(sent))
    sent, day = _in_time(sent, day, config=config)
    order = items.order[sent]
    table = {
        "order_id": orders_before + order,
        "product_id": items.product[sent],
        "customer_id": block.customers.customer_id[orders.owner[order]],
        "return_date": instants(day, config.calendar),
        "return_reason": words(REASONS, rng.integers(0, len(REASONS), len(sent))),
        "refund_amount": items.amount[sent],
    }
    return numbered(table, key="return_id", before=before)


def order_events_table(rng: np.random.Generator, block: Block, *, config: WorldConfig, orders_before: int) -> pa.Table:
    """A delivery of each order 1 to 7 days later, and complaints within two weeks, with the goodwill as `amount`."""
    orders, n = block.orders, len(block.orders.owner)
    leaving = orders.day >= block.customers.leaves[orders.owner] - FORESHADOW_DAYS
    share = config.contacts.complaints * np.where(leaving, COMPLAINTS_LEAVING, 1)
    complained = np.flatnonzero(rng.random(n) < share)
    order = np.concatenate([np.arange(n), complained])
    day = np.concatenate(
        [orders.day + rng.uniform(1, 7, n), orders.day[complained] + rng.uniform(*COMPLAINT_DAYS, len(complained))]
    )
    which = np.arange(len(order)) >= n
    goodwill = np.round(orders.amount[order] * rng.uniform(0.05, 0.3, len(order)), 2)
    row, day = _in_time(np.arange(len(order)), day, config=config)
    return pa.table({
        "order_id": orders_before + order[row],
        "event_type": words(("delivered", "complaint"), which[row].astype(np.int8)),
        "event_date": instants(day, config.calendar),
        "amount": pa.array(goodwill[row], mask=~which[row]),
    })  # fmt: skip


def loyalty_table(rng: np.random.Generator, block: Block, *, config: WorldConfig, before: int) -> pa.Table:
    """A row at a customer's first order, and whenever the spend so far reaches another level. Points are spend."""
    rows = np.argsort(block.orders.owner, kind="stable")  # by customer, then by time
    owner, paid = block.orders.owner[rows], np.bincount(block.items.order, block.items.amount)[rows]
    spent = _running(paid, owner)
    level = np.searchsorted(np.array(THRESHOLDS) * config.purchases.value, spent, side="right")
    new = _starts(owner) | (np.diff(level, prepend=-1) != 0)
    owner, rows, level, spent = owner[new], rows[new], level[new], np.floor(spent[new])
    earned = np.where(_starts(owner), spent, np.diff(spent, prepend=0))
    redeemed = np.floor(earned * rng.uniform(0, 0.5, len(earned)))
    time = np.argsort(rows, kind="stable")
    table = {
        "customer_id": block.customers.customer_id[owner[time]],
        "loyalty_date": instants(block.orders.day[rows[time]], config.calendar),
        "membership_level": words(LEVELS, level[time]),
        "loyalty_points": _running(earned - redeemed, owner)[time],
        "points_earned": earned[time],
        "points_redeemed": redeemed[time],
    }
    return numbered(table, key="loyalty_id", before=before)


def _in_time(row: np.ndarray, day: np.ndarray, *, config: WorldConfig) -> tuple[np.ndarray, np.ndarray]:
    # What happens before the end of the world, in time order.
    order = np.argsort(day, kind="stable")
    order = order[: np.searchsorted(day[order], config.calendar.days)]
    return row[order], day[order]


def _starts(owner: np.ndarray) -> np.ndarray:
    # The first row of each owner, of rows that are sorted by owner.
    return np.diff(owner, prepend=-1) != 0


def _running(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    # Sums so far of each owner, of rows that are sorted by owner.
    total, first = np.cumsum(values), np.flatnonzero(_starts(owner))
    before = np.concatenate([[0.0], total])[first]
    return total - np.repeat(before, np.diff(first, append=len(owner)))
