"""Choosing LightGBM's parameters: the default is trial 0 and 0, a study goes on, and no test label is looked at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from newcomer import CONFIGS, composed
from scipy.stats import spearmanr

from patron import pipeline, tuning
from patron.config import Config, load
from patron.task import split
from patron.tuning import Bench, Losses, TuneConfig, best, tune

WORDS = (
    "experiment=no_signal", "estimator=[lightgbm]", "data=tiny", "task=90d", "task.population=null",
    "split.test=['2021-09-01']", "split.max_cutoffs=3", "split.min_history_days=90", "split.step_days=30",
    "features.groups=[rfm]", "estimators.lightgbm.max_trees=6", "estimators.lightgbm.params.num_threads=1",
    "estimators.lightgbm.params.min_data_in_leaf=20", "trainer.progress=false",
)  # fmt: skip


def tiny(*words: str) -> Config:
    return load(composed("config", *WORDS, *words), schema=Config)


def study(folder: Path, *words: str) -> TuneConfig:
    where = (f"storage={folder}/study.db", f"results={folder}", "experiments=[one,two]", "progress=false", "trials=2")
    return load(composed("tune", *where, *words), schema=TuneConfig)


@pytest.fixture(autouse=True)
def nobody_reads_test_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a test label was read")

    monkeypatch.setattr(split, "truth", refuse)
    monkeypatch.setattr(pipeline, "truth", refuse)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.of(tiny(), stopping=5)


@pytest.fixture
def benches(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> dict[str, Bench]:
    """Two experiments: the tiny one, and the same of another fold of the customers."""
    matrix, rows = bench.val
    most = rows.bucket(3) > 0
    both = {"one": bench, "two": replace(bench, val=(matrix.where(most), rows.where(most)))}
    monkeypatch.setattr(tuning, "benches", lambda _: both)
    return both


def test_rows_that_learn_stop_and_are_scored(bench: Bench) -> None:
    (learn, _), (stop, stopping), (_, scored) = bench.learn, bench.stop, bench.val
    learning = bench.learn[1]
    assert len(learn.values) == len(learning)
    assert len(stop.values) == len(stopping)
    assert set(learning.frame["customer_id"]).isdisjoint(stopping.frame["customer_id"])
    assert 0.1 < len(stopping) / (len(learning) + len(stopping)) < 0.3
    assert [str(day) for day in scored.cutoffs] == ["2021-06-03"]
    assert learning.cutoffs == stopping.cutoffs
    assert max(learning.cutoffs) < min(scored.cutoffs)


def test_where_customers_validate_some_of_the_others_say_when_to_stop() -> None:
    of = Bench.of(tiny("split.validation=customers"), stopping=5)
    parts = [set(rows.frame["customer_id"]) for _, rows in (of.learn, of.stop, of.val)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))


@pytest.mark.slow
def test_what_comes_after_the_validation_window_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses when the tables end with the validation window, which is where the test begins."""
    config, whole = tiny(), tuning.load_database
    (fold,) = split.folds(whole(config.data), task=config.task, split=config.split)
    monkeypatch.setattr(tuning, "load_database", lambda data: whole(data).upto(fold.cutoff))
    cut = Bench.of(config, stopping=5)
    ours, theirs = bench.losses({}), cut.losses({})
    np.testing.assert_array_equal(ours.rank, theirs.rank)
    np.testing.assert_array_equal(ours.median, theirs.median)


def test_losses_are_spearman_and_the_error_of_the_median(bench: Bench) -> None:
    losses = bench.losses({})
    matrix, rows = bench.val
    boosted = tuning.boost(
        *bench.learn, params={**bench.config.params, "seed": 0}, trees=bench.model.most, valid=bench.stop, patience=50
    )
    assert losses.spearman == pytest.approx(spearmanr(boosted.say(matrix).rank, rows.label).statistic)
    assert 0.2 < losses.median.mean() / rows.label.mean() < 2


def test_a_gain_is_that_in_spearman_and_the_share_of_the_error(bench: Bench) -> None:
    rows = bench.val[1]
    n = len(rows)
    before = Losses(np.full(n, -0.5), np.full(n, 40.0))
    after = Losses(np.full(n, -0.51), np.full(n, 38.0))
    gain = after.gain(before, rows=rows)
    assert gain.gain == pytest.approx(0.01 + 0.05)
    assert gain.se == pytest.approx(0, abs=1e-12)  # everybody gains as much


def test_the_default_is_trial_0_and_a_study_goes_on(tmp_path: Path, benches: dict[str, Bench]) -> None:
    first = tune(study(tmp_path, "trials=1"))
    assert first["trial"].tolist() == [0]
    default = benches["one"].config.params
    for name in ("num_leaves", "min_data_in_leaf", "feature_fraction", "bagging_fraction", "lambda_l2", "max_bin"):
        assert first.loc[0, name] == default[name]
    assert first.loc[0, ["objective", "se", "se_sets"]].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert first.loc[0, "spearman_two"] == pytest.approx(benches["two"].losses({}).spearman)
    both = tune(study(tmp_path))
    assert both["trial"].tolist() == [0, 1]
    pd.testing.assert_frame_equal(both.iloc[:1], first, check_dtype=False)
    second = both.loc[1]
    assert second["objective"] == pytest.approx((second["gain_one"] + second["gain_two"]) / 2)
    assert second["objective"] != 0
    assert second["se"] == pytest.approx(np.hypot(second["se_one"], second["se_two"]) / 2)
    assert second["se_sets"] == pytest.approx(abs(second["gain_one"] - second["gain_two"]) / 2)
    pd.testing.assert_frame_equal(tune(study(tmp_path)), both)  # nothing is left to do


def test_a_study_of_something_else_is_refused(tmp_path: Path, benches: dict[str, Bench]) -> None:
    tune(study(tmp_path, "trials=1"))
    with pytest.raises(ValueError, match=r"the study 'tuning' in .* was begun with .*\"two\".* choose another name"):
        tune(study(tmp_path, "stopping=4"))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"num_leaves": {"low": 20, "high": 63, "log": True}}, "default num_leaves=15 is not in it; widen space.num_l"),
        ({"max_bin": [127, 255]}, "default max_bin=63 is not in it"),
        ({"leaves": [1, 2]}, "params has no 'leaves' to begin with"),
    ],
)
def test_a_space_without_the_default_is_refused(
    tmp_path: Path, benches: dict[str, Bench], space: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tune(load({**vars(study(tmp_path)), "space": space}, schema=TuneConfig))


def test_overrides_are_of_an_experiment_of_the_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"overrides: \['shop'\] are not among the experiments \['one', 'two'\]"):
        tuning.benches(study(tmp_path, "++overrides.shop=['data.customers=10']"))


def test_the_best_is_clear_if_it_beats_both_errors() -> None:
    errors = {"se": [0, 0.005, 0], "se_sets": [0, 0.01, 0]}
    trials = pd.DataFrame({"trial": [0, 1, 2], "objective": [0, 0.02, 0.01], **errors})
    found, clear = best(trials)
    assert (found["trial"], clear) == (1, True)
    assert not best(trials.assign(se_sets=[0, 0.03, 0]))[1]
    assert not best(trials.assign(se=[0, 0.03, 0], se_sets=None))[1]
    assert not best(trials.iloc[:1])[1]


def test_the_study_of_the_file_is_of_experiments_that_are_there() -> None:
    config = load(composed("tune"), schema=TuneConfig)
    assert {f"{name}.yaml" for name in config.experiments} <= {file.name for file in (CONFIGS / "experiment").iterdir()}
    assert config.space["num_leaves"] == tuning.Range(7, 63, True)
    assert config.space["max_bin"] == (63, 255)
