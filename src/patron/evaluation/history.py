"""Recency, frequency and monetary value of customers, and of products, as of a cutoff: what their orders tell honestly.

The past of a customer beside which the audit asks what any other column adds; the same is asked of products.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from patron.days import midnight
from patron.tables.database import Database

WINDOWS = (14, 30, 60, 91, 182, 365)  # days
DAY = 86_400_000_000  # microseconds
_UNDEFINED = ("recency", "tenure", "gap_", "age_", "last_value", "order_value")  # of nothing bought; all else is 0


def history(past: Database, *, key: str, owners: pd.Index, days: int) -> pd.DataFrame:
    """A row each of `owners`, float64: recency, tenure, frequency, spend, gaps, windows and returns at the end of
    `past`.

    `key` is customer_id, or product_id for the same of products, in units for money; `days` is the length of the label
    window.
    """
    lines = _lines(past, key, owners)
    if key == "product_id":  # of which units are counted: money would tell its price
        lines["amount"] = lines["quantity"]
    by, orders = lines.groupby("owner"), _orders(lines)
    columns = {
        "units": by["quantity"].sum(), "others": by["other"].nunique(),
        "age_mean": by["age"].mean(), "age_sd": by["age"].std(),
        **_moments(orders), **_windows(orders, days=days), **_refunds(past, key, days=days),
    }  # fmt: skip
    frame = pd.DataFrame({name: column.reindex(owners) for name, column in columns.items()}, index=owners, dtype=float)
    frame = frame.fillna({name: 0.0 for name in columns if not name.startswith(_UNDEFINED)})
    return frame.assign(overdue=frame["recency"] / frame["gap_mean"].where(frame["gap_mean"] > 0))


def microseconds(values: "pd.Series | pa.ChunkedArray") -> np.ndarray:
    """Instants since 1970, NaN where there is none: float64."""
    series = values if isinstance(values, pd.Series) else values.cast(pa.timestamp("us")).to_pandas()
    instants = series.astype("datetime64[us]")
    return instants.astype("int64").where(instants.notna()).to_numpy(dtype=float)


def of_order(items: pa.Table, orders: pa.Table) -> pa.Array:
    """The place in `orders` of the order of each row, null where there is none: [rows] int32."""
    return pc.index_in(items["order_id"], value_set=orders["order_id"].combine_chunks()).combine_chunks()


def _lines(past: Database, key: str, owners: pd.Index) -> pd.DataFrame:
    # A row an order item, and an order without any: owner, order, age in days, amount, quantity, other end.
    items, orders = past["order_items"], past["orders"]
    place = of_order(items, orders)
    buyer, product = orders["customer_id"].take(place), items["product_id"]
    owner, other = (buyer, product) if key == "customer_id" else (product, buyer)
    mine = pc.fill_null(pc.is_in(owner, value_set=pa.array(owners, owner.type)), False)
    lines = pa.table({
        "owner": owner, "other": other, "order": place, "time": orders["order_date"].take(place),
        "amount": items["amount"], "quantity": items["quantity"],
    }).filter(mine).to_pandas()  # fmt: skip
    if key == "customer_id":
        bare = np.setdiff1d(np.arange(len(orders)), place.drop_null().to_numpy())
        rows = orders.take(pa.array(bare, pa.int64())).to_pandas()
        without = pd.DataFrame({"owner": rows["customer_id"], "order": bare, "time": rows["order_date"]})
        without = without[without["owner"].isin(owners)].assign(amount=0.0, quantity=0.0)
        lines = pd.concat([lines, without], ignore_index=True) if len(without) else lines
    assert past.known_until is not None, "a history ends at a cutoff"
    (end,) = microseconds(pd.Series([midnight(past.known_until)]))
    return lines.assign(age=(end - microseconds(lines["time"])) / DAY)


def _orders(lines: pd.DataFrame) -> pd.DataFrame:
    # A row an order of an owner, the oldest first: owner, age, amount.
    orders = lines.groupby(["owner", "order"], sort=False).agg(age=("age", "min"), amount=("amount", "sum"))
    return orders.reset_index().sort_values(["owner", "age", "order"], ascending=[True, False, True])


def _moments(orders: pd.DataFrame) -> dict[str, pd.Series]:
    by = orders.groupby("owner")
    gaps = by["age"].diff().abs().groupby(orders["owner"])
    return {
        "recency": by["age"].min(), "tenure": by["age"].max(), "orders": by.size(), "spend": by["amount"].sum(),
        "order_value": by["amount"].mean(), "last_value": by["amount"].last(), "largest": by["amount"].max(),
        "gap_mean": gaps.mean(), "gap_sd": gaps.std(), "gap_last": gaps.last(),
    }  # fmt: skip


def _windows(orders: pd.DataFrame, *, days: int) -> dict[str, pd.Series]:
    columns: dict[str, pd.Series] = {}
    for window in sorted({*WINDOWS, days}):
        recent = orders[orders["age"] < window].groupby("owner")["amount"]
        columns |= {f"orders_{window}": recent.size(), f"spend_{window}": recent.sum()}
    year_ago = orders["age"].between(365 - min(days, 365), 365, inclusive="left")
    return columns | {"last_year": orders[year_ago].groupby("owner")["amount"].sum()}


def _refunds(past: Database, key: str, *, days: int) -> dict[str, pd.Series]:
    returns, worth = past["returns"].select([key, "return_date", "refund_amount"]).to_pandas(), "refund_amount"
    if key == "product_id":
        returns[worth] = 1.0
    assert past.known_until is not None, "a history ends at a cutoff"
    late = returns["return_date"] > pd.Timestamp(midnight(past.known_until)) - pd.Timedelta(days=days)
    return {
        "refunds": returns.groupby(key)[worth].sum(),
        "refunds_lately": returns[late].groupby(key)[worth].sum(),
    }
