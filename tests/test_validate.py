"""Small explicit tables with planted dirt: what strict says of each kind, and what repair leaves of it."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dirt import AMOUNT, CLEAN, CORE, DIRT, ORDER, Dirt, Plant, add, arrow, each, edit

from patron.tables.schema import ARROW, TABLES, Column, TableSchema
from patron.tables.validate import InvalidTables, Report, Validated, Violation, validate

TODAY = date(2024, 6, 30)


def repair(raw: Mapping[str, pa.Table]) -> Validated:
    return validate(raw, name="shop", mode="repair", today=TODAY)


def strict(raw: Mapping[str, pa.Table]) -> Validated:
    return validate(raw, name="shop", mode="strict", today=TODAY)


def refusal(raw: Mapping[str, pa.Table], mode: Any = "strict") -> InvalidTables:
    with pytest.raises(InvalidTables) as caught:
        validate(raw, name="shop", mode=mode, today=TODAY)
    return caught.value


UNDATED = "known from the beginning: no time column"  # true of every shop's products and categories


def found(report: Report) -> list[Violation]:
    return [violation for violation in report.violations if violation.rule != UNDATED]


def rules(report: Report) -> list[tuple[str, str]]:
    return [(violation.where, violation.rule) for violation in found(report)]


def assert_accounted(raw: Mapping[str, pa.Table], done: Validated) -> None:
    """Rows read + added = rows kept + dropped, and the drops are those of the violations."""
    counts = {count.table: count for count in done.report.rows}
    for name, count in counts.items():
        assert count.read == (raw[name].num_rows if name in raw else 0)
        assert count.dropped == sum(v.dropped for v in done.report.violations if v.table == name)
        assert count.read + count.added == count.kept + count.dropped
        assert count.kept == (done.database[name].num_rows if name in TABLES else 0)
    assert set(counts) >= {name for name, table in raw.items() if table.num_rows}


@pytest.mark.parametrize("dirt", DIRT.values(), ids=DIRT.keys())
def test_strict_names_column_sample_share_and_mend(dirt: Dirt) -> None:
    error = refusal(dirt.tables)
    violation = next(v for v in error.report.of("error") if v.rule == dirt.rule and dirt.sample in v.samples)
    lines = str(error).splitlines()
    said = next(i for i, line in enumerate(lines) if dirt.rule in line and dirt.sample.strip() in line)
    assert violation.where == dirt.where
    assert all(word in lines[said] for word in (dirt.where, f" {violation.count} ", f"{violation.share:.1%}"))
    assert dirt.mend in lines[said + 1]
    assert dirt.remedy in lines[said + 1]


@pytest.mark.parametrize("dirt", DIRT.values(), ids=DIRT.keys())
def test_repair_accounts_for_every_row_and_leaves_a_valid_database(dirt: Dirt) -> None:
    raw = dirt.tables
    done = repair(raw)
    table, column = dirt.left[0].split(".")
    assert done.database[table][column].to_pylist() == dirt.left[1]
    assert_accounted(raw, done)
    again = strict(done.database.tables)
    assert not again.report.of("error")
    assert all(again.database[name].to_pydict() == done.database[name].to_pydict() for name in TABLES)


def test_clean_tables_pass_with_an_empty_report() -> None:
    done = strict(arrow(only=("customers", "orders", "order_items", "external")))
    assert strict(arrow(only=("customers", "orders"))).report.violations == ()
    assert rules(done.report) == [("products.product_id", "table not there")]
    assert rules(strict(arrow()).report) == []
    assert_accounted(arrow(), strict(arrow()))


def test_tables_without_a_time_are_said_to_be_known_from_the_beginning() -> None:
    def lines(raw: Mapping[str, pa.Table]) -> dict[str, tuple[str, int]]:
        return {v.where: (v.severity, v.count) for v in strict(raw).report.violations if v.rule == UNDATED}

    assert lines(arrow()) == {"products": ("info", 2), "categories": ("info", 2)}
    plain = arrow()
    plain["customers"] = plain["customers"].drop_columns("registration_date")
    never = arrow(each("customers", "registration_date", lambda _: None))
    for raw in (plain, never):
        assert lines(raw)["customers"] == ("info", 3)
        assert "mend: add registration_date, if it is known" in str(strict(raw).report)


CONTACTS = {
    "email": (["A@x.com ", "a@X.com", "b@x.com", None, "no e-mail"], ["1 and 2"], "e-mail address"),
    "e_mail": (["a@x.com", None, "a@x.com", "b@x.com", "b@x.com"], ["1 and 3", "4 and 5"], "e-mail address"),
    "Mobile": (["+49 30 55-55", "(49) 305555", None, "12", "12"], ["1 and 2"], "phone number"),
    "tel": ([305555123, 7, 305555123, 305555123, None], ["1 and 3"], "phone number"),
}


@pytest.mark.parametrize("column", CONTACTS)
def test_customers_who_share_a_contact_are_a_warning_that_does_not_name_it(column: str) -> None:
    values, pairs, what = CONTACTS[column]
    raw = arrow(add("customers", customer_id=4), add("customers", customer_id=5), only=CORE)
    raw["customers"] = raw["customers"].append_column(column, pa.array(values))
    report = strict(raw).report
    (warning,) = found(report)
    count = 3 if column == "tel" else 2 * len(pairs)
    assert (warning.where, warning.severity, warning.rule) == (
        f"customers.{column}", "warning", f"customers who share the {what} of another",
    )  # fmt: skip
    assert (warning.count, warning.share, warning.samples) == (count, count / 5, tuple(pairs))
    assert "merge them" in warning.mend
    said = str(report) + json.dumps(report.to_rows())
    assert not any(str(value).strip() in said for value in values if value and len(str(value)) > 5)


def test_customers_with_contacts_of_their_own_are_no_warning() -> None:
    raw = arrow(only=CORE)
    for column, values in {"email": ["a@x.com", "b@x.com", None], "newsletter": ["yes", "yes", "yes"]}.items():
        raw["customers"] = raw["customers"].append_column(column, pa.array(values))
    assert found(strict(raw).report) == []
    many = arrow(*(add("customers", customer_id=k) for k in range(4, 20)), only=CORE)
    pairs = pa.array([f"{k // 2}@x.com" for k in range(19)])
    many["customers"] = many["customers"].append_column("email", pairs)
    (warning,) = found(strict(many).report)
    assert (warning.count, warning.samples) == (18, ("1 and 2", "3 and 4", "5 and 6", "7 and 8", "9 and 10"))


def test_columns_have_the_kinds_of_the_schema_and_others_are_kept() -> None:
    raw = arrow(each("orders", "order_date", lambda moment: moment.date()), each("loyalty", "loyalty_points", Decimal))
    raw["customers"] = raw["customers"].append_column("tags", pa.array([[1], [2, 3], None]))
    db = strict(raw).database
    for name in raw:
        for column in (column for column in TABLES[name].columns if column.name in raw[name].column_names):
            expected = pa.int64() if column.kind == "id" else ARROW[column.kind]
            assert db[name][column.name].type == expected, (name, column.name)
    assert db["customers"]["tags"].equals(raw["customers"]["tags"])
    assert db["customers"]["vip"].to_pylist() == [True, False, None]


def test_other_columns_stay_beside_their_rows() -> None:
    done = repair(arrow(edit("order_items", 0, amount=-1.0), edit("order_items", 2, order_id=77), only=CORE))
    assert done.database["order_items"]["note"].to_pylist() == [None, "loose"]


def test_all_violations_are_reported_at_once() -> None:
    dirty = [edit("order_items", 0, amount=-1.0), add("orders"), edit("products", 0, category_id=9)]
    error = refusal(arrow(*dirty, only=CORE))
    category = ("products.category_id", "not in table categories")
    assert set(rules(error.report)) == {(ORDER, "exact copies of a row"), category, (AMOUNT, "below 0")}
    assert error.report.of("info")
    assert all(f"{where} " in str(error) for where, _ in rules(error.report))
    assert len(json.loads(json.dumps(error.report.to_rows()))) == len(error.report.violations)


def test_a_row_that_breaks_two_rules_is_reported_for_both_and_dropped_once() -> None:
    raw = arrow(add("orders", customer_id=9, order_date=datetime(2025, 1, 1)), only=CORE)
    counted = {v.rule: (v.count, v.dropped) for v in repair(raw).report.violations}
    assert counted["in the future, after 2024-06-30"] == (1, 1)
    assert counted["not in table customers"] == (1, 0)
    assert counted["rows that differ under one key"] == (1, 0)  # and of the two it is the sound one that stays
    assert repair(raw).database["orders"]["customer_id"].to_pylist() == [1, 2, 1]
    assert_accounted(raw, repair(raw))


def test_samples_are_five_keys_in_order_and_count_is_of_all() -> None:
    raw = arrow(*(add("orders", order_id=90 - i, customer_id=40 + i) for i in range(8)), only=CORE)
    violation = refusal(raw).report.of("error")[0]
    assert violation.samples == ("83: 47", "84: 46", "85: 45", "86: 44", "87: 43")
    assert (violation.count, violation.share) == (8, 8 / 11)


def test_a_dropped_order_takes_its_items_and_says_so() -> None:
    raw = arrow(edit("orders", 0, order_date=datetime(1900, 1, 1)))
    done = repair(raw)
    counted = {(v.where, v.rule): (v.dropped, v.fixed) for v in done.report.violations}
    assert counted[("orders.order_date", "before 1970")] == (1, 0)
    assert counted[("order_items.order_id", "its row of orders is dropped")] == (2, 0)
    assert ("order_items.order_id", "not in table orders") not in counted
    assert counted[("order_events.order_id", "its row of orders is dropped")] == (1, 0)
    assert counted[("returns.order_id", "its row of orders is dropped")] == (0, 1)
    assert "rows of order_items: 4 read = 2 kept + 2 dropped" in str(done.report)
    assert_accounted(raw, done)


def test_the_row_kept_of_a_conflict_does_not_depend_on_their_order() -> None:
    twins = [add("orders", customer_id=2, order_date=datetime(2024, 1, 4)), add("orders", customer_id=3)]
    raw = arrow(*twins, only=CORE)
    turned = raw | {"orders": raw["orders"].take([4, 3, 2, 1, 0])}
    kept = [repair(tables).database["orders"].sort_by("order_id") for tables in (raw, turned)]
    assert kept[0].equals(kept[1])


@pytest.mark.parametrize("mode", ["strict", "repair"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.pop("orders"), ["orders", "missing table", "there are customers"]),
        (lambda raw: raw.update(order=raw.pop("orders")), ["missing table", "'order' may be it: map it to 'orders'"]),
        (lambda raw: raw.update(orders=raw["orders"].slice(0, 0)), ["orders", "empty table"]),
        (
            lambda raw: raw.update(orders=raw["orders"].rename_columns(["order_id", "customer_id", "orderdate"])),
            ["orders.order_date", "missing column", "'orderdate' may be it: map it to 'order_date'", "are order_id"],
        ),
        (lambda raw: raw.update(returns=raw["returns"].drop_columns("refund_amount")), ["returns.refund_amount"]),
        (
            lambda raw: raw.update(orders=raw["orders"].append_column("order_id", raw["orders"]["order_id"])),
            ["orders.order_id", "column twice there"],
        ),
        (
            lambda raw: raw.update(orders=arrow(each("orders", "order_date", lambda _: "?"))["orders"]),
            ["orders", "no row is left after repair"],
        ),
    ],
    ids=["no table", "misnamed table", "empty table", "misnamed column", "no column", "column twice", "nothing left"],
)
def test_what_no_repair_mends_raises_in_both_modes(mode: str, change: Callable[[Any], Any], words: list[str]) -> None:
    raw = arrow(only=(*CORE, "returns"))
    change(raw)
    message = str(refusal(raw, mode))
    assert all(word in message for word in words), message


def test_an_unknown_table_is_left_out_with_a_warning() -> None:
    raw = arrow(only=CORE) | {"loyality": pa.table({"x": [1, 2]})}
    done = strict(raw)
    assert rules(done.report) == [("loyality", "unknown table")]
    assert "map it to 'loyalty'" in str(done.report)
    assert_accounted(raw, done)


def test_absent_products_and_categories_are_derived_from_their_ids() -> None:
    raw = arrow()
    raw.pop("categories")
    done = strict(raw)
    assert done.database["categories"]["category_id"].to_pylist() == [1, 2]
    raw = arrow(edit("returns", 0, product_id=300))
    del raw["products"], raw["categories"]
    done = strict(raw)
    assert done.database["products"]["product_id"].to_pylist() == [100, 101, 300]
    assert rules(done.report) == [("products.product_id", "table not there")]
    assert "one row for each id in order_items.product_id and returns.product_id" in str(done.report)
    assert_accounted(raw, done)


WARNINGS = {
    "same instant": (
        each("orders", "order_date", lambda _: datetime(2024, 1, 6)),
        ("orders.order_date", "the same instant in every order"),
    ),
    "no items": (add("orders", order_id=13), (ORDER, "no items in order_items")),
    "amount too high": (edit("order_items", 0, amount=11.0), (AMOUNT, "above quantity * price")),
}  # fmt: skip


@pytest.mark.parametrize(("plant", "expected"), WARNINGS.values(), ids=WARNINGS.keys())
def test_odd_but_legal_is_a_warning_and_changes_nothing(plant: Plant, expected: tuple[str, str]) -> None:
    done = strict(arrow(plant, only=CORE))
    assert rules(done.report) == [expected]
    assert done.report.violations[0].severity == "warning"
    assert done.database["order_items"].num_rows == 4


def test_a_missing_amount_is_quantity_times_price() -> None:
    done = strict(arrow(edit("order_items", 0, amount=None), only=CORE))
    assert done.database["order_items"]["amount"].to_pylist() == [10.0, 7.0, 5.0, 3.25]
    assert [(v.severity, v.fixed) for v in found(done.report)] == [("info", 1)]
    raw = arrow(edit("order_items", 3, quantity=1.0, price=3.0), only=CORE)
    raw["order_items"] = raw["order_items"].drop_columns("amount")
    done = strict(raw)
    assert done.database["order_items"]["amount"].to_pylist() == [10.0, 7.5, 5.0, 3.0]


IDS = {
    "text in one table": (each("orders", "customer_id", str), "customers", "integers here"),
    "padded text": (each("orders", "customer_id", lambda i: f" {i}\t"), "orders", "blanks around"),
    "floats": (each("orders", "customer_id", float), "orders", "stored with decimals"),
    "decimals": (each("orders", "customer_id", Decimal), "orders", "stored with decimals"),
    "floats as text": (each("orders", "customer_id", lambda i: f"{i}.0"), "orders", "written with decimals"),
}


@pytest.mark.parametrize(("plant", "table", "note"), IDS.values(), ids=IDS.keys())
def test_ids_of_different_types_match_as_text(plant: Plant, table: str, note: str) -> None:
    done = strict(arrow(plant, only=(*CORE, "returns")))
    assert done.database["orders"]["customer_id"].to_pylist() == ["1", "2", "1"]
    assert all(done.database[name]["customer_id"].type == pa.string() for name in ("customers", "orders", "returns"))
    assert any(v.table == table and note in v.rule and v.severity == "info" for v in done.report.violations)


ZONED = [pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns", "UTC"), pa.string()]


@pytest.mark.parametrize("stored", ZONED, ids=str)
def test_time_zones_become_naive_utc(stored: pa.DataType) -> None:
    moments = [row["order_date"] for row in CLEAN["orders"]]
    texts = ["2024-01-05T11:00:00+02:00", "2024-01-06 08:00:00Z", "2024-02-01 06:00:00-01:00"]
    zoned = pa.array(texts) if stored == pa.string() else pa.array([m.replace(tzinfo=UTC) for m in moments], stored)
    raw = arrow(only=CORE)
    raw["orders"] = raw["orders"].set_column(2, "order_date", zoned)
    done = strict(raw)
    assert done.database["orders"]["order_date"].to_pylist() == moments
    assert rules(done.report) == [("orders.order_date", "has a time zone")]


@pytest.mark.parametrize("prices", [["5.25", "1,200", "$7.50", None], ["5,25", "1.200", "7,50 €", None]], ids=str)
def test_the_column_decides_what_a_thousands_mark_is(prices: list[str | None]) -> None:
    done = repair(arrow(each("order_items", "price", prices), only=CORE))
    assert done.database["order_items"]["price"].to_pylist() == [5.25, 1200.0, 7.5, None]


def test_a_new_column_of_the_schema_brings_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = TABLES["orders"]
    status = Column("status", "text", nullable=False, allowed=("paid", "open"))
    wider = TableSchema("orders", orders.key, orders.time, (*orders.columns, status))
    monkeypatch.setitem(TABLES, "orders", wider)
    error = refusal(arrow(each("orders", "status", ["paid", "stolen", None]), only=CORE))
    assert rules(error.report)[:2] == [("orders.status", "a value not allowed"), ("orders.status", "NULL")]
    assert "11: stolen" in str(error)
    assert "write one of 'paid', 'open'" in str(error)
