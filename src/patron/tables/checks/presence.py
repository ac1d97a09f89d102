"""What is not there: required tables and columns. No repair can invent them, so the report names what is there.

Where a time is missing that may be, the report says that the table counts as known from the beginning.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import pyarrow as pa

from patron.tables.checks.report import Violation
from patron.tables.checks.rules import FALLBACKS
from patron.tables.schema import REQUIRED_TABLES, TABLES, TableSchema


def absences(raw: Mapping[str, pa.Table]) -> tuple[Violation, ...]:
    """Tables and columns that are missing, empty, unknown or twice there."""
    found = [*_missing_tables(raw), *_unknown_tables(raw)]
    for name in (name for name in TABLES if name in raw and (raw[name].num_rows or name in REQUIRED_TABLES)):
        found += [*_missing_columns(TABLES[name], raw[name]), *_repeated_columns(TABLES[name], raw[name])]
    return tuple(found)


def undated(stored: Mapping[str, pa.Table]) -> Iterator[Violation]:
    """A line for each table whose rows have no time, so that every cutoff sees all of them as they are today.

    Order items have that of their order. Customers have none where no registration date is given.
    """
    for name, table in stored.items():
        time = TABLES[name].time
        dated = time is not None and time in table.column_names and table[time].null_count < table.num_rows
        if not dated and name != "order_items" and (time is None or name == "customers"):
            mend = (
                "nothing to do if what its columns say was so at every cutoff; leave out the columns where it was not"
            )
            if time:
                mend = f"add {time}, if it is known; {mend}"
            rule = "known from the beginning: no time column"
            yield Violation(name, "", rule, "info", table.num_rows, 1.0, (), mend)


def _missing_tables(raw: Mapping[str, pa.Table]) -> Iterator[Violation]:
    for name in REQUIRED_TABLES:
        if name not in raw:
            unknown = [other for other in raw if other not in TABLES]
            yield _absence(name, "", rule="missing table", mend=_suggest(name, unknown, list(raw)))
        elif not raw[name].num_rows:
            yield _absence(name, "", rule="empty table", mend="check where it is read from; patron needs its rows")


def _unknown_tables(raw: Mapping[str, pa.Table]) -> Iterator[Violation]:
    for name in sorted(set(raw) - set(TABLES)):
        near = get_close_matches(name, TABLES, n=1, cutoff=0.5)
        mend = f"map it to '{near[0]}', if that is what it holds" if near else f"map it to one of {', '.join(TABLES)}"
        rows = raw[name].num_rows
        yield Violation(name, "", "unknown table", "warning", rows, 1.0, (), mend, "left out", dropped=rows)


def _missing_columns(table: TableSchema, stored: pa.Table) -> Iterator[Violation]:
    there = stored.column_names
    for column in (column for column in table.columns if column.required and column.name not in there):
        fallback = FALLBACKS.get((table.name, column.name))
        if fallback is None or not set(fallback.columns).issubset(there):
            unknown = [name for name in there if name not in table.by_name]
            mend = _suggest(column.name, unknown, there)
            yield _absence(table.name, column.name, rule="missing column", mend=mend, rows=stored.num_rows)


def _repeated_columns(table: TableSchema, stored: pa.Table) -> Iterator[Violation]:
    for name in table.by_name:
        if stored.column_names.count(name) > 1:
            yield _absence(table.name, name, rule="column twice there", mend="rename one of them", rows=stored.num_rows)


def _absence(table: str, column: str, *, rule: str, mend: str, rows: int = 0) -> Violation:
    return Violation(table, column, rule, "error", rows, 1.0, (), mend)


def _suggest(name: str, candidates: list[str], there: list[str]) -> str:
    """The mend for a name that is not there: the nearest that is, and all that are."""
    near = get_close_matches(name, candidates, n=1, cutoff=0.5)
    rename = f"'{near[0]}' may be it: map it to '{name}'; " if near else ""
    return f"{rename}there are {', '.join(there) or 'none'}"
