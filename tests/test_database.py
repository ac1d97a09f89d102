"""What a database knows at a cutoff: `time <= midnight` to the microsecond, and order items with their orders."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.schema import TABLES
from patron.tables.validate import validate

CUTOFF = date(2020, 3, 1)
TICK = timedelta(microseconds=1)
AT, LATER = midnight(CUTOFF), midnight(CUTOFF) + TICK


def table(**columns: Sequence[Any]) -> pa.Table:
    return pa.table({name: _column(list(values)) for name, values in columns.items()})


def _column(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.timestamp("us") if any(isinstance(value, datetime) for value in values) else None)


def make_shop() -> Database:
    """Order 3 is placed one microsecond after the cutoff; items name orders out of order, one of them twice."""
    return Database(
        "shop",
        {
            "customers": table(customer_id=[1, 2, 3], registration_date=[AT, None, LATER]),
            "orders": table(order_id=[3, 1, 2], customer_id=[3, 1, 2], order_date=[LATER, AT - TICK, AT]),
            "order_items": table(order_id=[2, 3, 1, 2], product_id=[7, 7, 8, 8], amount=[1.0, 2.0, 4.0, 8.0]),
            "products": table(product_id=[7, 8, 9]),
        },
    )


def column(db: Database, name: str, key: str) -> list[Any]:
    return db[name][key].to_pylist()


@pytest.mark.parametrize("name", sorted(name for name, schema in TABLES.items() if schema.time))
def test_every_table_with_a_time_ends_at_midnight(name: str) -> None:
    time = str(TABLES[name].time)
    instants = [LATER, AT, AT - TICK, AT + timedelta(days=9)]
    rows = table(order_id=["a", "b", "c", "d"], customer_id=["e", "f", "g", "h"], **{time: instants})
    orders = table(order_id=["a"], customer_id=["g"], order_date=[AT])
    past = Database("shop", {"orders": orders, name: rows}).upto(CUTOFF)
    assert column(past, name, time) == [AT, AT - TICK]


def test_only_customers_may_have_no_date() -> None:
    assert column(make_shop().upto(CUTOFF), "customers", "customer_id") == [1, 2]


def test_timestamps_of_any_unit_are_cut_alike() -> None:
    for unit in ("s", "ms", "us", "ns"):
        stored = pa.array([datetime(2020, 2, 29, 23, 59, 59), AT, AT + timedelta(seconds=1)], pa.timestamp(unit))
        orders = pa.table({"order_id": ["a", "b", "c"], "order_date": stored})
        assert column(Database("shop", {"orders": orders}).upto(CUTOFF), "orders", "order_id") == ["a", "b"]


def test_order_items_live_and_die_with_their_order() -> None:
    shop = make_shop()
    assert query(shop.upto(CUTOFF), "SELECT order_id, amount FROM order_items").to_pydict() == {
        "order_id": [2, 1, 2],
        "amount": [1.0, 4.0, 8.0],
    }
    assert column(shop.upto(CUTOFF - timedelta(days=1)), "order_items", "order_id") == []
    assert shop["order_items"].num_rows == 4


def test_tables_without_a_time_are_whole() -> None:
    assert column(make_shop().upto(date(1990, 1, 1)), "products", "product_id") == [7, 8, 9]


def test_the_same_cutoff_gives_the_same_object() -> None:
    shop = make_shop()
    past = shop.upto(CUTOFF)
    assert shop.upto(date(2020, 3, 1)) is past
    assert shop.upto(date(2020, 3, 2)) is not past
    assert make_shop().upto(CUTOFF) is not past
    assert (shop.known_until, past.known_until) == (None, CUTOFF)


def test_a_truncated_database_does_not_grow_again() -> None:
    shop = make_shop()
    past = shop.upto(CUTOFF)
    assert past.upto(CUTOFF) is past
    assert past.upto(date(2030, 1, 1)) is past
    earlier = past.upto(date(2020, 2, 29))
    assert earlier.known_until == date(2020, 2, 29)
    assert earlier["orders"].num_rows == 0
    assert past["orders"].num_rows == 2


def test_absent_tables_are_empty_and_absent_columns_are_null() -> None:
    shop = make_shop()
    assert set(shop.tables) == set(TABLES)
    assert shop["returns"].num_rows == shop["categories"].num_rows == 0
    assert shop["returns"].column_names == [column.name for column in TABLES["returns"].columns]
    assert column(shop, "customers", "geo") == [None, None, None]
    asked = "SELECT COUNT(*), COUNT(price), COUNT(quantity) FROM order_items"
    assert list(query(shop, asked).to_pylist()[0].values()) == [4, 0, 0]


def test_unknown_tables_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"tables \['baskets', 'users'\] are not canonical.*customers") as caught:
        Database("shop", {"users": table(a=[1]), "orders": table(order_id=[1]), "baskets": table(a=[1])})
    assert "order_items" in str(caught.value)


def test_first_and_last_day_are_those_of_the_orders() -> None:
    shop = make_shop()
    assert (shop.first_day, shop.last_day) == (date(2020, 2, 29), date(2020, 3, 1))
    assert (shop.upto(CUTOFF).first_day, shop.upto(CUTOFF).last_day) == (date(2020, 2, 29), date(2020, 3, 1))


@pytest.mark.parametrize("which", ["first_day", "last_day"])
def test_without_orders_there_is_no_day(which: str) -> None:
    empty = Database("closed shop", {"customers": table(customer_id=[1])})
    with pytest.raises(ValueError, match="table orders of 'closed shop' has no rows; choose a later cutoff"):
        getattr(empty, which)
    with pytest.raises(ValueError, match="has no rows up to 2020-02-29; choose a later cutoff"):
        getattr(make_shop().upto(date(2020, 2, 29)), which)


def test_has_products_wants_an_item_that_names_one() -> None:
    orders = table(order_id=["a"], order_date=[AT])
    assert make_shop().has_products
    assert not Database("shop", {"orders": orders}).has_products
    assert not Database("shop", {"orders": orders, "order_items": table(order_id=["a"], amount=[1.0])}).has_products
    some = table(order_id=["a", "a"], product_id=[None, "tea"], amount=[1.0, 1.0])
    assert Database("shop", {"orders": orders, "order_items": some}).has_products


@pytest.mark.parametrize("ids", [[1, 2], ["1", "2"]], ids=["integer", "text"])
def test_a_shop_of_orders_alone_can_be_truncated(ids: list[Any]) -> None:
    """Only customers and orders are required, and integer keys stay integers."""
    raw = {
        "customers": table(customer_id=ids),
        "orders": table(order_id=ids, customer_id=ids, order_date=[AT, LATER + timedelta(seconds=1)]),
    }
    past = validate(raw, name="shop", mode="strict", today=date(2024, 1, 1)).database.upto(CUTOFF)
    assert (column(past, "orders", "order_id"), past["order_items"].num_rows) == (ids[:1], 0)


def test_whoever_has_ordered_is_a_known_customer() -> None:
    """Orders with a date and registrations with a time of day: who registers on the day of the first order is valid."""
    raw = {
        "customers": table(customer_id=[1, 2], registration_date=[AT + timedelta(hours=10), datetime(2020, 1, 1)]),
        "orders": table(order_id=[1, 2], customer_id=[1, 2], order_date=[AT, datetime(2020, 2, 1)]),
        "order_items": table(order_id=[1, 2], product_id=[7, 7], amount=[1.0, 1.0]),
    }
    past = validate(raw, name="shop", mode="strict", today=date(2024, 1, 1)).database.upto(CUTOFF)
    ordered = pc.unique(past["orders"]["customer_id"]).to_pylist()
    assert sorted(ordered) == [1, 2]
    assert set(ordered) <= set(column(past, "customers", "customer_id"))


# Which tables are seen


def test_only_some_tables_are_seen() -> None:
    shop = make_shop()
    part = shop.only(["products"])
    assert {name for name in TABLES if part[name].num_rows} == {"customers", "orders", "products"}
    assert part["order_items"].column_names == list(TABLES["order_items"].by_name)
    assert part["order_items"].schema.field("order_id").type == shop["orders"].schema.field("order_id").type
    assert part["products"] is shop["products"]
    assert (part.read_until, part.upto(CUTOFF).read_until) == (shop.read_until, shop.read_until)


def test_the_same_tables_are_the_same_object() -> None:
    shop = make_shop()
    assert shop.only(["products", "order_items"]) is shop.only(["order_items", "products", "orders"])
    assert shop.only(["order_items"]) is not shop.only(["products"])
    assert shop.only(None) is shop
    assert shop.only(TABLES) is shop
    assert shop.only(["products"]).upto(CUTOFF) is shop.only(["products"]).upto(CUTOFF)
    assert shop.upto(CUTOFF).only(["products"]).known_until == CUTOFF


@pytest.mark.parametrize(("name", "mend"), [("order_itms", "did you mean 'order_items'?"), ("weather", "patron knows")])
def test_a_table_that_nobody_knows_is_named(name: str, mend: str) -> None:
    with pytest.raises(ValueError, match=f"there is no table '{name}'; {mend}".replace("?", r"\?")):
        make_shop().only(["products", name])


def test_in_the_order_of_time_items_follow_their_orders_and_who_has_no_date_leads() -> None:
    shop = make_shop().in_order_of_time()
    assert column(shop, "orders", "order_id") == [1, 2, 3]
    assert column(shop, "order_items", "order_id") == [1, 2, 2, 3]
    assert column(shop, "order_items", "amount") == [4.0, 1.0, 8.0, 2.0]
    assert column(shop, "customers", "customer_id") == [2, 1, 3]
    assert (shop.name, shop.read_until) == (make_shop().name, make_shop().read_until)


def test_in_the_order_of_time_a_cutoff_copies_nothing() -> None:
    """It holds the same rows as any other database, and they lie where they lay."""
    shop = make_shop().in_order_of_time()
    past, other = shop.upto(CUTOFF), make_shop().upto(CUTOFF)
    for name in ("orders", "order_items"):
        rows, expected = (sorted(map(str, each[name].to_pylist())) for each in (past, other))
        assert rows == expected
        here, there = (each[name]["order_id"].chunk(0).buffers()[1].address for each in (past, shop))
        assert here == there
    assert make_shop()["orders"]["order_id"].chunk(0).buffers()[1].address != there


def test_a_fingerprint_is_of_what_the_tables_hold_and_not_of_what_lies_about() -> None:
    """Left-overs under a NULL, and behind the last row, differ from process to process."""

    def shop(under_null: int, *, last: int = 30, valid: int = 0b1011, behind: int = 0) -> Database:
        values = pa.py_buffer(np.array([10, 20, under_null, last, 50], dtype=np.int64).tobytes())
        column = pa.Array.from_buffers(pa.int64(), 5, [pa.py_buffer(bytes([valid | behind << 4])), values]).slice(0, 4)
        flags = pa.Array.from_buffers(pa.bool_(), 4, [None, pa.py_buffer(bytes([0b0101 | behind << 4]))])
        plain = {"customer_id": [1, 2, 3, 4], "score": column, "flag": flags}
        return Database("shop", {"customers": pa.table(plain)})

    assert shop(7)["customers"]["score"].to_pylist() == [10, 20, None, 30]
    assert shop(7).fingerprint == shop(8).fingerprint == shop(7, behind=1).fingerprint
    others = (shop(7, last=31), shop(7, valid=0b1101), shop(7, valid=0b1111))
    assert len({shop(7).fingerprint, *(other.fingerprint for other in others)}) == 4
