"""How high can Spearman go? Two ceilings of any predictor: by the ties of the labels, and by their noise.

Both are read beside the oracle of a made-up world, which knows what is to be expected of each customer.
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.days import DAY_SECONDS, epoch_seconds, midnight
from patron.evaluation.ranking import spearman
from patron.evaluation.weighted import Array, mean_of
from patron.tables.database import Database
from patron.task.ltv import TOTALS, TaskTable, outcome

HALVES = ("label_odd_weeks", "label_even_weeks")  # columns of the truth
ADDITIVE = ("orders", *TOTALS)
MIN_DAYS = 28  # two weeks a half
_WEEK = 7 * DAY_SECONDS


def spearman_ceiling(y: Any) -> float:
    """The highest Spearman an untied score can reach: sqrt(1 - z^3), z the share of zeros; other ties taken as rare."""
    return float(np.sqrt(1 - np.mean(np.asarray(y) == 0) ** 3))


def reliability_ceiling(first: Any, second: Any, weights: Any) -> Array:
    """About the Spearman of whoever knows each customer's propensity and not the chances of the draw: [B] of halves [n]
    of the labels and weights [B, n].

    The rank correlation r of the halves is stepped up to the whole window, 2 r / (1 + r) (Spearman 1910; Brown 1910):
    the reliability of the labels. Its square root is the correlation of a label with what lies behind it (the "noise
    ceiling"; Lage-Castellanos et al. 2019). 0 where the halves have nothing in common.

    It is exact for Pearson's correlation of parallel halves with independent noise, and for ranks an estimate: ties
    make it too high, so that it ends at the ceiling by zeros, and few but large purchases too low. What moves both
    halves alike without being known at the cutoff (who leaves, moves or marries during the window) counts as
    propensity, so that no model of the past may reach it; regular habits (every second week) make halves alternate,
    and it too low.
    """
    first, second, drawn = (np.asarray(values, dtype=float) for values in (first, second, np.atleast_2d(weights)))
    common = spearman(first, second)(drawn).clip(0)
    zeros = mean_of(((first == 0) & (second == 0)).astype(float))(drawn)
    return np.minimum(np.sqrt(2 * common / (1 + common)), np.sqrt(1 - zeros**3))


def halves(db: Database, rows: TaskTable) -> pd.DataFrame:
    """The labels of `rows` by alternate weeks of their window, as two columns `HALVES`, each floored at 0.

    NaN for a label that does not add up over time or is a query's own, and for windows below four weeks.
    """
    values = np.full((len(rows), 2), np.nan)
    if rows.target in ADDITIVE and rows.query is None:
        for cutoff in rows.cutoffs:
            here = (rows.frame["cutoff"] == midnight(cutoff)).to_numpy()
            if rows.horizon.days_after(cutoff) >= MIN_DAYS:
                values[here] = _halves(db, rows.where(here), cutoff=cutoff)
    return pd.DataFrame(values, columns=list(HALVES), index=rows.frame.index)


def _halves(db: Database, rows: TaskTable, *, cutoff: date) -> Array:
    customers, end = rows.frame["customer_id"], rows.horizon.after(cutoff)
    parts = (_alternate(db, start=cutoff, parity=parity) for parity in (1, 0))
    halves = [outcome(part, customers=customers, start=cutoff, end=end, target=rows.target) for part in parts]
    return np.stack(halves, axis=1).clip(min=0)


def _alternate(db: Database, *, start: date, parity: int) -> Database:
    """The database with the orders and returns of every other week from `start` on only."""
    kept = {}
    for name, time in (("orders", "order_date"), ("returns", "return_date")):
        seconds = epoch_seconds(db[name][time].to_numpy()) - epoch_seconds([midnight(start)])
        week = -(-seconds // _WEEK)  # from 1 on; it ends with a midnight that belongs to it, as a label window does
        kept[name] = db[name].filter(pa.array(week % 2 == parity))
    return Database(db.name, {**db.tables, **kept}, known_until=db.known_until, read_until=db.read_until)
