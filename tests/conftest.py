"""Fixtures that several files of tests share: the small shop, its temporal fold, every estimator fitted to it once; and
a session of Spark."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # whoever only hands out the tests need not import what they import
    from pyspark.sql import SparkSession

    from patron.estimators import Estimator
    from patron.tables.database import Database
    from patron.task.split import Fold

NOTICES = ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly disabled")

# Nothing is compiled: the tables are small, and most of the time would go there.
FAST = {
    "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    for notice in NOTICES:
        config.addinivalue_line("filterwarnings", f"ignore:{notice}:UserWarning")


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: garbage need not be looked for among it in every test


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def shop() -> "Database":
    from patron.testing import small_shop

    return small_shop()


@pytest.fixture(scope="session")
def fold(shop: "Database") -> "Fold":
    from settings import SMALL

    from patron.task.split import folds

    (only,) = folds(shop, task=SMALL.task, split=SMALL.split)
    return only


@pytest.fixture(scope="session")
def fitted(shop: "Database", fold: "Fold", tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Estimator]":
    """name -> that estimator, fitted to the shop. Shared by all tests: predict with it, do not fit it again."""
    from settings import fit

    return cache(lambda name: fit(name, shop, fold=fold, folder=tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def spark() -> Iterator["SparkSession"]:
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = pytest.importorskip("pyspark.sql").SparkSession.builder.master("local[2]").config(map=FAST)
        session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()
