"""What each customer of a world is expected to spend, given all that is latent at a cutoff: the ceiling of any model.

Known is whether a customer has begun to leave, and a leaving that contacts foreshadow already; when any other will
leave is not. The expectation is over the rest of the lifetime, the number of orders, their values, the customer's
responses to campaigns, and the returns, also of orders that were placed before the cutoff. It is summed over steps of
at most a week, within which no campaign starts or ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.events import FORESHADOW_DAYS
from patron.tables.worlds.latent import CAMPAIGN_DAYS, PERIOD, RESPONSE_DAYS, RETURN_DAYS, Catalogue, Customers
from patron.tables.worlds.purchases import campaign_on, pace, rate_at, value_at

STEP = 7.0  # days


@dataclass(frozen=True)
class Totals:
    """`orders`, `gross` and `net` spend of customers in a window, expected or drawn, each [n] or [n, draws]; 0 before
    the first order.

    Net is gross less what is refunded in the window, which may be below 0.
    """

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

    def expected(self, cutoff: date, *, days: int) -> Totals:
        """What is to be expected in `(cutoff, cutoff + days]` of every customer who has come by the cutoff. Raises
        ValueError if that ends more than two years after the world."""
        now, customers = float((cutoff - self.config.calendar.start).days), self.customers
        clock, returned = np.concatenate([[0.0], np.cumsum(pace(self.config.calendar))]), self._returned()
        self.require_known(cutoff, days=days)
        orders, gross = np.zeros(len(customers)), np.zeros(len(customers))
        refunds = self._first_orders(now) * returned(now) * _refunded(customers.arrives, now=now, days=days)
        for start, end in _steps(now, days=days):
            middle = (start + end) / 2
            number, worth = self._pace_at(middle, now=now)
            mass = np.diff(np.interp([start, end], np.arange(len(clock)), clock))[0]
            refunds += worth * mass * returned(middle) * _refunded(middle, now=now, days=days)
            if start >= now:
                orders += number * mass
                gross += worth * mass
        come = customers.arrives <= now
        return Totals(orders * come, gross * come, (gross - refunds) * come)

    def require_known(self, cutoff: date, *, days: int) -> None:
        """Raises ValueError if `(cutoff, cutoff + days]` ends more than two years after the world."""
        if (cutoff - self.config.calendar.start).days + days > len(pace(self.config.calendar)):
            raise ValueError(f"nothing is known of {days} days from {cutoff}: too long after the end of the world")

    def _first_orders(self, now: float) -> np.ndarray:
        # What the order at the arrival was worth, of customers who may still send it back.
        arrives = self.customers.arrives
        return np.where(arrives > now - RETURN_DAYS[1], value_at(self.customers, day=arrives, config=self.config), 0.0)

    def _pace_at(self, day: float, *, now: float) -> tuple[np.ndarray, np.ndarray]:
        # Orders a day but for the calendar, and their value: own ones, and those of the campaign that is on.
        config, customers = self.config, self.customers
        there = self._activity(day, now=now) * (customers.arrives <= day)
        own, value = rate_at(customers, day=day, config=config), value_at(customers, day=day, config=config)
        if not campaign_on(day):
            return there * own, there * own * value
        started = (day // CAMPAIGN_DAYS) * CAMPAIGN_DAYS + CAMPAIGN_DAYS / 2
        responds = config.contacts.reach * customers.response * (customers.arrives < started)
        brought = config.contacts.lift * responds * rate_at(customers, day=started, config=config)
        return there * (own + brought), there * (own + brought * (1 - config.contacts.discount)) * value

    def _activity(self, day: float, *, now: float) -> np.ndarray:
        # Expected share of the full pace at `day`: 1 of who has not begun to leave, `leaving_rate` of who is leaving.
        wanted, customers = self.config.purchases, self.customers
        known = now + foreseen(self.config)
        staying = np.exp(-customers.hazard * max(day - known, 0.0))
        begun = np.exp(-customers.hazard * max(day - wanted.leaving_days - known, 0.0)) - staying
        still = customers.leaves + wanted.leaving_days > day
        drawn = np.where(customers.leaves > day, 1.0, wanted.leaving_rate * still)
        return np.where(customers.leaves > known, staying + wanted.leaving_rate * begun, drawn)

    def return_rates(self) -> np.ndarray:
        """The share of the lines that are sent back, by period and taste community: [periods, communities]."""
        by_community, taste = self.catalogue.returned(self.config.communities.number), self.config.catalogue.taste
        return taste * by_community + (1 - taste) * by_community.mean(axis=1, keepdims=True)

    def _returned(self) -> Callable[[float], np.ndarray]:
        # day -> the share that each customer sends back of what is bought then: [n].
        rates = self.return_rates()
        return lambda day: rates[min(int(day // PERIOD), len(rates) - 1), self.customers.community]


def foreseen(config: WorldConfig) -> float:
    """For how many days ahead contacts show a leaving: 0 in a world in which customers neither complain nor call."""
    return FORESHADOW_DAYS if config.contacts.complaints or config.contacts.interactions else 0.0


def _steps(now: float, *, days: int) -> Iterator[tuple[float, float]]:
    # From the first day whose orders may be sent back in the window to its end, cut wherever a campaign starts or ends.
    first, last = max(now - RETURN_DAYS[1], 0.0), now + days
    turns = np.arange(0, last, RESPONSE_DAYS)
    turns = turns[(turns > first) & (turns < last)]
    edges = np.unique(np.concatenate([np.arange(first, now, STEP), np.arange(now, last, STEP), turns, [last]]))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _refunded(day: np.ndarray | float, *, now: float, days: int) -> np.ndarray:
    # The share of the returns of an order of `day` that fall into the window.
    low, high = RETURN_DAYS
    until = np.clip((np.array([now, now + days])[:, None] - day - low) / (high - low), 0, 1)
    return until[1] - until[0]
