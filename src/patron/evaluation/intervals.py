"""Metrics of predicted quantiles: `metric(y [n], quantiles [n, k])` prepares what a bootstrap calls with
`weights [B, n]`."""

import numpy as np

from patron.evaluation.weighted import Array, Replicates, mean_of

# All quantiles of the predictions frame. They stand here again because estimators bring torch along; a test compares.
LEVELS = {
    "q025": 0.025, "q05": 0.05, "q10": 0.1, "q25": 0.25, "ltv_median": 0.5, "q75": 0.75, "q90": 0.9, "q95": 0.95,
    "q975": 0.975,
}  # fmt: skip
LOWER, UPPER = 0.1, 0.9  # of the interval that is judged


def coverage(y: Array, bounds: Array) -> Replicates:
    """Share of labels in [lower, upper], both ends included: bounds [n, 2]."""
    return mean_of(_inside(y, bounds))


def coverage_payers(y: Array, bounds: Array) -> Replicates:
    """Coverage among those with spend: an interval that covers the zeros well may still miss the payers."""
    paid = (y > 0).astype(float)
    return mean_of(_inside(y, bounds) * paid, paid)


def coverage_randomised(y: Array, said: Array) -> Replicates:
    """Share of labels whose probability integral transform, randomised at 0, lies in the middle 80 %: [n, 3], the two
    bounds and P(spend > 0). It is 80 % if the distributions are right, however many spend nothing, where the plain
    share then exceeds it: who has more than 10 % at 0 has the interval [0, q90]. Smith 1985; Czado, Gneiting & Held
    2009; the expectation over the randomisation.
    """
    zero = 1 - said[:, 2]
    of_zero = np.clip(np.minimum(zero, UPPER) - LOWER, 0, None) / np.maximum(zero, 1e-12)
    return mean_of(np.where(y > 0, _inside(y, said[:, :2]), of_zero))


def coverage_implied(y: Array, said: Array) -> Replicates:
    """Share of labels that the predictions themselves promise to lie in [q10, q90], both ends included: [n, 3], as in
    `coverage_randomised`. The plain share is to be read beside it."""
    zero = 1 - said[:, 2]
    return mean_of(np.where(said[:, 0] > 0, UPPER - LOWER, np.where(said[:, 1] > 0, UPPER, zero)))


def coverage_payers_implied(y: Array, said: Array) -> Replicates:
    """The same share of those who will spend: of [q10, q90] what lies above 0, over P(spend > 0)."""
    zero = 1 - said[:, 2]
    return mean_of(np.clip(UPPER - np.maximum(LOWER, zero), 0, None), said[:, 2])


def coverage_upper(y: Array, bound: Array) -> Replicates:
    """Share of labels at or below the bound [n]. With many zeros only the upper end of an interval says something."""
    return mean_of((y <= bound).astype(float))


def width(y: Array, bounds: Array) -> Replicates:
    """Mean of upper - lower over the mean label: of two intervals that cover alike the narrower is better."""
    return mean_of(bounds[:, 1] - bounds[:, 0], y)


def pinball(y: Array, quantiles: Array) -> Replicates:
    """Mean over `LEVELS` of the pinball loss, over the mean label: [n, 9]. Koenker & Bassett 1978."""
    return mean_of(_losses(y, quantiles).mean(axis=1), y)


def crps(y: Array, quantiles: Array) -> Replicates:
    """Continuous ranked probability score over the mean label: [n, 9]. Matheson & Winkler 1976.

    It is 2 x the integral of the pinball loss over all levels (Gneiting & Ranjan 2011), here approximated from the
    nine of `LEVELS` by trapezoids, the loss beyond the outermost being taken as theirs. Of a single number without any
    spread it is the absolute error, so that it compares with MAE / mean.
    """
    levels = np.array([*LEVELS.values()])
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    return mean_of(2 * _losses(y, quantiles) @ np.diff(edges), y)


def _losses(y: Array, quantiles: Array) -> Array:
    levels, over = np.array([*LEVELS.values()]), y[:, None] - quantiles
    return np.maximum(levels * over, (levels - 1) * over)


def _inside(y: Array, bounds: Array) -> Array:
    return ((y >= bounds[:, 0]) & (y <= bounds[:, 1])).astype(float)
