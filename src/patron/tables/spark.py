"""The tables of a company on Spark: Parquet files or any data frames of Spark, as a `Database` knows them, and as of a
day; what SQL makes of them is computed where they are, and its result alone comes here.

    tables = read_parquet(session("patron"), path="s3a://shop/tables", name="shop")
    customer_features(tables.upto(cutoff), cutoff=cutoff, spec=spec)      # as of a Database, and equal to it

Whether the tables keep the rules of `patron.tables.validate`, `patron.tables.spark_checks` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from patron.days import midnight, to_date
from patron.tables.database import entity
from patron.tables.dialect import to_spark
from patron.tables.schema import REQUIRED_TABLES, TABLES, Column, Kind

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TYPES: Mapping[Kind, str] = {
    "id": "string", "number": "double", "money": "double", "date": "timestamp_ntz", "text": "string",
}  # fmt: skip
_INTEGERS = ("tinyint", "smallint", "int", "bigint")


def session(name: str) -> "SparkSession":
    """The session of this process, or a new one called `name`: what spark-submit says of it holds. Its times are UTC.

    Raises ValueError, with the mend, where pyspark is not installed.
    """
    builder = pyspark("sql").SparkSession.builder.appName(name)
    return builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()


def pyspark(module: str) -> ModuleType:
    """`pyspark.<module>`. Raises ValueError, with the mend, where Spark or what transpiles for it is not installed."""
    missing = [package for package in ("pyspark", "sqlglot") if find_spec(package) is None]
    if missing:
        raise ValueError(f"Python package {' and '.join(missing)} is not installed; pip install 'patron[spark]'")
    return import_module(f"pyspark.{module}")


@dataclass(frozen=True, eq=False)
class SparkTables:
    """Canonical tables of one company on Spark. All eleven are there, as in a `Database`: absent ones are empty, absent
    columns are NULL. Made by `read_parquet` and `of_frames`."""

    name: str
    frames: Mapping[str, "DataFrame"]
    known_until: date | None = None
    read_until: date | None = None
    _views: Mapping[str, str] = field(default_factory=dict, repr=False)
    _cuts: dict[date, "SparkTables"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        views = {table: _view(table) for table in self.frames}
        for table, view in views.items():
            self.frames[table].createOrReplaceTempView(view)
        object.__setattr__(self, "_views", views)

    @property
    def session(self) -> "SparkSession":
        """The session that the tables belong to."""
        return self.frames["orders"].sparkSession

    def upto(self, cutoff: date) -> "SparkTables":
        """The same tables as they were known at `cutoff`, by the rules of `Database.upto`: nothing is computed yet.
        The same object is returned for the same cutoff."""
        if self.known_until is not None and cutoff >= self.known_until:
            return self
        if cutoff not in self._cuts:
            past = {table: self.frame(_known(table), cutoff=midnight(cutoff)) for table in TABLES}
            self._cuts[cutoff] = replace(self, frames=past, known_until=cutoff, _cuts={})
        return self._cuts[cutoff]

    def query(self, sql: str, **params: Any) -> pa.Table:
        """The result of `sql`, in DuckDB's dialect, in memory here. A param that is an Arrow table is one in SQL."""
        return self.frame(sql, **params).toArrow()

    def frame(self, sql: str, **params: Any) -> "DataFrame":
        """The result of `sql` where it is computed."""
        given = {name: value for name, value in params.items() if isinstance(value, pa.Table)}
        views = {name: _view(name) for name in given}
        for name, table in given.items():
            self.session.createDataFrame(table).createOrReplaceTempView(views[name])
        try:
            return self.session.sql(to_spark(sql, params=params, tables={**self._views, **views}))
        finally:
            for view in views.values():
                self.session.catalog.dropTempView(view)

    def schema(self, table: str) -> pa.Schema:
        """The columns of a table and their types."""
        return pyspark("sql.pandas.types").to_arrow_schema(self.frames[table].schema)

    @cached_property
    def first_day(self) -> date:
        """The date of the earliest order. Raises ValueError when there is none."""
        return self._order_extreme("MIN")

    @cached_property
    def last_day(self) -> date:
        """The date of the latest order. Raises ValueError when there is none."""
        return self._order_extreme("MAX")

    def _order_extreme(self, which: str) -> date:
        (value,) = self.query(f"SELECT {which}(order_date) AS day FROM orders")["day"].to_pylist()
        if value is None:
            until = f" up to {self.known_until}" if self.known_until else ""
            raise ValueError(
                f"table orders of '{self.name}' has no rows{until}; choose a later cutoff or check the data"
            )
        return to_date(value)


def read_parquet(session: "SparkSession", *, path: str, name: str) -> SparkTables:
    """The tables stored as `<path>/<table>.parquet`, each a file or a folder of files, on any path that Spark reads.

    Raises ValueError for what `of_frames` refuses.
    """
    there = [table for table in TABLES if exists(session, f"{path}/{table}.parquet")]
    lacking = [table for table in REQUIRED_TABLES if table not in there]
    if lacking:
        raise ValueError(f"{path} holds no {', '.join(f'{table}.parquet' for table in lacking)}; patron needs them")
    return of_frames({table: session.read.parquet(f"{path}/{table}.parquet") for table in there}, name=name)


def exists(session: "SparkSession", path: str) -> bool:
    """Whether there is a file or folder at a path that Spark reads."""
    jvm: Any = session.sparkContext._jvm
    place = jvm.org.apache.hadoop.fs.Path(path)
    return place.getFileSystem(session._jsparkSession.sessionState().newHadoopConf()).exists(place)


def of_frames(frames: Mapping[str, "DataFrame"], *, name: str) -> SparkTables:
    """Canonical tables that are data frames of one session, in the kinds of schema.py; other columns are kept.

    Ids are bigint where every table stores integers, else text in all of them. Raises ValueError for tables that are
    not canonical, required columns that are missing, and a session whose times are not UTC.
    """
    _require_canonical(frames)
    spark = frames["orders"].sparkSession
    if (zone := spark.conf.get("spark.sql.session.timeZone")) != "UTC":
        raise ValueError(f"the Spark session counts time in {zone}; set spark.sql.session.timeZone=UTC")
    types = _id_types(frames)
    tables = SparkTables(name, {table: _complete(spark, table, frames.get(table), types) for table in TABLES})
    return replace(tables, read_until=tables.last_day)


def _view(table: str) -> str:
    return f"patron_{table}_{uuid4().hex}"  # a name that nobody else in the session has


def _known(table: str) -> str:
    # As Database.upto: order items live and die with their order, and who has ordered is known.
    time = TABLES[table].time
    if table == "order_items":
        return "SELECT * FROM order_items WHERE order_id IN (SELECT order_id FROM orders WHERE order_date <= $cutoff)"
    if table == "customers":
        return """
            SELECT * FROM customers WHERE registration_date IS NULL OR registration_date <= $cutoff
            OR customer_id IN (SELECT customer_id FROM orders WHERE order_date <= $cutoff)"""
    return f"SELECT * FROM {table}" + (f" WHERE {time} <= $cutoff" if time else "")


def _require_canonical(frames: Mapping[str, "DataFrame"]) -> None:
    problems = [f"there is no table {table}" for table in REQUIRED_TABLES if table not in frames]
    problems += [f"table {table} is not canonical" for table in frames if table not in TABLES]
    problems += [
        f"table {table} has no column {column.name}; it has {', '.join(frame.columns)}"
        for table, frame in frames.items() if table in TABLES
        for column in TABLES[table].columns if column.required and column.name not in frame.columns
    ]  # fmt: skip
    if problems:
        raise ValueError("; ".join(problems))


def _id_types(frames: Mapping[str, "DataFrame"]) -> dict[str, str]:
    stored: dict[str, set[str]] = {}
    for table, frame in frames.items():
        for column in TABLES[table].columns:
            if column.kind == "id" and column.name in frame.columns:
                kind = frame.schema[column.name].dataType.simpleString()
                stored.setdefault(_whose(table, column), set()).add(kind)
    return {whose: "bigint" if kinds <= set(_INTEGERS) else "string" for whose, kinds in stored.items()}


def _whose(table: str, column: Column) -> str:
    return entity(TABLES[table], column) or f"{table}.{column.name}"


def _complete(spark: "SparkSession", table: str, frame: "DataFrame | None", ids: Mapping[str, str]) -> "DataFrame":
    sql, columns = pyspark("sql.functions"), TABLES[table].columns
    kinds = {column.name: ids.get(_whose(table, column), _TYPES[column.kind]) for column in columns}
    if frame is None:
        return spark.createDataFrame([], ", ".join(f"{column} {kind}" for column, kind in kinds.items()))
    typed = [
        sql.col(f"`{column}`").cast(kinds[column]).alias(column) if column in kinds else sql.col(f"`{column}`")
        for column in frame.columns
    ]
    absent = [sql.lit(None).cast(kind).alias(column) for column, kind in kinds.items() if column not in frame.columns]
    return frame.select(*typed, *absent)
