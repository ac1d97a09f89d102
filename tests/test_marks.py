"""The signs of a table by hand: who ranks below chance, and whose total is off."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from results_by_hand import make_results, row
from rich.console import Console

from patron.reporting.marks import BELOW, OFF, marks, marks_said
from patron.reporting.tables import console, markdown


@pytest.mark.parametrize(
    ("value", "lo", "hi", "below"),
    [
        (-0.43, -0.5, -0.36, True),
        (-0.05, -0.099, -0.001, False),  # of a standard error of 0.025, two
        (-0.06, -0.109, -0.011, True),
        (-0.01, -0.03, 0.01, False),
        (0.4, 0.3, 0.5, False),
        (0.0, 0.0, 0.0, False),
        (-0.4, np.nan, np.nan, False),
    ],
)
def test_who_ranks_below_chance(value: float, lo: float, hi: float, below: bool) -> None:
    rows = pd.DataFrame([row("btyd", "spearman", value, lo, hi)])
    assert marks(rows) == ({("btyd", "spearman"): BELOW} if below else {})
    assert bool(marks_said(rows)) == below


@pytest.mark.parametrize(
    ("lo", "hi", "off"),
    [(0.11, 0.3, True), (0.09, 0.3, False), (-0.3, -0.11, True), (-0.3, -0.09, False), (np.nan, np.nan, False)],
)
def test_whose_total_is_off_beyond_chance(lo: float, hi: float, off: bool) -> None:
    rows = pd.DataFrame([row(name, "bias", 0.2, lo, hi) for name in ("gnn", "zero", "oracle", "oracle_past")])
    assert marks(rows) == ({("gnn", "bias"): OFF} if off else {})


def shifted() -> pd.DataFrame:
    """Results after a break: totals of +20 to +42 %, and a BTYD that ranks the wrong way round."""
    rows = [
        row("last_window", "bias", 0.38, 0.3, 0.46), row("last_window", "spearman", 0.4, 0.35, 0.45),
        row("btyd", "bias", 0.42, 0.33, 0.5), row("btyd", "spearman", -0.43, -0.5, -0.36),
        row("rfm", "bias", -0.2, -0.3, -0.12), row("rfm", "spearman", -0.01, -0.04, 0.02),
    ]  # fmt: skip
    return pd.concat([make_results(), pd.DataFrame(rows)], ignore_index=True)


def test_the_table_has_the_signs_and_says_what_they_mean() -> None:
    text = markdown(shifted())
    cells = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert f"| −0.430 [−0.500, −0.360] {BELOW} |" in cells["btyd"]
    assert f"| +42.0 % {OFF} |" in cells["btyd"]
    assert [name for name, line in cells.items() if BELOW in line] == ["btyd"]
    assert [name for name, line in cells.items() if OFF in line] == ["last_window", "rfm", "btyd"]
    assert "† ranks below chance: a Spearman below 0 by more than 2 standard errors" in text
    totals = "‡ the total is off by more than 10 %, beyond chance: last window +38.0 %, BTYD +42.0 %, RFM −20.0 %."
    assert totals in text
    out = StringIO()
    Console(file=out, width=160).print(console(shifted()))
    assert "−0.430 †" in out.getvalue()
    assert totals in " ".join(out.getvalue().split())


def test_without_a_sign_nothing_is_said_of_any() -> None:
    for sign in (BELOW, OFF):
        assert sign not in markdown(make_results())
