"""Cluster bootstrap over customers: the same customer at several cutoffs is one cluster and is drawn whole.

A replicate is a vector of counts, how often each row was drawn, which the metrics take as weights. Counts come in
chunks of replicates so that [B, n] is never held for a large n. The same seed gives the same draws whatever the size of
the chunks, and thus the same customers for every estimator, fold and seed: differences between estimators are paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

CHUNK_BYTES = 2**18  # of float64 counts: fits a core's cache, since the metrics pass over a chunk some twenty times


@dataclass(frozen=True)
class Interval:
    """A two-sided interval, both ends included; NaN where there is none."""

    lo: float
    hi: float


def interval(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """The percentile interval of replicates [B]. Undefined ones (NaN) are left out; NaN if they are more than half."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or 2 * len(defined) < len(values):
        return Interval(np.nan, np.nan)
    lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lo), float(hi))


def cluster_weights(customer_ids: Any, *, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Counts [n_boot, n] of each row in each replicate, equal for all rows of a customer. Holds it all: for small n."""
    names, codes = np.unique(np.asarray(customer_ids), return_inverse=True)
    chunks = list(weight_chunks(codes, clusters=len(names), n_boot=n_boot, rng=rng))
    return np.concatenate([np.empty((0, len(codes))), *chunks]).astype(np.int64)


def weight_chunks(
    codes: np.ndarray, *, clusters: int, n_boot: int, rng: np.random.Generator, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[np.ndarray]:
    """Counts as float64 [b, n], n_boot replicates in all. `codes [n]` name each row's customer, 0 to `clusters` - 1.

    Rows may hold only some of the customers: `clusters` of them are drawn all the same, so that folds stay paired.
    """
    size = max(1, chunk_bytes // (8 * max(len(codes), clusters)))
    for start in range(0, n_boot, size):
        replicates = min(size, n_boot - start)
        yield _draw(clusters, replicates=replicates, rng=rng).take(codes, axis=1)


def _draw(clusters: int, *, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How often each customer is drawn in `clusters` draws with replacement: float64 [replicates, clusters]."""
    drawn = rng.integers(0, clusters, size=(replicates, clusters))
    drawn += np.arange(replicates)[:, None] * clusters  # one bincount for all replicates
    counts = np.bincount(drawn.ravel(), minlength=replicates * clusters)
    return counts.reshape(replicates, clusters).astype(float)
