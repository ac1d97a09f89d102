"""RFM by hand: its cells, how they are shrunk, and when a single column ranks in their place."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from settings import setting
from shops_by_hand import at, purchases

from patron.estimators import RFM, RFMConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable

LADDER = date(2021, 1, 15)


@pytest.fixture(scope="module")
def ladder() -> Database:
    """Ten customers: customer k ordered k times, last of all on day k, 10 k a time; customer 0 never."""
    rows = [(k, date(2021, 1, 1) + timedelta(days=k - j), 10.0 * k) for k in range(1, 11) for j in range(k)]
    return purchases(rows, customers=11)


def rfm(db: Database, folder: Path, *, prior: float, rows: TaskTable, val: TaskTable | None = None) -> RFM:
    estimator = RFM(RFMConfig("rfm", prior=prior), setting(folder))
    return estimator.fit(db.upto(LADDER), train=rows, val=rows if val is None else val, refit=rows)


def test_cells_by_hand(ladder: Database, tmp_path: Path) -> None:
    """A customer a tenth; without a prior a cell predicts the mean of its rows."""
    label = [float(k * k) for k in range(1, 11)]
    rows = at(LADDER, list(range(1, 11)), label=label)
    predicted = rfm(ladder, tmp_path, prior=0, rows=rows).predict(ladder.upto(LADDER), rows=rows.without_label())
    assert_allclose(predicted["ltv_mean"], label)
    assert_allclose(predicted["ltv_median"], label)
    assert predicted["rank_score"].is_monotonic_increasing


def test_a_tenth_without_rows_has_the_value_of_its_fifth(ladder: Database, tmp_path: Path) -> None:
    """And a fifth without rows that of its sum: half way between those of the sums 3 and 15."""
    rows = at(LADDER, [1, 9], label=[2.0, 32.0])
    estimator = rfm(ladder, tmp_path, prior=0, rows=rows)
    predicted = estimator.predict(ladder.upto(LADDER), rows=at(LADDER, [1, 2, 5, 6, 9, 10]))["ltv_mean"]
    assert_allclose(predicted, [2, 2, 17, 17, 32, 32])


def test_a_cell_is_shrunk_by_the_rows_of_the_coarser_one(tmp_path: Path) -> None:
    """Two fifths of two customers have the same sum. With a prior of 2, half of each is their common mean; and half of
    each tenth, which holds the same two customers, is its fifth."""
    often = [(k, date(2021, 1, 1), 1.0) for k in range(2) for _ in range(9)]
    dear = [(k, date(2021, 1, 1), 900.0) for k in range(2, 4)]
    others = [(k, date(2021, 1, 10), 20.0) for k in range(4, 20) for _ in range(2)]
    db = purchases(often + dear + others, customers=20)
    rows = at(LADDER, [0, 1, 2, 3], label=[10.0, 20.0, 50.0, 80.0])
    predicted = rfm(db, tmp_path, prior=2, rows=rows).predict(db.upto(LADDER), rows=rows.without_label())["ltv_mean"]
    fifths = np.array([(15 + 40) / 2, (65 + 40) / 2])
    assert_allclose(predicted, np.repeat((fifths + np.array([15, 65])) / 2, 2))


def test_who_never_ordered_is_as_the_least_recent(ladder: Database, tmp_path: Path) -> None:
    rows = at(LADDER, list(range(1, 11)), label=[float(k * k) for k in range(1, 11)])
    estimator = rfm(ladder, tmp_path, prior=0, rows=rows)
    predicted = estimator.predict(ladder.upto(LADDER), rows=at(LADDER, [0, 1]))["ltv_mean"]
    assert predicted[0] == predicted[1]  # of the lowest cell, as the customer who ordered once, longest ago


def crowd(*, churn: bool = False) -> tuple[Database, TaskTable, TaskTable]:
    """40 customers with 1 to 40 orders, recency and amounts in no order; train labels at random, those of validation by
    the orders alone."""
    rng, number = np.random.default_rng(0), np.arange(1, 41)
    last, amount = rng.permutation(number), rng.permutation(number)
    rows = [
        (k, date(2021, 1, 13) - timedelta(days=int(last[k]) // 4), float(amount[k]) / number[k])
        for k in range(40)
        for _ in range(number[k])
    ]
    label, noise = (number > 20, rng.random(40) < 0.5) if churn else (number, rng.permutation(number))
    if churn:  # train knows which way it goes
        label, noise = ~label, np.where(number > 30, False, noise)
    tables = [at(LADDER, list(range(40)), label=one.astype(float).tolist()) for one in (noise, label)]
    if churn:
        tables = [TaskTable(table.frame, table.horizon, target="churn") for table in tables]
    return purchases(rows, customers=40), tables[0], tables[1]


@pytest.mark.parametrize("churn", [False, True])
def test_a_column_ranks_where_it_ranks_validation_better_than_the_cells(churn: bool, tmp_path: Path) -> None:
    """The money that is expected is still the cells'. Who ordered more churns less."""
    db, train, val = crowd(churn=churn)
    estimator = rfm(db, tmp_path, prior=1, rows=train, val=val)
    assert estimator.ranks_by == "frequency"
    predicted = estimator.predict(db.upto(LADDER), rows=val.without_label())
    assert (np.diff(predicted["rank_score"]) < 0).all() if churn else (np.diff(predicted["rank_score"]) > 0).all()
    cells = rfm(db, tmp_path, prior=1, rows=train).predict(db.upto(LADDER), rows=val.without_label())
    assert_allclose(predicted["ltv_mean"], cells["ltv_mean"])


def test_cells_rank_where_they_do_better(tmp_path: Path) -> None:
    """On the rows that they have learned from."""
    db, train, _ = crowd()
    assert rfm(db, tmp_path, prior=1, rows=train).ranks_by == "cells"


def test_where_nobody_buys_everybody_is_predicted_nothing(ladder: Database, tmp_path: Path) -> None:
    rows = at(LADDER, list(range(1, 11)), label=[0.0] * 10)
    predicted = rfm(ladder, tmp_path, prior=20, rows=rows).predict(ladder.upto(LADDER), rows=rows.without_label())
    assert (predicted["ltv_mean"] == 0).all()
    assert np.isfinite(predicted["rank_score"]).all()
