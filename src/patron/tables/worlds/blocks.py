"""Some customers of a world with all they did, and what turns it into columns of tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from patron.days import DAY_SECONDS
from patron.tables.worlds.config import CalendarConfig, WorldConfig
from patron.tables.worlds.latent import BLOCK, Catalogue, Customers
from patron.tables.worlds.purchases import Items, Orders, Touches, draw_items, draw_orders, draw_touches


@dataclass(frozen=True)
class Block:
    """Customers from row `start` of the world on, with their campaigns, their orders in time order, and the lines."""

    start: int
    customers: Customers
    touches: Touches
    orders: Orders
    items: Items


def draw_block(customers: Customers, catalogue: Catalogue, *, start: int, config: WorldConfig) -> Block:
    """What the customers from row `start` on did. All streams of random numbers depend on the block alone."""
    rng, theirs = np.random.default_rng([config.seed, 2, start]), customers.part(slice(start, start + BLOCK))
    touches = draw_touches(rng, theirs, config=config)
    orders = draw_orders(rng, theirs, touches, config=config)
    return Block(start, theirs, touches, orders, draw_items(rng, orders, theirs, catalogue, config=config))


def instants(day: np.ndarray, config: CalendarConfig) -> np.ndarray:
    """Days since the start as instants, on the second and before the end of the world."""
    seconds = np.minimum((day * DAY_SECONDS).astype(np.int64), config.days * DAY_SECONDS - 1)
    return np.datetime64(config.start, "us") + seconds.astype("timedelta64[s]").astype("timedelta64[us]")


def midnights(day: np.ndarray, config: CalendarConfig) -> np.ndarray:
    """The instants at which these days start."""
    return instants(np.floor(day), config)


def words(names: Sequence[str], which: np.ndarray) -> pa.Array:
    """The text column with `names[which]`."""
    return pa.array(names, pa.string()).take(pa.array(which))


def numbered(table: dict[str, object], *, key: str, before: int) -> pa.Table:
    """The table with a key first that counts on from `before`."""
    rows = pa.table(table)
    return rows.add_column(0, key, pa.array(np.arange(before, before + rows.num_rows)))
