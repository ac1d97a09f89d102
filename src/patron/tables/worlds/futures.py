"""Monte Carlo futures: what customers of known latent state may go on to order and send back after a cutoff.

Orders are drawn by the process that draws the tables of a world, returns by the share of the lines that their taste
community sends back. What is drawn has the distribution of the label, which an expectation does not tell: a median, a
quantile, an expected rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Self

import numpy as np

from patron.tables.worlds.latent import PERIOD, RETURN_DAYS, Customers
from patron.tables.worlds.purchases import Orders, draw_orders, draw_touches
from patron.tables.worlds.truth import Totals, Truth, foreseen

CHUNK = 100_000  # customers times draws, held at once


@dataclass(frozen=True)
class Forecast:
    """Of all customers of a world: whether they have come by the cutoff, [n]; the `expected` totals after it, [n] each;
    and `drawn` ones, [n, draws] float32 each, all as likely. Both are 0 of who has not come."""

    come: np.ndarray
    expected: Totals
    drawn: Totals

    @classmethod
    def of(cls, come: np.ndarray, parts: "list[tuple[Totals, Totals]]") -> Self:
        """From the expected and drawn totals of the customers who have come, in parts and in their order."""
        expected, drawn = ([pair[k] for pair in parts] for k in (0, 1))
        return cls(come, _spread(come, expected), _spread(come, drawn))


def _spread(come: np.ndarray, parts: list[Totals]) -> Totals:
    whole = {}
    for field in fields(Totals):
        found = np.concatenate([getattr(part, field.name) for part in parts])
        whole[field.name] = np.zeros((len(come), *found.shape[1:]), found.dtype)
        whole[field.name][come] = found
    return Totals(**whole)


def chunks(customers: np.ndarray, *, draws: int) -> Iterator[tuple[int, np.ndarray]]:
    """The customers in parts whose draws fit into memory, each with its number."""
    size = max(1, CHUNK // draws)
    for number, start in enumerate(range(0, max(len(customers), 1), size)):
        yield number, customers[start : start + size]


def forecast_from_state(truth: Truth, *, cutoff: date, days: int, draws: int, seed: int) -> Forecast:
    """What may happen in `(cutoff, cutoff + days]` given the latent state of every customer, as `Truth.expected` knows
    it. Raises ValueError if that ends more than two years after the world."""
    expected, now = truth.expected(cutoff, days=days), float((cutoff - truth.config.calendar.start).days)
    come = truth.customers.arrives <= now
    parts = []
    for number, who in chunks(np.flatnonzero(come), draws=draws):
        rng, states = np.random.default_rng([seed, number]), truth.customers.part(np.repeat(who, draws))
        drawn = draw_totals(rng, truth, states, now=now, days=days)
        mean = Totals(**{field.name: getattr(expected, field.name)[who] for field in fields(Totals)})
        parts.append((mean, by_customer(drawn, draws=draws)))
    return Forecast.of(come, parts)


def by_customer(totals: Totals, *, draws: int) -> Totals:
    """Totals of states, [n x draws] each, as [n, draws] float32."""
    values = (getattr(totals, field.name).reshape(-1, draws).astype(np.float32) for field in fields(Totals))
    return Totals(*values)


def draw_totals(rng: np.random.Generator, truth: Truth, customers: Customers, *, now: float, days: int) -> Totals:
    """Totals in `(now, now + days]` of customers who have come by `now`, drawn once each: [n]. The day of a leaving
    that nothing foreshadows yet is drawn anew."""
    config = replace(truth.config, calendar=replace(truth.config.calendar, days=int(now) + days))
    known, since = now + foreseen(config), max(now - RETURN_DAYS[1], 0.0)
    later = known + rng.exponential(1, len(customers)) / np.maximum(customers.hazard, 1e-12)
    customers = replace(customers, leaves=np.where(customers.leaves > known, later, customers.leaves))
    touches = draw_touches(rng, customers, config=config, since=since)
    orders = draw_orders(rng, customers, touches, config=config, since=since)
    paid = orders.amount * np.where(orders.promoted, 1 - config.contacts.discount, 1.0)
    after, n = orders.day > now, len(customers)
    gross = np.bincount(orders.owner, paid * after, n)
    order, share, day = _returns(rng, truth, orders, community=customers.community[orders.owner])
    back = (day > now) & (day <= now + days)
    refunds = np.bincount(orders.owner[order], paid[order] * share * back, n)
    return Totals(np.bincount(orders.owner, after, n), gross, gross - refunds)


def _returns(
    rng: np.random.Generator, truth: Truth, orders: Orders, *, community: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Of each line that is sent back: its order, its share of what that is worth, and the day. Lines share an order as
    # in `draw_items`.
    rates, lines = truth.return_rates(), 1 + rng.poisson(truth.config.catalogue.lines - 1, len(orders.owner))
    period = np.minimum((orders.day // PERIOD).astype(np.int64), len(rates) - 1)
    sent = rng.binomial(lines, rates[period, community])
    order = np.repeat(np.arange(len(lines)), sent)
    worth = rng.exponential(1, len(order))
    whole = np.bincount(order, worth, len(lines)) + rng.standard_gamma(lines - sent)
    return order, worth / whole[order], orders.day[order] + rng.uniform(*RETURN_DAYS, len(order))
