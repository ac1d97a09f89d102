"""The leakage audit: does anything that is predicted, or what it is made of, know what comes after its cutoff?

The last fold is made again from scratch of a database with another future, and once more of one in which customers and
orders have other names as well. A clean estimator predicts the same, bit for bit, so it is fitted three times. Whatever
it brings along must be made of the database that it is built with; what comes from elsewhere, such as a file of
features, is given away by the other names, which are not to be found there.

What the tables themselves know too much of shows in no comparison of futures: it is looked for in one export, where it
is a suspicion, and in two exports of different days, where it is certain.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron import estimators
from patron.config import Config
from patron.estimators import Estimator, EstimatorConfig, OracleConfig, Setting
from patron.evaluation import leaks
from patron.evaluation.leaks import KEYS, Check, Finding
from patron.evaluation.metrics import Metric, brier, nmae
from patron.evaluation.one_export import one_export
from patron.evaluation.two_exports import two_exports
from patron.features.asof import FeatureSpec, customer_features, order_features, product_features, specify
from patron.features.columns import settings
from patron.features.nodes import EventKind, event_features
from patron.graph.build import build as graph_of
from patron.pipeline import load_stored, quietly, stage
from patron.tables.database import Database
from patron.tables.scramble import Renaming, scrambled_after
from patron.tables.sources import truth as truth_of
from patron.tables.worlds.truth import Truth
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds, truth

Build = Callable[[Setting, Database], Estimator]
Split = Callable[[Database], Sequence[Fold]]
_EVENTS: Mapping[EventKind, str] = {
    "order_event": "order_events", "interaction": "interactions", "return": "returns", "loyalty": "loyalty",
    "campaign": "campaigns",
}  # fmt: skip


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AuditConfig(Config):
    """An experiment whose last fold is audited, at the first seed, the simple baselines that no error may be far below,
    and the folder (or DuckDB file) of an earlier export of the same files, or None."""

    baselines: Annotated[Mapping[str, EstimatorConfig], Field(min_length=1)]
    earlier: Path | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.earlier is not None and not hasattr(self.data, "path"):
            raise ValueError(f"earlier: data '{self.data.name}' have no path, so there is no earlier export of them")


def audit(
    config: AuditConfig, *, db: Database | None = None, builds: Mapping[str, Build] | None = None,
    split: Split | None = None,
) -> tuple[Check, ...]:  # fmt: skip
    """Every check that was made, with what it found. Nothing is written.

    Audited are the estimators of the config, an oracle only where it is alone; or those of `builds`, by a name of their
    own: each makes an estimator of a setting and a whole database, of which it must make whatever it brings along. `db`
    takes the place of config.data, and `split`, which makes the folds of a whole database, that of config.split.
    """
    stored = load_stored(config.data) if db is None else db
    whole = stored.in_order_of_time() if db is None else db
    world = truth_of(config.data) if db is None else None
    subject, parts = _subject(config, whole, split or _split(config), world=world)
    with stage("comparing rows, features and edges"), quietly():
        checks = [leaks.windows(parts), leaks.population(subject.here.fold, subject.again), *_features(subject)]
        checks.append(_edges(subject))
    with stage("looking for what the tables know of the future"), quietly():
        kinds = settings(config.features.columns)
        checks += one_export(stored.only(config.tables), answer=subject.answer, chosen=kinds)
    if config.earlier is not None:
        checks += _two_exports(config, stored)
    with stage("fitting simple baselines"):
        baselines = {name: _fitted(subject, subject.here, _build(one)) for name, one in config.baselines.items()}
    builds = builds or {name: _build(one) for name, one in _chosen(config).items()}
    for name, build in builds.items():
        checks += _estimator(subject, build, name=name, baselines=baselines)
    return tuple(checks)


def findings(checks: Sequence[Check]) -> list[Finding]:
    """All that was found."""
    return [finding for check in checks for finding in check.findings]


@dataclass(frozen=True)
class _Case:
    """A whole database, and the fold that was made of it."""

    db: Database
    fold: Fold

    def renamed(self) -> "tuple[_Case, Renaming]":
        renaming, fold = Renaming.of(self.db), self.fold
        train, val, refit, test = (_renamed(rows, renaming) for rows in (fold.train, fold.val, fold.refit, fold.test))
        renamed = replace(fold, train=train, val=val, refit=refit, test=test)
        return _Case(renaming.database(self.db), renamed), renaming


@dataclass(frozen=True)
class _Subject:
    """The last fold as it is and under another future, with its answers. `again` is the fold as it was split under
    that future; `there` has the labels of `here` where they may be known although their windows are open."""

    config: AuditConfig
    here: _Case
    there: _Case
    again: Fold
    answer: TaskTable
    world: Truth | None

    @property
    def cutoff(self) -> date:
        return self.here.fold.cutoff

    def past(self, case: _Case, cutoff: date) -> Database:
        """What estimators are handed of a case."""
        return case.db.only(self.config.tables).upto(cutoff)


def _subject(
    config: AuditConfig, whole: Database, split: Split, *, world: Truth | None
) -> tuple[_Subject, Sequence[Fold]]:
    with stage("splitting"):
        parts = split(whole)
        fold = parts[-1]
        answer = truth(whole, fold=fold, task=config.task)
    with stage(f"changing all that comes after {fold.cutoff}, and splitting again"):
        other = scrambled_after(whole, cutoff=fold.cutoff)
        again = split(other)[-1]
    # Where customers are held out, the labels of the others may be known.
    known = again if leaks.is_closed(fold.refit, fold.cutoff) else replace(fold, test=again.test)
    return _Subject(config, _Case(whole, fold), _Case(other, known), again, answer, world), parts


def _split(config: AuditConfig) -> Split:
    return lambda whole: folds(whole, task=config.task, split=config.split)


def _build(config: EstimatorConfig) -> Build:
    return lambda setting, _: estimators.build(config, setting)


def _chosen(config: AuditConfig) -> Mapping[str, EstimatorConfig]:
    # Experiments on worlds bring the oracle along, which is a leak by design.
    honest = {name: one for name, one in config.estimators.items() if not isinstance(one, OracleConfig)}
    return honest or config.estimators


# --- what an estimator sees


def _features(subject: _Subject) -> list[Check]:
    refit = subject.here.fold.refit
    cutoffs = sorted({refit.cutoffs[0], subject.cutoff})
    checks = []
    for cutoff in cutoffs:
        other = subject.there.db
        if cutoff != subject.cutoff:
            other = scrambled_after(subject.here.db, cutoff=cutoff)
        frames = [
            _frames(subject.past(_Case(db, subject.here.fold), cutoff), subject, cutoff=cutoff)
            for db in (subject.here.db, other)
        ]
        checks.append(leaks.columns(frames[0], frames[1], cutoff=cutoff))
    return checks


def _frames(past: Database, subject: _Subject, *, cutoff: date) -> dict[str, pd.DataFrame]:
    # Every feature that any estimator of patron reads, by the table that it describes.
    spec = _spec(past, subject, cutoff=cutoff)
    frames = {
        "customers": customer_features(past, cutoff=cutoff, spec=spec, groups=(*spec.groups, "twohop")),
        "orders": order_features(past, cutoff=cutoff),
    }
    if spec.has("order_items", "product_id"):
        frames["products"] = product_features(past, cutoff=cutoff, spec=spec, key="product_id")
        if spec.has("products", "category_id"):
            frames["categories"] = product_features(past, cutoff=cutoff, spec=spec, key="category_id")
    there = [kind for kind, table in _EVENTS.items() if past[table].num_rows]
    return frames | {_EVENTS[kind]: event_features(past, kind=kind, cutoff=cutoff) for kind in there}


def _spec(past: Database, subject: _Subject, *, cutoff: date) -> FeatureSpec:
    refit = subject.here.fold.refit
    known = [at for at in refit.cutoffs if at <= cutoff]
    return specify(past, config=subject.config.features, horizon=refit.horizon, cutoffs=known)


def _edges(subject: _Subject) -> Check:
    past, other = (subject.past(case, subject.cutoff) for case in (subject.here, subject.there))
    one, two = (graph_of(db, config=subject.config.graph) for db in (past, other))
    popular = subject.config.graph.co_shopper.max_popularity
    return leaks.edges(one, two, past=past, cutoff=subject.cutoff, max_popularity=popular)


def _two_exports(config: AuditConfig, later: Database) -> tuple[Check, ...]:
    earlier = load_stored(replace(config.data, path=config.earlier))  # type: ignore[arg-type]
    with stage(f"comparing with the export in {config.earlier}"):
        return two_exports(earlier.only(config.tables), later.only(config.tables))


# --- what an estimator says


def _estimator(
    subject: _Subject, build: Build, *, name: str, baselines: Mapping[str, pd.DataFrame]
) -> tuple[Check, ...]:
    with stage(f"fitting {name}"):
        expected = _fitted(subject, subject.here, build)
    metric = brier if subject.answer.is_flag else nmae
    errors = {one: _error(subject, frame, metric) for one, frame in baselines.items()}
    error = leaks.error(_error(subject, expected, metric), baselines=errors, metric=metric.label, where=name)
    with stage(f"fitting {name} under another future"):
        changed = _fitted(subject, subject.there, build)
    future = leaks.predictions(
        expected, changed, check="future", where=name, what="predictions change with the future",
        mend="make all it learns from of what fit and predict are handed, and what it brings along of db.upto(cutoff)",
    )  # fmt: skip
    if future.findings:
        with stage(f"fitting {name} once more to the same data"):
            twice = leaks.predictions(
                expected, _fitted(subject, subject.here, build), check="future", where=name,
                what="two fits to the same data differ, so nothing can be said of its leaks",
                mend="fix its seeds and threads first",
            )  # fmt: skip
        if twice.findings:
            return twice, error
    return future, _names(subject, build, changed, name=name), error


def _names(subject: _Subject, build: Build, expected: pd.DataFrame, *, name: str) -> Check:
    mend = "bring what it looks up elsewhere as a table with dates, or make it of the database in build or fit"
    case, renaming = subject.there.renamed()
    with stage(f"fitting {name} to customers and orders of other names"):
        try:
            found = _fitted(subject, case, build)
        except Exception as error:  # whatever an estimator does that misses a name
            what = f"it fails where customers and orders have other names: {type(error).__name__}: {error}"
            return Check("names", f"{name}: no predictions", (Finding("names", name, what, mend),))
    same = expected.assign(customer_id=renaming.customers(expected["customer_id"]))
    what = "predictions change with the names of customers and orders"
    return leaks.predictions(same, found, check="names", where=name, what=what, mend=mend)


def _fitted(subject: _Subject, case: _Case, build: Build) -> pd.DataFrame:
    # The predictions of a fit, on the way of the pipeline but for its folder.
    config, fold = subject.config, case.fold
    with TemporaryDirectory() as folder, quietly():
        setting = config.setting(Path(folder), world=subject.world)
        past = subject.past(case, fold.cutoff)
        estimator = build(setting, case.db).fit(past, train=fold.train, val=fold.val, refit=fold.refit)
        return estimator.predict(past, rows=fold.test)


def _error(subject: _Subject, predictions: pd.DataFrame, metric: Metric) -> float:
    both = subject.answer.frame.merge(predictions, on=KEYS, validate="1:1")
    return metric(both["label"], both[list(metric.columns)].to_numpy().squeeze())


def _renamed(rows: TaskTable, renaming: Renaming) -> TaskTable:
    anchor = rows.anchor and replace(rows.anchor, rows=_renamed(rows.anchor.rows, renaming))
    frame = rows.frame.assign(customer_id=renaming.customers(rows.frame["customer_id"]))
    return replace(rows, frame=frame, anchor=anchor)
