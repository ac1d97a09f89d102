"""Buy till you die: one of three models for the number of purchases, Gamma-Gamma for their value."""

import logging
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, predictions
from patron.features.asof import FeatureSpec, design, specify
from patron.features.btyd import (
    GammaGamma,
    PurchaseModel,
    fit_bgnbd,
    fit_gamma_gamma,
    fit_mbgnbd,
    fit_paretonbd,
)
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
    """Expected purchases x expected spend a purchase. It learns from purchases alone, never from a label, and gives
    expectations only: its median is its mean. `p_active` is the probability of a label above 0.

    Of the target `orders` it predicts the expected purchases, those of one day as one; of `churn` the probability of no
    purchase.
    """

    purchases: PurchaseModel
    spend: GammaGamma
    spec: FeatureSpec
    held_out: pd.DataFrame

    def __init__(self, config: BTYDConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        _require_predictable(refit.target)
        self.spec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        # What is held out is said by models of the purchases up to its cutoff, the prediction by one of all.
        parts = [self._learn(db.upto(cutoff)).predict(db.upto(cutoff), rows=val.at(cutoff)) for cutoff in val.cutoffs]
        keys = val.frame[["customer_id", "cutoff"]]
        self.held_out = keys.merge(pd.concat(parts), on=list(keys), how="left", validate="1:1")
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
        parts = [self._at(db, rows=rows.at(cutoff)) for cutoff in rows.cutoffs]
        return rows.frame[["customer_id", "cutoff"]].merge(
            pd.concat(parts), on=["customer_id", "cutoff"], how="left", validate="1:1"
        )

    def _at(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        features = design(db, rows=rows, spec=self.spec, groups=("rfm",))
        bought = (features["orders"] > 0).to_numpy()
        days = self.spec.horizon.days_after(rows.cutoffs[0])
        past = purchase_history(features[bought])
        answer = expected(past, purchases=self.purchases, spend=self.spend, days=days)
        purchases, spend, buys = (np.zeros(len(rows)) for _ in range(3))  # who never bought has no process yet
        purchases[bought], spend[bought] = answer["purchases"], answer["spend"]
        buys[bought] = self.purchases.p_purchase(days, frequency=past.frequency, recency=past.recency, T=past.age)
        mean = {"orders": purchases, "churn": 1 - buys}.get(rows.target, spend)
        active = 1 - buys if rows.is_flag else buys
        by_purchases = mean is spend and self.config.rank == "purchases"
        return predictions(rows, mean=mean, rank=purchases if by_purchases else None, p_active=active)


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
