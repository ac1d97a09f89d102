"""Whether the graph pays: the net on the graph beside LightGBM, and beside itself without the graph.

A net may be better than LightGBM for all that is not the graph: its loss, its head, its many steps. So of a metric it
is said that the graph pays only where the net is better than LightGBM and than both of its controls, the same net
without messages and on shuffled edges, each by a paired difference whose interval leaves out 0.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import pandas as pd

from patron.evaluation.answers import ALL, MEAN
from patron.reporting.rows import bracketed, has, headline, printed, seeds_said, tests_of, value_of

CONTROLS: Mapping[str, tuple[str, str]] = {  # without messages, and on shuffled edges
    "gnn": ("mlp", "gnn_shuffled"),
    "boosted_gnn": ("boosted_mlp", "boosted_gnn_shuffled"),
}
ASPECTS = {"spearman": "rank", "nmae": "error", "crps": "distribution"}
NUMBERS = {"spearman": "Spearman", "nmae": "MAE / mean", "crps": "CRPS / mean"}
State = Literal["pays", "net", "unknown", "even", "worse", "open"]


def verdict(results: pd.DataFrame, *, ours: str = "gnn", reference: str = "lightgbm") -> str:
    """On which of rank, error and distribution the graph pays, from the paired differences of the last test to the
    reference and to the controls; and what that in Spearman is over all tests if there are several. "" where the two
    were not compared; where the controls were not run, that nothing says that it is the graph."""
    rows, tests = headline(results), tests_of(results)
    if not has(rows, ours, f"spearman_minus_{reference}"):
        return ""
    asked = [metric for metric in ASPECTS if _is_known(rows, ours, f"{metric}_minus_{reference}")]
    held = [(control, _rows_with(results, ours, control)) for control in CONTROLS.get(ours, ())]
    states = {metric: _state(rows, held, metric, ours=ours, reference=reference) for metric in asked}
    mean = ""
    if tests:
        found = value_of(headline(results, fold=MEAN), ours, f"spearman_minus_{reference}")
        mean = f" Mean over the {len(tests)} tests: {bracketed(*found)} Spearman."
    said = [
        f"{printed(ours)} minus {printed(reference)}: {_numbers(rows, ours, reference)}.{mean}",
        *(f"Minus {printed(control)}: {_numbers(of, ours, control)}." for control, of in held if of is not None),
        *_judged(states, reference=printed(reference)),
    ]
    return " ".join(said)


def _state(
    rows: pd.DataFrame, held: list[tuple[str, pd.DataFrame | None]], metric: str, *, ours: str, reference: str
) -> State:
    first = _sign(rows, ours, f"{metric}_minus_{reference}", metric)
    if first is None:
        return "open"
    if first <= 0:
        return "even" if first == 0 else "worse"
    signs = [None if of is None else _sign(of, ours, f"{metric}_minus_{control}", metric) for control, of in held]
    if any(sign is not None and sign <= 0 for sign in signs):
        return "net"
    return "pays" if signs and None not in signs else "unknown"


def _sign(rows: pd.DataFrame, ours: str, difference: str, metric: str) -> int | None:
    """1 for better, -1 for worse, 0 for an interval that holds 0 as it is printed, None for no interval."""
    if not has(rows, ours, difference):
        return None
    _, lo, hi = (round(value, 3) for value in value_of(rows, ours, difference))
    if math.isnan(lo) or math.isnan(hi):
        return None
    sign = 1 if lo > 0 else -1 if hi < 0 else 0
    return sign if metric == "spearman" else -sign


def _judged(states: Mapping[str, State], *, reference: str) -> Iterator[str]:
    """A sentence for each thing to be said, with the aspects of which it is true."""
    texts: Mapping[State, str] = {
        "pays": "In {} the graph pays here: there the net is better than both of its controls, too.",
        "net": f"In {{}} the net is better than {reference}, but not than both of its controls, itself without "
               "messages and on shuffled edges: what pays there is the net, not the graph.",
        "unknown": f"In {{}} the net is better than {reference}; its controls, the same net without messages and on "
                   "shuffled edges, were not run, so nothing here shows that it is the graph.",
        "even": "In {} the two cannot be told apart, so nothing here shows that the graph pays.",
        "worse": "In {} the graph does not pay here.",
        "open": "Without an interval there is no verdict on {}.",
    }  # fmt: skip
    for state, text in texts.items():
        aspects = [ASPECTS[metric] for metric, found in states.items() if found == state]
        if aspects:
            yield text.format(" and ".join(filter(None, [", ".join(aspects[:-1]), aspects[-1]])))


def _numbers(rows: pd.DataFrame, ours: str, other: str) -> str:
    found = {
        metric: bracketed(*value_of(rows, ours, f"{metric}_minus_{other}"))
        for metric in ASPECTS
        if _is_known(rows, ours, f"{metric}_minus_{other}")
    }
    seeds = seeds_said(rows, ours if other not in CONTROLS.get(ours, ()) else other)
    return ", ".join(f"{value} {NUMBERS[metric]}{seeds * (metric == 'spearman')}" for metric, value in found.items())


def _is_known(rows: pd.DataFrame, estimator: str, metric: str) -> bool:
    return has(rows, estimator, metric) and not math.isnan(value_of(rows, estimator, metric)[0])


def _rows_with(results: pd.DataFrame, ours: str, control: str) -> pd.DataFrame | None:
    """The rows of the headline if they have the difference to the control; else of the last fold that has it: of
    customers held out in parts, a control is fitted to one part. None where it was not run."""
    difference = f"spearman_minus_{control}"
    if has(rows := headline(results), ours, difference):
        return rows
    known = results[(results["estimator"] == ours) & (results["metric"] == difference)]
    folds = known.loc[(known["seed"] == MEAN) & (known["slice"] == ALL), "fold"]
    return None if folds.empty else headline(results, fold=str(folds.max()))
