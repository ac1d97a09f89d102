"""What must hold of the tables, as data: each rule is a SQL predicate that is true of a bad row, and what is done about such rows.

The rules of a column follow from its `Column` in schema.py, so that a new column there brings its rules with it; `CROSS` adds the few that
look across tables. They come parents first and, within a table, values before keys, so that a repair is never undone by a later one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from graphlib import TopologicalSorter

from patron.days import Horizon, midnight
from patron.tables.checks.reading import Reading
from patron.tables.checks.report import Severity
from patron.tables.schema import TABLES, Column, TableSchema

_EARLIEST = date(1970, 1, 1)  # an older date is a default of some system, not a day on which something was bought
_LARGEST = "1.797e308"  # what is above it is infinite or, in the order of SQL, NaN


@dataclass(frozen=True)
class Drop:
    """The bad rows go."""

    said: str = "dropped"


@dataclass(frozen=True)
class Assign:
    """The bad rows stay, and `column` of them becomes `value` (SQL)."""

    said: str
    column: str
    value: str


@dataclass(frozen=True)
class Done:
    """The bad rows were corrected on reading."""

    said: str


@dataclass(frozen=True)
class Rule:
    """`bad` is true of the rows of `table` that break the rule. `needs`: the columns of other tables without which it says nothing."""

    table: str
    column: str
    name: str
    severity: Severity
    bad: str
    mend: str
    repair: Drop | Assign | Done | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fallback:
    """What a missing value is when other columns of the row know it: SQL, and those columns."""

    sql: str
    columns: tuple[str, ...]


FALLBACKS: Mapping[tuple[str, str], Fallback] = {
    ("order_items", "amount"): Fallback("quantity * price", ("quantity", "price")),
}

_FIRST_ORDER = "(SELECT min(o.order_date) FROM orders AS o WHERE o.customer_id = customers.customer_id)"
_EVENT_ORDER = "(SELECT min(o.order_date) FROM orders AS o WHERE o.order_id = order_events.order_id)"
_RETURN_ORDER = "(SELECT min(o.order_date) FROM orders AS o WHERE o.order_id = returns.order_id)"

# Compared by day: where one table holds dates and another times, an event of the order's own day is not early.
CROSS = (
    Rule(
        "customers", "registration_date", "after the customer's first order", "error",
        f"CAST(registration_date AS DATE) > CAST({_FIRST_ORDER} AS DATE)",
        "correct the registration date or the order's", Assign("set to the first order", "registration_date", _FIRST_ORDER),
        needs=("customers.registration_date", "orders.customer_id", "orders.order_date"),
    ),
    Rule(
        "orders", "order_date", "the same instant in every order", "warning",
        "(SELECT count(*) > 1 AND min(order_date) = max(order_date) FROM orders)",
        "check that this is the day of the order, not of the export", needs=("orders.order_date",),
    ),
    Rule(
        "orders", "order_id", "orders without items", "warning",
        "NOT EXISTS (SELECT 1 FROM order_items AS i WHERE i.order_id = orders.order_id)",
        "check that order_items is complete; these orders count, with an amount of 0", needs=("order_items.order_id",),
    ),
    Rule(
        "order_items", "amount", "above quantity * price", "warning", "amount > quantity * price * 1.01 + 0.01",
        "check that price is a unit price; a lower amount is a discount, a higher one has no meaning",
        needs=("order_items.quantity", "order_items.price", "order_items.amount"),
    ),
    Rule(
        "order_events", "event_date", "before its order", "error",
        f"CAST(event_date AS DATE) < CAST({_EVENT_ORDER} AS DATE)", "correct the event's date or the order's", Drop(),
        needs=("order_events.order_id", "order_events.event_date", "orders.order_id", "orders.order_date"),
    ),
    Rule(
        "returns", "return_date", "before its order", "error",
        f"CAST(return_date AS DATE) < CAST({_RETURN_ORDER} AS DATE)", "correct the return's date or its order_id",
        Assign("order_id set to NULL", "order_id", "NULL"),
        needs=("returns.order_id", "returns.return_date", "orders.order_id", "orders.order_date"),
    ),
)  # fmt: skip


def parents_first() -> tuple[TableSchema, ...]:
    """The canonical tables, each after those it refers to."""
    graph = {name: {c.references for c in table.columns if c.references and c.references != name} for name, table in TABLES.items()}
    return tuple(TABLES[name] for name in TopologicalSorter(graph).static_order())


def rules_for(readings: Mapping[str, Mapping[str, Reading]], *, today: date) -> Iterator[Rule]:
    """The rules that tables with these columns must keep, in the order in which they are to be checked and repaired."""
    for table in (table for table in parents_first() if table.name in readings):
        there = [column for column in table.columns if column.name in readings[table.name]]
        for column in there:
            yield from column_rules(table, column, reading=readings[table.name][column.name], there=readings[table.name], today=today)
        for column in there:
            if column.references and TABLES[column.references].key in readings.get(column.references, ()):
                yield from reference_rules(table, column)
        if table.key in readings[table.name]:
            yield from key_rules(table, [column.name for column in there])
    present = {f"{table}.{column}" for table, columns in readings.items() for column in columns}
    yield from (rule for rule in CROSS if present.issuperset(rule.needs))


def column_rules(table: TableSchema, column: Column, *, reading: Reading, there: Mapping[str, Reading], today: date) -> Iterator[Rule]:
    """The rules of one column on its own: it can be read, it is in range, it is there."""
    fallback = FALLBACKS.get((table.name, column.name))
    known = fallback if fallback and all(name in there for name in fallback.columns) else None
    yield from _reading_rules(table, column, reading=reading, fallback=known)
    if column.kind in ("number", "money"):
        yield from _number_rules(table, column, fallback=known)
    if column.kind == "date":
        yield from _date_rules(table, column, today=today)
    if column.allowed:
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.allowed)
        yield _bad_value(table, column, "value not allowed", bad=f"{column.name} NOT IN ({values})", mend=f"write one of {values}")
    if not column.nullable:
        yield from _null_rules(table, column, fallback=known)


def reference_rules(table: TableSchema, column: Column) -> Iterator[Rule]:
    """A reference names a row of its parent. What refers to a row that repair dropped is told apart from what never had a parent."""
    parent = column.references
    key = TABLES[parent or ""].key
    lost = f"EXISTS (SELECT 1 FROM {parent}__dropped AS gone WHERE gone.{key} = {table.name}.{column.name})"
    dangling = f"{column.name} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE p.{key} = {table.name}.{column.name})"
    yield _bad_value(
        table, column, f"its row of {parent} was dropped", bad=f"{dangling} AND {lost}", mend=f"mend table {parent}, see above"
    )
    yield _bad_value(
        table, column, f"not in table {parent}", bad=dangling, mend=f"add these rows to {parent}, or correct {column.name}"
    )


def key_rules(table: TableSchema, columns: list[str]) -> Iterator[Rule]:
    """The key is unique. Of conflicting rows the earliest stays, whatever order they are stored in."""
    key = table.key or ""
    rest = [name for name in sorted(columns, key=lambda name: name != table.time) if name != key]
    copies, conflicts = _repeats(table, by=[key, *rest], order=[]), _repeats(table, by=[key], order=rest)
    yield Rule(table.name, key, "exact copy of a row", "error", copies, "remove the copies", Drop("dropped, one kept"))
    mend = f"make {key} unique, or give each row its own {key}"
    yield Rule(table.name, key, "rows that differ share a key", "error", conflicts, mend, Drop("dropped, first kept"))


def _repeats(table: TableSchema, *, by: list[str], order: list[str]) -> str:
    """True of the second and later rows with the same `by`. Only rows whose key is repeated are sorted."""
    repeated = f"SELECT {table.key} FROM {table.name} GROUP BY {table.key} HAVING count(*) > 1"
    window = f"row_number() OVER (PARTITION BY {', '.join(by)} ORDER BY {', '.join([*order, 'source_row'])})"
    numbered = f"SELECT source_row, {window} AS nth FROM {table.name} WHERE {table.key} IN ({repeated})"
    return f"source_row IN (SELECT source_row FROM ({numbered}) AS numbered WHERE nth > 1)"


def _reading_rules(table: TableSchema, column: Column, *, reading: Reading, fallback: Fallback | None) -> Iterator[Rule]:
    name = column.name
    if reading.note:
        yield Rule(table.name, name, reading.note.name, "info", reading.note.rows, "", Done(reading.note.said))
    if not reading.raw or column.kind == "id":
        return
    what, mend = ("date", "write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS") if column.kind == "date" else ("number", "write plain numbers, 1200.5")
    unread = f"{name} IS NULL AND {name}__raw IS NOT NULL"
    rescue = Assign(f"read as the {what} it means", name, reading.rescue)
    if reading.rescue != "NULL":
        yield Rule(table.name, name, f"{what} in another notation", "error", f"{unread} AND ({reading.rescue}) IS NOT NULL", mend, rescue)
    yield from _salvaged(_bad_value(table, column, f"not a {what}", bad=unread, mend=mend), fallback)


def _number_rules(table: TableSchema, column: Column, *, fallback: Fallback | None) -> Iterator[Rule]:
    name, low, high = column.name, column.minimum, column.maximum
    endless = _bad_value(table, column, "infinite or NaN", bad=f"abs({name}) > {_LARGEST}", mend="write a number, or nothing")
    yield from _salvaged(endless, fallback)
    if low is not None:
        mend = f"write {low:g} or more; what was given back belongs in table returns"
        yield _bad_value(table, column, f"below {low:g}", bad=f"{name} < {low}", mend=mend)
    if high is not None:
        yield _bad_value(table, column, f"above {high:g}", bad=f"{name} > {high}", mend=f"write {high:g} or less")


def _date_rules(table: TableSchema, column: Column, *, today: date) -> Iterator[Rule]:
    tomorrow = midnight(Horizon(1, "days").after(today))
    mend = "correct the date" + (", or leave it empty when it is not known" if column.nullable else "")
    early, late = f"{column.name} < TIMESTAMP '{_EARLIEST}'", f"{column.name} >= TIMESTAMP '{tomorrow}'"
    yield _bad_value(table, column, f"before {_EARLIEST.year}", bad=early, mend=mend)
    yield _bad_value(table, column, f"in the future (after {today})", bad=late, mend=f"{mend}, or validate with a later today")


def _null_rules(table: TableSchema, column: Column, *, fallback: Fallback | None) -> Iterator[Rule]:
    blank = f"{column.name} IS NULL" + (f" OR trim({column.name}) = ''" if column.kind == "text" else "")
    name = "NULL key" if column.name == table.key else "NULL"
    if fallback:
        known = f"({blank}) AND {fallback.sql} IS NOT NULL"
        repair = Assign(f"set to {fallback.sql}", column.name, fallback.sql)
        yield Rule(table.name, column.name, f"missing where {fallback.sql} is known", "info", known, "", repair)
    yield _bad_value(table, column, name, bad=blank, mend="fill it in")


def _bad_value(table: TableSchema, column: Column, name: str, *, bad: str, mend: str) -> Rule:
    """An error whose repair costs the value where the column may be NULL, and the row where it may not."""
    repair = Assign("set to NULL", column.name, "NULL") if column.nullable else Drop()
    return Rule(table.name, column.name, name, "error", bad, mend, repair)


def _salvaged(rule: Rule, fallback: Fallback | None) -> Iterator[Rule]:
    """The rule, after one that keeps the rows whose value is known from elsewhere."""
    if fallback:
        repair = Assign(f"set to {fallback.sql}", rule.column, fallback.sql)
        yield Rule(rule.table, rule.column, rule.name, "error", f"({rule.bad}) AND {fallback.sql} IS NOT NULL", rule.mend, repair)
    yield rule
