"""Kendall's tau-b, with ties in both, of rows with weights.

Two rows agree when label and score order them alike; tau-b is (agreeing - opposed pairs) / sqrt(pairs untied in the
label x pairs untied in the score). Kendall 1945, *The treatment of ties in ranking problems*.
"""

from dataclasses import dataclass

import numpy as np

from patron.evaluation.ranking import Ranking
from patron.evaluation.weighted import Array, Replicates, ratio

EXACT_ROWS = 500  # up to so many rows every replicate is counted out


def kendall(y: Array, score: Array) -> Replicates:
    """Kendall's tau-b. A score that is all ties earns 0, like chance.

    Exact for any weights up to `EXACT_ROWS` rows. Beyond them exact for the sample, and replicates are linearised: all
    three counts of pairs are replaced by their Hajek projection, `w [n]` times the pairs of each row, which leaves out
    terms of order 1/n (the infinitesimal jackknife; Efron & Tibshirani 1993, chapter 20).
    """
    pairs = _Pairs.of(Ranking.of(y).group, Ranking.of(score).group)
    if len(y) <= EXACT_ROWS:
        return lambda weights: _tau(*(np.einsum("bn,bn->b", weights, of) / 2 for of in pairs.of_rows(weights)))
    of_rows = np.concatenate(pairs.of_rows(np.ones((1, len(y)))))
    totals = of_rows.sum(axis=1) / 2

    def at(weights: Array) -> Array:
        level = weights.mean(axis=1, keepdims=True)  # as if every row had been drawn so often
        return _tau(*(level * (weights @ of_rows.T - level * totals)).T)

    return at


def _tau(agreement: Array, untied_y: Array, untied_score: Array) -> Array:
    tau = ratio(agreement, np.sqrt(np.clip(untied_y, 0, None) * np.clip(untied_score, 0, None)))
    return np.where((untied_score == 0) & (untied_y > 0), 0.0, tau)


@dataclass(frozen=True)
class _Level:
    """One merge: rows whose label groups share all bits above this one, in order of score, those with the bit set
    against those without."""

    order: Array  # [n] row numbers, by block, then by score
    upper: Array  # [n] whether the row's label has the bit, in that order
    block: tuple[Array, Array]  # [n] position where the row's block begins and ends
    tied: tuple[Array, Array]  # [n] position where the rows of its block and score begin and end

    @classmethod
    def of(cls, y: Array, by_score: Array, score: Array, *, bit: int) -> "_Level":
        order = by_score[np.argsort(y[by_score] >> (bit + 1), kind="stable")]
        block, score = y[order] >> (bit + 1), score[order]
        new = np.append(True, block[1:] != block[:-1])
        tied = new | np.append(True, score[1:] != score[:-1])
        return cls(order, (y[order] >> bit) & 1 == 1, _spans(new), _spans(tied))

    def agreement(self, weights: Array) -> Array:
        """Agreeing less opposed pairs of each row with the rows across the merge: [B, n] -> [B, n]."""
        drawn = weights[:, self.order]
        low, high = (_running(np.where(side, drawn, 0.0)) for side in (~self.upper, self.upper))
        across = np.where(self.upper, self._below_less_above(low), -self._below_less_above(high))
        result = np.empty_like(weights)
        result[:, self.order] = across
        return result

    def _below_less_above(self, running: Array) -> Array:
        (start, end), (first, last) = self.block, self.tied
        return running[:, first] - running[:, start] - (running[:, end] - running[:, last])


@dataclass(frozen=True)
class _Pairs:
    """How rows pair, sorted once: as many merges as the number of distinct labels has bits, each in linear time."""

    y: Array  # [n] number of the row's group of tied labels
    score: Array  # [n] of tied scores
    levels: tuple[_Level, ...]

    @classmethod
    def of(cls, y: Array, score: Array) -> "_Pairs":
        by_score = np.argsort(score, kind="stable")
        bits = range(int(y.max()).bit_length())
        return cls(y, score, tuple(_Level.of(y, by_score, score, bit=bit) for bit in bits))

    def of_rows(self, weights: Array) -> tuple[Array, Array, Array]:
        """Of each row, the pairs that agree less those opposed, those untied in the label, and in the score:
        [B, n] -> three [B, n]."""
        agreement = np.zeros_like(weights)
        for level in self.levels:
            agreement += level.agreement(weights)
        return agreement, _untied(self.y, weights), _untied(self.score, weights)


def _untied(group: Array, weights: Array) -> Array:
    size = np.stack([np.bincount(group, weights=row) for row in weights])
    return weights.sum(axis=1, keepdims=True) - size[:, group]


def _running(values: Array) -> Array:
    return np.insert(np.cumsum(values, axis=1), 0, 0, axis=1)


def _spans(new: Array) -> tuple[Array, Array]:
    # Where the run of each position begins, and where the next one does.
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(new)))
    return np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)
