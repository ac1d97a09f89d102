"""Figures of an evaluation. Each is a `matplotlib.figure.Figure` of its own: no pyplot, no global state, no display.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Save with `figure.savefig(path)`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from patron.evaluation.answers import ALL, MEAN
from patron.evaluation.curves import Gains, gains
from patron.evaluation.metrics import FLAG_METRICS
from patron.evaluation.scores import DECILES
from patron.files import whole_file
from patron.reporting.rows import formatter, headline, printed
from patron.reporting.tables import MAIN, ordered

ACTUAL, PREDICTED, FAINT = "#BBC4CC", "#D55E00", "#8A8F94"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SWEPT = {"graph_signal": "graph signal: share of the customers' later level that follows from their taste community"}
_GRID = np.linspace(0, 1, 501)  # enough for a smooth curve, and a small file for a million customers


def decile_figure(deciles: pd.DataFrame, *, title: str) -> Figure:
    """Mean actual spend (bars) and mean predicted spend (dots) of each tenth of the customers, from `decile_table`."""
    figure, axes = _blank(title, height=4.0)
    axes.bar(deciles["decile"], deciles["actual_mean"], color=ACTUAL, label="actual mean")
    axes.plot(deciles["decile"], deciles["predicted_mean"], "o-", color=PREDICTED, lw=1.2, label="predicted mean")
    axes.set_xticks(deciles["decile"])
    axes.set_xlabel("decile of predicted rank (1 = highest)")
    axes.set_ylabel("spend a customer (currency of the orders)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def comparison_figure(results: pd.DataFrame, *, metric: str, without: Collection[str] = ()) -> Figure:
    """One line an estimator: dot and 95 % interval of the headline value, small dots for the single seeds.

    `metric` is any of the results, `spearman_minus_lightgbm` too. `without` leaves out estimators, such as a far-off
    zero that squeezes the rest. Raises ValueError when the results have no such metric.
    """
    rows = headline(results)
    of_metric = rows[rows["metric"] == metric].set_index("estimator")
    if of_metric.empty:
        raise ValueError(f"the results have no metric '{metric}'; they have {sorted(rows['metric'].unique())}")
    names = ordered(set(of_metric.dropna(subset="value").index) - set(without))
    figure, axes = _blank(_experiment(rows), height=1.2 + 0.42 * len(names))
    _dots(axes, of_metric.loc[names], metric=metric)
    _seed_dots(axes, results[results["fold"] == rows["fold"].iloc[0]], metric=metric, names=names)
    _guide(axes, rows, metric=metric)
    axes.set_yticks(range(len(names)), [printed(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(_label(metric))
    return figure


def differences_figure(differences: pd.DataFrame, *, title: str) -> Figure:
    """One line a variant: its paired difference in Spearman with the 95 % interval, the largest loss on top."""
    rows = differences.sort_values("value").set_index("estimator")
    figure, axes = _blank(title, height=1.2 + 0.3 * len(rows))
    axes.axvline(0, color=FAINT, ls="--", lw=1)
    _dots(axes, rows, metric="spearman_minus")
    axes.set_yticks(range(len(rows)), [printed(str(name)) for name in rows.index])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("difference in Spearman, 95 % interval")
    return figure


def slices_figure(differences: pd.DataFrame, *, reference: str, title: str) -> Figure:
    """One line an estimator and slice: its paired difference in Spearman to the reference with the 95 % interval.

    `differences` has `estimator, slice, value, lo, hi, n`; slices and estimators come in its order, those without a
    value are left out. Raises ValueError if none has one.
    """
    rows = differences.dropna(subset="value")
    if rows.empty:
        raise ValueError("no slice has a difference to draw; score at least 30 rows a slice")
    slices, names = list(dict.fromkeys(rows["slice"])), list(dict.fromkeys(rows["estimator"]))
    figure, axes = _blank(title, height=1.4 + 0.22 * len(slices) * (len(names) + 1))
    axes.axvline(0, color=FAINT, ls="--", lw=1)
    for k, (name, colour) in enumerate(zip(names, PALETTE * len(names), strict=False)):
        own = rows[rows["estimator"] == name]
        position = [slices.index(part) + (k - (len(names) - 1) / 2) / (len(names) + 1) for part in own["slice"]]
        reach = np.abs(np.stack([own["value"] - own["lo"], own["hi"] - own["value"]]))
        label = printed(str(name))
        axes.errorbar(own["value"], position, xerr=reach, fmt="o", color=colour, ms=5, lw=1.4, capsize=2.5, label=label)
    n = rows.groupby("slice")["n"].max()
    axes.set_yticks(range(len(slices)), [f"{part.replace('_', ' ')}\nn = {n[part]:,}" for part in slices])
    axes.set_ylim(len(slices) - 0.5, -0.5)
    axes.set_xlabel(f"difference in Spearman to {printed(reference)}, 95 % interval")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def signal_figure(differences: pd.DataFrame, *, title: str, column: str = "graph_signal") -> Figure:
    """A line an estimator over the swept `column`: the paired difference in Spearman and its 95 % interval."""
    figure, axes = _blank(title, height=4.4)
    axes.axhline(0, color=FAINT, ls="--", lw=1)
    for name, colour in zip(ordered(differences["estimator"]), PALETTE * len(differences), strict=False):
        rows = differences[differences["estimator"] == name].sort_values(column)
        axes.fill_between(rows[column], rows["lo"], rows["hi"], color=colour, alpha=0.15, lw=0)
        axes.plot(rows[column], rows["value"], "o-", color=colour, lw=1.4, ms=4, label=printed(str(name)))
    axes.set_xlabel(_SWEPT.get(column, column))
    axes.set_ylabel("difference in Spearman, 95 % interval")
    axes.legend(frameon=False)
    return figure


def curves_figure(results: pd.DataFrame) -> Figure:
    """Of the main estimators and the test of the table: revenue gained, means predicted against those that came, and
    how much the 80 % interval covers, all by tenths of each estimator's ranking.

    Raises ValueError where there are none: `evaluate` knows tenths of thirty customers and more.
    """
    rows = _by_tenth(results)
    if rows.empty:
        raise ValueError("the results have no tenths of the customers to draw; score at least 300 rows")
    there = ordered(rows["estimator"])
    names = [name for name in there if name in MAIN] or [name for name in there if name != "ceiling"][: len(PALETTE)]
    figure = Figure(figsize=(13, 4.4), dpi=110, layout="constrained")
    figure.suptitle(_experiment(headline(results)), x=0.01, ha="left", fontsize=11)
    gained, calibrated, covered = figure.subplots(1, 3)
    for name, colour in zip(names, PALETTE, strict=False):
        own = rows[rows["estimator"] == name]
        style = {"color": colour, "label": printed(name), "marker": "o", "ms": 3.5, "lw": 1.5}
        gained.plot(*_gained(own), **style)
        calibrated.plot(*(_values(own, metric)["value"] for metric in ("prediction_mean", "label_mean")), **style)
        coverage = _values(own, "coverage80_randomised")
        if coverage["value"].notna().any():
            covered.fill_between(coverage.index, coverage["lo"], coverage["hi"], color=colour, alpha=0.13, lw=0)
            covered.plot(coverage["value"], **style)
    _finish_gains(gained, perfect=rows[rows["estimator"] == "ceiling"])
    _finish_calibration(calibrated)
    _finish_coverage(covered)
    return figure


def write_curves(results: pd.DataFrame, *, name: str, folder: Path) -> list[Path]:
    """`folder/name_curves.png`, where the tests are large enough for tenths; returns the files that were written."""
    drawable = not _by_tenth(results).empty
    return [save(curves_figure(results), folder / f"{name}_curves.png")] if drawable else []


def save(figure: Figure, path: Path) -> Path:
    """Write the figure to `path`, complete or not at all; returns the path."""
    with whole_file(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix("."))
    return path


def gains_figure(y: Any, scores: Mapping[str, Any]) -> Figure:
    """Share of revenue captured against share of customers targeted, best score first, between chance and perfection.

    `y [n]` is spend and each score `[n]` ranks the same customers. The legend says what the first tenth captures.
    """
    figure, axes = _blank("Revenue captured by targeting the highest scores", height=4.6)
    for name, colour in zip(ordered(scores), PALETTE * len(scores), strict=False):
        _curve(axes, gains(y, scores[name]), label=printed(name), color=colour)
    _curve(axes, gains(y, y), label="perfect", color=FAINT, ls=":")
    axes.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=1, label="chance (10 %)")
    axes.set_xlabel("customers targeted (share, highest score first)")
    axes.set_ylabel("revenue captured (share)")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(frameon=False, loc="lower right", title="(captured by the first 10 %)")
    return figure


def _by_tenth(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of the tenths of the test of the table, with the number of the tenth; none where nobody has a value."""
    shown = headline(results)["fold"].iloc[0]
    rows = results[(results["fold"] == shown) & results["slice"].isin(DECILES)]
    rows = rows.assign(tenth=rows["slice"].str.removeprefix("decile_").astype(int)).sort_values("tenth")
    scored = rows.loc[rows["estimator"] != "ceiling", "value"].notna().any()
    return rows if scored else rows.iloc[:0]


def _values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return rows[rows["metric"] == metric].set_index("tenth")[["value", "lo", "hi", "n"]]


def _gained(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Share of the customers, and of the revenue, up to each tenth that holds anybody, from (0, 0) on."""
    tenths = _values(rows, "label_mean").query("n > 0")
    running = [np.append(0, np.cumsum(of)) for of in (tenths["n"], tenths["n"] * tenths["value"])]
    customers, revenue = (of / of[-1] for of in running)
    return customers, revenue


def _finish_gains(axes: Axes, *, perfect: pd.DataFrame) -> None:
    if not perfect.empty:
        axes.plot(*_gained(perfect), color=FAINT, ls=":", lw=1.5, label="perfect")
    axes.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=1, label="chance")
    dress(axes, "Revenue gained", x="customers, highest rank first", y="share of revenue")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(frameon=False, loc="lower right")


def _finish_calibration(axes: Axes) -> None:
    end = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([0, end], [0, end], color=FAINT, ls="--", lw=1)
    for set_scale in (axes.set_xscale, axes.set_yscale):  # spend is skewed, and the mean of the last tenths may be 0
        set_scale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    ticks = [float(f"{share * end:.1g}") for share in (0, 0.04, 0.16, 0.4, 0.8)]
    axes.set(xlim=(0, end), ylim=(0, end), xticks=ticks, yticks=ticks)
    unit = "mean {} spend (currency, square-root scale)"
    dress(axes, "Calibration of each tenth", x=unit.format("predicted"), y=unit.format("actual"))


def _finish_coverage(axes: Axes) -> None:
    axes.axhline(0.8, color=FAINT, ls="--", lw=1)
    title, x = "Covered by the 80 % interval, zeros at random", "tenth of the ranking (1 = highest)"
    dress(axes, title, x=x, y="share of the customers")
    axes.set(xticks=range(1, 11), ylim=(min(0.5, axes.get_ylim()[0]), 1.01))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))


def dress(axes: Axes, title: str, *, x: str, y: str) -> None:
    """Titles and a light grid, as all panels of patron's figures have them."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#E6E9EC", lw=0.7)
    axes.set_axisbelow(True)


def _blank(title: str, *, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, height), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#E6E9EC", lw=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _dots(axes: Axes, rows: pd.DataFrame, *, metric: str) -> None:
    value, position = rows["value"].to_numpy(), np.arange(len(rows))
    reach = np.abs(np.stack([value - rows["lo"], rows["hi"] - value]))
    axes.errorbar(value, position, xerr=reach, fmt="o", color=PALETTE[0], ms=6, lw=1.6, capsize=3, zorder=3)
    for x, row, text in zip(rows["hi"].fillna(rows["value"]), position, value, strict=True):
        label = axes.annotate(formatter(metric)(text), (x, row), xytext=(6, 0), textcoords="offset points", va="center")
        label.set(fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    axes.margins(x=0.12)


def _seed_dots(axes: Axes, results: pd.DataFrame, *, metric: str, names: list[str]) -> None:
    single = results[(results["seed"] != MEAN) & (results["slice"] == ALL)]
    single = single[(single["metric"] == metric) & single["estimator"].isin(names)]
    single = single[single["estimator"].duplicated(keep=False)]
    axes.plot(single["value"], [names.index(name) + 0.22 for name in single["estimator"]], "o", color=FAINT, ms=2.5)


def _guide(axes: Axes, rows: pd.DataFrame, *, metric: str) -> None:
    """A line where the metric has a mark to read against: the ceiling of Spearman, no difference, no bias, 80 %."""
    ceiling = rows.loc[rows["metric"] == "spearman_ceiling", "value"]
    if metric == "spearman" and len(ceiling):
        axes.axvline(ceiling.iloc[0], color=FAINT, ls="--", lw=1)
        place = axes.get_xaxis_transform()  # x in data, y in shares of the height
        axes.text(ceiling.iloc[0], 1, "ceiling ", ha="right", va="top", fontsize=8, color=FAINT, transform=place)
    elif metric not in FLAG_METRICS or metric == "bias" or 0 < FLAG_METRICS[metric].ideal < 1:
        axes.axvline(FLAG_METRICS[metric].ideal if metric in FLAG_METRICS else 0.0, color=FAINT, ls="--", lw=1)


def _label(metric: str) -> str:
    base, minus, reference = metric.partition("_minus_")
    label = FLAG_METRICS[base].label if base in FLAG_METRICS else base
    return f"{label}, minus {printed(reference)}'s" if minus else label


def _experiment(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    test = "" if first["fold"] == MEAN else f", test from {first['fold']}"
    return f"{first['data']}, {first['task']}, split {first['split']}{test}, n = {rows['n'].max():,}"


def _curve(axes: Axes, curve: Gains, *, label: str, **style: Any) -> None:
    revenue = np.interp(_GRID, curve.customers, curve.revenue)
    tenth = np.interp(0.1, curve.customers, curve.revenue)
    axes.plot(_GRID, revenue, lw=1.6, label=f"{label} ({100 * tenth:.0f} %)", **style)
