"""The sample of 2,357 CDNOW customers packaged with lifetimes, in weeks and dollars, and lifetimes itself.

Its csv files are found without importing lifetimes, which needs pkg_resources to load them; without the package the
tests that need it are skipped.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest


def histories() -> pd.DataFrame:
    """`frequency, recency, T` of each customer."""
    table = pd.read_csv(_folder() / "cdnow_customers_summary.csv", index_col="ID")
    return table[["frequency", "recency", "T"]]


def spent() -> pd.DataFrame:
    """`frequency, monetary` of each customer, of repeat purchases."""
    names = {"x": "frequency", "zbar": "monetary"}
    table = pd.read_csv(_folder() / "cdnow_customers_summary_with_transactions.csv", index_col="ID")
    return table.rename(columns=names)[list(names.values())]


def lifetimes_or_skip() -> ModuleType:
    """The package lifetimes, if it can be imported."""
    try:
        import lifetimes as package
    except Exception as reason:  # it is unmaintained and may fail in many ways on a new numpy or pandas
        pytest.skip(f"lifetimes cannot be imported: {reason}")
    return package


def _folder() -> Path:
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("lifetimes is not installed: pip install 'patron[data]'")
    return Path(spec.submodule_search_locations[0]) / "datasets"
