"""What the label of a customer is like given the customer's propensity: a purchase process fitted to label windows.

A customer of rate `l`, mean spend `v` and lapse hazard `h` buys `x` times in the window, and spends a Gamma of mean v
each time. Purchases are every k-th event of a Poisson process (the condensed process of Chatfield & Goodhardt 1973):
k = 1 is chance, a high k a regular habit. Rates and mean spends are a `Mixture`, one share of it of customers who have
left.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaln, pdtr, polygamma, xlogy

from patron.evaluation.lapse import Lapse, classes, rates
from patron.evaluation.mixture import Mixture
from patron.evaluation.weighted import Array

AGES = 6  # classes of customers by the time since their last purchase, where habits make it matter
SPENDS = 24  # mean spends on the grid
BINS = 100  # of labels
STEPS, MORE_STEPS = 100, 10  # of EM: from nowhere, and from the fit to the sample for a replicate


@dataclass(frozen=True, eq=False)
class Buyers:
    """Rows in groups alike in number of occasions and mean spend: the group of each row [n], of each group the class of
    the number and the place of the mean spend, [J] (0 of who bought nothing); the numbers [X], the grids of rates [G]
    and mean spends [V]."""

    group: Array
    bought: Array
    spent: Array
    numbers: Array
    rates: Array
    spends: Array

    @classmethod
    def of(cls, number: Array, label: Array) -> "Buyers":
        """Of the number of occasions and the label, [n] each; both are 0 or neither is."""
        numbers, bought = classes(number)
        paid = number > 0
        mean = np.log(label[paid] / number[paid])
        low, high = np.quantile(mean, [0.005, 0.995])
        margin = max(0.15 * (high - low), 0.01)
        grid = np.linspace(low - margin, high + margin, SPENDS)
        spent = np.zeros(len(number), dtype=np.int64)
        spent[paid] = np.rint((mean - grid[0]) / (grid[1] - grid[0])).clip(0, SPENDS - 1)
        alike, group = np.unique(bought * SPENDS + spent, return_inverse=True)
        return cls(group, alike // SPENDS, alike % SPENDS, numbers, rates(number.max()), np.exp(grid))

    @property
    def points(self) -> Array:
        """The logs of all rates but 0 and of all mean spends: [(G - 1) x V, 2]."""
        first, second = np.meshgrid(np.log(self.rates[1:]), np.log(self.spends), indexing="ij")
        return np.column_stack([first.ravel(), second.ravel()])

    def weights(self, drawn: Array) -> Array:
        """The share of each group in the rows as often as drawn: [n] -> [J]."""
        return np.bincount(self.group, drawn, len(self.bought)) / drawn.sum()


@dataclass(frozen=True, eq=False)
class Process:
    """A purchase process of `habit` k, whose spends are Gamma of the shape `evenness`: how likely each class of numbers
    is given a rate and what else is known of a customer, the hazard and the time since the last purchase, [X, G, K],
    all K as frequent; how likely the mean spend of a group is given that of the customer, [J, V]; and each bin of
    labels given rate, what else is known and mean spend, [G, K, V, bins]. The first bin holds 0."""

    buyers: Buyers
    habit: int
    evenness: float
    numbers: Array
    likelihood: Array
    labels: Array

    @classmethod
    def of(cls, buyers: Buyers, lapse: Lapse, *, habit: int, evenness: float, edges: Array) -> "Process":
        """With `edges` the upper ends of all bins but the first and the last."""
        chances = _chances(buyers, lapse, habit=habit)
        number, spends = buyers.numbers[1:, None, None], buyers.spends[:, None]
        below = gammainc(evenness * number, evenness * edges / spends)  # [X, V, edges]
        spread = np.diff(below, axis=-1, prepend=0, append=1)
        nothing = np.broadcast_to(chances[0][..., None, None], (*chances.shape[1:], len(buyers.spends), 1))
        paid = np.einsum("xgk,xvb->gkvb", chances[1:], spread, optimize=True)
        away = np.log(buyers.spends / buyers.spends[buyers.spent][:, None])
        misfit = evenness * buyers.numbers[buyers.bought][:, None] * (away + np.expm1(-away))
        labels = np.concatenate([nothing, paid], axis=-1)
        return cls(buyers, habit, evenness, chances, np.exp(-misfit), labels)

    def start(self, weights: Array) -> Mixture:
        """Where EM may start, given the share of each group [J]: the spreads are what is beyond chance, as EM is slow
        to take away what is too much."""
        number, paid = self.buyers.numbers[self.buyers.bought], self.buyers.bought > 0
        mean = weights @ number
        excess = weights @ (number - mean) ** 2 - mean / self.habit
        logs = np.log(np.column_stack([number, self.buyers.spends[self.buyers.spent]])[paid])
        share = weights[paid] / weights[paid].sum()
        centre = share @ logs
        beyond = share @ ((logs[:, 1] - centre[1]) ** 2 - polygamma(1, self.evenness * number[paid]))
        spread = np.sqrt(np.maximum([np.log1p(max(excess, 0.0) / mean**2), beyond], 1e-3)).clip(max=1.5)
        return Mixture.around(centre, spread * 0.7, silent=weights[~paid].sum() / 2 + 1e-3)

    def fitted(self, weights: Array, mixture: Mixture, *, steps: int) -> Mixture:
        """The mixture after so many steps of EM."""
        buyers, points = self.buyers, self.buyers.points
        by_rate = self.numbers.mean(axis=2)[buyers.bought]  # [J, G]
        grid = np.array([np.log(buyers.rates[2] / buyers.rates[1]), np.log(buyers.spends[1] / buyers.spends[0])])
        for _ in range(steps):
            prior = self.prior(mixture)
            each = ((by_rate @ prior) * self.likelihood).sum(axis=1)
            mass = prior * (by_rate.T @ ((weights / np.maximum(each, 1e-300))[:, None] * self.likelihood))
            mixture = mixture.fitted(points, mass[1:].ravel(), silent=float(mass[0].sum()), least=grid / 4)
        return mixture

    def prior(self, mixture: Mixture) -> Array:
        """The probability of each rate and mean spend: [G, V]."""
        active = mixture.on(self.buyers.points).sum(axis=0).reshape(-1, SPENDS)
        return np.concatenate([np.full((1, SPENDS), mixture.silent / SPENDS), active])

    def attainable(self, mixture: Mixture) -> float:
        """The Spearman of the expected mid-rank given all that is known of a customer: the highest there is."""
        prior = self.prior(mixture)[:, None].repeat(self.labels.shape[1], axis=1) / self.labels.shape[1]
        shares = self.pooled(mixture)
        expected = (self.labels @ (np.cumsum(shares) - shares / 2)).ravel() - 0.5
        order = np.argsort(expected, kind="stable")
        tied = np.cumsum(np.append(False, np.diff(expected[order]) > 1e-12))
        weight = np.bincount(tied, prior.ravel()[order])
        rank = (np.cumsum(weight) - weight / 2 - 0.5)[tied]
        prior, expected = prior.ravel()[order], expected[order]
        return float(prior @ (rank * expected) / np.sqrt(prior @ rank**2 * (1 - (shares**3).sum()) / 12))

    def pooled(self, mixture: Mixture) -> Array:
        """The share of each bin in the labels of all customers: [bins]."""
        return np.einsum("gkvb,gv->b", self.labels, self.prior(mixture)) / self.labels.shape[1]


def _chances(buyers: Buyers, lapse: Lapse, *, habit: int) -> Array:
    """Of each class of numbers of occasions, given rate, hazard and time since the last purchase: [X, G, K]."""
    stages, last = _stages(habit), habit * (buyers.numbers[:, None] + 1) - np.arange(habit) - 1
    at_most = np.zeros((len(buyers.numbers), len(buyers.rates), len(lapse.chances), len(stages)))
    for exposure, chance in zip(lapse.exposure, lapse.chances.T, strict=True):
        below = pdtr(last[:, None, :], habit * exposure * buyers.rates[:, None])  # [X, G, stages]
        at_most += (below @ stages.T)[:, :, None] * chance[:, None]
    at_most[-1] = 1.0
    return np.diff(at_most, axis=0, prepend=0).reshape(len(buyers.numbers), len(buyers.rates), -1)


def _stages(habit: int) -> Array:
    # Events since the last purchase given the class of the time since then, in mean gaps: [ages, habit].
    time, stage = (np.arange(4000)[:, None] + 0.5) / 1000, np.arange(habit)
    chance = np.exp(xlogy(stage, habit * time) - habit * time - gammaln(stage + 1))
    waiting = chance.sum(axis=1)
    age = (np.cumsum(waiting) / waiting.sum() * min(AGES, habit)).astype(np.int64).clip(max=min(AGES, habit) - 1)
    found = np.zeros((min(AGES, habit), habit))
    np.add.at(found, age, chance)
    return found / found.sum(axis=1, keepdims=True)
