"""A run is a folder: `DONE` comes last, a finished one is left alone, and it says where its numbers come from."""

import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
import yaml
from newcomer import composed, write_experiment, write_shop

from patron import run
from patron.config import BenchmarkConfig, Config, load
from patron.evaluation.occasions import COUNTS, OCCASIONS
from patron.files import InUse
from patron.pipeline import prepare, run_all
from patron.run import RunFolder, command, commit

PREDICTIONS = pd.DataFrame({"customer_id": [1, 2], "ltv_mean": [3.0, 4.0]})
REPORT = {"seed": 3, "metrics": {"spearman": 0.5}, "seconds": 1.5}
SHORT = (
    "estimator=[last_window]", "split.max_cutoffs=1", "evaluation.n_boot=5", "trainer.progress=false",
    "features.groups=[attributes,rfm,windows,baskets]", "features.windows=[30,90]", "features.lags=1", "seeds=[4,5]",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "shop" / "gnn-seed3")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop and the experiment that reads it."""
    folder = tmp_path_factory.mktemp("here")
    write_experiment(folder / "my", data=write_shop(folder / "shop", customers=40))
    return folder


@pytest.fixture(scope="module")
def finished(here: Path) -> pd.DataFrame:
    """The results of a run that is done."""
    return run_again(config(here))


def run_again(config: Config) -> pd.DataFrame:
    """The results, without the commit: somebody may be editing the source meanwhile."""
    return run_all(config).drop(columns="commit")


def config(here: Path, *overrides: str, schema: type = Config) -> Any:
    name = "config" if schema is Config else "benchmark"
    words = ["experiment=my_shop", f"runs={here}/runs", *SHORT, *overrides]
    return load(composed(name, *words, config_dir=here / "my"), schema=schema)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a folder: when it was written, and what is in it."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def fail(*_: Any, **__: Any) -> NoReturn:
    raise OSError("No space left on device")


def half_written(self: Path, text: str, *_: Any, **__: Any) -> NoReturn:
    with self.open("w") as file:
        file.write(text[:7])
    fail()


# The folder


def test_done_is_written_last(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, to: written.append(Path(to).name) or replace(source, to))
    folder.begin({"name": "shop"})
    assert not folder.is_done
    folder.finish(predictions=PREDICTIONS, report=REPORT)
    assert folder.is_done
    assert written == ["config.yaml", "predictions.parquet", "report.json", "DONE"]
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(written)
    pd.testing.assert_frame_equal(folder.predictions(), PREDICTIONS)


def test_two_jobs_do_not_write_one_run(here: Path, tmp_path: Path) -> None:
    """The second is refused before it has touched anything."""
    chosen = config(here, f"runs={tmp_path}")
    held = RunFolder(chosen.runs / chosen.name / "last_window-seed4")
    with held.lock():
        held.path.mkdir(parents=True)
        (held.path / "config.yaml").write_text("of the first job")
        with pytest.raises(
            InUse, match=rf"{held.path} is in use by .*; wait until it is done, stop it, or choose anoth"
        ):
            run_all(chosen)
        assert contents(held.path).keys() == {"config.yaml"}
        assert (held.path / "config.yaml").read_text() == "of the first job"
    run_all(chosen)
    assert held.is_done
    with held.lock():
        run_all(chosen)  # what is done is read, whoever holds it


def test_begin_takes_done_away(folder: RunFolder) -> None:
    folder.begin({"name": "shop"})
    folder.finish(predictions=PREDICTIONS, report=REPORT)
    folder.begin({"name": "shop"})
    assert not folder.is_done


@pytest.mark.parametrize("broken", ["provenance", "write_text"])
def test_a_run_that_cannot_finish_is_not_done(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    folder.begin({"name": "shop"})
    monkeypatch.setattr(run, broken, fail)
    with pytest.raises(OSError, match="No space"):
        folder.finish(predictions=PREDICTIONS, report=REPORT)
    assert not folder.is_done


def test_a_failing_write_leaves_the_old_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.begin({"name": "old"})
    folder.finish(predictions=PREDICTIONS, report=REPORT)
    report = (folder.path / "report.json").read_text()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Path, "write_text", half_written)
        with pytest.raises(OSError, match="No space"):
            folder.begin({"name": "new"})
        with pytest.raises(OSError, match="No space"):
            folder.finish(predictions=PREDICTIONS, report={"seed": 4})
    assert folder.config() == {"name": "old"}
    assert (folder.path / "report.json").read_text() == report
    assert not folder.is_done  # begin took it away first


def test_predictions_are_written_whole_or_not_at_all(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.begin({"name": "shop"})
    folder.finish(predictions=PREDICTIONS, report=REPORT)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda _, path, **__: half_written(path, "PAR1 and no more"))
    with pytest.raises(OSError, match="No space"):
        folder.finish(predictions=PREDICTIONS * 2, report=REPORT)
    pd.testing.assert_frame_equal(folder.predictions(), PREDICTIONS)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing is not a run: it has no config\.yaml"):
        RunFolder(tmp_path / "nothing").config()


def test_config_is_read_as_it_was_given(folder: RunFolder) -> None:
    given = {"name": "2021-03-01", "split": {"test": ["2021-03-01"]}, "half": 0.5, "none": None, "é": "ü: [x]"}
    folder.begin(given)
    assert folder.config() == given  # a date that was text stays text
    assert list(folder.config()) == list(given)


# Where the numbers come from


def test_the_report_says_where_the_numbers_come_from(folder: RunFolder) -> None:
    folder.begin({"name": "shop"})
    folder.finish(predictions=PREDICTIONS, report=REPORT)
    report = json.loads((folder.path / "report.json").read_text())
    assert report.items() >= REPORT.items()
    assert report["versions"].items() >= {"python": sys.version.split()[0], "pandas": pd.__version__}.items()
    assert {"torch", "torch-geometric", "lightgbm", "duckdb", "patron"} <= set(report["versions"])
    assert 50 < report["peak_memory_mb"] < 1_000_000
    assert (report["command"], report["commit"]) == (command(), commit())


@pytest.mark.parametrize("git", ["none", "another's"])
def test_outside_its_own_checkout_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git: str
) -> None:
    """An installed patron often lies in a .venv inside somebody else's repository: that one's commit is not ours."""
    if git == "another's":
        author = ["-c", "user.name=x", "-c", "user.email=x@y"]
        for arguments in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    package = tmp_path / ".venv" / "lib" / "site-packages" / "patron"
    package.mkdir(parents=True)
    (package / "run.py").touch()
    monkeypatch.setattr(run, "__file__", str(package / "run.py"))
    assert commit() == "unknown"


def test_the_commit_says_whether_the_source_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=x", "-c", "user.email=x@y"]
        return subprocess.run(
            ["git", *author, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "src" / "patron").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    source, readme, yaml_ = (
        tmp_path / "src" / "patron" / "run.py",
        tmp_path / "README.md",
        tmp_path / "configs" / "a.yaml",
    )
    for file in (source, readme, yaml_):
        file.write_text("as committed")
    git("init", "-q")
    git("add", "--all")
    git("commit", "-q", "-m", "x")
    head = git("rev-parse", "--short", "HEAD")
    monkeypatch.setattr(run, "__file__", str(source))
    readme.write_text("a table was written into it")
    assert commit() == head
    yaml_.write_text("changed")
    assert commit() == f"{head}+"
    yaml_.write_text("as committed")
    source.write_text("changed")
    assert commit() == f"{head}+"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=my_shop", "seeds=[0,1]", "-m"],
        ["data.path=/my shop/a'b", "name=$HOME", "x={a: 1}", "y=`date`", "z=a;b|c&d<e>f#g", 'w="q"', "*?!~\\"],
    ],
)
def test_the_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    forced = [f"++{argument}" if argument[0].isalpha() else argument for argument in arguments]  # as `entry` does
    monkeypatch.setattr(sys, "argv", ["/anywhere/scripts/train.py", *forced])
    assert shlex.split(command()) == ["python", "scripts/train.py", *arguments]
    said = subprocess.run(
        ["sh", "-c", command().replace("python scripts/train.py", "printf '%s\\n'")], capture_output=True
    )
    assert said.stdout.decode().splitlines() == arguments


# What the pipeline makes of it


def test_a_finished_folder_is_left_alone_unless_forced(here: Path, finished: pd.DataFrame) -> None:
    before = contents(here / "runs")
    assert {"my_shop/last_window-seed4/DONE", "my_shop/last_window-seed4/report.json"} <= set(before)
    pd.testing.assert_frame_equal(run_again(config(here)), finished)
    assert contents(here / "runs") == before
    pd.testing.assert_frame_equal(run_again(config(here, "force=true")), finished)
    after = contents(here / "runs")
    for name in ("config.yaml", "predictions.parquet", "report.json", "DONE"):
        assert after[f"my_shop/last_window-seed4/{name}"][0] > before[f"my_shop/last_window-seed4/{name}"][0]


def test_an_interrupted_run_is_made_again(here: Path, finished: pd.DataFrame) -> None:
    folder = RunFolder(here / "runs" / "my_shop" / "last_window-seed4")
    (folder.path / "DONE").unlink()
    (folder.path / "predictions.parquet").unlink()
    pd.testing.assert_frame_equal(run_again(config(here)), finished)
    assert folder.is_done


@pytest.mark.usefixtures("finished")
def test_another_configuration_in_a_finished_folder_is_an_error_that_says_what_differs(here: Path) -> None:
    before = contents(here / "runs")
    with pytest.raises(ValueError, match=r"last_window-seed4 is done, with another configuration") as caught:
        run_all(config(here, "task.target=gross", "split.max_cutoffs=2"))
    for part in ("(task.target was net, now gross, split.max_cutoffs was 1, now 2)", "name=...", "force=true"):
        assert part in str(caught.value)
    assert contents(here / "runs") == before


@pytest.mark.usefixtures("finished")
def test_what_leaves_the_fit_as_it_is_may_change(here: Path) -> None:
    """More bootstrap replicates, another reference, the bar: a finished run serves. So does it for a benchmark."""
    before = contents(here / "runs")
    more = ("evaluation.n_boot=6", "evaluation.reference=last_window", "trainer.progress=true", "readme=null")
    results = run_all(config(here, *more, f"results={here}/results", schema=BenchmarkConfig))
    assert list(results["estimator"].unique()) == ["last_window", "ceiling"]
    assert contents(here / "runs") == before


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("schema", "overrides"), [(Config, []), (BenchmarkConfig, ["name=bench", "estimator=[zero,last_window]"])]
)
def test_the_resolved_config_loads_again(here: Path, schema: type, overrides: list[str]) -> None:
    """Also that of a benchmark, whose own keys are none of the run's; it names one estimator and one seed."""
    chosen = config(here, *overrides, schema=schema)
    run_all(chosen)
    (folder,) = (here / "runs" / chosen.name).glob("last_window-seed*")
    assert folder.name == "last_window-seed4"  # another seed would give the same numbers
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    again = load(stored, schema=Config)
    assert (list(again.estimators), again.seeds) == (["last_window"], (4,))
    assert (again.data, again.split, again.task) == (chosen.data, chosen.split, chosen.task)
    assert "???" not in str(stored)
    assert "${" not in str(stored)


@pytest.mark.usefixtures("finished")
def test_the_report_of_a_run_is_strict_json(here: Path) -> None:
    """`last_window` has no interval, so its coverage is not a number; JSON knows no NaN."""
    text = (here / "runs" / "my_shop" / "last_window-seed4" / "report.json").read_text()
    report = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert report["metrics"]["coverage80"] is None
    assert 0 < report["metrics"]["nmae"] < 10
    assert (report["estimator"], report["seed"], report["known_until"]) == ("last_window", 4, "2021-03-01")
    assert report["seconds"] >= 0


# What evaluation is given beside the labels


def test_the_truth_holds_the_scale_of_the_training_labels_and_the_occasions(here: Path) -> None:
    experiment = prepare(config(here))
    (fold,), truth = experiment.folds, experiment.truth
    expected = np.std(fold.train.label, ddof=1)  # as RelBench divides, not of what is tested
    assert expected > 0
    np.testing.assert_allclose(truth["label_scale"], expected)
    assert truth[list(OCCASIONS)].notna().all(axis=None)
    assert (truth[list(COUNTS)] > 0).any().all()
    assert (truth.loc[truth["label"] > 0, list(COUNTS)].sum(axis=1) > 0).all()


def test_the_log_has_the_level_of_every_cutoff(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is learned from, validated on and tested on: the mean label, and the share of zeros in brackets."""
    with caplog.at_level(logging.INFO, logger="patron"):
        (fold,) = prepare(config(here, "split.max_cutoffs=2", "split.step_days=60")).folds
    (said,) = [record.getMessage() for record in caplog.records if "by cutoff" in record.getMessage()]
    at = fold.refit.at(fold.val.cutoffs[0]).label
    assert f"validation {fold.val.cutoffs[0]} {at.mean():,.4g} ({(at == 0).mean():.1%})" in said
    assert [said.count(f"{role} 20") for role in ("train", "validation", "test")] == [1, 1, 1]
    assert not [record for record in caplog.records if "change level" in record.getMessage()]


def test_the_results_hold_the_ceilings_and_relbenchs_error(finished: pd.DataFrame) -> None:
    rows = finished[(finished["fold"] == "mean") & (finished["seed"] == "mean") & (finished["slice"] == "all")]
    values = rows.set_index(["estimator", "metric"])["value"]
    assert 0 < values["ceiling", "spearman_ceiling"] <= 1
    assert 0 < values["last_window", "nmae_std"] != values["last_window", "nmae"]
