"""Property checks that any estimator, feature or edge of patron must pass, and a small shop to run them on."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.schema import TABLES


def small_shop(*, customers: int = 150, seed: int = 0) -> Database:
    """A shop of 2020-01-01 to 2021-06-30 with tastes: customers buy mostly from one of four categories, at a rate of
    their own.

    All tables that reach features or graph are there: returns, campaigns, and one customer (id 0) who never ordered.
    """
    rng = np.random.default_rng(seed)
    rate, taste = rng.gamma(1.5, 6, customers), rng.integers(0, 4, customers)
    joined = rng.integers(0, 300, customers)
    owner = np.repeat(np.arange(1, customers), rng.poisson(rate[1:]) + 1)
    day = joined[owner] + (rng.random(len(owner)) ** 1.3 * (546 - joined[owner])).astype(int)
    order_date = (
        np.datetime64("2020-01-01")
        + day.astype("timedelta64[D]")
        + rng.integers(8 * 3600, 20 * 3600, len(owner)).astype("timedelta64[s]")
    )
    order = np.repeat(np.arange(len(owner)), rng.integers(1, 5, len(owner)))
    at_home = rng.random(len(order)) < 0.8
    category = np.where(at_home, taste[owner[order]], rng.integers(0, 4, len(order)))
    product = category * 10 + rng.integers(0, 10, len(order))
    price = np.round(2 + 3 * category + (product % 10) + rng.random(len(order)), 2)
    quantity = rng.integers(1, 4, len(order)).astype(float)
    frames = {
        "customers": {
            "customer_id": np.arange(customers),
            "geo": np.where(rng.random(customers) < 0.7, "north", "south"),
            "registration_date": np.datetime64("2020-01-01") + joined.astype("timedelta64[D]"),
        },
        "orders": {"order_id": np.arange(len(owner)), "customer_id": owner, "order_date": order_date},
        "order_items": {
            "order_id": order,
            "product_id": product,
            "quantity": quantity,
            "price": price,
            "amount": np.round(price * quantity, 2),
        },
        "products": {"product_id": np.arange(40), "category_id": np.arange(40) // 10},
        "categories": {"category_id": np.arange(4), "name": np.array(["tea", "cups", "pots", "books"])},
        "returns": _returns(
            rng, order=order, product=product, owner=owner, order_date=order_date, amount=price * quantity
        ),
        "campaigns": {
            "campaign_id": np.arange(customers) % 5,
            "customer_id": np.arange(customers),
            "campaign_type": np.full(customers, "mail"),
            "campaign_date": np.datetime64("2020-06-01") + rng.integers(0, 380, customers).astype("timedelta64[D]"),
        },
    }
    return Database("small_shop", {name: _arrow(name, pd.DataFrame(frame)) for name, frame in frames.items()})


def scrambled_after(db: Database, *, cutoff: date, seed: int = 0) -> Database:
    """`db` with every row later than `cutoff` changed: other customers, products, amounts and times, a third of them
    gone, some twice.

    Whatever is known at the cutoff is as it was, row for row.
    """
    rng = np.random.default_rng(seed)
    past = db.upto(cutoff)
    tables = {name: _scrambled(name, table, past[name], cutoff=cutoff, rng=rng) for name, table in db.tables.items()}
    tables["order_items"] = _scrambled_items(db, past, orders=tables["orders"], rng=rng)
    return Database(db.name, tables)


def shuffled(db: Database, *, seed: int = 0) -> Database:
    """`db` with the rows of every table in another order."""
    rng = np.random.default_rng(seed)
    return Database(
        db.name, {name: table.take(pa.array(rng.permutation(table.num_rows))) for name, table in db.tables.items()}
    )


def _returns(rng: np.random.Generator, **lines: np.ndarray) -> dict[str, np.ndarray]:
    sent = np.flatnonzero(rng.random(len(lines["order"])) < 0.05)
    order = lines["order"][sent]
    later = rng.integers(1, 30, len(sent)).astype("timedelta64[D]")
    return {
        "return_id": np.arange(len(sent)),
        "order_id": order,
        "product_id": lines["product"][sent],
        "customer_id": lines["owner"][order],
        "return_date": lines["order_date"][order] + later,
        "refund_amount": np.round(lines["amount"][sent], 2),
    }


def _arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    time = TABLES[name].time
    if time in frame:
        frame[time] = frame[time].astype("datetime64[us]")
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def _scrambled(name: str, table: pa.Table, past: pa.Table, *, cutoff: date, rng: np.random.Generator) -> pa.Table:
    time, frame = TABLES[name].time, table.to_pandas()
    if time is None or frame.empty:
        return table
    later = frame[frame[time] > midnight(cutoff)]
    for column in later.columns.drop([key for key in (TABLES[name].key,) if key]):
        later = later.assign(**{column: rng.permutation(later[column].to_numpy())})
    later = later.assign(
        **{time: later[time] + pd.to_timedelta(rng.integers(1, 40, len(later)), unit="D"), **_noise(later, rng)}
    )
    kept = later[rng.random(len(later)) < 2 / 3]
    return pa.concat_tables([past, pa.Table.from_pandas(kept, schema=table.schema, preserve_index=False)])


def _noise(frame: pd.DataFrame, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    money = [column for column in ("refund_amount", "amount", "price", "quantity") if column in frame]
    return {column: frame[column].to_numpy() * rng.uniform(2, 9, len(frame)) for column in money}


def _scrambled_items(db: Database, past: Database, *, orders: pa.Table, rng: np.random.Generator) -> pa.Table:
    known, items = past["orders"]["order_id"].to_pandas(), db["order_items"].to_pandas()
    later = items[~items["order_id"].isin(known)]
    ids = orders["order_id"].to_pandas()
    ids = ids[~ids.isin(known)].to_numpy()
    drawn = later.sample(frac=1.5, replace=True, random_state=int(rng.integers(2**31)))
    drawn = drawn.assign(order_id=rng.choice(ids, len(drawn)), **_noise(drawn, rng))
    return pa.concat_tables(
        [past["order_items"], pa.Table.from_pandas(drawn, schema=db["order_items"].schema, preserve_index=False)]
    )
