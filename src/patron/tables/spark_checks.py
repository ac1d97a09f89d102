"""The rules of validation on tables of Spark, by the same SQL: whether they keep them, and the report if not.

Nothing is repaired here. Each rule looks at the rows as they are, where `validate` has mended what an earlier rule
found: both refuse the same tables, but a row that breaks several rules may be counted more often.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING

from tqdm import tqdm

from patron.tables.checks.enforce import samples_of
from patron.tables.checks.reading import Reading
from patron.tables.checks.report import InvalidTables, Report, RowCount, Severity, Violation
from patron.tables.checks.rules import Rule, rules_for
from patron.tables.schema import TABLES
from patron.tables.spark import SparkTables, pyspark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check(tables: SparkTables, *, today: date) -> Report:
    """The report on tables that keep the rules: what is odd about them. Dates after `today` are errors.

    Raises InvalidTables for those that do not, with the report of all that is wrong.
    """
    kept = {table: _staged(frame) for table, frame in tables.frames.items()}
    try:
        rows = {table: frame.count() for table, frame in kept.items()}
        there = {table: rows[table] for table in TABLES if rows[table]}
        staged = SparkTables(tables.name, {**kept, **{f"{table}__dropped": _none(kept[table]) for table in there}})
        readings = {table: {column.name: Reading(column.name) for column in TABLES[table].columns} for table in there}
        rules = [*rules_for(readings, today=today)]
        bar = tqdm(rules, desc="validating", unit="rule", delay=2, leave=False)
        found = [violation for rule in bar if (violation := _broken(staged, rule, readings=readings, rows=rows))]
        found += _orphanages(staged, rows=rows)
    finally:
        for frame in kept.values():
            frame.unpersist()
    counts = tuple(RowCount(table, read=read, added=0, dropped=0, kept=read) for table, read in there.items())
    report = Report(tables.name, "strict", tuple(found), counts)
    if report.refused:
        raise InvalidTables(report)
    return report


def _staged(frame: "DataFrame") -> "DataFrame":
    # The rows with what rules ask of them, numbered: they keep their numbers while they are kept.
    sql = pyspark("sql.functions")
    numbered = {"source_row": sql.monotonically_increasing_id(), "doomed": sql.lit(False)}
    return frame.withColumns(numbered).persist()


def _none(frame: "DataFrame") -> "DataFrame":
    return frame.sparkSession.createDataFrame([], frame.schema)


def _broken(
    staged: SparkTables, rule: Rule, *, readings: Mapping[str, Mapping[str, Reading]], rows: Mapping[str, int]
) -> Violation | None:
    (count,) = staged.query(f"SELECT count(*) AS bad FROM {rule.table} WHERE {rule.bad}")["bad"].to_pylist()
    if not count:
        return None
    samples = staged.query(samples_of(rule, readings=readings[rule.table]))["sample"].to_pylist()
    # What `validate` puts right without a word of blame, an amount that follows from the price, must be right here.
    severity: Severity = "error" if rule.repair else rule.severity
    share = count / rows[rule.table]
    return Violation(rule.table, rule.column, rule.name, severity, count, share, tuple(samples), rule.mend)


def _orphanages(staged: SparkTables, *, rows: Mapping[str, int]) -> Iterator[Violation]:
    # Tables that others refer to and that are not there.
    for table in (table for table in TABLES if rows[table]):
        for column in TABLES[table].columns:
            parent = column.references
            if parent and not rows[parent]:
                named = f"SELECT count(DISTINCT {column.name}) AS ids FROM {table}"
                (ids,) = staged.query(named)["ids"].to_pylist()
                if ids:
                    mend = f"write it, with a row for each {TABLES[parent].key} that {table}.{column.name} names"
                    yield Violation(parent, TABLES[parent].key or "", "table not there", "error", ids, 1.0, (), mend)
