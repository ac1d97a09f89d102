"""What the past of a customer tells one who knows everything else about a world: how its communities differ, who
belongs to which, and how customers are drawn, but of a customer's own state only what the orders show.

No history could tell more, so the distance from here to `Truth.expected` is out of reach for any model, and the
distance to here is what a model leaves. Latent states are drawn from the prior and weighted by the likelihood of the
orders up to the cutoff (importance sampling); the expectation is the weighted mean over them. Which orders a campaign
brought is not looked at: campaigns raise the rate of everybody by what they do in the mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date

import numpy as np
import pandas as pd
from scipy.special import xlogy

from patron.days import midnight
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import Customers, draw_states
from patron.tables.worlds.purchases import campaign_on, gone, pace, rate_at, value_at
from patron.tables.worlds.truth import Expected, Truth

CHUNK = 500_000  # states held at once


@dataclass(frozen=True)
class Past:
    """Orders after the first one, by customer and time, each [o]: the row of the customer, the day, the value. Of every
    customer, each [n]: whether there is a first order, and its value."""

    owner: np.ndarray
    day: np.ndarray
    value: np.ndarray
    begun: np.ndarray
    first_value: np.ndarray


_ORDERS = """
SELECT o.customer_id, CAST(DATE_DIFF('second', $start, o.order_date) AS DOUBLE) / CAST(86400 AS DOUBLE) AS day,
       CAST(COALESCE(SUM(CAST(i.amount AS DECIMAL(18, 4))), 0) AS DOUBLE) AS value
FROM orders o LEFT JOIN order_items i USING (order_id)
GROUP BY o.customer_id, o.order_id, o.order_date ORDER BY o.customer_id, o.order_date, o.order_id
"""


def expected_from_past(truth: Truth, db: Database, *, cutoff: date, days: int, states: int, seed: int) -> Expected:
    """What is to be expected in `(cutoff, cutoff + days]`, given the orders in `db.upto(cutoff)`: as `Truth.expected`,
    by `states` draws a customer."""
    rows = query(db.upto(cutoff), _ORDERS, start=midnight(truth.config.calendar.start)).to_pandas()
    number = len(truth.customers)
    past = _past(rows, number=number)
    parts = [
        _expected(truth, past, who=who, cutoff=cutoff, days=days, states=states, rng=np.random.default_rng([seed, k]))
        for k, who in enumerate(_chunks(number, size=max(1, CHUNK // states)))
    ]
    return Expected(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Expected)))


def _past(rows: pd.DataFrame, *, number: int) -> Past:
    # That there is a first order says when a customer came, and nothing of the rate; its value is one like the others.
    again = rows.duplicated("customer_id").to_numpy()
    later, first = rows[again], rows[~again].set_index("customer_id")["value"].reindex(range(number))
    return Past(
        later["customer_id"].to_numpy(), later["day"].to_numpy(), later["value"].to_numpy(),
        begun=first.notna().to_numpy(), first_value=first.fillna(0.0).to_numpy(),
    )  # fmt: skip


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
    weight = _weights(_log_likelihood(drawn, past, now=now, truth=truth).reshape(-1, states))
    said = replace(truth, customers=drawn).expected(cutoff, days=days)
    return Expected(
        *((getattr(said, field.name).reshape(-1, states) * weight).sum(axis=1) for field in fields(Expected))
    )


def _weights(log_likelihood: np.ndarray) -> np.ndarray:
    # [n, states] -> weights that sum to 1 a row; where no state could have made the orders, all are as good.
    best = log_likelihood.max(axis=1, keepdims=True)
    possible = np.isfinite(best)
    weight = np.exp(np.where(possible, log_likelihood, 0.0) - np.where(possible, best, 0.0))
    return weight / weight.sum(axis=1, keepdims=True)


def _log_likelihood(drawn: Customers, past: Past, *, now: float, truth: Truth) -> np.ndarray:
    """Of the orders up to `now`, under each drawn state: [states], up to what is the same for all of a customer."""
    config = truth.config
    clock, busy = _clocks(config)
    brought = config.contacts.reach * drawn.response * config.contacts.lift  # orders of a campaign for each own one
    matures, ends = drawn.arrives + config.purchases.trial_days, gone(drawn, config)
    span = float(len(clock))
    times = past.owner * span + past.day  # ascending: customers first, then days
    first, last = (np.searchsorted(times, drawn.customer_id * span + day) for day in (0.0, now))
    leaving = np.searchsorted(times, drawn.customer_id * span + np.clip(drawn.leaves, 0, now))
    over = np.searchsorted(times, drawn.customer_id * span + np.clip(ends, 0, now))
    total = xlogy(last - leaving, config.purchases.leaving_rate) + _of_first_values(drawn, past, truth=truth)
    worth, promoted = (np.concatenate([[0.0], np.cumsum(each)]) for each in (past.value, campaign_on(past.day)))
    total += (promoted[last] - promoted[first]) * np.log1p(brought)
    turn = np.searchsorted(times, drawn.customer_id * span + np.clip(matures, 0, now))
    for start, stop, begin, end, phase in (
        (first, turn, drawn.arrives, np.minimum(matures, now), -np.inf),
        (turn, last, np.minimum(matures, now), np.full(len(drawn), now), np.inf),
    ):
        rate, mean = rate_at(drawn, day=phase, config=config), value_at(drawn, day=phase, config=config)
        full, fading = (
            _mass(clock, since, until) + brought * _mass(busy, since, until)
            for since, until in (
                (begin, np.minimum(end, drawn.leaves)),
                (np.maximum(begin, drawn.leaves), np.minimum(end, ends)),
            )
        )
        number = stop - start
        total += xlogy(number, rate) - rate * (full + config.purchases.leaving_rate * fading)
        total -= config.purchases.value_shape * (number * np.log(mean) + (worth[stop] - worth[start]) / mean)
    return np.where(last > over, -np.inf, total)


def _of_first_values(drawn: Customers, past: Past, *, truth: Truth) -> np.ndarray:
    mean, who = value_at(drawn, day=drawn.arrives, config=truth.config), drawn.customer_id
    shape = truth.config.purchases.value_shape * past.begun[who]
    return np.asarray(-shape * (np.log(mean) + past.first_value[who] / mean))


def _clocks(config: WorldConfig) -> tuple[np.ndarray, np.ndarray]:
    # The calendar's pace summed up to each day: of all days, and of those on which a campaign may bring orders.
    daily = pace(config.calendar)
    sums = (np.cumsum(daily), np.cumsum(daily * campaign_on(np.arange(len(daily)))))
    return np.append(0.0, sums[0]), np.append(0.0, sums[1])


def _mass(clock: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    days = np.arange(len(clock))
    return np.interp(np.maximum(end, start), days, clock) - np.interp(start, days, clock)
