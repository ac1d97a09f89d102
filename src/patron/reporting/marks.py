"""What a table has to say of single numbers: who ranks below chance, and whose total is off by more than chance."""

from collections.abc import Iterator, Mapping

import pandas as pd

from patron.reporting.rows import ORACLES, formatter, printed, value_of

BELOW, OFF = "†", "‡"
ERRORS = 2.0  # standard errors by which a Spearman lies below 0
TOLERANCE = 0.1  # share of the total that nobody minds
_NORMAL = 2 * 1.96  # standard errors in a 95 % interval


def marks(rows: pd.DataFrame) -> Mapping[tuple[str, str], str]:
    """The sign beside a number, by estimator and metric: `BELOW` for a Spearman more than `ERRORS` standard errors of
    the bootstrap below 0, `OFF` for a total whose 95 % interval leaves out all that is within `TOLERANCE`. Zero, which
    says that there is no total, and the oracles have none for it."""
    below = {(name, "spearman"): BELOW for name, value, lo, hi in _values(rows, "spearman") if _is_below(value, lo, hi)}
    off = {
        (name, "bias"): OFF
        for name, _, lo, hi in _values(rows, "bias")
        if name not in ("zero", *ORACLES) and (lo > TOLERANCE or hi < -TOLERANCE)
    }
    return below | off


def marks_said(rows: pd.DataFrame) -> list[str]:
    """A line for each kind of sign that is there."""
    signs, lines = marks(rows), []
    if BELOW in signs.values():
        lines.append(
            f"{BELOW} ranks below chance: a Spearman below 0 by more than {ERRORS:g} standard errors; whoever is "
            "ranked first is worth less than whoever is ranked last."
        )
    if OFF in signs.values():
        show = formatter("bias")
        totals = ", ".join(
            f"{printed(name)} {show(value_of(rows, name, 'bias')[0])}" for name, metric in signs if metric == "bias"
        )
        lines.append(f"{OFF} the total is off by more than {100 * TOLERANCE:g} %, beyond chance: {totals}.")
    return lines


def _is_below(value: float, lo: float, hi: float) -> bool:
    return value < -ERRORS * (hi - lo) / _NORMAL  # false where there is no interval


def _values(rows: pd.DataFrame, metric: str) -> Iterator[tuple[str, float, float, float]]:
    for name in rows.loc[rows["metric"] == metric, "estimator"]:
        yield str(name), *value_of(rows, str(name), metric)
