"""Property checks that any estimator, feature or edge of patron must pass, and a small shop to run them on."""

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.tables.database import Database
from patron.tables.schema import TABLES
from patron.tables.scramble import scrambled_after

__all__ = ["scrambled_after", "shuffled", "small_shop"]

_START, _DAYS = np.datetime64("2020-01-01"), 546
_NEWCOMERS = 5


def small_shop(*, customers: int = 150, seed: int = 0) -> Database:
    """A shop of 2020-01-01 to 2021-06-30 with tastes: customers buy mostly from one of four categories, at a rate of
    their own.

    All eleven tables have rows. One customer (id 0) never ordered, nor did five more than `customers`, who register in
    the last quarter only. Customers 1 and 2 share an e-mail address, 3 and 4 a phone number.
    """
    rng = np.random.default_rng(seed)
    rate, taste = rng.gamma(1.5, 6, customers), rng.integers(0, 4, customers)
    joined = rng.integers(0, 300, customers)
    owner = np.repeat(np.arange(1, customers), rng.poisson(rate[1:]) + 1)
    day = joined[owner] + (rng.random(len(owner)) ** 1.3 * (_DAYS - joined[owner])).astype(int)
    order_date = _START + _days(day) + rng.integers(8 * 3600, 20 * 3600, len(owner)).astype("timedelta64[s]")
    order = np.repeat(np.arange(len(owner)), rng.integers(1, 5, len(owner)))
    at_home = rng.random(len(order)) < 0.8
    category = np.where(at_home, taste[owner[order]], rng.integers(0, 4, len(order)))
    product = category * 10 + rng.integers(0, 10, len(order))
    price = np.round(2 + 3 * category + (product % 10) + rng.random(len(order)), 2)
    quantity = rng.integers(1, 4, len(order)).astype(float)
    lines = {"order_id": order, "product_id": product, "quantity": quantity, "price": price}
    north = rng.random(customers) < 0.7
    returns = _returns(rng, order=order, product=product, owner=owner, order_date=order_date, amount=price * quantity)
    mailed = _START + _days(rng.integers(152, 532, customers))
    # What was added later is drawn by a generator of its own, so that orders and returns stay what they were.
    later = np.random.default_rng([seed, 1])
    frames = {
        "customers": _customers(later, joined=joined, north=north),
        "orders": {"order_id": np.arange(len(owner)), "customer_id": owner, "order_date": order_date},
        "order_items": {**lines, "amount": np.round(price * quantity, 2)},
        "products": _products(later),
        "categories": {"category_id": np.arange(4), "name": np.array(["tea", "cups", "pots", "books"])},
        "returns": {**returns, "return_reason": later.choice(["broken", "late", "unwanted"], len(returns["order_id"]))},
        "campaigns": _campaigns(later, mailed=mailed),
        "order_events": _order_events(later, order_date=order_date),
        "interactions": _interactions(later, joined=joined),
        "loyalty": _loyalty(later, joined=joined),
        "external": _external(later),
    }
    return Database("small_shop", {name: _arrow(name, pd.DataFrame(frame)) for name, frame in frames.items()})


def shuffled(db: Database, *, seed: int = 0) -> Database:
    """`db` with the rows of every table in another order."""
    rng = np.random.default_rng(seed)
    return Database(
        db.name, {name: table.take(pa.array(rng.permutation(table.num_rows))) for name, table in db.tables.items()}
    )


# --- the tables of the small shop


def _days(number: np.ndarray) -> np.ndarray:
    return number.astype("timedelta64[D]")


def _customers(rng: np.random.Generator, *, joined: np.ndarray, north: np.ndarray) -> dict[str, np.ndarray]:
    known, number = len(joined), len(joined) + _NEWCOMERS
    ids = np.arange(number)
    joins = np.concatenate([joined, rng.integers(470, _DAYS, _NEWCOMERS)])
    mail, phone = np.where(ids == 2, 1, ids), np.where(ids == 4, 3, ids)
    return {
        "customer_id": ids,
        "geo": np.where(np.concatenate([north, rng.random(number - known) < 0.7]), "north", "south"),
        "registration_date": _START + _days(joins),
        "age_band": rng.choice(["18-34", "35-54", "55+"], number),
        "household_size": rng.integers(1, 6, number).astype(float),
        "first_name": rng.choice(["Ada", "Ben", "Cleo", "Dan"], number),
        "email": np.array([f"{'C' if k == 2 else 'c'}ustomer{m}@example.com" for k, m in enumerate(mail)]),
        "phone": np.array([f"+49 30{' ' if k % 2 else '-'}{55_000 + p}" for k, p in enumerate(phone)]),
    }


def _products(rng: np.random.Generator) -> dict[str, np.ndarray]:
    ids = np.arange(40)
    price = 2.5 + 3.0 * (ids // 10) + ids % 10
    return {
        "product_id": ids,
        "product_name": np.array([f"product {k}" for k in ids]),
        "category_id": ids // 10,
        "price": price,
        "cost": np.round(price * rng.uniform(0.4, 0.8, len(ids)), 2),
        "brand": rng.choice(["acme", "blue", "crown"], len(ids)),
    }


def _returns(rng: np.random.Generator, **lines: np.ndarray) -> dict[str, np.ndarray]:
    sent = np.flatnonzero(rng.random(len(lines["order"])) < 0.05)
    order = lines["order"][sent]
    return {
        "return_id": np.arange(len(sent)),
        "order_id": order,
        "product_id": lines["product"][sent],
        "customer_id": lines["owner"][order],
        "return_date": lines["order_date"][order] + _days(rng.integers(1, 30, len(sent))),
        "refund_amount": np.round(lines["amount"][sent], 2),
    }


def _campaigns(rng: np.random.Generator, *, mailed: np.ndarray) -> dict[str, np.ndarray]:
    first, second = np.arange(len(mailed)), rng.integers(0, len(mailed), 2 * len(mailed))
    texted = _START + _days(rng.integers(60, _DAYS, len(second)))
    number = len(first) + len(second)
    return {
        "campaign_id": np.concatenate([first % 5, 5 + second % 3]),
        "customer_id": np.concatenate([first, second]),
        "campaign_type": np.concatenate([np.full(len(first), "mail"), np.array(["sms", "call"])[second % 2]]),
        "campaign_date": np.concatenate([mailed, texted]),
        "campaign_response": (rng.random(number) < 0.3).astype(float),
    }


def _order_events(rng: np.random.Generator, *, order_date: np.ndarray) -> dict[str, np.ndarray]:
    ids = np.arange(len(order_date))
    shipped = order_date + _days(rng.integers(1, 4, len(ids)))
    delivered = shipped + _days(rng.integers(1, 9, len(ids)))
    cancelled, arrived = rng.random(len(ids)) < 0.04, rng.random(len(ids)) < 0.9
    sent, came = np.flatnonzero(~cancelled), np.flatnonzero(~cancelled & arrived)
    gone = np.flatnonzero(cancelled)
    return {
        "order_id": np.concatenate([sent, came, gone]),
        "event_type": np.repeat(["shipped", "delivered", "cancelled"], [len(sent), len(came), len(gone)]),
        "event_date": np.concatenate([shipped[sent], delivered[came], shipped[gone]]),
    }


def _interactions(rng: np.random.Generator, *, joined: np.ndarray) -> dict[str, np.ndarray]:
    owner = np.repeat(np.arange(len(joined)), rng.poisson(4, len(joined)))
    kind = rng.choice(["visit", "call", "complaint"], len(owner), p=[0.7, 0.2, 0.1])
    return {
        "interaction_id": np.arange(len(owner)),
        "customer_id": owner,
        "interaction_date": _START + _days(rng.integers(joined[owner], _DAYS)),
        "interaction_type": kind,
        "interaction_details": np.array([f"{what} number {k}" for k, what in enumerate(kind)]),
    }


def _loyalty(rng: np.random.Generator, *, joined: np.ndarray) -> dict[str, np.ndarray]:
    # A row is a state: the level and the points from that day on.
    changes = np.where(np.arange(len(joined)) % 2 == 0, rng.integers(1, 6, len(joined)), 0)
    owner = np.repeat(np.arange(len(joined)), changes)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(changes) - changes, changes)
    earned = rng.integers(10, 200, len(owner)).astype(float)
    return {
        "loyalty_id": np.arange(len(owner)),
        "customer_id": owner,
        "loyalty_date": _START + _days(joined[owner] + 45 * nth + rng.integers(0, 45, len(owner))),
        "membership_level": np.array(["bronze", "silver", "gold"])[np.minimum(nth // 2, 2)],
        "loyalty_points": 100.0 * (nth + 1) + earned,
        "points_earned": earned,
        "points_redeemed": np.where(rng.random(len(owner)) < 0.3, np.round(earned / 2), 0.0),
    }


def _external(rng: np.random.Generator) -> dict[str, np.ndarray]:
    weeks = np.arange(-5, _DAYS // 7 + 1)
    mood = 100 + np.cumsum(rng.normal(0, 1, len(weeks)))
    searches = 50 + 10 * np.sin(2 * np.pi * weeks / 52) + rng.normal(0, 1, len(weeks))
    return {
        "date": np.tile(_START + _days(7 * weeks), 2),
        "series": np.repeat(["consumer_mood", "searches"], len(weeks)),
        "value": np.round(np.concatenate([mood, searches]), 3),
    }


def _arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    time = TABLES[name].time
    if time in frame:
        frame[time] = frame[time].astype("datetime64[us]")
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
