"""Another future and other names: what must change does, and nothing else."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from patron.tables.database import Database
from patron.tables.scramble import Renaming, scrambled_after
from patron.testing import small_shop

CUTOFF = date(2021, 4, 1)


def tiny(customers: list, orders: list, days: list[str]) -> Database:
    """Customers, an order of each on its day, without products; one return of the first order."""
    when = pa.array(pd.to_datetime(days).astype("datetime64[us]"))
    return Database("tiny", {
        "customers": pa.table({"customer_id": customers}),
        "orders": pa.table({"order_id": orders, "customer_id": customers, "order_date": when}),
        "order_items": pa.table({"order_id": orders, "amount": [1.0] * len(orders)}),
        "returns": pa.table({
            "return_id": [900], "order_id": orders[:1], "customer_id": customers[:1], "return_date": when[:1],
            "refund_amount": [1.0],
        }),
    })  # fmt: skip


# Another future (that it changes all and nothing else is in test_no_leakage.py)


def test_windows_that_have_closed_stay_closed() -> None:
    """All orders of the future may be gone, and still the data were read up to where they were read."""
    shop = tiny([1, 2, 3], [10, 20, 30], ["2021-01-01", "2021-03-01", "2021-05-01"])
    for seed in range(10):
        other = scrambled_after(shop, cutoff=CUTOFF, seed=seed)
        assert other.read_until is not None
        assert other.read_until >= date(2021, 5, 1)
        gone = other["orders"].num_rows == 2
        assert (other["order_items"].num_rows == 2) == gone
        assert other["order_items"]["order_id"].to_pylist()[:2] == [10, 20]
    assert {scrambled_after(shop, cutoff=CUTOFF, seed=k)["orders"].num_rows for k in range(10)} == {2, 3}


def test_columns_of_a_company_that_are_called_like_money_are_left_alone() -> None:
    shop = tiny([1, 2, 3], [10, 20, 30], ["2021-01-01", "2021-05-01", "2021-05-02"])
    table = (
        shop["orders"].append_column("value", pa.array(["a", "b", "c"])).append_column("quantity", pa.array([1, 2, 3]))
    )
    other = scrambled_after(Database("named", {**shop.tables, "orders": table}), cutoff=CUTOFF)
    assert set(other["orders"]["value"].to_pylist()) <= {"a", "b", "c"}
    assert other["orders"]["quantity"].type == pa.int64()


class Whole(Database):
    """A database whose past is everything."""

    def upto(self, cutoff: date) -> "Whole":
        return self


def test_a_database_that_forgets_nothing_is_scrambled_too() -> None:
    shop = small_shop(customers=30)
    other = scrambled_after(Whole("whole", shop.tables), cutoff=CUTOFF)
    assert isinstance(other, Whole)
    assert other["orders"].equals(scrambled_after(shop, cutoff=CUTOFF)["orders"])
    assert other.upto(CUTOFF) is other  # and not what the original remembered


# Other names


@pytest.mark.parametrize(
    ("customers", "expected"),
    [
        ([3, 7, 5], [8, 12, 10]),  # the width is 5: none of the new ids is an old one
        (["b", "a"], ["renamed-b", "renamed-a"]),
        ([2**63 - 2, 2**63 - 1], [2**63 - 4, 2**63 - 3]),  # no room above
        ([-(2**63), 5], [-(2**63) + 1, 6]),  # nor for the whole width anywhere: by one
    ],
)
def test_customers_get_new_ids_in_their_order(customers: list, expected: list) -> None:
    shop = tiny(customers, list(range(len(customers))), ["2021-01-01"] * len(customers))
    renaming = Renaming.of(shop)
    renamed = renaming.database(shop)
    assert renamed["customers"]["customer_id"].to_pylist() == expected
    assert renamed["orders"]["customer_id"].to_pylist() == expected
    assert renamed["returns"]["customer_id"].to_pylist() == expected[:1]
    assert renaming.customers(pd.Series(customers)).tolist() == expected


def test_orders_are_renamed_wherever_they_stand_and_nothing_else() -> None:
    shop = small_shop(customers=30)
    renamed, number = Renaming.of(shop).database(shop), shop["orders"].num_rows
    for name, table in shop.tables.items():
        for column in table.column_names:
            old, new = table[column].to_pandas(), renamed[name][column].to_pandas()
            shift = {"order_id": number, "customer_id": 35}.get(column)  # 30 customers and five newcomers
            if shift and len(old):
                np.testing.assert_array_equal(new - old, shift, err_msg=f"{name}.{column}")
            else:
                assert renamed[name][column].equals(table[column]), f"{name}.{column}"


def test_absent_ids_stay_absent() -> None:
    shop = tiny([1, 2], [10, 20], ["2021-01-01", "2021-01-02"])
    lost = shop["returns"].set_column(1, "order_id", pa.array([None], pa.int64()))
    renamed = Renaming.of(shop).database(Database("lost", {**shop.tables, "returns": lost}))
    assert renamed["returns"]["order_id"].to_pylist() == [None]
    assert renamed["order_events"].num_rows == 0
