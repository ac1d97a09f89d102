"""Differences of variants, in a table and in figures."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from results_by_hand import draw
from rich.console import Console

from patron.reporting.plots import differences_figure, signal_figure
from patron.reporting.tables import differences


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
