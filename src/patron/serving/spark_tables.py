"""Features, labels and co-shopper edges of whole cutoffs, made by Spark and written as Parquet, a folder a cutoff:

`<out>/features/cutoff=2023-01-01/` · `<out>/labels/cutoff=…/` · `<out>/co_shoppers/cutoff=…/`

They are those of `customer_features`, `labelled` and `build` on a `Database`, row for row. Each folder is written by
Spark's own commit protocol and is whole if it holds `_SUCCESS`. What is NaN in pandas is NULL.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
import pyarrow as pa
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.features.asof import FeatureConfig, FeatureSpec, customer_features, specify
from patron.graph.build import GraphConfig
from patron.graph.spark import co_shopper_edges
from patron.tables.spark import SparkTables, exists, read_parquet, session
from patron.tables.spark_checks import check
from patron.task.ltv import TaskConfig, labelled, require_closed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("patron")


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SparkTablesConfig:
    """Where the tables are, `<path>/<table>.parquet`, and what is made of them at each cutoff, below `out`.

    `validation` of null is for tables that have been validated. Columns are those that the first cutoff supports. Edges
    are made if co_shopper is among the relations of the graph; `pairs_per_task` is how many pairs of a customer and a
    product a task may hold. `labels` of false leaves labels out.
    """

    name: Annotated[str, Field(min_length=1)]
    path: str
    out: str
    cutoffs: Annotated[tuple[date, ...], Field(min_length=1)]
    validation: Literal["strict"] | None
    labels: bool
    task: TaskConfig
    features: FeatureConfig
    graph: GraphConfig
    pairs_per_task: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Part:
    """One table at one cutoff: where it is, and its rows."""

    path: str
    rows: int


def write(config: SparkTablesConfig) -> Iterator[Part]:
    """Each part when it has been written. Raises FileExistsError if there is something at `out`, ValueError for tables
    that `read_parquet` refuses and for a label window that is still open, and InvalidTables: nothing is written then.
    What is odd about the tables goes to the log."""
    spark = session(config.name)
    if exists(spark, config.out):
        raise FileExistsError(f"{config.out} is there already; remove it, or choose another folder")
    tables, cutoffs = read_parquet(spark, path=config.path, name=config.name), sorted(set(config.cutoffs))
    if config.validation and (report := check(tables, today=date.today())).violations:
        log.warning("%s", report)
    for cutoff in cutoffs if config.labels else ():
        require_closed(tables, cutoff=cutoff, config=config.task)
    spec = specify(tables, config=config.features, horizon=config.task.horizon, cutoffs=cutoffs)
    for cutoff in cutoffs:
        for name, frame in _made(tables, cutoff=cutoff, spec=spec, config=config):
            path = f"{config.out}/{name}/cutoff={cutoff}"
            frame.write.parquet(path)
            yield Part(path, spark.read.parquet(path).count())


def _made(
    tables: SparkTables, *, cutoff: date, spec: FeatureSpec, config: SparkTablesConfig
) -> Iterator[tuple[str, "DataFrame"]]:
    past = tables.upto(cutoff)
    features = customer_features(past, cutoff=cutoff, spec=spec).reset_index()
    yield "features", _on_spark(features, tables)
    if config.labels:
        rows = labelled(tables, cutoff=cutoff, config=config.task)
        yield "labels", _on_spark(rows.frame.drop(columns="cutoff"), tables)  # the folder says it
    if "co_shopper" in config.graph.chosen:
        edges = co_shopper_edges(past, config=config.graph.co_shopper, pairs_per_task=config.pairs_per_task)
        yield "co_shoppers", edges


def _on_spark(frame: pd.DataFrame, tables: SparkTables) -> "DataFrame":
    return tables.session.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False))
