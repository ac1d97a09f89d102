"""Several tests in time: the table and the figure are of the last, and all of them and their means stand below."""

from io import StringIO
from pathlib import Path

import pandas as pd
from results_by_hand import draw, row
from rich.console import Console

from patron.reporting.plots import comparison_figure
from patron.reporting.tables import console, headline, markdown


def make_tests(split: str = "temporal") -> pd.DataFrame:
    """Two tests, and their mean: the GNN beats LightGBM in the first and loses the second."""
    folds = {"2020-01-01": (0.75, 0.7, 0.05), "2020-07-01": (0.6, 0.62, -0.02), "mean": (0.675, 0.66, 0.015)}
    rows = []
    for fold, (gnn, lightgbm, difference) in folds.items():
        around = {"lo": difference - 0.01, "hi": difference + 0.01}
        rows += [
            row("gnn", "spearman", gnn, gnn - 0.02, gnn + 0.02, fold=fold),
            row("lightgbm", "spearman", lightgbm, lightgbm - 0.02, lightgbm + 0.02, fold=fold),
            row("gnn", "spearman_minus_lightgbm", difference, **around, fold=fold),
            row("gnn", "spearman_seed_sd", 0.001 if fold == "mean" else 0.003, fold=fold),
            row("gnn", "nmae", gnn / 2, fold=fold), row("gnn", "crps", gnn / 3, fold=fold),
            row("ceiling", "spearman_ceiling", 0.96, fold=fold),
            row("ceiling", "spearman_propensity", 0.9 if fold == "mean" else 0.876, 0.86, 0.89, fold=fold),
        ]  # fmt: skip
    return pd.DataFrame(rows).assign(split=split)


def test_the_table_is_of_the_last_test_and_all_stand_below() -> None:
    text = markdown(make_tests())
    above, below = text.split("Spearman in each of the 2 tests, and means over them:")
    assert "| `gnn` | 0.600 [0.580, 0.620] ± 0.003 | 0.300 | 0.200 | −0.020 [−0.030, −0.010] |" in above
    assert "| `lightgbm` | **0.620 [0.600, 0.640]** |" in above
    assert "The test from 2020-07-01, the last of 2." in above
    assert "Zeros among the labels cap the Spearman of a score without ties at 0.960; whoever knew each" in above
    assert (
        "rate, mean spend and whether it has left, not when it will, would reach about 0.876 [0.860, 0.890]." in above
    )
    assert (
        "GNN minus LightGBM: −0.020 [−0.030, −0.010] Spearman (SD over seeds 0.003). Mean over the 2 tests: " in above
    )
    assert "Mean over the 2 tests: +0.015 [+0.005, +0.025] Spearman. In rank the graph does not pay here." in above
    header, _, lightgbm, gnn = below.strip().splitlines()
    assert header.split(" | ")[1:-1] == ["2020-01-01", "2020-07-01", "mean Spearman", "mean MAE / mean"]
    assert "| 0.750 [0.730, 0.770] | 0.600 [0.580, 0.620] | 0.675 [0.655, 0.695] | 0.338 |" in gnn
    assert gnn.endswith("| +0.015 [+0.005, +0.025] |")
    assert lightgbm.endswith("| – | – |")


def test_one_fold_of_the_results_can_be_asked_for() -> None:
    results = make_tests()
    assert set(headline(results)["fold"]) == {"2020-07-01"}
    assert set(headline(results, fold="2020-01-01")["fold"]) == {"2020-01-01"}
    assert set(headline(results, fold="mean")["fold"]) == {"mean"}
    one = results[results["fold"] != "2020-01-01"]
    assert set(headline(one)["fold"]) == {"mean"}  # of a single test both are the same
    assert "Mean over" not in markdown(one)


def test_held_out_customers_are_one_test() -> None:
    text = markdown(make_tests("customers"))
    assert "+0.015 [+0.005, +0.025]" in text
    assert "2020" not in text
    assert "each of the" not in text


def test_a_terminal_gets_the_means_in_a_line() -> None:
    out = StringIO()
    Console(file=out, width=160).print(console(make_tests()))
    said = " ".join(out.getvalue().split())
    assert "Mean Spearman over the 2 tests 2020-01-01, 2020-07-01: LightGBM 0.660, GNN 0.675." in said


def test_without_a_reference_the_tests_have_no_difference() -> None:
    results = make_tests()
    below = markdown(results[~results["metric"].str.contains("minus")]).split("means over them:")[1]
    assert "Δ" not in below
    assert "0.675 [0.655, 0.695]" in below


def test_the_figure_is_of_the_test_of_the_table(tmp_path: Path) -> None:
    figure = comparison_figure(make_tests(), metric="spearman")
    draw(figure, tmp_path)
    assert "test from 2020-07-01" in figure.axes[0].get_title(loc="left")
    assert {text.get_text() for text in figure.axes[0].texts} >= {"0.600", "0.620"}
