"""Queries that several files of tests ask, the task of a query, and a small shop of which labels are known by hand."""

from datetime import date, datetime, timedelta

import pyarrow as pa

from patron.days import midnight
from patron.tables.database import Database
from patron.task.ltv import TaskConfig

SPEND = "PREDICT SUM(order_items.amount, 0, 12, months) FOR EACH customers.customer_id"
NET = (
    "PREDICT SUM(order_items.amount) - SUM(returns.refund_amount) OVER (0, 6, months) "
    "FOR EACH customers.customer_id WHERE COUNT(orders.*, -12, 0, months) > 0"
)
CHURN = (
    "PREDICT COUNT(orders.*, 0, 90, days) = 0 FOR EACH customers.customer_id WHERE COUNT(orders.*, -6, 0, months) > 0"
)
NAMED_SPEND = "PREDICT total_spend_12m FOR customer USING customer, product, category, purchase"
FOUR = (SPEND, NET, CHURN, NAMED_SPEND)
EACH = " FOR EACH customers.customer_id"

CUTOFF = date(2020, 7, 1)
AT, SECOND = midnight(CUTOFF), timedelta(seconds=1)
MONTH = datetime(2020, 8, 1)  # the end of one month
ORDERS = [  # customer, time, channel, [(product, quantity, amount)]
    ("ann", datetime(2020, 1, 1), "web", [("tea", 1, 5.0)]),  # six months before, to the instant
    ("ann", AT, "web", [("tea", 1, 100.0)]),
    ("ann", AT + SECOND, "web", [("tea", 2, 10.0), ("cup", 1, 8.0)]),
    ("ann", MONTH, "shop", [("tea", 3, 6.0)]),
    ("ann", MONTH + SECOND, "web", [("tea", 1, 1000.0)]),
    ("bob", datetime(2020, 1, 1) + SECOND, "web", [("cup", 1, 7.0)]),
    ("bob", datetime(2020, 7, 20), "web", [("cup", 1, 0.1), ("cup", 4, 0.2), (None, 1, 3.0)]),
    ("dan", MONTH + SECOND, "shop", [("tea", 1, 1.0)]),
    ("end", datetime(2021, 7, 1), "shop", [("cup", 1, 2.0)]),
]
RETURNS = [("ann", AT, 50.0), ("ann", AT + SECOND, 4.0), ("bob", MONTH, 9.0), ("ann", MONTH + SECOND, 500.0)]
EVENTS = [(2, "paid", AT + SECOND), (2, "sent", MONTH), (6, "paid", MONTH + SECOND)]  # order, type, time


def stamps(values: list[datetime | None]) -> pa.Array:
    return pa.array(values, pa.timestamp("us"))


def shop_by_hand() -> Database:
    """What the labels and populations by hand are of."""
    lines = [(k, *line) for k, (_, _, _, items) in enumerate(ORDERS) for line in items]
    tables = {
        "customers": {
            "customer_id": ["ann", "bob", "cat", "dan", "end"], "geo": ["north", "south", "north", None, None],
            "registration_date": stamps([AT, AT + SECOND, datetime(2020, 6, 1), AT + SECOND, None]),
        },
        "orders": {
            "order_id": list(range(len(ORDERS))), "customer_id": [who for who, *_ in ORDERS],
            "order_date": stamps([when for _, when, *_ in ORDERS]), "channel": [by for _, _, by, _ in ORDERS],
        },
        "order_items": {
            name: [line[k] for line in lines]
            for k, name in enumerate(("order_id", "product_id", "quantity", "amount"))
        },
        "products": {"product_id": ["tea", "cup"], "category_id": [1, 2]},
        "categories": {"category_id": [1, 2], "name": ["tea's", "cups"]},
        "returns": {
            "return_id": list(range(len(RETURNS))), "customer_id": [who for who, *_ in RETURNS],
            "return_date": stamps([when for _, when, _ in RETURNS]), "refund_amount": [back for *_, back in RETURNS],
        },
        "order_events": {
            "order_id": [order for order, *_ in EVENTS], "event_type": [kind for _, kind, _ in EVENTS],
            "event_date": stamps([when for *_, when in EVENTS]),
        },
    }  # fmt: skip
    return Database("small", {name: pa.table(columns) for name, columns in tables.items()})


def task(text: str) -> TaskConfig:
    return TaskConfig(horizon="1d", target="net", population="1d", horizons=(), query=text)
