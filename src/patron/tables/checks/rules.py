"""What must hold of the tables, as data: a rule is a SQL predicate, true of a bad row, and what is done about them.

The rules of a column follow from its `Column` in schema.py, so that a new column there brings its rules with it;
`CROSS` adds the few that look across tables. They come parents first and, within a table, values before references
before keys: no repair is undone by a later one, and the row that is kept of a repeated key is a good one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    """`bad` is true of the rows of `table` that break the rule. Where a column in `needs` is absent, none do."""

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
        "correct the registration date or the order's",
        Assign("set to the first order's date", "registration_date", _FIRST_ORDER),
        needs=("customers.customer_id", "customers.registration_date", "orders.customer_id", "orders.order_date"),
    ),
    Rule(
        "orders", "order_date", "the same instant in every order", "warning",
        "(SELECT count(*) > 1 AND min(order_date) = max(order_date) FROM orders)",
        "check that this is when it was ordered, not when it was exported", needs=("orders.order_date",),
    ),
    Rule(
        "orders", "order_id", "no items in order_items", "warning",
        "NOT EXISTS (SELECT 1 FROM order_items AS i WHERE i.order_id = orders.order_id)",
        "check that order_items is complete; such an order counts, with an amount of 0",
        needs=("orders.order_id", "order_items.order_id"),
    ),
    Rule(
        "order_items", "amount", "above quantity * price", "warning", "amount > quantity * price * 1.01 + 0.01",
        "check that price is a unit price; less than quantity * price is a discount, more is odd",
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
    graph = {name: {c.references for c in table.columns if c.references} - {name} for name, table in TABLES.items()}
    return tuple(TABLES[name] for name in TopologicalSorter(graph).static_order())


def rules_for(readings: Mapping[str, Mapping[str, Reading]], *, today: date) -> Iterator[Rule]:
    """The rules that tables with these columns must keep, in the order in which they are to be checked and repaired."""
    for table in (table for table in parents_first() if table.name in readings):
        there = readings[table.name]
        columns = [column for column in table.columns if column.name in there]
        for column in columns:
            yield from _column_rules(table, column, reading=there[column.name], there=there, today=today)
        for column in columns:
            if column.references and TABLES[column.references].key in readings.get(column.references, ()):
                yield from _reference_rules(table, column, parent=TABLES[column.references])
        if table.key and table.key in there:
            yield from _key_rules(table, key=table.key, columns=[column.name for column in columns])
    present = {f"{table}.{column}" for table, columns in readings.items() for column in columns}
    yield from (rule for rule in CROSS if present.issuperset(rule.needs))


def _column_rules(
    table: TableSchema, column: Column, *, reading: Reading, there: Mapping[str, Reading], today: date
) -> Iterator[Rule]:
    """One column on its own: it can be read, it is in range, it is there."""
    fallback = FALLBACKS.get((table.name, column.name))
    if fallback and not set(fallback.columns).issubset(there):
        fallback = None
    yield from _reading_rules(table, column, reading=reading, fallback=fallback)
    if column.kind in ("number", "money"):
        yield from _number_rules(table, column, fallback=fallback)
    if column.kind == "date":
        yield from _date_rules(table, column, today=today)
    if column.allowed:
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.allowed)
        other = f"{column.name} NOT IN ({values})"
        yield _refuse(table, column, "a value not allowed", other, f"write one of {values}")
    if not column.nullable:
        yield from _null_rules(table, column, reading=reading, fallback=fallback)


def _reading_rules(
    table: TableSchema, column: Column, *, reading: Reading, fallback: Fallback | None
) -> Iterator[Rule]:
    """It was stored as it should be, or can at least be read."""
    name = column.name
    if reading.note:
        yield Rule(table.name, name, reading.note.name, "info", reading.note.rows, "", Done(reading.note.said))
    if not reading.raw or column.kind == "id":
        return
    what, example = ("date", "2024-01-31 or 2024-01-31 18:30:00") if column.kind == "date" else ("number", "1200.5")
    unread, mend = f"{name} IS NULL AND {name}__raw IS NOT NULL", f"write {what}s as {example}"
    if reading.rescue != "NULL":
        meant = Assign(f"read as the {what} it means", name, reading.rescue)
        known = f"{unread} AND ({reading.rescue}) IS NOT NULL"
        yield Rule(table.name, name, f"a {what} in other notation", "error", known, mend, meant)
    yield from _salvage(_refuse(table, column, f"not a {what}", unread, mend), fallback)


def _number_rules(table: TableSchema, column: Column, *, fallback: Fallback | None) -> Iterator[Rule]:
    name, low, high = column.name, column.minimum, column.maximum
    endless = _refuse(table, column, "infinite or NaN", f"abs({name}) > {_LARGEST}", "write a number, or nothing")
    yield from _salvage(endless, fallback)
    if low is not None:
        mend = f"write {low:g} or more" + ("; returns belong in table returns" if table.name == "order_items" else "")
        yield _refuse(table, column, f"below {low:g}", f"{name} < {low}", mend)
    if high is not None:
        yield _refuse(table, column, f"above {high:g}", f"{name} > {high}", f"write {high:g} or less")


def _date_rules(table: TableSchema, column: Column, *, today: date) -> Iterator[Rule]:
    name, tomorrow = column.name, midnight(Horizon(1, "days").after(today))
    mend = "correct the date" + (", or leave it empty where it is not known" if column.nullable else "")
    yield _refuse(table, column, f"before {_EARLIEST.year}", f"{name} < TIMESTAMP '{midnight(_EARLIEST)}'", mend)
    yield _refuse(table, column, f"in the future, after {today}", f"{name} >= TIMESTAMP '{tomorrow}'", mend)


def _null_rules(table: TableSchema, column: Column, *, reading: Reading, fallback: Fallback | None) -> Iterator[Rule]:
    missing = f"{column.name} IS NULL"
    if column.kind == "text":
        missing += f" OR trim({column.name}) = ''"
    elif reading.raw and column.kind != "id":  # what is there and cannot be read has its own rule
        missing += f" AND {column.name}__raw IS NULL"
    refused = _refuse(table, column, "NULL key" if column.name == table.key else "NULL", missing, "fill it in")
    if fallback:  # not an error: the row says what the value is
        yield replace(next(_salvage(refused, fallback)), name=f"NULL where {fallback.sql} is known", severity="info")
    yield refused


def _reference_rules(table: TableSchema, column: Column, *, parent: TableSchema) -> Iterator[Rule]:
    """It names a row of its parent. What names a row that repair dropped is told apart from what never had a parent."""
    name, same = column.name, f"p.{parent.key} = {table.name}.{column.name}"
    dropped = f"EXISTS (SELECT 1 FROM {parent.name}__dropped AS p WHERE {same})"
    orphan = f"{name} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent.name} AS p WHERE {same} AND NOT p.doomed)"
    lost, mend = f"{orphan} AND {dropped}", f"mend table {parent.name}, see above"
    yield _refuse(table, column, f"its row of {parent.name} is dropped", lost, mend)
    unknown, mend = f"{orphan} AND NOT {dropped}", f"add it to {parent.name}, or correct {name}"
    yield _refuse(table, column, f"not in table {parent.name}", unknown, mend)


def _key_rules(table: TableSchema, *, key: str, columns: list[str]) -> Iterator[Rule]:
    """The key is unique. Of rows in conflict the earliest sound one stays, whatever order they are stored in."""
    rest = [name for name in sorted(columns, key=lambda name: name != table.time) if name != key]
    order = ", ".join(["doomed", *rest, "source_row"])
    numbered = (
        f"SELECT source_row, row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS nth, "
        f"row_number() OVER (PARTITION BY {', '.join([key, *rest])} ORDER BY doomed, source_row) AS copy "
        f"FROM {table.name} WHERE {key} IN (SELECT {key} FROM {table.name} GROUP BY {key} HAVING count(*) > 1)"
    )
    among = f"source_row IN (SELECT source_row FROM ({numbered}) AS numbered WHERE"
    copies, conflicts = f"{among} copy > 1)", f"{among} nth > 1 AND copy = 1)"
    one_kept, first_kept = Drop("dropped, one kept"), Drop("dropped, first kept")
    mend = f"give each row its own {key}, or merge them"
    yield Rule(table.name, key, "exact copies of a row", "error", copies, "remove the copies", one_kept)
    yield Rule(table.name, key, "rows that differ under one key", "error", conflicts, mend, first_kept)


def _refuse(table: TableSchema, column: Column, name: str, bad: str, mend: str) -> Rule:
    """An error whose repair costs the value where the column may be NULL, and the row where it may not."""
    repair = Assign("set to NULL", column.name, "NULL") if column.nullable else Drop()
    return Rule(table.name, column.name, name, "error", bad, mend, repair)


def _salvage(rule: Rule, fallback: Fallback | None) -> Iterator[Rule]:
    """The rule, after one that keeps those of its rows whose value is known from other columns."""
    if fallback:
        repair = Assign(f"set to {fallback.sql}", rule.column, fallback.sql)
        yield replace(rule, bad=f"({rule.bad}) AND {fallback.sql} IS NOT NULL", repair=repair)
    yield rule
