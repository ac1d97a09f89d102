"""Tables on Spark, local[2]: whatever SQL makes of them is what DuckDB makes, row for row and bit for bit.

It needs pyspark, sqlglot and Java, and is skipped where one of them is not there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from newcomer import Shell, composed
from pandas.testing import assert_frame_equal

from patron.config import Config, load
from patron.days import Horizon, epoch_seconds
from patron.features.asof import FeatureSpec, customer_features, order_features, product_features, specify
from patron.graph import spark as edges_module
from patron.graph.build import GraphConfig, build
from patron.graph.coshopper import CoShopperConfig
from patron.graph.spark import co_shopper_edges
from patron.pipeline import load_database
from patron.tables import spark as module
from patron.tables.database import Database
from patron.tables.engine import Tables, query
from patron.tables.schema import TABLES
from patron.tables.spark import SparkTables, of_frames, read_parquet
from patron.task.ltv import TaskConfig, labelled, population
from patron.testing import scrambled_after, shuffled, small_shop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytest.importorskip("sqlglot")
pytest.importorskip("pyspark.sql")

RETAIL = Path(__file__).parents[2] / "shared" / "data" / "online_retail_ii"
CUTOFF = date(2021, 4, 1)
EDGE_ORDER: Mapping[str, Any] = {
    "by": ["target", "jaccard", "source"], "ascending": [True, False, True], "ignore_index": True,
}  # fmt: skip
OnSpark = Callable[[Database], SparkTables]


@pytest.fixture(scope="session")
def on_spark(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> OnSpark:
    """The tables that have rows, written as Parquet and read by Spark."""

    def read(db: Database) -> SparkTables:
        return read_parquet(spark, path=str(stored(db, tmp_path_factory.mktemp("tables"))), name=db.name)

    return read


def stored(db: Database, folder: Path) -> Path:
    for name, table in db.tables.items():
        if table.num_rows:
            pq.write_table(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def little_tables(on_spark: OnSpark) -> SparkTables:
    return on_spark(little())


@pytest.fixture(scope="module")
def shop_tables(on_spark: OnSpark) -> SparkTables:
    return on_spark(small_shop())


@pytest.fixture(scope="module")
def config() -> Config:
    few = ["features.windows=[7,30,91,365]", "features.lags=2", "features.top_categories=3", "features.top_types=2"]
    return load(composed("config", *few), schema=Config)


def spec_of(db: Tables, config: Config, *cutoffs: date) -> FeatureSpec:
    return specify(db, config=config.features, horizon=config.task.horizon, cutoffs=cutoffs)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert_frame_equal(found, expected, check_exact=True)


def assert_features(found: SparkTables, expected: Database, *, cutoff: date, spec: FeatureSpec) -> None:
    """Every column, and two hops too, bit for bit; but for the entropy, a sum of logarithms, rounded to 12 decimals:
    Java's logarithm and that of C differ in the last bit of one in twenty."""
    groups = (*spec.groups, "twohop")
    past, db = found.upto(cutoff), expected.upto(cutoff)
    frames = [customer_features(one, cutoff=cutoff, spec=spec, groups=groups) for one in (past, db)]
    of_spark, of_duckdb = (frame.drop(columns="category_entropy", errors="ignore") for frame in frames)
    assert_same(of_spark, of_duckdb)
    entropy = [frame.filter(["category_entropy"]) for frame in frames]
    assert_frame_equal(*entropy, rtol=0, atol=1e-11)


# --- the dialect

WORDS: Mapping[str, list[Any]] = {
    "id": [1, 2, 3, 4],
    "time": [datetime(2020, 1, 1, 23, 59, 59, 900000), datetime(2020, 1, 2), None, datetime(2020, 1, 2, 0, 0, 1, 1)],
    "number": [2.95, 3.25, None, float("inf")],
    "text": ["007", "it's 5", "5\n", None],
}
PARAMS = {"cutoff": datetime(2020, 1, 2, 0, 0, 1), "word": "it's 5", "number": 2}


@pytest.mark.parametrize(
    "select",
    [
        "DATE_DIFF('second', time, $cutoff) AS seconds",  # seconds that are begun, not those that have passed
        "time <= $cutoff AS known, text = $word AS same, id < $number AS low",
        r"regexp_full_match(text, '\d+') AS whole, regexp_replace(text, '\D', '', 'g') AS digits",
        "isfinite(number) AS finite, isfinite(CAST('NaN' AS DOUBLE)) AS nan",
        "TRY_CAST(text AS DOUBLE) AS value, TRY_CAST('2020-02-30' AS TIMESTAMP) AS no_day",
        "7 / id AS share, CAST(id AS DOUBLE) / NULLIF(id - 1, 0) AS ratio",
    ],
)
def test_sql_says_the_same_on_both(little_tables: SparkTables, select: str) -> None:
    asked = pa.table({name: pa.array(values) for name, values in WORDS.items()})
    params = {name: value for name, value in PARAMS.items() if f"${name}" in select}
    text = f"SELECT id, {select} FROM asked ORDER BY id"
    found, expected = (query(db, text, asked=asked, **params).to_pylist() for db in (little_tables, little()))
    assert repr(found) == repr(expected)  # NaN is NaN


def test_a_median_of_two_is_the_same_to_the_last_bit(little_tables: SparkTables) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (500, 2)).round(2)
    asked = pa.table({"id": np.repeat(np.arange(500), 2), "value": values.ravel()})
    text = "SELECT id, MEDIAN(value) AS value FROM asked GROUP BY id ORDER BY id"
    found, expected = (query(db, text, asked=asked) for db in (little_tables, little()))
    assert found["value"].to_pylist() == expected["value"].to_pylist()


def test_a_common_table_hides_a_table_and_a_param_needs_a_value(little_tables: SparkTables) -> None:
    hides = "WITH lines AS (SELECT * FROM orders), orders AS (SELECT 7 AS n) SELECT n, orders.n AS m FROM orders"
    assert little_tables.query(hides).to_pylist() == [{"n": 7, "m": 7}]
    with pytest.raises(KeyError, match="cutoff"):
        little_tables.query("SELECT * FROM orders WHERE order_date <= $cutoff")


# --- tables


def little() -> Database:
    """Dirt that both engines must take alike: an order on the cutoff and one a second later, sub-seconds, amounts of
    four decimals, an order without items, items of an order that is still to come, ids with zeros in front, somebody
    who orders before the registration, somebody without one, a column that is not canonical; no other tables."""
    at = midnight = datetime(2021, 4, 1)
    orders = [
        ("01", "a", datetime(2021, 1, 5, 12, 0, 0, 750000)),
        ("1", "a", datetime(2021, 2, 1, 8, 30)),
        ("02", "a", midnight),
        ("03", "b", at.replace(second=1)),
        ("04", "c", datetime(2021, 3, 31, 23, 59, 59, 999999)),
        ("05", "c", datetime(2021, 1, 1)),
        ("06", "b", datetime(2021, 12, 1)),
    ]
    items = [
        ("01", "x", 3.0, 1.2345, 3.7035),
        ("01", "y", 1.0, 10.0, 9.5),
        ("1", "x", 1.0, 0.3333, 0.3333),
        ("02", None, None, None, 7.0001),
        ("03", "y", 2.0, 8.0, 16.0),
        ("05", "x", 7.0, 1.1111, 7.7777),
        ("05", "y", 1.0, 12.05, 12.05),
        ("06", "x", 1.0, 1.0, 1.0),
        ("04", "z", 1.0, 2e6, 1234567.8901),  # its square has 8 decimals and 13 digits before them
    ]
    customers = [
        ("a", None, 31),
        ("b", datetime(2021, 4, 2), 45),
        ("c", datetime(2021, 6, 1), None),  # it has ordered before
        ("d", datetime(2021, 1, 1), 52),
    ]
    names = {
        "orders": ("order_id", "customer_id", "order_date"),
        "order_items": ("order_id", "product_id", "quantity", "price", "amount"),
        "customers": ("customer_id", "registration_date", "age"),
    }
    rows: Mapping[str, list[Any]] = {"orders": orders, "order_items": items, "customers": customers}
    tables = {
        name: pa.table(dict(zip(columns, map(pa.array, zip(*rows[name], strict=True)), strict=True)))
        for name, columns in names.items()
    }
    return Database("little", tables)


@pytest.mark.parametrize(("name", "make"), [("little_tables", little), ("shop_tables", small_shop)])
def test_what_is_known_at_a_cutoff_is_the_same(
    request: pytest.FixtureRequest, name: str, make: Callable[[], Database]
) -> None:
    db: Database = make()
    tables: SparkTables = request.getfixturevalue(name)
    assert (tables.first_day, tables.last_day, tables.read_until) == (db.first_day, db.last_day, db.read_until)
    past = tables.upto(CUTOFF)
    assert tables.upto(CUTOFF) is past is past.upto(CUTOFF)
    assert (past.known_until, past.read_until, past.last_day) == (CUTOFF, db.read_until, db.upto(CUTOFF).last_day)
    for name in TABLES:
        expected = db.upto(CUTOFF)[name]
        assert past.schema(name).names == expected.column_names
        ordered = ", ".join(f'"{column}"' for column in expected.column_names)
        found, known = (query(one, f"SELECT * FROM {name} ORDER BY {ordered}") for one in (past, db.upto(CUTOFF)))
        assert found.to_pylist() == known.to_pylist(), name


def test_dirt_is_taken_alike(little_tables: SparkTables, config: Config) -> None:
    db, tables = little(), little_tables
    spec = spec_of(db, config, CUTOFF)
    assert spec_of(tables, config, CUTOFF) == spec
    assert_features(tables, db, cutoff=CUTOFF, spec=spec)
    task = replace(config.task, horizon=Horizon(60, "days"), population=None)
    for target in ("net", "gross", "orders", "order_value", "churn"):
        asked = replace(task, target=target)
        found, expected = (labelled(one, cutoff=CUTOFF, config=asked) for one in (tables, db))
        assert_same(found.frame, expected.frame)
        assert found.floored == expected.floored


def test_the_future_reaches_no_feature_edge_or_population(on_spark: OnSpark, config: Config) -> None:
    """Of a shop with another future and rows in another order, Spark makes what DuckDB makes of the shop itself."""
    db = small_shop()
    other = on_spark(shuffled(scrambled_after(db, cutoff=CUTOFF)))
    spec = spec_of(db, config, CUTOFF)
    assert spec_of(other.upto(CUTOFF), config, CUTOFF) == spec
    assert_features(other, db, cutoff=CUTOFF, spec=spec)
    groups = [group for group in spec.groups if group != "attributes"]
    of_spark, of_duckdb = (
        customer_features(one.upto(CUTOFF), cutoff=CUTOFF, spec=spec, groups=groups).select_dtypes("number").fillna(-1)
        for one in (other, db)
    )
    assert np.abs(of_spark.to_numpy() - of_duckdb.to_numpy()).max() == 0.0
    rows = [population(one, cutoff=CUTOFF, config=config.task).frame for one in (other, db)]
    assert_same(*rows)
    assert_same(edges_on_spark(other, EDGES_CONFIG, pairs=BROADCAST), edges_of_build(db, EDGES_CONFIG))


def test_labels_of_every_target_products_and_orders_are_the_same(shop_tables: SparkTables, config: Config) -> None:
    db, tables = small_shop(), shop_tables
    spec = spec_of(db, config, CUTOFF)
    for target in ("net", "margin", "order_value"):
        task: TaskConfig = replace(
            config.task,
            target=target,
            horizon=Horizon(60, "days"),
            horizons=(Horizon(30, "days"), Horizon(4, "months")),
        )
        found, expected = (labelled(one, cutoff=CUTOFF, config=task) for one in (tables, db))
        assert_same(found.frame, expected.frame)
    past, known = tables.upto(CUTOFF), db.upto(CUTOFF)
    for key in ("product_id", "category_id"):
        made = [product_features(one, cutoff=CUTOFF, spec=spec, key=key) for one in (past, known)]
        assert_same(*made)
    assert_same(*[order_features(one, cutoff=CUTOFF) for one in (past, known)])


# --- co-shoppers

EDGES_CONFIG = CoShopperConfig(threshold=0.1, top_k=4, min_products=2, max_popularity=None)
BROADCAST, BLOCKS = 10**9, 500  # pairs a task may hold; the small shop has more than 500


def edges_on_spark(tables: SparkTables, config: CoShopperConfig, *, pairs: int) -> pd.DataFrame:
    found = co_shopper_edges(tables.upto(CUTOFF), config=config, pairs_per_task=pairs).toArrow().to_pandas()
    known = {"time": epoch_seconds(found["time"]), "jaccard": found["jaccard"].astype(np.float32)}
    return found[["target", "source"]].assign(**known).sort_values(**EDGE_ORDER)


def edges_of_build(db: Database, config: CoShopperConfig) -> pd.DataFrame:
    """`target, source` as ids, `time` in seconds, `jaccard`: what the graph of `db` holds."""
    only = GraphConfig(
        tables=None, relations=("co_shopper",), half_life_days=90, co_shopper=config, shuffled=False, cache=None
    )
    data = build(db.upto(CUTOFF), config=only)
    edges, ids = data["customer", "co_shopper", "customer"], data["customer"].ids
    source, target = (ids[end] for end in edges.edge_index.numpy())
    known = {"time": edges.time.numpy(), "jaccard": edges.jaccard.numpy()}
    return pd.DataFrame({"target": target, "source": source, **known}).sort_values(**EDGE_ORDER)


@pytest.mark.parametrize("popularity", [None, 0.25])
def test_edges_are_those_of_the_graph_by_either_way(shop_tables: SparkTables, popularity: float | None) -> None:
    config = replace(EDGES_CONFIG, max_popularity=popularity)
    expected = edges_of_build(small_shop(), config)
    assert len(expected) > 50
    assert expected.groupby("target").size().max() == config.top_k
    for pairs in (BROADCAST, BLOCKS):
        assert_same(edges_on_spark(shop_tables, config, pairs=pairs), expected)


def test_blocks_are_taken_when_the_pairs_are_too_many(
    little_tables: SparkTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = little_tables.upto(CUTOFF)  # a bought x and y, c bought x, y and z: 5 pairs
    taken: list[int] = []
    monkeypatch.setattr(edges_module, "_by_broadcast", lambda pairs, *, config: taken.append(0) or empty_of(pairs))
    monkeypatch.setattr(
        edges_module, "_in_blocks", lambda pairs, *, config, blocks: taken.append(blocks) or empty_of(pairs)
    )
    for pairs in (5, 4, 1):
        co_shopper_edges(tables, config=EDGES_CONFIG, pairs_per_task=pairs)
    assert taken == [0, 3, 10]


def empty_of(pairs: "DataFrame") -> "DataFrame":
    return pairs.sparkSession.createDataFrame([], "source string, target string, jaccard double")


# --- what is refused


def test_tables_that_are_not_what_patron_needs_are_refused(spark: "SparkSession", tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no customers\.parquet, orders\.parquet; patron needs them"):
        read_parquet(spark, path=str(tmp_path), name="none")
    frames = {name: spark.createDataFrame(little()[name]) for name in ("customers", "orders")}
    lacks = frames | {"orders": frames["orders"].drop("order_date"), "baskets": frames["orders"]}
    with pytest.raises(ValueError, match=r"baskets is not canonical; table orders has no column order_date; it has "):
        of_frames(lacks, name="lacks")
    nothing = frames | {"orders": frames["orders"].limit(0)}
    with pytest.raises(ValueError, match="table orders of 'nothing' has no rows; choose a later cutoff or check"):
        of_frames(nothing, name="nothing")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        with pytest.raises(ValueError, match=r"counts time in Asia/Tokyo; set spark\.sql\.session\.timeZone=UTC"):
            of_frames(frames, name="late")
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_without_spark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pyspark and sqlglot is not installed; pip install 'patron\[spark\]'"):
        module.session("patron")


# --- the script

SMALL = [
    "task=90d",
    "task.population=9m",
    "features.windows=[30,90]",
    "features.lags=1",
    "features.groups=[rfm,windows,loyalty]",
]
SMALL += ["graph.co_shopper.top_k=4"]


def test_the_script_writes_a_folder_a_cutoff(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, shell, config = small_shop(), Shell(tmp_path, monkeypatch), load(composed("config", *SMALL), schema=Config)
    (tmp_path / "tables").mkdir()
    stored(db, tmp_path / "tables")
    out = tmp_path / "made"  # whole paths: Spark is running, and in another folder
    line = ["spark_tables", f"path={tmp_path / 'tables'}", f"out={out}", *SMALL]
    shell(*line, "cutoffs=[2021-04-01,2021-05-01]").refused("label window (2021-05-01, 2021-07-30] is not closed")
    assert not out.exists()
    said = shell(*line, "cutoffs=[2021-04-01,2021-01-01]")
    assert said.code == 0, said.err
    cutoffs = [date(2021, 1, 1), CUTOFF]
    spec = specify(db, config=config.features, horizon=config.task.horizon, cutoffs=cutoffs)
    for cutoff in cutoffs:
        made = {name: out / name / f"cutoff={cutoff}" for name in ("features", "labels", "co_shoppers")}
        assert all((folder / "_SUCCESS").exists() for folder in made.values())
        features, labels = (pd.read_parquet(folder, partitioning=None) for folder in (made["features"], made["labels"]))
        expected = customer_features(db.upto(cutoff), cutoff=cutoff, spec=spec).reset_index()
        assert_same(features, expected)
        assert_same(labels, labelled(db, cutoff=cutoff, config=config.task).frame.drop(columns="cutoff"))
    number = len(edges_of_build(db, replace(config.graph.co_shopper, top_k=4)))
    assert f"{number:>12,}  {out}/co_shoppers/cutoff=2021-04-01" in said.out
    shell(*line, "cutoffs=[2021-01-01]").refused("made is there already; remove it, or choose another folder")


# --- whole shops


@pytest.mark.parametrize(
    ("data", "cutoffs"),
    [
        pytest.param(["data=shop"], (date(2022, 1, 1), date(2022, 9, 1)), id="shop"),
        pytest.param(
            ["data=online_retail_ii", f"data.path={RETAIL}"], (date(2010, 12, 1), date(2011, 9, 1)), id="retail",
            marks=pytest.mark.skipif(not RETAIL.is_dir(), reason="the file of Online Retail II is not here"),
        ),
    ],
)  # fmt: skip
def test_a_whole_shop_is_the_same(on_spark: OnSpark, data: list[str], cutoffs: tuple[date, date]) -> None:
    config = load(composed("config", *data, "task=90d"), schema=Config)
    db = load_database(config.data)
    tables, spec, cutoff = on_spark(db), spec_of(db, config, *cutoffs), cutoffs[1]
    assert_features(tables, db, cutoff=cutoff, spec=spec)
    found, expected = (labelled(one, cutoff=cutoff, config=config.task) for one in (tables, db))
    assert_same(found.frame, expected.frame)
    assert found.floored == expected.floored
