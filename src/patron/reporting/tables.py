"""Tables that people read, from the long results of `patron.evaluation.evaluate`, each with its small print.

The small print says how the data were split, how many rows were scored, how high Spearman can go, which command and
commit made the numbers, and what they say about the graph. It is generated, so that it is no kinder than the numbers.
Of several tests in time the table is of the last, and a small one beside it of all of them.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from patron.evaluation.answers import MEAN
from patron.evaluation.evaluate import ATTAINED, CEILING, GAIN, PROPENSITY
from patron.evaluation.metrics import FLAG_METRICS
from patron.files import whole_file, write_text
from patron.reporting.marks import marks, marks_said
from patron.reporting.rows import (
    ORACLES,
    between,
    bracketed,
    formatter,
    has,
    headline,
    plain,
    printed,
    signed,
    tests_of,
    value_of,
)
from patron.reporting.verdict import CONTROLS, verdict

ORDER = (
    "zero", "last_window", "frequency", "rfm", "btyd", "lightgbm_rfm", "lightgbm_flat", "lightgbm", "lightgbm_twohop",
    "mlp", "gnn_purchases_only", "gnn_no_co_shoppers", "gnn_shuffled", "gnn", "boosted_mlp", "boosted_gnn_shuffled",
    "boosted_gnn", "stack", *ORACLES,
)  # fmt: skip
MAIN = ("rfm", "btyd", "lightgbm", "gnn", "stack", "oracle")  # of which curves are drawn and means are said
SPLITS = {
    "temporal": "temporal: trained on the past, tested on the future",
    "customers": "customers: customers held out at one cutoff; not a test of time",
}
HEADERS = {
    "spearman": "Spearman",
    "nmae": "MAE / mean",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "revenue bias",
    "gini": "Gini",
    "capture10": "top 10 % hold",
    "crps": "CRPS / mean",
    "coverage80_randomised": "80 % at random zeros",
    "coverage80": "80 % covers",
    "coverage80_payers": "of payers",
    "roc_auc": "ROC AUC",
    "average_precision": "PR AUC",
    "brier": "Brier",
    ATTAINED: "of attainable gain",
    GAIN: "of gain to oracle",
}
_ORACLES_SAID = {
    "oracle": "Oracle: knows the latent state of every customer of this made-up world.",
    "oracle_past": "The oracle that knows the past: how the world works, and of a customer what the tables show; no "
                   "history tells more.",
}  # fmt: skip
_WITH_INTERVAL = ("spearman", "nmae")  # the others would make the table too wide to read
_DIFFERENCE = "spearman_minus_"
# The share that predictions themselves promise, printed beside the one that came.
_PROMISED = {"coverage80": "coverage80_implied", "coverage80_payers": "coverage80_payers_implied"}
_UNSHOWN = {_DIFFERENCE + control for controls in CONTROLS.values() for control in controls}  # the verdict says them
_WIDE = 145  # columns of a terminal that all metrics need
_NARROW = ("spearman", "nmae", "bias", "capture10", "roc_auc", "brier", ATTAINED)
_HEADLINE = tuple(HEADERS[metric] for metric in _NARROW)


def ordered(estimators: Iterable[str]) -> list[str]:
    """The names from the simplest baseline to the graph, then any others by name."""
    return sorted(set(estimators), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def comparison(results: pd.DataFrame) -> pd.DataFrame:
    """One row an estimator: a column a metric, `_lo` and `_hi` of the headline metrics and of the difference to the
    reference, `_sd` over seeds where there are several. Coverage appears where an estimator gives intervals."""
    rows = headline(results)
    values, lo, hi = (rows.pivot(index="estimator", columns="metric", values=kind) for kind in ("value", "lo", "hi"))
    table = pd.DataFrame(index=pd.Index(ordered(set(values.index) - {"ceiling"}), name="estimator"))
    for metric in _shown(values.dropna(axis=1, how="all").columns):
        table[metric] = values[metric]
        if metric not in FLAG_METRICS or metric in _WITH_INTERVAL:
            table[f"{metric}_lo"], table[f"{metric}_hi"] = lo[metric], hi[metric]
        if _PROMISED.get(metric) in values:
            table[f"{metric}_promised"] = values[_PROMISED[metric]]
        if metric in FLAG_METRICS:
            table[f"{metric}_sd"] = values.get(f"{metric}_seed_sd", math.nan)
    return table.reset_index()


def markdown(results: pd.DataFrame) -> str:
    """A GitHub table of `value [lo, hi] ± SD over seeds`, the best of each column in bold, and its small print; then,
    of several tests, a table of Spearman in each and of the means."""
    cells, best = cells_of(comparison(results), signs=marks(headline(results)))
    lines = [*_grid(cells.where(~best, "**" + cells + "**")), "", *_small_print(results), ""]
    tests = tests_of(results)
    if tests:
        lines += [
            f"Spearman in each of the {len(tests)} tests, and means over them:",
            "",
            *_grid(_by_test(results)),
            "",
        ]
    return "\n".join(lines)


def console(results: pd.DataFrame, *, width: int = 160) -> Table:
    """The same for a terminal of `width` columns: a rich table, the small print as its caption.

    A narrow terminal gets the headline columns only; all are in the long table.
    """
    cells, best = cells_of(comparison(results), signs=marks(headline(results)))
    if width < _WIDE:
        kept = [name for name in cells.columns if name in _HEADLINE or name.startswith("Δ")]
        cells, best = cells[kept], best[kept]
    caption = Text("\n".join([*_small_print(results), *_means_said(results)]).replace("`", ""))
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("estimator", no_wrap=True)
    for header in cells.columns:
        table.add_column(header, justify="right", overflow="fold")
    for name in cells.index:
        styles = ["bold" if won else "" for won in best.loc[name]]
        texts = [Text(_two_lines(cell), style=style) for cell, style in zip(cells.loc[name], styles, strict=True)]
        table.add_row(str(name), *texts)
    return table


def differences(rows: pd.DataFrame, *, title: str, column: str = "graph_signal") -> Table:
    """For a terminal: the paired differences of `patron.variants.advantages`, the largest loss first; those whose
    interval leaves out 0 in bold. Of a sweep value by value of `column`."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    keys = [name for name in (column, "estimator") if name in rows]
    for header in (*(key.replace("_", " ") for key in keys), "Δ Spearman", "95 % interval"):
        table.add_column(header, justify="left" if header == "estimator" else "right")
    for row in rows.sort_values([*keys[:-1], "value"]).to_dict("records"):
        style = "bold" if row["lo"] > 0 or row["hi"] < 0 else ""
        cells = [*(str(row[key]) for key in keys), signed(row["value"]), between(row["lo"], row["hi"], signed)]
        table.add_row(*cells, style=style)
    return table


def write_between_markers(path: Path, *, key: str, text: str) -> None:
    """Replaces what stands between `<!-- results:KEY:begin -->` and `<!-- results:KEY:end -->`, at once or not at all.

    Raises ValueError, leaving the file as it was, unless each marker is there exactly once and in this order.
    """
    begin, end = f"<!-- results:{key}:begin -->", f"<!-- results:{key}:end -->"
    content = path.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"{path} needs the line '{begin}' once and, after it, the line '{end}' once; add them")
    head, tail = content.split(begin)[0], content.split(end)[1]
    write_text(path, f"{head}{begin}\n{text.strip()}\n{end}{tail}")


def write_results(results: pd.DataFrame, *, name: str, folder: Path, readme: Path | None) -> list[Path]:
    """`folder/name.csv`, the long table, and its markdown between the markers of `readme`, if it has them.

    Returns the files that were written.
    """
    csv = folder / f"{name}.csv"
    with whole_file(csv) as partial:
        results.to_csv(partial, index=False)
    page = readme.read_text(encoding="utf-8") if readme is not None and readme.exists() else ""
    if readme is None or f"<!-- results:{name}:begin -->" not in page:
        return [csv]
    write_between_markers(readme, key=name, text=markdown(results))
    return [csv, readme]


def _grid(cells: pd.DataFrame) -> list[str]:
    lines = [["estimator", *cells.columns], ["---", *["---:"] * cells.shape[1]]]
    lines += [[f"`{name}`", *row] for name, row in zip(cells.index, cells.to_numpy().tolist(), strict=True)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _by_test(results: pd.DataFrame) -> pd.DataFrame:
    """The printed cells, a row an estimator: Spearman in each test, then the means."""
    mean, names = headline(results, fold=MEAN), comparison(results)["estimator"]
    differences_to = [metric for metric in _shown(mean["metric"].unique()) if metric.startswith(_DIFFERENCE)]
    cells = {
        test: [_said(headline(results, fold=test), name, "spearman") for name in names] for test in tests_of(results)
    }
    for metric in ("spearman", "nmae", *differences_to):
        cells[f"mean {_header(metric)}"] = [_said(mean, name, metric) for name in names]
    return pd.DataFrame(cells, index=pd.Index(names, name="estimator"))


def _said(rows: pd.DataFrame, estimator: str, metric: str) -> str:
    if not has(rows, estimator, metric):
        return "–"
    value, lo, hi = value_of(rows, estimator, metric)
    return bracketed(value, lo, hi, show=formatter(metric))


def _means_said(results: pd.DataFrame) -> list[str]:
    """What a terminal has no room for as a table: the means over several tests, of those whom most will look for."""
    tests = tests_of(results)
    if not tests:
        return []
    rows = headline(results, fold=MEAN)
    names = [name for name in MAIN if has(rows, name, "spearman")]
    said = [f"{printed(name)} {plain(value_of(rows, name, 'spearman')[0])}" for name in names]
    return [f"Mean Spearman over the {len(tests)} tests {', '.join(tests)}: {', '.join(said)}."] if said else []


def _header(metric: str) -> str:
    return HEADERS.get(metric, f"Δ Spearman to {printed(metric.removeprefix(_DIFFERENCE))}")


def _shown(columns: Iterable[str]) -> list[str]:
    """The metrics among the columns, in printed order; the difference to the reference last."""
    present = list(columns)
    differences = [name for name in present if name.startswith(_DIFFERENCE) and not name.endswith(("_lo", "_hi"))]
    differences = [name for name in differences if name not in _UNSHOWN]
    return [metric for metric in HEADERS if metric in present] + differences


def cells_of(table: pd.DataFrame, *, signs: Mapping[tuple[str, str], str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The printed cells, a row an estimator, each with its sign by estimator and metric, and whether each is the best
    of its column (never for a difference)."""
    frame = table.set_index("estimator")
    cells, best = pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.index)
    for metric in _shown(frame.columns):
        cells[_header(metric)] = [
            " ".join(filter(None, [_cell(row, metric), signs.get((str(name), metric), "")]))
            for name, row in frame.iterrows()
        ]
        is_promise = f"{metric}_promised" in frame  # what came is to be near it, and not near a number for all
        best[_header(metric)] = False if is_promise else _is_best(frame[metric], metric)
    return cells, best


def _cell(row: pd.Series, metric: str) -> str:
    if math.isnan(row[metric]):
        return "–"
    show = formatter(metric)
    bracket = between(row.get(f"{metric}_lo", math.nan), row.get(f"{metric}_hi", math.nan), show)
    sd = row.get(f"{metric}_sd", math.nan) if metric in _WITH_INTERVAL else math.nan
    spread = "" if math.isnan(sd) else f"± {show(sd)}"
    promised = row.get(f"{metric}_promised", math.nan)
    promise = "" if math.isnan(promised) else f"({show(promised)})"
    return " ".join(part for part in (show(row[metric]), bracket, spread, promise) if part)


def _two_lines(cell: str) -> str:
    """The interval below the value and its spread, because terminals are narrow."""
    value, bracket, rest = cell.partition(" [")
    interval, _, spread = rest.partition("]")
    return f"{value}{spread}\n[{interval}]" if bracket else cell


def _is_best(values: pd.Series, metric: str) -> pd.Series:
    comparable = values.drop(list(ORACLES), errors="ignore")
    if metric not in FLAG_METRICS or comparable.notna().sum() < 2:
        return pd.Series(False, index=values.index)
    shortfall = FLAG_METRICS[metric].shortfall(comparable)
    return (shortfall == shortfall.min()).reindex(values.index, fill_value=False)


def _small_print(results: pd.DataFrame) -> list[str]:
    said = verdict(results)
    return [*small_print(results), *([said] if said else [])]


def small_print(results: pd.DataFrame) -> list[str]:
    """What a table or figure is of, and how to read it, a sentence or two a line; without a verdict."""
    rows, tests = headline(results), tests_of(results)
    first, several = rows.iloc[0], f" The test from {tests[-1]}, the last of {len(tests)}." if tests else ""
    lines = [
        f"Data {first['data']}, task {first['task']}. Split {SPLITS.get(first['split'], first['split'])}.{several}",
        f"n = {rows['n'].max():,} rows of customer and cutoff.{_ceilings_said(rows)}",
        "Brackets: 95 % interval, bootstrap over customers; ±: SD over seeds; Δ: paired; bold: best, not a test.",
        *_coverage_said(rows),
        " ".join(marks_said(rows)),
        " ".join([*_oracles_said(rows), *_gain_said(rows)]),
        f"Command: `{_unique(rows['command'])}`; commit `{_unique(rows['commit'])}`.",
    ]
    return [line for line in lines if line]


def _coverage_said(rows: pd.DataFrame) -> list[str]:
    if not (rows["metric"] == "coverage80_implied").any():
        return []
    return [
        "80 % covers: the share of labels in [q10, q90]; in brackets the share that the predictions promise, above "
        "80 % where more than a tenth of a distribution is at 0. At random zeros: each label of 0 counts as anywhere "
        "in the mass at 0, and 80 % is right."
    ]


def _ceilings_said(rows: pd.DataFrame) -> str:
    said = {
        CEILING: "Zeros among the labels cap the Spearman of a score without ties at",
        PROPENSITY: "whoever knew each customer's rate, mean spend and whether it has left, not when it will, would "
                    "reach about",
    }  # fmt: skip
    known = {text: value_of(rows, "ceiling", metric) for metric, text in said.items() if has(rows, "ceiling", metric)}
    parts = "; ".join(f"{text} {bracketed(*found, show=plain)}" for text, found in known.items())
    return f" {parts[0].upper()}{parts[1:]}." if parts else ""


def _oracles_said(rows: pd.DataFrame) -> list[str]:
    return [text for name, text in _ORACLES_SAID.items() if (rows["estimator"] == name).any()]


def _gain_said(rows: pd.DataFrame) -> list[str]:
    said = {ATTAINED: "Attainable gain", GAIN: "Gain to the oracle"}
    return [text for metric, name in said.items() for text in _bounds_said(rows, metric, name)]


def _bounds_said(rows: pd.DataFrame, metric: str, name: str) -> list[str]:
    # Of all who are ranked, the two between which a gain lies have no share of it, nor has who is above them.
    gains, spearman = rows[rows["metric"] == metric], rows[rows["metric"] == "spearman"].set_index("estimator")["value"]
    if gains["value"].isna().all():
        return []
    bounds = spearman.drop(gains["estimator"], errors="ignore").nsmallest(2).index
    return [f"{name}: from {printed(str(bounds[0]))} to {printed(str(bounds[-1]))}."]


def _unique(values: pd.Series) -> str:
    return "; ".join(dict.fromkeys(values.astype(str)))
