"""What a history tells of who is leaving beside the orders themselves: who looks in less often and calls support more,
who complains, whom campaigns still reach, and who responds to them.

Each is a log-likelihood of the tables up to a cutoff under drawn states, [states], up to what is the same for all
states of a customer. A table without rows says nothing: it may have been hidden.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import xlog1py, xlogy

from patron.days import DAY_SECONDS, midnight
from patron.tables.database import Database
from patron.tables.engine import query
from patron.tables.worlds.config import CalendarConfig, WorldConfig
from patron.tables.worlds.events import COMPLAINT_DAYS, COMPLAINTS_LEAVING, FORESHADOW_DAYS
from patron.tables.worlds.latent import RESPONSE_DAYS, Customers
from patron.tables.worlds.people import KEPT, KINDS, SHARES, SHARES_LEAVING
from patron.tables.worlds.purchases import campaign_days, gone

SPAN = 1e6  # days, more than any world has


@dataclass(frozen=True)
class Timeline:
    """Events by customer and time, each [e]: the row of the customer, the day, and a value."""

    owner: np.ndarray
    day: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, value: np.ndarray | float = 1.0) -> Self:
        """Of the columns `customer_id` and `day`, in their order, with a `value` of each row."""
        values = np.broadcast_to(np.asarray(value, dtype=np.float64), len(frame))
        return cls(frame["customer_id"].to_numpy(np.int64), frame["day"].to_numpy(np.float64), values)

    def __len__(self) -> int:
        return len(self.owner)

    def place(self, who: np.ndarray, day: np.ndarray | float) -> np.ndarray:
        """How many events stand before this day of this customer, others' among them: [n]."""
        return np.searchsorted(self._times, who * SPAN + np.clip(day, 0, SPAN - 1))

    def number(self, who: np.ndarray, since: np.ndarray | float, until: np.ndarray | float = np.inf) -> np.ndarray:
        """How many events each customer has in [since, until): [n]."""
        return self.place(who, until) - self.place(who, since)

    def total(self, who: np.ndarray, since: np.ndarray | float, until: np.ndarray | float = np.inf) -> np.ndarray:
        """The sum of their values: [n]."""
        return self._sums[self.place(who, until)] - self._sums[self.place(who, since)]

    def last(self, who: np.ndarray) -> np.ndarray:
        """The day of each customer's last event, -inf without one: [n]."""
        if not len(self):
            return np.full(len(who), -np.inf)
        return np.where(self.number(who, 0.0) > 0, self.day[np.maximum(self.place(who, np.inf) - 1, 0)], -np.inf)

    @cached_property
    def _times(self) -> np.ndarray:
        return self.owner * SPAN + self.day

    @cached_property
    def _sums(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(self.value)])


_INTERACTIONS = """
SELECT customer_id, DATE_DIFF('second', $start, interaction_date) AS second, interaction_type AS kind
FROM interactions ORDER BY ALL
"""
_COMPLAINTS = """
SELECT o.customer_id, DATE_DIFF('second', $start, o.order_date) AS second, o.order_id,
       COUNT(e.event_type) FILTER (e.event_type = 'complaint') AS complaints, COUNT(e.event_type) AS events
FROM orders o LEFT JOIN order_events e USING (order_id)
GROUP BY ALL ORDER BY ALL
"""
_TOUCHES = """
SELECT customer_id, DATE_DIFF('second', $start, campaign_date) AS second, campaign_response AS responded
FROM campaigns ORDER BY ALL
"""


@dataclass(frozen=True)
class Signs:
    """What there is beside orders up to a cutoff. Values: of an interaction, how much likelier its kind is of who
    leaves, as a log; of an order, the same of its complaint or its silence; of a touch, whether it was responded to."""

    interactions: Timeline
    complaints: Timeline
    touches: Timeline

    @classmethod
    def of(cls, db: Database, *, now: float, config: WorldConfig) -> Self:
        """Those in `db`, which ends at day `now`."""
        looked, orders, touched = (
            _read(db, sql, config.calendar) for sql in (_INTERACTIONS, _COMPLAINTS, _TOUCHES)
        )  # fmt: skip
        ratio = dict(zip(KINDS, np.log(np.divide(SHARES_LEAVING, SHARES)), strict=True))
        said = _complaint_ratios(orders, now=now, share=config.contacts.complaints)
        return cls(
            Timeline.of(looked, looked["kind"].map(ratio).to_numpy(np.float64)),
            Timeline.of(orders, said),
            Timeline.of(touched, touched["responded"].to_numpy(np.float64)),
        )

    def log_likelihood(self, drawn: Customers, *, now: float, config: WorldConfig) -> np.ndarray:
        """Of all of them together."""
        total = self.complaints.total(drawn.customer_id, drawn.leaves - FORESHADOW_DAYS)
        if len(self.interactions):
            total = total + self._of_interactions(drawn, now=now, config=config)
        if len(self.touches):
            total = total + self._of_touches(drawn, now=now, config=config)
        return total

    def _of_interactions(self, drawn: Customers, *, now: float, config: WorldConfig) -> np.ndarray:
        turns = (drawn.arrives, drawn.leaves - FORESHADOW_DAYS, drawn.leaves, np.full(len(drawn), np.inf))
        bounds = np.clip(turns, drawn.arrives, np.maximum(now, drawn.arrives))
        rate, total = config.contacts.interactions / 365, np.zeros(len(drawn))
        for kept, start, end in zip(KEPT, bounds[:-1], bounds[1:], strict=True):
            number = self.interactions.number(drawn.customer_id, start, end)
            total += number * np.log(kept) - rate * kept * (end - start)
        return total + self.interactions.total(drawn.customer_id, turns[1], gone(drawn, config))

    def _of_touches(self, drawn: Customers, *, now: float, config: WorldConfig) -> np.ndarray:
        # Of the campaigns while a customer was there, each reached it or not; none reaches who is gone.
        who, until, starts = drawn.customer_id, gone(drawn, config), campaign_days(config.calendar)
        starts = starts[starts <= now]
        there = np.searchsorted(starts, until) - np.searchsorted(starts, drawn.arrives, side="right")
        reached, responded = self.touches.number(who, 0.0), self.touches.total(who, 0.0)
        missed = np.maximum(there - reached, 0)
        total = xlog1py(missed, -config.contacts.reach) + xlogy(responded, drawn.response)
        total += xlog1py(reached - responded, -drawn.response)
        return np.where(self.touches.number(who, until) > 0, -np.inf, total)

    def brought(self, who: np.ndarray, until: np.ndarray, *, clock: np.ndarray) -> np.ndarray:
        """The part of the calendar's pace, summed up by day in `clock`, before `until` in which a campaign that a
        customer responded to was on: [n]."""
        days, kept = np.arange(len(clock)), self.touches.value > 0
        owner, day = self.touches.owner[kept], self.touches.day[kept]
        if not len(owner):
            return np.zeros(len(who))
        end = np.interp(day + RESPONSE_DAYS, days, clock)
        sent = Timeline(owner, day, end - np.interp(day, days, clock))
        last = np.maximum(sent.place(who, until) - 1, 0)  # the latest one may still be on
        on = (owner[last] == who) & (day[last] < until)
        rest = np.where(on, np.maximum(end[last] - np.interp(np.clip(until, 0, len(clock) - 1), days, clock), 0), 0)
        return sent.total(who, 0.0, until) - rest


def _read(db: Database, sql: str, calendar: CalendarConfig) -> pd.DataFrame:
    rows = query(db, sql, start=midnight(calendar.start)).to_pandas()
    return rows.assign(day=rows["second"] / DAY_SECONDS)


def _complaint_ratios(orders: pd.DataFrame, *, now: float, share: float) -> np.ndarray:
    # log P(what is known of its complaint | leaving) - log P(the same | staying), of each order: a silent one may
    # still be complained of. Nothing where no event of any order is known.
    if not orders["events"].any():
        return np.zeros(len(orders))
    first, last = COMPLAINT_DAYS
    heard = np.clip((now - orders["day"].to_numpy() - first) / (last - first), 0, 1)
    leaving = min(share * COMPLAINTS_LEAVING, 1.0)
    silent = xlog1py(1.0, -leaving * heard) - xlog1py(1.0, -share * heard)
    complained = np.log(leaving / share) if share else 0.0
    return np.where(orders["complaints"] > 0, complained, silent)
