"""What a growing shift does to intervals and totals: a table and a figure of what `patron.variants.stress` finds."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.box import SIMPLE_HEAD
from rich.table import Table

from patron.evaluation.scores import DECILES
from patron.reporting.plots import PALETTE, dress
from patron.reporting.rows import formatter, headline, printed
from patron.reporting.tables import ordered

COVERAGE, BIAS = "coverage80_randomised", "bias"
SHOWN = {
    COVERAGE: "80 % at random zeros", "coverage80_payers": "of payers", "lowest": "in the worst tenth",
    "highest": "in the best tenth", "coverage90_upper": "below upper 90 %", "width80": "width / mean",
    BIAS: "revenue bias", "nmae": "MAE / mean", "spearman": "Spearman",
}  # fmt: skip


def stressed(results: pd.DataFrame, *, column: str = "shift") -> pd.DataFrame:
    """One row an estimator and value of `column`: the metrics of `SHOWN` over everybody, `_lo` and `_hi` where there
    are any. `lowest` and `highest` are the coverage of the 80 % interval in two of the tenths of the estimator's own
    ranking, without intervals of their own, since they are chosen for being extreme."""
    parts = [_at(rows).assign(**{column: value}) for value, rows in results.groupby(column)]
    table = pd.concat(parts, ignore_index=True)
    places = {name: place for place, name in enumerate(ordered(table["estimator"]))}
    table = table.sort_values(["estimator", column], key=lambda of: of.map(places) if of.name == "estimator" else of)
    return table[["estimator", column, *table.columns.drop(["estimator", column])]].reset_index(drop=True)


def _at(results: pd.DataFrame) -> pd.DataFrame:
    rows = headline(results)
    rows = rows[rows["estimator"] != "ceiling"]
    values, lo, hi = (rows.pivot(index="estimator", columns="metric", values=kind) for kind in ("value", "lo", "hi"))
    fold = rows["fold"].iloc[0]
    tenths = results[results["slice"].isin(DECILES) & (results["fold"] == fold) & (results["metric"] == COVERAGE)]
    of = tenths.groupby("estimator")["value"]
    values = values.assign(lowest=of.min(), highest=of.max())
    table = pd.DataFrame(index=values.index)
    for metric in SHOWN:
        table[metric] = values[metric]
        if metric in lo:
            table[f"{metric}_lo"], table[f"{metric}_hi"] = lo[metric], hi[metric]
    return table.reset_index()


def stress_table(table: pd.DataFrame, *, title: str, column: str = "shift") -> Table:
    """For a terminal: the rows of `stressed`; intervals of coverage and bias stand below their values."""
    printable = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for header in ("estimator", column, *SHOWN.values()):
        printable.add_column(header, justify="left" if header == "estimator" else "right")
    for row in table.to_dict("records"):
        cells = [_cell(row, metric) for metric in SHOWN]
        printable.add_row(printed(row["estimator"]), f"{row[column]:g}", *cells)
    return printable


def _cell(row: dict, metric: str) -> str:
    show = formatter(COVERAGE if metric in ("lowest", "highest") else metric)
    if pd.isna(row[metric]):
        return "–"
    bounds = [row[f"{metric}_{end}"] if metric in (COVERAGE, BIAS) else math.nan for end in ("lo", "hi")]
    between = "" if pd.isna(bounds).any() else f"\n[{', '.join(map(show, bounds))}]"
    return show(row[metric]) + between


def stress_figure(table: pd.DataFrame, *, title: str, column: str = "shift") -> Figure:
    """Over the value of `column`, a line an estimator: how much the 80 % interval covers, with its worst and best tenth
    as a band, and the bias of the total with its 95 % interval."""
    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    covered, biased = figure.subplots(1, 2)
    for name, colour in zip(ordered(table["estimator"]), PALETTE * len(table), strict=False):
        rows = table[table["estimator"] == name].sort_values(column)
        if rows[COVERAGE].notna().any():
            _line(covered, rows, column=column, metric=COVERAGE, band=("lowest", "highest"), colour=colour)
        _line(biased, rows, column=column, metric=BIAS, band=(f"{BIAS}_lo", f"{BIAS}_hi"), colour=colour)
    covered.axhline(0.8, color="black", ls="--", lw=1)
    biased.axhline(0, color="black", ls="--", lw=1)
    title = "Covered by the 80 % interval, zeros at random; band: worst and best tenth"
    dress(covered, title, x=column, y="share of the customers")
    dress(biased, "Bias of the total; band: 95 % interval", x=column, y="predicted / actual revenue − 1")
    for axes in (covered, biased):
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    biased.legend(frameon=False)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, *, column: str, metric: str, band: Sequence[str], colour: str) -> None:
    lower, upper = (rows[end] for end in band)
    name = printed(str(rows["estimator"].iloc[0]))
    axes.fill_between(rows[column], lower, upper, color=colour, alpha=0.15, lw=0)
    axes.plot(rows[column], rows[metric], "o-", color=colour, lw=1.5, ms=4, label=name)
