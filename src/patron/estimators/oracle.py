"""The ceiling on a world whose truth is known: Bayes-optimal predictions of each customer, given the latent state.

Futures are drawn, and every column is what is best by its own metric: the expected rank for Spearman, the predictive
median for the absolute error, the expectation for totals of money (field note 7).
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.stats import rankdata

from patron.days import midnight
from patron.estimators.base import QUANTILES, Setting, Stored, expectations
from patron.tables.database import Database
from patron.tables.worlds.futures import Forecast, forecast_from_state
from patron.tables.worlds.posterior import forecast_from_past
from patron.task.ltv import TaskTable

TARGETS = ("gross", "net", "orders")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OracleConfig:
    """`knows` the latent `state` of every customer, or the world and the customer's `past` only: then `draws` latent
    states are drawn a customer, and weighted by how likely they make the past. Of either, as many futures."""

    name: Literal["oracle"]
    knows: Literal["state", "past"]
    draws: Annotated[int, Field(gt=0)]


class Oracle(Stored):
    """The predictive distribution under the truth of a world. It learns nothing, and nobody can beat it but by chance.

    `rank_score` is the expected mid-rank among all customers who have come by the cutoff, as a share of them; the
    median and the quantiles are of the drawn labels, which are floored at 0.
    """

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
        answers = {name: np.zeros(len(rows)) for name in ("mean", "rank", "p_active")}
        quantiles = {level: np.zeros(len(rows)) for level in (0.5, *QUANTILES.values())}
        for cutoff in rows.cutoffs:
            here = (rows.frame["cutoff"] == midnight(cutoff)).to_numpy()
            who = rows.frame["customer_id"].to_numpy()[here]
            forecast = self._forecast(db, cutoff=cutoff, days=rows.horizon.days_after(cutoff))
            drawn = getattr(forecast.drawn, rows.target).clip(min=0)
            answers["mean"][here] = getattr(forecast.expected, rows.target)[who]
            answers["rank"][here] = _expected_rank(drawn, forecast.come)[who]
            answers["p_active"][here] = (drawn[who] > 0).mean(axis=1)
            found = np.quantile(drawn[who], list(quantiles), axis=1, method="inverted_cdf")
            for level, values in zip(quantiles, found, strict=True):
                quantiles[level][here] = values
        frame = expectations(rows, **answers, median=quantiles[0.5])
        return frame.assign(**{name: quantiles[level] for name, level in QUANTILES.items()})

    def _forecast(self, db: Database, *, cutoff: date, days: int) -> Forecast:
        sampling: dict[str, Any] = {"cutoff": cutoff, "days": days, "draws": self.config.draws, "seed": self.seed}
        if self.config.knows == "state":
            return forecast_from_state(self.world, **sampling)
        return forecast_from_past(self.world, db, **sampling)


def _expected_rank(drawn: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The expected mid-rank of each customer's label among customers whose labels are independent, as a share of them:
    [n, draws] -> [n]; 0 of who is not `among` [n] them. No other score has a higher expected rank correlation."""
    ranks = rankdata(drawn[among], axis=None).reshape(-1, drawn.shape[1])
    expected = np.zeros(len(drawn))
    expected[among] = (ranks.mean(axis=1) - 0.5) / ranks.size
    return expected
