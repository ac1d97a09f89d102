"""Rules carried out in DuckDB: one query finds the offenders of a rule and one statement mends them."""

from collections.abc import Iterable, Iterator, Mapping

import duckdb

from patron.tables.checks.report import Violation
from patron.tables.checks.rules import Assign, Drop, Rule, parents_first
from patron.tables.schema import REQUIRED_TABLES, TABLES, TableSchema

_SAMPLES = 5


def enforce(connection: duckdb.DuckDBPyConnection, rule: Rule, *, rows: int) -> Violation | None:
    """The violation, as a share of `rows`, or None when every row keeps the rule. Its rows are mended afterwards."""
    found = connection.sql(_offenders(rule, columns=connection.table(rule.table).columns)).fetchall()
    if not found:
        return None
    count = found[0][0]
    dropped = count if isinstance(rule.repair, Drop) else 0
    fixed = count - dropped if rule.repair else 0
    _mend(connection, rule)
    return Violation(
        rule.table, rule.column, rule.name, rule.severity, count, count / rows, tuple(sample for _, sample in found),
        mend=rule.mend, remedy=rule.repair.said if rule.repair else "", dropped=dropped, fixed=fixed,
    )  # fmt: skip


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
    return connection.table(table).count("*").fetchall()[0][0]


def _offenders(rule: Rule, *, columns: list[str]) -> str:
    """SQL for the first samples, `key` or `key: value`, by key, and beside each the number of all bad rows."""
    key = _label_column(TABLES[rule.table])
    label, order = "'row ' || CAST(source_row + 1 AS VARCHAR)", "NULL"
    if key in columns:
        label, order = f"coalesce(CAST({key} AS VARCHAR), {label})", key
    stored = f"{rule.column}__raw, " if f"{rule.column}__raw" in columns else ""
    value = f"coalesce(': ' || coalesce({stored}CAST({rule.column} AS VARCHAR)), '')"
    sample = label if rule.column == key else f"{label} || {value}"
    bad = f"SELECT {sample} AS sample, {order} AS key, source_row FROM {rule.table} WHERE {rule.bad}"
    return (
        f"SELECT CAST(sum(count(*)) OVER () AS BIGINT) AS found, sample FROM ({bad}) AS bad "
        f"GROUP BY sample, key ORDER BY key, min(source_row) LIMIT {_SAMPLES}"
    )


def _label_column(table: TableSchema) -> str:
    return table.key or table.columns[0].name


def _mend(connection: duckdb.DuckDBPyConnection, rule: Rule) -> None:
    match rule.repair:
        case Assign(column=column, value=value):
            connection.execute(f"UPDATE {rule.table} SET {column} = {value} WHERE {rule.bad}")
        case Drop():
            key = TABLES[rule.table].key
            if key in connection.table(rule.table).columns:  # those that refer to these rows are then told why they go
                connection.execute(f"INSERT INTO {rule.table}__dropped SELECT {key} FROM {rule.table} WHERE {rule.bad}")
            connection.execute(f"DELETE FROM {rule.table} WHERE {rule.bad}")


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
    samples = tuple(sample for (sample,) in connection.sql(first).fetchall())
    said = f"added, one row for each id in {' and '.join(f'{table}.{column}' for table, column in children)}"
    if rows := count_rows(connection, parent.name):
        key = parent.key or ""
        yield Violation(parent.name, key, "table not there", "info", rows, 1.0, samples, "", remedy=said, fixed=rows)
