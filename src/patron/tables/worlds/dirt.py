"""Errors planted in clean tables, each of one kind in a row of its own, so that a report of them can be checked.

Repair gives back what was there: what it drops was added here, as a changed copy of a sound row under a key of its own;
what it sets to NULL was sound before. Orders and their amounts after a repair are those of the clean world.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from patron.tables.schema import TABLES, Column, TableSchema

FUTURE = np.datetime64("2999-12-31", "us")
UNKNOWN = -(10**12)  # no id is near
TOO_EARLY = timedelta(days=40)  # no return or event of an order is so late


@dataclass(frozen=True)
class Dirty:
    """Tables with errors, and how many rows were given which: by table, column, and how validation's rule begins."""

    tables: Mapping[str, pa.Table]
    planted: Mapping[tuple[str, str, str], int]


@dataclass(frozen=True)
class _Plant:
    """One kind of error. `change` makes bad values of good ones; `added` says that it does so in copies of the rows."""

    column: str
    rule: str
    change: Callable[[pa.Array], pa.Array]
    added: bool


def dirty(tables: Mapping[str, pa.Table], *, share: float, rng: np.random.Generator) -> Dirty:
    """The tables with an error for a `share` of the rows of each, all kinds in turn; 0 leaves them alone."""
    soiled, planted = dict(tables), Counter[tuple[str, str, str]]()
    for name, table in tables.items() if share else ():
        plants = [*_plants(TABLES[name], table.column_names)]
        rows = rng.permutation(table.num_rows)[: round(share * table.num_rows)]
        for k, plant in enumerate(plants):
            chosen = np.sort(rows[k :: len(plants)])
            if len(chosen):
                soiled[name] = _with(soiled[name], plant, chosen=chosen, key=TABLES[name].key)
                planted[name, plant.column, plant.rule] = len(chosen)
    return Dirty(soiled, planted)


def _plants(schema: TableSchema, present: list[str]) -> Iterator[_Plant]:
    first = schema.columns[0].name  # the key, or what must not be missing in a table without one
    yield _Plant(first, "NULL", lambda good: pa.nulls(len(good), good.type), added=True)
    if schema.key:
        yield _Plant(first, "exact copies of a row", lambda good: good, added=True)
    for column in schema.columns:
        if column.name in present:
            yield from _column_plants(column, follows=schema.name in ("returns", "order_events"))


def _column_plants(column: Column, *, follows: bool) -> Iterator[_Plant]:
    added = not column.nullable
    if column.references:
        yield _Plant(column.name, f"not in table {column.references}", _all(UNKNOWN), added)
    if column.kind == "date":
        yield _Plant(column.name, "in the future", _all(FUTURE), added)
        if follows:  # repair keeps such a return and forgets its order
            early = pa.scalar(TOO_EARLY, pa.duration("us"))
            in_place = column.name == "return_date"
            yield _Plant(column.name, "before its order", lambda good: pc.subtract(good, early), added=not in_place)
    if column.minimum is not None:
        yield _Plant(column.name, f"below {column.minimum:g}", lambda good: pc.subtract(pc.negate(good), 1), added)


def _all(value: int | np.datetime64) -> Callable[[pa.Array], pa.Array]:
    return lambda good: pa.array(np.full(len(good), value))


def _with(table: pa.Table, plant: _Plant, *, chosen: np.ndarray, key: str | None) -> pa.Table:
    # The first rows of `table` are the sound ones, in their order, whatever was added before.
    rows, place = table.take(pa.array(chosen)), table.column_names.index(plant.column)
    bad = plant.change(rows[plant.column].combine_chunks())
    if not plant.added:
        mask = np.zeros(table.num_rows, dtype=bool)
        mask[chosen] = True
        values = pc.replace_with_mask(table[plant.column].combine_chunks(), mask, bad)
        return table.set_column(place, plant.column, values)
    copies = rows.set_column(place, plant.column, bad)
    if key and key != plant.column:  # else they would also differ under one key
        copies = copies.set_column(0, key, pc.subtract(-1, copies[key]))
    return pa.concat_tables([table, copies])
