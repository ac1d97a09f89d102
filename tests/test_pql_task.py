"""A query as a task: what it says of its horizon, target and tables; nothing leaks, and estimators predict it."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from queries import CHURN, CUTOFF, EACH, FOUR, SPEND, shop_by_hand, task
from settings import ESTIMATORS, SMALL, TEST, fit

from patron.days import Horizon
from patron.tables.database import Database
from patron.task.ltv import concat, labelled, last_outcome, population
from patron.task.pql import compile
from patron.task.split import folds
from patron.testing import scrambled_after, shuffled


@pytest.fixture(scope="module")
def small() -> Database:
    return shop_by_hand()


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
