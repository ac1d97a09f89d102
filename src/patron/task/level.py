"""The level of each cutoff's label window, and which windows lie at that of the last one.

A window is at another level where the log odds of its share of buyers (labels above 0) lie more than `APART` from those
of the last one: 1.5 are 0.5 against 0.18, or 0.1 against 0.02; seasons are less than that. Chance alone is no other
level, so the shares have to differ by more than `ERRORS` standard errors, too. They are taken as if the customers of
two cutoffs were not the same: where they are, shares differ by less than that. A mean label whose logarithm lies as far
apart, a factor of 4.5, is worth a warning, but says nothing of who buys.
"""

from datetime import date

import numpy as np
import pandas as pd

from patron.task.ltv import TaskTable

APART, ERRORS = 1.5, 3.0


def levels(rows: TaskTable) -> pd.DataFrame:
    """One row a cutoff, in order of time: `customers`, `buyers` (labels above 0), `mean` and `sd` of the labels,
    `zeros`, the share of labels of 0."""
    labels = rows.frame.assign(bought=rows.label > 0).groupby("cutoff", sort=True)
    by_cutoff = labels["label"].agg(customers="size", mean="mean", sd=lambda label: label.std(ddof=0))
    table = by_cutoff.assign(buyers=labels["bought"].sum()).set_axis(pd.Index(rows.cutoffs, name="cutoff"))
    return table.assign(zeros=1 - table["buyers"] / table["customers"])


def at_level(rows: TaskTable) -> tuple[date, ...]:
    """The cutoffs of `rows` whose share of buyers is at the level of the last one, which is always among them."""
    table = levels(rows)
    return tuple(table.index[~_other_share(table)])


def shift(rows: TaskTable) -> str:
    """A warning for whoever learns from `rows`, if not all their windows are at the level of the last; else ""."""
    table = levels(rows)
    apart = table.index[_other_share(table) | _other_mean(table)]
    if not len(apart):
        return ""
    return (
        f"the labels change level: after {', '.join(map(str, apart))} {_said(table.loc[apart])}, but after "
        f"{table.index[-1]}, the last window that has closed, {_said(table.iloc[-1:])}. A break "
        f"like this can be survived, by learning from what lies after it, and not be predicted: expect ranks and "
        f"totals to be off, and prefer the simpler model."
    )  # fmt: skip


def _said(table: pd.DataFrame) -> str:
    low, high = (100 * (1 - table["zeros"])).min(), (100 * (1 - table["zeros"])).max()
    least, most = table["mean"].min(), table["mean"].max()
    share = f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"
    mean = f"{least:,.4g}" if least == most else f"{least:,.4g} to {most:,.4g}"
    return f"{share} of the labels are above 0 and their mean is {mean}"


def _other_share(table: pd.DataFrame) -> np.ndarray:
    # Half a buyer and half a customer without an order more than there are: a share is never 0 or 1.
    number = table["customers"].to_numpy()
    share = (table["buyers"].to_numpy() + 0.5) / (number + 1)
    logit, variance = np.log(share / (1 - share)), share * (1 - share) / number
    return (np.abs(logit - logit[-1]) > APART) & _is_certain(share, variance)


def _other_mean(table: pd.DataFrame) -> np.ndarray:
    mean, variance = table["mean"].to_numpy(), table["sd"].to_numpy() ** 2 / table["customers"].to_numpy()
    low, high = np.minimum(mean, mean[-1]), np.maximum(mean, mean[-1])
    return (high > np.exp(APART) * low) & _is_certain(mean, variance)


def _is_certain(value: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.abs(value - value[-1]) > ERRORS * np.sqrt(variance + variance[-1])
