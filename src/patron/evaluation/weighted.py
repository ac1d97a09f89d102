"""What all metrics share: ratios of weighted sums, for many replicates at once.

`weights [B, n]` are the times each row was drawn in each replicate, and a metric of them is an array [B]: the same, to
rounding, as evaluating `np.repeat(rows, weights)` B times. All that does not depend on the weights happens once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Replicates = Callable[[Array], Array]  # weights [B, n] -> values [B]


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


@dataclass(frozen=True, eq=False)
class Mean:
    """finish(sum(w numerator) / sum(w denominator)) over columns [n]: most metrics, and all the cheap ones."""

    numerator: Array
    denominator: Array
    finish: Callable[[Array], Array]

    def __call__(self, weights: Array) -> Array:
        return self.finish(ratio(weights @ self.numerator, weights @ self.denominator))


def mean_of(
    numerator: Array, denominator: Array | None = None, *, finish: Callable[[Array], Array] = np.asarray
) -> Mean:
    """sum(w numerator) / sum(w denominator); without a denominator the weighted mean."""
    return Mean(numerator, np.ones(len(numerator)) if denominator is None else denominator, finish)


def together(metrics: Sequence[Replicates]) -> Callable[[Array], Array]:
    """All metrics of the same rows: weights [B, n] -> [M, B]. The means among them take one product of matrices."""
    means = {m: metric for m, metric in enumerate(metrics) if isinstance(metric, Mean)}
    columns = np.stack([column for of in means.values() for column in (of.numerator, of.denominator)], axis=1)

    def at(weights: Array) -> Array:
        values, sums = np.empty((len(metrics), len(weights))), weights @ columns
        quotients = ratio(sums[:, ::2], sums[:, 1::2])
        for column, (m, mean) in enumerate(means.items()):
            values[m] = mean.finish(quotients[:, column])
        for m, metric in enumerate(metrics):
            if m not in means:
                values[m] = metric(weights)
        return values

    return at
