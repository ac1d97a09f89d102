"""The frequency baseline by hand: cells of as many orders, and the rank by orders so far."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from settings import setting
from shops_by_hand import at, purchases

from patron.estimators import Frequency, FrequencyConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable

CUTOFF = date(2021, 1, 15)
ORDERS = [1, 1, 1, 2, 2, 3, 7]


@pytest.fixture(scope="module")
def shop() -> Database:
    """Seven customers with so many orders, and one without any."""
    rows = [(k, date(2021, 1, 1), 5.0) for k, number in enumerate(ORDERS) for _ in range(number)]
    return purchases(rows, customers=8)


def frequency(db: Database, folder: Path, rows: TaskTable, *, cells: int) -> Frequency:
    estimator = Frequency(FrequencyConfig("frequency", cells=cells), setting(folder))
    return estimator.fit(db.upto(CUTOFF), train=rows, val=rows, refit=rows)


@pytest.mark.parametrize(
    ("cells", "mean"),
    [
        (7, [2, 2, 2, 15, 15, 40, 90]),  # percentiles of 2/7, 4.5/7, 6/7 and 1: a cell each number of orders
        (3, [2, 2, 2, 15, 15, 65, 65]),
        (2, [2, 2, 2, 40, 40, 40, 40]),
        (1, [166 / 7] * 7),
    ],
)
def test_the_mean_label_of_those_with_about_as_many_orders(
    cells: int, mean: list[float], shop: Database, tmp_path: Path
) -> None:
    rows = at(CUTOFF, list(range(7)), label=[0, 0, 6, 10, 20, 40, 90])
    predicted = frequency(shop, tmp_path, rows, cells=cells).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["ltv_mean"], mean)
    assert_allclose(predicted["ltv_mean"].sum(), rows.label.sum())
    assert_allclose(predicted["ltv_median"][:3], 0 if cells > 1 else 10)


def test_a_cell_without_rows_lies_between_its_neighbours(shop: Database, tmp_path: Path) -> None:
    """One, two, three and seven orders are the cells 2, 5, 6 and 7; who has none is as those with the fewest."""
    estimator = frequency(shop, tmp_path, at(CUTOFF, [0, 3, 6], label=[1, 4, 8]), cells=7)
    predicted = estimator.predict(shop.upto(CUTOFF), rows=at(CUTOFF, [7, 0, 3, 5, 6]))
    assert_allclose(predicted["ltv_mean"], [1, 1, 4, 6, 8])
    assert_allclose(predicted["rank_score"], [0, 1, 2, 3, 7])


def test_cells_are_of_the_customers_at_their_cutoff(tmp_path: Path) -> None:
    """Who has ten orders is among the best early on and among the rest later: numbers grow, parts do not."""
    early, late = date(2021, 1, 15), date(2021, 3, 15)
    rows = [
        (k, day, 5.0) for day in (date(2021, 1, 1), date(2021, 3, 1)) for k in range(4) for _ in range(10 * (k + 1))
    ]
    db = purchases(rows, customers=4)
    estimator = frequency(db, tmp_path, at(early, list(range(4)), label=[1, 2, 3, 4]), cells=4)
    assert_allclose(estimator.predict(db.upto(late), rows=at(late, list(range(4))))["ltv_mean"], [1, 2, 3, 4])


@pytest.mark.parametrize("label", [[9, 8, 7, 6, 5, 4, 3], [0] * 7])
def test_orders_rank_whatever_the_labels_were(label: list[float], shop: Database, tmp_path: Path) -> None:
    rows = at(CUTOFF, list(range(7)), label=label)
    predicted = frequency(shop, tmp_path, rows, cells=7).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["rank_score"], ORDERS)


def test_churn_is_ranked_the_other_way_round(shop: Database, tmp_path: Path) -> None:
    rows = at(CUTOFF, list(range(7)), label=[1, 1, 1, 1, 0, 0, 0])
    rows = TaskTable(rows.frame, rows.horizon, target="churn")
    predicted = frequency(shop, tmp_path, rows, cells=7).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["rank_score"], -np.array(ORDERS))
    assert_allclose(predicted["ltv_mean"], [1, 1, 1, 0.5, 0.5, 0, 0])
