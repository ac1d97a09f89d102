"""Worlds that several files of tests look at, each made once, and how they are asked.

Chance is held still by seeds; what is compared with an expectation may be off by three standard errors.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from newcomer import composed

from patron.config import load
from patron.tables.validate import Validated, validate
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.latent import Customers
from patron.tables.worlds.world import MakeConfig, World, generate

TODAY = date(2026, 1, 1)
START = date(2020, 1, 1)
NO_EFFECT = ("data.communities.rate_effect=0", "data.communities.value_effect=0")
SIGNAL = (
    "data.customers=4000", "data.communities={number:50,graph_signal:0.8,rate_effect:0.5,value_effect:0.5}",
    "data.catalogue.products=1500",
    "data.purchases.trial_days=200", "data.purchases.value_spread=0.1", "data.purchases.rate_shape=20",
)  # fmt: skip


def config_of(preset: str, *overrides: str) -> WorldConfig:
    return load(composed("make_world", f"data={preset}", *overrides), schema=MakeConfig).data


@cache
def world_of(preset: str, *overrides: str) -> World:
    """Shared by all tests."""
    return generate(config_of(preset, *overrides))


def frame(world: World, name: str) -> pd.DataFrame:
    return world.tables[name].to_pandas()


def checked(tables: Mapping[str, pa.Table], mode: Any = "strict") -> Validated:
    return validate(tables, name="world", mode=mode, today=TODAY)


def sql(world: World, query: str) -> pd.DataFrame:
    """`query` on the tables of the world and on the latent state `latent`."""
    with duckdb.connect() as connection:
        for name, table in world.tables.items():
            connection.register(name, table)
        latent = {field.name: getattr(world.truth.customers, field.name) for field in fields(Customers)}
        connection.register("latent", pa.table(latent))
        return connection.sql(query).df()


def close(mean: float, expected: float, *, sd: float, n: int) -> None:
    """Within three standard errors."""
    assert abs(mean - expected) <= 3 * sd / np.sqrt(n), (mean, expected, 3 * sd / np.sqrt(n))
