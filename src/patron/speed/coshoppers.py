"""Co-shopper edges as others would make them, to be compared with: the product X X' of scipy, chunk by chunk, and a
self-join in DuckDB. Both give the edges that `patron.graph.coshopper` gives."""

import duckdb
import numpy as np
import pandas as pd
import scipy.sparse as sp

from patron.graph.coshopper import CoShopperConfig, CoShoppers

CHUNK = 2_000  # rows of the product held at once

_SELF_JOIN = """
WITH sizes AS (SELECT customer, COUNT(*) AS size FROM bought GROUP BY customer HAVING size >= $min_products),
counted AS (SELECT customer, product, size FROM bought JOIN sizes USING (customer)),
pairs AS (
    SELECT a.customer AS target, b.customer AS source, COUNT(*) AS common, ANY_VALUE(a.size + b.size) AS total
    FROM counted a JOIN counted b ON a.product = b.product AND a.customer <> b.customer GROUP BY ALL
)
SELECT target, source, common / (total - common) AS jaccard FROM pairs WHERE jaccard > $threshold
QUALIFY ROW_NUMBER() OVER (PARTITION BY target ORDER BY jaccard DESC, source) <= $top_k
ORDER BY target, jaccard DESC, source
"""


def purchases(*, customers: int, products: int, purchases: int, zipf: float, seed: int) -> sp.csr_matrix:
    """A binary matrix [customers, products] of about so many purchases: products by Zipf's law with this exponent,
    numbers of products a customer geometric."""
    rng = np.random.default_rng(seed)
    weight = np.arange(1, products + 1) ** -zipf
    number = rng.geometric(min(customers / purchases, 1.0), customers)
    owner = np.repeat(np.arange(customers), number)
    bought = np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(len(owner)))
    matrix = sp.csr_matrix((np.ones(len(owner), np.int8), (owner, np.minimum(bought, products - 1))),
                           shape=(customers, products))  # fmt: skip
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def by_scipy(bought: sp.csr_matrix, *, config: CoShopperConfig) -> CoShoppers:
    """By the product of scipy, `CHUNK` rows at a time."""
    sizes = np.diff(bought.indptr)
    rows = bought.multiply((sizes >= config.min_products)[:, None]).tocsr().astype(np.int32)
    transposed = rows.T.tocsr()
    parts = [_of_chunk(rows[start : start + CHUNK] @ transposed, sizes, start=start, config=config)
             for start in range(0, rows.shape[0], CHUNK)]  # fmt: skip
    frame = pd.concat(parts, ignore_index=True)
    return CoShoppers(*(frame[name].to_numpy() for name in ("target", "source", "jaccard")))


def _of_chunk(overlap: sp.csr_matrix, sizes: np.ndarray, *, start: int, config: CoShopperConfig) -> pd.DataFrame:
    pairs = overlap.tocoo()
    target, source = pairs.row.astype(np.int64) + start, pairs.col.astype(np.int64)
    jaccard = pairs.data / (sizes[target] + sizes[source] - pairs.data)
    kept = (jaccard > config.threshold) & (target != source)
    frame = pd.DataFrame({"target": target[kept], "source": source[kept], "jaccard": jaccard[kept]})
    frame = frame.sort_values(["target", "jaccard", "source"], ascending=[True, False, True])
    return frame.groupby("target").head(config.top_k)


def by_duckdb(bought: sp.csr_matrix, *, config: CoShopperConfig, threads: int) -> CoShoppers:
    """By a self-join on the product."""
    pairs = bought.tocoo()
    table = pd.DataFrame({"customer": pairs.row.astype(np.int64), "product": pairs.col.astype(np.int64)})
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.register("bought", table)
        params = {"min_products": config.min_products, "threshold": config.threshold, "top_k": config.top_k}
        found = connection.execute(_SELF_JOIN, params).df()
    return CoShoppers(*(found[name].to_numpy() for name in ("target", "source", "jaccard")))
