"""What each customer of a world is expected to spend, given all that is latent at a cutoff: the ceiling of any model.

Whether a customer has begun to leave is known, when one will is not. The expectation is over the rest of the lifetime,
the number of orders, their values and the customer's responses to campaigns. It is summed week by week.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import CAMPAIGN_DAYS, RESPONSE_DAYS, Catalogue, Customers
from patron.tables.worlds.purchases import pace, rate_at, value_at

STEP = 7.0  # days


@dataclass(frozen=True)
class Expected:
    """Expected `orders` and `gross` and `net` spend of customers in a window, each [n]; 0 before the first order."""

    orders: np.ndarray
    gross: np.ndarray
    net: np.ndarray


@dataclass(frozen=True)
class Truth:
    """The latent state of all customers of a world, kept beside its tables and never in them; `effects` are those of
    the communities on the level."""

    config: WorldConfig
    effects: np.ndarray
    customers: Customers
    catalogue: Catalogue

    def expected(self, cutoff: date, *, days: int) -> Expected:
        """What is to be expected in `(cutoff, cutoff + days]` of every customer who has come by then."""
        now, config, customers = float((cutoff - self.config.calendar.start).days), self.config, self.customers
        calendar = pace(config.calendar)
        orders, gross = np.zeros(len(customers)), np.zeros(len(customers))
        brought = config.contacts.reach * config.contacts.lift * RESPONSE_DAYS / CAMPAIGN_DAYS * customers.response
        full = 1 + brought * (1 - config.contacts.discount)
        for start in np.arange(now, now + days, STEP):
            end = min(start + STEP, now + days)
            middle = (start + end) / 2
            there = self._activity(middle, now=now) * (end - start) * calendar[int(middle)]
            rate = rate_at(customers, day=middle, config=config) * there
            orders += rate * (1 + brought)
            gross += rate * full * value_at(customers, day=middle, config=config)
        come = customers.arrives <= now
        return Expected(orders * come, gross * come, gross * come * (1 - self._returned()))

    def _activity(self, day: float, *, now: float) -> np.ndarray:
        # Expected share of the full pace at `day`: 1 of who has not begun to leave, `leaving_rate` of who is leaving.
        wanted, customers = self.config.purchases, self.customers
        staying = np.exp(-customers.hazard * (day - now))
        begun = np.exp(-customers.hazard * max(day - wanted.leaving_days - now, 0.0)) - staying
        still = customers.leaves + wanted.leaving_days > day
        unknown = staying + wanted.leaving_rate * begun
        return np.where(customers.leaves > now, unknown, wanted.leaving_rate * still)

    def _returned(self) -> np.ndarray:
        by_community = self.catalogue.returned(self.config.communities.number)
        taste = self.config.catalogue.taste
        return taste * by_community[self.customers.community] + (1 - taste) * by_community.mean()
