"""Co-shopper edges: exact top K customers by the Jaccard index of the product sets bought so far, where it exceeds a
threshold.

Cosines of binary rows come from sparse_dot_topn. J > t implies cosine > 2t / (1 + t), and the overlap follows from
the cosine, so Jaccard is exact. A row's answer is certified when no customer it has not seen could enter its top K;
the other rows run again with four times the candidates.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import scipy.sparse as sp
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from sparse_dot_topn import sp_matmul_topn


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CoShopperConfig:
    """Edges with Jaccard > `threshold`, at most `top_k` a customer; customers with fewer than `min_products` have none.

    With `min_products` of 1, a one-product customer is tied at J = 1 to everybody who bought only that product.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)]
    top_k: Annotated[int, Field(gt=0)]
    min_products: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class CoShoppers:
    """Directed edges `target <- source`: indices [E] int64 and Jaccard [E] float64, sorted by target, then Jaccard
    downwards, then source."""

    target: np.ndarray
    source: np.ndarray
    jaccard: np.ndarray


def co_shoppers(bought: sp.csr_matrix, *, config: CoShopperConfig, threads: int = 2) -> CoShoppers:
    """The co-shopper edges of a binary matrix: customers x products, 1 where bought."""
    sizes = np.diff(bought.indptr)
    eligible = np.flatnonzero(sizes >= config.min_products)
    rows = bought[eligible]
    found = _certified(rows, sizes=sizes[eligible].astype(np.float64), config=config, threads=threads)
    return CoShoppers(eligible[found.target], eligible[found.source], found.jaccard)


def _certified(rows: sp.csr_matrix, *, sizes: np.ndarray, config: CoShopperConfig, threads: int) -> CoShoppers:
    unit = sp.diags(1 / np.sqrt(np.maximum(sizes, 1))) @ rows.astype(np.float64)
    unit, transposed = unit.tocsr(), unit.T.tocsr()
    pending, top_n, parts = np.arange(rows.shape[0]), 4 * config.top_k, []
    while len(pending):
        edges, certified = _candidates(
            unit[pending], transposed, targets=pending, sizes=sizes, top_n=top_n, config=config, threads=threads
        )
        parts.append(_keep(edges, wanted=certified))
        pending, top_n = pending[~certified[pending]], 4 * top_n
    return _sorted(parts)


def _candidates(
    unit: sp.csr_matrix,
    transposed: sp.csr_matrix,
    *,
    targets: np.ndarray,
    sizes: np.ndarray,
    top_n: int,
    config: CoShopperConfig,
    threads: int,
) -> tuple[CoShoppers, np.ndarray]:
    lowest = 2 * config.threshold / (1 + config.threshold)
    top_n = min(top_n, transposed.shape[1])
    cosines = sp_matmul_topn(unit, transposed, top_n=top_n, threshold=lowest - 1e-9, n_threads=threads)
    local = np.repeat(np.arange(len(targets)), np.diff(cosines.indptr))
    target, source = targets[local], cosines.indices.astype(np.int64)
    overlap = np.rint(cosines.data * np.sqrt(sizes[target] * sizes[source]))
    jaccard = overlap / (sizes[target] + sizes[source] - overlap)
    mine = target != source
    edges = _top(CoShoppers(target[mine], source[mine], jaccard[mine]), config=config)
    return edges, _certificate(cosines, edges, targets=targets, n=len(sizes), top_n=top_n, top_k=config.top_k)


def _top(edges: CoShoppers, *, config: CoShopperConfig) -> CoShoppers:
    above = _sorted([_keep_mask(edges, edges.jaccard > config.threshold)])
    first = np.searchsorted(above.target, above.target, side="left")
    return _keep_mask(above, np.arange(len(above.target)) - first < config.top_k)


def _certificate(
    cosines: sp.csr_matrix, edges: CoShoppers, *, targets: np.ndarray, n: int, top_n: int, top_k: int
) -> np.ndarray:
    # True at a customer whose unseen candidates, all of cosine <= c_min and so of J <= c_min / (2 - c_min), stay out
    # of its top K.
    returned = np.diff(cosines.indptr)
    smallest = np.full(len(targets), np.inf)
    np.minimum.at(smallest, np.repeat(np.arange(len(targets)), returned), cosines.data)
    full = np.bincount(edges.target, minlength=n) >= top_k
    np.minimum.at(kth := np.full(n, np.inf), edges.target, edges.jaccard)
    bound = smallest / (2 - smallest)
    complete = (returned < top_n) | (top_n >= cosines.shape[1])
    certified = np.zeros(n, dtype=bool)
    certified[targets] = complete | (full[targets] & (kth[targets] > bound + 1e-9))
    return certified


def _keep(edges: CoShoppers, *, wanted: np.ndarray) -> CoShoppers:
    return _keep_mask(edges, wanted[edges.target])


def _keep_mask(edges: CoShoppers, mask: np.ndarray) -> CoShoppers:
    return CoShoppers(edges.target[mask], edges.source[mask], edges.jaccard[mask])


def _sorted(parts: list[CoShoppers]) -> CoShoppers:
    target, source, jaccard = (
        np.concatenate([getattr(part, name) for part in parts] or [np.empty(0)])
        for name in ("target", "source", "jaccard")
    )
    order = np.lexsort((source, -jaccard, target))
    return CoShoppers(target[order].astype(np.int64), source[order].astype(np.int64), jaccard[order])
