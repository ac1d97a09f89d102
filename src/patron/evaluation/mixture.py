"""A mixing distribution on a grid: a share with nothing, and normals of the logs of the others, by EM.

It is smooth where the data say little, as a nonparametric one is not, and of no fixed shape where they say much.
Dempster, Laird & Rubin 1977.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from patron.evaluation.weighted import Array

COMPONENTS = 2


@dataclass(frozen=True, eq=False)
class Mixture:
    """`silent`, the probability of nothing, and of each normal the probability [C], the mean [C, d] and the covariance
    [C, d, d]."""

    silent: float
    shares: Array
    means: Array
    covariances: Array

    @classmethod
    def around(cls, centre: Array, spread: Array, *, silent: float) -> Self:
        """A start: the same normal on both sides of `centre` [d] in the first dimension."""
        means = np.repeat(centre[None], COMPONENTS, axis=0)
        means[:, 0] += np.linspace(-1, 1, COMPONENTS) * spread[0]
        covariances = np.repeat(np.diag(spread**2)[None], COMPONENTS, axis=0)
        return cls(silent, np.full(COMPONENTS, (1 - silent) / COMPONENTS), means, covariances)

    def on(self, points: Array) -> Array:
        """Probabilities of points [S, d], the probability of nothing left out: [C, S]."""
        away = points[None] - self.means[:, None]
        distance = np.einsum("csi,cij,csj->cs", away, np.linalg.inv(self.covariances), away)
        density = np.exp((distance.min(axis=1, keepdims=True) - distance) / 2)
        return self.shares[:, None] * density / density.sum(axis=1, keepdims=True)

    def fitted(self, points: Array, mass: Array, *, silent: float, least: Array) -> Self:
        """The next step of EM, given posterior masses [S] of the points; no spread below `least` [d]."""
        dense = self.on(points)
        share = dense / np.maximum(dense.sum(axis=0), 1e-300) * mass
        total = np.maximum(share.sum(axis=1), 1e-12)
        means = share @ points / total[:, None]
        away = points[None] - means[:, None]
        spread = np.einsum("cs,csi,csj->cij", share, away, away) / total[:, None, None] + np.diag(least**2)
        return type(self)(silent, total, means, spread)
