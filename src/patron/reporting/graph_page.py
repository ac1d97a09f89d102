"""The page that says whether the graph pays: one contrast, named before anything was fitted, is the verdict; the others
say what it is that pays.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pandas as pd

from patron.evaluation.answers import ALL, MEAN
from patron.reporting.html import Page, Section
from patron.reporting.marks import marks
from patron.reporting.plots import differences_figure, slices_figure
from patron.reporting.rows import ORACLES, bracketed, headline, printed, seeds_said, tests_of
from patron.reporting.tables import ORDER, cells_of, comparison, small_print
from patron.reporting.verdict import verdict
from patron.task.ltv import DORMANT_DAYS, NEW_DAYS

REFERENCE, OURS, NET = "lightgbm", "boosted_gnn", "gnn"
BY_SLICE = ("lightgbm_twohop", "gnn", "boosted_gnn", "stack")  # of which differences are drawn slice by slice
SLICES = (ALL, "one_order", "new", "heavy", "dormant")
COLUMNS = ("Spearman", "MAE / mean", "revenue bias", "top 10 % hold", f"Δ Spearman to {printed(REFERENCE)}")
RULE = (
    f"The verdict is of one difference, chosen before anything was fitted: {printed(OURS)} minus {printed(REFERENCE)}, "
    "because the first starts from what the second says and adds a net on the graph; and the graph is said to pay only "
    "where the same net without messages and on shuffled edges does worse, too. The others are there to understand it: "
    "their intervals are not widened for their number, so the best of many may be so by chance. "
    "Intervals are over customers; another seed may move a difference too, by about the SD over seeds."
)


@dataclass(frozen=True)
class Contrast:
    """Two estimators in Spearman, and what it means when the first is `above`, `below`, or cannot be told from the
    second: `even`."""

    ours: str
    against: str
    above: str
    below: str
    even: str

    def said(self, value: float, lo: float, hi: float, *, seeds: str) -> str:
        """The difference with its interval and what is said of the seeds, and what it means."""
        meaning = self.above if lo > 0 else self.below if hi < 0 else self.even
        meaning = meaning if lo <= hi else "without an interval nothing is said"
        found = f"{bracketed(value, lo, hi)} Spearman{seeds}"
        return f"{printed(self.ours)} minus {printed(self.against)}: {found}: {meaning}."


CONTRASTS = (
    Contrast(
        OURS, "lightgbm_twohop",
        above="the net finds more in the graph than two-hop features do",
        below="two-hop features in LightGBM find more in the graph than the net does",
        even="nothing here shows that the net finds more in the graph than two-hop features do",
    ),
    Contrast(
        OURS, "boosted_mlp",
        above="the graph adds to what the net corrects of LightGBM by each customer alone",
        below="the net does better on each customer alone",
        even="nothing here shows that the graph adds to what the net corrects by each customer alone",
    ),
    Contrast(
        OURS, f"{OURS}_shuffled",
        above="it matters who is tied to whom: the same net on shuffled edges does worse",
        below="the same net does better on shuffled edges, so it is not the edges",
        even="the same net on shuffled edges cannot be told from it, so nothing here shows that it is the edges",
    ),
    Contrast(
        NET, "mlp",
        above="the graph adds to what the net knows of each customer alone",
        below="the net does better on each customer alone",
        even="nothing here shows that the graph adds to what the net knows of each customer alone",
    ),
    Contrast(
        NET, f"{NET}_shuffled",
        above="it matters who is tied to whom: the same net on shuffled edges does worse",
        below="the same net does better on shuffled edges, so it is not the edges",
        even="the same net on shuffled edges cannot be told from it, so nothing here shows that it is the edges",
    ),
    Contrast(
        NET, f"{NET}_no_co_shoppers",
        above="the co-shopper edges pay",
        below="the net does better without co-shopper edges",
        even="nothing here shows that the co-shopper edges pay",
    ),
    Contrast(
        NET, f"{NET}_purchases_only",
        above="the other relations add to the purchases",
        below="the net does better on the purchases alone",
        even="nothing here shows that the other relations add to the purchases",
    ),
)  # fmt: skip


def graph_page(results: pd.DataFrame) -> Page:
    """The page of the long results of `patron.graph_pays`. Raises ValueError without the contrast of the verdict."""
    lead = verdict(results, ours=OURS, reference=REFERENCE)
    if not lead:
        raise ValueError(f"no verdict without {OURS} and {REFERENCE}; fit both")
    data = headline(results)["data"].iloc[0]
    sections = (
        Section("What the controls say", lines=(*contrasts_said(results), RULE)),
        _overall(results),
        *_by_slice(results),
        _table(results),
    )
    small = tuple(line.replace("`", "") for line in small_print(results))
    return Page(f"Does the graph pay on {data}?", lead[0].upper() + lead[1:], sections, small)


def contrasts_said(results: pd.DataFrame) -> list[str]:
    """A sentence for each of the `CONTRASTS` that the results have."""
    rows = headline(results)
    return [
        one.said(value, lo, hi, seeds=seeds_said(rows, one.ours))
        for one in CONTRASTS
        for _, value, lo, hi in _differences(rows, to=one.against, of=(one.ours,))
    ]


def _differences(rows: pd.DataFrame, *, to: str, of: Collection[str]) -> Iterator[tuple[str, float, float, float]]:
    """Estimator, value, lo, hi of the differences in Spearman that are there."""
    asked = rows[(rows["metric"] == f"spearman_minus_{to}") & rows["estimator"].isin(of)]
    for row in asked.to_dict("records"):
        yield str(row["estimator"]), float(row["value"]), float(row["lo"]), float(row["hi"])


def _overall(results: pd.DataFrame) -> Section:
    rows = headline(results)
    rows = rows[(rows["metric"] == f"spearman_minus_{REFERENCE}") & ~rows["estimator"].isin(ORACLES)]
    title = f"Spearman less that of {printed(REFERENCE)}"
    lines = [
        "Right of the line customers are ranked better. Where a graph model does no better than its control, the same "
        "net without edges or on shuffled ones, what it gains is not from who is tied to whom.",
        *_ceilings(results),
    ]
    return Section("Every model and control", differences_figure(rows, title=title), lines=tuple(lines))


def _by_slice(results: pd.DataFrame) -> Iterator[Section]:
    found = results[(results["metric"] == f"spearman_minus_{REFERENCE}") & (results["fold"] == MEAN)]
    found = found[(found["seed"] == MEAN) & found["estimator"].isin(BY_SLICE) & found["slice"].isin(SLICES)]
    if found["value"].isna().all():
        return
    found = found.sort_values(
        ["slice", "estimator"], key=lambda of: of.map((SLICES if of.name == "slice" else ORDER).index)
    )
    mean = " Means over the tests." if tests_of(results) else ""
    lines = (
        f"One order: bought once before the cutoff; new: their first order was in the {NEW_DAYS} days before it; "
        f"heavy: the tenth that had spent most; dormant: no order for {DORMANT_DAYS} days. Spearman is within each "
        "slice, so that slices are not comparable with each other or with all, and small ones have wide intervals."
        f"{mean}",
    )
    figure = slices_figure(found, reference=REFERENCE, title=f"Spearman less that of {printed(REFERENCE)}, by slice")
    yield Section("By slice", figure, lines=lines)


def _ceilings(results: pd.DataFrame) -> list[str]:
    found = _differences(headline(results), to=REFERENCE, of=ORACLES)
    said = [f"{printed(name)} {bracketed(value, lo, hi)}" for name, value, lo, hi in found]
    return [f"Not drawn, how far it could go at most: {'; '.join(said)}."] if said else []


def _table(results: pd.DataFrame) -> Section:
    cells, best = cells_of(comparison(results), signs=marks(headline(results)))
    shown = [name for name in COLUMNS if name in cells]
    names = pd.Index([printed(str(name)) for name in cells.index], name="model")
    table, bold = (frame[shown].set_axis(names) for frame in (cells, best))
    return Section("All models", table=table, bold=bold, lines=_legend(results))


def _legend(results: pd.DataFrame) -> tuple[str, ...]:
    there = set(results["estimator"])
    notes = {
        "mlp": "MLP, no graph: the same net, head and features, without any edge.",
        f"{NET}_shuffled": "Edges shuffled: every node keeps its number of edges, and every customer their times and "
        "weights, but to others, even to others' orders; anew at every cutoff, from the edges known then.",
        f"{NET}_purchases_only": "Purchases only: customers and products, nothing else.",
        "lightgbm_twohop": "LightGBM + two hops: the same boosters with features of who else bought the same.",
    }
    return tuple(note for name, note in notes.items() if name in there)
