"""The table and the figure of the stress test, from a long table written by hand."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from patron.reporting.stress import COVERAGE, SHOWN, stress_figure, stress_table, stressed


def results() -> pd.DataFrame:
    """Two estimators at two shifts. Coverage is 0.8 less a tenth of the number of the estimator, in tenths from 0.05
    below that to 0.04 above; the other metrics are numbers of their own."""
    rows = []
    for shift in (1.3, 1.0):
        for k, name in enumerate(("lightgbm", "rfm")):
            everybody = {metric: number / 100 for number, metric in enumerate(SHOWN)}
            everybody |= {COVERAGE: 0.8 - k / 10, "bias": 1 / shift - 1}
            rows += [(shift, name, "all", metric, value) for metric, value in everybody.items()]
            rows += [(shift, name, f"decile_{n}", COVERAGE, 0.74 - k / 10 + n / 100) for n in range(1, 11)]
            rows += [(shift, name, "decile_1", "label_mean", 99.0)]
        rows += [(shift, "ceiling", "all", "spearman_ceiling", 0.9)]
    frame = pd.DataFrame(rows, columns=["shift", "estimator", "slice", "metric", "value"])
    frame = frame[~frame["metric"].isin(["lowest", "highest"])]
    where = {"data": "steady", "task": "6m", "split": "temporal", "fold": "mean", "seed": "mean", "n": 100}
    return frame.assign(lo=frame["value"] - 0.01, hi=frame["value"] + 0.02, **where)


def test_a_row_an_estimator_and_shift_in_order() -> None:
    table = stressed(results())
    assert table[["estimator", "shift"]].to_numpy().tolist() == [
        ["rfm", 1.0], ["rfm", 1.3], ["lightgbm", 1.0], ["lightgbm", 1.3],
    ]  # fmt: skip
    row = table.iloc[3]
    assert row[[COVERAGE, f"{COVERAGE}_lo", f"{COVERAGE}_hi"]].tolist() == pytest.approx([0.8, 0.79, 0.82])
    assert row[["lowest", "highest"]].tolist() == pytest.approx([0.75, 0.84])
    assert row["bias"] == pytest.approx(1 / 1.3 - 1)
    assert row["spearman"] == pytest.approx((len(SHOWN) - 1) / 100)
    assert "lowest_lo" not in table


def test_the_table_is_printed() -> None:
    out = StringIO()
    Console(file=out, width=200).print(stress_table(stressed(results()), title="what a shift does"))
    lines = [line.strip() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == "what a shift does"
    (last,) = [line for line in lines if line.startswith("LightGBM") and " 1.3 " in line]
    assert [cell for cell in last.split() if cell.startswith(("80", "75", "84", "−23"))] == [
        "80.0",
        "75.0",
        "84.0",
        "−23.1",
    ]
    assert lines[-1] == "[79.0 %, 82.0 %]" + " " * (lines[-1].index("[−24") - 16) + "[−24.1 %, −21.1 %]"


def test_who_gives_no_interval_has_no_coverage() -> None:
    frame = results()
    none = (frame["estimator"] == "rfm") & frame["metric"].str.startswith("coverage")
    table = stressed(frame.assign(value=frame["value"].mask(none)))
    out = StringIO()
    Console(file=out, width=200).print(stress_table(table, title="x"))
    (line,) = [line for line in out.getvalue().splitlines() if line.strip().startswith("RFM") and " 1 " in line]
    assert line.split().count("–") == 5
    covered, biased = stress_figure(table, title="x").axes
    assert len(covered.lines) == 1 + 1  # LightGBM and the guide
    assert len(biased.lines) == 2 + 1


def test_the_figure_shows_coverage_and_bias_by_shift() -> None:
    figure = stress_figure(stressed(results()), title="what a shift does")
    figure.draw_without_rendering()
    covered, biased = figure.axes
    lines = {line.get_label(): line for line in covered.lines}
    np.testing.assert_allclose(lines["LightGBM"].get_xdata(), [1, 1.3])
    np.testing.assert_allclose(lines["LightGBM"].get_ydata(), [0.8, 0.8])
    lines = {line.get_label(): line for line in biased.lines}
    np.testing.assert_allclose(lines["RFM"].get_ydata(), [0, 1 / 1.3 - 1])
