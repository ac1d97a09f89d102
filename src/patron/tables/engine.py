"""Where SQL runs: DuckDB, in this process, on the Arrow tables of a `Database` without copying them; or another engine
that has the same tables, by the same SQL (`patron.tables.spark`).

Money is summed as DECIMAL(18, 4) and time as whole seconds or minutes, so that a sum does not depend on the order of
the rows or on the number of threads: features are bit-identical from run to run, and the same on every engine.
"""

import atexit
import ctypes
import os
import threading
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import pyarrow as pa

from patron.tables.database import Database

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    import duckdb


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
    connection = _connections.of(db)
    given = [name for name, value in params.items() if isinstance(value, pa.Table)]
    try:
        for name in given:
            connection.register(name, params.pop(name))
        return connection.sql(sql, params=params or None).to_arrow_table()
    finally:
        for name in given:
            connection.unregister(name)


class _Connections(threading.local):
    """Of this thread, one a database, which has its tables and goes when it goes. All threads share one instance of
    DuckDB: to start one, and to register the tables, takes twenty times as long as a small query."""

    def __init__(self, instance: "_lru_cache_wrapper[duckdb.DuckDBPyConnection]") -> None:
        self.instance = instance
        self.open: WeakKeyDictionary[Database, duckdb.DuckDBPyConnection] = WeakKeyDictionary()

    def of(self, db: Database) -> "duckdb.DuckDBPyConnection":
        if db not in self.open:
            connection = self.instance().cursor()
            for name, table in db.tables.items():
                connection.register(name, table)
            self.open[db] = connection
        return self.open[db]


def _start() -> "duckdb.DuckDBPyConnection":
    import duckdb  # what is called when Python ends must not hold the module: it would report a leak

    instance = duckdb.connect()
    instance.execute("SET GLOBAL TimeZone = 'UTC'")
    return instance


def _start_anew() -> None:
    # In a forked process DuckDB's threads are missing: what the parent has opened can be neither used nor closed there.
    global _connections
    for left in (_connections, _connections.instance):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
    _connections = _Connections(cache(_start))


def _close() -> None:
    # While Python can still do so in order.
    _connections.open.clear()
    _connections.instance.cache_clear()


_connections = _Connections(cache(_start))
os.register_at_fork(after_in_child=_start_anew)
atexit.register(_close)
