"""Tables say what the numbers say; figures draw without pyplot; a file is replaced whole or not at all."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from patron.evaluation.metrics import decile_table
from patron.reporting.plots import comparison_figure, decile_figure, gains_figure
from patron.reporting.tables import comparison, console, headline, markdown, ordered, verdict, write_between_markers

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
