"""How high can Spearman go? Two ceilings of any predictor: by the ties of the labels, and by their chance.

Both are read beside the oracle of a made-up world, which knows the truth about each customer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from patron.evaluation.lapse import Lapse, fit_lapses, likeliest
from patron.evaluation.mixture import Mixture
from patron.evaluation.occasions import PERIODS
from patron.evaluation.propensity import BINS, MORE_STEPS, STEPS, Buyers, Process
from patron.evaluation.weighted import Array

FEWEST = 50  # customers who bought on two days in the window, and with two gaps: below, no spread is known
MOST_HABIT = 24  # beyond it another habit makes no difference
LOWEST = 0.5  # below it customers differ so little that chance passes for difference, and the ceiling is too high
WORST_FIT = 0.05  # distance of the distributions of labels, expected and real, beyond which the process is another one
REPLICATES = 100  # of the bootstrap: enough for an interval, and each takes a fit
UNLIKELY = 0.02  # of the likeliest hazard's likelihood, below which another one is not looked at


def spearman_ceiling(y: Any) -> float:
    """The highest Spearman an untied score can reach: sqrt(1 - z^3), z the share of zeros; other ties taken as rare.

    A score that ties the same customers as the labels may reach 1; one that ties others is no better off for it.
    """
    return float(np.sqrt(1 - np.mean(np.asarray(y) == 0) ** 3))


@dataclass(frozen=True, eq=False)
class Ceiling:
    """A ceiling in the sample and in replicates of it, [1 + B]; or none, and the reason."""

    values: Array
    reason: str = ""


def propensity_ceiling(label: Array, occasions: Array, draws: Iterator[Array]) -> Ceiling:
    """The Spearman of whoever knows each customer's propensity at the cutoff: its rate of buying, its mean spend, its
    hazard of lapsing, whether it has left, and how long ago it bought last where habits make that matter.

    Not known are the chances of the draw, and when customers lapse in the window. No history tells a propensity fully,
    so a model that learns from it stays below, unless it knows of events in the window. `label` [n] and `occasions`
    [n, OCCASIONS] are of the label windows, `draws` weights [b, n], the sample itself first.

    A purchase process is fitted to the windows, and the highest Spearman worked out within it. Bursts of purchases
    count as propensity, and make the ceiling too high; so do customers who hardly differ, or not in how regular they
    are. None where labels do not add up over time, where too few bought twice, where customers differ too little, or
    where the process does not reproduce the labels. Replicates say what the sample and the hazard leave open, not
    whether the process is the right one.
    """
    counts, concentration, pairs, spread = np.split(occasions, [PERIODS, PERIODS + 1, PERIODS + 2], axis=1)
    number = counts.sum(axis=1)
    counts, number = counts * (label > 0)[:, None], number * (label > 0)
    why = _unfit(label, number, pairs[:, 0])
    if why:
        return _none(why)
    habit = _habit(pairs[:, 0], spread[:, 0])
    fit = _Fit.of(label, number, evenness=_evenness(concentration[:, 0], number), habit=habit)
    lapses = fit_lapses(counts)
    return fit.ceiling(lapses, draws)


def _none(reason: str) -> Ceiling:
    return Ceiling(np.full(1, np.nan), reason)


def _unfit(label: Array, number: Array, pairs: Array) -> str:
    if not np.isfinite(number).all():
        return "the labels do not add up over their window"
    if ((label > 0) & (number == 0)).any():
        return "some labels are of no purchase in their window"
    if (number >= 2).sum() < FEWEST:
        return f"{(number >= 2).sum()} customers bought on two days of their window, fewer than {FEWEST}"
    if (pairs > 0).sum() < FEWEST:
        return f"{(pairs > 0).sum()} customers bought on three days, fewer than {FEWEST}"
    return ""


def _habit(pairs: Array, spread: Array) -> float:
    """k, by the ratios of successive gaps, which are Beta(k, k) whatever the rate: variance 1 / 4 (2 k + 1).

    Every customer counts as one; 1 for chance and for bursts."""
    known = pairs > 0
    variance = max(float((spread[known] / pairs[known]).mean()), 1e-3)
    return float(np.clip((1 / (4 * variance) - 1) / 2, 1, MOST_HABIT))


def _evenness(concentration: Array, number: Array) -> float:
    """The shape of a Gamma by the shares that its draws have of their sum: Dirichlet, (shape + 1) / (number shape + 1)
    in the sum of their squares."""
    known = number >= 2

    def excess(log_shape: float) -> float:
        shape = np.exp(log_shape)
        return float(((shape + 1) / (number[known] * shape + 1) - concentration[known]).sum())

    low, high = np.log(1e-2), np.log(1e4)
    if excess(high) >= 0 or excess(low) <= 0:
        return float(np.exp(high if excess(high) >= 0 else low))
    return float(np.exp(brentq(excess, low, high)))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Customers in groups, the share of each bin of labels, the upper ends of the bins but the first and the last, and
    what spends and habits are like."""

    buyers: Buyers
    shares: Array
    edges: Array
    evenness: float
    habit: float

    @classmethod
    def of(cls, label: Array, number: Array, *, evenness: float, habit: float) -> "_Fit":
        levels = np.unique(label[label > 0])
        few = len(levels) <= BINS
        edges = (levels[1:] + levels[:-1]) / 2 if few else np.quantile(label[label > 0], np.arange(1, BINS) / BINS)
        edges = np.unique(edges)
        place = np.where(label > 0, 1 + np.searchsorted(edges, label), 0)
        shares = np.bincount(place, minlength=len(edges) + 2) / len(label)
        return cls(Buyers.of(number, label), shares, edges, evenness, habit)

    def ceiling(self, lapses: list[Lapse], draws: Iterator[Array]) -> Ceiling:
        """In the sample, the first of the draws, and in the replicates, the others. A replicate draws customers, by
        which the mixture is fitted again, and one of the hazards by its likelihood."""
        rows = (row for chunk in draws for row in chunk)
        weights, best = self.buyers.weights(next(rows)), likeliest(lapses)
        sample = _Sample.of(self._processes(best), weights)
        if sample.value < LOWEST:
            return _none(f"customers differ too little to tell it from chance: {sample.value:.2f}")
        off = np.abs(np.cumsum(sample.pooled - self.shares)).max()
        if off > WORST_FIT:
            return _none(f"the labels are not those of the process: {off:.3f} off its distribution")
        values = np.array([sample.again(self.buyers.weights(row)) for row in rows])
        if len(values):
            values += self._shifts(lapses, weights, value=sample.value, number=len(values))
        return Ceiling(np.append(sample.value, values))

    def _processes(self, lapse: Lapse) -> "list[tuple[float, Process]]":
        # Habits are whole numbers: the two about the one that was found, and the share that each has of it.
        low = int(self.habit)
        shares = {low: low + 1 - self.habit, low + 1: self.habit - low}
        return [
            (share, Process.of(self.buyers, lapse, habit=habit, evenness=self.evenness, edges=self.edges))
            for habit, share in shares.items()
            if share > 0
        ]

    def _shifts(self, lapses: list[Lapse], weights: Array, *, value: float, number: int) -> Array:
        # By how much another hazard changes the ceiling, drawn as often as it is likely.
        best, log_likelihood = likeliest(lapses), np.array([lapse.log_likelihood for lapse in lapses])
        chance = np.exp(log_likelihood - log_likelihood.max())
        chance[chance < UNLIKELY] = 0.0
        shift = np.array([
            _Sample.of(self._processes(lapse), weights).value - value if likely and lapse is not best else 0.0
            for lapse, likely in zip(lapses, chance, strict=True)
        ])  # fmt: skip
        return np.random.default_rng(0).choice(shift, number, p=chance / chance.sum())


@dataclass(frozen=True, eq=False)
class _Sample:
    """Processes with their shares, and the mixture of each fitted to the sample."""

    parts: "list[tuple[float, Process, Mixture]]"

    @classmethod
    def of(cls, processes: "list[tuple[float, Process]]", weights: Array) -> "_Sample":
        fits = ((share, one, one.fitted(weights, one.start(weights), steps=STEPS)) for share, one in processes)
        return cls(list(fits))

    @property
    def value(self) -> float:
        return sum(share * process.attainable(mixture) for share, process, mixture in self.parts)

    @property
    def pooled(self) -> Array:
        return np.sum([share * process.pooled(mixture) for share, process, mixture in self.parts], axis=0)

    def again(self, weights: Array) -> float:
        """The value in a replicate, given the share of each group."""
        fits = ((share, one, one.fitted(weights, mixture, steps=MORE_STEPS)) for share, one, mixture in self.parts)
        return _Sample(list(fits)).value
