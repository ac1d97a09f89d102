"""Metrics of a rank score: `metric(y [n], score [n])` prepares what a bootstrap calls with `weights [B, n]`.

Tied rows share, so that no metric depends on the order of the rows. A ratio with denominator 0 is NaN: without spend
there is nothing to rank.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patron.evaluation.weighted import Array, Replicates, ratio


@dataclass(frozen=True)
class Ranking:
    """The rows in ascending order of a score, tied rows as one group: what weighted mid-ranks need, sorted once."""

    order: Array  # [n] row numbers, ascending in the score
    ends: Array  # [G] position in `order` of the last row of each tied group
    group: Array  # [n] the group of each row

    @classmethod
    def of(cls, score: Array) -> "Ranking":
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        group = np.empty(len(score), dtype=np.int64)
        group[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
        return cls(order, ends, group)

    def drawn(self, weights: Array) -> Array:
        """The weights in ascending order of the score: [B, n] -> [B, n]."""
        return weights.take(self.order, axis=1)

    def upto(self, drawn: Array) -> Array:
        """Sum of all rows up to and including each tied group, of values in order of the score: [B, n] -> [B, G]."""
        running = np.cumsum(drawn, axis=1)
        return running if len(self.ends) == drawn.shape[1] else running.take(self.ends, axis=1)

    def totals(self, drawn: Array) -> Array:
        """Sum of each tied group, of values in order of the score: [B, n] -> [B, G]."""
        if len(self.ends) == drawn.shape[1]:
            return drawn
        return np.add.reduceat(drawn, np.append(0, self.ends[:-1] + 1), axis=1)

    def middle(self, drawn: Array) -> Array:
        """Weighted mid-rank of each tied group less their mean: [B, n] -> [B, G]. Exactly 0 where all are tied."""
        upper = self.upto(drawn)
        middle = upper - upper[:, -1:] / 2
        middle[:, 0] -= upper[:, 0] / 2
        middle[:, 1:] -= np.diff(upper, axis=1) / 2
        return middle

    def centred(self, weights: Array) -> Array:
        """Weighted mid-ranks of the rows less their mean: [B, n] -> [B, n]."""
        return self.middle(self.drawn(weights)).take(self.group, axis=1)

    def tenths(self, count: Array) -> Array:
        """Number of tied groups whose mid-rank lies in the lowest tenth, the lowest two, ... all ten: from the rows
        drawn up to each group [B, G] -> [B, 10]. Whole counts are compared exactly."""
        twice = count.copy()  # the mid-rank
        twice[:, 1:] += count[:, :-1]
        edges = count[:, -1:] * np.arange(1, 11) / 5
        return np.stack([np.searchsorted(row, edge) for row, edge in zip(twice, edges, strict=True)])


def spearman(y: Array, score: Array) -> Replicates:
    """Pearson's correlation of mid-ranks. A score that is all ties has no rank information and earns 0, like chance."""
    by_y, by_score = Ranking.of(y), Ranking.of(score)

    def at(weights: Array) -> Array:
        a, b = by_y.centred(weights), by_score.centred(weights)
        weighted = weights * b
        spread_y, spread_score = np.einsum("bn,bn,bn->b", weights, a, a), np.einsum("bn,bn->b", weighted, b)
        correlation = ratio(np.einsum("bn,bn->b", weighted, a), np.sqrt(spread_y * spread_score))
        return np.where((spread_score == 0) & (spread_y > 0), 0.0, correlation)

    return at


def gini(y: Array, score: Array) -> Replicates:
    """Normalised Gini: area between gains curve and diagonal, over that of the perfect ranking. Wang et al. 2019.

    Google's lifetime_value sums the curve by rectangles, row by row. Here tied scores share by a straight line, which
    makes a constant score 0, does not depend on the row order, and differs by O(1/n) where nothing is tied.
    """
    areas = [_area_under(Ranking.of(by), y) for by in (score, y)]
    return lambda weights: ratio(*(area(weights) for area in areas))


def _area_under(ranking: Ranking, y: Array) -> Replicates:
    """Sum over rows of y x mid-rank less its mean: as the area between gains curve and diagonal, but for a factor."""
    ordered = y[ranking.order]

    def at(weights: Array) -> Array:
        drawn = ranking.drawn(weights)
        return np.einsum("bg,bg->b", ranking.totals(drawn * ordered), ranking.middle(drawn))

    return at


def capture(share: float) -> Callable[[Array, Array], Replicates]:
    """Share of all revenue held by the `share` of customers with the highest scores; ties at the border are shared."""

    def prepare(y: Array, score: Array) -> Replicates:
        ranking = Ranking.of(-score)
        spend = y[ranking.order]

        def at(weights: Array) -> Array:
            drawn = ranking.drawn(weights)
            count, revenue = ranking.upto(drawn), ranking.upto(drawn * spend)
            wanted = share * count[:, -1]
            border = np.argmax(count >= wanted[:, None], axis=1)  # the tied group in which the wanted number is reached
            return ratio(_interpolated(count, revenue, border, wanted), revenue[:, -1])

        return at

    return prepare


def _interpolated(count: Array, revenue: Array, border: Array, wanted: Array) -> Array:
    replicate = np.arange(len(border))
    upper, gained = count[replicate, border], revenue[replicate, border]
    first = border == 0
    lower = np.where(first, 0.0, count[replicate, border - 1])
    before = np.where(first, 0.0, revenue[replicate, border - 1])
    return before + (gained - before) * ratio(wanted - lower, upper - lower)


def roc_auc(y: Array, score: Array) -> Replicates:
    """Probability that a row of label 1 scores above one of label 0, ties counting half. Hanley & McNeil 1982."""
    area = _area_under(Ranking.of(score), y)

    def at(weights: Array) -> Array:
        number = weights @ y
        return ratio(area(weights), number * (weights.sum(axis=1) - number)) + 0.5

    return at


def average_precision(y: Array, score: Array) -> Replicates:
    """Area under the precision-recall curve by steps, tied rows as one step: what scikit-learn calls so."""
    ranking = Ranking.of(-score)
    positive = y[ranking.order]

    def at(weights: Array) -> Array:
        drawn = ranking.drawn(weights)
        count, found = ranking.upto(drawn), ranking.upto(drawn * positive)
        precision = found / np.maximum(count, np.finfo(float).tiny)  # 0 above the first row that was drawn
        area = np.einsum("bg,bg->b", np.diff(found, axis=1), precision[:, 1:]) + found[:, 0] * precision[:, 0]
        return ratio(area, found[:, -1])

    return at
