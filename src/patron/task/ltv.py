"""What is predicted and for whom: a target in `(cutoff, cutoff + horizon]` of the customers that a rule picks at the
cutoff.

The population never depends on the outcome, and its slices are known at the cutoff too. A label is floored at 0, and
the number of floored labels is kept (field note 13).

| target | label |
|---|---|
| `gross` | what was bought |
| `net` | gross less refunds in the window, whenever their order was placed |
| `margin` | amount less quantity x cost, over the lines whose cost is known |
| `orders` | number of orders |
| `order_value` | gross an order; 0 without one |
| `churn` | 1 for no order in the window, else 0 |

A query (patron.task.pql) may ask for any of these, or for a label and a population of its own.

A margin leaves out lines without a known cost or quantity: at cost 0 all their revenue would pass for profit. It is
thus a lower bound for a shop whose lines earn money.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import Horizon, back, midnight
from patron.tables.engine import Tables, query
from patron.task import pql

Target = Literal["gross", "net", "margin", "orders", "order_value", "churn"]
FLAGS = ("churn", "flag")  # labels that are 1 or 0
TOTALS = ("gross", "net", "margin", "money")  # money that adds up over the window


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TaskConfig:
    """The target. `population` is how far back a customer's last order may lie; null takes everybody who ever
    ordered. `horizons` are those of auxiliary labels beside the one that is predicted.

    A `query` wins over horizon, target and population, which follow from it; the target is None if it has none of the
    names above.
    """

    horizon: Horizon
    target: Target | None
    population: Horizon | None
    horizons: tuple[Horizon, ...]
    query: pql.PQLText | None

    def __post_init__(self) -> None:
        if self.query is None and self.target is None:
            raise ValueError(
                f"there is no target; choose task.target from {', '.join(get_args(Target))}, or give a query"
            )
        if self.query is not None:
            asked = pql.compile(self.query)
            follows = {"horizon": asked.horizon, "target": asked.target if asked.is_named else None, "population": None}
            for name, value in follows.items():
                object.__setattr__(self, name, value)

    @property
    def asked(self) -> pql.Query | None:
        """The query, if it has a label and a population of its own."""
        asked = None if self.query is None else pql.compile(self.query)
        return None if asked is None or asked.is_named else asked

    @property
    def title(self) -> str:
        """What is predicted, in a line: the query, or the horizon, after the target unless that is `net`."""
        if self.query is not None:
            return self.query
        return str(self.horizon) if self.target == "net" else f"{self.target} {self.horizon}"


@dataclass(frozen=True, eq=False)
class Anchor:
    """The level that is predicted where the past has several: the `mean` and the `largest` label of the last window of
    the whole horizon that has closed, for the `rows` at the cutoff that is predicted from, which carry no label."""

    rows: "TaskTable"
    mean: float
    largest: float


@dataclass(frozen=True, eq=False)
class TaskTable:
    """One row a customer and cutoff: `customer_id, cutoff`, `slice_*` flags known at the cutoff, and where they may be
    known `label` and, for every auxiliary horizon, `label_<horizon>` (NaN while its window is open).

    `floored` counts labels that were negative before they were set to 0. `target` is one of the names above or, of a
    `query` with a label of its own, `money`, `number` or `flag`. A `window` is that of the labels where it is shorter
    than the horizon that is predicted. An `anchor`, if there is one, sets the level of what is learned from the rows.
    """

    frame: pd.DataFrame
    horizon: Horizon
    floored: int = 0
    target: str = "net"
    query: str | None = None
    window: Horizon | None = None
    anchor: Anchor | None = None

    def __post_init__(self) -> None:
        twice = self.frame.duplicated(["customer_id", "cutoff"])
        assert not twice.any(), f"task table holds {int(twice.sum())} customers twice at one cutoff"

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def label(self) -> np.ndarray:
        """The target in the label window; money is in the currency of the orders: [n] float64, >= 0."""
        return self.frame["label"].to_numpy(dtype=np.float64)

    @property
    def percentile(self) -> np.ndarray:
        """The share of the rows of the same cutoff with a smaller label, ties in the middle: [n] in (0, 1)."""
        by_cutoff = self.frame.groupby("cutoff")["label"]
        return ((by_cutoff.rank() - 0.5) / by_cutoff.transform("size")).to_numpy(dtype=np.float64)

    @property
    def history(self) -> np.ndarray:
        """How long a customer has been known to buy: 0 for one order, 1 dormant with several, 2 otherwise: [n]."""
        one, dormant = (self.frame[name].to_numpy(dtype=bool) for name in ("slice_one_order", "slice_dormant"))
        return np.select([one, dormant], [0, 1], default=2)

    @property
    def auxiliary(self) -> np.ndarray:
        """The target in the auxiliary windows, in the order of their columns, NaN where one is open: [n, H] float64."""
        return self.frame[self._auxiliary].to_numpy(dtype=np.float64)

    @property
    def label_window(self) -> Horizon:
        """The length of the windows in which labels are counted."""
        return self.window or self.horizon

    @property
    def stretch(self) -> float:
        """How many times as long as the labels' window the horizon is."""
        last = self.cutoffs[-1]
        return self.horizon.days_after(last) / self.label_window.days_after(last)

    @property
    def largest(self) -> float:
        """The largest label that is known, of a window of the whole horizon where there is an anchor."""
        return float(self.label.max()) if self.anchor is None else self.anchor.largest

    @property
    def is_additive(self) -> bool:
        """Whether labels of two windows, one after the other, add up to that of both."""
        return self.query is None and (self.is_total or self.target == "orders")

    @property
    def is_flag(self) -> bool:
        """Whether labels are 1 or 0, and what is predicted of them a probability."""
        return self.target in FLAGS

    @property
    def is_total(self) -> bool:
        """Whether labels are money that adds up over the window, as spend does; false of counts, flags and averages."""
        return self.target in TOTALS

    @property
    def cutoffs(self) -> tuple[date, ...]:
        """The distinct cutoffs, in order."""
        return tuple(sorted(stamp.date() for stamp in self.frame["cutoff"].unique()))

    @property
    def places_by_cutoff(self) -> np.ndarray:
        """Where each row stands among the rows of the first cutoff, then those of the next, and so on: [n]."""
        parts = [np.flatnonzero(self.frame["cutoff"] == midnight(cutoff)) for cutoff in self.cutoffs]
        return np.argsort(np.concatenate(parts))

    def at(self, cutoff: date) -> "TaskTable":
        """The rows of one cutoff."""
        return self.where(self.frame["cutoff"] == midnight(cutoff))

    def where(self, mask: "pd.Series | np.ndarray") -> "TaskTable":
        """The rows for which `mask` is true. `floored` is not known of a part and is kept as it was for the whole."""
        return replace(self, frame=self.frame[mask].reset_index(drop=True))

    def without_label(self) -> "TaskTable":
        """The same rows as an estimator may see them when it predicts."""
        return replace(self, frame=self.frame.drop(columns=["label", *self._auxiliary], errors="ignore"), floored=0)

    def known_at(self, day: date) -> "TaskTable":
        """The same rows, with NaN for auxiliary labels whose window reaches past `day`."""
        frame, cutoff = self.frame.copy(), self.frame["cutoff"]
        for name in self._auxiliary:
            horizon = Horizon.parse(name.removeprefix("label_"))
            open_at = [midnight(at) for at in self.cutoffs if horizon.after(at) > day]
            frame[name] = frame[name].mask(cutoff.isin(open_at))
        return replace(self, frame=frame)

    def bucket(self, number: int) -> np.ndarray:
        """One of `number` parts for each row: [n]. A customer stays in the same one whoever else is in the table."""
        return (self._hashed % np.uint64(number)).astype(np.int64)

    def at_most(self, number: int) -> "TaskTable":
        """About `number` rows: all of a random part of the customers, or the table itself if it has no more."""
        if len(self) <= number:
            return self
        return self.where(self._hashed < np.uint64(number / len(self) * 2.0**64))

    @property
    def _hashed(self) -> np.ndarray:
        return pd.util.hash_array(self.frame["customer_id"].astype(str).to_numpy(dtype=object))

    def parts(self, number: int) -> np.ndarray:
        """One of `number` parts of equal size for each row, all rows of a customer in the same: [n].

        Unlike a bucket, a part depends on who else is in the table, and not on what the customers are called; so none
        is empty where the table itself is a choice of buckets.
        """
        codes, customers = pd.factorize(self.frame["customer_id"], sort=True)
        return (np.random.default_rng(0).permutation(len(customers)) % number)[codes]

    @property
    def _auxiliary(self) -> list[str]:
        return [column for column in map(str, self.frame.columns) if column.startswith("label_")]


def concat(tables: list[TaskTable]) -> TaskTable:
    """All rows of `tables`, which share one horizon and one target."""
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return replace(tables[0], frame=frame, floored=sum(table.floored for table in tables))


_HISTORY = """
WITH spend AS (
    SELECT o.customer_id, SUM(CAST(i.amount AS DECIMAL(18, 4))) AS amount
    FROM orders o JOIN order_items i USING (order_id) GROUP BY o.customer_id
)
SELECT o.customer_id, COUNT(*) AS orders, MIN(o.order_date) AS first_order, MAX(o.order_date) AS last_order,
       CAST(COALESCE(MAX(s.amount), 0) AS DOUBLE) AS spend
FROM orders o LEFT JOIN spend s USING (customer_id)
GROUP BY o.customer_id ORDER BY o.customer_id
"""

NEW_DAYS, DORMANT_DAYS = 90, 180  # field note 14


def population(db: Tables, *, cutoff: date, config: TaskConfig) -> TaskTable:
    """Every customer whom the rule or the query admits at `cutoff`, with slices: one order, new, dormant, heavy (top
    tenth by spend so far). Who never ordered is in none of them."""
    frame, asked = query(db.upto(cutoff), _HISTORY).to_pandas(), config.asked
    rule = f"no customer has an order in the {config.population or 'time'} before"
    if asked is not None:
        frame, rule = pql.customers(asked, db, cutoff=cutoff).merge(frame, how="left"), f"the query is {asked.text}"
    elif config.population is not None:
        frame = frame[frame["last_order"] > midnight(config.population.before(cutoff))].reset_index(drop=True)
    if frame.empty:
        raise ValueError(f"nobody is in the population at cutoff {cutoff}: {rule}")
    rows = pd.DataFrame({"customer_id": frame["customer_id"]})
    rows["cutoff"] = pd.Timestamp(cutoff).as_unit("us")
    rows["slice_one_order"] = frame["orders"] == 1
    rows["slice_new"] = frame["first_order"] >= midnight(back(cutoff, NEW_DAYS))
    rows["slice_dormant"] = frame["last_order"] < midnight(back(cutoff, DORMANT_DAYS))
    rows["slice_heavy"] = frame["spend"].rank(pct=True, method="first") > 0.9
    if asked is not None:
        return TaskTable(rows, config.horizon, target=asked.target, query=asked.text)
    return TaskTable(rows, config.horizon, target=config.target or "")


def labelled(db: Tables, *, cutoff: date, config: TaskConfig) -> TaskTable:
    """The population at `cutoff` with its target in `(cutoff, cutoff + horizon]`. Raises ValueError if the window is
    still open in `db`; an auxiliary one that is open has NaN."""
    if config.asked is not None and config.horizons:
        raise ValueError("a query with windows of its own has no other horizons; write task.horizons=[]")
    closes = config.horizon.after(cutoff)
    require_closed(db, cutoff=cutoff, config=config)
    rows = population(db, cutoff=cutoff, config=config)
    raw = _raw(db, rows=rows, start=cutoff, end=closes)
    labels = {"label": raw.clip(min=0.0)}
    for horizon in config.horizons:
        labels[f"label_{horizon}"] = _auxiliary(db, rows=rows, cutoff=cutoff, end=horizon.after(cutoff))
    return replace(rows, frame=rows.frame.assign(**labels), floored=int((raw < 0).sum()))


def _auxiliary(db: Tables, *, rows: TaskTable, cutoff: date, end: date) -> np.ndarray:
    known = _is_closed(db, end)
    return _raw(db, rows=rows, start=cutoff, end=end).clip(min=0.0) if known else np.full(len(rows), np.nan)


def _raw(db: Tables, *, rows: TaskTable, start: date, end: date) -> np.ndarray:
    customers = rows.frame["customer_id"]
    if rows.query is not None:  # its windows say when they end
        return pql.labels(pql.compile(rows.query), db, cutoff=start, customers=customers)
    return outcome(db, customers=customers, start=start, end=end, target=rows.target)


_OUTCOME = """
WITH ordered AS (
    SELECT customer_id, COUNT(*) AS orders FROM orders
    WHERE order_date > $start AND order_date <= $closes GROUP BY customer_id
), bought AS (
    SELECT o.customer_id, SUM(CAST(i.amount AS DECIMAL(18, 4))) AS gross,
           SUM(CAST(i.amount - i.quantity * p.cost AS DECIMAL(18, 4))) AS margin
    FROM orders o JOIN order_items i USING (order_id) LEFT JOIN products p USING (product_id)
    WHERE o.order_date > $start AND o.order_date <= $closes GROUP BY o.customer_id
), refunded AS (
    SELECT customer_id, SUM(CAST(refund_amount AS DECIMAL(18, 4))) AS refund
    FROM returns WHERE return_date > $start AND return_date <= $closes GROUP BY customer_id
), known AS (
    SELECT a.customer_id, CAST(COALESCE(b.gross, 0) AS DOUBLE) AS gross,
           CAST(COALESCE(r.refund, 0) AS DOUBLE) AS refund,
           CAST(COALESCE(b.margin, 0) AS DOUBLE) AS margin, CAST(COALESCE(o.orders, 0) AS DOUBLE) AS orders
    FROM asked a LEFT JOIN ordered o USING (customer_id) LEFT JOIN bought b USING (customer_id)
    LEFT JOIN refunded r USING (customer_id)
), outcomes AS (
    SELECT customer_id, gross, gross - refund AS net, margin, orders,
           COALESCE(gross / NULLIF(orders, 0), 0) AS order_value, CAST(orders = 0 AS DOUBLE) AS churn
    FROM known
)
"""


def outcome(db: Tables, *, customers: pd.Series, start: date, end: date, target: str) -> np.ndarray:
    """What each of `customers` did in `(start, end]`, not floored: [n] float64 in their order.

    `db` must know the whole window. Raises ValueError for a margin where no product has a cost.
    """
    assert target in get_args(Target), f"'{target}' is no target"
    if target == "margin":
        _require_costs(db)
    asked = pa.table({"customer_id": customers})
    one = f"{_OUTCOME} SELECT customer_id, {target} FROM outcomes ORDER BY customer_id"  # DuckDB leaves out the others
    found = query(db, one, start=midnight(start), closes=midnight(end), asked=asked).to_pandas()
    return found.set_index("customer_id")[target].loc[customers].to_numpy(dtype=np.float64)


def last_outcome(db: Tables, *, rows: TaskTable) -> np.ndarray:
    """What the label of each row would have been in the window that ends at its cutoff, floored at 0: [n] float64.

    It reads `db.upto(cutoff)` only. A history shorter than the window is taken as it is.
    """
    values = np.empty(len(rows))
    for cutoff in rows.cutoffs:
        here = (rows.frame["cutoff"] == midnight(cutoff)).to_numpy()
        start = rows.horizon.before(cutoff)
        values[here] = _raw(db.upto(cutoff), rows=rows.where(here), start=start, end=cutoff)
    return values.clip(min=0.0)


def _require_costs(db: Tables) -> None:
    if query(db, "SELECT COUNT(cost) AS known FROM products")["known"].to_pylist() == [0]:
        raise ValueError(
            f"table products of '{db.name}' has no value in column cost, so there is no margin; map a column to "
            f"products.cost, keep products among `tables`, or choose another task.target"
        )


def _is_closed(db: Tables, closes: date) -> bool:
    known, read = db.known_until or date.max, db.read_until or db.last_day
    # Data that end during the last day of the window are taken as complete: shops close before midnight.
    return closes <= known and back(closes, 1) <= read


def require_closed(db: Tables, *, cutoff: date, config: TaskConfig) -> None:
    """Raises ValueError if the label window of `cutoff` is still open in `db`."""
    closes = config.horizon.after(cutoff)
    if not _is_closed(db, closes):
        end = min(db.known_until or date.max, db.read_until or db.last_day)
        raise ValueError(
            f"the label window ({cutoff}, {closes}] is not closed: orders of '{db.name}' are known up to {end}; "
            f"choose an earlier cutoff or a shorter horizon"
        )
