"""Where SQL runs: DuckDB, in this process, on the Arrow tables of a `Database` without copying them; or another engine
that has the same tables, by the same SQL (`patron.tables.spark`).

Money is summed as DECIMAL(18, 4) and time as whole seconds or minutes, so that a sum does not depend on the order of
the rows or on the number of threads: features are bit-identical from run to run, and the same on every engine.
"""

from datetime import date
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from patron.tables.database import Database


class Engine(Protocol):
    """The tables of a company on an engine of their own, with what tasks and features ask of them. Names mean what
    they mean of a `Database`."""

    @property
    def name(self) -> str: ...
    @property
    def known_until(self) -> date | None: ...
    @property
    def read_until(self) -> date | None: ...
    @property
    def first_day(self) -> date: ...
    @property
    def last_day(self) -> date: ...
    def upto(self, cutoff: date) -> "Engine": ...
    def schema(self, table: str) -> pa.Schema: ...
    def query(self, sql: str, **params: Any) -> pa.Table: ...
    def __hash__(self) -> int: ...


Tables = Database | Engine  # what SQL can be asked of


def query(db: Tables, sql: str, **params: Any) -> pa.Table:
    """The result of `sql`, in DuckDB's dialect, on the tables of `db`, with `$name` taken from `params`. A param that
    is an Arrow table is a table in SQL."""
    return _on_duckdb(db, sql, params) if isinstance(db, Database) else db.query(sql, **params)


def _on_duckdb(db: Database, sql: str, params: dict[str, Any]) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in db.tables.items():
            connection.register(name, table)
        for name in [name for name, value in params.items() if isinstance(value, pa.Table)]:
            connection.register(name, params.pop(name))
        return connection.sql(sql, params=params or None).to_arrow_table()
