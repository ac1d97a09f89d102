"""Labels and populations of queries: by hand to the microsecond, and the named targets bit for bit."""

from dataclasses import replace
from datetime import date

import pytest
from pandas.testing import assert_frame_equal
from queries import CUTOFF, EACH, shop_by_hand, task
from settings import TEST

from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, labelled, population
from patron.task.pql import NAMED
from patron.testing import shuffled

EVERYBODY = ["ann", "bob", "cat", "end"]  # cat registered and never ordered; dan comes later


@pytest.fixture(scope="module")
def small() -> Database:
    return shop_by_hand()


def labels(rows: TaskTable) -> dict[str, float]:
    return dict(zip(rows.frame["customer_id"], rows.label.tolist(), strict=True))


# Labels by hand, of the month after the cutoff


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("SUM(order_items.amount, 0, 1, months)", {"ann": 24.0, "bob": 3.3}),
        ("SUM(order_items.amount, 0, 1, month)", {"ann": 24.0, "bob": 3.3}),
        ("sum(order_items.amount, 0, 31, Days)", {"ann": 24.0, "bob": 3.3}),
        ("SUM(order_items.amount, 0, 4, weeks)", {"ann": 18.0, "bob": 3.3}),
        ("SUM(order_items.amount, 0, 1, years)", {"ann": 1024.0, "bob": 3.3, "end": 2.0}),
        ("SUM(order_items.amount, 1, 2, months)", {"ann": 1000.0}),
        ("SUM(order_items.amount) - SUM(returns.refund_amount) OVER (0, 1, months)", {"ann": 20.0}),  # bob: -5.7
        (
            "SUM(order_items.amount) − SUM(returns.refund_amount, 0, 1, days) OVER (0, 1, months)",
            {"ann": 20.0, "bob": 3.3},
        ),
        ("COUNT(orders.*, 0, 1, months)", {"ann": 2.0, "bob": 1.0}),
        ("COUNT(order_items.product_id, 0, 1, months)", {"ann": 3.0, "bob": 2.0}),
        ("COUNT_DISTINCT(order_items.product_id, 0, 1, months)", {"ann": 2.0, "bob": 1.0}),
        ("AVG(order_items.quantity, 0, 1, months)", {"ann": 2.0, "bob": 2.0}),
        ("MIN(order_items.amount, 0, 1, months)", {"ann": 6.0, "bob": 0.1}),
        ("MAX(order_items.amount, 0, 1, months)", {"ann": 10.0, "bob": 3.0}),
        ("SUM(order_items.amount) / COUNT(orders.*) OVER (0, 1, months)", {"ann": 12.0, "bob": 3.3}),
        ("(1 + COUNT(orders.*, 0, 1, months)) × 2 ÷ 4 - 0.5", {"ann": 1.0, "bob": 0.5}),
        ("- COUNT(orders.*, 0, 1, months) + 2", {"bob": 1.0, "cat": 2.0, "end": 2.0}),
        ("2 - 3 - COUNT(orders.*, 0, 1, months)", {}),
        ("SUM(order_items.amount WHERE order_items.quantity > 1, 0, 1, months)", {"ann": 16.0, "bob": 0.2}),
        ("SUM(order_items.amount WHERE categories.name = 'tea''s', 0, 1, months)", {"ann": 16.0}),
        ('SUM(order_items.amount WHERE categories.name = "tea\'s", 0, 1, months)', {"ann": 16.0}),
        ("SUM(order_items.amount WHERE products.category_id = 2, 0, 1, months)", {"ann": 8.0, "bob": 0.3}),
        ("SUM(order_items.amount WHERE products.product_id != 'cup', 0, 1, months)", {"ann": 16.0}),
        ("SUM(order_items.amount WHERE NOT products.product_id = 'cup', 0, 1, months)", {"ann": 16.0}),  # bob's is NULL
        (
            "SUM(order_items.amount WHERE orders.channel = 'shop' OR customers.geo = 'south', 0, 1, months)",
            {"ann": 6.0, "bob": 3.3},
        ),
        ("SUM(order_items.amount WHERE order_items.amount / order_items.quantity >= 5, 0, 1, months)", {"ann": 18.0}),
        ("COUNT(orders.* WHERE orders.order_date >= '2020-07-20', 0, 1, months)", {"ann": 1.0, "bob": 1.0}),
        ("COUNT(order_events.* WHERE order_events.event_type = 'paid', 0, 1, months)", {"ann": 1.0}),
        ("COUNT(order_events.* WHERE orders.channel = 'web', 0, 1, years)", {"ann": 2.0, "bob": 1.0}),
        ("COUNT(orders.* WHERE orders.channel = 'x'' OR 1 = 1 --', 0, 1, months)", {}),
        ("COUNT(orders.*, 0, 1, months) = 0", {"cat": 1.0, "end": 1.0}),
        ("COUNT(orders.*) = 0 OVER (0, 1, months)", {"cat": 1.0, "end": 1.0}),
        ("COUNT(orders.*) OVER (0, 1, months) < COUNT(orders.*, 0, 2, months)", {"ann": 1.0}),
        ("COUNT(orders.*) >= COUNT(returns.*) OVER (0, 1, months)", {"ann": 1.0, "bob": 1.0, "cat": 1.0, "end": 1.0}),
        ("NOT COUNT(orders.*, 0, 1, months) <> 1 AND SUM(order_items.amount, 0, 1, months) <= 3.3", {"bob": 1.0}),
        ("MIN(order_items.amount, 0, 1, months) < 1", {"bob": 1.0, "cat": 1.0, "end": 1.0}),  # of nothing it is 0
    ],
)  # fmt: skip
def test_labels_by_hand(small: Database, expression: str, expected: dict[str, float]) -> None:
    """A second after the cutoff and the very end of the window are in it; the cutoff and a second after the end not."""
    rows = labelled(small, cutoff=CUTOFF, config=task(f"PREDICT {expression}{EACH}"))
    assert labels(rows) == pytest.approx({**dict.fromkeys(["ann", "bob", "cat", "end"], 0.0), **expected}, abs=1e-12)
    again = labelled(shuffled(small), cutoff=CUTOFF, config=task(f"PREDICT {expression}{EACH}"))
    assert_frame_equal(again.frame, rows.frame, check_exact=True)


def test_negative_labels_are_floored_and_counted(small: Database) -> None:
    text = f"PREDICT SUM(order_items.amount) - SUM(returns.refund_amount) OVER (0, 1, months){EACH}"
    assert labelled(small, cutoff=CUTOFF, config=task(text)).floored == 1


# Populations by hand


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", EVERYBODY),
        ("COUNT(orders.*, -6, 0, months) > 0", ["ann", "bob"]),  # ann by the order at the cutoff
        ("SUM(order_items.amount, -6, 0, months) = 7", ["bob"]),
        ("SUM(order_items.amount, -6, 0, months) = 100", ["ann"]),  # the order six months before is outside
        ("COUNT(orders.*) > 0 OVER (-6, -1, months)", ["bob"]),
        ("COUNT(orders.*, -6, 0, months) = 0 AND customers.geo = 'north'", ["cat"]),
        ("COUNT(orders.*, -6, 0, months) = 2 or (customers.geo = 'south' and not 1 = 2)", ["bob"]),
        ("NOT customers.geo = 'north'", ["bob"]),  # where end lives is not known
        ("customers.customer_id != 'ann'", ["bob", "cat", "end"]),
        ("customers.registration_date < '2020-07-01'", ["cat"]),
        ("AVG(returns.refund_amount, -1, 0, years) < 1", ["bob", "cat", "end"]),
    ],
)
def test_populations_by_hand(small: Database, condition: str, expected: list[str]) -> None:
    text = f"PREDICT COUNT(orders.*, 0, 1, months){EACH}" + (f" WHERE {condition}" if condition else "")
    assert population(small, cutoff=CUTOFF, config=task(text)).frame["customer_id"].tolist() == expected


def test_nobody_in_the_population_shows_the_query(small: Database) -> None:
    text = f"PREDICT COUNT(orders.*, 0, 1, months){EACH} WHERE customers.geo = 'west'"
    with pytest.raises(ValueError, match=r"nobody is in the population at cutoff 2020-07-01: the query is .*'west'"):
        population(small, cutoff=CUTOFF, config=task(text))


def test_slices_of_who_never_ordered_are_false(shop: Database) -> None:
    """All others have the slices of the named target, bit for bit."""
    asked = population(shop, cutoff=TEST, config=task(f"PREDICT COUNT(orders.*, 0, 60, days){EACH}")).frame
    named = population(shop, cutoff=TEST, config=task("PREDICT order_count_60d FOR customer")).frame
    idle = set(asked["customer_id"]) - set(named["customer_id"])
    assert len(idle) > 1  # customer 0, and who registered but orders later
    slices = [column for column in asked if str(column).startswith("slice_")]
    assert len(slices) == 4
    silent = asked["customer_id"].isin(idle)
    assert not asked.loc[silent, slices].any(axis=None)
    assert_frame_equal(asked[~silent].reset_index(drop=True), named, check_exact=True)


# Against the named targets


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("total_spend_3m", "SUM(order_items.amount, 0, 3, months)"),
        ("net_spend_90d", "SUM(order_items.amount) - SUM(returns.refund_amount) OVER (0, 90, days)"),
        ("order_count_8w", "COUNT(orders.*, 0, 56, days)"),
        ("order_count_1y", "COUNT_DISTINCT(orders.order_id, 0, 12, months)"),
        ("average_order_value_3m", "SUM(order_items.amount) / COUNT(orders.*) OVER (0, 3, months)"),
        ("churn_60d", "COUNT(orders.*, 0, 60, days) = 0"),
    ],
)
def test_queries_are_the_named_targets_bit_for_bit(shop: Database, name: str, expression: str) -> None:
    cutoff = date(2020, 6, 15)
    text = f"PREDICT {expression}{EACH} WHERE COUNT(orders.*, -10, 0, years) > 0"
    named, asked = (labelled(shop, cutoff=cutoff, config=task(one)) for one in (f"PREDICT {name} FOR customer", text))
    assert_frame_equal(asked.frame, named.frame, check_exact=True)
    assert (asked.floored, asked.horizon, asked.is_flag) == (named.floored, named.horizon, named.is_flag)
    assert len(set(named.label)) > 1


@pytest.mark.parametrize("name", NAMED)
def test_a_named_target_is_the_task_of_that_target(name: str) -> None:
    config = task(f"PREDICT {name}_12m FOR customer")
    plain = TaskConfig(horizon="12m", target=NAMED[name], population=None, horizons=(), query=None)
    assert replace(config, query=None) == plain
    assert config.asked is None
