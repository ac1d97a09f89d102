"""Columns of customers, products and categories as they are: numbers, dates as ages at the cutoff, categories as texts.

They are known from the beginning, as far as patron can tell: their tables have no time for a change.
"""

import numpy as np
import pandas as pd

from patron.days import midnight
from patron.features.columns import TypedColumn, quoted
from patron.features.moment import Moment
from patron.tables.engine import query
from patron.tables.schema import TABLES


def attributes(moment: Moment) -> pd.DataFrame:
    """One row a customer known, sorted by the index `customer_id`: `customer_<column>`, and of a date
    `customer_<column>_age`, in days. What lies after the cutoff is NaN."""
    return described(moment, "customers", columns=moment.spec.described("customers"))


def described(moment: Moment, table: str, *, columns: tuple[TypedColumn, ...]) -> pd.DataFrame:
    """One row a row of `table`, sorted by its key: these columns as features, named with the singular of the table.

    Numbers and ages are float64, categories text; what is no number, no date or infinite is missing. Raises ValueError
    for a column that this database lacks, though it was there when the columns were chosen.
    """
    if lost := [column.name for column in columns if column.name not in moment.db.schema(table).names]:
        raise ValueError(f"table {table} has no columns {lost}, from which the estimator has learned; add them")
    key, prefix = TABLES[table].key, {"customers": "customer", "products": "product", "categories": "category"}[table]
    chosen = [f"{_sql(column)} AS {quoted(_name(column, prefix))}" for column in columns]
    sql = f"SELECT {', '.join([str(key), *chosen])} FROM {table} ORDER BY {key}"
    uses_cutoff = any(column.kind == "date" for column in columns)
    params = {"cutoff": midnight(moment.cutoff)} if uses_cutoff else {}
    frame = query(moment.db, sql, **params).to_pandas().set_index(key)
    numbers = [_name(column, prefix) for column in columns if column.kind != "category"]
    return frame.astype(dict.fromkeys(numbers, np.float64))


def _name(column: TypedColumn, prefix: str) -> str:
    return f"{prefix}_{column.name}" + ("_age" if column.kind == "date" else "")


def _sql(column: TypedColumn) -> str:
    name = quoted(column.name)
    match column.kind:
        case "number":
            number = f"TRY_CAST({name} AS DOUBLE)"
            return f"CASE WHEN isfinite({number}) THEN {number} END"
        case "date":
            day = f"TRY_CAST({name} AS TIMESTAMP)"
            return f"CASE WHEN {day} <= $cutoff THEN DATE_DIFF('second', {day}, $cutoff) / CAST(86400 AS DOUBLE) END"
    return f"NULLIF(trim(CAST({name} AS VARCHAR)), '')"
