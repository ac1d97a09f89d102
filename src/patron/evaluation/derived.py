"""Columns that a modeller could make of every table as of a cutoff, a row each customer or product: where a leak shows.

Rows later than the cutoff are not in the database that is handed in, so that what is left to leak is what was changed,
left out or put in order afterwards. Of each table: how many rows there are, when the first and the last one was, where
they stand in it, and of each column the first, the last and the mean value. Signs say whether a customer has a row
since the last order, one with a number above 0, and a word that is not that of the last order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import is_numeric_dtype

from patron.evaluation.history import DAY, microseconds, of_order
from patron.features.columns import Kind, Settings, typed_columns
from patron.tables.database import Database
from patron.tables.schema import TABLES

_EVENTS = ("orders", "order_items", "order_events", "interactions", "returns", "loyalty", "campaigns")
_ORDERED = ("orders", "order_items")  # how many there are and when is what the past is told from
_FREE_TEXT = ("interaction_details", "product_name", "name")
_WORDS = ("category", "text")
_RATIOS = ("price over paid", "price over list", "paid over list")


def is_ratio(column: str) -> bool:
    """Whether it is one of two prices of the same thing, about 1 in any honest table."""
    return any(f".{ratio}, " in column for ratio in _RATIOS)


def _is_price(column: str) -> bool:
    # What a thing costs, and so how much of it is taken, goes with the life of its kind.
    table, _, name = column.split(", ")[0].partition(".")
    known = TABLES[table].by_name.get(name)
    return known is not None and known.kind in ("money", "number")


@dataclass(frozen=True)
class _Rows:
    """The rows of a table that belong to somebody or something, in the order of their time: `owner, time` in days,
    `place` in the table, and the columns of `kinds`: numbers and days as float64, words as str."""

    table: str
    frame: pd.DataFrame
    kinds: Mapping[str, Kind]


@dataclass(frozen=True)
class Derived:
    """What the tables of `past` say of customers and of products, in the order in which they were stored. `chosen` are
    the kinds of columns that the configuration sets."""

    past: Database
    chosen: Settings = ()

    def of_customers(self, customers: pd.Index) -> pd.DataFrame:
        """Every column of every table, a row each of `customers`: float64, or str for words."""
        tables = [self._rows(name, "customer_id", customers) for name in _EVENTS]
        own = self._own("customers").reindex(customers)
        frame = pd.concat([own, *(_summary(rows, customers) for rows in tables if len(rows.frame))], axis=1)
        return pd.concat([frame, _agreements(frame)], axis=1)

    def of_products(self, products: pd.Index) -> pd.DataFrame:
        """The same of products, from their own table, order items and returns; prices and amounts only as ratios."""
        tables = [self._rows(name, "product_id", products) for name in ("order_items", "returns")]
        own = self._own("products").reindex(products)
        frame = pd.concat([own, *(_summary(rows, products) for rows in tables if len(rows.frame))], axis=1)
        return frame[[name for name in frame if not _is_price(str(name))]]

    def signs(self, customers: pd.Index) -> pd.DataFrame:
        """Whether each of `customers` has a row since the last order, and one with a number above 0: bool, by table
        and column."""
        signs = {}
        last_order = self._rows("orders", "customer_id", customers).frame.groupby("owner")["time"].max()
        for table in [name for name in _EVENTS if name not in _ORDERED and len(self.past[name])]:
            rows = self._rows(table, "customer_id", customers)
            since = rows.frame[rows.frame["time"] > rows.frame["owner"].map(last_order)]
            signs[f"{table}, a row since the last order"] = customers.isin(since["owner"])
            for name in [name for name, kind in rows.kinds.items() if kind == "number"]:
                there = customers.isin(since.loc[since[name] > 0, "owner"])
                signs[f"{table}.{name}, above 0 since the last order"] = there
        return pd.DataFrame({**signs, **self._overwritten(customers)}, index=customers)

    def _overwritten(self, customers: pd.Index) -> dict[str, np.ndarray]:
        # Whether a word of the customer is another one than that of the last order, where both have the same words.
        own, last = self._own("customers").reindex(customers), self._rows("orders", "customer_id", customers)
        words = [name for name in own if not is_numeric_dtype(own[name])]
        ends = last.frame.groupby("owner").last().reindex(customers)
        return {
            f"{a}, other than orders.{b}": ((own[a] != ends[b]) & (own[a] != "") & ends[b].fillna("").ne("")).to_numpy()
            for a in words for b, kind in last.kinds.items()
            if kind in _WORDS and not set(own[a]).isdisjoint(set(ends[b].dropna()) - {""})
        }  # fmt: skip

    def _kinds(self, table: str) -> dict[str, Kind]:
        schema = TABLES[table]
        refers = {column.name for column in schema.columns if column.references}
        unread = {*refers, *_FREE_TEXT, "" if table == "customers" else schema.time}
        columns = [column for column in typed_columns(self.past, chosen=self.chosen) if column.table == table]
        return {one.name: one.kind for one in columns if one.kind != "personal" and one.name not in unread}

    def _own(self, table: str) -> pd.DataFrame:
        stored, key = self.past[table], str(TABLES[table].key)
        values = {f"{table}.{name}": _values(stored[name], kind) for name, kind in self._kinds(table).items()}
        place = {f"{table}, place of the row": np.arange(len(stored), dtype=float)}
        frame = pd.DataFrame({**values, **place}, index=pd.Index(stored[key].to_pandas(), name=key))
        return frame[~frame.index.duplicated()]

    def _rows(self, table: str, key: str, owners: pd.Index) -> _Rows:
        stored, kinds = self.past[table], self._kinds(table)
        owner, time = self._ends(table, key)
        mine = pc.fill_null(pc.is_in(owner, value_set=pa.array(owners, owner.type)), False)
        place = np.arange(len(stored), dtype=float)[mine.to_numpy(zero_copy_only=False)]
        rows = stored.filter(mine)
        values = {name: _values(rows[name], kind) for name, kind in kinds.items()}
        if table == "order_items":
            ratios = self._ratios(rows)
            values, kinds = {**values, **ratios}, {**kinds, **dict.fromkeys(ratios, "number")}
        ends = {"owner": owner.filter(mine).to_pandas(), "time": microseconds(time.filter(mine)) / DAY, "place": place}
        frame = pd.DataFrame({**ends, **values}).sort_values(["time", "place"], ignore_index=True)
        return _Rows(table, frame, kinds)

    def _ends(self, table: str, key: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        # Whose each row is, and when it was: of its order, where the table does not say.
        stored, orders, time = self.past[table], self.past["orders"], TABLES[table].time
        place = of_order(stored, orders) if "order_id" in stored.column_names else None
        owner = stored[key] if key in stored.column_names else orders[key].take(place)
        return owner, stored[time] if time else orders["order_date"].take(place)

    def _ratios(self, items: pa.Table) -> dict[str, np.ndarray]:
        # A price beside what was paid and beside the list: one that was rewritten fits neither.
        products = self.past["products"]
        listed = pd.Series(products["price"].to_pandas().to_numpy(), index=products["product_id"].to_pandas())
        against = items["product_id"].to_pandas().map(listed[~listed.index.duplicated()]).astype(float)
        price, amount, quantity = (items[name].to_pandas().astype(float) for name in ("price", "amount", "quantity"))
        paid = amount / quantity
        ratios = dict(zip(_RATIOS, (price / paid, price / against, paid / against), strict=True))
        finite = {name: ratio.where(np.isfinite(ratio)) for name, ratio in ratios.items()}
        return {name: ratio.to_numpy() for name, ratio in finite.items() if ratio.notna().any()}


def _values(column: pa.ChunkedArray, kind: Kind) -> np.ndarray:
    # Numbers and days as float64; ids by number, or by their place in the alphabet; words as they are, none as "".
    if kind in _WORDS:
        return column.cast(pa.string()).to_pandas().fillna("").str.strip().to_numpy(dtype=object)
    series = column.to_pandas()
    if kind == "date":
        return microseconds(pd.to_datetime(series, errors="coerce")) / DAY
    numbers = pd.to_numeric(series, errors="coerce").astype(float)
    if kind == "id" and numbers.notna().sum() < series.notna().sum():
        return series.astype(str).where(series.notna()).rank().to_numpy(dtype=float)
    return numbers.where(np.isfinite(numbers)).to_numpy()


def _summary(rows: _Rows, owners: pd.Index) -> pd.DataFrame:
    columns = dict(_of_rows(rows))
    frame = pd.DataFrame({name: column.reindex(owners) for name, column in columns.items()}, index=owners)
    counted = [name for name in columns if name.endswith(", rows")]
    words = [name for name in columns if not is_numeric_dtype(frame[name])]
    return frame.fillna(dict.fromkeys(counted, 0.0) | dict.fromkeys(words, ""))


def _of_rows(rows: _Rows) -> Iterator[tuple[str, pd.Series]]:
    table, by = rows.table, rows.frame.groupby("owner")
    if table not in _ORDERED:
        yield f"{table}, rows", by.size().astype(float)
        yield f"{table}, first date", by["time"].first()
        yield f"{table}, last date", by["time"].last()
    for how in ("first", "last"):
        yield f"{table}, {how} place of a row", by["place"].agg(how)
    for name, kind in rows.kinds.items():
        for how in ("first", "last") if kind in _WORDS else ("first", "last", "mean"):
            yield f"{table}.{name}, {how}", by[name].agg(how)
        if name in _RATIOS:  # prices that were rewritten are all the same
            yield f"{table}.{name}, spread", by[name].max() - by[name].min()


def _agreements(frame: pd.DataFrame) -> pd.DataFrame:
    # Whether a word of the customer is the last one of a table that has some of the same words.
    words = [str(name) for name in frame if not is_numeric_dtype(frame[name])]
    own = [name for name in words if name.startswith("customers.")]
    last = [name for name in words if name.endswith(", last")]
    pairs = [(a, b) for a in own for b in last if not set(frame[a]).isdisjoint(set(frame[b]) - {""})]
    return pd.DataFrame({f"{a} as in {b}": (frame[a] == frame[b]).astype(float) for a, b in pairs}, index=frame.index)
