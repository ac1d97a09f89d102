"""What is predicted and for whom: spend in `(cutoff, cutoff + horizon]` of the customers that a rule picks at the
cutoff.

The population never depends on the outcome, and its slices are known at the cutoff too. A label is net of returns or
gross; it is floored at 0, and the number of floored labels is kept (field note 13).
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import Horizon, back, midnight
from patron.tables.database import Database
from patron.tables.engine import query


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TaskConfig:
    """The target. `population` is how far back a customer's last order may lie; null takes everybody who ever
    ordered."""

    horizon: Horizon
    target: Literal["net", "gross"]
    population: Horizon | None


@dataclass(frozen=True)
class TaskTable:
    """One row a customer and cutoff: `customer_id, cutoff`, `slice_*` flags known at the cutoff, and `label` where it
    may be known.

    `floored` counts labels that were negative before they were set to 0.
    """

    frame: pd.DataFrame
    horizon: Horizon
    floored: int = 0

    def __post_init__(self) -> None:
        twice = self.frame.duplicated(["customer_id", "cutoff"])
        assert not twice.any(), f"task table holds {int(twice.sum())} customers twice at one cutoff"

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def label(self) -> np.ndarray:
        """Spend in the label window, in the currency of the orders: [n] float64, >= 0."""
        return self.frame["label"].to_numpy(dtype=np.float64)

    @property
    def cutoffs(self) -> tuple[date, ...]:
        """The distinct cutoffs, in order."""
        return tuple(sorted(stamp.date() for stamp in self.frame["cutoff"].unique()))

    def at(self, cutoff: date) -> "TaskTable":
        """The rows of one cutoff."""
        return self.where(self.frame["cutoff"] == midnight(cutoff))

    def where(self, mask: "pd.Series | np.ndarray") -> "TaskTable":
        """The rows for which `mask` is true. `floored` is not known of a part and is kept as it was for the whole."""
        return TaskTable(self.frame[mask].reset_index(drop=True), self.horizon, self.floored)

    def without_label(self) -> "TaskTable":
        """The same rows as an estimator may see them when it predicts."""
        return TaskTable(self.frame.drop(columns="label", errors="ignore"), self.horizon)


def concat(tables: list[TaskTable]) -> TaskTable:
    """All rows of `tables`, which share one horizon."""
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return TaskTable(frame, tables[0].horizon, sum(table.floored for table in tables))


_POPULATION = """
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


def population(db: Database, *, cutoff: date, config: TaskConfig) -> TaskTable:
    """Every customer whom the rule admits at `cutoff`, with slices: one order, new, dormant, heavy (top tenth by
    spend so far)."""
    frame = query(db.upto(cutoff), _POPULATION).to_pandas()
    if config.population is not None:
        frame = frame[frame["last_order"] > midnight(config.population.before(cutoff))].reset_index(drop=True)
    if frame.empty:
        raise ValueError(
            f"nobody is in the population at cutoff {cutoff}: "
            f"no customer has an order in the {config.population or 'time'} before"
        )
    rows = pd.DataFrame({"customer_id": frame["customer_id"]})
    rows["cutoff"] = pd.Timestamp(cutoff).as_unit("us")
    rows["slice_one_order"] = frame["orders"] == 1
    rows["slice_new"] = frame["first_order"] >= midnight(back(cutoff, NEW_DAYS))
    rows["slice_dormant"] = frame["last_order"] < midnight(back(cutoff, DORMANT_DAYS))
    rows["slice_heavy"] = frame["spend"].rank(pct=True, method="first") > 0.9
    return TaskTable(rows, config.horizon)


_LABEL = """
WITH bought AS (
    SELECT o.customer_id, SUM(CAST(i.amount AS DECIMAL(18, 4))) AS amount
    FROM orders o JOIN order_items i USING (order_id)
    WHERE o.order_date > $cutoff AND o.order_date <= $closes GROUP BY o.customer_id
), refunded AS (
    SELECT customer_id, SUM(CAST(refund_amount AS DECIMAL(18, 4))) AS amount
    FROM returns WHERE return_date > $cutoff AND return_date <= $closes GROUP BY customer_id
)
SELECT p.customer_id, CAST(COALESCE(b.amount, 0) AS DOUBLE) AS gross, CAST(COALESCE(r.amount, 0) AS DOUBLE) AS refund
FROM population p LEFT JOIN bought b USING (customer_id) LEFT JOIN refunded r USING (customer_id)
ORDER BY p.customer_id
"""


def labelled(db: Database, *, cutoff: date, config: TaskConfig) -> TaskTable:
    """The population at `cutoff` with its spend in `(cutoff, cutoff + horizon]`. Raises ValueError if the window is
    still open in `db`."""
    closes = config.horizon.after(cutoff)
    _require_closed(db, cutoff=cutoff, closes=closes)
    rows = population(db, cutoff=cutoff, config=config)
    ids = pa.table({"customer_id": rows.frame["customer_id"]})
    spend = query(db, _LABEL, cutoff=midnight(cutoff), closes=midnight(closes), population=ids).to_pandas()
    raw = spend["gross"] - (spend["refund"] if config.target == "net" else 0.0)
    frame = rows.frame.assign(label=raw.clip(lower=0.0).to_numpy())
    return TaskTable(frame, config.horizon, floored=int((raw < 0).sum()))


def _require_closed(db: Database, *, cutoff: date, closes: date) -> None:
    known, read = db.known_until or date.max, db.read_until or db.last_day
    # Data that end during the last day of the window are taken as complete: shops close before midnight.
    if closes > known or back(closes, 1) > read:
        end = min(known, read)
        raise ValueError(
            f"the label window ({cutoff}, {closes}] is not closed: orders of '{db.name}' are known up to {end}; "
            f"choose an earlier cutoff or a shorter horizon"
        )
