"""Fixtures of the tests of estimators: the small shop, its temporal fold, and every estimator fitted to it once."""

from collections.abc import Callable
from functools import cache

import pytest
from settings import SMALL, fit

from patron.estimators import Estimator
from patron.tables.database import Database
from patron.task.split import Fold, folds
from patron.testing import small_shop

NOTICES = ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly disabled")


def pytest_configure(config: pytest.Config) -> None:
    for notice in NOTICES:
        config.addinivalue_line("filterwarnings", f"ignore:{notice}:UserWarning")


@pytest.fixture(scope="session")
def shop() -> Database:
    return small_shop()


@pytest.fixture(scope="session")
def fold(shop: Database) -> Fold:
    (only,) = folds(shop, task=SMALL.task, split=SMALL.split)
    return only


@pytest.fixture(scope="session")
def fitted(shop: Database, fold: Fold, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Estimator]:
    """name -> that estimator, fitted to the shop. Shared by all tests: predict with it, do not fit it again."""
    return cache(lambda name: fit(name, shop, fold=fold, folder=tmp_path_factory.mktemp(name)))
