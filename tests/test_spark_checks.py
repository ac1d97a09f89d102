"""Validation on Spark, local[2]: it refuses what validation in DuckDB refuses, and names the same rows.

It needs pyspark, sqlglot and Java, and is skipped where one of them is not there.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirt import CLEAN, DIRT, Plant, arrow, edit

from patron.tables.checks.report import InvalidTables, Report
from patron.tables.spark import read_parquet
from patron.tables.spark_checks import check
from patron.tables.validate import validate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytest.importorskip("sqlglot")
pytest.importorskip("pyspark.sql")

TODAY = date(2024, 6, 30)
# Not what is written in text: Spark stores numbers and dates.
KINDS = {name: dirt for name, dirt in DIRT.items() if "notation" not in dirt.rule and "not a " not in dirt.rule}
NOT_HERE = ("first day of all",)  # Spark does not read a date of the year 1 that others wrote
# Two of these would be about one row.
APART = (
    "exact copy", "conflict", "null", "order without customer", "future", "null amount", "absurd date", "early return",
)  # fmt: skip


def checked(spark: "SparkSession", tables: Mapping[str, pa.Table], folder: Path) -> Report:
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return check(read_parquet(spark, path=str(folder), name="dirty"), today=TODAY)


def found(report: Report) -> set[tuple[str, str, int, str]]:
    return {(v.where, v.rule, v.count, v.severity) for v in report.violations if "time column" not in v.rule}


def test_clean_tables_pass_and_what_is_odd_is_said_alike(spark: "SparkSession", tmp_path: Path) -> None:
    tables = arrow(edit("order_items", 1, amount=9.0))
    ours, duckdb = checked(spark, tables, tmp_path / "odd"), validate(tables, name="odd", mode="strict", today=TODAY)
    assert found(ours) == found(duckdb.report) != set()
    assert [(count.table, count.read) for count in ours.rows] == [(name, len(rows)) for name, rows in CLEAN.items()]


@pytest.mark.parametrize("apart", [*APART, None])
def test_what_is_wrong_is_found_with_its_samples(spark: "SparkSession", tmp_path: Path, apart: str | None) -> None:
    """Every kind of dirt in typed columns: some one by one, all the others at once."""
    names = [apart] if apart else [name for name in KINDS if name not in (*APART, *NOT_HERE)]
    plants: list[Plant] = [KINDS[name].plant for name in names]
    tables = arrow(*plants)
    with pytest.raises(InvalidTables) as refused:
        checked(spark, tables, tmp_path / "dirty")
    with pytest.raises(InvalidTables):
        validate(tables, name="dirty", mode="strict", today=TODAY)
    errors = {(v.where, v.rule): v for v in refused.value.report.of("error")}
    for name in names:
        violation = errors[KINDS[name].where, KINDS[name].rule]
        samples = [sample.lower().replace("infinity", "inf") for sample in violation.samples]
        assert KINDS[name].sample in samples, name
        assert KINDS[name].mend in violation.mend
    assert "dirty" in str(refused.value)


def test_a_table_that_others_refer_to_must_be_there(spark: "SparkSession", tmp_path: Path) -> None:
    tables = {name: table for name, table in arrow().items() if name != "products"}
    with pytest.raises(InvalidTables, match=r"with a row for each product_id that order_items\.product_id names"):
        checked(spark, tables, tmp_path / "dirty")


def test_an_amount_that_follows_from_the_price_must_be_written(spark: "SparkSession", tmp_path: Path) -> None:
    with pytest.raises(InvalidTables, match="NULL where quantity"):
        checked(spark, arrow(edit("order_items", 1, amount=None)), tmp_path / "dirty")
