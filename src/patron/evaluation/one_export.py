"""Leaks that one export gives away: columns, counts, dates, ids and places in a table that know what comes.

Beyond what the orders of a customer tell by the cutoff, nothing that a table says should tell much of the label; nor
beyond what the sales of a product tell, of what is sold of it next. The labels of the test are looked at: choose
nothing by it.
"""

from datetime import date

import numpy as np
import pandas as pd

from patron.days import back, midnight
from patron.evaluation.derived import Derived
from patron.evaluation.history import history, of_order
from patron.evaluation.leaks import Check
from patron.evaluation.suspicion import signs, suspicion
from patron.features.columns import Settings
from patron.tables.database import Database
from patron.task.ltv import TaskTable

MOST_ROWS = 20_000  # customers, or products, that are looked at; a random part of more
LONG = 0.5  # of a label window: so long after its end the data go on before all of it is looked at too
CUT, UNTOLD = 0.3, 0.55  # of the partial rank correlation; docs/audit.md says what clean data reach


def one_export(whole: Database, *, answer: TaskTable, chosen: Settings = ()) -> tuple[Check, ...]:
    """What the tables of `whole`, in the order in which they were stored, say at the cutoff of `answer`, which has the
    labels, of its customers and of the products sold in the year before. Where the data go on for long after the label
    window, all that comes is asked after, too."""
    (cutoff,) = answer.cutoffs
    rows, past = answer.at_most(MOST_ROWS), whole.upto(cutoff)
    derived, days = Derived(past, chosen), rows.horizon.days_after(cutoff)
    customers = pd.Index(rows.frame["customer_id"], name="customer_id")
    so_far, where = history(past, key="customer_id", owners=customers, days=days), f"customers at {cutoff}"
    columns, end, orders = (
        derived.of_customers(customers),
        rows.horizon.after(cutoff),
        _orders(whole, customers, cutoff),
    )
    checks = [suspicion(columns, label=rows.label, past=so_far, where=where, cut=CUT)]
    if (whole.last_day - end).days > LONG * days:  # an export knows what came by its own day
        until = f"customers from {cutoff} to the end of the data"
        checks.append(suspicion(columns, label=orders, past=so_far, where=until, cut=CUT))
    checks.append(signs(derived.signs(customers), came_back=orders > 0, past=so_far, where=where))
    return (*checks, *_products(whole, derived, cutoff=cutoff, end=end))


def _products(whole: Database, derived: Derived, *, cutoff: date, end: date) -> tuple[Check, ...]:
    sold = _sold(whole, back(cutoff, 365), cutoff)
    if sold.empty:
        return ()
    products = pd.Index(np.sort(sold.index.to_numpy()), name="product_id")
    if len(products) > MOST_ROWS:
        products = products[np.sort(np.random.default_rng(0).choice(len(products), MOST_ROWS, replace=False))]
    so_far = history(derived.past, key="product_id", owners=products, days=(end - cutoff).days)
    label, where = _sold(whole, cutoff, end).reindex(products).fillna(0.0), f"products at {cutoff}"
    columns = derived.of_products(products)
    return (suspicion(columns, label=label.to_numpy(), past=so_far, where=where, cut=CUT, untold=UNTOLD),)


def _sold(whole: Database, start: date, end: date) -> pd.Series:
    # Lines of each product in (start, end].
    items, orders = whole["order_items"], whole["orders"]
    when = orders["order_date"].take(of_order(items, orders)).to_pandas()
    there = (when > pd.Timestamp(midnight(start))) & (when <= pd.Timestamp(midnight(end)))
    return items["product_id"].to_pandas()[there.to_numpy()].dropna().value_counts().astype(float)


def _orders(whole: Database, customers: pd.Index, cutoff: date) -> np.ndarray:
    # Of each customer, from the cutoff to the end of the data: [n].
    orders = whole["orders"].select(["customer_id", "order_date"]).to_pandas()
    later = orders.loc[orders["order_date"] > pd.Timestamp(midnight(cutoff)), "customer_id"]
    return later.value_counts().reindex(customers).fillna(0.0).to_numpy(dtype=float)
