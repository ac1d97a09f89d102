"""The search for co-shoppers in one tile of sources, compiled."""

from typing import TYPE_CHECKING

import numpy as np

from patron.graph.compiled import njit

if TYPE_CHECKING:
    from patron.graph.coshopper import Nearest, Rows

SLACK = 1 - 1e-9  # of a bound, more than rounding ever moves it


@njit(nogil=True)
def take(
    targets: np.ndarray,
    sources: np.ndarray,
    bought: "Rows",
    buyers: "Rows",
    sizes: np.ndarray,
    threshold: float,
    count: np.ndarray,
    touched: np.ndarray,
    nearest: "Nearest",
) -> None:
    """Whoever of `sources` is near enough takes a place in `nearest` of the `targets`. `buyers` are places in
    `sources`, and `count` is 0 everywhere before and after."""
    top_k = nearest.source.shape[1]
    for target in targets:
        met = _count(target, bought, buyers, count, touched)
        size, found = sizes[target], nearest.found[target]
        who, near = nearest.source[target], nearest.jaccard[target]
        bar = near[top_k - 1] if found == top_k else threshold
        least = int(SLACK * bar * size)  # J >= bar needs more of the target's own set than this
        for place in touched[:met]:
            common = count[place]
            count[place] = 0
            if common <= least:
                continue
            source = sources[place]
            total = size + sizes[source]
            if common * (1 + bar) <= SLACK * bar * total or source == target:
                continue
            jaccard = common / (total - common)
            if jaccard <= threshold or (found == top_k and not _ahead(jaccard, source, near, who, top_k - 1)):
                continue
            found = min(found + 1, top_k)
            k = found - 1
            while k > 0 and _ahead(jaccard, source, near, who, k - 1):
                near[k], who[k] = near[k - 1], who[k - 1]
                k -= 1
            near[k], who[k] = jaccard, source
            bar = near[top_k - 1] if found == top_k else threshold
            least = int(SLACK * bar * size)
        nearest.found[target] = found


@njit(nogil=True)
def _count(target: int, bought: "Rows", buyers: "Rows", count: np.ndarray, touched: np.ndarray) -> np.uint64:
    # Of how many products each buyer of any of them bought, in `count`; how many and which buyers, in `touched`.
    met = np.uint64(0)
    for k in range(bought.start[target], bought.start[target + 1]):
        product = np.uint64(bought.column[k])
        for b in range(buyers.start[product], buyers.start[product + np.uint64(1)]):
            place = buyers.column[b]
            touched[met] = place
            met += np.uint64(count[place] == 0)
            count[place] += 1
    return met


@njit(nogil=True)
def _ahead(jaccard: float, source: int, near: np.ndarray, who: np.ndarray, k: int) -> bool:
    return jaccard > near[k] or (jaccard == near[k] and source < who[k])
