"""Columns of a customer, product or category as of a cutoff, by SQL on a database that ends there.

Windows adapt: those longer than the history are left out, and what is summed over a window is given as a pace, "what
the label window would hold if this went on": sum / min(window, history) * horizon. A model that is trained at an
early cutoff then meets the same scale at a late one. Past windows that reach before the first order are NaN, not 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import Horizon, midnight
from patron.features.btyd import BGNBD, GammaGamma, fit_bgnbd, fit_gamma_gamma
from patron.tables.database import Database
from patron.tables.engine import query
from patron.task.ltv import TaskTable

RFM = ("recency", "tenure", "orders", "spend_pace", "amount_mean")
TEXT = ("channel", "geo")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FeatureConfig:
    """What is computed: candidate windows in days, number of lagged label windows, category shares, BTYD outputs."""

    windows: tuple[Annotated[int, Field(gt=0)], ...]
    lags: Annotated[int, Field(ge=0)]
    top_categories: Annotated[int, Field(ge=0)]
    btyd: bool


@dataclass(frozen=True)
class FeatureSpec:
    """The columns of one fit, fixed by what was known at its cutoffs, so that train and test rows have the same
    ones."""

    horizon: Horizon
    windows: tuple[int, ...]
    lags: int
    season: bool
    calendar: bool
    top_categories: tuple[str | int, ...]
    btyd: bool


def specify(db: Database, *, config: FeatureConfig, horizon: Horizon, cutoffs: Sequence[date]) -> FeatureSpec:
    """The columns that `db` supports for a fit at `cutoffs`. The vocabulary of categories is that of the first of
    them."""
    history = _history(db, max(cutoffs))
    days = horizon.days_after(max(cutoffs))
    return FeatureSpec(
        horizon=horizon,
        windows=_windows_for(days, candidates=config.windows, history=history),
        lags=min(config.lags, history // days),
        season=history >= 365,
        calendar=(max(cutoffs) - min(cutoffs)).days >= 365,  # a season met once cannot be told from a trend
        top_categories=_top_categories(db.upto(min(cutoffs)), number=config.top_categories),
        btyd=config.btyd,
    )


def _windows_for(days: int, *, candidates: Sequence[int], history: int) -> tuple[int, ...]:
    # The label's own length replaces a candidate within a tenth of it: two near-copies teach nothing.
    others = (w for w in candidates if abs(w - days) > days / 10)
    return tuple(w for w in sorted({*others, days}) if w <= history) or (history,)


@lru_cache(maxsize=64)
def customer_features(db: Database, *, cutoff: date, spec: FeatureSpec) -> pd.DataFrame:
    """One row a customer known at `cutoff`, sorted by the index `customer_id`; columns float64, and the texts
    `channel, geo`.

    `db` must end at the cutoff. Customers without an order have 0 where nothing was bought and NaN where nothing is
    defined.
    """
    assert db.known_until == cutoff, f"features at {cutoff} from a database that ends at {db.known_until}"
    known = db["customers"].select(["customer_id", *TEXT]).to_pandas().set_index("customer_id").sort_index()
    windows: dict[str, Any] = {"windows": spec.windows, "past_windows": _past_windows(spec, cutoff)}
    parts = [_run(db, name, cutoff=cutoff, **windows) for name in ("orders", "baskets", "returns", "campaigns")]
    frame = known[[]].join([part.set_index("customer_id") for part in parts])
    frame = _derive(_fill(frame), spec=spec, history=_history(db, cutoff), days=spec.horizon.days_after(cutoff))
    frame = frame.join(_category_shares(db, cutoff=cutoff, spec=spec, spend=frame["spend_pace"].index))
    if spec.calendar:
        frame = _calendar(frame, cutoff=cutoff)
    if spec.btyd:
        frame = frame.join(_btyd(frame, days=spec.horizon.days_after(cutoff)))
    return frame.astype(np.float64).join(known)


@lru_cache(maxsize=64)
def product_features(db: Database, *, cutoff: date, horizon: Horizon, key: str) -> pd.DataFrame:
    """One row a product (or category: `key="category_id"`) sold by `cutoff`, sorted by the index `key`; columns
    float64."""
    assert db.known_until == cutoff, f"features at {cutoff} from a database that ends at {db.known_until}"
    frame = (
        _run(db, "products", cutoff=cutoff, key=key, horizon_days=horizon.days_after(cutoff))
        .drop(columns="key")
        .set_index(key)
    )
    frame["repeat_share"] = frame["buyers_repeated"] / frame["buyers"]
    frame["trend"] = np.log1p(frame["revenue_recent"]) - np.log1p(frame["revenue_before"])
    frame["revenue_per_buyer"] = frame["revenue"] / frame["buyers"]
    return frame.astype(np.float64)


@lru_cache(maxsize=64)
def order_features(db: Database, *, cutoff: date) -> pd.DataFrame:
    """One row an order known at `cutoff`, sorted by the index `order_id`; columns float64, the age in days."""
    assert db.known_until == cutoff, f"features at {cutoff} from a database that ends at {db.known_until}"
    return _run(db, "order_nodes", cutoff=cutoff).set_index("order_id").astype(np.float64)


def _history(db: Database, cutoff: date) -> int:
    return max(1, (cutoff - db.first_day).days)


def _past_windows(spec: FeatureSpec, cutoff: date) -> tuple[tuple[str, int, int], ...]:
    # (name, oldest age, youngest age): label windows that have closed, and the one of a year ago.
    days = spec.horizon.days_after(cutoff)
    lags = tuple((f"lag_{k}", (k + 1) * days, k * days) for k in range(1, spec.lags))
    return (*lags, ("last_year", 365, 365 - min(days, 365))) if spec.season else lags


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "sql"), undefined=jinja2.StrictUndefined
    )


def _run(
    db: Database, name: str, *, cutoff: date, tables: Mapping[str, pa.Table] | None = None, **template: Any
) -> pd.DataFrame:
    sql = _environment().get_template(f"{name}.sql").render(**template)
    return query(db, sql, cutoff=midnight(cutoff), **(tables or {})).to_pandas()


def _fill(frame: pd.DataFrame) -> pd.DataFrame:
    # Nothing bought, returned or sent is 0; a recency, gap or price of nothing is not defined.
    undefined = ("recency", "tenure", "amount_", "gap_", "price_", "return_recency", "campaign_recency", "category_")
    counted = [column for column in frame.columns.astype(str) if not column.startswith(undefined)]
    return frame.astype(np.float64).fillna(dict.fromkeys(counted, 0.0))


def _derive(frame: pd.DataFrame, *, spec: FeatureSpec, history: int, days: int) -> pd.DataFrame:
    new: dict[str, pd.Series] = {}
    gaps = (frame["orders"] - 1).where(frame["orders"] > 1)
    new["amount_mean"] = _divide(frame["spend"], frame["orders"])
    new["amount_per_day"] = _divide(frame["spend"], frame["days_active"])
    new["amount_sd"] = _sd(_divide(frame["spend_squared"], frame["orders"]), mean=new["amount_mean"])
    new["gap_mean"] = frame["gap_sum"] / gaps
    new["gap_sd"] = _sd(frame["gap_squared"] / gaps, mean=new["gap_mean"])
    new["overdue"] = _divide(frame["recency"], new["gap_mean"])
    new["gap_last_ratio"] = _divide(frame["gap_last"], new["gap_mean"])
    new["amount_last_ratio"] = _divide(frame["amount_last"], new["amount_mean"])
    new["items_per_order"] = _divide(frame["items"], frame["orders"])
    new["lines_per_order"] = _divide(frame["lines"], frame["orders"])
    new["discount_share"] = _divide(frame["discount"], frame["discount"] + frame["spend"])
    new["refund_share"] = _divide(frame["refund"], frame["spend"])
    new["repeat_share"] = _divide(frame["products_repeated"], frame["products"])
    new["spend_pace"] = frame["spend"] / history * days
    new["net_pace"] = (frame["spend"] - frame["refund"]) / history * days
    new["tenure_pace"] = frame["spend"] / frame["tenure"].clip(lower=days / 4) * days
    new |= _windows(frame, spec=spec, history=history, days=days)
    new |= _lags(frame, spec=spec, history=history, days=days)
    for column in ("recency", "orders", "amount_mean", "spend_pace"):
        source = new[column] if column in new else frame[column]
        new[f"{column}_percentile"] = source.where(frame["orders"] > 0).rank(pct=True)
    spent = ["spend", "items", "lines", "discount", "refund", "spend_squared", "gap_sum", "gap_squared"]
    raw = frame.columns.astype(str)
    dropped = [c for c in raw if c in spent or c in new or c.startswith(("lag_", "last_year", "refund_l"))]
    return pd.concat([frame.drop(columns=dropped), pd.DataFrame(new)], axis=1)


def _windows(frame: pd.DataFrame, *, spec: FeatureSpec, history: int, days: int) -> dict[str, pd.Series]:
    new: dict[str, pd.Series] = {}
    for w in spec.windows:
        scale = days / min(w, history)
        for what in ("spend", "orders", "items", "discount", "returns", "refund", "campaigns"):
            new[f"{what}_{w}d"] = frame[f"{what}_{w}d"] * scale
        new[f"net_{w}d"] = new[f"spend_{w}d"] - new[f"refund_{w}d"]
    for fast, slow in zip(spec.windows, spec.windows[2:], strict=False):
        new[f"spend_{fast}d_over_{slow}d"] = _divide(new[f"spend_{fast}d"], new[f"spend_{slow}d"])
        new[f"orders_{fast}d_over_{slow}d"] = _divide(new[f"orders_{fast}d"], new[f"orders_{slow}d"])
    return new


def _lags(frame: pd.DataFrame, *, spec: FeatureSpec, history: int, days: int) -> dict[str, pd.Series]:
    new: dict[str, pd.Series] = {}
    for k in range(1, spec.lags):
        known = 1.0 if (k + 1) * days <= history else np.nan
        new[f"lag_{k}"] = (frame[f"lag_{k}"] - frame[f"refund_lag_{k}"]) * known
    if spec.season:
        new["last_year"] = (frame["last_year"] - frame["refund_last_year"]) * (1.0 if history >= 365 else np.nan)
    return new


def _sd(mean_square: pd.Series, *, mean: pd.Series) -> pd.Series:
    return (mean_square - mean**2).clip(lower=0) ** 0.5


def _divide(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    return numerator / denominator.where(denominator != 0)


def _top_categories(db: Database, *, number: int) -> tuple[str | int, ...]:
    sql = """
        SELECT p.category_id FROM order_items i JOIN products p USING (product_id) WHERE p.category_id IS NOT NULL
        GROUP BY p.category_id ORDER BY SUM(CAST(i.amount AS DECIMAL(18, 4))) DESC, p.category_id LIMIT $number"""
    return tuple(query(db, sql, number=number)["category_id"].to_pylist())


def _category_shares(db: Database, *, cutoff: date, spec: FeatureSpec, spend: pd.Index) -> pd.DataFrame:
    if not spec.top_categories:
        return pd.DataFrame(index=spend)
    wanted = pa.table({"category_id": list(spec.top_categories)})
    mix = _run(db, "category_mix", cutoff=cutoff, tables={"wanted": wanted})
    wide = mix.pivot(index="customer_id", columns="category_id", values="amount").reindex(
        index=spend, columns=list(spec.top_categories)
    )
    wide = wide.fillna(0.0)
    wide.columns = [f"share_of_{category}" for category in wide.columns]
    return wide.div(wide.sum(axis=1).replace(0, np.nan), axis=0)


def _calendar(frame: pd.DataFrame, *, cutoff: date) -> pd.DataFrame:
    angle = 2 * np.pi * (cutoff.timetuple().tm_yday / 365.25)
    return frame.assign(season_sin=np.sin(angle), season_cos=np.cos(angle))


def _btyd(frame: pd.DataFrame, *, days: int) -> pd.DataFrame:
    bought = frame[frame["orders"] > 0]
    past = purchase_history(bought)
    purchases, spend = (
        fit_bgnbd(past.frequency, past.recency, past.age),
        fit_gamma_gamma(past.frequency + 1, past.monetary),
    )
    return expected(past, purchases=purchases, spend=spend, days=days).set_index(bought.index).add_prefix("btyd_")


@dataclass(frozen=True)
class PurchaseHistory:
    """What BTYD models know of a customer: days with a purchase less one, days from the first to the last of them and
    to the cutoff, and average spend a day with a purchase; each [n]. Purchases of one day are one, as in Fader,
    Hardie & Lee 2005."""

    frequency: np.ndarray
    recency: np.ndarray
    age: np.ndarray
    monetary: np.ndarray


def purchase_history(features: pd.DataFrame) -> PurchaseHistory:
    """The purchase history of customers with an order, from their features."""
    first, last = np.floor(features["tenure"].to_numpy()), np.floor(features["recency"].to_numpy())
    return PurchaseHistory(
        (features["days_active"] - 1).to_numpy(), first - last, first, features["amount_per_day"].to_numpy()
    )


def expected(past: PurchaseHistory, *, purchases: BGNBD, spend: GammaGamma, days: int) -> pd.DataFrame:
    """`alive, purchases, spend` of the next `days` days, one row a customer: P(alive), expected purchases, expected
    money."""
    number = purchases.expected_purchases(days, frequency=past.frequency, recency=past.recency, T=past.age)
    each = spend.expected_spend(past.frequency + 1, past.monetary)
    alive = purchases.p_alive(past.frequency, past.recency, past.age)
    return pd.DataFrame({"alive": alive, "purchases": number, "spend": number * each})


def design(db: Database, *, rows: TaskTable, spec: FeatureSpec) -> pd.DataFrame:
    """The customer features of every row, in the order of `rows`: [n] rows. Each cutoff sees the database as it was
    then.

    Raises ValueError for customers that the customers table does not know at their cutoff.
    """
    parts = []
    for cutoff in rows.cutoffs:
        ids = rows.at(cutoff).frame["customer_id"]
        features = customer_features(db.upto(cutoff), cutoff=cutoff, spec=spec)
        require_known(ids, known=features.index, cutoff=cutoff)
        parts.append(features.loc[ids].set_index(np.flatnonzero(rows.frame["cutoff"] == midnight(cutoff))))
    return pd.concat(parts).sort_index()


def require_known(ids: pd.Series, *, known: pd.Index, cutoff: date) -> None:
    """Raises ValueError for customers whom the customers table does not know at the cutoff."""
    unknown = ids[~ids.isin(known)]
    if len(unknown):
        raise ValueError(
            f"table customers does not know {len(unknown)} customers at cutoff {cutoff}, "
            f"for example {unknown.head().tolist()}"
        )
