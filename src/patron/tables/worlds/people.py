"""Customers as the shop knows them, and its contacts with them. Nothing here says what level a customer is of.

Contacts foreshadow the leaving of a customer: there are fewer of them, and more of those ask for support.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from patron.tables.worlds.blocks import Block, instants, midnights, numbered, words
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.events import FORESHADOW_DAYS
from patron.tables.worlds.latent import Customers, relaunched
from patron.tables.worlds.purchases import campaign_days

CHANNELS = ("search", "store", "friend", "advertisement")
RELAUNCH = "marketplace"  # the channel of those who came with a relaunch, and of nobody else
REGIONS = ("north", "east", "south", "west", "capital")
AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
NAMES = (
    "Ada", "Ben", "Chen", "Dora", "Emil", "Fatima", "Greta", "Hugo", "Ines", "Jonas", "Kofi", "Lena", "Mina", "Nils",
    "Olga", "Priya", "Quinn", "Rosa", "Sami", "Tara", "Umar", "Vera", "Wim", "Yuki",
)  # fmt: skip
KINDS = ("visit", "newsletter_open", "support")
SHARES, SHARES_LEAVING = (0.6, 0.35, 0.05), (0.45, 0.2, 0.35)  # of the kinds
KEPT = (1.0, 0.5, 0.1)  # of the interactions: of who stays, before the leaving, and after it
DETAILS = (
    "looked around", "used the search", "left a full basket",
    "monthly letter", "new arrivals", "birthday letter",
    "asked about an order", "wanted to change the address", "was unhappy with the service",
)  # fmt: skip
CAMPAIGNS = ("email", "letter", "app message", "voucher")


def customers_table(rng: np.random.Generator, customers: Customers, *, config: WorldConfig) -> pa.Table:
    """Who registered when, on the day of the first order. Names, addresses and numbers are made up, the latter two
    unique."""
    n, key = len(customers), pa.array(customers.customer_id)
    name = words(NAMES, rng.integers(0, len(NAMES), n))
    phone = pa.array(1_000_000_000 + customers.customer_id * 7_919_381 % 999_999_937)  # unlike any prefix of the world
    channel = np.where(relaunched(customers, config), len(CHANNELS), rng.integers(0, len(CHANNELS), n))
    return pa.table({
        "customer_id": key,
        "registration_date": midnights(customers.arrives, config.calendar),
        "channel": words((*CHANNELS, RELAUNCH), channel),
        "geo": words(REGIONS, rng.integers(0, len(REGIONS), n)),
        "age_band": words(AGES, rng.integers(0, len(AGES), n)),
        "household_size": 1 + rng.poisson(1.3, n),
        "first_name": name,
        "email": _joined(pc.utf8_lower(name), ".", key, "@example.com"),
        "phone": _joined("+999 ", phone),
    })  # fmt: skip


def interactions_table(rng: np.random.Generator, block: Block, *, config: WorldConfig, before: int) -> pa.Table:
    """Visits, newsletters opened and calls for support: half as many before the leaving, a tenth after it."""
    customers, end = block.customers, config.calendar.days
    number = rng.poisson(config.contacts.interactions / 365 * (end - customers.arrives))
    owner = np.repeat(np.arange(len(customers)), number)
    day = rng.uniform(customers.arrives[owner], end)
    to_go = customers.leaves[owner] - day
    kept = rng.random(len(owner)) < np.select([to_go > FORESHADOW_DAYS, to_go > 0], KEPT[:2], KEPT[2])
    rows = np.flatnonzero(kept)[np.argsort(day[kept], kind="stable")]
    owner, day, to_go = owner[rows], day[rows], to_go[rows]
    leaving = (to_go <= FORESHADOW_DAYS) & (to_go > -config.purchases.leaving_days)
    u = rng.random(len(rows))
    kind = np.where(leaving, _choice(u, SHARES_LEAVING), _choice(u, SHARES))
    table = {
        "customer_id": customers.customer_id[owner],
        "interaction_date": instants(day, config.calendar),
        "interaction_type": words(KINDS, kind),
        "interaction_details": words(DETAILS, 3 * kind + rng.integers(0, 3, len(rows))),
    }
    return numbered(table, key="interaction_id", before=before)


def campaigns_table(block: Block, *, config: WorldConfig) -> pa.Table:
    """Who was reached by which campaign, dated by its first day, in time order."""
    touches = block.touches
    rows = np.argsort(touches.campaign, kind="stable")
    campaign = touches.campaign[rows]
    return pa.table({
        "campaign_id": campaign,
        "customer_id": block.customers.customer_id[touches.owner[rows]],
        "campaign_type": words(CAMPAIGNS, campaign % len(CAMPAIGNS)),
        "campaign_date": midnights(campaign_days(config.calendar)[campaign], config.calendar),
        "campaign_response": touches.responded[rows].astype(np.int64),
    })  # fmt: skip


def _choice(u: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    return np.searchsorted(np.cumsum(shares[:-1]), u, side="right")


def _joined(*parts: str | pa.Array) -> pa.Array:
    texts = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, "")
