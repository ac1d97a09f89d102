"""A blend of other estimators: non-negative weights that sum to one, some for ranks, some for the distribution.

Stacked regression (Wolpert 1992; Breiman 1996) on predictions of the validation rows, made by models that had not
learned from them and calibrated on other customers than they are judged by. It starts from the first component and
takes in another one only where the gain on these rows exceeds its standard error, customers being clusters. Where the
validation rows say nothing of time, it stays with the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.special import ndtri

from patron.calibration.distribution import Distribution, blend, crps, tweedie_deviance
from patron.estimators.base import Component, Prediction, Setting, Stored
from patron.estimators.choose import advantage, rank_losses
from patron.estimators.components import ComponentConfig, build_component
from patron.estimators.once import fitted
from patron.tables.database import Database
from patron.task.ltv import TaskTable

T = TypeVar("T")
Functional = Literal["rank", "spend"]
SHARES = tuple(k / 10 for k in range(1, 11))  # of a component that comes in, that are tried; at 1 it is alone


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StackConfig:
    """The components, the first of which is improved on."""

    name: Literal["stack"]
    components: Annotated[Mapping[str, ComponentConfig], Field(min_length=1)]


@dataclass(frozen=True)
class RankMap:
    """Takes a score to the scale of another one, quantile by quantile: sorted `score` [K] -> sorted `scale` [K]."""

    score: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, score: np.ndarray, scale: np.ndarray) -> Self:
        """The map that gives `score` [n] the distribution of `scale` [n]."""
        at = np.linspace(0, 1, min(len(score), 500))
        return cls(np.quantile(score, at), np.quantile(scale, at))

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """[n] -> [n], flat beyond the ends."""
        return np.interp(score, self.score, self.scale)


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
    weights: dict[Functional, dict[str, float]]

    def __init__(self, config: StackConfig, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        made = {name: (build_component(part, self.setting), part) for name, part in self.config.components.items()}
        self.parts = {
            name: fitted(one, config=part, setting=self.setting, db=db, train=train, val=val, refit=refit)
            for name, (one, part) in made.items()
        }
        said = {name: part.held_out for name, part in self.parts.items()}
        if _says_nothing_of_time(db, train=train, val=val):
            said = {name: said[name] for name in list(said)[:1]}
        self.scales = {name: _Scale.fit(one.rank) for name, one in said.items()}
        ranks = {name: self.scales[name](one.rank) for name, one in said.items()}
        spend = {name: one.spend(slice(None)) for name, one in said.items()}
        self.weights = {
            "rank": greedy_weights(ranks, losses=partial(_rank_losses, val), rows=val, mix=_mixed),
            "spend": greedy_weights(spend, losses=partial(_spend_losses, val), rows=val, mix=blend),
        }
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        said = {name: part.say(db, rows=rows) for name, part in self.parts.items() if self._uses(name)}
        ranks = {name: self.scales[name](one.rank) for name, one in said.items()}
        weights = self.weights["spend"]

        def spend(some: slice) -> Distribution:
            return blend({name: said[name].spend(some) for name in weights}, weights)

        return Prediction(_mixed(ranks, self.weights["rank"]), spend).frame(rows)

    def _uses(self, name: str) -> bool:
        return any(name in weights for weights in self.weights.values())


def _says_nothing_of_time(db: Database, *, train: TaskTable, val: TaskTable) -> bool:
    # Other customers of the windows that were learned from validate, and a later window is predicted: whoever fits
    # those windows best, level and all, looks best. So it does where the level has just changed.
    tested = db.known_until
    return set(val.cutoffs) <= set(train.cutoffs) and tested is not None and max(val.cutoffs) < tested


def greedy_weights(
    said: Mapping[str, T],
    *,
    losses: Callable[[T], np.ndarray],
    rows: TaskTable,
    mix: Callable[[Mapping[str, T], Mapping[str, float]], T],
) -> dict[str, float]:
    """What a blend is made of, by greedy steps from the first of `said`, each the one of greatest gain in the mean of
    the `losses`, and no larger than clearly pays."""
    first = next(iter(said))
    weights, loss = {first: 1.0}, losses(said[first])
    while others := [name for name in said if name not in weights]:
        tried = {(name, share): _joined(weights, name, share=share) for name in others for share in SHARES}
        found = {key: losses(mix(said, one)) for key, one in tried.items()}
        name, _ = best = min(found, key=lambda key: found[key].mean())
        if not _is_clear(loss, found[best], rows):
            break
        share = next(
            share for share in SHARES
            if _is_clear(loss, found[name, share], rows) and not _is_clear(found[name, share], found[best], rows)
        )  # fmt: skip
        weights, loss = tried[name, share], found[name, share]
    return weights


def _joined(weights: Mapping[str, float], name: str, *, share: float) -> dict[str, float]:
    return {**{other: weight * (1 - share) for other, weight in weights.items() if share < 1}, name: share}


def _is_clear(reference: np.ndarray, other: np.ndarray, rows: TaskTable) -> bool:
    return advantage(reference, other, customers=rows.frame["customer_id"]).is_clear


def _rank_losses(rows: TaskTable, score: np.ndarray) -> np.ndarray:
    """Minus the share of each row in Spearman's correlation at its cutoff: [n]."""
    losses, y = np.empty(len(rows)), rows.label
    for _, here in rows.frame.groupby("cutoff").indices.items():
        losses[here] = rank_losses(y[here], score[here])
    return losses


def _spend_losses(rows: TaskTable, spend: Distribution) -> np.ndarray:
    """Of each row, [n], the continuous ranked probability score of the distribution and the Tweedie deviance of its
    mean, power 1.5, each over its scale: the one is of the whole distribution, the other of totals of money."""
    y = rows.label
    scale = max(float(y.mean()), 1e-9)
    return crps(spend, y) / scale + tweedie_losses(spend.mean, y) / np.sqrt(scale)


def tweedie_losses(mean: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Tweedie deviance of each row, of a mean of at least a thousandth of the average label: [n]."""
    return tweedie_deviance(np.maximum(mean, 1e-3 * max(float(y.mean()), 1e-9)), y)


def _mixed(said: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    return np.asarray(sum(share * said[name] for name, share in weights.items()))
