"""Buy till you die: one of three models for the number of purchases, Gamma-Gamma for their value."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.calibration.distribution import LEVELS, Distribution
from patron.estimators.base import Prediction, Setting, Stored
from patron.features.asof import FeatureSpec, design, specify
from patron.features.btyd import (
    GammaGamma,
    PurchaseModel,
    fit_bgnbd,
    fit_gamma_gamma,
    fit_mbgnbd,
    fit_paretonbd,
)
from patron.features.btyd.predictive import counts_of_buyers, spend_of_buyers
from patron.features.expected import PurchaseHistory, expected, purchase_history
from patron.tables.database import Database
from patron.task.ltv import TaskTable

log = logging.getLogger("patron")
PREDICTS = ("gross", "net", "orders", "churn")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BTYDConfig:
    """`penalty` is the precision of a Normal prior on the log parameters; 0 is maximum likelihood. `rank` is what ranks
    customers where the target is a total of money."""

    name: Literal["btyd"]
    model: Literal["bgnbd", "mbgnbd", "paretonbd"]
    rank: Literal["purchases", "spend"]
    penalty: Annotated[float, Field(ge=0)]


class BTYD(Stored):
    """Expected purchases x expected spend a purchase, with the distribution that the models imply. It learns from
    purchases alone, never from a label. `p_active` is the probability of a label above 0.

    Of the target `orders` it predicts the purchases, those of one day as one; of `churn` the probability of no
    purchase.
    """

    purchases: PurchaseModel
    spend: GammaGamma
    spec: FeatureSpec
    held_out: Prediction

    def __init__(self, config: BTYDConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        _require_predictable(refit.target)
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        # What is held out is said by models of the purchases up to its cutoff, the prediction by one of all.
        parts = [self._learn(db.upto(cutoff)).expect(db.upto(cutoff), val.at(cutoff)) for cutoff in val.cutoffs]
        self.held_out = joined(parts, val).prediction(val, config=self.config)
        self._learn(db)
        for note in filter(None, (self.purchases.note, self.spend.note)):
            log.warning("btyd: %s", note)
        return self

    def _learn(self, db: Database) -> Self:
        customers = TaskTable(_everybody(db), self.spec.horizon)
        features = design(db, rows=customers, spec=self.spec, groups=("rfm",))
        past = purchase_history(features[features["orders"] > 0])
        self.purchases = _fitted(past, config=self.config)
        self.spend = fit_gamma_gamma(past.frequency + 1, past.monetary, penalty=self.config.penalty)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return self.say(db, rows=rows).frame(rows)

    def say(self, db: Database, *, rows: TaskTable) -> Prediction:
        """What is predicted of `rows`."""
        parts = [self.expect(db, rows.at(cutoff)) for cutoff in rows.cutoffs]
        return joined(parts, rows).prediction(rows, config=self.config)

    def expect(self, db: Database, rows: TaskTable) -> "Expected":
        """What the models expect of `rows`, which share a cutoff."""
        features = design(db, rows=rows, spec=self.spec, groups=("rfm",))
        bought = (features["orders"] > 0).to_numpy()
        days = self.spec.horizon.days_after(rows.cutoffs[0])
        past = purchase_history(features[bought])
        answer = expected(past, purchases=self.purchases, spend=self.spend, days=days)
        buys = self.purchases.p_purchase(days, frequency=past.frequency, recency=past.recency, T=past.age)
        known = answer.assign(buys=buys, frequency=past.frequency, monetary=past.monetary)
        # Of whoever never bought there is no process yet.
        table = known.set_axis(np.flatnonzero(bought)).reindex(range(len(rows)), fill_value=0.0)
        return Expected(table, self.purchases.r, self.spend)


@dataclass(frozen=True, eq=False)
class Expected:
    """Of n rows expected `purchases` and `spend`, the probability of a purchase, `buys`, and past `frequency` and
    `monetary`, as a table; the `shape` of rates of purchase, and the model of what `each` comes to."""

    table: pd.DataFrame
    shape: float
    each: GammaGamma

    def prediction(self, rows: TaskTable, *, config: BTYDConfig) -> Prediction:
        """The predictions of the rows, of their target."""
        purchases, spend, buys = (self.table[name].to_numpy() for name in ("purchases", "spend", "buys"))
        mean = {"orders": purchases, "churn": 1 - buys}.get(rows.target, spend)
        by_purchases = mean is spend and config.rank == "purchases"
        return Prediction(purchases if by_purchases else mean, partial(self.distribution, rows.target))

    def distribution(self, target: str, some: slice) -> Distribution:
        """Of some of the rows, whose means are as expected."""
        part = {str(name): column.to_numpy() for name, column in self.table.iloc[some].items()}
        if target == "churn":
            return Distribution(
                1 - part["buys"], np.zeros((len(part["buys"]), len(LEVELS))), np.ones(len(part["buys"]))
            )
        values = counts_of_buyers(part["purchases"], part["buys"], shape=self.shape + part["frequency"])
        if target != "orders":
            past = {"frequency": part["frequency"] + 1, "monetary": part["monetary"]}
            values = spend_of_buyers(values, spend=self.each, **past)
        wanted, known = (part["purchases" if target == "orders" else "spend"], part["buys"] > 0)
        logs = np.log(np.quantile(values, LEVELS, axis=1, method="hazen").T)
        raw = Distribution(part["buys"], logs, np.ones(len(logs)))
        return raw.scaled(np.where(known, np.maximum(wanted, 1e-9), 1) / np.where(known, raw.mean, 1))


def joined(parts: list[Expected], rows: TaskTable) -> Expected:
    """What is expected of rows by cutoff, in the order of `rows`, whatever the order of their cutoffs."""
    table = pd.concat([part.table for part in parts], ignore_index=True).iloc[rows.places_by_cutoff]
    return Expected(table, parts[-1].shape, parts[-1].each)


def _fitted(past: PurchaseHistory, *, config: BTYDConfig) -> PurchaseModel:
    history = (past.frequency, past.recency, past.age)
    match config.model:
        case "bgnbd":
            return fit_bgnbd(*history, penalty=config.penalty)
        case "mbgnbd":
            return fit_mbgnbd(*history, penalty=config.penalty)
        case "paretonbd":
            return fit_paretonbd(*history, penalty=config.penalty)


def _require_predictable(target: str) -> None:
    if target not in PREDICTS:
        raise ValueError(
            f"btyd predicts {', '.join(PREDICTS)} from purchases alone, and cannot predict the target '{target}'; "
            f"leave it out of estimator=[...], and of a stack by ~estimators.stack.components.btyd"
        )


def _everybody(db: Database) -> pd.DataFrame:
    ids = db["customers"]["customer_id"].to_pandas()
    return pd.DataFrame({"customer_id": ids, "cutoff": pd.Timestamp(db.known_until).as_unit("us")})  # type: ignore[arg-type]
