"""What the past of a customer tells one who knows everything else about a world: how its communities differ, who
belongs to which, and how customers are drawn, but of a customer's own state only what the tables show.

No history could tell more, so the distance from here to `Truth.expected` is out of reach for any model, and the
distance to here is what a model leaves. Latent states are drawn from the prior and weighted by the likelihood of all
tables up to the cutoff (importance sampling): orders, and the signs of a leaving in the other tables. Rates and values
are integrated out (Rao-Blackwell). The expectation is the weighted mean over the states. Which orders a campaign
brought is not looked at: responses raise the rate for a while, or where no campaign is known, campaigns raise that of
everybody by what they do in the mean.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import xlogy

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.worlds.config import PurchaseConfig, WorldConfig
from patron.tables.worlds.latent import Customers, draw_states
from patron.tables.worlds.purchases import campaign_on, gone, pace, rate_at, value_at
from patron.tables.worlds.signs import Signs, Timeline
from patron.tables.worlds.truth import Expected, Truth

CHUNK = 500_000  # states held at once


@dataclass(frozen=True)
class Past:
    """The orders after the first one with their value. Of every customer, each [n]: whether there is a first order, and
    its value. And whatever else is known."""

    orders: Timeline
    begun: np.ndarray
    first_value: np.ndarray
    signs: Signs


_ORDERS = """
SELECT o.customer_id, CAST(DATE_DIFF('second', $start, o.order_date) AS DOUBLE) / CAST(86400 AS DOUBLE) AS day,
       CAST(COALESCE(SUM(CAST(i.amount AS DECIMAL(18, 4))), 0) AS DOUBLE) AS value
FROM orders o LEFT JOIN order_items i USING (order_id)
GROUP BY o.customer_id, o.order_id, o.order_date ORDER BY o.customer_id, o.order_date, o.order_id
"""


def expected_from_past(truth: Truth, db: Database, *, cutoff: date, days: int, states: int, seed: int) -> Expected:
    """What is to be expected in `(cutoff, cutoff + days]`, given the orders in `db.upto(cutoff)`: as `Truth.expected`,
    by `states` draws a customer."""
    config, known, number = truth.config, db.upto(cutoff), len(truth.customers)
    rows = query(known, _ORDERS, start=midnight(config.calendar.start)).to_pandas()
    signs = Signs.of(known, now=float((cutoff - config.calendar.start).days), config=config)
    past = _past(rows, number=number, signs=signs)
    parts = [
        _expected(truth, past, who=who, cutoff=cutoff, days=days, states=states, rng=np.random.default_rng([seed, k]))
        for k, who in enumerate(_chunks(number, size=max(1, CHUNK // states)))
    ]
    return Expected(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Expected)))


def _past(rows: pd.DataFrame, *, number: int, signs: Signs) -> Past:
    # That there is a first order says when a customer came, and nothing of the rate; its value is one like the others.
    again = rows.duplicated("customer_id").to_numpy()
    later, first = rows[again], rows[~again].set_index("customer_id")["value"].reindex(range(number))
    orders = Timeline.of(later, later["value"].to_numpy())
    return Past(orders, begun=first.notna().to_numpy(), first_value=first.fillna(0.0).to_numpy(), signs=signs)


def _chunks(number: int, *, size: int) -> Iterator[np.ndarray]:
    for start in range(0, number, size):
        yield np.arange(start, min(start + size, number))


def _expected(
    truth: Truth, past: Past, *, who: np.ndarray, cutoff: date, days: int, states: int, rng: np.random.Generator
) -> Expected:
    owner = np.repeat(who, states)
    drawn = draw_states(
        rng, config=truth.config, customer_id=owner, arrives=truth.customers.arrives[owner],
        community=truth.customers.community[owner], effects=truth.effects,
    )  # fmt: skip
    now = float((cutoff - truth.config.calendar.start).days)
    known, log_likelihood = _conditioned(drawn, past, now=now, truth=truth)
    weight = _weights(log_likelihood.reshape(-1, states))
    said = replace(truth, customers=known).expected(cutoff, days=days)
    return Expected(
        *((getattr(said, field.name).reshape(-1, states) * weight).sum(axis=1) for field in fields(Expected))
    )


def _weights(log_likelihood: np.ndarray) -> np.ndarray:
    # [n, states] -> weights that sum to 1 a row; where no state could have made the orders, all are as good.
    best = log_likelihood.max(axis=1, keepdims=True)
    possible = np.isfinite(best)
    weight = np.exp(np.where(possible, log_likelihood, 0.0) - np.where(possible, best, 0.0))
    return weight / weight.sum(axis=1, keepdims=True)


def _conditioned(drawn: Customers, past: Past, *, now: float, truth: Truth) -> tuple[Customers, np.ndarray]:
    """The drawn states with rate and value as they are to be expected given the rest of the state and all that is known
    up to `now`; and the log-likelihood of this under that rest, [states], up to what is the same for all of a customer.

    Rates are Gamma and orders Poisson, mean values inverse Gamma and values Gamma: both integrate out. Spend is
    proportional to both, so it is theirs at their means.
    """
    config, who, orders = truth.config, drawn.customer_id, past.orders
    matures, ends = drawn.arrives + config.purchases.trial_days, gone(drawn, config)
    unit = replace(drawn, rate=np.ones(len(drawn)), value=np.ones(len(drawn)))
    exposure, total = _exposure(drawn, past, truth=truth)
    total = total + past.signs.log_likelihood(drawn, now=now, config=config)
    total += xlogy(orders.number(who, drawn.leaves, now), config.purchases.leaving_rate)
    bought, could = np.zeros(len(drawn)), np.zeros(len(drawn))  # orders, and how many there would be at a rate of 1
    values = past.begun[who].astype(np.float64)
    worth = past.first_value[who] / value_at(unit, day=-np.inf, config=config)  # in values at a level of 0
    turn = np.clip(matures, 0, now)
    for since, until, phase in ((drawn.arrives, turn, -np.inf), (turn, np.full(len(drawn), now), np.inf)):
        rate, value = rate_at(unit, day=phase, config=config), value_at(unit, day=phase, config=config)
        full = exposure(since, np.minimum(np.minimum(until, ends), drawn.leaves))
        fading = exposure(np.maximum(since, drawn.leaves), np.minimum(until, ends))
        number = orders.number(who, since, until)
        total += xlogy(number, rate) - config.purchases.value_shape * number * np.log(value)
        bought, could = bought + number, could + rate * (full + config.purchases.leaving_rate * fading)
        values, worth = values + number, worth + orders.total(who, since, until) / value
    rate, of_rates = _gamma_poisson(bought, could, shape=config.purchases.rate_shape)
    value, of_values = _gamma_gamma(values, worth, config=config.purchases)
    possible = orders.number(who, ends, now) == 0
    return replace(drawn, rate=rate, value=value), np.where(possible, total + of_rates + of_values, -np.inf)


def _gamma_poisson(number: np.ndarray, exposure: np.ndarray, *, shape: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a rate of mean 1 and Gamma `shape`, given so many events; and their log-likelihood: [n] each."""
    return (shape + number) / (shape + exposure), -(shape + number) * np.log1p(exposure / shape)


def _gamma_gamma(number: np.ndarray, worth: np.ndarray, *, config: PurchaseConfig) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a customer's mean value, given so many values of this sum; and their log-likelihood: [n] each."""
    if config.value_spread == 0:
        return np.full(len(number), config.value), -config.value_shape * worth / config.value
    shape = 2 + 1 / config.value_spread**2
    scale, of_worth = (shape - 1) * config.value, config.value_shape * worth
    after = shape + config.value_shape * number
    return (scale + of_worth) / (after - 1), -after * np.log1p(of_worth / scale)


def _exposure(
    drawn: Customers, past: Past, *, truth: Truth
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray]:
    # The calendar's pace between two days with what campaigns add to it; and what they make of the orders themselves.
    config, who, orders = truth.config, drawn.customer_id, past.orders
    clock, busy = _clocks(config)
    if len(past.signs.touches):  # then it is known who responded, the same of all states
        responded = partial(past.signs.brought, who, clock=clock)

        def known(since: np.ndarray, until: np.ndarray) -> np.ndarray:
            later = np.maximum(since, until)
            return _mass(clock, since, until) + config.contacts.lift * (responded(later) - responded(since))

        return known, np.zeros(len(drawn))
    brought = config.contacts.reach * drawn.response * config.contacts.lift  # orders of a campaign for each own one
    promoted = Timeline(orders.owner, orders.day, campaign_on(orders.day).astype(np.float64))

    def expected(since: np.ndarray, until: np.ndarray) -> np.ndarray:
        return _mass(clock, since, until) + brought * _mass(busy, since, until)

    return expected, promoted.total(who, 0.0) * np.log1p(brought)


def _clocks(config: WorldConfig) -> tuple[np.ndarray, np.ndarray]:
    # The calendar's pace summed up to each day: of all days, and of those on which a campaign may bring orders.
    daily = pace(config.calendar)
    sums = (np.cumsum(daily), np.cumsum(daily * campaign_on(np.arange(len(daily)))))
    return np.append(0.0, sums[0]), np.append(0.0, sums[1])


def _mass(clock: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    days = np.arange(len(clock))
    return np.interp(np.maximum(end, start), days, clock) - np.interp(start, days, clock)
