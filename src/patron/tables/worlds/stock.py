"""What does not depend on the customers: products, categories, and the world outside."""

import numpy as np
import pyarrow as pa

from patron.tables.worlds.blocks import midnights, words
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import Catalogue

LOOKS = ("plain", "striped", "small", "large", "soft", "light", "bright", "dark", "folding", "classic")
THINGS = ("lamp", "mug", "scarf", "basket", "bowl", "cushion", "clock", "candle", "frame", "blanket", "tray", "vase")
BRANDS = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Juniper", "Larch", "Maple", "Oak", "Rowan")
CATEGORIES_A_PARENT = 4


def stock_tables(catalogue: Catalogue, *, config: WorldConfig) -> dict[str, pa.Table]:
    """products, categories and external. Names and brands say nothing of the communities."""
    rng = np.random.default_rng([config.seed, 4])
    return {
        "categories": _categories(config.catalogue.categories),
        "products": _products(rng, catalogue),
        "external": _external(rng, config=config),
    }


def _products(rng: np.random.Generator, catalogue: Catalogue) -> pa.Table:
    n = len(catalogue.price)
    look, thing = rng.integers(0, len(LOOKS), n), rng.integers(0, len(THINGS), n)
    return pa.table({
        "product_id": np.arange(n),
        "product_name": [f"{LOOKS[i]} {THINGS[j]} {k}" for k, (i, j) in enumerate(zip(look, thing, strict=True))],
        "category_id": catalogue.category,
        "price": catalogue.price,
        "cost": catalogue.cost,
        "brand": words(BRANDS, rng.integers(0, len(BRANDS), n)),
    })  # fmt: skip


def _categories(number: int) -> pa.Table:
    # Those of the products, and after them their parents, which have none.
    parents = number // CATEGORIES_A_PARENT
    names = [f"category {k}" for k in range(number)] + [f"department {k}" for k in range(parents)]
    above = [number + k % parents for k in range(number)] if parents else [None] * number
    parent_id = pa.array(above + [None] * parents, pa.int64())
    return pa.table({"category_id": np.arange(number + parents), "name": names, "parent_id": parent_id})


def _external(rng: np.random.Generator, *, config: WorldConfig) -> pa.Table:
    # Two weekly series: one follows the lasting change of all rates, one the time of the year.
    day = np.arange(0, config.calendar.days, 7)
    shifted = np.where(day >= config.calendar.shift_day, np.log(config.calendar.shift), 0.0)
    confidence = 100 + 20 * shifted + np.cumsum(rng.normal(0, 0.3, len(day)))
    year_day = config.calendar.start.timetuple().tm_yday + day
    temperature = 11 - 9 * np.cos(2 * np.pi * (year_day - 20) / 365.25) + rng.normal(0, 2, len(day))
    series = words(("consumer_confidence", "temperature"), np.tile([0, 1], len(day)))
    value = np.round(np.column_stack([confidence, temperature]).ravel(), 2)
    return pa.table({"date": midnights(np.repeat(day, 2), config.calendar), "series": series, "value": value})
