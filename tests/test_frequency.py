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


def frequency(db: Database, folder: Path, rows: TaskTable, *, least: int) -> Frequency:
    estimator = Frequency(FrequencyConfig("frequency", least=least), setting(folder))
    return estimator.fit(db.upto(CUTOFF), train=rows, val=rows, refit=rows)


@pytest.mark.parametrize(
    ("least", "mean"),
    [
        (1, [2, 2, 2, 15, 15, 40, 90]),  # a cell each number of orders
        (2, [2, 2, 2, 15, 15, 65, 65]),
        (3, [2, 2, 2, 40, 40, 40, 40]),
        (7, [166 / 7] * 7),
    ],
)
def test_the_mean_label_of_those_with_about_as_many_orders(
    least: int, mean: list[float], shop: Database, tmp_path: Path
) -> None:
    rows = at(CUTOFF, list(range(7)), label=[0, 0, 6, 10, 20, 40, 90])
    predicted = frequency(shop, tmp_path, rows, least=least).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["ltv_mean"], mean)
    assert_allclose(predicted["ltv_mean"].sum(), rows.label.sum())
    assert_allclose(predicted["ltv_median"][:3], 0 if least < 7 else 10)


def test_who_has_other_numbers_of_orders_is_as_the_nearest_cell_below(shop: Database, tmp_path: Path) -> None:
    """Three orders as two, where nobody has been learned from with three; none as one."""
    estimator = frequency(shop, tmp_path, at(CUTOFF, [0, 3, 6], label=[1, 2, 3]), least=1)
    predicted = estimator.predict(shop.upto(CUTOFF), rows=at(CUTOFF, [7, 0, 5, 6]))
    assert_allclose(predicted["ltv_mean"], [1, 1, 2, 3])
    assert_allclose(predicted["rank_score"], [0, 1, 3, 7])


@pytest.mark.parametrize("label", [[9, 8, 7, 6, 5, 4, 3], [0] * 7])
def test_orders_rank_whatever_the_labels_were(label: list[float], shop: Database, tmp_path: Path) -> None:
    rows = at(CUTOFF, list(range(7)), label=label)
    predicted = frequency(shop, tmp_path, rows, least=1).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["rank_score"], ORDERS)


def test_churn_is_ranked_the_other_way_round(shop: Database, tmp_path: Path) -> None:
    rows = at(CUTOFF, list(range(7)), label=[1, 1, 1, 1, 0, 0, 0])
    rows = TaskTable(rows.frame, rows.horizon, target="churn")
    predicted = frequency(shop, tmp_path, rows, least=1).predict(shop.upto(CUTOFF), rows=rows.without_label())
    assert_allclose(predicted["rank_score"], -np.array(ORDERS))
    assert_allclose(predicted["ltv_mean"], [1, 1, 1, 0.5, 0.5, 0, 0])
