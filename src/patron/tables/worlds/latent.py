"""What nobody in a world can see: who the customers are, and what the catalogue is like.

All times are days since the first day of the world. Everything is drawn from streams of random numbers that depend on
the seed and on the number of the block of customers, so that a world is the same however much of it is held at once.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from patron.tables.worlds.config import CatalogueConfig, WorldConfig

BLOCK = 50_000  # customers drawn at a time
PERIOD = 28  # days in which the offer of products stays the same
CAMPAIGN_DAYS, RESPONSE_DAYS = 28, 14
RESPONSE_SHAPE = 2  # first shape of the Beta of customers' shares of responses
RETURN_DAYS = (3, 30)  # a line is sent back at any time between


@dataclass(frozen=True)
class Customers:
    """The latent state of customers, each [n]. `leaves` is the day on which a customer starts to leave, `level` the
    standard normal that shows after the trial, `value` the mean value of an order before it."""

    customer_id: np.ndarray
    community: np.ndarray
    arrives: np.ndarray
    leaves: np.ndarray
    hazard: np.ndarray
    rate: np.ndarray
    level: np.ndarray
    value: np.ndarray
    response: np.ndarray
    cold: np.ndarray

    def __len__(self) -> int:
        return len(self.customer_id)

    def part(self, where: slice | np.ndarray) -> Self:
        """Some of the customers, in the order of `where`, and as often as they stand there."""
        return type(self)(**{field.name: getattr(self, field.name)[where] for field in fields(self)})


def draw_effects(config: WorldConfig) -> np.ndarray:
    """By how much each community is above the average level, in standard deviations of all levels: [communities]."""
    number = config.communities.number
    return _standard(np.random.default_rng([config.seed, 4]).permutation(np.linspace(-1.7, 1.7, number)))


def draw_customers(config: WorldConfig) -> Customers:
    """All customers of the world, in random order of arrival: ids are 0 to n - 1."""
    rng, n = np.random.default_rng([config.seed, 0]), config.customers
    return draw_states(
        rng,
        config=config,
        customer_id=np.arange(n),
        community=rng.permutation(np.arange(n) % config.communities.number),
        arrives=_arrivals(rng, config),
        effects=draw_effects(config),
    )


def draw_states(
    rng: np.random.Generator, *, config: WorldConfig, customer_id: np.ndarray, community: np.ndarray,
    arrives: np.ndarray, effects: np.ndarray, survived: np.ndarray | float = 0.0,
) -> Customers:  # fmt: skip
    """Customers who came on the days `arrives` [n] and are of these communities, the rest drawn as the config says
    given that none begins to leave within `survived` days."""
    purchases, signal, n = config.purchases, config.communities.graph_signal, len(arrives)
    hazard = rng.gamma(purchases.lifetime_shape, 1, n) / (purchases.lifetime_shape * purchases.lifetime_days + survived)
    return Customers(
        customer_id=customer_id,
        community=community,
        arrives=arrives,
        leaves=arrives + survived + rng.exponential(1, n) / np.maximum(hazard, 1e-12),
        hazard=hazard,
        rate=rng.gamma(purchases.rate_shape, 1 / purchases.rate_shape, n),
        level=np.sqrt(signal) * effects[community] + np.sqrt(1 - signal) * rng.standard_normal(n),
        value=purchases.value * _inverse_gamma(rng, n, spread=purchases.value_spread),
        response=_responses(rng, n, share=config.contacts.response),
        cold=rng.random(n) < config.arrivals.cold_share,
    )


def _responses(rng: np.random.Generator, n: int, *, share: float) -> np.ndarray:
    return (
        np.full(n, share) if share in (0, 1) else rng.beta(RESPONSE_SHAPE, RESPONSE_SHAPE / share - RESPONSE_SHAPE, n)
    )


def _standard(effects: np.ndarray) -> np.ndarray:
    # The spread that is asked for, whatever the number of communities; a single one has no effect.
    return (effects - effects.mean()) / max(effects.std(), 1e-12)


def _arrivals(rng: np.random.Generator, config: WorldConfig) -> np.ndarray:
    # Density proportional to growth ** (t / days), by its inverse distribution.
    n, growth, relaunch = config.customers, config.arrivals.growth, config.relaunch
    u, days = rng.random(n), config.calendar.days if relaunch is None else relaunch.day
    arrives = days * (u if growth == 1 else np.log1p(u * (growth - 1)) / np.log(growth))
    if relaunch is None:
        return arrives
    later = np.random.default_rng([config.seed, 7])
    return np.where(later.random(n) < relaunch.share, later.uniform(relaunch.day, config.calendar.days, n), arrives)


def relaunched(customers: Customers, config: WorldConfig) -> np.ndarray:
    """Whether a customer came with the relaunch: [n]."""
    return customers.arrives >= (np.inf if config.relaunch is None else config.relaunch.day)


def _inverse_gamma(rng: np.random.Generator, n: int, *, spread: float) -> np.ndarray:
    # Mean 1 and coefficient of variation `spread`: the mixing distribution of the Gamma-Gamma model.
    if spread == 0:
        return np.ones(n)
    shape = 2 + 1 / spread**2
    return (shape - 1) / rng.gamma(shape, 1, n)


@dataclass(frozen=True)
class Catalogue:
    """Products, each [products], and what is on offer: `listed` are the products by community, `offers` the running
    sums of their popularity, of each period and community in turn, normalised to 1 and raised by the number of the
    turn."""

    community: np.ndarray
    category: np.ndarray
    price: np.ndarray
    cost: np.ndarray
    return_rate: np.ndarray
    offers: np.ndarray
    listed: np.ndarray

    def choose(self, u: np.ndarray, *, period: np.ndarray, community: np.ndarray, communities: int) -> np.ndarray:
        """Products bought, by uniform numbers `u` [m]: [m] ids."""
        place = np.searchsorted(self.offers, period * communities + community + u, side="right")
        return self.listed[place % len(self.listed)]

    def returned(self, communities: int) -> np.ndarray:
        """The average return rate of what each community is offered, by popularity: [periods, communities]."""
        weight = np.diff(self.offers, prepend=0).reshape(-1, len(self.listed)) * self.return_rate[self.listed]
        first = np.searchsorted(self.community[self.listed], np.arange(communities))
        return np.add.reduceat(weight, first, axis=1)  # the weights of a turn add up to 1


def draw_catalogue(config: WorldConfig) -> Catalogue:
    """The products: every community has one of each kind, alike in category, price, cost, life, popularity and return
    rate. So only who else bought a product tells its community, and nothing that can be counted in a customer's own
    orders."""
    rng, wanted, communities = np.random.default_rng([config.seed, 1]), config.catalogue, config.communities.number
    kinds = -(-wanted.products // communities)
    kind, community = np.divmod(rng.permutation(kinds * communities), communities)
    price = np.maximum(config.purchases.value / wanted.lines / 3 * np.exp(rng.normal(0, 0.5, kinds)), 0.5)
    popular = rng.permutation(np.arange(1, kinds + 1) ** -wanted.popularity)
    launched = rng.uniform(-wanted.life_days, config.calendar.days, kinds)
    lives = wanted.life_days * rng.gamma(4, 1 / 4, kinds)
    asked = _asked(popular, launched=launched, lives=lives, days=config.calendar.days)
    listed = np.argsort(community, kind="stable")
    return Catalogue(
        community=community,
        category=rng.integers(0, wanted.categories, kinds)[kind],
        price=np.round(price, 2)[kind],
        cost=np.round(price * rng.uniform(0.4, 0.8, kinds), 2)[kind],
        return_rate=_return_rates(rng, wanted, number=kinds)[kind],
        offers=_offers(asked[:, kind[listed]], community[listed]),
        listed=listed,
    )


def _return_rates(rng: np.random.Generator, config: CatalogueConfig, *, number: int) -> np.ndarray:
    if config.return_rate in (0, 1):
        return np.full(number, config.return_rate)
    return rng.beta(2, 2 / config.return_rate - 2, number)


def _asked(weight: np.ndarray, *, launched: np.ndarray, lives: np.ndarray, days: int) -> np.ndarray:
    # Popularity in the middle of each period: [periods, products]. Most is asked for in the middle of a product's life,
    # hardly anything out of it: then nothing else of the community may be on sale.
    middle = np.arange(0, days + 1, PERIOD)[:, None] + PERIOD / 2
    age = (middle - launched) / lives
    return weight * np.where((age > 0) & (age < 1), 4 * age * (1 - age) + 0.1, 1e-6)


def _offers(asked: np.ndarray, community: np.ndarray) -> np.ndarray:
    # [periods, products] with the products by community -> running sums, a turn a period and community:
    # [periods x products].
    communities = community[-1] + 1
    last = np.searchsorted(community, np.arange(communities), side="right") - 1
    running = np.cumsum(asked, axis=1)
    start = np.concatenate([np.zeros((len(asked), 1)), running[:, last][:, :-1]], axis=1)
    share = np.minimum((running - start[:, community]) / (running[:, last] - start)[:, community], 1.0)
    share[:, last] = 1.0  # whatever rounding says
    return (np.arange(len(asked))[:, None] * communities + community + share).ravel()
