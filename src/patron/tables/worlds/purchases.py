"""Orders and their items: an inhomogeneous Poisson process a customer, by inversion, and a catalogue by taste."""

from dataclasses import dataclass

import numpy as np

from patron.tables.worlds.config import CalendarConfig, WorldConfig
from patron.tables.worlds.latent import CAMPAIGN_DAYS, PERIOD, RESPONSE_DAYS, Catalogue, Customers, relaunched


@dataclass(frozen=True)
class Touches:
    """Who was reached by which campaign, when, and with what response: each [t]; `owner` is the row of the customer."""

    owner: np.ndarray
    campaign: np.ndarray
    responded: np.ndarray


@dataclass(frozen=True)
class Orders:
    """Orders of a block of customers, each [o]: `owner` is the row of the customer, `day` when, `amount` what it was
    worth before discount, `promoted` whether a campaign brought it."""

    owner: np.ndarray
    day: np.ndarray
    amount: np.ndarray
    promoted: np.ndarray


@dataclass(frozen=True)
class Items:
    """Lines of orders, each [l]: `order` is the row of the order."""

    order: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    amount: np.ndarray


def pace(config: CalendarConfig) -> np.ndarray:
    """By how much each day of the world, and of the two years after it, multiplies all rates: [days + 730]."""
    day = np.arange(config.days + 730)
    year_day = (config.start.timetuple().tm_yday - 1 + day) % 365.25
    christmas = np.exp(-0.5 * ((year_day - 340) / 14) ** 2)
    season = 1 + config.christmas * christmas
    return season * np.where(day >= config.shift_day, config.shift, 1.0)


def campaign_days(config: CalendarConfig) -> np.ndarray:
    """The first days of all campaigns."""
    return np.arange(CAMPAIGN_DAYS / 2, config.days, CAMPAIGN_DAYS)


def campaign_on(day: np.ndarray | float) -> np.ndarray:
    """Whether a campaign may bring orders at this time."""
    return np.asarray((day - CAMPAIGN_DAYS / 2) % CAMPAIGN_DAYS < RESPONSE_DAYS)


def gone(customers: Customers, config: WorldConfig) -> np.ndarray:
    """The day after which a customer orders no more: [n]."""
    return customers.leaves + config.purchases.leaving_days


def rate_at(customers: Customers, *, day: np.ndarray | float, config: WorldConfig) -> np.ndarray:
    """Orders a day of customers who are there and not leaving, before the calendar's pace: [n]."""
    mature = day >= customers.arrives + config.purchases.trial_days
    purchases, level = config.purchases, config.communities.rate_effect * customers.level
    trial = np.where(customers.cold, 0.0, purchases.trial_rate)
    rate = customers.rate * np.where(mature, purchases.rate * np.exp(level), trial) / 365
    if config.relaunch is None:
        return rate
    return rate * np.where(relaunched(customers, config), config.relaunch.rate, 1.0)


def value_at(customers: Customers, *, day: np.ndarray | float, config: WorldConfig) -> np.ndarray:
    """The mean value of an order, before discount: [n]."""
    mature = day >= customers.arrives + config.purchases.trial_days
    value = customers.value * np.where(mature, np.exp(config.communities.value_effect * customers.level), 1.0)
    if config.relaunch is None:
        return value
    return value * np.where(relaunched(customers, config), config.relaunch.value, 1.0)


def draw_touches(rng: np.random.Generator, customers: Customers, *, config: WorldConfig, since: float = 0.0) -> Touches:
    """Every campaign that may bring orders from day `since` on reaches a share of the customers who have come and not
    yet gone."""
    starts, until = campaign_days(config.calendar), gone(customers, config)
    first = int(np.searchsorted(starts, since - RESPONSE_DAYS))
    starts = starts[first:]
    drawn = rng.random((len(customers), len(starts)), dtype=np.float32) < config.contacts.reach
    there = (starts > customers.arrives[:, None]) & (starts < until[:, None])
    owner, campaign = np.nonzero(drawn & there)
    return Touches(owner, first + campaign, rng.random(len(owner)) < customers.response[owner])


def draw_orders(
    rng: np.random.Generator, customers: Customers, touches: Touches, *, config: WorldConfig, since: float = 0.0
) -> Orders:
    """The first order at the arrival, the orders of the trial and of the time after, and those that campaigns brought:
    all from day `since` to the end of the calendar."""
    clock = np.concatenate([[0.0], np.cumsum(pace(config.calendar)[: config.calendar.days])])
    trial_ends = np.minimum(customers.arrives + config.purchases.trial_days, config.calendar.days)
    until = np.minimum(gone(customers, config), config.calendar.days)
    everybody = np.arange(len(customers))
    trial = _poisson(rng, everybody, np.maximum(customers.arrives, since), np.minimum(trial_ends, until),
                     rate=rate_at(customers, day=-np.inf, config=config), clock=clock)  # fmt: skip
    mature = _poisson(rng, everybody, np.maximum(trial_ends, since), until,
                      rate=rate_at(customers, day=np.inf, config=config), clock=clock)  # fmt: skip
    promoted = _promoted(rng, customers, touches, config=config, clock=clock, since=since)
    owner = np.concatenate([everybody, trial[0], mature[0], promoted[0]])
    day = np.concatenate([customers.arrives, trial[1], mature[1], promoted[1]])
    by_campaign = np.arange(len(owner)) >= len(owner) - len(promoted[0])
    leaving = (day >= customers.leaves[owner]) & (rng.random(len(owner)) >= config.purchases.leaving_rate)
    first = np.arange(len(owner)) < len(everybody)
    kept = np.where(first, day >= since, ~leaving & (day < until[owner]))
    order = np.argsort(day[kept], kind="stable")
    owner, day, by_campaign = owner[kept][order], day[kept][order], by_campaign[kept][order]
    shape, mean = config.purchases.value_shape, value_at(customers.part(owner), day=day, config=config)
    return Orders(owner, day, rng.gamma(shape, 1 / shape, len(owner)) * mean, by_campaign)


def _promoted(
    rng: np.random.Generator, customers: Customers, touches: Touches, *, config: WorldConfig, clock: np.ndarray,
    since: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    owner = touches.owner[touches.responded]
    start = campaign_days(config.calendar)[touches.campaign[touches.responded]]
    end = np.minimum(start + RESPONSE_DAYS, config.calendar.days)
    rate = config.contacts.lift * rate_at(customers.part(owner), day=start, config=config)
    return _poisson(rng, owner, np.maximum(start, since), end, rate=rate, clock=clock)


def _poisson(
    rng: np.random.Generator, owner: np.ndarray, start: np.ndarray, end: np.ndarray, *, rate: np.ndarray,
    clock: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    # Events of each spell [start, end) at `rate` by the clock, which runs faster when all rates are higher.
    days = np.arange(len(clock))
    first, last = np.interp(start, days, clock), np.interp(np.maximum(end, start), days, clock)
    number = rng.poisson(rate * (last - first))
    spell = np.repeat(np.arange(len(owner)), number)
    mass = first[spell] + rng.random(len(spell)) * (last - first)[spell]
    return owner[spell], np.interp(mass, clock, days)


def draw_items(
    rng: np.random.Generator, orders: Orders, customers: Customers, catalogue: Catalogue, *, config: WorldConfig
) -> Items:
    """The lines of the orders, in their order. Amounts of an order add up to what it was worth, less its discount."""
    wanted, communities = config.catalogue, config.communities.number
    lines = 1 + rng.poisson(wanted.lines - 1, len(orders.owner))
    order = np.repeat(np.arange(len(lines)), lines)
    at_home = rng.random(len(order)) < wanted.taste
    community = np.where(at_home, customers.community[orders.owner[order]], rng.integers(0, communities, len(order)))
    period = (orders.day[order] // PERIOD).astype(np.int64)
    product = catalogue.choose(rng.random(len(order)), period=period, community=community, communities=communities)
    share = rng.exponential(1, len(order))
    worth = orders.amount[order] * share / np.bincount(order, share, len(lines))[order]
    quantity = np.maximum(np.rint(worth / catalogue.price[product]), 1.0)
    price = np.maximum(np.round(worth / quantity, 2), 0.01)
    kept = np.where(orders.promoted[order], 1 - config.contacts.discount, 1.0)
    return Items(order, product, quantity, price, np.round(quantity * price * kept, 2))
