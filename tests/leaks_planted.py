"""Fifteen leaks as they really happen, each planted alone in clean tables: what an export says that was made at their
end, of customers as they were then.

`PLANTED` names them; `plant` makes one of a database in which the data end at the day of the export. Only `price` knows
of a cutoff: a list price that was changed in between.
"""

from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.tables.database import Database

Tables = dict[str, pd.DataFrame]
LONG = pd.Timedelta(days=365)  # after a touch: a purchase is no answer to it any more
RISE = 1.1  # of list prices after the cutoff


def plant(name: str, db: Database, *, cutoff: date, seed: int = 0) -> Database:
    """`db` with the leak `name`, as known at the end of its data; what it leaves alone is as it was."""
    tables = {table: db[table].to_pandas() for table in db.tables if len(db[table])}
    changed = PLANTED[name](tables, pd.Timestamp(cutoff), np.random.default_rng(seed))
    arrow = {table: pa.Table.from_pandas(frame, preserve_index=False) for table, frame in changed.items()}
    return Database(db.name, {**db.tables, **arrow})


def _spend(tables: Tables, *, after: pd.Timestamp | None = None) -> pd.Series:
    # Of each customer, in the order of the customers table.
    lines = tables["order_items"].merge(tables["orders"], on="order_id")
    lines = lines if after is None else lines[lines["order_date"] > after]
    return lines.groupby("customer_id")["amount"].sum().reindex(tables["customers"]["customer_id"]).fillna(0.0)


def _last_order(tables: Tables) -> pd.Series:
    last = tables["orders"].groupby("customer_id")["order_date"].max()
    return last.reindex(tables["customers"]["customer_id"])


def _with(tables: Tables, table: str, **columns: object) -> Tables:
    return {table: tables[table].assign(**columns)}


def segment(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    tenth = (_spend(tables).rank(pct=True, method="first") * 9.999).astype(int)
    return _with(tables, "customers", segment=np.array(list("cjaghebdif"))[tenth])


def segment_code(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    tenth = (_spend(tables).rank(pct=True, method="first") * 9.999).astype(int)
    return _with(tables, "customers", segment_code=np.array([7, 2, 9, 4, 0, 8, 5, 1, 6, 3])[tenth])


def total_spend(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    return _with(tables, "customers", total_spend=_spend(tables).round(2).to_numpy())


def tier(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    spend = _spend(tables)
    level = np.searchsorted(spend.quantile([0.5, 0.75, 0.9]).to_numpy(), spend)
    return _with(tables, "customers", tier=np.array(["none", "bronze", "silver", "gold"])[level])


def channel(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    orders = tables["orders"].sort_values("order_date", kind="stable").groupby("customer_id")["channel"].last()
    own = tables["customers"]["channel"]
    return _with(tables, "customers", channel=tables["customers"]["customer_id"].map(orders).fillna(own))


def updated_at(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    last = _last_order(tables).fillna(tables["customers"].set_index("customer_id")["registration_date"])
    after = pd.to_timedelta(rng.exponential(2, len(last)), unit="D")
    return _with(tables, "customers", updated_at=(last + after).dt.floor("s").to_numpy())


def units_sold(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    sold = tables["order_items"].groupby("product_id")["quantity"].sum()
    return _with(tables, "products", units_sold=tables["products"]["product_id"].map(sold).fillna(0.0))


def _bought_after(frame: pd.DataFrame, time: str, tables: Tables, *, within: pd.Timedelta | None = None) -> np.ndarray:
    # Whether the customer of each row had an order later than the row's time, within a span where one is given.
    rows = pd.DataFrame({"customer_id": frame["customer_id"], "when": frame[time], "row": np.arange(len(frame))})
    orders = tables["orders"][["customer_id", "order_date"]].sort_values("order_date")
    found = pd.merge_asof(
        rows.sort_values("when"), orders, left_on="when", right_on="order_date", by="customer_id",
        direction="forward", allow_exact_matches=False,
    ).sort_values("row")  # fmt: skip
    gap = (found["order_date"] - found["when"]).to_numpy()
    return ~pd.isna(gap) & (True if within is None else gap <= np.timedelta64(within))


def campaigns(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    rows = tables["campaigns"]
    return {"campaigns": rows[_bought_after(rows, "campaign_date", tables)]}


def campaign_response(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    bought = _bought_after(tables["campaigns"], "campaign_date", tables, within=LONG)
    return _with(tables, "campaigns", campaign_response=bought.astype(np.int64))


def membership_level(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    rows = tables["loyalty"]
    last = rows.sort_values("loyalty_date", kind="stable").groupby("customer_id")["membership_level"].last()
    return _with(tables, "loyalty", membership_level=rows["customer_id"].map(last))


def loyalty_points(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    balance = np.floor(_spend(tables) * 0.75)
    return _with(tables, "loyalty", loyalty_points=tables["loyalty"]["customer_id"].map(balance))


def interactions(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    rows = tables["interactions"]
    return {"interactions": rows[_bought_after(rows, "interaction_date", tables)]}


def customer_id(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    by_spend = _spend(tables, after=cutoff).rank(method="first").astype(np.int64)
    named = [name for name in tables if "customer_id" in tables[name]]
    return {name: tables[name].assign(customer_id=tables[name]["customer_id"].map(by_spend)) for name in named}


def customers_order(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    place = np.argsort(_last_order(tables).to_numpy(), kind="stable")
    return {"customers": tables["customers"].iloc[place]}


def price(tables: Tables, cutoff: pd.Timestamp, rng: np.random.Generator) -> Tables:
    items, orders, products = (tables[name] for name in ("order_items", "orders", "products"))
    last = items.merge(orders, on="order_id").groupby("product_id")["order_date"].max()
    going_on = items["product_id"].isin(last[last > cutoff].index)
    listed = products.set_index("product_id")["price"] * RISE
    return _with(tables, "order_items", price=items["price"].where(~going_on, items["product_id"].map(listed)).round(2))


Plant = Callable[[Tables, pd.Timestamp, np.random.Generator], Tables]
PLANTED: Mapping[str, Plant] = {
    "customers.segment": segment, "customers.segment_code": segment_code, "customers.total_spend": total_spend,
    "customers.tier": tier, "customers.channel": channel, "customers.updated_at": updated_at,
    "products.units_sold": units_sold, "campaigns": campaigns, "campaigns.campaign_response": campaign_response,
    "loyalty.membership_level": membership_level, "loyalty.loyalty_points": loyalty_points,
    "interactions": interactions, "customers.customer_id": customer_id, "order of rows": customers_order,
    "order_items.price": price,
}  # fmt: skip
