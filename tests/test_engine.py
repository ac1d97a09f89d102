"""SQL on the tables of a database: each sees its own, in every thread and in a forked process, and none is kept."""

import gc
import multiprocessing
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from patron.tables.database import Database
from patron.tables.engine import query

SUM = "SELECT COUNT(*) AS n, SUM(order_id) AS s FROM orders"


def shop(*order_ids: int) -> Database:
    days = [datetime(2020, 1, 1) + timedelta(days=k) for k in range(len(order_ids))]
    orders = {
        "order_id": order_ids,
        "customer_id": [1] * len(order_ids),
        "order_date": pa.array(days, pa.timestamp("us")),
    }
    return Database("shop", {"customers": pa.table({"customer_id": [1]}), "orders": pa.table(orders)})


def found(db: Database, sql: str = SUM, **params: object) -> tuple[object, ...]:
    (row,) = query(db, sql, **params).to_pylist()
    return tuple(row.values())


def test_each_database_sees_its_own_tables() -> None:
    one, other = shop(1, 2, 3), shop(10)
    past = one.upto(date(2020, 1, 1))
    for _ in range(2):
        assert found(one) == (3, 6)
        assert found(other) == (1, 10)
        assert found(past) == (1, 1)


def test_a_table_that_is_given_is_there_for_one_query_only() -> None:
    db, sql = shop(1, 2, 3), "SELECT COUNT(*) AS n FROM orders JOIN chosen USING (order_id)"
    assert found(db, sql, chosen=pa.table({"order_id": [1, 2]})) == (2,)
    assert found(db, sql, chosen=pa.table({"order_id": [3, 4, 5]})) == (1,)
    with pytest.raises(Exception, match="chosen"):
        found(db, sql)
    with pytest.raises(Exception, match="nonsense"):
        found(db, "SELECT nonsense FROM chosen", chosen=pa.table({"order_id": [1]}))
    assert found(db, sql, chosen=pa.table({"order_id": [1]})) == (1,)


def test_times_are_in_utc_wherever_the_machine_is() -> None:
    sql = "SELECT current_setting('TimeZone') AS zone, CAST(TIMESTAMPTZ '2020-01-01 00:30:00+01' AS DATE) AS day"
    assert found(shop(1), sql) == ("UTC", date(2019, 12, 31))


def test_threads_ask_at_the_same_time() -> None:
    shops = [shop(*range(k, k + 50)) for k in range(20)]
    expected = [found(db) for db in shops]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(found, shops)) == expected


def test_a_database_that_is_let_go_takes_its_tables_along() -> None:
    db = shop(1, 2)
    table, held = weakref.ref(db["orders"]), pa.total_allocated_bytes()
    assert found(db) == (2, 3)
    del db
    gc.collect()
    assert table() is None
    assert pa.total_allocated_bytes() < held


def test_a_forked_process_asks_too() -> None:
    db, other = shop(1, 2, 3), shop(10)
    assert found(db) == (3, 6)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(found, [db, other, db]).get(timeout=60) == [(3, 6), (1, 10), (3, 6)]
    assert found(db) == (3, 6)


FORKED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_engine import found, shop
db = shop(1, 2, 3)
assert found(db) == (3, 6)
child = os.fork()
assert found(db) == (3, 6)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_ends_too() -> None:
    """It neither waits for threads that it does not have nor closes what its parent has opened."""
    call = [sys.executable, "-c", FORKED, str(Path(__file__).parent)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
