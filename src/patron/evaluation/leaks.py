"""What gives a leak away, as pure checks: each compares or looks at what it is handed, and says what it found.

What the tables themselves know of the future is looked for in `one_export` and `two_exports`.

| check | what it finds |
|---|---|
| `windows` | label windows that reach past the cutoff at which they are used, or customers on both sides of one |
| `population` | rows and labels that change when the future changes: a population conditioned on the outcome |
| `columns` | features that change when the future changes |
| `edges` | edges later than the cutoff, derived edges earlier than what they follow from |
| `future` | predictions that change when the future changes |
| `names` | predictions that change with what customers and orders are called: they were looked up elsewhere |
| `error` | an error too small to be true |
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from torch_geometric.data import HeteroData

from patron.days import Horizon, epoch_seconds, midnight
from patron.graph.edges import EdgeType
from patron.tables.database import Database
from patron.tables.engine import query
from patron.task.ltv import TaskTable
from patron.task.split import Fold

KEYS = ["customer_id", "cutoff"]
TOO_GOOD = 0.7  # of the error of the best simple baseline
MOST_EDGES = 20_000  # derived edges that are made again; a sample of more
MOST_NAMED = 8
_ROLES = ("train", "val", "refit", "test")


@dataclass(frozen=True)
class Finding:
    """A leak that is `certain`, or a suspicion: what may be honest, and must be looked at before it is believed."""

    check: str
    where: str
    what: str
    mend: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {self.what}; {self.mend}"


@dataclass(frozen=True)
class Check:
    """One check that was made: what of, what was measured, and what it found; nothing, if all is well. `largest` is the
    largest figure of those that are compared with a limit."""

    name: str
    measured: str
    findings: tuple[Finding, ...] = ()
    largest: float = np.nan


# --- windows


def windows(folds: Sequence[Fold]) -> Check:
    """Whether every label is known when it is used: no window of train, validation or refit reaches past the first
    cutoff of whom it is used for. Where both have the same cutoffs, their customers must be others."""
    found = [finding for fold in folds for finding in (*_touching(fold), *_labelled_test(fold))]
    number = sum(len(getattr(fold, role).cutoffs) for fold in folds for role in _ROLES[:3])
    return Check("windows", f"{number} label windows of {len(folds)} folds", tuple(found))


def _touching(fold: Fold) -> Iterator[Finding]:
    pairs = (("train", "val"), ("train", "test"), ("val", "test"), ("refit", "test"))
    for role, other in pairs:
        rows, later, where = getattr(fold, role), getattr(fold, other), f"fold {fold.name}, {role} and {other}"
        if set(later.cutoffs) <= set(rows.cutoffs):
            both = set(rows.frame["customer_id"]) & set(later.frame["customer_id"])
            if both:
                what = f"{len(both)} customers are in both at the same cutoffs, for example {_some(both)}"
                yield Finding("windows", where, what, "give each customer to one of them, or other cutoffs")
            continue
        late = [(c, h) for c, h in _windows(rows) if h.after(c) > later.cutoffs[0]]
        if late:
            spans = ", ".join(f"({cutoff}, {horizon.after(cutoff)}]" for cutoff, horizon in late[:MOST_NAMED])
            what = f"{len(late)} label windows reach past {later.cutoffs[0]}: {spans}"
            yield Finding("windows", where, what, "move these cutoffs back, or shorten task.horizon")


def _windows(rows: TaskTable) -> list[tuple[date, Horizon]]:
    # Of each cutoff, the window of the label and those of auxiliary labels that are not blank.
    auxiliary = [str(name) for name in rows.frame if str(name).startswith("label_")]
    known = [
        (cutoff, Horizon.parse(name.removeprefix("label_")))
        for cutoff in rows.cutoffs
        for name in auxiliary
        if rows.at(cutoff).frame[name].notna().any()
    ]
    return [*((cutoff, rows.label_window) for cutoff in rows.cutoffs), *known]


def _labelled_test(fold: Fold) -> Iterator[Finding]:
    labels = [str(name) for name in fold.test.frame if str(name).startswith("label")]
    if labels:
        where, mend = f"fold {fold.name}, test", "hand out test rows by without_label()"
        yield Finding("windows", where, f"the rows carry {', '.join(labels)}", mend)


# --- another future


def population(one: Fold, other: Fold) -> Check:
    """Whether the rows of `other`, split from the same past with another future, are those of `one`: the same
    customers, slices, and labels of windows that have closed by the cutoff."""
    found = [finding for role in _ROLES for finding in _other_rows(one, other, role)]
    rows = sum(len(getattr(one, role)) for role in _ROLES)
    return Check("population", f"{rows} rows of fold {one.name}, split again under another future", tuple(found))


def _other_rows(one: Fold, other: Fold, role: str) -> Iterator[Finding]:
    here, there = getattr(one, role), getattr(other, role)
    both = here.frame.merge(there.frame, on=KEYS, how="outer", indicator=True, suffixes=("", " then"))
    where, lost = f"fold {one.name}, {role}", both[both["_merge"] != "both"]
    if len(lost):
        what = f"{len(lost)} of {len(both)} rows come or go with the future, for example {_some(lost['customer_id'])}"
        yield Finding("population", where, what, "choose customers by what db.upto(cutoff) holds, and by nothing else")
    kept = both[both["_merge"] == "both"]
    closed = is_closed(here, one.cutoff)
    shared = [name for name in here.frame.columns.difference(KEYS) if name in there.frame]
    for name in (name for name in shared if closed or not name.startswith("label")):
        changed = differing(kept[name], kept[f"{name} then"])
        if changed.any():
            what = f"{name} of {int(changed.sum())} of {len(kept)} rows changes with the future"
            yield Finding(
                "population", where, what, "compute it from db.upto(cutoff); end its window by the test cutoff"
            )


def is_closed(rows: TaskTable, cutoff: date) -> bool:
    """Whether all label windows of `rows` have closed by the cutoff; not so where other customers are tested at it."""
    return all(rows.label_window.after(at) <= cutoff for at in rows.cutoffs)


def columns(one: Mapping[str, pd.DataFrame], other: Mapping[str, pd.DataFrame], *, cutoff: date) -> Check:
    """Whether frames of features at a cutoff, by a name and indexed by a key, are those of another future."""
    found = []
    for name in dict.fromkeys([*one, *other]):
        where = f"features of {name} at {cutoff}"
        here, there = one.get(name, pd.DataFrame()), other.get(name, pd.DataFrame())
        lost = here.index.symmetric_difference(there.index)
        if len(lost):
            what = f"{len(lost)} rows come or go with the future, for example {_some(lost)}"
            found.append(Finding("columns", where, what, "list what db.upto(cutoff) holds"))
        moved = {column: largest for column, largest in differences(here, there).items() if largest != 0}
        if moved:
            said = ", ".join(f"{column} by {largest:g}" for column, largest in list(moved.items())[:MOST_NAMED])
            what = f"{len(moved)} columns change with the future: {said}"
            found.append(Finding("columns", where, what, "compute them from db.upto(cutoff)"))
    number, rows = sum(frame.shape[1] for frame in one.values()), sum(map(len, one.values()))
    return Check("columns", f"{number} columns of {len(one)} tables, {rows} rows at {cutoff}", tuple(found))


def predictions(one: pd.DataFrame, other: pd.DataFrame, *, check: str, where: str, what: str, mend: str) -> Check:
    """Whether two frames of predictions agree, bit for bit, on the rows that both have; they must share one."""
    here, there = one.set_index(KEYS), other.set_index(KEYS)
    rows = here.index.intersection(there.index)
    if len(rows) == 0:
        return Check(check, f"{where}: no row in common", (Finding(check, where, "no row is predicted in both", mend),))
    moved = differences(here, there)
    largest = max(moved.values())
    measured = f"{where}: {len(rows)} rows, {len(moved)} columns, largest difference {largest:g}"
    if largest == 0:
        return Check(check, measured)
    names = ", ".join(column for column, value in moved.items() if value)
    return Check(check, measured, (Finding(check, where, f"{what} (by up to {largest:g} in {names})", mend),))


def differences(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """The largest difference in each column over the rows of both, by index: 0.0 where all are equal or missing in
    both, infinite where a text differs, a value is missing in one of them, or the whole column is."""
    rows = one.index.intersection(other.index)
    names = [str(name) for name in dict.fromkeys([*one.columns, *other.columns])]
    both = [name for name in names if name in one and name in other]
    pairs = {name: (one.loc[rows, name], other.loc[rows, name]) for name in both}
    return {name: _largest(*pairs[name]) if name in pairs else np.inf for name in names}


def _largest(one: pd.Series, other: pd.Series) -> float:
    changed = differing(one, other)
    if not changed.any():
        return 0.0
    numbers = [pd.to_numeric(values[changed], errors="coerce").astype(float) for values in (one, other)]
    return float((numbers[0] - numbers[1]).abs().fillna(np.inf).max())


def differing(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Of each row, whether the values differ; two that are missing do not: [n] bool."""
    a, b = one.to_numpy(dtype=object), other.to_numpy(dtype=object)
    return (a != b) & ~(pd.isna(a) & pd.isna(b))


# --- edges


def edges(
    one: HeteroData, other: HeteroData, *, past: Database, cutoff: date, max_popularity: float | None = None
) -> Check:
    """Whether the graph `one` of `past` is that of another future, has no edge after the cutoff, and no co-shopper
    edge before the product sets of its ends, without products as popular as that, had the Jaccard index that it
    carries."""
    found: list[Finding] = []
    for edge in dict.fromkeys([*one.edge_types, *other.edge_types]):
        here, there = edge_rows(one, edge), edge_rows(other, edge)
        where, changed = f"edges {' '.join(edge)} at {cutoff}", _other_edges(here, there)
        if changed:
            what = f"{changed} edges come or go with the future"
            found.append(Finding("edges", where, what, "build the graph of db.upto(cutoff)"))
        late = int((here["time"] > int(epoch_seconds(midnight(cutoff)))).sum()) if "time" in here else 0
        if late:
            what = f"{late} of {len(here)} edges are later than the cutoff"
            found.append(Finding("edges", where, what, "build the graph of db.upto(cutoff), or take a snapshot of it"))
        if "jaccard" in here and (early := _early(here, past, max_popularity=max_popularity)):
            what = f"{early} of {min(len(here), MOST_EDGES)} edges are there before their Jaccard index was reached"
            mend = "know them from the day on which the later of the two product sets last grew"
            found.append(Finding("edges", where, what, mend))
    number = sum(one[edge].edge_index.shape[1] for edge in one.edge_types)
    return Check("edges", f"{number} edges of {len(one.edge_types)} relations at {cutoff}", tuple(found))


def edge_rows(data: HeteroData, edge: EdgeType) -> pd.DataFrame:
    """The edges of one type as rows: `source, target` ids, and what they carry; `time` in seconds since 1970."""
    if edge not in data.edge_types:
        return pd.DataFrame({"source": [], "target": []})
    source, _, target = edge
    ends = data[edge].edge_index.numpy()
    carried = {
        name: data[edge][name].numpy() for name in ("time", "amount", "quantity", "jaccard") if name in data[edge]
    }
    return pd.DataFrame({"source": data[source].ids[ends[0]], "target": data[target].ids[ends[1]], **carried})


def _other_edges(one: pd.DataFrame, other: pd.DataFrame) -> int:
    counts = [frame.astype(object).value_counts() for frame in (one, other)]  # one pair may have several equal edges
    if not len(one) or not len(other):
        return len(one) + len(other)
    return int(counts[0].sub(counts[1], fill_value=0).abs().sum())


_JACCARD = """
WITH bought AS (
    SELECT o.customer_id, i.product_id, MIN(o.order_date) AS time FROM order_items i JOIN orders o USING (order_id)
    WHERE i.product_id IS NOT NULL GROUP BY ALL
), rare AS (
    SELECT product_id FROM bought GROUP BY product_id
    HAVING COUNT(*) <= $max_popularity * (SELECT COUNT(DISTINCT customer_id) FROM bought)
), ends AS (
    SELECT edge, source AS customer_id, time FROM edges UNION ALL SELECT edge, target, time FROM edges
), known AS (
    SELECT e.edge, b.product_id, COUNT(*) AS owners
    FROM ends e JOIN bought b USING (customer_id) SEMI JOIN rare USING (product_id)
    WHERE b.time <= e.time GROUP BY ALL
)
SELECT edge, COUNT(*) FILTER (owners = 2) / COUNT(*) AS jaccard FROM known GROUP BY edge
"""


def _early(rows: pd.DataFrame, past: Database, *, max_popularity: float | None) -> int:
    # Edges whose Jaccard index is not that of what their ends had bought by their time, from the raw purchases.
    taken = rows if len(rows) <= MOST_EDGES else rows.sample(MOST_EDGES, random_state=0)
    asked = taken.assign(
        edge=np.arange(len(taken)), time=taken["time"].astype("datetime64[s]").astype("datetime64[us]")
    )
    table = pa.Table.from_pandas(asked[["edge", "source", "target", "time"]], preserve_index=False)
    most = 1.0 if max_popularity is None else max_popularity
    found = query(past, _JACCARD, edges=table, max_popularity=most).to_pandas().set_index("edge")["jaccard"]
    reached = found.reindex(asked["edge"]).fillna(0).to_numpy()
    return int((np.abs(reached - asked["jaccard"].to_numpy(dtype=float)) > 1e-6).sum())


# --- too good to be true


def error(value: float, *, baselines: Mapping[str, float], metric: str, where: str) -> Check:
    """Whether an error is at least `TOO_GOOD` of that of the best simple baseline."""
    best = min(baselines, key=lambda name: baselines[name])
    share = value / baselines[best]
    measured = f"{where}: {metric} {value:.3f}, {share:.0%} of {best}'s {baselines[best]:.3f}"
    if not share < TOO_GOOD:
        return Check("error", measured)
    what = (
        f"{metric} {value:.3f} is {share:.0%} of that of {best}, the best simple baseline; under {TOO_GOOD:.0%} it is"
    )
    mend = "look at what it has learned from (importance of features), and at what has no date"
    what = f"{what} a leak until shown otherwise"
    return Check("error", measured, (Finding("error", where, what, mend, certain=False),))


def _some(values: "set | pd.Series | pd.Index") -> str:
    return ", ".join(map(str, sorted(values, key=str)[:3]))
