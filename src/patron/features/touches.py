"""Features of what happened around the purchases: events of orders, interactions, campaigns, returns, loyalty, the
world.

Types have columns of their own, `<what>_<type>`: those that were most frequent at the first cutoff of the fit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.features.moment import Moment
from patron.features.purchases import divide
from patron.tables.engine import query
from patron.tables.schema import TABLES


def order_events(moment: Moment) -> pd.DataFrame:
    """By event type: count, days since the latest, number per order, pace in the last label window over that of all
    history, mean days from the order to the event."""
    days, types = moment.days, moment.spec.event_types
    parts = _by_type(moment, "order_events", "event_type", types=types, windows=(days,))
    count = parts["number"].fillna(0.0)
    placed = query(moment.db, "SELECT customer_id, COUNT(*) AS orders FROM orders GROUP BY customer_id").to_pandas()
    orders = placed.set_index("customer_id")["orders"].reindex(moment.customers)
    usual = (count / moment.history * days).where(count > 0)
    recent = parts[f"number_{days}d"].fillna(0.0) * moment.pace(days)
    made = {
        "event_count": count,
        "event_recency": parts["recency"],
        "event_per_order": count.div(orders, axis=0),
        "event_trend": recent / usual,
        "event_delay": parts["delay"],
    }
    return _wide(made)


def interactions(moment: Moment) -> pd.DataFrame:
    """All, and by type: count, pace in each window, days since the latest."""
    windows, types = moment.spec.windows, moment.spec.interaction_types
    parts = _by_type(moment, "interactions", "interaction_type", types=types, windows=windows)
    made = {"interaction_count": parts["number"].fillna(0.0), "interaction_recency": parts["recency"]}
    made |= {f"interaction_{w}d": parts[f"number_{w}d"].fillna(0.0) * moment.pace(w) for w in windows}
    raw = moment.run("interactions", windows=windows).set_index("customer_id").reindex(moment.customers)
    frame = _paced(raw, "interactions", windows=windows, moment=moment)
    return frame.join([raw["interaction_recency"], _wide(made)])


def campaigns(moment: Moment) -> pd.DataFrame:
    """Touches: count, pace in each window, days since the latest, count by type; and where responses are known, their
    number, their share and the days since the latest."""
    windows, spec = moment.spec.windows, moment.spec
    raw = moment.run("campaigns", windows=windows).set_index("customer_id").reindex(moment.customers)
    frame = _paced(raw, "campaigns", windows=windows, moment=moment)
    frame["campaign_recency"] = raw["campaign_recency"]
    if spec.has("campaigns", "campaign_response"):
        frame["campaign_responses"] = raw["campaign_responses"].fillna(0.0)
        frame["campaign_response_share"] = divide(raw["campaign_responses"], raw["campaign_answers_known"])
        frame["campaign_response_recency"] = raw["campaign_response_recency"]
    types = _by_type(moment, "campaigns", "campaign_type", types=spec.campaign_types, windows=())
    return frame.join(_wide({"campaign_type": types["number"].fillna(0.0)}))


def return_reasons(moment: Moment) -> pd.DataFrame:
    """Number of returns by reason."""
    parts = _by_type(moment, "returns", "return_reason", types=moment.spec.return_reasons, windows=())
    return _wide({"return_reason": parts["number"].fillna(0.0)})


def loyalty(moment: Moment) -> pd.DataFrame:
    """The last state: level (text) and points; days since the first and the last change, their number; points earned
    and redeemed, ever and as a pace in each window. Non-members have changes and points earned of 0, else NaN."""
    windows, spec = moment.spec.windows, moment.spec
    raw = moment.run("loyalty", windows=windows).set_index("customer_id").reindex(moment.customers)
    frame = raw[["loyalty_recency", "loyalty_tenure"]].assign(loyalty_changes=raw["loyalty_changes"].fillna(0.0))
    if spec.has("loyalty", "loyalty_points"):
        frame["loyalty_points"] = raw["loyalty_points"]
    for what in ("earned", "redeemed"):
        if spec.has("loyalty", f"points_{what}"):
            frame = frame.join(_paced(raw, f"loyalty_{what}", windows=windows, moment=moment))
    frame = frame.astype(np.float64)
    return frame.join(raw["loyalty_level"]) if spec.has("loyalty", "membership_level") else frame


def external(moment: Moment) -> pd.DataFrame:
    """Of each series the last value, and its ratio to the mean of the year before the cutoff; the same for all."""
    last = moment.run("external").set_index("series").reindex(list(moment.spec.series))
    ratio = divide(last["value"], last["mean"])
    row = {f"external_last_{name}": last.loc[name, "value"] for name in last.index}
    row |= {f"external_ratio_{name}": ratio[name] for name in last.index}
    return pd.DataFrame(row, index=moment.customers, dtype=np.float64)


def _by_type(
    moment: Moment, table: str, column: str, *, types: Sequence[str], windows: Sequence[int]
) -> dict[str, pd.DataFrame]:
    # For each measure a frame of customers x types; NaN where a customer has none of a type.
    wanted = pa.table({"type": pa.array(types, pa.string())})
    asked = {"table": table, "column": column, "time": TABLES[table].time, "windows": windows}
    found = moment.run("by_type", tables={"wanted": wanted}, **asked)
    measures = found.columns.drop(["customer_id", "type"])
    return {
        str(name): found.pivot(index="customer_id", columns="type", values=name)
        .reindex(index=moment.customers, columns=list(types))
        .astype(np.float64)
        for name in measures
    }


def _wide(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part.add_prefix(f"{name}_") for name, part in parts.items()], axis=1)


def _paced(raw: pd.DataFrame, name: str, *, windows: Sequence[int], moment: Moment) -> pd.DataFrame:
    ever = raw[[name]].fillna(0.0)
    return ever.assign(**{f"{name}_{w}d": raw[f"{name}_{w}d"].fillna(0.0) * moment.pace(w) for w in windows})
