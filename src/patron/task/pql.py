"""PQL, the predictive query language: one line says what is predicted, for whom, and from which tables. docs/pql.md.

    PREDICT COUNT(orders.*, 0, 90, days) = 0 FOR EACH customers.customer_id WHERE COUNT(orders.*, -6, 0, months) > 0

A query is compiled to two statements, one for the labels and one for the population. The second only ever runs on what
was known at the cutoff; windows that would leak are refused when the query is read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
from lark import Tree
from pydantic import AfterValidator

from patron.days import Horizon, midnight
from patron.tables.engine import Tables
from patron.tables.engine import query as run
from patron.tables.schema import known_tables
from patron.task.pql_parse import PQLError, meant, parse, parts, start_of
from patron.task.pql_sql import Clause
from patron.task.pql_window import LONGEST, UNITS, Offset, latest

__all__ = ["PQLError", "PQLText", "Query", "Statement", "compile", "customers", "labels"]

NAMED: Mapping[str, str] = {
    "total_spend": "gross", "net_spend": "net", "margin": "margin", "order_count": "orders",
    "average_order_value": "order_value", "churn": "churn",
}  # fmt: skip
USABLE: Mapping[str, tuple[str, ...]] = {
    "customer": ("customers",), "product": ("products",), "category": ("categories",),
    "purchase": ("orders", "order_items"), "order": ("orders",), "order_event": ("order_events",),
    "interaction": ("interactions",), "return": ("returns",), "loyalty": ("loyalty",), "campaign": ("campaigns",),
    "external": ("external",),
}  # fmt: skip
IN_GRAPH: Mapping[str, tuple[str, ...]] = {**USABLE, "purchase": ("order_items",)}
Used = tuple[tuple[str, ...] | None, tuple[str, ...] | None]


@dataclass(frozen=True)
class Statement:
    """SQL, and its params by their distance from the cutoff."""

    sql: str
    bounds: Mapping[str, Offset]


@dataclass(frozen=True)
class Query:
    """A query that has been understood.

    `target` is a named target of patron.task.ltv, whose label and population are found there, or what the label is:
    `money` (order items' amounts, which add up over the window), `number` or `flag` (1 or 0). `horizon` is the latest
    end of its windows; `tables` are those that estimators may see, and `graph` those that the graph is made of, None
    for all: a purchase joins customer and product, and makes no node of the order.
    """

    text: str
    horizon: Horizon
    target: str
    label: Statement | None
    population: Statement | None
    tables: tuple[str, ...] | None
    graph: tuple[str, ...] | None

    @property
    def is_named(self) -> bool:
        """Whether it names one of patron's own targets."""
        return self.label is None

    @property
    def is_flag(self) -> bool:
        """Whether labels are 1 or 0."""
        return self.target in ("flag", "churn")


@lru_cache(maxsize=256)
def compile(text: str) -> Query:
    """What `text` asks for. Raises PQLError, which shows the place of a mistake and what is allowed there."""
    expression, entity, condition, using = parse(text).children
    used = (None, None) if using is None else (_tables(text, using, USABLE), _tables(text, using, IN_GRAPH))
    if entity.data == "named":
        return _named(text, expression, entity=entity, condition=condition, used=used)
    _require_customers(text, entity)
    if expression.data == "target":
        at, name = start_of(expression), str(expression.children[0])
        _read_named(text, name, at=at)
        raise PQLError(text, start_of(entity), f"the named target {name} has a population of its own: FOR customer")
    predict, where = Clause(text, past=False), Clause(text, past=True)
    value = predict.value(expression)
    if not predict.tables:
        raise PQLError(text, value.at, "nothing is aggregated here; predict, for example, COUNT(orders.*, 0, 90, days)")
    is_flag = value.kind == "condition"
    sql = f"CASE WHEN {value.sql} THEN 1.0 ELSE 0.0 END" if is_flag else value.sql
    label = predict.statement(f"who.customer_id, CAST({sql} AS DOUBLE) AS label", source="asked")
    admitted = "" if condition is None else f" WHERE {_admitted(where, condition)}"
    population = where.statement("who.customer_id", source="customers", where=admitted)
    return Query(
        text, latest([window.end for window in predict.windows]),
        "flag" if is_flag else "money" if value.total else "number",
        Statement(label, predict.bounds), Statement(population, where.bounds), *used,
    )  # fmt: skip


def _compiles(text: str) -> str:
    compile(text)
    return text


PQLText = Annotated[str, AfterValidator(_compiles)]


def labels(query: Query, db: Tables, *, cutoff: date, customers: pd.Series) -> np.ndarray:
    """The value of the query for each of `customers`, not floored: [n] float64 in their order."""
    assert query.label is not None, "a named target has its label in patron.task.ltv"
    found = _run(query.label, db, cutoff=cutoff, asked=pa.table({"customer_id": customers}))
    return found.set_index("customer_id")["label"].loc[customers].to_numpy(dtype=np.float64)


def customers(query: Query, db: Tables, *, cutoff: date) -> pd.DataFrame:
    """The `customer_id` of everybody whom the query admits by what was known at the cutoff, in order."""
    assert query.population is not None, "a named target has its population in patron.task.ltv"
    return _run(query.population, db.upto(cutoff), cutoff=cutoff)


def _run(statement: Statement, db: Tables, *, cutoff: date, **tables: pa.Table) -> pd.DataFrame:
    bounds = {name: midnight(offset.of(cutoff)) for name, offset in statement.bounds.items()}
    return run(db, statement.sql, **bounds, **tables).to_pandas()


def _admitted(clause: Clause, condition: Tree) -> str:
    value = clause.value(condition)
    if value.kind != "condition":
        raise PQLError(
            clause.text, value.at, "WHERE needs a comparison, for example COUNT(orders.*, -12, 0, months) > 0"
        )
    return value.sql


def _require_customers(text: str, entity: Tree) -> None:
    for token, name in zip(entity.children, ("customers", "customer_id"), strict=True):
        if token != name:
            raise PQLError(text, start_of(token), "patron predicts for customers: FOR EACH customers.customer_id")


def _named(text: str, expression: Tree, *, entity: Tree, condition: Tree | None, used: Used) -> Query:
    name = entity.children[0]
    if name != "customer":
        raise PQLError(text, start_of(name), "write FOR EACH customers.customer_id, or FOR customer for a named target")
    if expression.data != "target":
        raise PQLError(text, start_of(name), "FOR customer is for named targets; write FOR EACH customers.customer_id")
    if condition is not None:
        raise PQLError(
            text, start_of(condition), "a named target is for everybody who has ordered; WHERE needs aggregations "
            "and FOR EACH customers.customer_id",
        )  # fmt: skip
    horizon, target = _read_named(text, str(expression.children[0]), at=start_of(expression))
    return Query(text, horizon, target, None, None, *used)


def _read_named(text: str, name: str, *, at: int) -> tuple[Horizon, str]:
    base, _, suffix = name.rpartition("_")
    if name in NAMED or (base in NAMED and not re.fullmatch(r"0*[1-9]\d*[dwmy]", suffix)):
        raise PQLError(
            text, at, f"{name} has no horizon; write {name if name in NAMED else base}_90d, or _13w, _12m, _1y"
        )
    if base not in NAMED:
        raise PQLError(text, at, f"there is no named target '{name}'; {meant(base or name, NAMED)}")
    unit, size = next(UNITS[unit] for unit in UNITS if unit.startswith(suffix[-1]))
    amount = size * int(suffix[:-1])
    if amount > LONGEST[unit]:
        raise PQLError(text, at, "a horizon is of at most 100 years")
    return Horizon(amount, unit), NAMED[base]


def _tables(text: str, using: Tree, usable: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    for token in parts(using):
        if str(token) not in usable:
            raise PQLError(text, start_of(token), f"there is nothing called '{token}' to use; {meant(token, usable)}")
    return known_tables(table for token in parts(using) for table in usable[str(token)])
