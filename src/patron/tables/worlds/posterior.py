"""What the past of a customer tells one who knows everything else about a world: how its communities differ, who
belongs to which, and how customers are drawn, but of a customer's own state only what the tables show.

No history could tell more, so the distance from here to `Truth.expected` is out of reach for any model, and the
distance to here is what a model leaves. Latent states are drawn from the prior, given only that no customer was gone
when last seen and the share of the campaigns that each responded to, and weighted by the likelihood of all tables up to
the cutoff (importance sampling): orders, and the signs of a leaving in the other tables. Rates and values are
integrated out (Rao-Blackwell). The expectation is the weighted mean over the states. For futures as many states are
drawn again by their weights (systematic resampling), each with a rate and a value given all else, and one future of
each is drawn. Which orders a campaign brought is not looked at: responses raise the rate for a while, or where no
campaign is known, campaigns raise that of everybody by what they do in the mean.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import xlog1py, xlogy

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.worlds.config import PurchaseConfig, WorldConfig
from patron.tables.worlds.futures import Forecast, by_customer, chunks, draw_totals
from patron.tables.worlds.latent import RESPONSE_SHAPE, Customers, draw_states
from patron.tables.worlds.purchases import campaign_on, gone, pace, rate_at, value_at
from patron.tables.worlds.signs import Signs, Timeline
from patron.tables.worlds.truth import Totals, Truth


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


def forecast_from_past(truth: Truth, db: Database, *, cutoff: date, days: int, draws: int, seed: int) -> Forecast:
    """What may happen in `(cutoff, cutoff + days]`, given the tables in `db.upto(cutoff)`, by `draws` latent states a
    customer. Raises ValueError as `Truth.expected`."""
    truth.require_known(cutoff, days=days)
    config, known = truth.config, db.upto(cutoff)
    now = float((cutoff - config.calendar.start).days)
    rows = query(known, _ORDERS, start=midnight(config.calendar.start)).to_pandas()
    past = _past(rows, number=len(truth.customers), signs=Signs.of(known, now=now, config=config))
    come = truth.customers.arrives <= now
    parts = [
        _forecast(truth, past, who=who, cutoff=cutoff, days=days, draws=draws, rng=np.random.default_rng([seed, k]))
        for k, who in chunks(np.flatnonzero(come), draws=draws)
    ]
    return Forecast.of(come, parts)


def _past(rows: pd.DataFrame, *, number: int, signs: Signs) -> Past:
    # That there is a first order says when a customer came, and nothing of the rate; its value is one like the others.
    again = rows.duplicated("customer_id").to_numpy()
    later, first = rows[again], rows[~again].set_index("customer_id")["value"].reindex(range(number))
    orders = Timeline.of(later, later["value"].to_numpy())
    return Past(orders, begun=first.notna().to_numpy(), first_value=first.fillna(0.0).to_numpy(), signs=signs)


def _forecast(
    truth: Truth, past: Past, *, who: np.ndarray, cutoff: date, days: int, draws: int, rng: np.random.Generator
) -> tuple[Totals, Totals]:
    owner, arrives = np.repeat(who, draws), truth.customers.arrives
    seen = np.maximum(past.orders.last(who), past.signs.touches.last(who))  # until then none was gone
    survived = np.maximum(seen - truth.config.purchases.leaving_days - arrives[who], 0.0)
    drawn = draw_states(
        rng, config=truth.config, customer_id=owner, arrives=arrives[owner], effects=truth.effects,
        community=truth.customers.community[owner], survived=np.repeat(survived, draws),
    )  # fmt: skip
    drawn, already = _responding(rng, drawn, past.signs.touches, share=truth.config.contacts.response)
    now = float((cutoff - truth.config.calendar.start).days)
    known = _conditioned(drawn, past, now=now, truth=truth)
    weight = _weights((known.log_likelihood - already).reshape(-1, draws))
    said = replace(truth, customers=known.states).expected(cutoff, days=days)
    mean = ((getattr(said, field.name).reshape(-1, draws) * weight).sum(axis=1) for field in fields(Totals))
    states = known.draw(rng, _resampled(rng, weight))
    return Totals(*mean), by_customer(draw_totals(rng, truth, states, now=now, days=days), draws=draws)


def _responding(
    rng: np.random.Generator, drawn: Customers, touches: Timeline, *, share: float
) -> tuple[Customers, np.ndarray]:
    # The states with a share of responses drawn given those so far, and the log-likelihood that this has used already.
    if share in (0, 1):
        return drawn, np.zeros(len(drawn))
    reached, responded = touches.number(drawn.customer_id, 0.0), touches.total(drawn.customer_id, 0.0)
    response = rng.beta(RESPONSE_SHAPE + responded, RESPONSE_SHAPE / share - RESPONSE_SHAPE + reached - responded)
    used = xlogy(responded, response) + xlog1py(reached - responded, -response)
    return replace(drawn, response=response), used


def _resampled(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Numbers of the states, as often as their weights say: [n, draws] weights -> [n x draws]. Kitagawa 1996."""
    n, draws = weight.shape
    places = (np.arange(draws) + rng.random((n, 1))) / draws + np.arange(n)[:, None]
    found = np.searchsorted((np.cumsum(weight, axis=1) + np.arange(n)[:, None]).ravel(), places.ravel())
    first = np.repeat(np.arange(n) * draws, draws)
    return np.clip(found, first, first + draws - 1)  # whatever rounding says


def _weights(log_likelihood: np.ndarray) -> np.ndarray:
    # [n, states] -> weights that sum to 1 a row; where no state could have made the orders, all are as good.
    best = log_likelihood.max(axis=1, keepdims=True)
    possible = np.isfinite(best)
    weight = np.exp(np.where(possible, log_likelihood, 0.0) - np.where(possible, best, 0.0))
    return weight / weight.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Conditioned:
    """States with rate and value as they are to be expected given the rest of the state and the past; the shapes of the
    Gamma and the inverse Gamma about these means; and the log-likelihood of the past: [states] each."""

    states: Customers
    rate_shape: np.ndarray
    value_shape: np.ndarray
    log_likelihood: np.ndarray

    def draw(self, rng: np.random.Generator, which: np.ndarray) -> Customers:
        """Some of the states, with a rate and a value drawn for each."""
        states, rate_shape, value_shape = self.states.part(which), self.rate_shape[which], self.value_shape[which]
        rate = states.rate * rng.standard_gamma(rate_shape) / rate_shape
        varies = np.isfinite(value_shape)
        shape = np.where(varies, value_shape, 2.0)
        value = states.value * np.where(varies, (shape - 1) / rng.standard_gamma(shape), 1.0)
        return replace(states, rate=rate, value=value)


def _conditioned(drawn: Customers, past: Past, *, now: float, truth: Truth) -> Conditioned:
    """The drawn states given all that is known up to `now`, with its log-likelihood under the rest of the state, up to
    what is the same for all of a customer.

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
    rates = _gamma_poisson(bought, could, shape=config.purchases.rate_shape)
    values_of = _gamma_gamma(values, worth, config=config.purchases)
    possible = orders.number(who, ends, now) == 0
    likely = np.where(possible, total + rates.log_likelihood + values_of.log_likelihood, -np.inf)
    return Conditioned(replace(drawn, rate=rates.mean, value=values_of.mean), rates.shape, values_of.shape, likely)


@dataclass(frozen=True)
class Posterior:
    """A latent number given events: its mean, the shape of its distribution, the log-likelihood of the events, each
    [n]."""

    mean: np.ndarray
    shape: np.ndarray
    log_likelihood: np.ndarray


def _gamma_poisson(number: np.ndarray, exposure: np.ndarray, *, shape: float) -> Posterior:
    """A rate of mean 1 and Gamma `shape`, given so many events."""
    after = shape + number
    return Posterior(after / (shape + exposure), after, -after * np.log1p(exposure / shape))


def _gamma_gamma(number: np.ndarray, worth: np.ndarray, *, config: PurchaseConfig) -> Posterior:
    """A customer's mean value, inverse Gamma, given so many values of this sum; of infinite shape if all are alike."""
    if config.value_spread == 0:
        alike = np.full(len(number), config.value)
        return Posterior(alike, np.full(len(number), np.inf), -config.value_shape * worth / config.value)
    shape = 2 + 1 / config.value_spread**2
    scale, of_worth = (shape - 1) * config.value, config.value_shape * worth
    after = shape + config.value_shape * number
    return Posterior((scale + of_worth) / (after - 1), after, -after * np.log1p(of_worth / scale))


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
