"""The whole way, as a newcomer goes it: two CSV files, ten lines of YAML, `python scripts/...`.

Scripts run in this process, which has paid for the imports: a mistake ends with one message and leaves nothing.
Training and scoring run in processes of their own too.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from newcomer import EXPERIMENT, ROOT, SHARED, SMALL, Said, Shell, read_csv, write_experiment, write_shop

from patron.estimators import LightGBM
from patron.estimators.base import QUANTILES
from patron.evaluation.evaluate import COLUMNS
from patron.evaluation.metrics import METRICS
from patron.files import lock
from patron.serving.parts import Parts
from patron.tables.database import Database
from patron.task.ltv import TaskTable

SCORES = ["customer_id", "cutoff", "ltv_mean", "ltv_median", *QUANTILES, "rank", "decile"]
README = "# My shop\n\nbefore\n<!-- results:my_shop:begin -->\nold table\n<!-- results:my_shop:end -->\nafter\n"
MY_SHOP = ["--config-dir", "my", "experiment=my_shop"]


@dataclass(frozen=True)
class Newcomer:
    """A folder with a shop in it, after training, scoring and the benchmark; what each of them said."""

    here: Path
    train: Said
    score: Said
    benchmark: Said
    trained: dict[Path, int]  # each DONE, and when train wrote it

    @property
    def run(self) -> Path:
        """The GNN's."""
        return self.here / "runs" / "my_shop" / "gnn-seed0"


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    here = tmp_path_factory.mktemp("newcomer")
    write_shop(here / "shop")
    write_experiment(here / "my", data=Path("shop"))
    (here / "README.md").write_text(README)
    with pytest.MonkeyPatch.context() as monkeypatch:
        shell = Shell(here, monkeypatch)
        train = shell("train", *MY_SHOP, *SMALL)
        assert train.code == 0, train.err
        score = shell("score", "run=runs/my_shop/gnn-seed0", "cutoff=2021-06-01")
        assert score.code == 0, score.err
        trained = {path: path.stat().st_mtime_ns for path in sorted(here.glob("runs/my_shop/*/DONE"))}
        benchmark = shell("benchmark", *MY_SHOP, *SMALL, "results=tables", "readme=README.md")
    assert benchmark.code == 0, benchmark.err
    return Newcomer(here, train, score, benchmark, trained)


@pytest.fixture
def shell(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Scripts in this process, in the newcomer's folder."""
    return Shell(newcomer.here, monkeypatch)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# What comes out


def test_train_prints_the_table_and_leaves_two_finished_runs(newcomer: Newcomer) -> None:
    for part in ("lightgbm", "gnn", "Spearman", "n = ", "python scripts/train.py", "tensorboard --logdir runs/my_shop"):
        assert part in newcomer.train.out
    for name in ("lightgbm-seed0", "gnn-seed0"):
        expected = {"config.yaml", "report.json", "predictions.parquet", "estimator.joblib", "DONE"}
        assert expected <= files(newcomer.here / "runs" / "my_shop" / name)
    assert {"checkpoint.ckpt", "best.ckpt", "last.ckpt"} <= files(newcomer.run)
    assert not [name for name in files(newcomer.here) if "partial" in name or name.endswith(".writing")]


def python(here: Path, script: str, *arguments: str) -> Said:
    """A script in a process of its own, in the folder `here`."""
    wide = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    line = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]
    done = subprocess.run(line, cwd=here, env=wide, capture_output=True, text=True)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_processes_of_their_own_say_the_same(newcomer: Newcomer, tmp_path: Path) -> None:
    write_shop(tmp_path / "shop")
    write_experiment(tmp_path / "my", data=Path("shop"))
    train = python(tmp_path, "train", *MY_SHOP, *SMALL)
    score = python(tmp_path, "score", "run=runs/my_shop/gnn-seed0", "cutoff=2021-06-01")
    assert (train.code, score.code) == (0, 0), train.err + score.err
    assert score.out == newcomer.score.out


def test_nothing_but_runs_and_results_is_left(newcomer: Newcomer) -> None:
    assert {path.name for path in newcomer.here.iterdir()} <= {"shop", "my", "README.md", "runs", "tables"} | {"new"}


def test_scores(newcomer: Newcomer) -> None:
    scores = pd.read_parquet(newcomer.run / "scores" / "scores_2021-06-01.parquet")
    assert [column for column in scores if column != "p_active"] == SCORES
    assert (scores["cutoff"] == pd.Timestamp("2021-06-01")).all()
    assert sorted(scores["rank"]) == list(range(1, len(scores) + 1))
    assert sorted(scores["decile"].unique()) == list(range(1, 11))
    assert scores.sort_values("rank")["decile"].is_monotonic_increasing
    assert scores.sort_values("rank")["ltv_median"].iloc[[0, -1]].diff().iloc[-1] < 0  # 1 is best
    assert scores["decile"].value_counts().between(len(scores) // 10, len(scores) // 10 + 1).all()
    assert ((scores["q10"] <= scores["ltv_median"]) & (scores["ltv_median"] <= scores["q90"])).all()
    assert (scores["ltv_mean"] >= 0).all()
    assert np.isfinite(scores[["ltv_mean", "ltv_median", *QUANTILES]]).all(axis=None)


def test_scores_are_of_everybody_who_bought_in_the_last_year(newcomer: Newcomer) -> None:
    scores = pd.read_parquet(newcomer.run / "scores" / "scores_2021-06-01.parquet")
    sales = read_csv(newcomer.here / "shop" / "sales.csv")
    recent = sales[(sales["Day"] > "2020-06-01") & (sales["Day"] <= "2021-06-01")]
    assert scores["customer_id"].is_unique
    assert set(scores["customer_id"]) == set(recent["Person"])


def test_scores_as_csv_are_the_same(newcomer: Newcomer) -> None:
    parquet, csv = (newcomer.run / "scores" / f"scores_2021-06-01.{kind}" for kind in ("parquet", "csv"))
    table = read_csv(csv)
    assert table["customer_id"].str.fullmatch(r"00\d\d").all()
    pd.testing.assert_frame_equal(table, pd.read_parquet(parquet), check_dtype=False, rtol=1e-12)
    assert str(csv.relative_to(newcomer.here)) in newcomer.score.out
    assert f"{len(table)} customers" in newcomer.score.out


def test_benchmark_writes_the_long_table(newcomer: Newcomer) -> None:
    table = pd.read_csv(newcomer.here / "tables" / "my_shop.csv")
    assert tuple(table.columns) == COLUMNS
    assert table[["data", "task", "split"]].drop_duplicates().to_numpy().tolist() == [["shop", "90d", "temporal"]]
    headline = table[(table["fold"] == "mean") & (table["seed"] == "mean") & (table["slice"] == "all")]
    for name in ("lightgbm", "gnn"):
        rows = headline[headline["estimator"] == name].set_index("metric")
        assert set(METRICS) <= set(rows.index)
        assert rows.loc["spearman", "lo"] <= rows.loc["spearman", "value"] <= rows.loc["spearman", "hi"]
    assert "spearman_minus_lightgbm" in set(headline.loc[headline["estimator"] == "gnn", "metric"])
    (line,) = table["command"].unique()
    assert line.startswith("python scripts/benchmark.py --config-dir my experiment=my_shop 'estimator=[lightgbm,gnn]'")
    assert "++" not in line


def test_benchmark_takes_finished_runs_as_they_are(newcomer: Newcomer) -> None:
    """It prints the numbers that train printed, and leaves its runs alone."""
    rows = [
        [line.split() for line in said.out.splitlines() if "gnn " in line]
        for said in (newcomer.train, newcomer.benchmark)
    ]
    assert rows[0] == rows[1] != []
    assert {path: path.stat().st_mtime_ns for path in newcomer.trained} == newcomer.trained
    assert len(newcomer.trained) == 2


def test_benchmark_replaces_what_stands_between_the_markers(newcomer: Newcomer) -> None:
    head, rest = (newcomer.here / "README.md").read_text().split("<!-- results:my_shop:begin -->\n")
    table, tail = rest.split("<!-- results:my_shop:end -->\n")
    assert (head, tail) == ("# My shop\n\nbefore\n", "after\n")
    assert "old table" not in table
    for part in (
        "| estimator |",
        "| `lightgbm` |",
        "| `gnn` |",
        "Command: `python scripts/benchmark.py --config-dir my",
    ):
        assert part in table
    assert "wrote tables/my_shop.csv" in newcomer.benchmark.out
    assert "wrote README.md" in newcomer.benchmark.out


# Scoring again


@pytest.mark.parametrize("name", ["lightgbm", "gnn"])
def test_scores_at_the_test_cutoff_are_the_predictions_that_were_tested(
    shell: Shell, name: str, tmp_path: Path
) -> None:
    run = shell.here / "runs" / "my_shop" / f"{name}-seed0"
    said = shell("score", f"run={run}", "cutoff=2021-03-01", f"out={tmp_path}/scores")
    assert said.code == 0, said.err
    scores = pd.read_parquet(tmp_path / "scores" / "scores_2021-03-01.parquet")
    both = scores.merge(pd.read_parquet(run / "predictions.parquet"), on="customer_id", validate="1:1")
    assert len(both) == len(scores) > 30
    for column in ("ltv_mean", "ltv_median", *QUANTILES):
        np.testing.assert_array_equal(both[f"{column}_x"], both[f"{column}_y"])
    assert both.sort_values("rank")["rank_score"].is_monotonic_decreasing


@pytest.mark.parametrize("name", ["lightgbm", "gnn"])
def test_scores_in_parts_are_the_same(shell: Shell, name: str, tmp_path: Path) -> None:
    asked = [f"run={shell.here / 'runs' / 'my_shop' / f'{name}-seed0'}", "cutoff=2021-03-01"]
    whole = shell("score", *asked, f"out={tmp_path}/whole")
    parts = shell("score", *asked, f"out={tmp_path}/parts", "parts=3")
    assert (whole.code, parts.code) == (0, 0), parts.err
    assert files(tmp_path / "parts") == {"scores_2021-03-01"} | {
        f"scores_2021-03-01/part-0000{k}.parquet" for k in range(3)
    }
    one, three = pd.read_parquet(tmp_path / "whole" / "scores_2021-03-01.parquet"), pd.read_parquet(tmp_path / "parts")
    pd.testing.assert_frame_equal(three.sort_values("rank", ignore_index=True), one, rtol=1e-9)
    assert whole.out.splitlines()[:11] == parts.out.splitlines()[:11]


def test_scoring_goes_on_where_it_was_stopped(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the third of four parts; then two parts are predicted, and the scores are those of one go."""
    asked = ["run=runs/my_shop/lightgbm-seed0", "cutoff=2021-03-01", "parts=4"]
    predict, seen = LightGBM.predict, []

    def stops(self: LightGBM, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        seen.append(len(rows))
        if len(seen) == 3:
            raise OSError("the machine went down")
        return predict(self, db, rows=rows)

    monkeypatch.setattr(LightGBM, "predict", stops)
    shell("score", *asked, f"out={tmp_path}/stopped").refused("the machine went down")
    left = files(tmp_path / "stopped" / "scores_2021-03-01.parts")
    assert left == {"made_of.json", "part-00000.parquet", "part-00001.parquet"}
    other = shell("score", *asked, "parts=5", f"out={tmp_path}/stopped")
    other.refused("holds parts of other scores", "remove it")
    assert shell("score", *asked, f"out={tmp_path}/stopped").code == 0
    assert len(seen) == 3 + 2
    assert shell("score", *asked, f"out={tmp_path}/whole").code == 0
    stopped, whole = (pd.read_parquet(tmp_path / name) for name in ("stopped", "whole"))
    pd.testing.assert_frame_equal(stopped, whole)


def test_scores_in_parts_that_fail_at_the_end_leave_the_old_ones(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there, as they were, until all of the new ones are."""
    call = ["score", "run=runs/my_shop/lightgbm-seed0", "cutoff=2021-06-01", "parts=3", f"out={tmp_path}"]
    shell(*call)
    old = {path.name: path.read_bytes() for path in (tmp_path / "scores_2021-06-01").iterdir()}
    parts = Parts.__iter__

    def full(self: Parts) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
        yield next(parts(self))
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "__iter__", full)
        shell(*call).refused("No space left on device")
    assert {path.name: path.read_bytes() for path in (tmp_path / "scores_2021-06-01").iterdir()} == old
    assert shell(*call).code == 0
    assert files(tmp_path) == {"scores_2021-06-01", *(f"scores_2021-06-01/{name}" for name in old)}


def test_two_jobs_do_not_write_the_same_scores(shell: Shell, tmp_path: Path) -> None:
    call = ["score", "run=runs/my_shop/lightgbm-seed0", "cutoff=2021-06-01", f"out={tmp_path}"]
    with lock(tmp_path / "scores_2021-06-01", fix=""):
        for parts in (1, 2):
            shell(*call, f"parts={parts}").refused(
                "scores_2021-06-01 is in use by", "or choose another folder: out=..."
            )
        assert files(tmp_path) == {".scores_2021-06-01.lock"}
    assert files(tmp_path) == set()


def test_newer_tables_of_the_same_schema_are_scored(shell: Shell, tmp_path: Path) -> None:
    write_shop(tmp_path / "new", customers=90)
    said = shell(
        "score", "run=runs/my_shop/lightgbm-seed0", "cutoff=2021-06-01", f"data.path={tmp_path}/new", f"out={tmp_path}"
    )
    assert said.code == 0, said.err
    scores = read_csv(tmp_path / "scores_2021-06-01.csv")
    assert {f"00{number}" for number in range(80, 90)} & set(scores["customer_id"])
    assert list(scores["rank"]) == list(range(1, len(scores) + 1))


def test_a_benchmarks_run_can_be_scored(shell: Shell, tmp_path: Path) -> None:
    where = ["name=bench", f"runs={tmp_path}", f"results={tmp_path}", "readme=null"]
    made = shell("benchmark", *MY_SHOP, *SHARED, "estimator=[rfm]", *where)
    assert made.code == 0, made.err
    said = shell("score", f"run={tmp_path}/bench/rfm-seed0", "cutoff=2021-06-29")
    assert said.code == 0, said.err
    assert "scores_2021-06-29.csv" in files(tmp_path / "bench" / "rfm-seed0" / "scores")


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (["cutoff=2021-09-01"], ["cutoff 2021-09-01 is after the last order of 'shop' (2021-06-", "data.path=..."]),
        (["cutoff=2019-06-01"], ["nobody is in the population at cutoff 2019-06-01", "12m"]),
        (["cutoff=2021-6-1"], ["cutoff: '2021-6-1' is no date", "2017-10-01"]),
        (["run=shop", "cutoff=2021-06-01"], ["shop is not a run", "scripts/train.py"]),
        (["run=nowhere", "cutoff=2021-06-01"], ["nowhere is not a run"]),
        (["cutoff=2021-06-01", "data.path=nowhere"], ["nowhere"]),
        (["cutoff=2021-06-01", "data.paht=new"], ["data.paht: no such key; did you mean 'path'?"]),
    ],
    ids=lambda value: value[-1] if value[0].startswith(("cutoff=", "run=")) else "",
)
def test_scoring_says_what_is_wrong_and_leaves_nothing(
    shell: Shell, tmp_path: Path, wrong: list[str], parts: list[str]
) -> None:
    before = files(shell.here)
    said = shell("score", "run=runs/my_shop/lightgbm-seed0", *wrong, f"out={tmp_path}/scores")
    said.refused(*parts)
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []
    assert files(shell.here) == before


def test_an_unfinished_run_is_not_scored(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "stopped"
    shutil.copytree(shell.here / "runs" / "my_shop" / "lightgbm-seed0", run)
    (run / "DONE").unlink()
    before = files(tmp_path)
    shell("score", f"run={run}", "cutoff=2021-06-01").refused(f"run {run} is not done", "give the same command again")
    assert files(tmp_path) == before


# What the machine or the tables do not have


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_trainer_of_the_gpu_says_so(shell: Shell, tmp_path: Path) -> None:
    said = shell("train", *MY_SHOP, *SHARED, "trainer=gpu", "estimator=[gnn]", "name=gpu", f"runs={tmp_path}")
    said.refused("gpu")
    assert "DONE" not in files(tmp_path / "gpu" / "gnn-seed0")


def test_a_mapping_that_fits_no_column_names_every_one(shell: Shell, tmp_path: Path) -> None:
    text = EXPERIMENT.replace("order_id: Invoice", "order_id: Invioce").replace(
        "customer_id: Person, reg", "customer_id: Pers, reg"
    )
    write_experiment(tmp_path / "my", data=Path("shop"), text=text.replace("price: Each", "prise: Each"))
    said = shell("train", "--config-dir", str(tmp_path / "my"), "experiment=my_shop", *SMALL, f"runs={tmp_path}/runs")
    said.refused(
        "3 problem(s)", "table customers: shop/people.csv", "'Pers'", "Person", "table orders: shop/sales.csv",
        "'Invioce'", "Invoice", "no canonical column 'prise'", "price",
    )  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_dirty_tables_are_refused_with_the_whole_report(shell: Shell, tmp_path: Path) -> None:
    dirty = write_shop(tmp_path / "shop")
    people, sales = read_csv(dirty / "people.csv"), read_csv(dirty / "sales.csv")
    lost = ["0007", "0011"]
    orders = sales.loc[sales["Person"].isin(lost), "Invoice"].nunique()
    people[~people["Person"].isin(lost)].to_csv(dirty / "people.csv", index=False)
    sales.assign(Qty=sales["Qty"].where(sales.index != 3, -1)).to_csv(dirty / "sales.csv", index=False)
    write_experiment(tmp_path / "my", data=dirty)
    train = ["train", "--config-dir", str(tmp_path / "my"), "experiment=my_shop", *SMALL, f"runs={tmp_path}/runs"]
    said = shell(*train)
    said.refused(
        "tables of 'shop', mode='strict'", "orders.customer_id", f" {orders} ", "order_items.quantity", "mend:"
    )
    assert not (tmp_path / "runs").exists()


# Ablations and sweeps, on a world

WORLD = [
    "data=tiny", "task=90d", "task.population=null", "split=temporal", "split.test=['2021-06-01']",
    "split.min_history_days=90", *SHARED, "split.max_cutoffs=1", "tables=[order_items,products]", "results=tables",
]  # fmt: skip
NET = ["estimators.gnn.model.channels=4", "estimators.gnn.model.num_layers=1"]
ABLATION = [*WORLD, *NET, "name=tiny", "leave_out_tables=[products]", "leave_out_relations=[]"]
SWEEP = [
    *WORLD, *NET, "values=[1]", "estimator=[lightgbm,gnn,oracle]", "estimators.lightgbm.max_trees=8",
    "estimators.lightgbm.params.num_threads=1", "estimators.lightgbm.params.min_data_in_leaf=5",
]  # fmt: skip


def test_ablation_prints_differences_and_leaves_table_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Shell(tmp_path, monkeypatch)("ablate", *ABLATION, "leave_out_groups=[]")
    assert said.code == 0, said.err
    for part in ("tiny: Spearman less that of everything", "without products"):
        assert part in said.out
    assert files(tmp_path / "tables") == {"ablation_tiny_gnn.csv", "ablation_tiny_gnn.png"}
    assert all(f"wrote tables/{name}" in said.out for name in files(tmp_path / "tables"))
    table = pd.read_csv(tmp_path / "tables" / "ablation_tiny_gnn.csv")
    assert tuple(table.columns) == COLUMNS
    assert set(table["estimator"]) == {"everything", "without products", "ceiling"}
    assert "spearman_minus_everything" in set(table["metric"])
    assert (tmp_path / "tables" / "ablation_tiny_gnn.png").read_bytes().startswith(b"\x89PNG")
    runs = tmp_path / "runs" / "tiny"
    done = {str(path.parent.relative_to(runs)) for path in runs.rglob("DONE")}
    assert done == {"gnn-seed0", "without_products/gnn-seed0"}


@pytest.mark.slow
def test_sweep_prints_differences_and_leaves_table_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Shell(tmp_path, monkeypatch)("sweep", *SWEEP)
    assert said.code == 0, said.err
    for part in ("graph_signal: Spearman less that of LightGBM", "gnn_co_shoppers", "oracle"):
        assert part in said.out
    assert files(tmp_path / "tables") == {"graph_signal.csv", "graph_signal.png"}
    table = pd.read_csv(tmp_path / "tables" / "graph_signal.csv")
    assert tuple(table.columns) == (*COLUMNS, "graph_signal")
    assert (table["graph_signal"] == 1).all()
    assert set(table["estimator"]) == {"lightgbm", "gnn", "gnn_co_shoppers", "oracle", "oracle_past", "ceiling"}
    assert (tmp_path / "tables" / "graph_signal.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("script", "wrong", "part"),
    [
        ("ablate", "leave_out_tabels=[products]", "leave_out_tabels: no such key; did you mean 'leave_out_tables'?"),
        ("ablate", "leave_out_groups=[rmf]", "leave_out_groups.0: "),
        ("ablate", "leave_out_groups=[loyalty]", "leave_out_groups: ['loyalty'] are not there to be left out"),
        ("ablate", "estimator=[gnn,lightgbm]", "an ablation is of one estimator, not ['gnn', 'lightgbm']"),
        ("sweep", "value=[0]", "value: no such key; did you mean 'values'?"),
        ("sweep", "values=[2]", "values: 2 is no data.communities.graph_signal: "),
        ("sweep", "data=cdnow", "only a made-up world can be made again, not cdnow"),
    ],
)
def test_ablation_and_sweep_say_what_is_wrong_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, wrong: str, part: str
) -> None:
    said = Shell(tmp_path, monkeypatch)(script, *(ABLATION if script == "ablate" else SWEEP), wrong)
    said.refused(part)
    assert said.code == 1
    assert said.err.count("error: ") == 1
    assert list(tmp_path.iterdir()) == []
