"""PQL: labels and populations by hand to the microsecond, the named targets bit for bit, and every mistake with its
place."""

import re
import shlex
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from newcomer import CONFIGS, ROOT, SHARED, Shell, composed, write_experiment, write_shop
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, SMALL, TEST, fit

from patron.config import BenchmarkConfig, Config, ConfigError, dump, entry, load
from patron.days import Horizon, midnight
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, concat, labelled, last_outcome, population
from patron.task.pql import NAMED, PQLError, compile
from patron.task.split import folds
from patron.testing import scrambled_after, shuffled

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
EVERYBODY = ["ann", "bob", "cat", "end"]  # cat registered and never ordered; dan comes later


def stamps(values: list[datetime | None]) -> pa.Array:
    return pa.array(values, pa.timestamp("us"))


@pytest.fixture(scope="module")
def small() -> Database:
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


# What a query says of itself


@pytest.mark.parametrize(
    ("ends", "horizon"),
    [
        (["0, 12, months"], Horizon(12, "months")),
        (["0, 1, year", "0, 13, months"], Horizon(13, "months")),
        (["0, 2, weeks", "0, 3, days"], Horizon(14, "days")),
        (["0, 28, days", "0, 1, month"], Horizon(1, "months")),
        (["0, 30, days", "0, 1, month"], Horizon(31, "days")),  # longer than a February, shorter than a March
        (["0, 400, days", "0, 1, year"], Horizon(400, "days")),
    ],
)
def test_the_horizon_is_the_latest_end(ends: list[str], horizon: Horizon) -> None:
    query = compile("PREDICT " + " + ".join(f"COUNT(orders.*, {end})" for end in ends) + EACH)
    assert query.horizon == horizon


def test_what_the_four_queries_are() -> None:
    spend, net, churn, named = map(compile, FOUR)
    assert [query.horizon for query in (spend, net, churn, named)] == [
        Horizon(12, "months"), Horizon(6, "months"), Horizon(90, "days"), Horizon(12, "months"),
    ]  # fmt: skip
    assert [query.target for query in (spend, net, churn, named)] == ["money", "money", "flag", "gross"]
    assert [query.is_flag for query in (spend, net, churn, named)] == [False, False, True, False]
    assert [query.is_named for query in (spend, net, churn, named)] == [False, False, False, True]
    assert named.tables == ("customers", "orders", "order_items", "products", "categories")
    assert spend.tables is None
    assert compile(f"{SPEND} USING return, purchase").tables == ("orders", "order_items", "returns")


@pytest.mark.parametrize(
    ("expression", "target"),
    [
        ("SUM(order_items.amount, 0, 9, days) * 2", "money"),
        ("SUM(order_items.quantity, 0, 9, days)", "number"),
        ("SUM(order_items.amount WHERE order_items.quantity > 1, 0, 9, days)", "number"),
        ("SUM(order_items.amount) / COUNT(orders.*) OVER (0, 9, days)", "number"),
        ("(SUM(order_items.amount, 0, 9, days) > 5)", "flag"),
    ],
)
def test_only_all_spend_is_taken_for_a_total(expression: str, target: str) -> None:
    assert compile(f"PREDICT {expression}{EACH}").target == target


def test_a_table_of_a_query_carries_it(small: Database) -> None:
    config = task(f"PREDICT COUNT(orders.*, 0, 1, months) = 0{EACH}")
    rows = labelled(small, cutoff=CUTOFF, config=config)
    for part in (rows, rows.at(CUTOFF), rows.where(rows.label > 0), rows.without_label(), concat([rows])):
        assert (part.target, part.query, part.is_flag) == ("flag", config.query, True)
    assert config.title == config.query


def test_a_query_has_no_other_horizons(small: Database) -> None:
    config = replace(task(f"PREDICT COUNT(orders.*, 0, 1, months){EACH}"), horizons=(Horizon(9, "days"),))
    with pytest.raises(ValueError, match=r"no other horizons; write task\.horizons=\[\]"):
        labelled(small, cutoff=CUTOFF, config=config)


# Nothing leaks


LATE = (
    f"PREDICT SUM(order_items.amount) - SUM(returns.refund_amount) OVER (0, 60, days){EACH} "
    "WHERE COUNT(orders.*, -12, 0, months) > 1"
)


@pytest.mark.parametrize("text", [CHURN, LATE, SPEND.replace("12, months", "2, months")])
def test_the_future_moves_no_row_and_no_closed_label(shop: Database, text: str) -> None:
    other = scrambled_after(shop, cutoff=TEST)
    one, two = (population(db, cutoff=TEST, config=task(text)) for db in (shop, other))
    assert_frame_equal(one.frame, two.frame, check_exact=True)
    earlier = task(text).horizon.before(TEST)
    closed, again = (labelled(db, cutoff=earlier, config=task(text)) for db in (shop, other))
    assert_frame_equal(closed.frame, again.frame, check_exact=True)
    now, changed = (labelled(db, cutoff=TEST - timedelta(days=1), config=task(text)) for db in (shop, other))
    assert (now.label != changed.label).any()


def test_an_open_window_is_refused(shop: Database) -> None:
    with pytest.raises(ValueError, match=r"the label window \(2021-05-01, 2021-07-30\] is not closed"):
        labelled(shop, cutoff=date(2021, 5, 1), config=task(CHURN))


@pytest.mark.parametrize("text", [CHURN, LATE])
def test_the_order_of_rows_changes_nothing(shop: Database, text: str) -> None:
    one, other = (labelled(db, cutoff=date(2021, 1, 1), config=task(text)) for db in (shop, shuffled(shop)))
    assert_frame_equal(one.frame, other.frame, check_exact=True)


@pytest.mark.parametrize("name", ["last_window", "lightgbm_rfm"])
def test_estimators_predict_queries(shop: Database, name: str, tmp_path: Path) -> None:
    (fold,) = folds(shop, task=task(CHURN), split=SMALL.split)
    predicted = fit(name, shop, fold=fold, folder=tmp_path).predict(shop.upto(TEST), rows=fold.test)
    assert predicted["ltv_mean"].between(0, 1).all()
    other = scrambled_after(shop, cutoff=TEST)
    (again,) = folds(other, task=task(CHURN), split=SMALL.split)
    after = fit(name, other, fold=again, folder=tmp_path / "x").predict(other.upto(TEST), rows=again.test)
    assert_frame_equal(after, predicted, check_exact=True)
    if name == "last_window":
        last = labelled(shop, cutoff=TEST - timedelta(days=90), config=task(CHURN.partition(" WHERE")[0]))
        expected = last.frame.set_index("customer_id")["label"].reindex(predicted["customer_id"])
        late = expected.isna().to_numpy()  # not yet known then: with an order since
        np.testing.assert_array_equal(predicted["ltv_mean"][~late], expected[~late])
        assert (predicted["ltv_mean"][late] == 0).all()


def test_btyd_refuses_what_it_cannot_predict(shop: Database, tmp_path: Path) -> None:
    (fold,) = folds(shop, task=task(CHURN), split=SMALL.split)
    with pytest.raises(ValueError, match=r"cannot predict the target 'flag'; leave it out of estimator=\[\.\.\.\]"):
        fit("btyd", shop, fold=fold, folder=tmp_path)
    assert "btyd" in ESTIMATORS


def test_last_outcome_of_a_query_reads_the_past_only(small: Database) -> None:
    rows = population(
        small, cutoff=date(2020, 8, 1), config=task(f"PREDICT SUM(order_items.amount, 0, 1, months){EACH}")
    )
    assert dict(zip(rows.frame["customer_id"], last_outcome(small, rows=rows).tolist(), strict=True)) == pytest.approx(
        {"ann": 24.0, "bob": 3.3, "cat": 0.0, "dan": 0.0, "end": 0.0}
    )


# Mistakes: the query, the offending token, and what is said. The caret stands under `«`.


MISTAKES = [
    ("«", "the query is empty"),
    ("«SUM(orders.x, 0, 1, days)", "'SUM' has no place here; expected PREDICT"),
    (
        "PREDICT SUM(«order_itms.amount, 0, 9, days)" + EACH,
        "there is no table 'order_itms'; did you mean 'order_items'?",
    ),
    (
        "PREDICT SUM(order_items.«amuont, 0, 9, days)" + EACH,
        "table order_items has no column 'amuont'; did you mean 'amount'?",
    ),
    ("PREDICT SUM(order_items.«refund_amount, 0, 9, days)" + EACH, "table order_items has no column 'refund_amount'"),
    ("PREDICT SUM(orders.«channel, 0, 9, days)" + EACH, "orders.channel is a text; SUM takes numbers"),
    ("PREDICT AVG(order_items.«*, 0, 9, days)" + EACH, "only COUNT takes *; AVG needs a column"),
    ("PREDICT «SUMM(order_items.amount, 0, 9, days)" + EACH, "there is no function 'SUMM'; did you mean 'SUM'?"),
    (
        "PREDICT «STDDEV(order_items.amount, 0, 9, days)" + EACH,
        "there is no function 'STDDEV'; allowed here: SUM, COUNT",
    ),
    (
        "PREDICT «SUM(order_items.amount)" + EACH,
        "SUM has no window; give it one, for example SUM(order_items.amount, 0, 90, days)",
    ),
    ("PREDICT SUM(order_items.amount, 0, «9)" + EACH, "the window has no unit; write 0, 9, days"),
    ("PREDICT SUM(order_items.amount, «9)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, 9, days, «4)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, «days, 9)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, 9, «dayz)" + EACH, "there is no unit 'dayz'; did you mean 'day'?"),
    ("PREDICT SUM(order_items.amount, 0, 9 «days)" + EACH, "'days' has no place here; expected ) or a comma"),
    ("PREDICT SUM(order_items.amount, 0, «1.5, months)" + EACH, "a window has whole numbers"),
    ("PREDICT SUM(order_items.amount, 9, «3, days)" + EACH, "the window must end after its start"),
    ("PREDICT SUM(order_items.amount, 3, «3, days)" + EACH, "the window must end after its start"),
    (
        "PREDICT SUM(order_items.amount, «-9, 0, days)" + EACH,
        "a label window lies after the cutoff, start >= 0.* leaks",
    ),
    ("PREDICT SUM(order_items.amount) OVER («-1, 9, days)" + EACH, "a label window lies after the cutoff"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE COUNT(orders.*, -9, «9, days) > 0",
        "WHERE lies before the cutoff.* leaks",
    ),
    ("PREDICT COUNT(«products.*, 0, 9, days)" + EACH, "table products has no time; .*use orders, order_items"),
    ("PREDICT COUNT(«external.*, 0, 9, days)" + EACH, "table external has no custome"),
    ("PREDICT COUNT(«customers.*, 0, 9, days)" + EACH, "table customers is who is predicted"),
    ("PREDICT COUNT(orders.*, 0, 9, days)«", "the query ends here; expected .*FOR EACH customers.customer_id"),
    ("PREDICT COUNT(orders.*, 0, 9, days) «WHERE 1 = 1", "'WHERE' has no place here; expected .*FOR EACH"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days) FOR EACH «orders.customer_id",
        "patron predicts for customers: FOR EACH customers.customer_id",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR EACH customers.«geo", "patron predicts for customers"),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR EACH customers«", "the query ends here; expected a dot and a column"),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR «customer", "FOR customer is for named targets"),
    ("PREDICT (COUNT(orders.*, 0, 9, days) «FOR EACH customers.customer_id", "'FOR' has no place here; expected )"),
    ("PREDICT COUNT(orders.*, 0, 9, days)«)" + EACH, "')' has no place here"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " «LIMIT 5",
        "'LIMIT' has no place here; expected .*USING or WHERE",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) «% 2" + EACH, "'%' has no place in a query"),
    ("PREDICT COUNT(orders.* WHERE orders.channel = «'web, 0, 9, days)" + EACH, "the text is not closed"),
    (
        "PREDICT «total_spent_12m FOR customer",
        "there is no named target 'total_spent_12m'; did you mean 'total_spend'?",
    ),
    ("PREDICT «revenue FOR customer", "there is no named target 'revenue'; allowed here: total_spend, net_spend"),
    (
        "PREDICT «total_spend_12q FOR customer",
        "total_spend_12q has no horizon; write total_spend_90d, or _13w, _12m, _1y",
    ),
    ("PREDICT «churn FOR customer", "churn has no horizon; write churn_90d"),
    ("PREDICT «churn_0d FOR customer", "churn_0d has no horizon"),
    (
        "PREDICT churn_90d FOR «EACH customers.customer_id",
        "the named target churn_90d has a population of its own: FOR customer",
    ),
    ("PREDICT «churn_101y FOR customer", "a horizon is of at most 100 years"),
    ("PREDICT SUM(order_items.amount, 0, «5300, weeks)" + EACH, "a window is of at most 100 years"),
    ("PREDICT «" + EACH.strip(), "'FOR' has no place here"),
    ("PREDICT SUM(amount«, 0, 9, days)" + EACH, "',' has no place here; expected a dot and a column"),
    ("PREDICT COUNT(orders.* WHERE orders.order_id = «5.5, 0, 9, days)" + EACH, "an id is a whole number or a text"),
    ("PREDICT churn_90d FOR «product", "write FOR EACH customers.customer_id, or FOR customer for a named target"),
    (
        "PREDICT churn_90d FOR customer WHERE «COUNT(orders.*, -9, 0, days) > 0",
        "a named target is for everybody who has ordered",
    ),
    ("PREDICT «churn_90d + 1" + EACH, "'churn_90d' means nothing here; write table.column"),
    (
        "PREDICT churn_90d FOR customer USING customer, «purchases",
        "there is nothing called 'purchases' to use; did you mean 'purchase'?",
    ),
    (
        "PREDICT 0 < COUNT(orders.*, 0, 9, days) «< 5" + EACH,
        "a comparison is of two values; join two comparisons with AND",
    ),
    (
        "PREDICT COUNT(orders.* WHERE orders.channel > «5, 0, 9, days)" + EACH,
        "a text cannot be compared with a numbe",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) = «'five'" + EACH, "a number cannot be compared with a text"),
    (
        "PREDICT COUNT(orders.* WHERE orders.order_date > «'May', 0, 9, days)" + EACH,
        "this is no date; write it as '2020-12-31'",
    ),
    ("PREDICT COUNT(orders.* WHERE orders.order_id «> 5, 0, 9, days)" + EACH, "ids have no orde"),
    ("PREDICT COUNT(orders.*, 0, 9, days) «OVER (0, 5, days)" + EACH, "no aggregation needs this OVER"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «COUNT(orders.*, -9, 0, days)",
        "WHERE needs a comparison",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «customers.geo", "WHERE needs a comparison"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE 1 = 1 AND «customers.geo",
        "a text is no condition; compare it",
    ),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «orders.channel = 'web'",
        "a customer has many orders; aggregate them",
    ),
    (
        "PREDICT COUNT(orders.* WHERE «orders.channel, 0, 9, days)" + EACH,
        "WHERE needs a comparison, for example order_items.quantity",
    ),
    ("PREDICT «customers.geo = 'north'" + EACH, "customers.geo is no aggregation; .*go into WHERE"),
    ("PREDICT «1 + 1" + EACH, "nothing is aggregated here"),
    ("PREDICT COUNT(orders.*, 0, 9, days) + «'x'" + EACH, "a text has no place in arithmetic"),
    (
        "PREDICT COUNT(orders.* WHERE «returns.refund_amount > 1, 0, 9, days)" + EACH,
        "orders does not refer to returns; allowed here: orders, customers",
    ),
    (
        "PREDICT COUNT(orders.* WHERE «COUNT(returns.*, 0, 9, days) > 1, 0, 9, days)" + EACH,
        "a filter is of single rows",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "message"), MISTAKES)
def test_mistakes_are_shown_where_they_stand(marked: str, message: str) -> None:
    text = marked.replace("«", "")
    with pytest.raises(PQLError, match=".*".join(map(re.escape, message.split(".*")))) as caught:
        compile(text)
    said, line, caret = str(caught.value).split("\n")
    assert "\n" not in said
    assert line == f"    {text}"
    assert caret == " " * (4 + marked.index("«")) + "^"


def test_a_mistake_of_a_query_of_several_lines_shows_its_line() -> None:
    with pytest.raises(PQLError) as caught:
        compile("PREDICT COUNT(orders.*, 0, 9, days)\n\tFOR EACH customers.id\nWHERE 1 = 1")
    assert str(caught.value).split("\n")[1:] == ["     FOR EACH customers.id", "                        ^"]


# In a configuration and on the command line


def on_the_command_line(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Config:
    seen: list[Config] = []
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    entry(seen.append, schema=Config, configs=CONFIGS, name="config")
    return seen[0]


QUOTED = "PREDICT COUNT(orders.* WHERE orders.channel = \"it's\" OR orders.channel = 'a\\', 0, 9, days) >= 1" + EACH


@pytest.mark.parametrize("text", [*FOUR, QUOTED])
@pytest.mark.parametrize("key", ["query", "task.query"])
def test_a_query_is_given_on_the_command_line_as_it_is(key: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, f"{key}={text}")
    assert (config.query, config.task.query) == (text, text)
    assert config.task == task(text)


@pytest.mark.parametrize("text", FOUR)
def test_or_in_quotes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, f'query="{text}"', "seeds=[0]")
    assert (config.query, config.task) == (text, task(text))
    assert config.tables == compile(text).tables


def test_no_query_leaves_the_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, "query=null", "task=90d", "tables=[returns,products]")
    assert (config.query, config.task.target, str(config.task.horizon)) == (None, "net", "90d")
    assert config.tables == ("products", "returns")


@pytest.mark.parametrize("schema", [Config, BenchmarkConfig])
@pytest.mark.parametrize("text", FOUR)
def test_a_config_with_a_query_survives_a_dump(schema: type, text: str) -> None:
    composition = composed("config" if schema is Config else "benchmark")
    composition.query = text
    config = load(composition, schema=schema)
    assert load(dump(config), schema=schema) == config
    assert dump(config)["task"]["horizon"] == str(compile(text).horizon)


def test_a_wrong_query_is_said_beside_other_mistakes() -> None:
    composition = composed("config", "tables=[order_itms]")
    composition.query = "PREDICT COUNT(orderz.*, 0, 9, days)" + EACH
    with pytest.raises(ConfigError) as caught:
        load(composition, schema=Config)
    lines = str(caught.value).split("\n")
    assert lines[0] == "the configuration has 2 mistake(s):"
    at = lines.index("  query: there is no table 'orderz'; did you mean 'orders'?")
    assert lines[at + 1 : at + 3] == [f"    {composition.query}", "    " + " " * 14 + "^"]
    assert any(
        line.startswith("  tables: there is no table 'order_itms'; did you mean 'order_items'?") for line in lines
    )


def test_a_task_needs_a_target_or_a_query() -> None:
    with pytest.raises(ConfigError, match=r"task: there is no target; choose task\.target from gross, net"):
        load(composed("config", "task.target=null"), schema=Config)


# The whole way


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    write_experiment(folder / "my", data=write_shop(folder / "shop", customers=60))
    return folder


WORDS = ["--config-dir", "my", "experiment=my_shop", "estimator=[last_window,rfm]", "seeds=[0]", *SHARED]


@pytest.mark.parametrize("text", [CHURN, "PREDICT total_spend_90d FOR customer USING purchase"])
def test_train_and_score_by_a_query(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    shell, name = Shell(here, monkeypatch), "flag" if text == CHURN else "spend"
    train = shell("train", *WORDS, f"name={name}", f"query={text}")
    assert train.code == 0, train.err
    assert ("ROC AUC" in train.out) == (text == CHURN)
    said = shell("score", f"run=runs/{name}/rfm-seed0", "cutoff=2021-06-01")
    assert said.code == 0, said.err
    scores = pd.read_parquet(here / "runs" / name / "rfm-seed0" / "scores" / "scores_2021-06-01.parquet")
    shop = load(composed("config", "experiment=my_shop", config_dir=here / "my"), schema=Config)
    assert shop.query is None
    assert len(scores) > 30
    if text == CHURN:
        assert scores["ltv_mean"].between(0, 1).all()


def test_a_wrong_query_is_refused_before_anything_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Shell(here, monkeypatch)("train", *WORDS, "name=no", "query=PREDICT churn_90d FOR customers")
    said.refused(
        "query: write FOR EACH customers.customer_id", "    PREDICT churn_90d FOR customers\n", "\n" + " " * 26 + "^"
    )
    assert not (here / "runs" / "no").exists()


# The page


PAGE = (ROOT / "docs" / "pql.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```pql\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_page_has_ten_examples_and_the_four_queries() -> None:
    assert len(EXAMPLES) == 10
    assert set(FOUR) <= {" ".join(text.split()) for text in EXAMPLES}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_page_run(shop: Database, text: str) -> None:
    rows = labelled(shop, cutoff=date(2020, 6, 25), config=task(text))
    assert len(rows) > 20
    assert len(set(rows.label)) > 1


def test_the_error_on_the_page_is_what_is_said() -> None:
    with pytest.raises(PQLError) as caught:
        compile(SPEND.replace("order_items", "order_itms"))
    assert f"query: {caught.value}" in PAGE


def test_the_commands_on_the_page_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("python scripts/")]
    assert len(commands) == 2
    for _, _, *arguments in commands:
        assert on_the_command_line(monkeypatch, *arguments).query is not None
