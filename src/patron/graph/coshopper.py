"""Co-shopper edges: exact top K customers by the Jaccard index of the product sets bought so far, where it exceeds a
threshold.

Who bought a product is counted for every customer who bought it too, row by row of X X', and a pair is compared with
the K best so far while it is counted: nothing of the product is kept. Sources come in tiles whose counters stay in the
cache of a core, targets in chunks that threads share. It is compiled by numba, the first time that it runs.

From one day to a later one only pairs change of which one has bought something new. `Standing` keeps more than the top
K, so that few lose so many neighbours that those behind them must be looked for.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from joblib import cpu_count
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from tqdm import tqdm

TILE = 2**15  # sources counted at once: 64 KB
CHUNK = 2**10  # targets that a thread takes at once
RESERVE = 2  # times the top K that `Standing` keeps


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
    threads: int | None = None,
    targets: np.ndarray | None = None,
    sources: np.ndarray | None = None,
) -> CoShoppers:
    """The co-shopper edges of a binary matrix: customers x products, 1 where bought. Of `targets` and from `sources`
    alone, where they are given: rows of the matrix, the top K are among these sources then. With as many threads as
    there are cores, or so many."""
    sets = _Sets.of(bought, config=config)
    nearest = Nearest.of_nobody(len(sets.sizes), top_k=config.top_k)
    targets, sources = (np.arange(len(sets.sizes)) if ends is None else ends for ends in (targets, sources))
    _search(nearest, sets, targets=targets, sources=sources, config=config, threads=threads)
    return nearest.edges(config.top_k)


@dataclass(frozen=True)
class Standing:
    """The co-shoppers of a day, from which those of a later day follow. Of each customer twice the top K are known;
    whom nobody has kept comes after `bar`: a Jaccard index and a source, [customers]."""

    config: CoShopperConfig
    sets: "_Sets"
    nearest: "Nearest"
    bar: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, bought: sp.csr_matrix, *, config: CoShopperConfig, threads: int | None = None) -> Self:
        """From a binary matrix: customers x products, 1 where bought."""
        sets = _Sets.of(bought, config=config)
        nearest = Nearest.of_nobody(len(sets.sizes), top_k=RESERVE * config.top_k)
        everybody = np.arange(len(sets.sizes))
        _search(nearest, sets, targets=everybody, sources=everybody, config=config, threads=threads)
        return cls(config, sets, nearest, nearest.bar())

    @property
    def edges(self) -> CoShoppers:
        """`co_shoppers` of this day."""
        return self.nearest.edges(self.config.top_k)

    def moved_on(self, bought: sp.csr_matrix, *, threads: int | None = None) -> Self:
        """The standing of a later day: the same customers and products, `bought` by then. It costs up to twice the
        share of the customers with something new, of a new beginning."""
        sets, search = _Sets.of(bought, config=self.config), partial(_search, config=self.config, threads=threads)
        changed = self.sets.differ(sets)
        nearest = self.nearest.where(~changed[self.nearest.source])
        search(nearest, sets, targets=np.flatnonzero(~changed), sources=np.flatnonzero(changed))
        jaccard, source = (each[:, None] for each in self.bar)
        ahead = (nearest.jaccard > jaccard) | ((nearest.jaccard == jaccard) & (nearest.source <= source))
        nearest = nearest.where(ahead)  # behind the bar there may be others between them
        anew = changed | (np.isfinite(self.bar[0]) & (nearest.found < self.config.top_k))
        nearest.found[anew] = 0
        search(nearest, sets, targets=np.flatnonzero(anew), sources=np.arange(len(anew)))
        bar, own = np.where(anew, -np.inf, self.bar[0]), nearest.bar()
        full = np.isfinite(own[0])
        return type(self)(
            self.config, sets, nearest, (np.where(full, own[0], bar), np.where(full, own[1], self.bar[1]))
        )


@dataclass(frozen=True)
class _Sets:
    """Who bought what, as far as it counts: rows of customers that do not are empty. `sizes` [customers]."""

    bought: sp.csr_matrix
    sizes: np.ndarray

    @classmethod
    def of(cls, bought: sp.csr_matrix, *, config: CoShopperConfig) -> Self:
        bought = sp.csr_matrix(bought, dtype=np.int8)
        if config.max_popularity is not None:
            buyers = np.bincount(bought.indices, minlength=bought.shape[1])
            most = config.max_popularity * np.count_nonzero(np.diff(bought.indptr))
            bought = bought @ sp.diags((buyers <= most).astype(np.int8), dtype=np.int8)
            bought.eliminate_zeros()
        sizes = np.diff(bought.indptr)
        counts = sizes >= config.min_products
        kept = bought.multiply(counts[:, None]).tocsr() if not counts.all() else bought
        kept.eliminate_zeros()
        return cls(kept, np.where(counts, sizes, 0).astype(np.int64))

    def differ(self, other: "_Sets") -> np.ndarray:
        """Whose set is another one: [customers]."""
        return np.diff((self.bought != other.bought).tocsr().indptr) > 0


class Nearest(NamedTuple):
    """The best so far of each customer: of row t the first `found[t]` of `source` and `jaccard` [customers, K], by
    Jaccard downwards, then source. The rest of a row means nothing."""

    source: np.ndarray
    jaccard: np.ndarray
    found: np.ndarray

    @classmethod
    def of_nobody(cls, customers: int, *, top_k: int) -> Self:
        size = customers, min(top_k, max(customers - 1, 1))
        return cls(np.zeros(size, np.int32), np.zeros(size), np.zeros(customers, np.int64))

    def where(self, mask: np.ndarray) -> Self:
        """Those alone for which `mask` [customers, K] is true."""
        kept = mask & self._there(self.source.shape[1])
        fewer = type(self)(np.zeros_like(self.source), np.zeros_like(self.jaccard), kept.sum(axis=1))
        there = fewer._there(self.source.shape[1])
        fewer.source[there], fewer.jaccard[there] = self.source[kept], self.jaccard[kept]
        return fewer

    def edges(self, top_k: int) -> CoShoppers:
        there = self._there(top_k)
        source, jaccard = (each[:, :top_k][there] for each in (self.source, self.jaccard))
        return CoShoppers(np.repeat(np.arange(len(there)), there.sum(axis=1)), source.astype(np.int64), jaccard)

    def bar(self) -> tuple[np.ndarray, np.ndarray]:
        """Index and source of the last one, where there is no more room, and minus infinity elsewhere."""
        full = self.found == self.source.shape[1]
        return np.where(full, self.jaccard[:, -1], -np.inf), self.source[:, -1]

    def _there(self, top_k: int) -> np.ndarray:
        return np.arange(min(top_k, self.source.shape[1])) < self.found[:, None]


class Rows(NamedTuple):
    """A CSR matrix: the columns of row t are `column[start[t]:start[t + 1]]`. Unsigned, or numba asks of every index
    whether it counts from the end."""

    start: np.ndarray
    column: np.ndarray

    @classmethod
    def of(cls, matrix: sp.csr_matrix) -> Self:
        return cls(matrix.indptr.astype(np.uint64), matrix.indices.astype(np.uint32))


def _search(
    nearest: Nearest,
    sets: _Sets,
    *,
    targets: np.ndarray,
    sources: np.ndarray,
    config: CoShopperConfig,
    threads: int | None,
) -> None:
    # Whoever of the sources is near enough takes a place in `nearest` of the targets.
    from patron.graph.coshopper_kernel import take  # numba is imported when something is searched for

    targets, sources = (each[sets.sizes[each] > 0] for each in (targets, sources))
    tiles = [sources[start : start + TILE] for start in range(0, len(sources), TILE)]
    buyers = [Rows.of(sets.bought[tile].T.tocsr()) for tile in tiles]
    bought, number = Rows.of(sets.bought), np.uint16 if sets.sizes.max(initial=0) < 2**16 else np.uint32

    def look(chunk: np.ndarray) -> None:
        count, touched = np.zeros(TILE, number), np.empty(TILE + 1, np.uint32)
        for tile, of in zip(tiles, buyers, strict=True):
            take(chunk, tile, bought, of, sets.sizes, config.threshold, count, touched, nearest)

    chunks = [targets[start : start + CHUNK] for start in range(0, len(targets), CHUNK)]
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        for _ in tqdm(pool.map(look, chunks), total=len(chunks), desc="co-shoppers", delay=2, leave=False):
            pass
