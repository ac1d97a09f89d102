"""Co-shopper edges on Spark, by the functions of `patron.graph.coshopper`: the edges that `build` makes, row for row.

While all pairs of a customer and a product fit into one task, they are sent to every worker and each looks for the
neighbours of some customers. Otherwise customers fall into blocks: a task has two of them, and finds for the customers
of one the top K among those of the other; of all that was found for a customer the top K are kept. With B blocks every
pair is sent 2 B times.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from patron.graph.coshopper import Baskets, CoShopperConfig, CoShoppers, co_shoppers
from patron.tables.spark import SparkTables, pyspark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PAIRS = """
SELECT o.customer_id, i.product_id, MIN(o.order_date) AS time
FROM order_items i JOIN orders o ON o.order_id = i.order_id WHERE i.product_id IS NOT NULL
GROUP BY o.customer_id, i.product_id
"""


def co_shopper_edges(tables: SparkTables, *, config: CoShopperConfig, pairs_per_task: int) -> "DataFrame":
    """One row an edge, in no order: ids `source` and `target`, `time` when it became known, `jaccard`.

    `pairs_per_task` is how many pairs of a customer and a product one task holds at most, if no customer alone has
    more and they spread evenly over the blocks.
    """
    pairs = tables.frame(_PAIRS)
    number = pairs.count()
    if number <= pairs_per_task:
        found = _by_broadcast(pairs, config=config)
    else:
        found = _in_blocks(pairs, config=config, blocks=ceil(2 * number / pairs_per_task))
    return _timed(found, pairs)


def _by_broadcast(pairs: "DataFrame", *, config: CoShopperConfig) -> "DataFrame":
    spark, rows = pairs.sparkSession, pairs.select("customer_id", "product_id").toArrow().to_pandas()
    baskets = Baskets.of(rows["customer_id"], rows["product_id"])
    context = spark.sparkContext
    shared = context.broadcast(baskets)

    def edges_of(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        targets = np.concatenate([np.empty(0, np.int64), *(batch["id"].to_numpy() for batch in batches)])
        found = co_shoppers(shared.value.bought, config=config, threads=1, targets=targets)
        yield _named(found, shared.value.customers)

    everybody = spark.range(0, len(baskets.customers), numPartitions=context.defaultParallelism)
    return everybody.mapInPandas(edges_of, _schema(pairs))


def _in_blocks(pairs: "DataFrame", *, config: CoShopperConfig, blocks: int) -> "DataFrame":
    sql, window = pyspark("sql.functions"), pyspark("sql.window").Window
    block = sql.pmod(sql.xxhash64("customer_id"), sql.lit(blocks)).alias("block")
    rare = pairs if config.max_popularity is None else _rare(pairs, share=config.max_popularity)
    other = pairs.sparkSession.range(blocks).toDF("other")
    placed = rare.select("customer_id", "product_id", block).crossJoin(other)
    targets = placed.toDF("target", "product", "of", "among").groupBy("of", "among")
    sources = placed.toDF("source", "product", "among", "of").groupBy("of", "among")
    counted = replace(config, max_popularity=None)  # a block does not know how popular a product is

    def edges_of(target: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
        ends = target["target"], source["source"]
        baskets = Baskets.of(pd.concat(ends), pd.concat([target["product"], source["product"]]))
        of, among = (np.sort(baskets.customers.get_indexer(pd.Index(end.unique()))) for end in ends)
        found = co_shoppers(baskets.bought, config=counted, threads=1, targets=of, sources=among)
        return _named(found, baskets.customers)

    found = targets.cogroup(sources).applyInPandas(edges_of, _schema(pairs))
    place = sql.row_number().over(window.partitionBy("target").orderBy(sql.desc("jaccard"), "source"))
    return found.withColumn("place", place).where(sql.col("place") <= config.top_k).drop("place")


def _rare(pairs: "DataFrame", *, share: float) -> "DataFrame":
    # Without the products that more than this share of the buyers have bought.
    most = share * pairs.select("customer_id").distinct().count()
    counts = pairs.groupBy("product_id").count()
    return pairs.join(counts.where(counts["count"] <= most), "product_id", "left_semi")


def _timed(found: "DataFrame", pairs: "DataFrame") -> "DataFrame":
    # An edge is known from the day the later of the two sets last grew.
    sql = pyspark("sql.functions")
    grown = pairs.groupBy("customer_id").agg(sql.max("time").alias("time"))
    of = {end: grown.toDF(end, f"{end}_grown") for end in ("source", "target")}
    joined = found.join(of["source"], "source").join(of["target"], "target")
    return joined.select("source", "target", sql.greatest("source_grown", "target_grown").alias("time"), "jaccard")


def _schema(pairs: "DataFrame") -> str:
    kind = pairs.schema["customer_id"].dataType.simpleString()
    return f"source {kind}, target {kind}, jaccard double"


def _named(edges: CoShoppers, customers: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(
        {"source": customers[edges.source], "target": customers[edges.target], "jaccard": edges.jaccard}
    )
