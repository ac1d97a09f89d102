"""Does the graph pay: which controls there are, that each differs from its model by the graph alone, and what the page
says of hand-made numbers.

Nothing is fitted but in the last test: predictions of the others are made up.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from newcomer import SHARED, Shell, composed, write_experiment, write_shop
from results_by_hand import predicted, row
from settings import ESTIMATORS, TEST, setting

from patron import graph_pays as module
from patron import pipeline
from patron.config import dump, load
from patron.estimators import build
from patron.evaluation.evaluate import evaluate
from patron.graph_pays import GraphPaysConfig, graph_pays
from patron.pipeline import Experiment, prepare
from patron.reporting.graph_page import CONTRASTS, contrasts_said, graph_page
from patron.tables.database import Database
from patron.task.split import Fold

TINY = (
    "experiment=complete_journey_90d", "data=tiny", "task=90d", "task.population=null", "split=temporal",
    "split.test=['2021-06-01']", "split.max_cutoffs=1", "split.min_history_days=90", "evaluation.n_boot=30",
    "trainer.progress=false", "seeds=[0]", "name=tiny",
)  # fmt: skip
PLAIN = ["lightgbm", "lightgbm_twohop", "gnn", "boosted_gnn", "stack"]
GNN_CONTROLS = ["gnn_no_co_shoppers", "gnn_purchases_only", "gnn_shuffled", "mlp"]
BOOSTED_CONTROLS = ["boosted_gnn_shuffled", "boosted_mlp"]


def composed_with(folder: Path, *words: str) -> GraphPaysConfig:
    return load(composed("graph_pays", *TINY, f"runs={folder}", f"results={folder}", *words), schema=GraphPaysConfig)


class Recorder:
    """Takes the place of `run_one`: keeps what it is asked for, and predicts the label with noise of its own."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __call__(self, experiment: Experiment, *, name: str, seed: int) -> pd.DataFrame:
        self.asked[f"{experiment.config.name}/{name}"] = experiment.config
        noise = np.random.default_rng(len(self.asked)).normal(0, 50, len(experiment.truth))
        said = experiment.truth["label"].to_numpy() + noise
        return predicted(experiment.truth, said, estimator=name, seed=seed)


@pytest.fixture(scope="module")
def prepared() -> dict[str, Experiment]:
    return {}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, prepared: dict[str, Experiment]) -> Recorder:
    """The tiny shop is read once; without its products if the configuration hides them."""

    def shared(config: Any) -> Experiment:
        prepared["tiny"] = prepared.get("tiny") or prepare(config)
        return replace(prepared["tiny"], config=config)

    recorder = Recorder()
    monkeypatch.setattr(module, "prepare", shared)
    monkeypatch.setattr(pipeline, "run_one", recorder)
    return recorder


def models(results: pd.DataFrame) -> set[str]:
    return set(results["estimator"]) - {"ceiling"}


# Which controls there are


def test_the_graph_and_its_controls(tmp_path: Path, runs: Recorder) -> None:
    results = graph_pays(composed_with(tmp_path))
    assert models(results) == {*PLAIN, *GNN_CONTROLS, *BOOSTED_CONTROLS}
    differences = results[(results["slice"] == "all") & (results["fold"] == "mean")].set_index(["estimator", "metric"])
    for name in models(results) - {"lightgbm"}:
        assert (name, "spearman_minus_lightgbm") in differences.index
    for one in CONTRASTS:
        found = differences.loc[(one.ours, f"spearman_minus_{one.against}")]
        apart = [differences.loc[(name, "spearman"), "value"].iloc[0] for name in (one.ours, one.against)]
        assert found["value"] == pytest.approx(apart[0] - apart[1])
        assert found["lo"] < found["value"] < found["hi"]
    wanted = {"all", "one_order", "new", "heavy", "dormant"}
    assert wanted <= set(results.loc[results["metric"] == "spearman_minus_lightgbm", "slice"])


def test_a_control_differs_by_its_graph_alone(tmp_path: Path, runs: Recorder) -> None:
    config = composed_with(tmp_path)
    graph_pays(config)
    whole = config.graph
    graphs = {
        "no_edges/gnn": replace(whole, relations=()),
        "shuffled/gnn": replace(whole, shuffled=True),
        "no_co_shoppers/gnn": replace(whole, relations=("placed", "purchased", "belongs_to")),
        "purchases_only/gnn": replace(whole, relations=("purchased",)),
        "no_edges/boosted_gnn": replace(whole, relations=()),
        "shuffled/boosted_gnn": replace(whole, shuffled=True),
    }
    controls = {name.removeprefix("tiny/"): asked for name, asked in runs.asked.items() if name.count("/") > 1}
    assert {name: asked.graph for name, asked in controls.items()} == graphs
    assert all(replace(asked, graph=whole, name="tiny") == config for asked in controls.values())
    assert all(asked == config for name, asked in runs.asked.items() if name.count("/") == 1)


def test_without_products_there_are_no_controls_of_them(tmp_path: Path, runs: Recorder) -> None:
    results = graph_pays(composed_with(tmp_path, "tables=[interactions]"))
    assert models(results) == {*PLAIN, "mlp", "gnn_shuffled", *BOOSTED_CONTROLS}
    html = graph_page(results).html
    assert "GNN, edges shuffled" in html
    assert "co-shopper" not in html


def test_without_any_edge_only_the_net_alone_is_left(tmp_path: Path, runs: Recorder) -> None:
    results = graph_pays(composed_with(tmp_path, "graph.relations=[did]", "tables=[order_items]"))
    assert models(results) == {*PLAIN, "mlp"}


def test_a_graph_that_is_its_own_control_is_not_fitted_twice(tmp_path: Path, runs: Recorder) -> None:
    results = graph_pays(composed_with(tmp_path, "graph.relations=[purchased]", "estimator=[lightgbm,gnn,boosted_gnn]"))
    assert models(results) == {"lightgbm", "gnn", "boosted_gnn", "mlp", "gnn_shuffled", *BOOSTED_CONTROLS}


def test_both_sides_of_the_verdict_are_needed(tmp_path: Path, runs: Recorder) -> None:
    message = r"the verdict is boosted_gnn minus lightgbm; \['boosted_gnn'\] not there, give estimator=\[lightgbm,gnn,"
    with pytest.raises(ValueError, match=message):
        graph_pays(composed_with(tmp_path, "estimator=[lightgbm,gnn]"))
    assert runs.asked == {}


def test_the_configuration_survives_a_dump(tmp_path: Path) -> None:
    config = load(composed("graph_pays", "experiment=seed_regime"), schema=GraphPaysConfig)
    assert list(config.estimators) == [*PLAIN, "oracle", "oracle_past"]
    assert not config.graph.shuffled
    assert load(dump(config), schema=GraphPaysConfig) == config


# The pairs of `evaluate`


def test_pairs_are_compared_on_the_same_customers() -> None:
    """c is b, so that the difference is 0 in every replicate; a pair with a stranger or with oneself is left out."""
    cutoff, rng = pd.Timestamp("2021-01-01"), np.random.default_rng(0)
    truth = pd.DataFrame({"customer_id": range(60), "cutoff": cutoff, "label": rng.gamma(1, 10, 60)})
    chance = {"a": rng.random(60), "b": (noise := rng.random(60)), "c": noise}
    keys = truth[["customer_id", "cutoff"]].assign(fold="x", seed=0)
    said = pd.concat(
        keys.assign(estimator=name, ltv_mean=of, ltv_median=of, rank_score=of) for name, of in chance.items()
    )
    context = dict.fromkeys(["data", "task", "split", "command", "commit"], "x")
    pairs = [("b", "c"), ("a", "c"), ("a", "nobody"), ("b", "b")]
    results = evaluate(said, truth, n_boot=20, reference="a", pairs=pairs, context=context)
    at = results[(results["fold"] == "mean") & (results["slice"] == "all")].set_index(["estimator", "metric"])
    assert at.loc[("b", "spearman_minus_c"), ["value", "lo", "hi"]].to_numpy().ravel().tolist() == [0, 0, 0]
    minus_c = at.loc[("a", "spearman_minus_c"), "value"].item()
    assert minus_c == pytest.approx(-at.loc[("c", "spearman_minus_a"), "value"].item())
    found = {key for key in at.index if key[1].startswith("spearman_minus_")}
    assert {(name, metric.removeprefix("spearman_minus_")) for name, metric in found} == {
        ("b", "a"), ("c", "a"), ("b", "c"), ("a", "c"),
    }  # fmt: skip


# The page


def hand_made(verdict: tuple[float, float, float], shuffled: tuple[float, float, float]) -> pd.DataFrame:
    rows = [
        row("lightgbm", "spearman", 0.5, 0.48, 0.52),
        row("boosted_gnn", "spearman", 0.62, 0.6, 0.64),
        row("boosted_gnn", "spearman_seed_sd", 0.003),
        row("boosted_gnn", "spearman_minus_lightgbm", *verdict),
        row("boosted_gnn", "spearman_minus_boosted_gnn_shuffled", *shuffled),
        row("boosted_gnn", "spearman_minus_boosted_mlp", 0.1, 0.05, 0.15),
        row("boosted_gnn_shuffled", "spearman_minus_lightgbm", 0.001, -0.004, 0.006),
        row("boosted_gnn_shuffled", "spearman", 0.501, 0.48, 0.52),
        row("oracle", "spearman", 0.9, 0.88, 0.92),
        row("oracle", "spearman_minus_lightgbm", 0.4, 0.38, 0.42),
        row("ceiling", "spearman_ceiling", 0.97),
        row("boosted_gnn", "spearman_minus_lightgbm", 0.2, 0.1, 0.3, slice="new"),
        row("boosted_gnn", "spearman_minus_lightgbm", np.nan, slice="heavy"),
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ((0.12, 0.1, 0.14), "In rank the graph pays here"),
        ((-0.02, -0.03, -0.01), "In rank the graph does not pay here."),
        ((0.01, -0.01, 0.03), "In rank the two cannot be told apart"),
    ],
)
def test_the_verdict_comes_first_with_its_interval(verdict: tuple[float, float, float], said: str) -> None:
    page = graph_page(hand_made(verdict, (0.1, 0.05, 0.15)))
    assert page.lead.startswith(f"Boosted GNN minus LightGBM: {verdict[0]:+.3f} [".replace("-", "−"))
    assert said in page.lead
    html = page.html
    assert html.index(page.lead) < html.index("<img") < html.index("<table")


@pytest.mark.parametrize(
    ("shuffled", "said"),
    [
        ((0.12, 0.1, 0.14), "it matters who is tied to whom"),
        ((0.01, -0.01, 0.03), "nothing here shows that it is the edges"),
        ((0.0, 0.0, 0.0), "nothing here shows that it is the edges"),
        ((-0.12, -0.14, -0.1), "so it is not the edges"),
        ((0.12, np.nan, np.nan), "without an interval nothing is said"),
    ],
)
def test_the_shuffled_graph_says_whether_it_is_the_edges(shuffled: tuple[float, float, float], said: str) -> None:
    results = hand_made((0.12, 0.1, 0.14), shuffled)
    _, line = contrasts_said(results)
    assert line.startswith("boosted GNN minus boosted GNN, edges shuffled: ")
    assert said in line
    assert "Spearman (SD over seeds 0.003): " in line
    assert line in graph_page(results).html


def test_the_page_has_every_row_figure_and_ceiling() -> None:
    html = graph_page(hand_made((0.12, 0.1, 0.14), (0.1, 0.0, 0.2))).html
    rows = re.findall(r"<tr><th>([^<]*)</th><td[^>]*>(.*?)</td>", html)
    assert [name for name, _ in rows] == ["LightGBM", "boosted GNN, edges shuffled", "boosted GNN", "oracle"]
    assert dict(rows)["boosted GNN"] == "0.620 [0.600, 0.640] ± 0.003"
    assert re.findall(r'class="best">([^<]*)<', html) == ["0.620 [0.600, 0.640] ± 0.003"]  # an oracle is never the best
    assert html.count("data:image/png;base64,") == 2
    for part in ("oracle +0.400 [+0.380, +0.420]", "0.970", "n = 2,500", "python x.py", "abc1234", "Data tiny"):
        assert part in html
    assert "http" not in html  # it loads nothing


def test_slices_without_a_value_are_not_drawn() -> None:
    results = hand_made((0.12, 0.1, 0.14), (0.1, 0.0, 0.2))
    by_slice = [section for section in graph_page(results).sections if section.title == "By slice"]
    (axes,) = by_slice[0].figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all\nn = 2,500", "new\nn = 2,500"]


def test_of_several_tests_the_verdict_is_of_the_last_and_the_slices_of_the_mean() -> None:
    last, mean = hand_made((0.12, 0.1, 0.14), (0.1, 0.0, 0.2)), hand_made((0.2, 0.1, 0.3), (-0.1, -0.2, 0.0))
    first = hand_made((-0.5, -0.6, -0.4), (-0.5, -0.6, -0.4)).assign(fold="2021-01-01")
    last = last[last["slice"] == "all"].assign(fold="2021-04-01")
    page = graph_page(pd.concat([first[first["slice"] == "all"], last, mean]))
    assert "+0.120 [+0.100, +0.140]" in page.lead
    assert "Mean over the 2 tests: +0.200 [+0.100, +0.300] Spearman." in page.lead
    (line,) = [line for line in page.sections[0].lines if "edges shuffled" in line]
    assert "+0.100 [+0.000, +0.200]" in line
    (by_slice,) = [section for section in page.sections if section.title == "By slice"]
    assert by_slice.lines[0].endswith("Means over the tests.")


def test_names_are_only_text() -> None:
    results = hand_made((0.12, 0.1, 0.14), (0.1, 0.0, 0.2)).assign(data="<script>")
    assert "<script>" not in graph_page(results).html


def test_without_the_verdict_there_is_no_page() -> None:
    results = hand_made((0.12, 0.1, 0.14), (0.1, 0.0, 0.2))
    with pytest.raises(ValueError, match="no verdict without boosted_gnn and lightgbm; fit both"):
        graph_page(results[results["metric"] != "spearman_minus_lightgbm"])


# Fitted


def test_a_net_without_relations_is_fitted_to_customers_alone(shop: Database, fold: Fold, tmp_path: Path) -> None:
    here = setting(tmp_path, max_steps=4)
    estimator: Any = build(ESTIMATORS["gnn"], replace(here, graph=replace(here.graph, relations=())))
    estimator.fit(shop.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)
    assert set(estimator.trained.encoders) == {"customer"}
    said = estimator.predict(shop.upto(TEST), rows=fold.test)
    assert said["rank_score"].nunique() > 20
    assert np.isfinite(said["ltv_mean"]).all()


@pytest.mark.slow
def test_the_script_writes_the_page_and_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shop(tmp_path / "shop")
    write_experiment(tmp_path / "my", data=Path("shop"))
    words = [
        "estimator=[lightgbm,boosted_gnn]", "seeds=[0]", *SHARED, "split.max_cutoffs=1",
        "estimators.boosted_gnn.model.channels=4", "estimators.boosted_gnn.model.num_layers=1",
    ]  # fmt: skip
    for where in ("lightgbm", "boosted_gnn.lightgbm"):
        words += [f"estimators.{where}.{key}" for key in ("max_trees=4", "params.num_threads=1")]
    said = Shell(tmp_path, monkeypatch)("graph_pays", "--config-dir", "my", "experiment=my_shop", *words)
    assert said.code == 0, said.err
    assert "Boosted GNN minus LightGBM: " in said.out
    assert "wrote results/graph_pays_my_shop.html" in said.out
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "graph_pays_my_shop.csv", "graph_pays_my_shop.html",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "results" / "graph_pays_my_shop.csv")
    assert models(table) == {"lightgbm", "boosted_gnn", *BOOSTED_CONTROLS}
    assert "python scripts/graph_pays.py" in (tmp_path / "results" / "graph_pays_my_shop.html").read_text()
