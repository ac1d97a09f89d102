"""Write features, labels and co-shopper edges of a shop's Parquet tables at some cutoffs, made by Spark.

python scripts/spark_tables.py path=data/worlds/shop out=data/spark/shop cutoffs=[2022-01-01,2023-01-01]
"""

import os
import sys
from pathlib import Path

from patron.config import entry
from patron.serving.spark_tables import SparkTablesConfig, write


def main(config: SparkTablesConfig) -> None:
    for part in write(config):
        print(f"{part.rows:>12,}  {part.path}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run the Python of the driver, unless told
    entry(main, schema=SparkTablesConfig, configs=Path(__file__).parents[1] / "configs", name="spark_tables")
