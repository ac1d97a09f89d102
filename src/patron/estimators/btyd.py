"""Buy till you die: BG/NBD for the number of purchases, Gamma-Gamma for their value. Fader, Hardie & Lee 2005; Fader
& Hardie 2013."""

import logging
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.estimators.base import Setting, Stored, predictions
from patron.features.asof import FeatureSpec, design, expected, purchase_history, specify
from patron.features.btyd import BGNBD, GammaGamma, fit_bgnbd, fit_gamma_gamma
from patron.tables.database import Database
from patron.task.ltv import TaskTable

log = logging.getLogger("patron")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BTYDConfig:
    """`penalty` is the precision of a Normal prior on the log parameters; 0 is maximum likelihood."""

    name: Literal["btyd"]
    penalty: Annotated[float, Field(ge=0)]


class BTYD(Stored):
    """Expected purchases x expected spend a purchase. It learns from purchases alone, never from a label, and gives
    expectations only: its median is its mean, and `p_active` is P(alive)."""

    purchases: BGNBD
    spend: GammaGamma

    def __init__(self, config: BTYDConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        assert db.known_until is not None
        self.spec: FeatureSpec = specify(db, config=self.setting.features, horizon=refit.horizon, cutoffs=refit.cutoffs)
        customers = TaskTable(_everybody(db), refit.horizon)
        features = design(db, rows=customers, spec=self.spec)
        past = purchase_history(features[features["orders"] > 0])
        self.purchases = fit_bgnbd(past.frequency, past.recency, past.age, penalty=self.config.penalty)
        self.spend = fit_gamma_gamma(past.frequency + 1, past.monetary, penalty=self.config.penalty)
        for note in filter(None, (self.purchases.note, self.spend.note)):
            log.warning("btyd: %s", note)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        parts = [self._at(db, rows=rows.at(cutoff)) for cutoff in rows.cutoffs]
        return rows.frame[["customer_id", "cutoff"]].merge(
            pd.concat(parts), on=["customer_id", "cutoff"], how="left", validate="1:1"
        )

    def _at(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        features = design(db, rows=rows, spec=self.spec)
        bought = (features["orders"] > 0).to_numpy()
        days = self.spec.horizon.days_after(rows.cutoffs[0])
        answer = expected(purchase_history(features[bought]), purchases=self.purchases, spend=self.spend, days=days)
        mean, alive = np.zeros(len(rows)), np.zeros(len(rows))  # who never bought has no purchase process yet
        mean[bought], alive[bought] = answer["spend"], answer["alive"]
        return predictions(rows, mean=mean, p_active=alive)


def _everybody(db: Database) -> pd.DataFrame:
    ids = db["customers"]["customer_id"].to_pandas()
    return pd.DataFrame({"customer_id": ids, "cutoff": pd.Timestamp(db.known_until).as_unit("us")})  # type: ignore[arg-type]
