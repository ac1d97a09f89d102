"""An immutable bundle of canonical tables, and the one way to look at it as of a day.

`upto(cutoff)` is how patron keeps the future out: whoever fits or predicts is handed a database that does not hold it.
Results are memoised by identity (`eq=False`), so a function of a database may be cached with `functools.lru_cache`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from patron.days import midnight, to_date
from patron.tables.schema import ARROW, REQUIRED_TABLES, TABLES, Column, TableSchema, known_tables


@dataclass(frozen=True, eq=False)
class Database:
    """Canonical tables of one company. All eleven are there: absent ones are empty, absent columns are NULL.

    `known_until` is the cutoff this database was truncated at, or None for all that was read. `read_until` is the date
    of the last order that was read at all: a label window that closes later is still open, whatever the cutoff.
    """

    name: str
    tables: Mapping[str, pa.Table]
    known_until: date | None = None
    read_until: date | None = None
    _cuts: dict[date, "Database"] = field(default_factory=dict, repr=False)
    _parts: dict[tuple[str, ...], "Database"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tables) - set(TABLES))
        if unknown:
            raise ValueError(f"tables {unknown} are not canonical; patron knows {sorted(TABLES)}")
        types = _id_types(self.tables)
        complete = {name: _complete(schema, self.tables.get(name), id_types=types) for name, schema in TABLES.items()}
        object.__setattr__(self, "tables", complete)
        if self.read_until is None and complete["orders"].num_rows:
            object.__setattr__(self, "read_until", self.last_day)

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]

    def schema(self, table: str) -> pa.Schema:
        """The columns of a table and their types."""
        return self.tables[table].schema

    def upto(self, cutoff: date) -> "Database":
        """The same database as it was known at `cutoff`: rows with `time <= cutoff`; tables without a time are kept
        whole.

        Order items live and die with their order, and who has ordered is known, whatever the
        registration says. The same object is returned for the same cutoff.
        """
        if self.known_until is not None and cutoff >= self.known_until:
            return self
        if cutoff not in self._cuts:
            past = _truncate(self.tables, cutoff)
            self._cuts[cutoff] = Database(self.name, past, known_until=cutoff, read_until=self.read_until)
        return self._cuts[cutoff]

    def only(self, tables: Iterable[str] | None) -> "Database":
        """The same database with the other tables empty; customers and orders are always kept, null keeps all.

        The same object is returned for the same tables. Raises ValueError for a name that is not canonical.
        """
        kept = known_tables(TABLES if tables is None else (*REQUIRED_TABLES, *tables))
        if len(kept) == len(TABLES):
            return self
        if kept not in self._parts:
            part = {name: self.tables[name] for name in kept}
            self._parts[kept] = Database(self.name, part, known_until=self.known_until, read_until=self.read_until)
        return self._parts[kept]

    def in_order_of_time(self) -> "Database":
        """The same database, rows in the order of their time and order items in that of their orders: what is known at
        a cutoff is a slice of them then, and `upto` copies nothing but the customers."""
        return Database(self.name, _in_order(self.tables), known_until=self.known_until, read_until=self.read_until)

    @cached_property
    def first_day(self) -> date:
        """The date of the earliest order. Raises ValueError when there is none."""
        return to_date(self._order_extreme("min"))

    @cached_property
    def last_day(self) -> date:
        """The date of the latest order. Raises ValueError when there is none."""
        return to_date(self._order_extreme("max"))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that the tables hold: the same rows in the same order have the same one, in any process."""
        hashed = hashlib.blake2b(digest_size=16)
        for name, table in self.tables.items():
            for column in table.column_names:
                hashed.update(f"{name}.{column}: {len(table)} {table[column].type}".encode())
                for part in _contents(table[column]):
                    _hash(part, hashed)
        return hashed.hexdigest()

    @cached_property
    def has_products(self) -> bool:
        """Whether any order item names a product."""
        items = self["order_items"]["product_id"]
        return items.null_count < len(items)

    def _order_extreme(self, which: str) -> object:
        value = pc.min_max(self["orders"]["order_date"])[which].as_py()
        if value is None:
            until = f" up to {self.known_until}" if self.known_until else ""
            raise ValueError(
                f"table orders of '{self.name}' has no rows{until}; choose a later cutoff or check the data"
            )
        return value


def _contents(values: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    # What says all of a column: what lies under a NULL, or behind the last bit, is left over from something else.
    if values.null_count:
        yield values.is_valid().cast(pa.uint8())
        values = values.drop_null()
    yield values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values


def _hash(values: pa.ChunkedArray, hashed: "hashlib.blake2b") -> None:
    table = pa.table({"values": values})
    with pa.ipc.new_stream(pa.PythonFile(_Hashing(hashed), mode="w"), table.schema) as stream:
        stream.write_table(table.combine_chunks(), max_chunksize=1_000_000)


class _Hashing:
    """A file that keeps nothing of what is written to it but the hash."""

    closed = False

    def __init__(self, hashed: "hashlib.blake2b") -> None:
        self.write = hashed.update

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def _in_order(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    ordered = {name: _sorted(table, TABLES[name].time) for name, table in tables.items()}
    items, orders = ordered["order_items"], ordered["orders"]
    place = pc.index_in(items["order_id"], value_set=orders["order_id"].combine_chunks())
    return {**ordered, "order_items": items.take(pc.sort_indices(place))}


def _sorted(table: pa.Table, time: str | None) -> pa.Table:
    if time is None:
        return table
    instants = table[time].cast(pa.timestamp("us")).to_numpy().view(np.int64)  # no time is the smallest number
    return table.take(pa.array(np.argsort(instants, kind="stable")))


def _truncate(tables: Mapping[str, pa.Table], cutoff: date) -> dict[str, pa.Table]:
    limit = pa.scalar(midnight(cutoff), pa.timestamp("us"))
    kept = {name: _known(table, TABLES[name].time, limit) for name, table in tables.items()}
    orders, items, customers = kept["orders"], kept["order_items"], tables["customers"]
    kept["order_items"] = _where(items, _among(items["order_id"], orders["order_id"]))
    registered = _is_known(customers["registration_date"], limit)
    kept["customers"] = customers.filter(pc.or_(registered, _among(customers["customer_id"], orders["customer_id"])))
    return kept


def _known(table: pa.Table, time: str | None, limit: pa.Scalar) -> pa.Table:
    return table if time is None else _where(table, _is_known(table[time], limit))


def _where(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    number = pc.sum(mask).as_py() or 0
    leads = pc.all(mask.slice(0, number)).as_py()
    return table.slice(0, number) if leads else table.filter(mask)


def _is_known(time: pa.ChunkedArray, limit: pa.Scalar) -> pa.ChunkedArray:
    return pc.fill_null(pc.less_equal(time, limit), True)  # only customers may have no date: known from the beginning


def _among(values: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=others.combine_chunks())


def _complete(schema: TableSchema, table: pa.Table | None, *, id_types: Mapping[str, pa.DataType]) -> pa.Table:
    types = {column.name: id_types.get(entity(schema, column), ARROW[column.kind]) for column in schema.columns}
    if table is None:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    for name in [name for name in types if name not in table.column_names]:
        table = table.append_column(name, pa.nulls(table.num_rows, types[name]))
    return table


def _id_types(tables: Mapping[str, pa.Table]) -> dict[str, pa.DataType]:
    # An absent column or table must still join with those that have rows.
    return {
        whose: table.schema.field(column.name).type
        for name, table in tables.items()
        for column in TABLES[name].columns
        if table.num_rows and column.name in table.column_names and (whose := entity(TABLES[name], column))
    }


def entity(schema: TableSchema, column: Column) -> str:
    """The table whose key a column of `schema` holds, its own or another's; empty for what is no id."""
    return column.references or (schema.name if column.name == schema.key else "")
