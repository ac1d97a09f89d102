"""The controls of a benchmark's verdict: which there are, what they are fitted to, and what they are compared with.

Nothing is fitted: predictions are made up.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from newcomer import composed
from results_by_hand import predicted

from patron import controls as module
from patron import pipeline
from patron.config import BenchmarkConfig, load
from patron.controls import benchmark
from patron.pipeline import Experiment, prepare
from patron.reporting.tables import comparison, markdown
from patron.reporting.verdict import verdict

TINY = (
    "experiment=complete_journey_90d", "data=tiny", "task=90d", "task.population=null", "split=temporal",
    "split.test=['2021-03-01','2021-06-01']", "split.max_cutoffs=1", "split.min_history_days=60",
    "evaluation.n_boot=30", "trainer.progress=false", "seeds=[3,4]", "name=tiny", "estimator=[lightgbm,gnn,stack]",
)  # fmt: skip
ORDER = ["tiny/lightgbm", "tiny/gnn", "tiny/stack", "tiny/control_mlp/gnn", "tiny/control_gnn_shuffled/gnn"]


def composed_with(folder: Path, *words: str) -> BenchmarkConfig:
    return load(composed("benchmark", *TINY, f"runs={folder}", f"results={folder}", *words), schema=BenchmarkConfig)


class Recorder:
    """Takes the place of `run_one`: keeps what it is asked for, and predicts the label with noise, with more of it for
    LightGBM and the controls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, list[str]]] = []
        self.graphs: dict[str, Any] = {}

    def __call__(self, experiment: Experiment, *, name: str, seed: int) -> pd.DataFrame:
        where, truth = f"{experiment.config.name}/{name}", experiment.truth
        self.asked.append((where, seed, [fold.name for fold in experiment.folds]))
        self.graphs[where] = experiment.config.graph
        assert set(truth["fold"]) == {fold.name for fold in experiment.folds}
        noise = np.random.default_rng(seed).normal(
            0, 400 if "control" in where or name == "lightgbm" else 10, len(truth)
        )
        said = truth["label"].to_numpy() + noise
        return predicted(truth, said, estimator=name, seed=seed)


@pytest.fixture(scope="module")
def prepared() -> dict[str, Experiment]:
    return {}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, prepared: dict[str, Experiment]) -> Recorder:
    """The tiny shop is read once for each split."""

    def shared(config: Any) -> Experiment:
        key = str(config.split)
        prepared[key] = prepared.get(key) or prepare(config)
        return replace(prepared[key], config=config)

    recorder = Recorder()
    monkeypatch.setattr(module, "prepare", shared)
    monkeypatch.setattr(pipeline, "run_one", recorder)
    return recorder


def test_controls_come_last_at_the_first_seed_and_the_last_test(tmp_path: Path, runs: Recorder) -> None:
    config = composed_with(tmp_path)
    benchmark(config)
    tests = ["2021-03-01", "2021-06-01"]
    assert list(dict.fromkeys(where for where, _, _ in runs.asked)) == ORDER
    for where, seed, folds in runs.asked:
        assert folds == (tests[-1:] if "control" in where else tests)
        assert seed == 3 or "control" not in where
    assert len(runs.asked) == 3 * 2 + 2
    assert runs.graphs["tiny/control_mlp/gnn"] == replace(config.graph, relations=())
    assert runs.graphs["tiny/control_gnn_shuffled/gnn"] == replace(config.graph, shuffled=True)


def test_the_net_is_paired_with_its_controls_on_the_last_test(tmp_path: Path, runs: Recorder) -> None:
    """At the seed that they share; so the verdict can be given."""
    results = benchmark(composed_with(tmp_path))
    assert not results.duplicated(["fold", "estimator", "seed", "slice", "metric"]).any()
    whole = results[results["slice"] == "all"].set_index(["estimator", "metric", "fold", "seed"])
    last = "2021-06-01"
    for control in ("mlp", "gnn_shuffled"):
        found = whole.loc[("gnn", f"spearman_minus_{control}", last, "mean")]
        both = [whole.loc[(name, "spearman", last, "3"), "value"] for name in ("gnn", control)]
        assert found["value"] == pytest.approx(both[0] - both[1])
        assert found["lo"] < found["value"] < found["hi"]
        assert (control, "spearman", "mean", "mean") not in whole.index
        assert (control, "spearman_minus_lightgbm", last, "mean") in whole.index
    assert "In rank and error the graph pays here" in verdict(results)
    assert list(comparison(results)["estimator"]) == ["lightgbm", "mlp", "gnn_shuffled", "gnn", "stack"]


@pytest.mark.slow
def test_controls_have_a_share_of_the_gain_where_the_others_have(tmp_path: Path, runs: Recorder) -> None:
    words = ("evaluation.floor=lightgbm", "evaluation.ceiling=stack", "split.test=['2021-06-01']")
    results = benchmark(composed_with(tmp_path, *words))
    shares = results[(results["metric"] == "spearman_gain_share") & (results["fold"] == "mean")]
    assert set(shares["estimator"]) == {"gnn", "mlp", "gnn_shuffled"}
    assert "Gain to the oracle: from LightGBM to stack." in markdown(results)


def test_of_a_single_test_the_controls_are_in_its_mean(tmp_path: Path, runs: Recorder) -> None:
    results = benchmark(composed_with(tmp_path, "split.test=['2021-06-01']"))
    assert not results.duplicated(["fold", "estimator", "seed", "slice", "metric"]).any()
    assert list(comparison(results)["estimator"]) == ["lightgbm", "mlp", "gnn_shuffled", "gnn", "stack"]
    assert "the graph pays here" in verdict(results)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("controls=false",),
        ("estimator=[lightgbm]",),
        ("estimator=[gnn]",),
        ("graph.relations=[did]", "tables=[products]"),
    ],
)
def test_without_a_verdict_there_are_no_controls(words: tuple[str, ...], tmp_path: Path, runs: Recorder) -> None:
    benchmark(composed_with(tmp_path, *words))
    assert not [where for where, _, _ in runs.asked if "control" in where]


@pytest.mark.slow
def test_sampled_trees_have_no_shuffled_control(tmp_path: Path, runs: Recorder) -> None:
    """So the verdict says that it was not run."""
    results = benchmark(composed_with(tmp_path, "trainer.sampling={hops:[2],how:last,batch_size:8}"))
    assert list(dict.fromkeys(where for where, _, _ in runs.asked)) == ORDER[:-1]
    assert "were not run, so nothing here shows that it is the graph" in verdict(results)
