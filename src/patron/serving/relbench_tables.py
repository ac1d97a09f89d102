"""The tables of a database as RelBench wants them: keys 0, 1, 2, ..., and in every table a time of its own.

RelBench shows what was known at a cutoff by keeping, in each table by itself, the rows whose time is not later. So that
this is `Database.upto`:

- `order_items` has the `order_date` of its order;
- `customers` has `known_since`, the registration or the first order, whichever came first, in place of
  `registration_date`; without a registration it is the first order of the shop, as patron takes them as always known;
- rows with a key are numbered in the order of their time, so that those known at a cutoff are the first ones.

Dates beside a row's own time are left out: they may lie after a cutoff at which the row is known. Personal fields and
foreign ids are left out too, as patron makes no features of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from patron.features.columns import Settings, TypedColumn, quoted, typed_columns
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.schema import TABLES, TableSchema

log = logging.getLogger("patron")

_TIMES = {"customers": "known_since", "order_items": "order_date"}  # of others that of the schema
_KNOWN = {
    "customers": "CASE WHEN t.registration_date IS NULL THEN (SELECT MIN(order_date) FROM orders)"
    " ELSE LEAST(t.registration_date, own.first_order) END",
    "order_items": "own.order_date",
}
_OWN = {
    "customers": "LEFT JOIN (SELECT customer_id, MIN(order_date) AS first_order FROM orders GROUP BY customer_id) own"
    " ON own.customer_id = t.customer_id",
    "order_items": "JOIN orders own ON own.order_id = t.order_id",
}


@dataclass(frozen=True)
class RelationalTable:
    """Rows in the order of their key or, without one, of their time; times are naive, in nanoseconds.

    `fkeys` says of which table a column holds the key, NULL where that is not known.
    """

    rows: pa.Table
    pkey: str | None
    time_col: str | None
    fkeys: Mapping[str, str]


@dataclass(frozen=True)
class Relational:
    """All tables that have rows, and for those with a key where each id went: `id` as patron has it, `number`."""

    tables: Mapping[str, RelationalTable]
    numbers: Mapping[str, pa.Table]


def relational(db: Database, *, chosen: Settings) -> Relational:
    """The tables of `db` for RelBench, whose cut at any cutoff after the first order holds the rows of
    `db.upto(cutoff)`. `chosen` sets the kinds of columns, as for features; what is left out goes to the log."""
    present = [name for name in TABLES if db[name].num_rows]
    numbers = {name: _numbered(db, TABLES[name]) for name in present if TABLES[name].key}
    columns = typed_columns(db, chosen=chosen)
    kept = [column for column in columns if _is_kept(column)]
    if lost := [f"{one.table}.{one.name} ({one.kind})" for one in columns if one not in kept and not _is_own(one)]:
        log.info("not exported: %s", ", ".join(lost))
    tables = {
        name: _table(db, TABLES[name], columns=[one for one in kept if one.table == name], numbers=numbers)
        for name in present
    }
    return Relational(tables, numbers)


def _is_own(column: TypedColumn) -> bool:
    # The key and the time of a row are written in any case.
    return column.name in (TABLES[column.table].key, TABLES[column.table].time)


def _is_kept(column: TypedColumn) -> bool:
    if _is_own(column) or column.name.casefold() == _TIMES.get(column.table):
        return False
    foreign = column.kind == "id" and column.name not in TABLES[column.table].by_name
    return not foreign and column.kind not in ("personal", "date")


def _known(table: TableSchema) -> str:
    return _KNOWN.get(table.name, f"t.{table.time}" if table.time else "NULL")


def _numbered(db: Database, table: TableSchema) -> pa.Table:
    order = f"ORDER BY {_known(table)}, t.{table.key}"
    sql = f"SELECT t.{table.key} AS id, ROW_NUMBER() OVER ({order}) - 1 AS number"
    return query(db, f"{sql} FROM {table.name} t {_OWN.get(table.name, '')} ORDER BY number")


def _table(
    db: Database, table: TableSchema, *, columns: Sequence[TypedColumn], numbers: Mapping[str, pa.Table]
) -> RelationalTable:
    time = _TIMES.get(table.name, table.time)
    known = {one.name for one in columns}
    fkeys = {
        column.name: column.references
        for column in table.columns
        if column.references and column.references in numbers and column.name in known
    }
    chosen = [f"pkey.number AS {table.key}"] if table.key else []
    chosen += [f"CAST({_known(table)} AS TIMESTAMP_NS) AS {time}"] if time else []
    chosen += [f"{name}_.number AS {name}" for name in fkeys]
    chosen += [f"{_value(one)} AS {quoted(one.name)}" for one in columns if one.name not in fkeys]
    joins = [_OWN.get(table.name, "")]
    joins += [f"JOIN numbers_{table.name} pkey ON pkey.id = t.{table.key}"] if table.key else []
    joins += [f"LEFT JOIN numbers_{other} {name}_ ON {name}_.id = t.{name}" for name, other in fkeys.items()]
    sql = f"SELECT {', '.join(chosen)} FROM {table.name} t {' '.join(joins)} ORDER BY ALL"
    rows = query(db, sql, **{f"numbers_{name}": ids for name, ids in numbers.items()})
    return RelationalTable(rows, pkey=table.key, time_col=time, fkeys=fkeys)


def _value(column: TypedColumn) -> str:
    name = f"t.{quoted(column.name)}"
    if column.kind == "number":
        number = f"TRY_CAST({name} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    return f"NULLIF(trim(CAST({name} AS VARCHAR)), '')"  # the id of nothing that has a table too: it is no number
