"""Tables say what the numbers say; figures draw without pyplot; a file is replaced whole or not at all."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from patron.evaluation.curves import decile_table
from patron.evaluation.evaluate import ATTAINED, GAIN
from patron.reporting.plots import (
    comparison_figure,
    curves_figure,
    decile_figure,
    differences_figure,
    gains_figure,
    save,
    signal_figure,
    write_curves,
)
from patron.reporting.tables import (
    comparison,
    console,
    differences,
    headline,
    markdown,
    ordered,
    verdict,
    write_between_markers,
)

CONTEXT = {"data": "tiny", "task": "ltv_90d", "split": "temporal", "command": "python x.py", "commit": "abc1234"}


def row(estimator: str, metric: str, value: float, lo: float = np.nan, hi: float = np.nan, **where: str) -> dict:
    place = {"fold": "mean", "seed": "mean", "slice": "all", **where}
    return {**CONTEXT, **place, "estimator": estimator, "metric": metric, "value": value, "lo": lo, "hi": hi, "n": 2500}


def make_results(lo: float = -0.012, hi: float = 0.001) -> pd.DataFrame:
    rows = [
        row("other", "spearman", 0.1, 0.05, 0.15),
        row("gnn", "spearman", 0.806, 0.79, 0.82),
        row("gnn", "spearman", 0.804, 0.79, 0.82, seed="0"),
        row("gnn", "spearman", 0.808, 0.79, 0.82, seed="1"),
        row("gnn", "spearman_seed_sd", 0.0028),
        row("gnn", "spearman_minus_lightgbm", -0.006, lo, hi),
        row("lightgbm", "spearman", 0.812, 0.79, 0.83),
        row("zero", "spearman", 0.0, 0.0, 0.0),
        row("lightgbm", "spearman", 0.5, 0.4, 0.6, slice="new"),
        row("zero", "bias", -1.0, -1.0, -1.0),
        row("lightgbm", "bias", 0.031, 0.0, 0.06),
        row("gnn", "bias", -0.02, -0.05, 0.01),
        row("zero", "mae", 1234.56),
        row("gnn", "mae", 17.891),
        row("gnn", "coverage80", 0.7712, 0.75, 0.79),
        row("ceiling", "spearman_ceiling", 0.9356),
    ]
    return pd.DataFrame(rows)


def test_order() -> None:
    assert ordered(["stack", "gnn", "zero", "lightgbm", "btyd"]) == ["zero", "btyd", "lightgbm", "gnn", "stack"]
    known = ["lightgbm_rfm", "lightgbm_flat", "lightgbm", "lightgbm_twohop", "gnn", "oracle_past", "oracle"]
    assert ordered(["a", *reversed(known)]) == [*known, "a"]


def test_comparison_has_one_row_an_estimator() -> None:
    table = comparison(make_results()).set_index("estimator")
    assert list(table.index) == ["zero", "lightgbm", "gnn", "other"]
    columns = ["spearman", "spearman_lo", "spearman_sd", "spearman_minus_lightgbm_hi"]
    assert table.loc[["gnn"], columns].to_numpy().tolist() == [[0.806, 0.79, 0.0028, 0.001]]
    assert table["spearman_minus_lightgbm"].isna().to_dict()["lightgbm"]


def test_markdown() -> None:
    lines = markdown(make_results()).splitlines()
    cells = {line.split(" | ")[0]: line for line in lines}
    assert lines[0] == "| estimator | Spearman | MAE | revenue bias | 80 % covers | Δ Spearman to LightGBM |"
    assert "| **0.812 [0.790, 0.830]** |" in cells["| `lightgbm`"]
    assert (
        "| 0.806 [0.790, 0.820] ± 0.003 | **17.89** | **−2.0 %** | 77.1 % | −0.006 [−0.012, +0.001] |"
        in cells["| `gnn`"]
    )
    assert "| 1,235 | −100.0 % | – |" in cells["| `zero`"]


def test_small_print() -> None:
    text = markdown(make_results())
    for part in ("trained on the past, tested on the future", "n = 2,500", "0.936", "`python x.py`", "`abc1234`"):
        assert part in text
    text = markdown(make_results().assign(split="customers"))
    assert "customers held out at one cutoff; not a test of time" in text


@pytest.mark.parametrize(
    ("lo", "hi", "judged"),
    [
        (-0.012, 0.001, "cannot be told apart"),
        (-0.012, -0.001, "the graph does not pay here"),
        (0.001, 0.012, "the graph pays here"),
        (np.nan, np.nan, "without an interval there is no verdict"),
    ],
)
def test_verdict(lo: float, hi: float, judged: str) -> None:
    sentence = verdict(make_results(lo, hi))
    assert sentence.startswith("GNN minus LightGBM: −0.006")
    assert "SD over seeds 0.003" in sentence
    assert judged in sentence
    assert verdict(make_results().query("estimator != 'gnn'")) == ""


def test_console_prints_every_estimator() -> None:
    out = StringIO()
    Console(file=out, width=160).print(console(make_results()))
    for part in ("lightgbm", "[0.790, 0.820]", "0.806 ± 0.003", "abc1234", "cannot be told apart"):
        assert part in out.getvalue()


def test_one_table_is_of_one_experiment() -> None:
    with pytest.raises(ValueError, match="ltv_1y"):
        headline(pd.concat([make_results(), make_results().assign(task="ltv_1y")]))


def test_write_between_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    begin, end = "<!-- results:main:begin -->", "<!-- results:main:end -->"
    path.write_text(f"# é\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    write_between_markers(path, key="main", text="new | table\n")
    write_between_markers(path, key="main", text="new | table\n")
    assert path.read_text(encoding="utf-8") == f"# é\n{begin}\nnew | table\n{end}\nafter\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{begin}", "{end}{begin}", "{begin}{begin}{end}"])
def test_missing_markers_leave_the_file_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "README.md"
    text = content.format(begin="<!-- results:main:begin -->", end="<!-- results:main:end -->")
    path.write_text(text)
    with pytest.raises(ValueError, match="results:main:begin"):
        write_between_markers(path, key="main", text="new")
    assert path.read_text() == text


def draw(figure: Figure, tmp_path: Path) -> None:
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert figure.axes[0].get_xlabel()


def test_figures_draw(tmp_path: Path) -> None:
    y = np.random.default_rng(0).lognormal(3, 1, 200)
    deciles = decile_table(y, pd.DataFrame({"rank_score": y, "ltv_mean": y}))
    draw(decile_figure(deciles, title="tiny"), tmp_path)
    draw(gains_figure(y, {"gnn": y, "zero": np.zeros(200)}), tmp_path)
    for metric in ("spearman", "bias", "spearman_minus_lightgbm", "mae"):
        draw(comparison_figure(make_results(), metric=metric, without=["zero"]), tmp_path)
    with pytest.raises(ValueError, match="gini"):
        comparison_figure(make_results(), metric="gini")


def test_figures_do_not_touch_pyplot() -> None:
    """pyplot keeps figures alive and picks a display; nothing in reporting may import it."""
    import patron.reporting.plots as plots

    assert "pyplot" not in Path(plots.__file__).read_text().replace("no pyplot", "")


def test_metrics_of_a_flag_are_shown() -> None:
    more = [row("gnn", "roc_auc", 0.71, 0.6, 0.8), row("gnn", "average_precision", 0.4), row("gnn", "brier", 0.12345)]
    more += [row("lightgbm", "roc_auc", 0.7), row("lightgbm", "average_precision", 0.5), row("lightgbm", "brier", 0.2)]
    text = markdown(pd.concat([make_results(), pd.DataFrame(more)]))
    for part in ("ROC AUC | PR AUC | Brier", "**0.710** | 0.400 | **0.123**", "0.700 | **0.500** | 0.200"):
        assert part in text
    assert "ROC AUC" not in markdown(make_results())


# Worlds: oracles, and the share of the attainable gain


def of_a_world(spearman: float = 0.9) -> pd.DataFrame:
    """The results with an RFM and both oracles, who are better than all others. Who is ranked has a share of the gain,
    but for the two between which it lies."""
    rows = [
        row("rfm", "spearman", 0.7, 0.69, 0.71), row("rfm", "bias", -0.5),
        row("oracle", "spearman", spearman, 0.89, 0.91), row("oracle", "bias", 0.001),
        row("oracle_past", "spearman", spearman - 0.01, 0.88, 0.9), row("oracle_past", "bias", 0.002),
        row("gnn", GAIN, 0.53, 0.4, 0.6), row("lightgbm", GAIN, 0.56, 0.45, 0.65),
        row("oracle_past", GAIN, 0.95, 0.9, 1), row("zero", GAIN, -3.5), row("other", GAIN, -3),
        row("gnn", ATTAINED, 0.58, 0.43, 0.66), row("lightgbm", ATTAINED, 0.6), row("zero", ATTAINED, -3.6),
        row("other", ATTAINED, -3.1),
    ]  # fmt: skip
    return pd.concat([make_results(), pd.DataFrame(rows)], ignore_index=True)


def lines_of(results: pd.DataFrame) -> dict[str, str]:
    return {line.split("`")[1]: line for line in markdown(results).splitlines() if line.startswith("| `")}


def test_the_share_of_the_attainable_gain_is_shown_and_explained() -> None:
    text = markdown(of_a_world())
    assert " | of attainable gain | of gain to oracle | Δ Spearman to LightGBM |" in text
    lines = lines_of(of_a_world())
    assert "| 58.0 % [43.0 %, 66.0 %] | 53.0 % [40.0 %, 60.0 %] |" in lines["gnn"]
    assert "| – | – |" in lines["rfm"]
    assert "| – | 95.0 %" in lines["oracle_past"]
    assert "Oracle: knows the latent state of every customer of this made-up world." in text
    assert "no history tells more." in text
    assert "Attainable gain: from RFM to oracle that knows the past. Gain to the oracle: from RFM to oracle." in text
    out = StringIO()
    Console(file=out, width=160).print(console(of_a_world()))
    for part in ("58.0 %", "[43.0 %, 66.0 %]", "Attainable gain: from RFM to oracle that knows the past."):
        assert part in " ".join(out.getvalue().split())


def test_the_small_print_names_the_floor_and_the_ceiling_that_were_chosen() -> None:
    """`evaluation.floor` and `evaluation.ceiling` are anybody's choice."""
    results = of_a_world()[lambda rows: rows["estimator"] != "oracle"]
    shares = results["metric"] == GAIN
    results = pd.concat([results[~(shares & results["estimator"].isin(["lightgbm", "oracle_past"]))],
                         pd.DataFrame([row("rfm", GAIN, -1.2)])])  # fmt: skip
    text = markdown(results)
    assert "Gain to the oracle: from LightGBM to oracle that knows the past." in text
    assert "Oracle: knows" not in text


def test_without_a_share_nothing_is_said_of_it() -> None:
    """Neither without oracles, nor where there is nothing to be gained."""
    nothing = of_a_world()
    nothing.loc[nothing["metric"].isin([GAIN, ATTAINED]), ["value", "lo", "hi"]] = np.nan
    for results in (make_results(), nothing):
        assert "ttainable gain" not in markdown(results)
        assert "ain to the oracle" not in markdown(results)


def test_no_oracle_is_bold_and_the_best_of_the_others_is() -> None:
    for spearman in (0.9, 0.812):  # as good as LightGBM, too
        lines = lines_of(of_a_world(spearman))
        assert "**" not in lines["oracle"] + lines["oracle_past"]
        assert "**0.812 [" in lines["lightgbm"]
        assert "**−2.0 %**" in lines["gnn"]
        assert list(lines) == ["zero", "rfm", "lightgbm", "gnn", "oracle_past", "oracle", "other"]


def test_one_estimator_beside_the_oracles_is_not_the_best_of_itself() -> None:
    alone = of_a_world()[lambda rows: rows["estimator"].isin(["gnn", "oracle", "oracle_past"])]
    assert "**" not in markdown(alone)


# Differences of variants


def make_differences() -> pd.DataFrame:
    rows = [("without a", -0.002, -0.01, 0.006), ("without b", -0.03, -0.04, -0.02), ("without c", 0.01, 0.005, 0.02)]
    return pd.DataFrame(rows, columns=["estimator", "value", "lo", "hi"]).assign(n=100)


def make_sweep() -> pd.DataFrame:
    rows = [(signal, name, signal * k / 10) for signal in (1.0, 0.0, 0.5) for k, name in ((1, "gnn"), (2, "oracle"))]
    frame = pd.DataFrame(rows, columns=["graph_signal", "estimator", "value"])
    return frame.assign(lo=frame["value"] - 0.01, hi=frame["value"] + 0.02, n=100)


def shown(differences_of: pd.DataFrame) -> list[str]:
    out = StringIO()
    Console(file=out, width=120).print(differences(differences_of, title="what it costs"))
    return [line.strip() for line in out.getvalue().splitlines() if line.strip()]


def test_differences_come_with_the_largest_loss_first() -> None:
    title, header, _, *lines = shown(make_differences())
    assert title == "what it costs"
    assert header.split() == ["estimator", "Δ", "Spearman", "95", "%", "interval"]
    assert [" ".join(line.split()) for line in lines] == [
        "without b −0.030 [−0.040, −0.020]", "without a −0.002 [−0.010, +0.006]", "without c +0.010 [+0.005, +0.020]",
    ]  # fmt: skip


def test_differences_whose_interval_leaves_out_nothing_are_bold() -> None:
    table = differences(make_differences(), title="x")
    assert [line.style for line in table.rows] == ["bold", "", "bold"]


def test_differences_of_a_sweep_are_shown_signal_by_signal() -> None:
    _, header, _, *lines = shown(make_sweep())
    assert header.split()[:3] == ["graph", "signal", "estimator"]
    assert [line.split()[:3] for line in lines] == [
        ["0.0", "gnn", "+0.000"], ["0.0", "oracle", "+0.000"], ["0.5", "gnn", "+0.050"], ["0.5", "oracle", "+0.100"],
        ["1.0", "gnn", "+0.100"], ["1.0", "oracle", "+0.200"],
    ]  # fmt: skip


def test_differences_without_an_interval_are_shown() -> None:
    lines = shown(make_differences().assign(lo=np.nan, hi=np.nan))
    assert " ".join(lines[-1].split()) == "without c +0.010"


def test_differences_figure(tmp_path: Path) -> None:
    for rows in (make_differences(), make_differences().assign(lo=np.nan, hi=np.nan)):
        figure = differences_figure(rows, title="what it costs")
        draw(figure, tmp_path)
        (axes,) = figure.axes
        assert [label.get_text() for label in axes.get_yticklabels()] == ["without b", "without a", "without c"]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is on top
        assert {text.get_text() for text in axes.texts} == {"−0.030", "−0.002", "+0.010"}


def test_signal_figure(tmp_path: Path) -> None:
    figure = signal_figure(make_sweep(), title="what pays")
    draw(figure, tmp_path)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["GNN", "oracle"]
    curves = {line.get_label(): line for line in axes.lines if len(line.get_xdata()) == 3}
    assert curves["GNN"].get_xdata().tolist() == [0, 0.5, 1]  # in order, whatever the order of the rows
    assert curves["oracle"].get_ydata().tolist() == [0, 0.1, 0.2]


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.b.pdf", b"%PDF")])
def test_a_figure_is_saved_whole(tmp_path: Path, name: str, start: bytes) -> None:
    path = tmp_path / "new" / "folder" / name
    assert save(Figure(figsize=(1, 1)), path) == path
    assert path.read_bytes().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")

    def half(_: Figure, to: Path, **__: object) -> None:
        Path(to).write_text("half of it")
        raise OSError("No space left")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        save(Figure(), path)
    assert path.read_text() == "old"


# Several tests in time


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
            row("ceiling", "spearman_reliability", 0.9 if fold == "mean" else 0.876, fold=fold),
        ]  # fmt: skip
    return pd.DataFrame(rows).assign(split=split)


def test_the_table_is_of_the_last_test_and_all_stand_below() -> None:
    text = markdown(make_tests())
    above, below = text.split("Spearman in each of the 2 tests, and means over them:")
    assert "| `gnn` | 0.600 [0.580, 0.620] ± 0.003 | 0.300 | 0.200 | −0.020 [−0.030, −0.010] |" in above
    assert "| `lightgbm` | **0.620 [0.600, 0.640]** |" in above
    assert "The test from 2020-07-01, the last of 2." in above
    assert (
        "cap Spearman at 0.960; split-half reliability of the labels puts a perfect predictor at about 0.876." in above
    )
    assert "GNN minus LightGBM: −0.020 [−0.030, −0.010] Spearman (SD over seeds 0.003): the graph does not pay" in above
    assert "Mean over the 2 tests: +0.015 [+0.005, +0.025]." in above
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


# Curves by tenths


def make_tenths() -> pd.DataFrame:
    """A GNN whose tenths of 50 spend 10, 9, ... 1 and were promised one more, with intervals; a zero, all of whose rows
    are tied; and the perfect ranking."""
    rows = [row("gnn", "spearman", 0.8, 0.7, 0.9), row("zero", "spearman", 0.0)]
    for k in range(1, 11):
        where, spend = {"slice": f"decile_{k}"}, 11.0 - k
        rows += [
            row("gnn", "label_mean", spend, **where), row("gnn", "prediction_mean", spend + 1, **where),
            row("gnn", "coverage80", 0.8 - k / 100, 0.7, 0.9, **where),
            row("zero", "label_mean", 5.5 if k == 5 else np.nan, **where),
            row("zero", "prediction_mean", 0 if k == 5 else np.nan, **where),
            row("ceiling", "label_mean", 55.0 if k == 1 else 0.0, **where),
        ]  # fmt: skip
    frame = pd.DataFrame(rows)
    tied = frame["estimator"].eq("zero") & frame["slice"].str.startswith("decile")
    frame.loc[frame["slice"].str.startswith("decile"), "n"] = 50
    frame.loc[tied, "n"] = np.where(frame.loc[tied, "slice"] == "decile_5", 500, 0)
    return frame.sample(frac=1, random_state=0)


def lines_in(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in figure.axes[panel].lines}


def test_curves(tmp_path: Path) -> None:
    figure = curves_figure(make_tenths())
    draw(figure, tmp_path)
    gained, calibrated, covered = (lines_in(figure, panel) for panel in range(3))
    assert set(gained) == {"GNN", "perfect", "chance"}  # the main estimators that are there
    np.testing.assert_allclose(gained["GNN"][[0, 1, 2, 10]], [[0, 0], [0.1, 10 / 55], [0.2, 19 / 55], [1, 1]])
    np.testing.assert_allclose(gained["perfect"][1], [0.1, 1])
    np.testing.assert_allclose(calibrated["GNN"][0], [11, 10])
    np.testing.assert_allclose(covered["GNN"][[0, 9]], [[1, 0.79], [10, 0.7]])


def test_curves_without_any_main_estimator_are_of_all(tmp_path: Path) -> None:
    figure = curves_figure(make_tenths().query("estimator != 'gnn'"))
    draw(figure, tmp_path)
    gained = lines_in(figure, 0)
    np.testing.assert_allclose(gained["zero"], [[0, 0], [1, 1]])  # all are tied: straight through
    assert "zero" not in lines_in(figure, 2)


def test_curves_are_written_where_there_are_any(tmp_path: Path) -> None:
    (path,) = write_curves(make_tenths(), name="tiny", folder=tmp_path)
    assert path == tmp_path / "tiny_curves.png"
    assert path.exists()
    nothing = make_results()
    assert write_curves(nothing, name="none", folder=tmp_path) == []
    with pytest.raises(ValueError, match="300 rows"):
        curves_figure(nothing)
