"""A world as canonical tables, and the truth beside them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import BLOCK, draw_catalogue, draw_customers, draw_effects
from patron.tables.worlds.purchases import draw_items, draw_orders, draw_touches
from patron.tables.worlds.truth import Truth


@dataclass(frozen=True)
class World:
    """Canonical tables, and what nobody who learns from them may see."""

    tables: Mapping[str, pa.Table]
    truth: Truth


def draw_truth(config: WorldConfig) -> Truth:
    """The latent state of the world's customers; `generate` draws the same."""
    return Truth(config, draw_effects(config), draw_customers(config), draw_catalogue(config))


def generate(config: WorldConfig) -> World:
    """The world of this config: the same every time, whatever is drawn at once."""
    truth = draw_truth(config)
    start = np.datetime64(config.calendar.start, "us")
    parts = []
    orders_before = 0
    for block in range(0, config.customers, BLOCK):
        rng = np.random.default_rng([config.seed, 2, block])
        customers = truth.customers.part(slice(block, block + BLOCK))
        touches = draw_touches(rng, customers, config=config)
        orders = draw_orders(rng, customers, touches, config=config)
        items = draw_items(rng, orders, customers, truth.catalogue, config=config)
        when = start + (orders.day * 86400).astype("timedelta64[s]").astype("timedelta64[us]")
        ids = orders_before + np.arange(len(orders.owner))
        orders_before += len(ids)
        parts.append({
            "orders": pa.table({"order_id": ids, "customer_id": customers.customer_id[orders.owner], "order_date": when}),
            "order_items": pa.table({"order_id": ids[items.order], "product_id": items.product, "quantity": items.quantity, "price": items.price, "amount": items.amount}),
        })
    c = truth.customers
    tables = {k: pa.concat_tables([p[k] for p in parts]) for k in parts[0]}
    tables["customers"] = pa.table({"customer_id": c.customer_id, "registration_date": start + (np.floor(c.arrives) * 86400).astype("timedelta64[s]").astype("timedelta64[us]")})
    cat = truth.catalogue
    tables["products"] = pa.table({"product_id": np.arange(len(cat.price)), "category_id": cat.category, "price": cat.price, "cost": cat.cost})
    tables["categories"] = pa.table({"category_id": np.arange(config.catalogue.categories), "name": [f"category {k}" for k in range(config.catalogue.categories)]})
    return World(tables, truth)
