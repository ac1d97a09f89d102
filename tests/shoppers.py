"""Customers whose propensity is known, by a process other than the one that the ceiling is fitted with: purchases are a
renewal process with Gamma gaps in continuous time, a customer lapses at any time, and spends may have heavy tails."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from scipy.special import gammainc, gammaincinv
from scipy.stats import rankdata, spearmanr

from patron.days import Horizon, midnight
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, labelled

CUTOFF, DAYS, PAST = date(2020, 7, 1), 182, 3.0  # of history, in windows
TASK = TaskConfig(horizon=Horizon(DAYS, "days"), target="gross", population=None, horizons=(), query=None)


@dataclass(frozen=True)
class Shoppers:
    """Of each customer, [n]: the rate of buying and the hazard of lapsing a window, the mean spend, how regular gaps
    are (the shape of their Gamma, 1 for chance), and the time since the last purchase. Of all: `tail`, the SD of the
    log of a spend, 0 for a Gamma of shape 2; and `season`, times of the clock and what they become in the window."""

    rate: np.ndarray
    hazard: np.ndarray
    spend: np.ndarray
    regular: np.ndarray
    age: np.ndarray
    past: tuple[np.ndarray, np.ndarray]  # row and time of purchases before the cutoff
    tail: float
    season: np.ndarray  # [2, points]

    def future(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, time in (0, 1) and spend of every purchase in one window."""
        per_gap = np.maximum(self.rate * self.regular, 1e-12)
        before = gammainc(self.regular, self.age * per_gap)
        first = gammaincinv(self.regular, before + (1 - before) * rng.random(len(self.rate))) / per_gap - self.age
        row, time = renewals(rng, first, regular=self.regular, rate=self.rate)
        lapse = rng.exponential(1, len(self.rate)) / np.maximum(self.hazard, 1e-12)
        time = np.interp(time, *self.season)
        row, time = row[time < lapse[row]], time[time < lapse[row]]
        each = (
            rng.gamma(2, 0.5, len(row)) if self.tail == 0 else rng.lognormal(-(self.tail**2) / 2, self.tail, len(row))
        )
        return row, time, each * self.spend[row]

    def attainable(self, rng: np.random.Generator, *, futures: int = 40) -> float:
        """The Spearman of the expected rank given the propensity, in futures that it has not seen."""
        spent = np.stack([self._spent(rng) for _ in range(futures)], axis=1)
        rank = rankdata(spent, axis=None).reshape(spent.shape)
        total = rank.sum(axis=1, keepdims=True)
        found = [spearmanr((total - rank)[:, k], spent[:, k]).statistic for k in range(futures)]
        noise = rank.var(axis=1, ddof=1).mean() / (futures - 1) / rank.mean(axis=1).var()  # of a mean of so few
        return float(np.mean(found) * np.sqrt(1 + noise))

    def _spent(self, rng: np.random.Generator) -> np.ndarray:
        row, _, spend = self.future(rng)
        return np.bincount(row, spend, len(self.rate))


def renewals(
    rng: np.random.Generator, first: np.ndarray, *, regular: np.ndarray, rate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row and time of all purchases before time 1, of which the first is given: [n] -> [purchases] each."""
    most = int(np.max(rate) * 1.5 + 6 * np.sqrt(np.max(rate)) + 10)
    gaps = rng.gamma(regular[:, None], 1 / np.maximum(rate * regular, 1e-12)[:, None], (len(rate), most))
    time = np.column_stack([first, first[:, None] + np.cumsum(gaps, axis=1)])
    row, _ = np.nonzero(time < 1)
    return row, time[time < 1]


def shoppers(
    rng: np.random.Generator, rate: np.ndarray, *, hazard: "np.ndarray | float" = 0.0, spread: float = 0.4,
    regular: float = 1.0, tail: float = 0.0, season: "list[list[float]] | None" = None,
) -> Shoppers:  # fmt: skip
    """Customers of these rates, all there at the cutoff but for those of rate 0, who have left."""
    n = len(rate)
    shape = np.full(n, regular)
    start, rate_then = -rng.random(n) / np.maximum(rate * 2 * PAST, 1e-12), rate * 2 * PAST  # habits settle till -PAST
    row, time = renewals(rng, start, regular=shape, rate=rate_then)
    time = (time - 1) * 2 * PAST
    row, time = row[(rate[row] > 0) & (time < 0)], time[(rate[row] > 0) & (time < 0)]
    last = np.full(n, -np.inf)
    np.maximum.at(last, row, time)
    age = np.where(np.isfinite(last), -last, rng.exponential(1, n) / np.maximum(rate, 1e-12))
    return Shoppers(
        rate=rate, hazard=np.broadcast_to(hazard, n).astype(float), spend=50 * rng.lognormal(0, spread, n),
        regular=shape, age=age, past=(row[time > -PAST], time[time > -PAST]), tail=tail,
        season=np.array(season or [[0.0, 1.0], [0.0, 1.0]]),
    )  # fmt: skip


def rows_of(people: Shoppers, rng: np.random.Generator) -> tuple[Database, TaskTable]:
    """A shop in which they have one future, and its labels."""
    row, time, spend = people.future(rng)
    n, (before, when) = len(people.rate), people.past
    silent = np.setdiff1d(np.arange(n), before)  # they have ordered long ago, or else they are no customers
    owner = np.concatenate([silent, before, row])
    at = np.concatenate([np.full(len(silent), -2 * PAST), when, time])
    paid = np.concatenate([np.full(len(silent) + len(before), 50.0), spend])
    moment = np.datetime64(midnight(CUTOFF), "us") + (at * DAYS * 86_400e6).astype("timedelta64[us]")
    number = np.arange(len(owner))
    tables = {
        "customers": pa.table({"customer_id": np.arange(n)}),
        "orders": pa.table({"order_id": number, "customer_id": owner, "order_date": moment}),
        "order_items": pa.table({"order_id": number, "amount": paid}),
        "returns": pa.table({
            "customer_id": pa.array([], pa.int64()), "return_date": pa.array([], pa.timestamp("us")),
            "refund_amount": pa.array([], pa.float64()),
        }),
    }  # fmt: skip
    db = Database("shop", tables, read_until=CUTOFF + timedelta(days=DAYS))
    return db, labelled(db, cutoff=CUTOFF, config=TASK)
