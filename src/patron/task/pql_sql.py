"""An expression of a query becomes SQL: every aggregation a table of its own, one row a customer, joined and computed.

Names come from the schema and never from the text; texts are quoted. Sums are of DECIMAL(18, 4), so that nothing
depends on the order of the rows.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

from lark import Token, Tree

from patron.days import midnight
from patron.tables.schema import TABLES, Column
from patron.task.pql_parse import PQLError, meant, parts, start_of
from patron.task.pql_window import Offset, Window, window_of

Kind = Literal["number", "text", "date", "id", "condition"]
FUNCTIONS: Mapping[str, str] = {
    "SUM": "SUM(CAST({column} AS DECIMAL(18, 4)))",
    "COUNT": "COUNT({column})",
    "AVG": "CAST(SUM(CAST({column} AS DECIMAL(18, 4))) AS DOUBLE) / COUNT({column})",
    "MIN": "MIN({column})",
    "MAX": "MAX({column})",
    "COUNT_DISTINCT": "COUNT(DISTINCT {column})",
}
SIGNS = {"−": "-", "×": "*", "÷": "/", "!=": "<>"}


@dataclass(frozen=True)
class Value:
    """SQL and what it is. `total`: money of all order items, which adds up over the window; `constant`: a number."""

    sql: str
    kind: Kind
    at: int
    total: bool = False
    constant: bool = False


@dataclass
class Translator:
    """What all expressions share; `column`, `aggregation` and `over` say what these are in the clause or filter."""

    text: str
    column: Callable[[Tree], Value]
    aggregation: Callable[[Tree, Window | None], Value]
    over: Callable[[Tree], Window]

    def value(self, node: Tree, *, window: Window | None = None) -> Value:
        """The value of a node; `window` is that of an OVER around it."""
        match node.data:
            case "number":
                return Value(f"CAST({parts(node)[0]} AS DOUBLE)", "number", start_of(node), constant=True)
            case "text":
                return Value(_quoted(_unquoted(str(parts(node)[0]))), "text", start_of(node))
            case "column":
                return self.column(node)
            case "aggregation":
                return self.aggregation(node, window)
            case "over":
                return self.value(parts(node)[0], window=self.over(node))
            case "group":
                inner = self.value(parts(node)[0], window=window)
                return replace(inner, sql=f"({inner.sql})", at=start_of(node))
            case "target":
                raise PQLError(self.text, start_of(node), f"'{parts(node)[0]}' means nothing here; write table.column")
        return self._operation(node, window=window)

    def _operation(self, node: Tree, *, window: Window | None) -> Value:
        match node.data:
            case "minus":
                inner = self._number(parts(node)[1], window=window)
                return Value(f"(- {inner.sql})", "number", start_of(node), constant=inner.constant)
            case "arithmetic":
                return self._arithmetic(node, window=window)
            case "compared":
                return self._compared(node, window=window)
            case "negated":
                return Value(f"(NOT {self._condition(parts(node)[0], window=window)})", "condition", start_of(node))
        left, sign, right = parts(node)
        sides = [self._condition(side, window=window) for side in (left, right)]
        return Value(f"({sides[0]} {sign.upper()} {sides[1]})", "condition", start_of(node))

    def _arithmetic(self, node: Tree, *, window: Window | None) -> Value:
        left, right = (self._number(parts(node)[side], window=window) for side in (0, 2))
        sign = SIGNS.get(str(parts(node)[1]), str(parts(node)[1]))
        sql = f"({left.sql} {sign} {right.sql})"
        if sign == "/":  # a share of nothing is 0
            sql = f"(CASE WHEN {right.sql} = 0 THEN 0 ELSE {left.sql} / {right.sql} END)"
        total = left.total and (sign in "+-" or right.constant)
        return Value(sql, "number", left.at, total=total, constant=left.constant and right.constant)

    def _compared(self, node: Tree, *, window: Window | None) -> Value:
        first, sign, second = parts(node)
        if first.data == "compared":
            raise PQLError(self.text, start_of(sign), "a comparison is of two values; join two comparisons with AND")
        right = self.value(second, window=window)
        # An OVER at the end is that of the whole comparison.
        around = self.over(second) if second.data == "over" else window
        left = self.value(first, window=around)
        one, other = self._comparable(left, right, sign=sign)
        return Value(f"({one} {SIGNS.get(str(sign), str(sign))} {other})", "condition", left.at)

    def _comparable(self, left: Value, right: Value, *, sign: Token) -> tuple[str, str]:
        kinds = {left.kind, right.kind}
        if kinds == {"date", "text"}:
            one, other = (self._instant(side) for side in (left, right))
            return one, other
        if "id" in kinds and "condition" not in kinds and "date" not in kinds:
            if str(sign) not in ("=", "!=", "<>"):
                raise PQLError(self.text, start_of(sign), "ids have no order; compare them with = or !=")
            return self._id(left), self._id(right)
        if len(kinds) > 1 or "condition" in kinds:
            raise PQLError(
                self.text, right.at, f"a {left.kind} cannot be compared with a {right.kind}; both must be of one kind"
            )
        return left.sql, right.sql

    def _id(self, value: Value) -> str:
        # An id is stored as a whole number or as text.
        if value.kind != "number":
            return f"CAST({value.sql} AS VARCHAR)"
        whole = re.fullmatch(r"CAST\((\d+) AS DOUBLE\)", value.sql)
        if whole is None:
            raise PQLError(self.text, value.at, "an id is a whole number or a text in quotes")
        return f"'{whole[1]}'"

    def _instant(self, value: Value) -> str:
        if value.kind == "date":
            return value.sql
        try:
            return f"TIMESTAMP '{midnight(date.fromisoformat(value.sql[1:-1]))}'"
        except ValueError:
            raise PQLError(self.text, value.at, "this is no date; write it as '2020-12-31'") from None

    def _number(self, node: Tree, *, window: Window | None) -> Value:
        value = self.value(node, window=window)
        if value.kind != "number":
            raise PQLError(self.text, value.at, f"a {value.kind} has no place in arithmetic; it takes numbers")
        return value

    def _condition(self, node: Tree, *, window: Window | None) -> str:
        value = self.value(node, window=window)
        if value.kind != "condition":
            raise PQLError(self.text, value.at, f"a {value.kind} is no condition; compare it, for example with > 0")
        return value.sql


@dataclass
class Clause:
    """PREDICT, or with `past` WHERE: its value, and what its SQL needs: one table an aggregation, and their windows."""

    text: str
    past: bool
    tables: list[str] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    _overs: dict[int, Window] = field(default_factory=dict)
    _lent: set[int] = field(default_factory=set)

    def value(self, node: Tree) -> Value:
        """The value of the clause's expression. Raises PQLError for an OVER that no aggregation needs."""
        value = Translator(self.text, self._column, self._aggregation, self._over).value(node)
        for at, window in self._overs.items():
            if id(window) not in self._lent:
                raise PQLError(self.text, at, "no aggregation needs this OVER: each has a window of its own; drop one")
        return value

    def statement(self, select: str, *, source: str, where: str = "") -> str:
        """`select` from `source` as `who`, each customer with its aggregations, in order of the customer."""
        first = f"WITH {', '.join(self.tables)} " if self.tables else ""
        joins = "".join(f" LEFT JOIN a{k} ON a{k}.customer_id = who.customer_id" for k in range(len(self.tables)))
        return f"{first}SELECT {select} FROM {source} AS who{joins}{where} ORDER BY who.customer_id"

    @property
    def bounds(self) -> dict[str, Offset]:
        """The params of the SQL."""
        starts = {f"start{k}": window.start for k, window in enumerate(self.windows)}
        return starts | {f"end{k}": window.end for k, window in enumerate(self.windows)}

    def _column(self, node: Tree) -> Value:
        column = lookup(self.text, node)
        table, name = parts(node)
        if not self.past:
            raise PQLError(
                self.text, start_of(node),
                f"{table}.{name} is no aggregation; PREDICT takes aggregations such as COUNT(orders.*, 0, 90, days), "
                f"and columns of customers go into WHERE",
            )  # fmt: skip
        if table != "customers":
            raise PQLError(
                self.text, start_of(node),
                f"a customer has many {table}; aggregate them, or compare a column of customers",
            )  # fmt: skip
        return _of_column("who", column, at=start_of(node))

    def _over(self, node: Tree) -> Window:
        _, token, bounds = parts(node)
        place = start_of(token)
        if place not in self._overs:
            self._overs[place] = window_of(self.text, bounds, past=self.past)
        return self._overs[place]

    def _aggregation(self, node: Tree, around: Window | None) -> Value:
        function, source, condition, bounds = parts(node)
        name = function.upper()
        if name not in FUNCTIONS:
            raise PQLError(
                self.text, start_of(function), f"there is no function '{function}'; {meant(name, FUNCTIONS)}"
            )
        rows = Rows.of(self.text, source)
        column = rows.column(source, function=name)
        window = window_of(self.text, bounds, past=self.past) if bounds else around
        if window is None:
            raise PQLError(
                self.text, start_of(function),
                f"{name} has no window; give it one, for example {name}({'.'.join(parts(source))}, "
                f"{'-90, 0' if self.past else '0, 90'}, days), or put OVER after the expression",
            )  # fmt: skip
        if not bounds:
            self._lent.add(id(window))
        self.windows.append(window)
        k = len(self.tables)
        self.tables.append(rows.table(f"a{k}", FUNCTIONS[name].format(column=column), k=k, condition=condition))
        spend = (name, *parts(source)) == ("SUM", "order_items", "amount") and condition is None
        return Value(f"CAST(COALESCE(a{k}.value, 0) AS DOUBLE)", "number", start_of(node), total=spend)


@dataclass
class Rows:
    """The rows of one aggregation: a table, and the tables it refers to by foreign keys, as far as they are needed."""

    text: str
    name: str
    parents: Mapping[str, tuple[str, str]]  # table -> the one that refers to it, and by which column
    needed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, text: str, source: Tree) -> "Rows":
        """The rows that `source` names. Raises PQLError for a table whose rows have no time or no customer."""
        token = parts(source)[0]
        schema = TABLES.get(str(token))
        if schema is None:
            raise PQLError(text, start_of(token), f"there is no table '{token}'; {meant(token, _countable())}")
        if schema.name not in _countable():
            reason = {"customers": "is who is predicted", "external": "has no customer"}.get(token, "has no time")
            allowed = ", ".join(_countable())
            raise PQLError(text, start_of(token), f"table {token} {reason}; its rows are in no window: use {allowed}")
        return cls(text, schema.name, dict(_parents(schema.name)))

    def column(self, source: Tree, *, function: str) -> str:
        """The SQL of what is aggregated. Raises PQLError unless the function can take it."""
        star = parts(source)[1]
        if star == "*":
            if function != "COUNT":
                raise PQLError(self.text, start_of(star), f"only COUNT takes *; {function} needs a column")
            return "*"
        column = lookup(self.text, source)
        if function not in ("COUNT", "COUNT_DISTINCT") and column.kind not in ("number", "money"):
            raise PQLError(
                self.text, start_of(star), f"{self.name}.{star} is a {column.kind}; {function} takes numbers: "
                f"{', '.join(_numbers(self.name)) or 'this table has none'}",
            )  # fmt: skip
        return _name(self.name, column.name)

    def table(self, name: str, value: str, *, k: int, condition: Tree | None) -> str:
        """The SQL of a table `name` with `value` of each customer's rows in window `k` that meet the condition."""
        schema = TABLES[self.name]
        time = _name(self.name, schema.time) if schema.time else self._order("order_date")
        customer = _name(self.name, "customer_id") if "customer_id" in schema.by_name else self._order("customer_id")
        kept = f" AND {self._filter(condition)}" if condition is not None else ""
        return (
            f"{name} AS (SELECT {customer} AS customer_id, {value} AS value FROM {self._joined()} "
            f"WHERE {time} > $start{k} AND {time} <= $end{k}{kept} GROUP BY {customer})"
        )

    def _filter(self, condition: Tree) -> str:
        translator = Translator(self.text, self._column, self._aggregation, self._over)
        value = translator.value(condition)
        if value.kind != "condition":
            raise PQLError(self.text, value.at, "WHERE needs a comparison, for example order_items.quantity > 1")
        return value.sql

    def _column(self, node: Tree) -> Value:
        table, column = parts(node)[0], lookup(self.text, node)
        if table != self.name and table not in self.parents:
            allowed = ", ".join([self.name, *self.parents])
            raise PQLError(self.text, start_of(node), f"{self.name} does not refer to {table}; allowed here: {allowed}")
        self._need(str(table))
        return _of_column(str(table), column, at=start_of(node))

    def _aggregation(self, node: Tree, window: Window | None) -> Value:
        raise PQLError(self.text, start_of(node), "a filter is of single rows; there is no aggregation in it")

    def _over(self, node: Tree) -> Window:
        raise PQLError(self.text, start_of(parts(node)[1]), "a filter is of single rows; there is no window in it")

    def _order(self, column: str) -> str:
        self._need("orders")
        return _name("orders", column)

    def _need(self, table: str) -> None:
        if table != self.name:
            self.needed.add(table)
            self._need(self.parents[table][0])

    def _joined(self) -> str:
        joins = [
            f" LEFT JOIN {table} ON {_name(parent, column)} = {_name(table, TABLES[table].key or '')}"
            for table, (parent, column) in self.parents.items()
            if table in self.needed
        ]
        return self.name + "".join(joins)


def lookup(text: str, node: Tree) -> Column:
    """The column that `table.column` names. Raises PQLError if there is none."""
    table, name = parts(node)
    if str(table) not in TABLES:
        raise PQLError(text, start_of(table), f"there is no table '{table}'; {meant(table, TABLES)}")
    columns = TABLES[str(table)].by_name
    if str(name) not in columns:
        raise PQLError(text, start_of(name), f"table {table} has no column '{name}'; {meant(name, columns)}")
    return columns[str(name)]


def _countable() -> list[str]:
    # Tables whose rows have a time and a customer, of their own or of their order.
    def is_dated(name: str) -> bool:
        columns = TABLES[name].by_name
        return "order_id" in columns or (TABLES[name].time is not None and "customer_id" in columns)

    return [name for name in TABLES if name != "customers" and is_dated(name)]


def _parents(name: str) -> Iterator[tuple[str, tuple[str, str]]]:
    # The tables that `name` refers to, nearest first, each by the shortest way.
    seen, queue = {name}, [name]
    for table in queue:
        for column in TABLES[table].columns:
            if column.references and column.references not in seen:
                seen.add(column.references)
                queue.append(column.references)
                yield column.references, (table, column.name)


def _numbers(table: str) -> list[str]:
    return [column.name for column in TABLES[table].columns if column.kind in ("number", "money")]


def _of_column(table: str, column: Column, *, at: int) -> Value:
    if column.kind in ("number", "money"):
        return Value(f"CAST({_name(table, column.name)} AS DOUBLE)", "number", at)
    return Value(_name(table, column.name), column.kind, at)  # type: ignore[arg-type]


def _name(table: str, column: str) -> str:
    return f'{table}."{column}"'


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
