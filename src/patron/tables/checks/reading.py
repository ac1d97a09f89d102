"""How a stored column becomes its kind: SQL for its values, decided once a column after a look at what it holds.

A column that is stored as it should be costs one cast. A text column that holds something else keeps its text beside
the value, as `<column>__raw`, for the rules to judge. Decimal marks and day-month order are facts of a column, not of
a value: `1,200` is 1200 where `12.50` is common, 1.2 where `12,50` is, and unreadable where neither is.
"""

from dataclasses import dataclass
from functools import cached_property

import duckdb
import pyarrow as pa

from patron.tables.schema import Column

_BLANKS, _PADDED = " \t\r\n\u00a0", r"^[\s\x{A0}]|[\s\x{A0}]$"
_CURRENCY = r"(?:\p{Sc}|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|TRY)"
_DOT = r"^-?(\d+|[1-9]\d{0,2}([,'' \x{00A0}\x{202F}]\d{3})+)(\.\d+)?$"  # '' is one quote within SQL
_COMMA = r"^-?(\d+|[1-9]\d{0,2}([.'' \x{00A0}\x{202F}]\d{3})+)(,\d+)?$"
_EITHER = r"^-?[1-9]\d{0,2}[.,]\d{3}$"  # 1,200 and 1.200: a thousand or so, or about one
_DAY_FIRST = tuple(f"%d{mark}%m{mark}%Y" for mark in "/.-")
_MONTH_FIRST = tuple(f"%m{mark}%d{mark}%Y" for mark in "/.-")
_CERTAIN = ("%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_SQL = {"id": "BIGINT", "date": "TIMESTAMP", "text": "VARCHAR", "number": "DOUBLE", "money": "DOUBLE"}


@dataclass(frozen=True)
class Note:
    """Something odd but legal in how a column is stored, corrected on reading: a name, a predicate, what was done."""

    name: str
    rows: str
    said: str


@dataclass(frozen=True)
class Reading:
    """SQL over a stored column. `value` is NULL where the column cannot be read as it stands.

    `raw`, when not empty, is the stored text; `rescue`, over `<column>__raw`, is the value that an odd but unambiguous
    text means.
    """

    value: str
    raw: str = ""
    rescue: str = "NULL"
    note: Note | None = None


@dataclass(frozen=True)
class Stored:
    """A column as it is stored, in the table `source` of a DuckDB connection."""

    column: Column
    type: pa.DataType
    source: str
    connection: duckdb.DuckDBPyConnection

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.column.name

    @property
    def raw(self) -> str:
        """SQL for the stored value as text."""
        return f"CAST({self.name} AS VARCHAR)"

    @property
    def text(self) -> str:
        """SQL for the stored value as text without blanks around it."""
        return _trim(self.raw) if self.padded else self.raw

    @cached_property
    def padded(self) -> int:
        """The number of values with blanks around them. To look is cheap, to trim a million values is not."""
        return self.count(f"regexp_matches({self.raw}, '{_PADDED}')")[0]

    def count(self, *tests: str) -> tuple[int, ...]:
        """The number of rows of which each test is true."""
        counts = ", ".join(f"count(CASE WHEN {test} THEN 1 END)" for test in tests)
        return self.connection.execute(f"SELECT {counts} FROM {self.source}").fetchall()[0]


def importable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type that DuckDB takes from Arrow: dictionaries decoded, timestamps in microseconds."""
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


def read_column(stored: Stored, *, text_id: bool) -> Reading:
    """How a stored column becomes its kind; text_id says of an id that it becomes text, not int64."""
    if pa.types.is_null(stored.type):
        return Reading(f"CAST(NULL AS {'VARCHAR' if text_id else _SQL[stored.column.kind]})")
    match stored.column.kind:
        case "id":
            return _text_id(stored) if text_id else Reading(f"CAST({stored.name} AS BIGINT)")
        case "date":
            return _date(stored)
        case "text":
            return Reading(f"CAST({stored.name} AS VARCHAR)")
        case "number" | "money":
            return _number(stored)


def _text_id(stored: Stored) -> Reading:
    name = stored.name
    if pa.types.is_integer(stored.type):
        note = Note("integers here, text in another table", f"{name} IS NOT NULL", "read as text in every table")
        return Reading(f"CAST({name} AS VARCHAR)", note=note)
    if pa.types.is_floating(stored.type) or pa.types.is_decimal(stored.type):
        whole = f"CAST(TRY_CAST({name} AS DECIMAL(38, 0)) AS VARCHAR)"  # NULL for NaN: how pandas writes a missing id
        note = Note("stored with decimals (17.0)", f"{name} IS NOT NULL", "read as text without them (17)")
        return Reading(f"CASE WHEN {name} = floor({name}) THEN {whole} ELSE CAST({name} AS VARCHAR) END", note=note)
    return _written_id(stored)


def _written_id(stored: Stored) -> Reading:
    name, text = stored.name, stored.text
    filled, decimals = stored.count(f"{text} <> ''", f"{text} LIKE '%_.0'")
    if decimals and decimals == filled:  # integers that went through a float column on their way to text
        note = Note("written with decimals (17.0)", f"{name} IS NOT NULL", "read without them (17)")
        return Reading(f"CASE WHEN {text} <> '' THEN left({text}, length({text}) - 2) END", note=note)
    if stored.padded:
        note = Note("blanks around the id", f"{name}__raw <> {_trim(f'{name}__raw')}", "trimmed")
        return Reading(f"NULLIF({text}, '')", raw=stored.raw, note=note)
    return Reading(f"NULLIF({text}, '')")


def _number(stored: Stored) -> Reading:
    kind = stored.type
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    if any(test(kind) for test in numeric):
        return Reading(f"CAST({stored.name} AS DOUBLE)")
    plain = f"TRY_CAST({stored.text} AS DOUBLE)"
    (odd,) = stored.count(f"{plain} IS NULL AND {stored.text} <> ''")
    return _odd_number(stored, plain=plain) if odd else Reading(plain)


def _odd_number(stored: Stored, *, plain: str) -> Reading:
    """The column's own decimal mark decides what 1,200 and 1.200 are; without a majority they are not read."""
    bare = _bare(stored.text)
    dot, comma, either = (f"regexp_matches({bare}, '{pattern}')" for pattern in (_DOT, _COMMA, _EITHER))
    dots, commas = stored.count(f"{dot} AND NOT {comma}", f"{comma} AND NOT {dot}")
    open_dots, open_commas = stored.count(f"{either} AND {bare} LIKE '%.%'", f"{either} AND {bare} LIKE '%,%'")
    with_dot, with_comma = _with_dot(_bare(f"{stored.name}__raw")), _with_comma(_bare(f"{stored.name}__raw"))
    if dots > commas + open_commas:
        rescue = f"coalesce({with_dot}, {with_comma})"
    elif commas > dots + open_dots:
        rescue = f"coalesce({with_comma}, {with_dot})"
    else:
        rescue = _agreed(with_dot, with_comma)
    if commas and dots <= commas + open_commas:  # then a plain cast of 1.200 is not to be trusted either
        plain = f"CASE WHEN NOT {either} THEN {plain} END"
    return Reading(plain, raw=f"NULLIF({stored.text}, '')", rescue=rescue)


def _bare(text: str) -> str:
    """A number's text without the currency before or after it."""
    leading = rf"regexp_replace({text}, '^(-?)\s*{_CURRENCY}\s*', '\1')"
    return rf"regexp_replace({leading}, '\s*{_CURRENCY}$', '')"


def _with_dot(bare: str) -> str:
    digits = f"regexp_replace({bare}, '[^0-9.-]', '', 'g')"
    return f"CASE WHEN regexp_matches({bare}, '{_DOT}') THEN CAST({digits} AS DOUBLE) END"


def _with_comma(bare: str) -> str:
    digits = f"replace(regexp_replace({bare}, '[^0-9,-]', '', 'g'), ',', '.')"
    return f"CASE WHEN regexp_matches({bare}, '{_COMMA}') THEN CAST({digits} AS DOUBLE) END"


def _date(stored: Stored) -> Reading:
    name, text = stored.name, stored.text
    if pa.types.is_timestamp(stored.type) and stored.type.tz:
        note = Note("has a time zone", f"{name} IS NOT NULL", "converted to naive UTC")
        return Reading(f"{name} AT TIME ZONE 'UTC'", note=note)
    if pa.types.is_timestamp(stored.type) or pa.types.is_date(stored.type):
        return Reading(f"TRY_CAST({name} AS TIMESTAMP)")
    plain = f"(TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC')"  # AS TIMESTAMP drops an offset without a word
    odd, moved = stored.count(f"{plain} IS NULL AND {text} <> ''", f"{plain} <> TRY_CAST({text} AS TIMESTAMP)")
    offset = Note("has a time zone", f"{name} <> TRY_CAST({name}__raw AS TIMESTAMP)", "converted to naive UTC")
    return Reading(
        plain,
        raw=f"NULLIF({text}, '')" if odd or moved else "",
        rescue=_odd_date(stored) if odd else "NULL",
        note=offset if moved else None,
    )


def _odd_date(stored: Stored) -> str:
    """SQL for dates that are not ISO. Those with a 13 or more in them tell whether days or months come first."""
    day, month = _parsed(stored.text, _DAY_FIRST), _parsed(stored.text, _MONTH_FIRST)
    days, months = stored.count(f"{month} IS NULL AND {day} IS NOT NULL", f"{day} IS NULL AND {month} IS NOT NULL")
    raw = f"{stored.name}__raw"
    certain, day, month = _parsed(raw, _CERTAIN), _parsed(raw, _DAY_FIRST), _parsed(raw, _MONTH_FIRST)
    if days > 100 * months:  # a few typos must not make a whole column ambiguous
        return f"coalesce({certain}, {day})"
    if months > 100 * days:
        return f"coalesce({certain}, {month})"
    return f"coalesce({certain}, {_agreed(day, month)})"


def _parsed(text: str, days: tuple[str, ...]) -> str:
    return f"try_strptime({text}, [{', '.join(repr(day + clock) for day in days for clock in _CLOCKS)}])"


def _agreed(one: str, other: str) -> str:
    """SQL for the value of two readings, NULL where they contradict each other."""
    return f"CASE WHEN {one} <> {other} THEN NULL ELSE coalesce({one}, {other}) END"


def _trim(text: str) -> str:
    return f"trim({text}, '{_BLANKS}')"
