"""A blend of other estimators: non-negative weights that sum to one, for each functional of the distribution its own.

Stacked regression (Wolpert 1992; Breiman 1996) on predictions of the validation rows, made by models that had not
learned from them. It starts from the first component and takes in another one only where the gain on these rows exceeds
its standard error, customers being clusters; so it is rarely worse than the first, and often it is the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.special import ndtri

from patron.decode import RankMap
from patron.estimators.base import COLUMNS, QUANTILES, Component, Setting, Stored
from patron.estimators.choose import advantage, rank_losses
from patron.estimators.components import ComponentConfig, build_component
from patron.estimators.conformal import Conformal
from patron.estimators.once import fitted
from patron.tables.database import Database
from patron.task.ltv import TaskTable

FUNCTIONALS = ("rank_score", "ltv_median", "ltv_mean", "p_active")
SHARES = tuple(k / 10 for k in range(1, 11))  # of a component that comes in, that are tried; at 1 it is alone


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StackConfig:
    """The components, the first of which is improved on."""

    name: Literal["stack"]
    components: Annotated[Mapping[str, ComponentConfig], Field(min_length=1)]


@dataclass(frozen=True)
class _Scale:
    """A component's rank scores become normal scores of the validation rows; beyond these they go on rising."""

    to_normal: RankMap
    slope: float

    @classmethod
    def fit(cls, score: np.ndarray) -> Self:
        levels = (np.arange(len(score)) + 0.5) / len(score)
        return cls(RankMap.fit(score, ndtri(levels)), 1e-3 / max(float(score.std()), 1e-9))

    def __call__(self, score: np.ndarray) -> np.ndarray:
        return self.to_normal(score) + self.slope * score


class Stack(Stored):
    """The blend. `weights` say what each functional is made of: {functional: {component: weight}}."""

    parts: dict[str, Component]
    scales: dict[str, _Scale]
    weights: dict[str, dict[str, float]]
    intervals: Conformal
    held_out: pd.DataFrame

    def __init__(self, config: StackConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        made = {name: (build_component(part, self.setting), part) for name, part in self.config.components.items()}
        self.parts = {
            name: fitted(one, config=part, setting=self.setting, db=db, train=train, val=val, refit=refit)
            for name, (one, part) in made.items()
        }
        said = {name: part.held_out for name, part in self.parts.items()}
        self.scales = {name: _Scale.fit(frame["rank_score"].to_numpy()) for name, frame in said.items()}
        scaled = self._scaled(said)
        self.weights = {functional: _weights(scaled, val, functional=functional) for functional in FUNCTIONALS}
        blend = self._blend(scaled, val)
        self.intervals = Conformal.fit(blend, val)
        self.held_out = self.intervals.apply(blend, val)
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        said = {name: part.predict(db, rows=rows) for name, part in self.parts.items() if self._uses(name)}
        return self.intervals.apply(self._blend(self._scaled(said), rows), rows)

    def _uses(self, name: str) -> bool:
        return any(name in weights for weights in self.weights.values())

    def _scaled(self, said: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        return {
            name: frame.assign(rank_score=self.scales[name](frame["rank_score"].to_numpy()))
            for name, frame in said.items()
        }

    def _blend(self, said: Mapping[str, pd.DataFrame], rows: TaskTable) -> pd.DataFrame:
        blended = {functional: _mixed(said, functional, weights) for functional, weights in self.weights.items()}
        spread = {name: _mixed(said, name, self.weights["ltv_median"]) for name in QUANTILES}
        return rows.frame[["customer_id", "cutoff"]].assign(**blended, **spread)[list(COLUMNS)]


def _weights(said: Mapping[str, pd.DataFrame], rows: TaskTable, *, functional: str) -> dict[str, float]:
    """What the functional is made of, by greedy steps, each the one of greatest gain in the functional's loss."""
    values = {name: frame[functional].to_numpy() for name, frame in said.items() if frame[functional].notna().all()}
    if not values:
        return {}
    first = next(iter(values))
    weights, blend = {first: 1.0}, values[first]
    while others := [name for name in values if name not in weights]:
        loss = _losses(functional, blend, rows)
        tried = {(name, share): (1 - share) * blend + share * values[name] for name in others for share in SHARES}
        losses = {key: _losses(functional, mixed, rows) for key, mixed in tried.items()}
        name, _ = best = min(losses, key=lambda key: losses[key].mean())
        if not _is_clear(loss, losses[best], rows):
            break
        share = next(
            share for share in SHARES
            if _is_clear(loss, losses[name, share], rows) and not _is_clear(losses[name, share], losses[best], rows)
        )  # fmt: skip
        blend = tried[name, share]
        weights = {**{other: weight * (1 - share) for other, weight in weights.items() if share < 1}, name: share}
    return weights


def _is_clear(reference: np.ndarray, other: np.ndarray, rows: TaskTable) -> bool:
    return advantage(reference, other, customers=rows.frame["customer_id"]).is_clear


def _losses(functional: str, values: np.ndarray, rows: TaskTable) -> np.ndarray:
    """A loss of each row, [n], that the functional minimises on average: minus the correlation of ranks, absolute
    error, Tweedie deviance of power 1.5, squared error of a probability."""
    y = rows.label
    match functional:
        case "rank_score":
            return _by_cutoff(rows, y, values)
        case "ltv_median":
            return np.abs(y - values)
        case "ltv_mean":
            mean = np.maximum(values, 1e-3 * max(y.mean(), 1e-9))
            return 4 * (np.sqrt(mean) + y / np.sqrt(mean) - 2 * np.sqrt(y))
        case _:
            return ((y > 0) - values) ** 2


def _by_cutoff(rows: TaskTable, y: np.ndarray, score: np.ndarray) -> np.ndarray:
    losses = np.empty(len(rows))
    for _, here in rows.frame.groupby("cutoff").indices.items():
        losses[here] = rank_losses(y[here], score[here])
    return losses


def _mixed(said: Mapping[str, pd.DataFrame], column: str, weights: Mapping[str, float]) -> Any:
    # Of a column that some component does not know, the weights of the others count; NaN if nobody knows it.
    known = {name: share for name, share in weights.items() if said[name][column].notna().all()}
    total = sum(known.values())
    return sum(share / total * said[name][column].to_numpy() for name, share in known.items()) if known else np.nan
