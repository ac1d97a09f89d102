"""Purchase occasions in label windows: on how many days each customer bought, when, and how evenly.

An occasion is a day with spend (of the target `orders`, with an order), as in buy-till-you-die models: what is bought
on one day is one purchase. These columns stand beside the labels in the truth, and only a ceiling of Spearman reads
them.
"""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.days import midnight
from patron.evaluation.weighted import Array
from patron.tables.database import Database
from patron.tables.engine import query
from patron.task.ltv import TOTALS, TaskTable

PERIODS = 12  # equal parts of a window
COUNTS = tuple(f"occasions_{period:02d}" for period in range(1, PERIODS + 1))
CONCENTRATION, GAP_PAIRS, GAP_SPREAD = "occasion_concentration", "gap_pairs", "gap_spread"
OCCASIONS = (*COUNTS, CONCENTRATION, GAP_PAIRS, GAP_SPREAD)  # columns of the truth
ADDITIVE = ("orders", *TOTALS)
MIN_DAYS = 28  # below it a period is hardly more than two days

_DAYS = """
WITH spent AS (
    SELECT order_id, SUM(CAST(amount AS DECIMAL(18, 4))) AS amount FROM order_items GROUP BY order_id
), daily AS (
    SELECT o.customer_id, CAST(CEIL(DATE_DIFF('microsecond', $start, o.order_date) / 86400e6) AS BIGINT) AS day,
           {value} AS value
    FROM orders o LEFT JOIN spent s USING (order_id) WHERE o.order_date <= $closes GROUP BY ALL
)
SELECT a.row, d.day, CAST(d.value AS DOUBLE) AS value FROM asked a JOIN daily d USING (customer_id)
WHERE d.value > 0 ORDER BY a.row, d.day
"""


def occasions(db: Database, rows: TaskTable) -> pd.DataFrame:
    """The columns `OCCASIONS` of each row. Of its window: occasions in each of the `PERIODS`, and the sum of squares
    of their shares of the spend, 1 for a single one. Of all its past and the window: pairs of successive gaps between
    occasions, and the sum over them of (first gap / both - 1/2)^2. A pair of s days counts as 1 - 2 / s, so that the
    ratio of the two is 1/12 where each day is as likely, whatever whole days make of it.

    NaN for a label that does not add up over time or is a query's own, and for windows below four weeks.
    """
    values = np.full((len(rows), len(OCCASIONS)), np.nan)
    if rows.target in ADDITIVE and rows.query is None:
        for cutoff in rows.cutoffs:
            here = (rows.frame["cutoff"] == midnight(cutoff)).to_numpy()
            if rows.horizon.days_after(cutoff) >= MIN_DAYS:
                values[here] = _at(db, rows.where(here), cutoff=cutoff)
    return pd.DataFrame(values, columns=list(OCCASIONS), index=rows.frame.index)


def _at(db: Database, rows: TaskTable, *, cutoff: date) -> Array:
    number, length = len(rows), rows.horizon.days_after(cutoff)
    asked = pa.table({"customer_id": rows.frame["customer_id"], "row": np.arange(number)})
    sql = _DAYS.format(value="COUNT(*)" if rows.target == "orders" else "SUM(s.amount)")
    closes = midnight(rows.horizon.after(cutoff))
    found = query(db, sql, start=midnight(cutoff), closes=closes, asked=asked).to_pandas()
    row, day, value = (found[name].to_numpy() for name in ("row", "day", "value"))
    inside = day > 0
    period = (day[inside] - 1) * PERIODS // length
    counts = np.bincount(row[inside] * PERIODS + period, minlength=number * PERIODS).reshape(number, PERIODS)
    total, squares = (np.bincount(row[inside], value[inside] ** power, number) for power in (1, 2))
    concentration = np.divide(squares, total**2, out=np.ones(number), where=total > 0)
    return np.column_stack([counts, concentration, *_gaps(row, day, number=number)])


def _gaps(row: Array, day: Array, *, number: int) -> tuple[Array, Array]:
    gap, same = np.diff(day), row[1:] == row[:-1]
    pair = same[1:] & same[:-1]
    first, both, owner = gap[:-1][pair], (gap[1:] + gap[:-1])[pair], row[2:][pair]
    return np.bincount(owner, 1 - 2 / both, number), np.bincount(owner, (first / both - 0.5) ** 2, number)
