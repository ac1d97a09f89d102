"""An immutable bundle of canonical tables, and the one way to look at it as of a day.

`upto(cutoff)` is how patron keeps the future out: whoever fits or predicts is handed a database that does not hold it.
Results are memoised by identity (`eq=False`), so a function of a database may be cached with `functools.lru_cache`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from patron.days import midnight, to_date
from patron.tables.schema import ARROW, TABLES, TableSchema


@dataclass(frozen=True, eq=False)
class Database:
    """Canonical tables of one company. All eleven are there: absent ones are empty, absent columns are NULL.

    `known_until` is the cutoff this database was truncated at, or None for all that was read.
    """

    name: str
    tables: Mapping[str, pa.Table]
    known_until: date | None = None
    _cuts: dict[date, "Database"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tables) - set(TABLES))
        if unknown:
            raise ValueError(f"tables {unknown} are not canonical; patron knows {sorted(TABLES)}")
        complete = {name: _complete(schema, self.tables.get(name)) for name, schema in TABLES.items()}
        object.__setattr__(self, "tables", complete)

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]

    def upto(self, cutoff: date) -> "Database":
        """The same database as it was known at `cutoff`: rows with `time <= cutoff`; tables without a time are kept
        whole.

        Order items live and die with their order. The same object is returned for the same cutoff.
        """
        if self.known_until is not None and cutoff >= self.known_until:
            return self
        if cutoff not in self._cuts:
            self._cuts[cutoff] = Database(self.name, _truncate(self.tables, cutoff), known_until=cutoff)
        return self._cuts[cutoff]

    @cached_property
    def first_day(self) -> date:
        """The date of the earliest order. Raises ValueError when there is none."""
        return to_date(self._order_extreme("min"))

    @cached_property
    def last_day(self) -> date:
        """The date of the latest order. Raises ValueError when there is none."""
        return to_date(self._order_extreme("max"))

    @cached_property
    def has_products(self) -> bool:
        """Whether any order item names a product."""
        items = self["order_items"]["product_id"]
        return items.null_count < len(items)

    def _order_extreme(self, which: str) -> object:
        value = pc.min_max(self["orders"]["order_date"])[which].as_py()
        if value is None:
            until = f" up to {self.known_until}" if self.known_until else ""
            raise ValueError(
                f"table orders of '{self.name}' has no rows{until}; choose a later cutoff or check the data"
            )
        return value


def _truncate(tables: Mapping[str, pa.Table], cutoff: date) -> dict[str, pa.Table]:
    limit = pa.scalar(midnight(cutoff), pa.timestamp("us"))
    kept = {name: _known(table, TABLES[name].time, limit) for name, table in tables.items()}
    items = kept["order_items"]
    kept["order_items"] = items.filter(
        pc.is_in(items["order_id"], value_set=kept["orders"]["order_id"].combine_chunks())
    )
    return kept


def _known(table: pa.Table, time: str | None, limit: pa.Scalar) -> pa.Table:
    if time is None:
        return table
    known = pc.less_equal(table[time], limit)
    return table.filter(pc.fill_null(known, True))  # only customers may have no date: known from the beginning


def _complete(schema: TableSchema, table: pa.Table | None) -> pa.Table:
    if table is None:
        return pa.table({column.name: pa.array([], ARROW[column.kind]) for column in schema.columns})
    for column in schema.columns:
        if column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(table.num_rows, ARROW[column.kind]))
    return table
