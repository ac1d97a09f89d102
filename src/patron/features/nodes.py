"""What is known of order events, interactions, returns, loyalty states and campaigns as of a cutoff, by SQL on a
database that ends there.

Ages are days before the cutoff. `relative_time` spells an age out in waves, for a rank of the age alone cannot tell a
week's rhythm or a season.
"""

from datetime import date
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from patron.days import midnight
from patron.features.moment import require_end
from patron.tables.database import Database
from patron.tables.engine import query

EventKind = Literal["order_event", "interaction", "return", "loyalty", "campaign"]

# Order events have no key: an event is its place among all, in the order in which they became known and then of all
# columns. The place does not depend on the order of the rows, and what becomes known later comes later.
ORDER_EVENTS = """
SELECT ROW_NUMBER() OVER (ORDER BY time, order_id, event_type, event_date, amount) - 1 AS event_id, *
FROM (
    SELECT e.order_id, e.event_type, e.event_date, e.amount, o.customer_id, o.order_date,
           GREATEST(e.event_date, o.order_date) AS time
    FROM order_events e JOIN orders o USING (order_id)
)
"""


def _days(start: str, end: str) -> str:
    return f"CAST(DATE_DIFF('second', {start}, {end}) AS DOUBLE) / CAST(86400 AS DOUBLE)"


_SQL: dict[EventKind, str] = {
    "order_event": f"""
SELECT event_id AS id, event_type, CAST(amount AS DOUBLE) AS amount,
       {_days("order_date", "event_date")} AS days_after_order, {_days("event_date", "$cutoff")} AS age
FROM ({ORDER_EVENTS}) ORDER BY id
""",
    "interaction": f"""
SELECT interaction_id AS id, interaction_type, {_days("interaction_date", "$cutoff")} AS age
FROM interactions ORDER BY id
""",
    # The share of the line that was sent back, or of the order where the product is not said.
    "return": f"""
WITH lines AS (SELECT order_id, product_id, CAST(amount AS DECIMAL(18, 4)) AS amount FROM order_items),
by_line AS (SELECT order_id, product_id, CAST(SUM(amount) AS DOUBLE) AS amount FROM lines GROUP BY ALL),
by_order AS (SELECT order_id, CAST(SUM(amount) AS DOUBLE) AS amount FROM lines GROUP BY ALL)
SELECT r.return_id AS id, r.return_reason, CAST(r.refund_amount AS DOUBLE) AS refund,
       CAST(r.refund_amount AS DOUBLE) / NULLIF(COALESCE(l.amount, t.amount), 0) AS share,
       {_days("o.order_date", "r.return_date")} AS days_after_order, {_days("r.return_date", "$cutoff")} AS age
FROM returns r
LEFT JOIN orders o ON o.order_id = r.order_id
LEFT JOIN by_line l ON l.order_id = r.order_id AND l.product_id = r.product_id
LEFT JOIN by_order t ON t.order_id = r.order_id
ORDER BY id
""",
    # A state lasts from the first row of its level on, through all rows of that level in a run.
    "loyalty": f"""
WITH runs AS (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY loyalty_date, loyalty_id)
            - ROW_NUMBER() OVER (PARTITION BY customer_id, membership_level ORDER BY loyalty_date, loyalty_id) AS run
    FROM loyalty
),
states AS (
    SELECT *, MIN(loyalty_date) OVER (PARTITION BY customer_id, membership_level, run) AS since FROM runs
)
SELECT loyalty_id AS id, membership_level, CAST(loyalty_points AS DOUBLE) AS points,
       CAST(points_earned AS DOUBLE) AS earned, CAST(points_redeemed AS DOUBLE) AS redeemed,
       {_days("since", "$cutoff")} AS days_at_level, {_days("loyalty_date", "$cutoff")} AS age
FROM states ORDER BY id
""",
    # One row a campaign, though the table has one a customer touched.
    "campaign": f"""
SELECT campaign_id AS id, MIN(campaign_type) AS campaign_type, COUNT(DISTINCT customer_id) AS touched,
       CAST(SUM(CAST(campaign_response AS DECIMAL(18, 4))) AS DOUBLE) / NULLIF(COUNT(campaign_response), 0)
           AS response_share,
       {_days("MIN(campaign_date)", "$cutoff")} AS age
FROM campaigns GROUP BY campaign_id ORDER BY id
""",
}


@lru_cache(maxsize=256)
def event_features(db: Database, *, kind: EventKind, cutoff: date) -> pd.DataFrame:
    """One row an event (or campaign) known at `cutoff`, sorted by the index `id`; columns float64 with `age` in days,
    and texts. The id of an order event is its place in `ORDER_EVENTS`."""
    require_end(db, cutoff)
    frame = query(db, _SQL[kind], cutoff=midnight(cutoff)).to_pandas().set_index("id")
    numbers = frame.select_dtypes("number").columns
    return frame.astype(dict.fromkeys(numbers, np.float64))


PERIODS = (7.0, 365.25 / 12, 365.25 / 4, 365.25)  # days: a week, a month, a quarter, a year
LOG_PERIODS = (16.0, 8.0, 4.0)  # of log1p(days), which reaches 8 in eight years
RELATIVE_TIME = 2 * (len(PERIODS) + len(LOG_PERIODS))  # columns


def relative_time(age: np.ndarray) -> np.ndarray:
    """Ages in days [n] -> [n, RELATIVE_TIME] float32 in [-1, 1]: sine and cosine of the age at the `PERIODS` and of
    its log at the `LOG_PERIODS`. An unknown age is 0 in all."""
    angles = [2 * np.pi * age / period for period in PERIODS]
    angles += [2 * np.pi * np.log1p(np.maximum(age, 0)) / period for period in LOG_PERIODS]
    waves = np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return np.nan_to_num(waves, nan=0.0).astype(np.float32)
