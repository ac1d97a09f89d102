"""Rules carried out in DuckDB: a query counts the offenders of a rule, another samples them, a statement mends them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import duckdb

from patron.tables.checks.reading import Reading
from patron.tables.checks.report import Violation
from patron.tables.checks.rules import Assign, Drop, Rule, parents_first
from patron.tables.schema import REQUIRED_TABLES, TABLES, TableSchema

_SAMPLES = 5


def enforce(
    connection: duckdb.DuckDBPyConnection,
    rules: Iterable[Rule],
    *,
    readings: Mapping[str, Mapping[str, Reading]],
    rows: Mapping[str, int],
) -> Iterator[Violation]:
    """The violations of the rules, in their order, as shares of the `rows` read of each table.

    A value is mended before the next rule looks at it. Rows to be dropped are `doomed`, and go when the rules of their
    table are through: a row that breaks two rules counts for both and is dropped once, and then the tables that follow
    see what refers to it.
    """
    for table, group in groupby(rules, key=lambda rule: rule.table):
        found = [_enforce(connection, rule, readings=readings[table], rows=rows[table]) for rule in group]
        violations = [violation for violation in found if violation]
        if any(violation.dropped for violation in violations):
            _sweep(connection, table, keyed=TABLES[table].key in readings[table])
        yield from violations


def _enforce(
    connection: duckdb.DuckDBPyConnection, rule: Rule, *, readings: Mapping[str, Reading], rows: int
) -> Violation | None:
    select = f"SELECT count(*), count(CASE WHEN NOT doomed THEN 1 END) FROM {rule.table} WHERE {rule.bad}"
    count, sound = connection.execute(select).fetchall()[0]
    if not count:
        return None
    samples = connection.execute(samples_of(rule, readings=readings)).fetchall()
    drops = isinstance(rule.repair, Drop)
    _mend(connection, rule)
    return Violation(
        rule.table, rule.column, rule.name, rule.severity, count, count / rows, tuple(text for (text,) in samples),
        mend=rule.mend, remedy=rule.repair.said if rule.repair else "",
        dropped=sound if drops else 0, fixed=count if rule.repair and not drops else 0,
    )  # fmt: skip


def samples_of(rule: Rule, *, readings: Mapping[str, Reading]) -> str:
    """SQL for the first bad rows, at most five, as `key` or `key: value`, each text once, in the order of the keys."""
    key = TABLES[rule.table].key or TABLES[rule.table].columns[0].name
    label, order = "'row ' || CAST(source_row + 1 AS VARCHAR)", "NULL"
    if key in readings:
        label, order = f"coalesce(CAST({key} AS VARCHAR), {label})", key
    stored = f"{rule.column}__raw, " if readings[rule.column].raw else ""
    value = f"coalesce(': ' || coalesce({stored}CAST({rule.column} AS VARCHAR)), '')"
    sample = label if rule.column == key else f"{label} || {value}"
    bad = f"SELECT {sample} AS sample, {order} AS key, source_row FROM {rule.table} WHERE {rule.bad}"
    return f"SELECT sample FROM ({bad}) AS bad GROUP BY sample, key ORDER BY key, min(source_row) LIMIT {_SAMPLES}"


def emptied(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> Iterator[Violation]:
    """A required table of which no row is left: an error that no repair mends."""
    for name in tables:
        if name in REQUIRED_TABLES and not count_rows(connection, name):
            mend = "mend the errors of this table, see above"
            yield Violation(name, "", "no row is left after repair", "error", 0, 0.0, (), mend)


def derive_parents(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Iterable[str]]) -> Iterator[Violation]:
    """Optional tables that are referred to and not there (products, categories) then hold one row for each id named."""
    for parent in parents_first():
        if parent.name in columns or parent.name in REQUIRED_TABLES or parent.key is None:
            continue
        children = [(table, column) for table in columns for column in columns[table] if _refers(table, column, parent)]
        if children:
            yield from _derive(connection, parent, children=children)


def count_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows that `table` has now."""
    return connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]


def _mend(connection: duckdb.DuckDBPyConnection, rule: Rule) -> None:
    match rule.repair:
        case Assign(column=column, value=value):
            connection.execute(f"UPDATE {rule.table} SET {column} = {value} WHERE {rule.bad}")
        case Drop():
            connection.execute(f"UPDATE {rule.table} SET doomed = TRUE WHERE {rule.bad}")


def _sweep(connection: duckdb.DuckDBPyConnection, table: str, *, keyed: bool) -> None:
    if keyed:  # what refers to these rows can then be told from what refers to nothing
        gone = f"SELECT {TABLES[table].key} FROM {table} WHERE doomed AND {TABLES[table].key} IS NOT NULL"
        connection.execute(f"INSERT INTO {table}__dropped {gone}")
    connection.execute(f"DELETE FROM {table} WHERE doomed")


def _refers(table: str, column: str, parent: TableSchema) -> bool:
    return table in TABLES and TABLES[table].by_name[column].references == parent.name


def _derive(
    connection: duckdb.DuckDBPyConnection, parent: TableSchema, *, children: list[tuple[str, str]]
) -> Iterator[Violation]:
    ids = " UNION ALL ".join(f"SELECT {column} AS id FROM {table}" for table, column in children)
    distinct = f"SELECT DISTINCT id FROM ({ids}) AS named WHERE id IS NOT NULL"
    numbered = f"SELECT row_number() OVER (ORDER BY id) - 1 AS source_row, id AS {parent.key} FROM ({distinct}) AS ids"
    connection.execute(f"CREATE TABLE {parent.name} AS {numbered}")
    first = f"SELECT CAST({parent.key} AS VARCHAR) FROM {parent.name} ORDER BY source_row LIMIT {_SAMPLES}"
    samples = tuple(sample for (sample,) in connection.execute(first).fetchall())
    said = f"added, one row for each id in {' and '.join(f'{table}.{column}' for table, column in children)}"
    if rows := count_rows(connection, parent.name):
        key = parent.key or ""
        yield Violation(parent.name, key, "table not there", "info", rows, 1.0, samples, "", remedy=said, fixed=rows)
