"""A company's own files under canonical names, and every message that a wrong mapping earns."""

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError

from patron.tables.read import FilesConfig, TableConfig, UnreadableTables, packaged_file, read_files
from patron.tables.sources import CdnowConfig, DataConfig, label, read

CUSTOMERS = "Customer,City\n00123,Oslo\n00456,Bergen\n"
ORDERS = "Invoice,Customer,Date\n#1,00123,2024-01-02\n#2,00456,2024-01-03\n"
LINES = (
    "Invoice;Customer;Date;Sku;Qty;Price;Note\n"
    "#2;00456;2024-01-03;A;1;2,50;gift\n"
    "#1;00123;2024-01-02 10:05:00;A;2;2,50;\n"
    "#1;00123;2024-01-02 10:04:00;B;1;4,00;\n"
)
LINE_COLUMNS = {
    "order_id": "Invoice", "customer_id": "Customer", "order_date": "Date",
    "product_id": "Sku", "quantity": "Qty", "price": "Price",
}  # fmt: skip


def files(folder: Path, **tables: dict[str, Any]) -> dict[str, pa.Table]:
    return read(TypeAdapter(DataConfig).validate_python({"name": "files", "path": str(folder), "tables": tables}))


def problems(folder: Path, **tables: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(UnreadableTables) as caught:
        files(folder, **tables)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "lines.csv").write_text(LINES)
    return tmp_path


def test_csv_is_read_as_text_so_that_ids_keep_their_zeros(shop: Path) -> None:
    tables = files(
        shop,
        customers={"file": "customers.csv", "columns": {"customer_id": "Customer"}},
        orders={
            "file": "orders.csv",
            "columns": {k: LINE_COLUMNS[k] for k in ("order_id", "customer_id", "order_date")},
        },
    )
    assert tables["customers"].to_pydict() == {"customer_id": ["00123", "00456"], "City": ["Oslo", "Bergen"]}
    assert tables["orders"].to_pydict() == {
        "order_id": ["#1", "#2"],  # a '#' starts no comment
        "customer_id": ["00123", "00456"],
        "order_date": ["2024-01-02", "2024-01-03"],
    }
    assert set(tables) == {"customers", "orders"}


def test_tab_separated_and_compressed_files_are_csv_too(tmp_path: Path) -> None:
    (tmp_path / "customers.tsv").write_text(CUSTOMERS.replace(",", "\t"))
    (tmp_path / "customers.csv.gz").write_bytes(gzip.compress(CUSTOMERS.encode()))
    columns = {"customer_id": "Customer", "geo": "City"}
    tabs = files(tmp_path, customers={"file": "customers.tsv", "columns": columns})
    zipped = files(tmp_path, customers={"file": "customers.csv.gz", "columns": columns})
    assert tabs["customers"].to_pydict() == zipped["customers"].to_pydict()
    assert tabs["customers"].to_pydict() == {"customer_id": ["00123", "00456"], "geo": ["Oslo", "Bergen"]}


def test_a_column_that_has_its_canonical_name_in_any_case_needs_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("Customer_ID,GEO,geo2\n1,NO,x\n")
    assert files(tmp_path, customers={"file": "c.csv"})["customers"].column_names == ["customer_id", "geo", "geo2"]


def test_a_column_that_collides_with_a_mapped_one_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("customer_id,email\n1,a@b\n")
    customers = files(tmp_path, customers={"file": "c.csv", "columns": {"customer_id": "email"}})["customers"]
    assert customers.to_pydict() == {"customer_id": ["a@b"]}


def test_a_mapped_column_is_not_used_a_second_time_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("order_id,price\n1,10\n")
    items = files(tmp_path, order_items={"file": "i.csv", "columns": {"amount": "price"}})["order_items"]
    assert items.to_pydict() == {"order_id": ["1"], "amount": ["10"]}


def test_parquet_keeps_its_types_and_derives_amounts(tmp_path: Path) -> None:
    items = pa.table({"order_id": [1, 1], "quantity": pa.array([2, 3], pa.int32()), "price": [1.5, 2.0]})
    pq.write_table(items, tmp_path / "items.parquet")
    read_items = files(tmp_path, order_items={"file": "items.parquet"})["order_items"]
    assert read_items.schema.field("order_id").type == pa.int64()
    assert read_items.schema.field("quantity").type == pa.int32()
    assert read_items["amount"].to_pylist() == [3.0, 6.0]


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for region, ids in (("01", ["a"]), ("02", ["b", "c"])):
        folder = tmp_path / "customers [all]" / f"geo={region}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"customer_id": ids}), folder / "part.parquet")
    customers = files(tmp_path, customers={"file": "customers [all]"})["customers"]
    assert sorted(customers["customer_id"].to_pylist()) == ["a", "b", "c"]
    assert sorted(customers["geo"].to_pylist()) == ["01", "02", "02"]


def test_duckdb_tables_are_read_by_name(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE customers AS SELECT 7 AS customer_id, DATE '2024-01-01' AS registration_date")
        connection.execute("CREATE SCHEMA sales")
        connection.execute(
            "CREATE VIEW sales.\"all orders\" AS SELECT 1 AS no, 7 AS customer_id, DATE '2024-01-02' AS day"
        )
    orders = {"table": "sales.all orders", "columns": {"order_id": "no", "order_date": "day"}}
    tables = files(tmp_path / "shop.duckdb", customers={}, orders=orders)
    assert tables["customers"].schema.field("registration_date").type == pa.date32()
    assert tables["orders"].column_names == ["order_id", "customer_id", "order_date"]
    again = files(tmp_path, orders={"file": "shop.duckdb", **orders})
    assert again["orders"].equals(tables["orders"])


def test_a_file_of_lines_becomes_orders_order_items_and_customers(shop: Path) -> None:
    tables = files(shop, orders={"file": "lines.csv", "columns": LINE_COLUMNS})
    assert tables["orders"].to_pydict() == {
        "order_id": ["#2", "#1"],
        "customer_id": ["00456", "00123"],
        "order_date": ["2024-01-03", "2024-01-02 10:04:00"],  # the earliest of the lines
    }
    assert tables["order_items"].to_pydict() == {
        "order_id": ["#2", "#1", "#1"], "product_id": ["A", "A", "B"], "quantity": ["1", "2", "1"],
        "price": ["2,50", "2,50", "4,00"], "Note": ["gift", None, None],
    }  # fmt: skip
    assert tables["customers"].to_pydict() == {
        "customer_id": ["00456", "00123"],
        "registration_date": [datetime(2024, 1, 3), datetime(2024, 1, 2, 10, 4)],
    }


def test_orders_that_carry_an_amount_are_their_own_items(tmp_path: Path) -> None:
    orders = pa.table(
        {"order_id": [1, 2], "customer_id": [7, 7], "order_date": ["02.01.2024", "1.1.24"], "amount": [5.0, 6.0]}
    )
    pq.write_table(orders, tmp_path / "orders.parquet")
    tables = files(tmp_path, orders={"file": "orders.parquet"})
    assert tables["orders"].column_names == ["order_id", "customer_id", "order_date"]
    assert tables["order_items"].to_pydict() == {"order_id": [1, 2], "amount": [5.0, 6.0]}
    assert tables["customers"]["registration_date"].to_pylist() == [None]  # text that SQL reads as no date


def test_orders_stay_whole_when_there_are_items(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("order_id,customer_id,order_date,amount\n1,7,2024-01-01,5\n")
    (tmp_path / "items.csv").write_text("order_id,amount\n1,5\n")
    tables = files(tmp_path, orders={"file": "orders.csv"}, order_items={"file": "items.csv"})
    assert tables["orders"]["amount"].to_pylist() == ["5"]


def test_an_order_of_two_customers_is_refused_by_name(tmp_path: Path) -> None:
    lines = ["1,7,2024-01-01,5", "1,8,2024-01-01,5", "2,8,2024-01-01,5", "2,,2024-01-01,5"]
    (tmp_path / "orders.csv").write_text("\n".join(["order_id,customer_id,order_date,amount", *lines]))
    (problem,) = problems(tmp_path, orders={"file": "orders.csv"})
    assert problem.startswith("table orders, column customer_id: 1 order(s) have more than one customer, the first 1;")


def test_all_problems_of_all_tables_are_found_at_once(shop: Path) -> None:
    found = problems(
        shop,
        custmers={"file": "customers.csv"},
        customers={"file": "customer.csv"},
        orders={"file": "orders.csv", "columns": {"ordr_id": "Invoice", "order_date": "Datum"}},
    )
    assert found == (
        "patron has no table 'custmers' (nearest: customers); it has customers, orders, order_items, products, "
        "categories, order_events, interactions, returns, loyalty, campaigns, external",
        f"table customers: there is no {shop}/customer.csv (nearest: customers.csv, orders.csv). "
        f"{shop} holds: customers.csv, lines.csv, orders.csv",
        "table orders has no canonical column 'ordr_id' (nearest: order_id, order_date); it has order_id, customer_id, "
        "order_date, channel, product_id, quantity, price, amount",
        f"table orders: {shop}/orders.csv has no column 'Datum' to be order_date (nearest: Date); "
        "it has Invoice, Customer, Date",
    )


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("orders.csv", b"", "is empty"),
        ("orders.csv", b"order_id,customer_id,order_date\n", "has columns but no rows"),
        (
            "orders.csv",
            b"order_id^customer_id\n1^2\n",
            "has only one column, 'order_id^customer_id'; separate the columns",
        ),
        ("orders.csv", b"order_id,customer_id\n1,caf\xe9\n", "not utf-8"),
        ("orders.csv", b"order_id,amount\n" + b"1,2\n" * 30_000 + b"3\n", "Line: 30002"),
        ("orders.parquet", b"no parquet", "cannot be read"),
        ("orders.duckdb", b"no database", "cannot be read"),
        ("orders.xlsx", b"a workbook", "is none of the files patron reads: .csv, .tsv"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, file: str, content: bytes, expected: str) -> None:
    (tmp_path / file).write_bytes(content)
    (problem,) = problems(tmp_path, orders={"file": file})
    assert problem.startswith(f"table orders: {tmp_path / file} ")
    assert expected in problem


def test_a_table_that_the_database_does_not_hold_is_named_with_those_it_holds(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE Bestellungen (a INT); CREATE TABLE order_list (a INT)")
    (problem,) = problems(tmp_path / "shop.duckdb", orders={})
    assert problem.endswith("holds no table 'orders' (nearest: order_list); it holds Bestellungen, order_list")


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "shop", orders={"file": "a.csv"}) == (
        f"table orders: there is no {tmp_path}/shop/a.csv. There is no folder {tmp_path}/shop either",
    )
    assert problems(tmp_path, orders={}) == (
        f"table orders: say which `file` in the folder holds it. {tmp_path} holds: nothing",
    )
    (tmp_path / "parts").mkdir()
    assert "cannot be read" in problems(tmp_path, orders={"file": "parts"})[0]


def test_the_config_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="colums"):
        files(tmp_path, orders={"file": "a.csv", "colums": {}})
    with pytest.raises(ValidationError, match="validation"):
        TypeAdapter(DataConfig).validate_python({"name": "cdnow", "validation": "lax"})
    with pytest.raises(ValidationError, match="complete_journey"):
        TypeAdapter(DataConfig).validate_python({"name": "amazon"})


def test_the_label_is_given_or_that_of_the_folder(tmp_path: Path) -> None:
    tables = {"orders": TableConfig(file="orders.csv")}
    assert label(FilesConfig(path=tmp_path / "shop", tables=tables)) == "shop"
    assert label(FilesConfig(path=tmp_path, tables=tables, label="My shop")) == "My shop"
    assert label(CdnowConfig()) == "cdnow"


def test_a_package_that_is_not_installed_is_refused_with_the_mend() -> None:
    with pytest.raises(
        UnreadableTables, match=r"a\.txt of the Python package not_there is not installed; pip install it"
    ):
        packaged_file("a.txt", package="not_there", mend="pip install it")


def test_reading_twice_gives_the_same_rows(shop: Path) -> None:
    config = FilesConfig(path=shop, tables={"orders": TableConfig(file="lines.csv", columns=LINE_COLUMNS)})
    first, second = read_files(config), read_files(config)
    assert all(first[name].equals(second[name]) for name in first)
