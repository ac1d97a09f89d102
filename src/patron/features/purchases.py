"""Features of what a customer bought and returned: recency, frequency, money, gaps, windows, percentiles, baskets.

Windows adapt: those longer than the history are left out, and what is summed over a window is given as a pace, "what
the label window would hold if this went on": sum / min(window, history) * horizon. A model that is trained at an
early cutoff then meets the same scale at a late one. Past windows that reach before the first order are NaN, not 0.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.features.moment import Moment
from patron.features.spec import FeatureSpec

# Nothing bought or returned is 0; a recency, gap or price of nothing is not defined.
_UNDEFINED = ("recency", "tenure", "amount_", "gap_", "price_", "return_recency", "category_")
_SUMS = ("spend", "items", "lines", "discount", "refund", "spend_squared", "gap_sum", "gap_squared")
# Columns that say nothing where no item has a product, category, price or quantity.
_WITHOUT = (
    ("product_id", r"products(_.+)?|repeat_share"),
    ("category_id", r"categories(_.+)?|category_.+"),
    ("price", r"price_.+|discount_.+"),
    ("quantity", r"items_.+|discount_.+"),
)


def purchases(moment: Moment) -> pd.DataFrame:
    """One row a customer known, sorted by the index `customer_id`. Customers without an order have 0 where nothing was
    bought and NaN where nothing is defined."""
    windows: dict[str, Any] = {"windows": moment.spec.windows, "past_windows": _past_windows(moment)}
    parts = (moment.run(name, **windows).set_index("customer_id") for name in ("orders", "baskets", "returns"))
    raw = _fill(pd.DataFrame(index=moment.customers).join([*parts]))
    frame = _derive(raw, moment=moment).join(_category_shares(moment, spend=raw["spend"]))
    return frame.drop(columns=_silent(frame, spec=moment.spec)).astype(np.float64)


def _past_windows(moment: Moment) -> tuple[tuple[str, int, int], ...]:
    # (name, oldest age, youngest age): label windows that have closed, and the one of a year ago.
    days = moment.days
    lags = tuple((f"lag_{k}", (k + 1) * days, k * days) for k in range(1, moment.spec.lags))
    return (*lags, ("last_year", 365, 365 - min(days, 365))) if moment.spec.season else lags


def _fill(frame: pd.DataFrame) -> pd.DataFrame:
    counted = [column for column in frame.columns.astype(str) if not column.startswith(_UNDEFINED)]
    return frame.astype(np.float64).fillna(dict.fromkeys(counted, 0.0))


def _silent(frame: pd.DataFrame, *, spec: FeatureSpec) -> list[str]:
    items = {"product_id": "order_items", "category_id": "products", "price": "order_items", "quantity": "order_items"}
    absent = [pattern for column, pattern in _WITHOUT if not spec.has(items[column], column)]
    return [name for name in frame.columns.astype(str) if any(re.fullmatch(pattern, name) for pattern in absent)]


def _derive(frame: pd.DataFrame, *, moment: Moment) -> pd.DataFrame:
    new = _moments(frame) | _paces(frame, moment=moment)
    new |= _windows(frame, moment=moment)
    new |= _lags(frame, moment=moment)
    for column in ("recency", "orders", "amount_mean", "spend_pace"):
        source = new[column] if column in new else frame[column]
        new[f"{column}_percentile"] = source.where(frame["orders"] > 0).rank(pct=True)
    raw = frame.columns.astype(str)
    dropped = [c for c in raw if c in _SUMS or c in new or c.startswith(("lag_", "last_year", "refund_l"))]
    return pd.concat([frame.drop(columns=dropped), pd.DataFrame(new)], axis=1)


def _moments(frame: pd.DataFrame) -> dict[str, pd.Series]:
    new: dict[str, pd.Series] = {}
    gaps = (frame["orders"] - 1).where(frame["orders"] > 1)
    new["amount_mean"] = divide(frame["spend"], frame["orders"])
    new["amount_per_day"] = divide(frame["spend"], frame["days_active"])
    new["amount_sd"] = _sd(divide(frame["spend_squared"], frame["orders"]), mean=new["amount_mean"])
    new["gap_mean"] = frame["gap_sum"] / gaps
    new["gap_sd"] = _sd(frame["gap_squared"] / gaps, mean=new["gap_mean"])
    new["overdue"] = divide(frame["recency"], new["gap_mean"])
    new["gap_last_ratio"] = divide(frame["gap_last"], new["gap_mean"])
    new["amount_last_ratio"] = divide(frame["amount_last"], new["amount_mean"])
    new["items_per_order"] = divide(frame["items"], frame["orders"])
    new["lines_per_order"] = divide(frame["lines"], frame["orders"])
    new["discount_share"] = divide(frame["discount"], frame["discount"] + frame["spend"])
    new["refund_share"] = divide(frame["refund"], frame["spend"])
    new["return_line_share"] = divide(frame["returns"], frame["lines"])
    new["repeat_share"] = divide(frame["products_repeated"], frame["products"])
    return new


def _paces(frame: pd.DataFrame, *, moment: Moment) -> dict[str, pd.Series]:
    history, days = moment.history, moment.days
    return {
        "spend_pace": frame["spend"] / history * days,
        "net_pace": (frame["spend"] - frame["refund"]) / history * days,
        "tenure_pace": frame["spend"] / frame["tenure"].clip(lower=days / 4) * days,
    }


def _windows(frame: pd.DataFrame, *, moment: Moment) -> dict[str, pd.Series]:
    new: dict[str, pd.Series] = {}
    windows = moment.spec.windows
    for w in windows:
        for what in ("spend", "orders", "items", "discount", "returns", "refund"):
            new[f"{what}_{w}d"] = frame[f"{what}_{w}d"] * moment.pace(w)
        new[f"net_{w}d"] = new[f"spend_{w}d"] - new[f"refund_{w}d"]
    for fast, slow in zip(windows, windows[2:], strict=False):
        new[f"spend_{fast}d_over_{slow}d"] = divide(new[f"spend_{fast}d"], new[f"spend_{slow}d"])
        new[f"orders_{fast}d_over_{slow}d"] = divide(new[f"orders_{fast}d"], new[f"orders_{slow}d"])
    return new


def _lags(frame: pd.DataFrame, *, moment: Moment) -> dict[str, pd.Series]:
    new: dict[str, pd.Series] = {}
    for k in range(1, moment.spec.lags):
        known = 1.0 if (k + 1) * moment.days <= moment.history else np.nan
        new[f"lag_{k}"] = (frame[f"lag_{k}"] - frame[f"refund_lag_{k}"]) * known
    if moment.spec.season:
        known = 1.0 if moment.history >= 365 else np.nan
        new["last_year"] = (frame["last_year"] - frame["refund_last_year"]) * known
    return new


def _sd(mean_square: pd.Series, *, mean: pd.Series) -> pd.Series:
    return (mean_square - mean**2).clip(lower=0) ** 0.5


def divide(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    """The ratio; NaN where the denominator is 0."""
    return numerator / denominator.where(denominator != 0)


def _category_shares(moment: Moment, *, spend: pd.Series) -> pd.DataFrame:
    # Of all that was spent, whether in a known category or not.
    top = list(moment.spec.top_categories)
    if not top:
        return pd.DataFrame(index=spend.index)
    mix = moment.run("category_mix", tables={"wanted": pa.table({"category_id": top})})
    wide = mix.pivot(index="customer_id", columns="category_id", values="amount")
    wide = wide.reindex(index=spend.index, columns=top)
    wide.columns = [f"share_of_{category}" for category in wide.columns]
    return wide.fillna(0.0).div(spend.where(spend > 0), axis=0)
