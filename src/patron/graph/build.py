"""A database becomes a timed `HeteroData`: customers, and whatever an edge of `EDGES` joins them to, by what they did
and when.

A co-shopper edge says something about two whole product sets, so it is known from the day the later of the two last
grew.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch_geometric.data import HeteroData

from patron.days import epoch_seconds
from patron.graph.coshopper import Baskets, CoShopperConfig, co_shoppers
from patron.graph.edges import EDGES, EdgeType, Relation, Table
from patron.tables.database import Database
from patron.tables.engine import query


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GraphConfig:
    """Which tables and relations the graph has, how fast an edge's weight halves with age, and what a co-shopper is.
    In snapshots of a `shuffled` one the edges join other nodes: a control, never a model to be used.

    A relation needs all its tables among `tables`; None is every table the database has. Customers are always there.
    Snapshots are kept in the folder `cache`, if there is one.
    """

    tables: tuple[Table, ...] | None
    relations: tuple[Relation, ...]
    half_life_days: Annotated[float, Field(gt=0)]
    co_shopper: CoShopperConfig
    shuffled: bool
    cache: Path | None

    @property
    def chosen(self) -> tuple[str, ...]:
        """The relations whose tables are all in the graph, in the order of `EDGES`."""
        return tuple(name for name in EDGES if name in self.relations and self._has(EDGES[name].needs))

    def _has(self, needs: tuple[Table, ...]) -> bool:
        return self.tables is None or set(needs) <= set(self.tables)


def build(db: Database, *, config: GraphConfig) -> HeteroData:
    """The graph of everything `db` knows. Node types keep their `ids`, sorted; edges keep `time` in seconds since 1970.

    All customers are nodes, and whatever else an edge ends at. Relations without a row leave no edge type, so that a
    shop without products has a graph of customers and orders. The id of an order event is its place in
    `patron.features.nodes.ORDER_EVENTS`.
    """
    rows = {EDGES[name].type: query(db, EDGES[name].sql).to_pandas() for name in config.chosen}
    pairs = EDGES["co_shopper"].type
    if pairs in rows:
        rows[pairs] = _co_shopper_rows(rows[pairs], config=config.co_shopper)
    rows = {edge: frame for edge, frame in rows.items() if len(frame)}
    data = HeteroData()
    ids = {"customer": np.sort(db["customers"]["customer_id"].to_pandas().to_numpy()), **_ends(rows)}
    for kind in [kind for kind in ids if len(ids[kind])]:
        data[kind].ids, data[kind].num_nodes = ids[kind], len(ids[kind])
    for edge, frame in rows.items():
        _add_edges(data, edge, frame)
    return data


def _ends(rows: dict[EdgeType, pd.DataFrame]) -> dict[str, np.ndarray]:
    ends: dict[str, list[np.ndarray]] = {}
    for (source, _, target), frame in rows.items():
        for kind, end in ((source, "source"), (target, "target")):
            ends.setdefault(kind, []).append(frame[end].unique())
    return {kind: np.unique(np.concatenate(ids)) for kind, ids in ends.items() if kind != "customer"}


def _add_edges(data: HeteroData, edge: EdgeType, rows: pd.DataFrame) -> None:
    source, relation, target = edge
    ends = [pd.Index(data[kind].ids).get_indexer(rows[end]) for kind, end in ((source, "source"), (target, "target"))]
    assert min(end.min() for end in ends) >= 0, f"{relation}: an edge ends at a node that is not there"
    store = data[edge]
    store.edge_index = torch.from_numpy(np.stack(ends).astype(np.int64))
    for column in rows.columns.intersection(["amount", "quantity", "jaccard"]):
        store[column] = torch.from_numpy(rows[column].to_numpy(dtype=np.float32, copy=True))
    if "time" in rows:
        store.time = torch.from_numpy(epoch_seconds(rows["time"].to_numpy()))


def _co_shopper_rows(lines: pd.DataFrame, *, config: CoShopperConfig) -> pd.DataFrame:
    # Pairs of customers, from their lines in order of time.
    baskets = Baskets.of(lines["source"], lines["target"])
    edges, customers = co_shoppers(baskets.bought, config=config), baskets.customers
    grown = _last_growth(lines)[np.asarray(customers)].to_numpy()
    known = np.maximum(grown[edges.source], grown[edges.target])
    ends = {"source": customers[edges.source], "target": customers[edges.target]}
    return pd.DataFrame({**ends, "time": known, "jaccard": edges.jaccard})


def _last_growth(lines: pd.DataFrame) -> pd.Series:
    # When each customer last bought something for the first time.
    first = lines.drop_duplicates(["source", "target"])  # lines are in order of time
    return first.groupby("source")["time"].max()
