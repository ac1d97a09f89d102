"""The level of each cutoff's label window, and which windows lie at that of the last one.

A window is at another level where its share of buyers (labels above 0) lies more than `LOGITS` from that of the last
one: 1.5 logits are 0.5 against 0.18, or 0.1 against 0.02. Chance alone is no other level, so the shares have to differ
by more than `ERRORS` standard errors, too. They are taken as if the customers of two cutoffs were not the same: where
they are, shares differ by less than that.
"""

from datetime import date

import numpy as np
import pandas as pd

from patron.task.ltv import TaskTable

LOGITS, ERRORS = 1.5, 3.0


def levels(rows: TaskTable) -> pd.DataFrame:
    """One row a cutoff, in order of time: `customers`, `buyers` (labels above 0), `mean` of the labels, `zeros`, the
    share of labels of 0."""
    labels = rows.frame.assign(bought=rows.label > 0).groupby("cutoff", sort=True)
    table = labels.agg(customers=("label", "size"), buyers=("bought", "sum"), mean=("label", "mean"))
    return table.assign(zeros=1 - table["buyers"] / table["customers"])


def at_level(rows: TaskTable) -> tuple[date, ...]:
    """The cutoffs of `rows` whose share of buyers is at the level of the last one, which is always among them."""
    table = levels(rows)
    # Half a buyer and half a customer without an order more than there are: a share is never 0 or 1.
    share = (table["buyers"].to_numpy() + 0.5) / (table["customers"].to_numpy() + 1)
    variance = share * (1 - share) / table["customers"].to_numpy()
    logit = np.log(share / (1 - share))
    apart = np.abs(logit - logit[-1]) > LOGITS
    certain = np.abs(share - share[-1]) > ERRORS * np.sqrt(variance + variance[-1])
    kept = ~(apart & certain)
    return tuple(cutoff for cutoff, keep in zip(rows.cutoffs, kept.tolist(), strict=True) if keep)
