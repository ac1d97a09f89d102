"""Stored tables into DuckDB: canonical columns in the kinds of the schema, ids of one entity in one type everywhere."""

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa

from patron.tables.checks.reading import Reading, Stored, holds_integers, importable, read_column
from patron.tables.checks.rules import FALLBACKS
from patron.tables.schema import TABLES, Column, TableSchema


def stage_all(connection: duckdb.DuckDBPyConnection, stored: Mapping[str, pa.Table]) -> dict[str, dict[str, Reading]]:
    """How each column was read, by table. DuckDB then has every table by its name.

    Beside the values it holds the texts that need judging, as `<column>__raw`, `source_row` from 0, and whether a row
    is `doomed`: not yet. `<table>__dropped` is there too, empty, for the keys of the rows that a repair drops.
    """
    imported = {name: _imported(TABLES[name], table) for name, table in stored.items()}
    text_ids = _text_entities(imported)
    readings = {name: _read(connection, TABLES[name], table=t, text_ids=text_ids) for name, t in imported.items()}
    for name, columns in readings.items():
        _stage(connection, name, columns)
    return readings


def _imported(schema: TableSchema, table: pa.Table) -> pa.Table:
    """The canonical columns in types that DuckDB takes, and `source_row`. A column without values has the null type."""
    columns = {name: importable(table[name]) for name in schema.by_name if name in table.column_names}
    columns = {name: pa.nulls(len(c)) if c.null_count == len(c) else c for name, c in columns.items()}
    for name in set(schema.by_name) - set(columns):
        fallback = FALLBACKS.get((schema.name, name))
        if fallback and set(fallback.columns).issubset(columns):
            columns[name] = pa.nulls(table.num_rows)  # a rule then fills it
    return pa.table({**columns, "source_row": np.arange(table.num_rows)})


def _text_entities(imported: Mapping[str, pa.Table]) -> set[str]:
    """The tables whose ids are not stored as integers everywhere, in their own table and in those that refer to it."""
    return {
        entity
        for name, table in imported.items()
        for column in TABLES[name].columns
        if column.name in table.column_names and not _counts_as_integer(table[column.name].type)
        if (entity := _entity(TABLES[name], column))
    }


def _counts_as_integer(stored: pa.DataType) -> bool:
    return holds_integers(stored) or pa.types.is_null(stored)  # no values: it takes the type of the others


def _entity(schema: TableSchema, column: Column) -> str | None:
    """The table whose ids a column holds, None for a column that holds no ids."""
    return column.references or schema.name if column.kind == "id" else None


def _read(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, *, table: pa.Table, text_ids: set[str]
) -> dict[str, Reading]:
    source = f"stored_{schema.name}"
    connection.register(source, table)
    there = [column for column in schema.columns if column.name in table.column_names]
    stored = [Stored(column, table[column.name].type, source, connection) for column in there]
    return {each.name: read_column(each, text_id=_entity(schema, each.column) in text_ids) for each in stored}


def _stage(connection: duckdb.DuckDBPyConnection, name: str, readings: Mapping[str, Reading]) -> None:
    values = [f"{reading.value} AS {column}" for column, reading in readings.items()]
    texts = [f"{reading.raw} AS {column}__raw" for column, reading in readings.items() if reading.raw]
    columns = ", ".join(["source_row", "FALSE AS doomed", *values, *texts])
    connection.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM stored_{name}")
    connection.unregister(f"stored_{name}")
    if (key := TABLES[name].key) in readings:
        connection.execute(f"CREATE TABLE {name}__dropped AS SELECT {key} FROM {name} LIMIT 0")
