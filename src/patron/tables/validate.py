"""From tables as they were stored to a `Database` that keeps the rules, with a report of every row that did not.

Every rule is one SQL query in DuckDB that gives the count and five samples at once; a repair follows its rule, so that later rules see
the mended rows, and what a dropped order takes with it is counted where it happens. Strict mode takes the same path and then refuses,
which is how its report can say what repair would do. Rows read = rows kept + rows reported as dropped, a table at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from patron.tables.checks.enforce import count_rows, derive_parents, emptied, enforce
from patron.tables.checks.presence import absences
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
    """The tables of `raw`, canonical by name, as a database in the kinds of schema.py; other columns are kept as they are.

    Ids are int64 where every table stores integers, else text in all of them. In `strict` any error raises InvalidTables; in `repair`
    each is mended as the report says. A required table or column that is missing raises in both. Dates after `today` are errors.
    """
    absent = absences(raw)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        stored = {table: raw[table] for table in TABLES if table in raw and _usable(table, raw[table], absent)}
        readings = stage_all(connection, stored)
        broken = [enforce(connection, rule, rows=stored[rule.table].num_rows) for rule in rules_for(readings, today=today)]
        derived = list(derive_parents(connection, readings))
        found = (*absent, *filter(None, broken), *derived, *emptied(connection, readings))
        columns = {table: list(there) for table, there in readings.items()} | {new.table: [new.column] for new in derived}
        report = Report(name, mode, found, _account(connection, raw, staged=columns, found=found))
        if report.refused:
            raise InvalidTables(report)
        tables = {table: _collect(connection, table, columns=columns[table], stored=stored.get(table)) for table in columns}
    return Validated(Database(name, tables), report)


def _usable(name: str, table: pa.Table, absent: Iterable[Violation]) -> bool:
    """Whether it has rows, and each canonical column once. An empty optional table is the same as none."""
    return table.num_rows > 0 and all(table.column_names.count(column) < 2 for column in TABLES[name].by_name)


def _account(
    connection: duckdb.DuckDBPyConnection, raw: Mapping[str, pa.Table], *, staged: Iterable[str], found: Iterable[Violation]
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


def _collect(connection: duckdb.DuckDBPyConnection, name: str, *, columns: list[str], stored: pa.Table | None) -> pa.Table:
    """The table as it is after repair, with the other columns of the stored table beside their rows."""
    clean = connection.sql(f"SELECT source_row, {', '.join(columns)} FROM {name} ORDER BY source_row").to_arrow_table()
    source_row = clean["source_row"].to_numpy()
    others = [i for i, column in enumerate(stored.column_names) if column not in TABLES[name].by_name] if stored else []
    clean = clean.drop_columns(["source_row"])
    if stored is None or not others:
        return clean
    kept = np.zeros(stored.num_rows, dtype=bool)
    kept[source_row] = True
    attributes = stored.select(others).filter(pa.array(kept))
    return pa.Table.from_arrays([*clean.columns, *attributes.columns], names=[*clean.column_names, *attributes.column_names])
