"""How a stored column becomes its kind: SQL for its values, decided once a column after a look at what it holds.

A column that is stored as it should be costs one cast. A text column that holds something else keeps its text beside the value, as
`<column>__raw`, for the rules to judge. Decimal marks and day-month order are facts of a column, not of a value: `1,200` is
1200 where `12.50` is common, 1.2 where `12,50` is, and unreadable where neither is.
"""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from patron.tables.schema import Column

_BLANKS = " \t\r\n\u00a0"
_CURRENCY = r"(?:\p{Sc}|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|TRY)"
_DOT = r"^-?(\d+|[1-9]\d{0,2}([,'' \x{00A0}\x{202F}]\d{3})+)(\.\d+)?$"  # '' is one quote within SQL
_COMMA = r"^-?(\d+|[1-9]\d{0,2}([.'' \x{00A0}\x{202F}]\d{3})+)(,\d+)?$"
_EITHER = r"^-?[1-9]\d{0,2}[.,]\d{3}$"  # 1,200 and 1.200: a thousand or so, or about one
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class Note:
    """Something legal but odd about how a column is stored, corrected on reading: a name, a predicate, what was done."""

    name: str
    rows: str
    said: str


@dataclass(frozen=True)
class Reading:
    """SQL over a stored column. `value` is NULL where the column cannot be read as it stands.

    `raw`, when not empty, is the stored text; `rescue`, over `<column>__raw`, is the value that an odd but unambiguous text means.
    """

    value: str
    raw: str = ""
    rescue: str = "NULL"
    note: Note | None = None


def importable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type that DuckDB can take from Arrow: dictionaries decoded, timestamps in microseconds."""
    stored = column.type
    if pa.types.is_dictionary(stored):
        return importable(column.cast(stored.value_type))
    if pa.types.is_timestamp(stored):
        return column.cast(pa.timestamp("us", tz=stored.tz and "UTC"), safe=False)
    if pa.types.is_float16(stored):
        return column.cast(pa.float64())
    return column.cast(pa.string()) if pa.types.is_decimal256(stored) else column


def holds_integers(stored: pa.DataType) -> bool:
    """Whether every value of an Arrow type fits into int64."""
    return pa.types.is_integer(stored) and not pa.types.is_uint64(stored)


def read_column(connection: duckdb.DuckDBPyConnection, column: Column, *, source: str, stored: pa.DataType, as_text: bool) -> Reading:
    """How `column` of the table `source`, stored as `stored`, becomes its kind. An id becomes text or int64 by `as_text`."""
    if pa.types.is_null(stored):
        return Reading(f"CAST(NULL AS {_sql_type(column, as_text=as_text)})")
    match column.kind:
        case "id":
            return _text_id(connection, column.name, source=source, stored=stored) if as_text else Reading(f"CAST({column.name} AS BIGINT)")
        case "date":
            return _date(connection, column.name, source=source, stored=stored)
        case "text":
            return Reading(f"CAST({column.name} AS VARCHAR)")
        case _:
            return _number(connection, column.name, source=source, stored=stored)


def _sql_type(column: Column, *, as_text: bool) -> str:
    if column.kind == "id":
        return "VARCHAR" if as_text else "BIGINT"
    return {"date": "TIMESTAMP", "text": "VARCHAR"}.get(column.kind, "DOUBLE")


def _text_id(connection: duckdb.DuckDBPyConnection, name: str, *, source: str, stored: pa.DataType) -> Reading:
    if holds_integers(stored) or pa.types.is_uint64(stored):
        note = Note("integers here, text in another table", f"{name} IS NOT NULL", "read as text in every table")
        return Reading(f"CAST({name} AS VARCHAR)", note=note)
    if pa.types.is_floating(stored) or pa.types.is_decimal(stored):
        whole = f"CAST(TRY_CAST({name} AS DECIMAL(38, 0)) AS VARCHAR)"  # NULL for NaN, which is how pandas writes a missing id
        note = Note("stored with decimals (17.0)", f"{name} IS NOT NULL", "read as text without them (17)")
        return Reading(f"CASE WHEN {name} = floor({name}) THEN {whole} ELSE CAST({name} AS VARCHAR) END", note=note)
    return _trimmed_id(connection, name, source=source)


def _trimmed_id(connection: duckdb.DuckDBPyConnection, name: str, *, source: str) -> Reading:
    raw, text = f"CAST({name} AS VARCHAR)", _text(name)
    padded, decimals = _profile(
        connection,
        f"count(CASE WHEN {raw} <> {text} THEN 1 END), min(CASE WHEN {text} LIKE '%_.0' THEN 1 WHEN {text} <> '' THEN 0 END)",
        source=source,
    )
    if decimals:  # every id ends in .0: integers that went through a float column on their way to text
        note = Note("written with decimals (17.0)", f"{name} IS NOT NULL", "read without them (17)")
        return Reading(f"CASE WHEN {text} <> '' THEN left({text}, length({text}) - 2) END", note=note)
    if padded:
        note = Note("blanks around the id", f"{name}__raw <> {_text(name + '__raw')}", "trimmed")
        return Reading(f"NULLIF({text}, '')", raw=raw, note=note)
    return Reading(f"NULLIF({text}, '')")


def _number(connection: duckdb.DuckDBPyConnection, name: str, *, source: str, stored: pa.DataType) -> Reading:
    if pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_decimal(stored) or pa.types.is_boolean(stored):
        return Reading(f"CAST({name} AS DOUBLE)")
    text = _text(name)
    plain = f"TRY_CAST({text} AS DOUBLE)"
    (odd,) = _profile(connection, f"count(CASE WHEN {plain} IS NULL AND {text} <> '' THEN 1 END)", source=source)
    return _odd_number(connection, name, source=source) if odd else Reading(plain)


def _odd_number(connection: duckdb.DuckDBPyConnection, name: str, *, source: str) -> Reading:
    bare, kept = _bare(_text(name)), _bare(f"{name}__raw")
    dots, commas, either_dots, either_commas = _profile(connection, _decimal_marks(bare), source=source)
    plain = f"TRY_CAST({_text(name)} AS DOUBLE)"
    if commas and dots <= commas + either_commas:  # 1.200 may be 1200 here, so that a plain cast is not to be trusted
        plain = f"CASE WHEN NOT regexp_matches({bare}, '{_EITHER}') THEN {plain} END"
    by_dot, by_comma = _by_dot(kept), _by_comma(kept)
    if commas > dots + either_dots:
        rescue = f"coalesce({by_comma}, {by_dot})"
    elif dots > commas + either_commas:
        rescue = f"coalesce({by_dot}, {by_comma})"
    else:
        rescue = f"CASE WHEN {by_dot} <> {by_comma} THEN NULL ELSE coalesce({by_dot}, {by_comma}) END"
    return Reading(plain, raw=f"NULLIF({_text(name)}, '')", rescue=rescue)


def _decimal_marks(bare: str) -> str:
    """Counts of values that only a decimal dot explains, that only a comma does, and that both do, with a dot and with a comma."""
    dot, comma, either = (f"regexp_matches({bare}, '{pattern}')" for pattern in (_DOT, _COMMA, _EITHER))
    tests = (f"{dot} AND NOT {comma}", f"{comma} AND NOT {dot}", f"{either} AND {bare} LIKE '%.%'", f"{either} AND {bare} LIKE '%,%'")
    return ", ".join(f"count(CASE WHEN {test} THEN 1 END)" for test in tests)


def _bare(text: str) -> str:
    """A number's text without the currency before or after it."""
    leading = rf"regexp_replace({text}, '^(-?)\s*{_CURRENCY}\s*', '\1')"
    return rf"regexp_replace({leading}, '\s*{_CURRENCY}$', '')"


def _by_dot(bare: str) -> str:
    return f"CASE WHEN regexp_matches({bare}, '{_DOT}') THEN CAST(regexp_replace({bare}, '[^0-9.-]', '', 'g') AS DOUBLE) END"


def _by_comma(bare: str) -> str:
    digits = f"replace(regexp_replace({bare}, '[^0-9,-]', '', 'g'), ',', '.')"
    return f"CASE WHEN regexp_matches({bare}, '{_COMMA}') THEN CAST({digits} AS DOUBLE) END"


def _date(connection: duckdb.DuckDBPyConnection, name: str, *, source: str, stored: pa.DataType) -> Reading:
    if pa.types.is_timestamp(stored) and stored.tz:
        note = Note("has a time zone", f"{name} IS NOT NULL", "converted to naive UTC")
        return Reading(f"{name} AT TIME ZONE 'UTC'", note=note)
    if pa.types.is_timestamp(stored) or pa.types.is_date(stored):
        return Reading(f"TRY_CAST({name} AS TIMESTAMP)")
    plain = _iso(_text(name))
    odd, moved = _profile(
        connection,
        f"count(CASE WHEN {plain} IS NULL AND {_text(name)} <> '' THEN 1 END), "
        f"count(CASE WHEN {plain} <> TRY_CAST({_text(name)} AS TIMESTAMP) THEN 1 END)",
        source=source,
    )
    zoned = Note("has a time zone", f"{name} <> TRY_CAST({name}__raw AS TIMESTAMP)", "converted to naive UTC") if moved else None
    rescue = _odd_date(connection, name, source=source) if odd else "NULL"
    return Reading(plain, raw=f"NULLIF({_text(name)}, '')" if odd or moved else "", rescue=rescue, note=zoned)


def _odd_date(connection: duckdb.DuckDBPyConnection, name: str, *, source: str) -> str:
    """SQL for dates that are not ISO. Days and months are told apart by the dates of the column that have a 13 or more in them."""
    day, month = _day_first(_text(name)), _month_first(_text(name))
    days, months = _profile(
        connection, f"count(CASE WHEN {month} IS NULL THEN {day} END), count(CASE WHEN {day} IS NULL THEN {month} END)", source=source
    )
    raw = f"{name}__raw"
    day, month, certain = _day_first(raw), _month_first(raw), _strptime(raw, ["%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y"])
    if days > 100 * months:  # a few typos must not make a whole column ambiguous
        return f"coalesce({certain}, {day})"
    if months > 100 * days:
        return f"coalesce({certain}, {month})"
    return f"coalesce({certain}, CASE WHEN {day} <> {month} THEN NULL ELSE coalesce({day}, {month}) END)"


def _iso(text: str) -> str:
    # not AS TIMESTAMP, which drops an offset without a word
    return f"(TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC')"


def _day_first(text: str) -> str:
    return _strptime(text, [f"%d{mark}%m{mark}%Y" for mark in "/.-"])


def _month_first(text: str) -> str:
    return _strptime(text, [f"%m{mark}%d{mark}%Y" for mark in "/.-"])


def _strptime(text: str, days: list[str]) -> str:
    return f"try_strptime({text}, [{', '.join(repr(day + clock) for day in days for clock in _CLOCKS)}])"


def _text(name: str) -> str:
    return f"trim(CAST({name} AS VARCHAR), '{_BLANKS}')"


def _profile(connection: duckdb.DuckDBPyConnection, aggregates: str, *, source: str) -> tuple[int, ...]:
    row = connection.sql(f"SELECT {aggregates} FROM {source}").fetchone()
    assert row is not None  # an aggregate without GROUP BY has one row
    return tuple(value or 0 for value in row)
