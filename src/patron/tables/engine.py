"""Where SQL runs: DuckDB, in this process, on the Arrow tables of a `Database` without copying them.

Money is summed as DECIMAL(18, 4) and time as whole seconds or minutes, so that a sum does not depend on the order of
the rows or on the number of threads: features are bit-identical from run to run.
"""

from typing import Any

import duckdb
import pyarrow as pa

from patron.tables.database import Database


def query(db: Database, sql: str, **params: Any) -> pa.Table:
    """The result of `sql` on the tables of `db`, with `$name` taken from `params`. A param that is an Arrow table is
    a table in SQL."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in db.tables.items():
            connection.register(name, table)
        for name in [name for name, value in params.items() if isinstance(value, pa.Table)]:
            connection.register(name, params.pop(name))
        return connection.sql(sql, params=params or None).to_arrow_table()
