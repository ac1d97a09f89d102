"""From tables as they were stored to a `Database` that keeps the rules, with a report of every row that did not.

Every rule is a SQL aggregate in DuckDB, and where it is broken five samples. A repair follows its rule, so that
later rules see the mended values, and what a dropped order takes with it is counted where it happens. Strict mode takes
the same path and then refuses, which is how its report can say what repair would do. Rows read = rows kept + rows
reported as dropped, a table at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from patron.tables.checks.duplicates import duplicates
from patron.tables.checks.enforce import count_rows, derive_parents, emptied, enforce
from patron.tables.checks.presence import absences, undated
from patron.tables.checks.report import InvalidTables, Mode, Report, RowCount, Violation
from patron.tables.checks.rules import rules_for
from patron.tables.checks.staging import stage_all
from patron.tables.database import Database
from patron.tables.schema import TABLES

__all__ = ["InvalidTables", "Mode", "Report", "RowCount", "Validated", "Violation", "validate"]


@dataclass(frozen=True)
class Validated:
    """Tables that keep every rule, and the report of what was found on the way there."""

    database: Database
    report: Report


def validate(raw: Mapping[str, pa.Table], *, name: str, mode: Mode, today: date) -> Validated:
    """The tables of `raw` as a database in the kinds of schema.py; columns that are not canonical are kept as they are.

    Ids are int64 where every table stores integers, else text in all of them. In `strict` any error raises
    InvalidTables; in `repair` each is mended as the report says, and only what cannot be mended, such as a required
    table or column that is missing, raises. Dates after `today` are errors.
    """
    stored = {table: raw[table] for table in TABLES if table in raw and _usable(table, raw[table])}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        readings = stage_all(connection, stored)
        rules, rows = rules_for(readings, today=today), {table: stored[table].num_rows for table in stored}
        broken = list(enforce(connection, rules, readings=readings, rows=rows))
        derived = list(derive_parents(connection, readings))
        twice = duplicates(connection, stored["customers"]) if "customer_id" in readings.get("customers", ()) else ()
        found = (*absences(raw), *broken, *derived, *emptied(connection, readings), *twice, *undated(stored))
        staged = {table: list(columns) for table, columns in readings.items()} | {v.table: [v.column] for v in derived}
        report = Report(name, mode, found, _account(connection, raw, staged=staged, found=found))
        if report.refused:
            raise InvalidTables(report)
        tables = {
            table: _collect(connection, table, columns=staged.get(table, []), stored=raw.get(table))
            for table in TABLES
            if table in raw or table in staged
        }
    return Validated(Database(name, tables), report)


def _usable(name: str, table: pa.Table) -> bool:
    """Whether it has rows, and each canonical column once. An empty optional table is the same as none."""
    return table.num_rows > 0 and all(table.column_names.count(column) < 2 for column in TABLES[name].by_name)


def _account(
    connection: duckdb.DuckDBPyConnection,
    raw: Mapping[str, pa.Table],
    *,
    staged: Iterable[str],
    found: Iterable[Violation],
) -> tuple[RowCount, ...]:
    """Where the rows of each table went, tables in the order of the schema, unknown ones last."""
    counts = []
    for name in [*TABLES, *sorted(set(raw) - set(TABLES))]:
        read = raw[name].num_rows if name in raw else 0
        dropped = sum(violation.dropped for violation in found if violation.table == name)
        kept = count_rows(connection, name) if name in staged else read - dropped
        if read or kept:
            counts.append(RowCount(name, read=read, added=0 if read else kept, dropped=dropped, kept=kept))
    return tuple(counts)


def _collect(
    connection: duckdb.DuckDBPyConnection, name: str, *, columns: list[str], stored: pa.Table | None
) -> pa.Table:
    """The table as it is after repair, and beside its rows what else was stored with them."""
    others = _others(name, stored)
    if not columns:  # it had no rows
        return others
    select = f"SELECT {', '.join([*columns, 'source_row'])} FROM {name} ORDER BY source_row"
    rows = connection.sql(select).to_arrow_table()
    if others.num_columns and len(rows) < len(others):
        kept = np.zeros(len(others), dtype=bool)
        kept[rows["source_row"].to_numpy()] = True
        others = others.filter(pa.array(kept))
    names = [*columns, *others.column_names]
    return pa.Table.from_arrays([*(rows[column] for column in columns), *others.columns], names=names)


def _others(name: str, stored: pa.Table | None) -> pa.Table:
    """The columns that are not canonical."""
    if stored is None:
        return pa.table({})
    return stored.select([i for i, column in enumerate(stored.column_names) if column not in TABLES[name].by_name])
