"""The same seed gives the same numbers, bit for bit, whatever ran before; another seed gives others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, SMALL, TEST, each, fit

from patron.estimators import Estimator, is_seeded
from patron.evaluation.metrics import METRICS, SCALE
from patron.tables.database import Database
from patron.task.split import Fold, truth

Fitted = Callable[[str], Estimator]
SEEDED = [name for name, config in sorted(ESTIMATORS.items()) if is_seeded(config)]


def metrics(db: Database, fold: Fold, predicted: pd.DataFrame) -> dict[str, float]:
    label, predicted = truth(db, fold=fold, task=SMALL.task).frame["label"], predicted.assign(**{SCALE: 2.0})
    return {
        name: float(metric(label, predicted[list(metric.columns)].to_numpy().squeeze()))
        for name, metric in METRICS.items()
    }


@each(sorted(ESTIMATORS), alike=True)
def test_the_same_seed_gives_the_same_numbers(
    name: str, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    """That features are the same every time is for `test_invariances`, which reads them from shuffled tables."""
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)
    torch.manual_seed(12345)  # what ran before must not matter
    np.random.seed(12345)  # noqa: NPY002
    predicted = fit(name, shop, fold=fold, folder=tmp_path).predict(shop.upto(TEST), rows=fold.test)
    assert_frame_equal(predicted, expected, check_exact=True)
    one, other = metrics(shop, fold, expected), metrics(shop, fold, predicted)
    assert all(np.array_equal(one[metric], other[metric], equal_nan=True) for metric in one)


@each(sorted(ESTIMATORS), alike=True)
def test_predicting_twice_gives_the_same_numbers(name: str, shop: Database, fold: Fold, fitted: Fitted) -> None:
    first, second = (fitted(name).predict(shop.upto(TEST), rows=fold.test) for _ in range(2))
    assert_frame_equal(first, second, check_exact=True)


@each(sorted(ESTIMATORS), alike=True)
def test_another_seed_differs_where_there_is_one(
    name: str, shop: Database, fold: Fold, fitted: Fitted, tmp_path: Path
) -> None:
    expected = fitted(name).predict(shop.upto(TEST), rows=fold.test)["ltv_mean"]
    other = fit(name, shop, fold=fold, folder=tmp_path, seed=1).predict(shop.upto(TEST), rows=fold.test)["ltv_mean"]
    assert other.equals(expected) != (name in SEEDED)
