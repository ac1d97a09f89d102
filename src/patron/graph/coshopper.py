"""Co-shopper edges: exact top K customers by the Jaccard index of the product sets bought so far, where it exceeds a
threshold.

Cosines of binary rows come from sparse_dot_topn. J > t implies cosine > 2t / (1 + t), and the overlap follows from
the cosine, so Jaccard is exact. A row's answer is certified when no customer it has not seen could enter its top K;
the other rows run again with four times the candidates.

From one day to a later one only pairs change of which one has bought something new: these are looked for, and whoever
may have lost a neighbour to somebody who had not made it into the top K is looked at anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from sparse_dot_topn import sp_matmul_topn

MOST_IN_FLOAT32 = 2_000  # products of a customer
SLACK = 1e-3  # of a cosine, more than it is ever off


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CoShopperConfig:
    """Edges with Jaccard > `threshold`, at most `top_k` a customer; customers with fewer than `min_products` have none.

    With `min_products` of 1, a one-product customer is tied at J = 1 to everybody who bought only that product.
    Products that more than the share `max_popularity` of the buyers have bought count neither as common nor as bought;
    None counts all.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)]
    top_k: Annotated[int, Field(gt=0)]
    min_products: Annotated[int, Field(gt=0)]
    max_popularity: Annotated[float | None, Field(gt=0, le=1)]


@dataclass(frozen=True)
class CoShoppers:
    """Directed edges `target <- source`: indices [E] int64 and Jaccard [E] float64, sorted by target, then Jaccard
    downwards, then source."""

    target: np.ndarray
    source: np.ndarray
    jaccard: np.ndarray

    def where(self, mask: np.ndarray) -> Self:
        """The edges for which `mask` is true."""
        return type(self)(self.target[mask], self.source[mask], self.jaccard[mask])


@dataclass(frozen=True)
class Baskets:
    """Who bought what: `bought` is binary, customers x products, its rows in the order of the ids `customers`, which
    are sorted."""

    bought: sp.csr_matrix
    customers: pd.Index

    @classmethod
    def of(cls, customer: pd.Series, product: pd.Series) -> Self:
        """The ids of buyer and product of every purchase, in any order and any number of times: [purchases]."""
        row, customers = pd.factorize(customer, sort=True)
        column, products = pd.factorize(product, sort=True)
        shape = (len(customers), len(products))
        bought = sp.csr_matrix((np.ones(len(row), dtype=np.int8), (row, column)), shape=shape)
        bought.sum_duplicates()
        bought.data[:] = 1
        return cls(bought, pd.Index(customers))


def co_shoppers(
    bought: sp.csr_matrix,
    *,
    config: CoShopperConfig,
    threads: int = 2,
    targets: np.ndarray | None = None,
    sources: np.ndarray | None = None,
) -> CoShoppers:
    """The co-shopper edges of a binary matrix: customers x products, 1 where bought. Of `targets` and from `sources`
    alone, where they are given: rows of the matrix, the top K are among these sources then."""
    sets = _Sets.of(bought, config=config)
    ends = (np.flatnonzero(sets.sizes) if end is None else end[sets.sizes[end] > 0] for end in (targets, sources))
    target, source = ends
    return _certified(sets, targets=target, sources=source, config=config, threads=threads)


def moved_on(
    edges: CoShoppers, before: sp.csr_matrix, after: sp.csr_matrix, *, config: CoShopperConfig, threads: int = 2
) -> CoShoppers:
    """`co_shoppers(after)`, given that `edges` are `co_shoppers(before)`: the same customers and products, known later.
    It takes about as long as the share of the customers with something new, and of those who lose a neighbour."""
    old, new = (_Sets.of(bought, config=config) for bought in (before, after))
    changed = old.differ(new)
    found = _certified(
        new, targets=np.flatnonzero(changed & (new.sizes > 0)), sources=np.flatnonzero(new.sizes), config=config,
        threads=threads,
    )  # fmt: skip
    rest = np.flatnonzero(~changed & (new.sizes > 0))
    theirs = edges.where(~changed[edges.target])
    arrived = _certified(
        new, targets=rest, sources=np.flatnonzero(changed & (new.sizes > 0)), config=config, threads=threads
    )
    merged = _top(_joined([theirs.where(~changed[theirs.source]), arrived]), config=config)
    doubtful = _doubtful(theirs, merged, n=len(changed), top_k=config.top_k)
    again = _certified(
        new, targets=np.flatnonzero(doubtful), sources=np.flatnonzero(new.sizes), config=config, threads=threads
    )
    return _sorted(_joined([found, merged.where(~doubtful[merged.target]), again]))


@dataclass(frozen=True)
class _Sets:
    """Who bought what, as far as it counts: rows of customers that do not are empty. `sizes` [customers]."""

    bought: sp.csr_matrix
    sizes: np.ndarray

    @classmethod
    def of(cls, bought: sp.csr_matrix, *, config: CoShopperConfig) -> Self:
        bought = sp.csr_matrix(bought, dtype=np.float64)
        if config.max_popularity is not None:
            buyers = np.bincount(bought.indices, minlength=bought.shape[1])
            most = config.max_popularity * np.count_nonzero(np.diff(bought.indptr))
            bought = bought @ sp.diags((buyers <= most).astype(np.float64))
            bought.eliminate_zeros()
        sizes = np.diff(bought.indptr)
        counts = sizes >= config.min_products
        kept = bought.multiply(counts[:, None]).tocsr() if not counts.all() else bought
        kept.eliminate_zeros()
        return cls(kept, np.where(counts, sizes, 0).astype(np.float64))

    def unit(self, customers: np.ndarray) -> sp.csr_matrix:
        """Rows of these customers, of length 1; float32 while it tells every overlap from the next: an overlap of k is
        then off by at most k^2 times 6e-8."""
        rows = self.bought[customers]
        small = self.sizes.max(initial=0) <= MOST_IN_FLOAT32
        unit = sp.diags(1 / np.sqrt(np.maximum(self.sizes[customers], 1))) @ rows
        return unit.astype(np.float32 if small else np.float64).tocsr()

    def differ(self, other: "_Sets") -> np.ndarray:
        """Whose set is another one: [customers]."""
        return np.diff((self.bought != other.bought).tocsr().indptr) > 0


def _certified(
    sets: _Sets, *, targets: np.ndarray, sources: np.ndarray, config: CoShopperConfig, threads: int
) -> CoShoppers:
    # The top K of every target among the sources.
    transposed = sets.unit(sources).T.tocsr()
    pending, top_n, parts = targets, 4 * config.top_k, []
    while len(pending) and len(sources):
        edges, certified = _candidates(
            sets.unit(pending), transposed, targets=pending, sources=sources, sizes=sets.sizes, top_n=top_n,
            config=config, threads=threads,
        )  # fmt: skip
        parts.append(edges.where(certified[edges.target]))
        pending, top_n = pending[~certified[pending]], 4 * top_n
    found = _joined(parts)  # each target's edges lie together, in their order
    return found.where(np.argsort(found.target, kind="stable"))


def _candidates(
    unit: sp.csr_matrix,
    transposed: sp.csr_matrix,
    *,
    targets: np.ndarray,
    sources: np.ndarray,
    sizes: np.ndarray,
    top_n: int,
    config: CoShopperConfig,
    threads: int,
) -> tuple[CoShoppers, np.ndarray]:
    lowest = 2 * config.threshold / (1 + config.threshold)
    top_n = min(top_n, transposed.shape[1])
    cosines = sp_matmul_topn(unit, transposed, top_n=top_n, threshold=lowest * (1 - SLACK), n_threads=threads)
    local = np.repeat(np.arange(len(targets)), np.diff(cosines.indptr))
    target, source = targets[local], sources[cosines.indices]
    overlap = np.rint(cosines.data * np.sqrt(sizes[target] * sizes[source]))
    jaccard = overlap / (sizes[target] + sizes[source] - overlap)
    edges = _top(CoShoppers(target, source, jaccard).where(target != source), config=config)
    return edges, _certificate(cosines, edges, targets=targets, n=len(sizes), top_n=top_n, top_k=config.top_k)


def _top(edges: CoShoppers, *, config: CoShopperConfig) -> CoShoppers:
    above = _sorted(edges.where(edges.jaccard > config.threshold))
    first = np.searchsorted(above.target, above.target, side="left")
    return above.where(np.arange(len(above.target)) - first < config.top_k)


def _certificate(
    cosines: sp.csr_matrix, edges: CoShoppers, *, targets: np.ndarray, n: int, top_n: int, top_k: int
) -> np.ndarray:
    # True at a customer whose unseen candidates, all of cosine <= c_min and so of J <= c_min / (2 - c_min), stay out
    # of its top K.
    returned = np.diff(cosines.indptr)
    some = np.flatnonzero(returned)  # the answer of the others, whom nobody is like, is complete
    smallest = np.ones(len(targets))
    if len(some):
        smallest[some] = np.minimum.reduceat(cosines.data, cosines.indptr[some])
    full = np.bincount(edges.target, minlength=n) >= top_k
    kth = np.full(n, np.inf)
    kth[edges.target] = edges.jaccard  # in their order: the last one stays
    bound = (1 + SLACK) * smallest / (2 - smallest)
    complete = (returned < top_n) | (top_n >= cosines.shape[1])
    certified = np.zeros(n, dtype=bool)
    certified[targets] = complete | (full[targets] & (kth[targets] > bound))
    return certified


def _doubtful(before: CoShoppers, after: CoShoppers, *, n: int, top_k: int) -> np.ndarray:
    # Who had a full top K, so that there may be others behind it, and does not have K now that are ahead of its last
    # one, or that one itself: [n].
    last, source = np.full(n, -np.inf), np.full(n, -1)
    ends = np.flatnonzero(np.append(before.target[1:] != before.target[:-1], len(before.target) > 0))
    full = np.bincount(before.target, minlength=n) >= top_k
    last[before.target[ends]], source[before.target[ends]] = before.jaccard[ends], before.source[ends]
    level, name = last[after.target], source[after.target]
    ahead = (after.jaccard > level) | ((after.jaccard == level) & (after.source <= name))
    return full & (np.bincount(after.target, weights=ahead, minlength=n) < top_k)


def _joined(parts: Sequence[CoShoppers]) -> CoShoppers:
    return CoShoppers(
        *(
            np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])
            for name, dtype in (("target", np.int64), ("source", np.int64), ("jaccard", np.float64))
        )
    )


def _sorted(edges: CoShoppers) -> CoShoppers:
    return edges.where(np.lexsort((edges.source, -edges.jaccard, edges.target)))
