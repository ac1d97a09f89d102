"""Columns of a customer, product or category as of a cutoff, by SQL on a database that ends there.

Customer features come in blocks, each computed once a cutoff; a caller gets the groups it asks for (`groups.py`), those
of the configuration by default. Only the two-hop aggregates are never among these: who wants them names them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd
from cachetools import LRUCache, cached

from patron.days import midnight
from patron.features.attributes import attributes, described
from patron.features.expected import btyd_features
from patron.features.groups import RFM, Group, group_of
from patron.features.moment import Moment, run
from patron.features.purchases import divide, purchases
from patron.features.spec import FeatureConfig, FeatureSpec, specify
from patron.features.touches import campaigns, external, interactions, loyalty, order_events, return_reasons
from patron.features.twohop import buyers_of_products, twohop
from patron.tables.engine import Tables
from patron.task.ltv import TaskTable

__all__ = [
    "RFM", "FeatureConfig", "FeatureSpec", "customer_features", "design", "order_features", "product_features",
    "require_known", "specify",
]  # fmt: skip


def _calendar(moment: Moment) -> pd.DataFrame:
    angle = 2 * np.pi * (moment.cutoff.timetuple().tm_yday / 365.25)
    return pd.DataFrame({"season_sin": np.sin(angle), "season_cos": np.cos(angle)}, index=moment.customers)


def _btyd(moment: Moment) -> pd.DataFrame:
    return btyd_features(_block(moment.db, moment.cutoff, moment.spec, purchases), days=moment.days)


Block = Callable[[Moment], pd.DataFrame]
REMEMBERED = 6 * 2**30  # bytes of blocks: those of three cutoffs with a million customers
# In the order of the columns. Of a block with several groups, those that are asked for are kept.
BLOCKS: Mapping[Block, tuple[Group, ...]] = {
    purchases: ("rfm", "windows", "percentiles", "baskets", "returns"),
    return_reasons: ("returns",),
    campaigns: ("campaigns",),
    loyalty: ("loyalty",),
    order_events: ("order_events",),
    interactions: ("interactions",),
    external: ("external",),
    _calendar: ("calendar",),
    _btyd: ("btyd",),
    twohop: ("twohop",),
    attributes: ("attributes",),
}


def customer_features(
    db: Tables, *, cutoff: date, spec: FeatureSpec, groups: Sequence[Group] | None = None
) -> pd.DataFrame:
    """One row a customer known at `cutoff`, sorted by the index `customer_id`; columns float64 or text, of `groups`,
    by default those of the spec.

    `db` must end at the cutoff. Customers without an order have 0 where nothing was bought and NaN where nothing is
    defined.
    """
    wanted = spec.groups if groups is None else groups
    blocks = [_block(db, cutoff, spec, block) for block, made in BLOCKS.items() if not set(made).isdisjoint(wanted)]
    index = Moment(db, cutoff, spec).customers
    parts = [block[[name for name in block if group_of(str(name)) in wanted]] for block in blocks]
    return pd.concat([pd.DataFrame(index=index), *parts], axis=1)


def _bytes(block: pd.DataFrame) -> int:
    return int(block.memory_usage().sum())


@cached(LRUCache(REMEMBERED, getsizeof=_bytes))
def _block(db: Tables, cutoff: date, spec: FeatureSpec, block: Block) -> pd.DataFrame:
    return block(Moment(db, cutoff, spec))


@lru_cache(maxsize=64)
def product_features(db: Tables, *, cutoff: date, spec: FeatureSpec, key: str) -> pd.DataFrame:
    """One row a product (or category: `key="category_id"`) sold by `cutoff`, sorted by the index `key`; columns
    float64, and the texts that describe it; of a product also how its buyers did."""
    moment = Moment(db, cutoff, spec)
    frame = moment.run("products", key=key, horizon_days=moment.days).drop(columns="key").set_index(key)
    frame["repeat_share"] = frame["buyers_repeated"] / frame["buyers"]
    frame["trend"] = np.log1p(frame["revenue_recent"]) - np.log1p(frame["revenue_before"])
    frame["revenue_per_buyer"] = frame["revenue"] / frame["buyers"]
    table = "products" if key == "product_id" else "categories"
    known = described(moment, table, columns=spec.described(table))
    if spec.has("products", "cost") and spec.has("products", "price") and table == "products":
        known["product_margin"] = divide(known["product_price"] - known["product_cost"], known["product_price"])
    if table == "products":
        known = buyers_of_products(moment).join(known)
    return frame.astype(np.float64).join(known)


@lru_cache(maxsize=64)
def order_features(db: Tables, *, cutoff: date) -> pd.DataFrame:
    """One row an order known at `cutoff`, sorted by the index `order_id`; columns float64, the age in days."""
    return run(db, "order_nodes", cutoff=cutoff).set_index("order_id").astype(np.float64)


def design(db: Tables, *, rows: TaskTable, spec: FeatureSpec, groups: Sequence[Group] | None = None) -> pd.DataFrame:
    """The customer features of every row, in the order of `rows`: [n] rows. Each cutoff sees the database as it was
    then.

    Raises ValueError for customers that the customers table does not know at their cutoff.
    """
    parts = []
    for cutoff in rows.cutoffs:
        ids = rows.at(cutoff).frame["customer_id"]
        features = customer_features(db.upto(cutoff), cutoff=cutoff, spec=spec, groups=groups)
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
