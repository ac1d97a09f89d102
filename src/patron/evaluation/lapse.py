"""The pace of a shop over a label window, and how fast customers lapse in it, from the occasions of the window alone.

A customer buys at random at a rate of its own times the pace of the shop, until it lapses at the end of some period.
Rates are a `Mixture`, lapses exponential with a hazard that differs among customers as an exponential does (the Pareto
of Schmittlein, Morrison & Colombo 1987 at s = 1). A shop that slows down and customers who lapse look alike in the
total, not in the customer: lapses make occasions of one customer end together.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, xlogy

from patron.evaluation.mixture import Mixture
from patron.evaluation.occasions import PERIODS
from patron.evaluation.weighted import Array

HAZARDS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5)  # mean lapses a window
CLASSES = 4  # of customers by their hazard
EVIDENCE = 2.0  # of the log-likelihood, below which no lapse is taken to be seen
WARM_UP, STEPS = 100, 40  # of EM: from nowhere, and from the fit at the hazard before
EXACT = 40  # occasions up to which every number is a class of its own


@dataclass(frozen=True, eq=False)
class Lapse:
    """`pace`, the share of the purchases that fall into each period if nobody lapses, [PERIODS]; the mean `hazard`, in
    lapses a window; and the log-likelihood of the occasions."""

    pace: Array
    hazard: float
    log_likelihood: float

    @property
    def exposure(self) -> Array:
        """The share of the window's purchases before each time of a lapse, the last of which is none: [PERIODS + 1]."""
        return np.append(0.0, np.append(np.cumsum(self.pace)[:-1], 1.0))

    @property
    def chances(self) -> Array:
        """Of each class of customers, the probabilities of these times: [classes, PERIODS + 1]."""
        quantiles = -np.log1p(-(np.arange(CLASSES) + 0.5) / CLASSES)
        hazard = self.hazard * quantiles / quantiles.mean() if self.hazard else np.zeros(1)
        staying = np.exp(-hazard[:, None] * np.append(0.0, (np.arange(PERIODS) + 0.5) / PERIODS))
        return np.column_stack([staying[:, :-1] - staying[:, 1:], staying[:, -1]])


def rates(most: float) -> Array:
    """A grid of rates in occasions a window, 0 first, finer than Poisson noise: [G]."""
    top = np.log((np.sqrt(most + 1) + 1.5) ** 2)
    step = max(min(0.1, 1.3 * np.exp(-top / 2)), 0.06)
    return np.append(0.0, np.exp(np.arange(np.log(0.05), top + step, step)))


def classes(number: Array) -> tuple[Array, Array]:
    """Numbers of occasions in classes, exact up to `EXACT`: the representatives [X], and the class of each [n]."""
    ends = [float(count) for count in range(EXACT + 1)]
    while ends[-1] < number.max():
        ends.append(max(ends[-1] + 1, np.floor(ends[-1] * 1.06)))
    return np.array(ends), np.searchsorted(ends, number)


def fit_lapses(counts: Array) -> list[Lapse]:
    """The fit at each of `HAZARDS` to the occasions by period, [n, PERIODS]; the first is that without lapses."""
    histories = _Histories.of(counts)
    silent = float((counts.sum(axis=1) == 0).mean())
    often = np.log(counts.sum(axis=1)[counts.any(axis=1)])
    mixture = Mixture.around(np.array([often.mean()]), np.ones(1), silent=silent / 2 + 0.01)
    lapse, found = Lapse(histories.total / histories.total.sum(), 0.0, -np.inf), []
    for steps, hazard in zip((WARM_UP, *[STEPS] * len(HAZARDS)), (0.0, *HAZARDS), strict=True):
        lapse = replace(lapse, hazard=hazard)
        for _ in range(steps):
            lapse, mixture = histories.step(lapse, mixture)
        found.append(lapse)
    return found[1:]


def likeliest(lapses: list[Lapse]) -> Lapse:
    """The likeliest fit, or that without lapses where these are not to be seen."""
    best = max(lapses, key=lambda lapse: lapse.log_likelihood)
    return best if best.log_likelihood > lapses[0].log_likelihood + EVIDENCE else lapses[0]


@dataclass(frozen=True, eq=False)
class _Histories:
    """Customers grouped by how often and until when they bought, [J] each: how many they are, how often, and the last
    period (0 for none); the occasions in each period, [PERIODS]; and the grid of rates, [G]."""

    customers: Array
    number: Array
    last: Array
    total: Array
    rates: Array

    @classmethod
    def of(cls, counts: Array) -> "_Histories":
        number = counts.sum(axis=1)
        ends, group = classes(number)
        last = np.where(number > 0, PERIODS - np.argmax(counts[:, ::-1] > 0, axis=1), 0)
        customers = np.bincount(group * (PERIODS + 1) + last)
        there = np.flatnonzero(customers)
        group, last = np.divmod(there, PERIODS + 1)
        return cls(customers[there].astype(float), ends[group], last, counts.sum(axis=0), rates(number.max()))

    def step(self, lapse: Lapse, mixture: Mixture) -> tuple[Lapse, Mixture]:
        """One step of EM in the mixture and the pace, with the log-likelihood before it."""
        points = np.log(self.rates[1:, None])
        prior = np.append(mixture.silent, mixture.on(points).sum(axis=0))
        possible = np.exp(-self.rates[:, None] * lapse.exposure) * lapse.chances.mean(axis=0)  # [G, times of a lapse]
        until = np.cumsum(possible[:, ::-1], axis=1)[:, ::-1][:, self.last].T  # [J, G]: no lapse before the last period
        with np.errstate(divide="ignore"):
            log = xlogy(self.number[:, None], self.rates) - gammaln(self.number + 1)[:, None] + np.log(until)
        top = log.max(axis=1, keepdims=True)
        joint = np.exp(log - top) * prior
        each = joint.sum(axis=1, keepdims=True)
        posterior = joint / each * self.customers[:, None]
        log_likelihood = self.customers @ (np.log(each) + top)[:, 0] + xlogy(self.total, lapse.pace).sum()
        mass = posterior.sum(axis=0) / self.customers.sum()
        pace = self.total / np.maximum(self._exposed(posterior / np.maximum(until, 1e-300), possible), 1e-12)
        least = np.array([points[1, 0] - points[0, 0]]) / 4
        return (
            Lapse(pace / pace.sum(), lapse.hazard, float(log_likelihood)),
            mixture.fitted(points, mass[1:], silent=float(mass[0]), least=least),
        )

    def _exposed(self, posterior: Array, possible: Array) -> Array:
        # The sum of the rates of the customers who have not lapsed before each period: [PERIODS].
        by_last = np.zeros((PERIODS + 1, len(self.rates)))
        np.add.at(by_last, self.last, posterior)
        lapsing = self.rates @ (possible * np.cumsum(by_last, axis=0).T)  # by the time of the lapse
        return np.cumsum(lapsing[::-1])[::-1][1:]
