"""A database becomes a timed `HeteroData`: customers, products, categories and orders, joined by what they did and
when.

| edge | from the table | carries |
|---|---|---|
| `customer placed order` | orders | time |
| `order contains product` | order_items | time, amount, quantity |
| `customer purchased product` | order_items, one edge a line | time, amount, quantity |
| `product belongs_to category` | products | |
| `customer co_shopper customer` | derived: Jaccard of product sets | time, jaccard |

A co-shopper edge says something about two whole product sets, so it is known from the day the later of the two last
grew.
"""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch_geometric.data import HeteroData

from patron.days import epoch_seconds
from patron.graph.coshopper import CoShopperConfig, co_shoppers
from patron.tables.database import Database
from patron.tables.engine import query

Relation = Literal["placed", "contains", "purchased", "belongs_to", "co_shopper"]
EdgeType = tuple[str, str, str]
EDGES: dict[Relation, EdgeType] = {
    "placed": ("customer", "placed", "order"),
    "contains": ("order", "contains", "product"),
    "purchased": ("customer", "purchased", "product"),
    "belongs_to": ("product", "belongs_to", "category"),
    "co_shopper": ("customer", "co_shopper", "customer"),
}


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GraphConfig:
    """Which relations the graph has, how fast an edge's weight halves with age, and what a co-shopper is."""

    relations: tuple[Relation, ...]
    half_life_days: Annotated[float, Field(gt=0)]
    co_shopper: CoShopperConfig


_LINES = """
SELECT o.customer_id, o.order_id, i.product_id, COALESCE(i.amount, 0) AS amount, COALESCE(i.quantity, 0) AS quantity,
o.order_date AS time FROM order_items i JOIN orders o USING (order_id) WHERE i.product_id IS NOT NULL ORDER BY
o.order_date, o.order_id, i.product_id, i.amount
"""

_SOLD = """
SELECT product_id, category_id FROM products
WHERE category_id IS NOT NULL
  AND product_id IN (SELECT i.product_id FROM order_items i JOIN orders o ON o.order_id = i.order_id)
ORDER BY product_id
"""


def build(db: Database, *, config: GraphConfig) -> HeteroData:
    """The graph of everything `db` knows. Node types keep their `ids`, sorted; edges keep `time` in seconds since 1970.

    Products and categories are nodes once something of theirs was bought; customers and orders as soon as `db` has
    them. Relations without a row leave no edge type, so that a shop without products has a graph of customers and
    orders.
    """
    data = HeteroData()
    lines = query(db, _LINES).to_pandas()
    orders = query(db, "SELECT order_id, customer_id, order_date AS time FROM orders ORDER BY order_id").to_pandas()
    products = query(db, _SOLD).to_pandas()
    _add_nodes(data, "customer", np.sort(db["customers"]["customer_id"].to_pandas().to_numpy()))
    _add_nodes(data, "order", orders["order_id"].to_numpy())
    _add_nodes(data, "product", np.sort(lines["product_id"].unique()))
    _add_nodes(data, "category", np.sort(products["category_id"].unique()))
    _add_edges(data, "placed", orders)
    _add_edges(data, "contains", lines)
    _add_edges(data, "purchased", lines)
    _add_edges(data, "belongs_to", products)
    if len(lines):
        _add_co_shoppers(data, config=config.co_shopper)
    return _restricted(data, relations=config.relations)


def _add_nodes(data: HeteroData, kind: str, ids: np.ndarray) -> None:
    if len(ids):
        data[kind].ids = ids
        data[kind].num_nodes = len(ids)


def _add_edges(data: HeteroData, relation: Relation, rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    source, _, target = EDGES[relation]
    store = data[EDGES[relation]]
    ends = [pd.Index(data[kind].ids).get_indexer(rows[f"{kind}_id"]) for kind in (source, target)]
    assert min(end.min() for end in ends) >= 0, f"{relation}: an edge ends at a node that is not there"
    store.edge_index = torch.from_numpy(np.stack(ends).astype(np.int64))
    for column in ("amount", "quantity"):
        if column in rows:
            store[column] = torch.from_numpy(rows[column].to_numpy(dtype=np.float32, copy=True))
    if "time" in rows:
        store.time = torch.from_numpy(epoch_seconds(rows["time"].to_numpy()))


def _add_co_shoppers(data: HeteroData, *, config: CoShopperConfig) -> None:
    purchased = data[EDGES["purchased"]]
    customer, product = purchased.edge_index.numpy()
    shape = (data["customer"].num_nodes, data["product"].num_nodes)
    bought = sp.csr_matrix((np.ones(len(customer), dtype=np.int8), (customer, product)), shape=shape)
    bought.sum_duplicates()
    bought.data[:] = 1
    edges = co_shoppers(bought, config=config)
    if not len(edges.target):
        return
    grown = _last_growth(customer, product, purchased.time.numpy(), shape=shape)
    store = data[EDGES["co_shopper"]]
    store.edge_index = torch.from_numpy(np.stack([edges.source, edges.target]))
    store.jaccard = torch.from_numpy(edges.jaccard.astype(np.float32))
    store.time = torch.from_numpy(np.maximum(grown[edges.source], grown[edges.target]))


def _last_growth(customer: np.ndarray, product: np.ndarray, time: np.ndarray, *, shape: tuple[int, int]) -> np.ndarray:
    # When each customer last bought something for the first time: [customers], seconds.
    pair = customer.astype(np.int64) * shape[1] + product
    _, first = np.unique(pair, return_index=True)  # lines are in order of time
    grown = np.full(shape[0], np.iinfo(np.int64).min)
    np.maximum.at(grown, customer[first], time[first])
    return grown


def _restricted(data: HeteroData, *, relations: tuple[Relation, ...]) -> HeteroData:
    kept = [EDGES[relation] for relation in relations if EDGES[relation] in data.edge_types]
    nodes = {"customer", *(end for source, _, target in kept for end in (source, target))}
    for edge in [edge for edge in data.edge_types if edge not in kept]:
        del data[edge]
    for kind in [kind for kind in data.node_types if kind not in nodes]:
        del data[kind]
    return data
