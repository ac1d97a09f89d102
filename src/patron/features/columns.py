"""What every column of every table is, told from the first cutoff of a fit: a kind by its schema, name and values.

Canonical columns have the kind of schema.py; free texts (`product_name`, `interaction_details`, `categories.name`) are
text. Of the others, in this order: a personal field is `personal`; what is called `id` or `*_id` is `id`; times are
`date`; what differs in each of 50 or more rows, unless it has decimals, is `id`; numbers and booleans are `number`
(codes too, until they are set to category); texts of at most 50 values are `category`, all other texts are `text`.
Columns of CSV files are texts, so texts that all read as numbers (without leading zeros) or as ISO dates count as such.
Ids and personal fields never become features; text does so only when it is set to category, by its most frequent
values.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import pyarrow as pa

from patron.tables.engine import Tables, query
from patron.tables.personal import LOOKS_LIKE_EMAIL, LOOKS_LIKE_PHONE, is_personal
from patron.tables.schema import TABLES

log = logging.getLogger("patron")

Kind = Literal["number", "category", "text", "date", "id", "personal"]
Settings = tuple[tuple[str, str, Kind], ...]

MOST_CATEGORIES = 50
ROWS_TO_TELL_IDS = 50  # among fewer rows, values that all differ may do so by chance
_FREE_TEXT = {("products", "product_name"), ("categories", "name"), ("interactions", "interaction_details")}
_UNREAD = {("orders", "channel"), ("order_events", "amount")}
_DESCRIBED = ("customers", "products", "categories")  # tables whose columns, canonical or not, become features


@dataclass(frozen=True)
class TypedColumn:
    """A column in which something was known at the first cutoff, and what it is."""

    table: str
    name: str
    kind: Kind

    @property
    def used(self) -> bool:
        """Whether it reaches a feature."""
        read = self.table in _DESCRIBED or self.name in TABLES[self.table].by_name
        return read and self.kind in ("number", "category", "date") and (self.table, self.name) not in _UNREAD


def settings(columns: Mapping[str, Mapping[str, Kind]]) -> Settings:
    """`features.columns` of the configuration as a value that can be a key."""
    return tuple((table, name, kind) for table, kinds in columns.items() for name, kind in kinds.items())


@lru_cache(maxsize=64)
def typed_columns(db: Tables, *, chosen: Settings) -> tuple[TypedColumn, ...]:
    """Every column of `db` that holds a value, with its kind: as `chosen`, else as inferred. Logs the table of them,
    once for a database.

    Raises ValueError for a chosen column that is not there, and for an id or personal field that was to be used.
    """
    found = tuple(column for name in TABLES for column in _of_table(db, name))
    given = {(table, name): kind for table, name, kind in chosen}
    _check(db, found, given)
    typed = tuple(TypedColumn(c.table, c.name, given.get((c.table, c.name), c.kind)) for c in found)
    log.info("columns of '%s' as known at %s\n%s", db.name, db.known_until, _readable(typed))
    return typed


def quoted(name: str) -> str:
    """A column's name in SQL, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class _Seen:
    """How many values a column holds, how many distinct ones, and how many look like what."""

    rows: int
    known: int
    distinct: int
    personal: int
    dates: int
    numbers: int
    integers: int


def _of_table(db: Tables, table: str) -> Iterator[TypedColumn]:
    looks = {field.name: _looks(quoted(field.name), field.type) for field in db.schema(table)}
    select = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in looks.items())
    counts = query(db, f"SELECT {select} FROM {table}").to_pylist()[0]
    for name, seen in ((name, _Seen(*numbers)) for name, numbers in counts.items()):
        if seen.known:
            yield TypedColumn(table, name, _kind(table, name, seen))


def _looks(name: str, kind: pa.DataType) -> str:
    # The counts of `_Seen`, in SQL. A column that is no text is of one kind in all its rows.
    if not _is_text(kind):
        date, integer = pa.types.is_temporal(kind), pa.types.is_integer(kind)
        tests = ["FALSE", str(date), str(not date), str(integer)]
        return _counted(name, f"{name} IS NOT NULL", tests)
    text = f"trim(CAST({name} AS VARCHAR))"
    date = rf"regexp_full_match({text}, '\d{{4}}-\d\d-\d\d.*') AND TRY_CAST({text} AS TIMESTAMP) IS NOT NULL"
    integer = rf"regexp_full_match({text}, '-?(0|[1-9]\d*)')"
    number = rf"regexp_full_match({text}, '-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?')"
    personal = f"{LOOKS_LIKE_EMAIL} OR {LOOKS_LIKE_PHONE}".format(text)
    return _counted(name, f"{text} <> ''", [personal, date, number, integer])


def _counted(name: str, known: str, tests: list[str]) -> str:
    numbers = [f"COUNT(*) FILTER (WHERE ({known}) AND ({test}))" for test in tests]
    return f"[COUNT(*), COUNT(*) FILTER (WHERE {known}), COUNT(DISTINCT {name}), {', '.join(numbers)}]"


def _kind(table: str, name: str, seen: _Seen) -> Kind:
    if name in TABLES[table].by_name:
        return _canonical(table, name)
    if is_personal(table, name) or 2 * seen.personal >= seen.known:
        return "personal"
    if name.lower() == "id" or name.lower().endswith("_id"):
        return "id"
    if seen.dates == seen.known:
        return "date"
    number = seen.numbers == seen.known
    decimals = number and seen.integers < seen.known
    if seen.distinct == seen.rows >= ROWS_TO_TELL_IDS and not decimals:
        return "id"
    if number:
        return "number"
    return "category" if seen.distinct <= MOST_CATEGORIES else "text"


def _canonical(table: str, name: str) -> Kind:
    match TABLES[table].by_name[name].kind:
        case "id":
            return "id"
        case "date":
            return "date"
        case "text":
            return "text" if (table, name) in _FREE_TEXT else "category"
    return "number"


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)


def _check(db: Tables, found: tuple[TypedColumn, ...], given: Mapping[tuple[str, str], Kind]) -> None:
    inferred = {(column.table, column.name): column.kind for column in found}
    for (table, name), kind in given.items():
        if name not in db.schema(table).names:
            there = ", ".join(db.schema(table).names)
            raise ValueError(f"features.columns.{table}.{name}: table {table} has no such column; it has {there}")
        if (own := inferred.get((table, name), kind)) in ("id", "personal") and own != kind:
            raise ValueError(
                f"features.columns.{table}.{name}: it is {_SAID[own]}, which never becomes a feature; leave it out"
            )


_SAID = {"id": "an id", "personal": "a personal field"}


def _readable(columns: tuple[TypedColumn, ...]) -> str:
    # A line a table: kinds with their columns, in brackets those that reach no feature.
    lines = []
    for table in dict.fromkeys(column.table for column in columns):
        kinds: dict[str, list[str]] = {}
        for column in (column for column in columns if column.table == table):
            kinds.setdefault(column.kind, []).append(column.name if column.used else f"({column.name})")
        lines.append(f"{table}: " + "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items()))
    return "\n".join([*lines, "in brackets: no feature; features.columns={table: {column: kind}} changes a kind"])
