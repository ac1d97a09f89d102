"""Databases in which something else is changed: what comes after a cutoff, or what customers and orders are called."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.schema import TABLES

_NOISY = (
    "refund_amount", "amount", "price", "quantity", "value", "loyalty_points", "points_earned", "points_redeemed",
)  # fmt: skip


def scrambled_after(db: Database, *, cutoff: date, seed: int = 0) -> Database:
    """`db` with every row later than `cutoff` changed: other customers, products, amounts and times, a third of them
    gone, some twice.

    Whatever is known at the cutoff is as it was, row for row. Order items, events and returns of later orders name
    orders that are there; customers stay who have orders. It is as whole as `db`: a window closed there is closed here.
    """
    rng = np.random.default_rng(seed)
    past = Database(db.name, db.tables).upto(cutoff)  # whatever a subclass takes for the past
    tables = {name: _scrambled(name, table, past[name], cutoff=cutoff, rng=rng) for name, table in db.tables.items()}
    tables["order_items"] = _scrambled_items(db, past, orders=tables["orders"], rng=rng)
    tables["customers"] = _scrambled_customers(db, past, orders=tables["orders"], rng=rng)
    for name in ("order_events", "returns"):
        tables[name] = _on_orders(tables[name], past[name], orders=tables["orders"], rng=rng)
    read_until = max(db.last_day, db.read_until or db.last_day, Database(db.name, tables).last_day)
    return replace(db, tables=tables, read_until=read_until, _cuts={}, _parts={})


@dataclass(frozen=True)
class Renaming:
    """New ids for customers and orders, none of which was there before, in the same order as the old ones.

    Whatever follows from a database alone is the same for the renamed one, bit for bit; what somebody noted down about
    a customer elsewhere no longer finds him.
    """

    shift: Mapping[str, int | str]  # of each renamed table: what is added to its key, or put before it

    @classmethod
    def of(cls, db: Database) -> "Renaming":
        return cls({name: _shift(db[name][str(TABLES[name].key)]) for name in ("customers", "orders")})

    def customers(self, ids: pd.Series) -> pd.Series:
        """The new ids of these customers."""
        shift = self.shift["customers"]
        return ids + shift if isinstance(shift, int) else shift + ids.astype(str)

    def database(self, db: Database) -> Database:
        """`db` with the new ids wherever the old ones stood."""
        return replace(
            db, tables={name: self._table(name, table) for name, table in db.tables.items()}, _cuts={}, _parts={}
        )

    def _table(self, name: str, table: pa.Table) -> pa.Table:
        for column in TABLES[name].columns:
            entity = column.references or (name if column.name == TABLES[name].key else "")
            if entity in self.shift:
                at, old = table.column_names.index(column.name), table[column.name]
                table = table.set_column(at, column.name, _shifted(old, self.shift[entity]).cast(old.type))
        return table


def _shift(ids: pa.ChunkedArray) -> int | str:
    if not pa.types.is_integer(ids.type):
        return "renamed-"
    low, high = (value.as_py() or 0 for value in pc.min_max(ids).values())
    width, bits = high - low + 1, ids.type.bit_width - 1
    steps = (step for step in (width, -width, 1) if -(2**bits) <= low + step <= high + step < 2**bits)
    return next(steps, -1)


def _shifted(ids: pa.ChunkedArray, shift: int | str) -> pa.ChunkedArray:
    if isinstance(shift, int):
        return pc.add(ids, pa.scalar(shift, ids.type)) if pa.types.is_integer(ids.type) else ids  # a column of nulls
    return pc.binary_join_element_wise(pa.scalar(shift), ids.cast(pa.string()), "")


def _scrambled(name: str, table: pa.Table, past: pa.Table, *, cutoff: date, rng: np.random.Generator) -> pa.Table:
    time, frame = TABLES[name].time, table.to_pandas()
    if time is None or name == "customers" or frame.empty:
        return table
    later = _changed(frame[frame[time] > midnight(cutoff)], name=name, rng=rng)
    return _appended(past, later[rng.random(len(later)) < 2 / 3])


def _scrambled_customers(db: Database, past: Database, *, orders: pa.Table, rng: np.random.Generator) -> pa.Table:
    known, frame = past["customers"]["customer_id"].to_pandas(), db["customers"].to_pandas()
    later = _changed(frame[~frame["customer_id"].isin(known)], name="customers", rng=rng)
    needed = later["customer_id"].isin(orders["customer_id"].to_pandas())
    return _appended(past["customers"], later[needed | (rng.random(len(later)) < 2 / 3)])


def _changed(later: pd.DataFrame, *, name: str, rng: np.random.Generator) -> pd.DataFrame:
    time = TABLES[name].time
    for column in later.columns.drop([key for key in (TABLES[name].key,) if key]):
        later = later.assign(**{column: rng.permutation(later[column].to_numpy(copy=True))})
    moved = later[time] + pd.to_timedelta(rng.integers(1, 40, len(later)), unit="D")
    return later.assign(**{str(time): moved}).assign(**_noise(later, rng))


def _noise(frame: pd.DataFrame, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    numbers = [name for name in _NOISY if name in frame and pd.api.types.is_float_dtype(frame[name])]
    return {name: frame[name].to_numpy() * rng.uniform(2, 9, len(frame)) for name in numbers}


def _scrambled_items(db: Database, past: Database, *, orders: pa.Table, rng: np.random.Generator) -> pa.Table:
    known, items = past["orders"]["order_id"].to_pandas(), db["order_items"].to_pandas()
    later = items[~items["order_id"].isin(known)]
    ids = orders["order_id"].to_pandas()
    ids = ids[~ids.isin(known)].to_numpy()
    if len(ids) == 0:
        return past["order_items"]
    drawn = later.sample(frac=1.5, replace=True, random_state=int(rng.integers(2**31)))
    drawn = drawn.assign(order_id=rng.choice(ids, len(drawn)), **_noise(drawn, rng))
    return _appended(past["order_items"], drawn)


def _on_orders(table: pa.Table, past: pa.Table, *, orders: pa.Table, rng: np.random.Generator) -> pa.Table:
    """`table` with another order for each later row whose own is gone."""
    later, ids = table.slice(past.num_rows).to_pandas(), orders["order_id"].to_pandas()
    gone = later["order_id"].notna() & ~later["order_id"].isin(ids)
    later.loc[gone, "order_id"] = rng.choice(ids.to_numpy(), int(gone.sum()))
    return _appended(past, later)


def _appended(past: pa.Table, later: pd.DataFrame) -> pa.Table:
    return pa.concat_tables([past, pa.Table.from_pandas(later, schema=past.schema, preserve_index=False)])
