"""The ceiling on a world whose truth is known: what is to be expected of each customer, given the latent state."""

from collections.abc import Callable
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import midnight
from patron.estimators.base import Setting, Stored, expectations
from patron.tables.database import Database
from patron.tables.worlds.posterior import expected_from_past
from patron.tables.worlds.truth import Expected
from patron.task.ltv import TaskTable

TARGETS: dict[str, Callable[[Expected], np.ndarray]] = {
    "gross": lambda expected: expected.gross,
    "net": lambda expected: expected.net,
    "orders": lambda expected: expected.orders,
}


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OracleConfig:
    """`knows` the latent `state` of every customer, or the world and the customer's `past` only: then `states` latent
    states are drawn a customer, and weighted by how likely they make the past."""

    name: Literal["oracle"]
    knows: Literal["state", "past"]
    states: Annotated[int, Field(gt=0)]


class Oracle(Stored):
    """The expectation under the truth of a world. It learns nothing, and nobody can beat it but by chance."""

    def __init__(self, config: OracleConfig, setting: Setting) -> None:
        if setting.world is None:
            raise ValueError("the oracle knows made-up worlds only; take data=shop, or leave it out of estimator=[...]")
        self.config, self.seed, self.world = config, setting.seed, setting.world

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        if refit.target not in TARGETS:
            raise ValueError(
                f"the oracle expects {', '.join(TARGETS)}, not '{refit.target}'; leave it out of estimator=[...]"
            )
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        mean = np.zeros(len(rows))
        for cutoff in rows.cutoffs:
            here = (rows.frame["cutoff"] == midnight(cutoff)).to_numpy()
            days = rows.horizon.days_after(cutoff)
            if self.config.knows == "state":
                expected = self.world.expected(cutoff, days=days)
            else:
                expected = expected_from_past(
                    self.world, db, cutoff=cutoff, days=days, states=self.config.states, seed=self.seed
                )
            mean[here] = TARGETS[rows.target](expected)[rows.frame["customer_id"].to_numpy()[here]]
        return expectations(rows, mean=mean)
