"""patron beside other packages on real data, in one run: BTYD beside lifetimes, message passing beside PyG, the fit of
the GNN beside that of LightGBM, and all of it, from tables to scores, beside kumo-engine, which gets the same rows and
an environment of its own."""

import importlib.metadata
import json
import platform
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from scipy.stats import spearmanr

from patron.config import Config
from patron.estimators import EstimatorConfig, build
from patron.evaluation.lifetimes import Job, beside_lifetimes, histories, jobs
from patron.features.asof import customer_features, specify
from patron.pipeline import load_database
from patron.speed import kumo_fit
from patron.speed.measure import Measured, measured
from patron.speed.opponents import OpponentsConfig, messages
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds, truth

KUMO = "1.0.0"
# What kumo-engine reads: orders with what they come to; items with a key and a time of their own.
_TABLES = {
    "customers": """
SELECT c.*, coalesce(registration_date, first) AS signup_date FROM customers c
JOIN (SELECT customer_id, min(order_date) AS first FROM orders GROUP BY ALL) USING (customer_id)""",
    "orders": """
SELECT orders.*, coalesce(total, 0) AS total FROM orders
LEFT JOIN (SELECT order_id, sum(amount) AS total FROM order_items GROUP BY ALL) USING (order_id)""",
    "order_items": """
SELECT row_number() OVER () AS item_id, order_items.*, order_date FROM order_items JOIN orders USING (order_id)""",
    "products": "SELECT * FROM products",
}  # fmt: skip


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PeersConfig(Config):
    """An experiment with the estimators `lightgbm` and `gnn`; figures go to `results`. Environments are made in
    `peers`, if they are not there. `quick` asks kumo-engine for one short trial only: a test that it runs, and no
    comparison."""

    opponents: OpponentsConfig
    repeats: int
    peers: Path
    quick: bool
    results: Path


@dataclass(frozen=True)
class Row:
    """One comparison: seconds and, where there is one, the Spearman of either; a `note` says why a peer has none."""

    what: str
    peer: str
    version: str
    patron_seconds: float
    peer_seconds: float = float("nan")
    patron_spearman: float = float("nan")
    peer_spearman: float = float("nan")
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times as long the peer took."""
        return self.peer_seconds / self.patron_seconds


def beside_peers(config: PeersConfig) -> Iterator[Row]:
    """Each comparison when it is done."""
    known = histories()
    for job in jobs(known):
        yield _btyd_fit(job, repeats=config.repeats)
    yield _btyd_scores(known, repeats=config.repeats)
    for compared in messages(config.opponents):
        seconds = compared.theirs.seconds if compared.theirs else float("nan")
        yield Row(compared.what, "torch-geometric", _version("torch-geometric"), compared.ours.seconds, seconds)
    yield from _beside_models(config)


def _btyd_fit(job: Job, *, repeats: int) -> Row:
    found = beside_lifetimes(job, repeats=repeats)
    return Row(f"fit {job.what}, CDNOW", "lifetimes", _version("lifetimes"), found["patron_seconds"],
               found["lifetimes_seconds"])  # fmt: skip


def _btyd_scores(known: pd.DataFrame, *, repeats: int) -> Row:
    # Purchases of a year, of every customer, at one optimum.
    job = jobs(known)[0]
    ours, theirs = job.fit(*job.columns, penalty=0.0), job.theirs().fit(*job.columns)
    columns = dict(zip(("frequency", "recency", "T"), job.columns, strict=True))
    one = measured(lambda: ours.expected_purchases(365, **columns), repeats=repeats)
    other = measured(
        lambda: theirs.conditional_expected_number_of_purchases_up_to_time(365, *job.columns), repeats=repeats
    )
    return Row("score BG/NBD, CDNOW", "lifetimes", _version("lifetimes"), one.seconds, other.seconds)


def _beside_models(config: PeersConfig) -> Iterator[Row]:
    db = load_database(config.data)
    *_, fold = folds(db, task=config.task, split=config.split)
    past, answer = db.upto(fold.cutoff), truth(db, fold=fold, task=config.task)
    features = measured(lambda: _features(past, fold, config))  # both take them from here
    fits = {name: _fitted(config.estimators[name], config, past=past, fold=fold) for name in ("lightgbm", "gnn")}
    ranks = {name: _spearman(fit.value, answer) for name, fit in fits.items()}
    yield Row("fit and score the GNN", "LightGBM", _version("lightgbm"), fits["gnn"].seconds,
              fits["lightgbm"].seconds, ranks["gnn"], ranks["lightgbm"])  # fmt: skip
    seconds = {name: features.seconds + fit.seconds for name, fit in fits.items()}
    said, took, note = _kumo(past, fold, config)
    theirs = float("nan") if said is None else _spearman(said, answer)
    for name in fits:
        what = f"from tables to scores, {config.name}: {name}"
        yield Row(what, "kumo-engine", KUMO, seconds[name], took, ranks[name], theirs, note)


def _features(past: Database, fold: Fold, config: Config) -> None:
    cutoffs = (*fold.refit.cutoffs, fold.cutoff)
    spec = specify(past, config=config.features, horizon=config.task.horizon, cutoffs=fold.refit.cutoffs)
    for cutoff in cutoffs:
        customer_features(past.upto(cutoff), cutoff=cutoff, spec=spec)


def _fitted(chosen: EstimatorConfig, config: Config, *, past: Database, fold: Fold) -> Measured[pd.Series]:
    # The rank scores of the test rows.
    def call() -> pd.Series:
        with tempfile.TemporaryDirectory() as folder:
            model = build(chosen, config.setting(Path(folder)))
            model = model.fit(past, train=fold.train, val=fold.val, refit=fold.refit)
            return model.predict(past, rows=fold.test)["rank_score"]

    return measured(call)


def _spearman(said: pd.Series, answer: TaskTable) -> float:
    return float(spearmanr(said, answer.label).statistic)


def _kumo(past: Database, fold: Fold, config: PeersConfig) -> tuple[pd.Series | None, float, str]:
    # What kumo-engine says of the test rows, after how many seconds; or why it does not.
    try:
        python = _environment(config.peers / f"kumo-engine-{KUMO}", packages=[f"kumo-engine=={KUMO}"])
        with tempfile.TemporaryDirectory() as parent:
            folder, out = Path(parent) / "tables", Path(parent) / "said.parquet"
            _write(past, fold, folder=folder)
            words = [str(out), str(config.task.horizon.days_after(fold.cutoff)), *(["quick"] if config.quick else [])]
            line = [str(python), kumo_fit.__file__, str(folder), *words]
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
            said = pd.read_parquet(out)["prediction"]
    except subprocess.CalledProcessError as error:
        return None, float("nan"), f"could not be run: {str(error.stderr).strip().splitlines()[-1:]}"
    note = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return said, float(sum(seconds.values())), f"{note}{'; one short trial' if config.quick else ''}"


def _environment(folder: Path, *, packages: list[str]) -> Path:
    # A Python with the packages, and the torch that runs here: another one would bring gigabytes for a GPU.
    python = folder / "bin" / "python"
    if not (folder / "READY").exists():
        venv.create(folder, with_pip=True, clear=True)
        for package in (f"torch=={_version('torch').split('+')[0]}", *packages):
            line = [str(python), "-m", "pip", "install", "--quiet", package]
            subprocess.run(line, capture_output=True, text=True, check=True)
        (folder / "READY").write_text(f"Python {platform.python_version()}\n")
    return python


def _write(past: Database, fold: Fold, *, folder: Path) -> None:
    # The tables as known at the test cutoff, the rows to learn from, and those to predict, in the order of the fold.
    folder.mkdir()
    with duckdb.connect() as connection:
        for name, table in past.tables.items():
            connection.register(name, table)
        for name, sql in _TABLES.items():
            connection.sql(sql).df().dropna(axis="columns", how="all").to_parquet(folder / f"{name}.parquet")
    labelled = pd.concat([_rows(fold.train).assign(SPLIT=0), _rows(fold.val).assign(SPLIT=1)])
    labelled.to_parquet(folder / "labelled.parquet", index=False)
    _rows(fold.test).to_parquet(folder / "to_predict.parquet", index=False)


def _rows(table: TaskTable) -> pd.DataFrame:
    names = {"customer_id": "ENTITY1", "cutoff": "TIMESTAMP", "label": "TARGET1"}
    return table.frame[[name for name in names if name in table.frame]].rename(columns=names)


def _version(package: str) -> str:
    return importlib.metadata.version(package)
