"""Who is trained on, who is validated on, who is tested on, and when. Two protocols:

- `temporal`: several train cutoffs, then validation, then test; no label window reaches past the next role's cutoff.
  With `validation: customers` a fifth of the customers validates at the train cutoffs instead, for data too short for
  a cutoff of its own.
- `customers`: one cutoff, customers held out in turn. It says how well spend is predicted for unseen customers of the
  same season, not how well tomorrow is predicted, and every report names it.

`refit` is all that may be known at the test cutoff: an estimator chooses on train and val, then learns from refit.
Where the level of the labels has changed (patron.task.level), windows at another level than the last one are left out,
the others are of half the horizon, the level is that of the last whole window, and a fifth of the customers validates.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import Horizon, back
from patron.tables.database import Database
from patron.task.level import at_level, shift
from patron.task.ltv import Anchor, TaskConfig, TaskTable, concat, labelled, population


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TemporalConfig:
    """Rolling cutoffs. Null `train` steps back `step_days` at a time while `min_history_days` (null: a third of the
    horizon) remain. Of more than `max_rows` labelled rows some customers' are learned from; everybody is tested."""

    name: Literal["temporal"]
    test: tuple[date, ...]
    val: date | None
    train: tuple[date, ...] | None
    validation: Literal["cutoff", "customers"]
    step_days: Annotated[int, Field(gt=0)]
    max_cutoffs: Annotated[int, Field(gt=0)]
    min_history_days: Annotated[int, Field(gt=0)] | None
    max_rows: Annotated[int, Field(gt=0)]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CustomersConfig:
    """Customers held out at one cutoff, `folds` times."""

    name: Literal["customers"]
    cutoff: date
    folds: Annotated[int, Field(ge=3)]


SplitConfig = Annotated[TemporalConfig | CustomersConfig, Field(discriminator="name")]


@dataclass(frozen=True)
class Plan:
    """The cutoffs of one temporal fold. Windows of `train` close by `val`, that of `val` by `test`; those of `refit`
    by `test`."""

    train: tuple[date, ...]
    val: date | None
    refit: tuple[date, ...]
    test: date


@dataclass(frozen=True)
class Fold:
    """One test. Nothing after `cutoff` is known to whoever fits, except the labels of `train`, `val` and `refit`."""

    name: str
    cutoff: date
    train: TaskTable
    val: TaskTable
    refit: TaskTable
    test: TaskTable  # without labels
    shift: str = ""  # how the labels that are known change their level, if they do


def folds(db: Database, *, task: TaskConfig, split: "TemporalConfig | CustomersConfig") -> list[Fold]:
    """The folds of a protocol, in order of time. Test rows carry no label; `truth` has it."""
    match split:
        case TemporalConfig():
            return [
                _temporal(db, plan=plan(db, task=task, split=split, test=test), task=task, split=split)
                for test in sorted(split.test)
            ]
        case CustomersConfig():
            return _held_out(db, task=task, split=split)


def truth(db: Database, *, fold: Fold, task: TaskConfig) -> TaskTable:
    """The test rows of `fold` with their labels. Only the evaluation may call it."""
    table = labelled(db, cutoff=fold.cutoff, config=task)
    tested = table.where(table.frame["customer_id"].isin(fold.test.frame["customer_id"]))
    assert len(tested) == len(fold.test), "test rows changed between split and truth"
    return tested


def plan(db: Database, *, task: TaskConfig, split: TemporalConfig, test: date) -> Plan:
    """The cutoffs of the fold tested at `test`. Raises ValueError for label windows that overlap, or history too
    short to train."""
    horizon = task.horizon
    latest = horizon.before(test)
    earliest = db.first_day
    needed = split.min_history_days or horizon.days_after(earliest) // 3
    refit = split.train or _steps(latest, earliest=earliest, needed=needed, split=split)
    if split.validation == "customers":
        chosen = Plan(refit, None, refit, test)
    else:
        val = split.val or latest
        train = split.train or _steps(horizon.before(val), earliest=earliest, needed=needed, split=split)
        between = (
            cutoff for cutoff in refit if cutoff > max(train, default=date.min)
        )  # closed by the test, not by val
        chosen = Plan(train, val, tuple(sorted({*train, *between, val})), test)
    _require_cutoffs(chosen, earliest=earliest, needed=needed, name=db.name)
    _refuse_overlap(chosen, horizon=horizon)
    return chosen


def _steps(latest: date, *, earliest: date, needed: int, split: TemporalConfig) -> tuple[date, ...]:
    stepped = (back(latest, k * split.step_days) for k in range(split.max_cutoffs))
    return tuple(sorted(cutoff for cutoff in stepped if (cutoff - earliest).days >= needed))


def _require_cutoffs(plan: Plan, *, earliest: date, needed: int, name: str) -> None:
    if not plan.train:
        raise ValueError(
            f"'{name}' starts on {earliest}: too short for a train cutoff with {needed} days of history "
            f"before the test at {plan.test}; use split.validation=customers, a smaller split.min_history_days, "
            f"a shorter task.horizon or split=customers"
        )


def _refuse_overlap(plan: Plan, *, horizon: Horizon) -> None:
    val = plan.val or plan.test
    pairs = [("train", cutoff, "validation" if plan.val else "test", val) for cutoff in plan.train] + [
        ("refit", c, "test", plan.test) for c in plan.refit
    ]
    wrong = [
        f"  {role} window ({cutoff}, {horizon.after(cutoff)}] reaches past the {later} cutoff {limit}"
        for role, cutoff, later, limit in pairs
        if horizon.after(cutoff) > limit
    ]
    if wrong:
        raise ValueError(
            "label windows overlap:\n" + "\n".join(wrong) + "\nmove these cutoffs back or shorten task.horizon"
        )


def _temporal(db: Database, *, plan: Plan, task: TaskConfig, split: TemporalConfig) -> Fold:
    past = db.upto(plan.test)  # labels of train, val and refit are closed there
    known = concat([labelled(past, cutoff=cutoff, config=task) for cutoff in plan.refit]).at_most(split.max_rows)
    refit, said, test = known, shift(known), population(past, cutoff=plan.test, config=task)
    if at_level(known) != known.cutoffs:
        refit = _after_break(past, known, plan=plan, task=task, split=split)
        if refit.is_additive:
            last = known.at(known.cutoffs[-1]).label
            refit = replace(refit, anchor=Anchor(test, mean=float(last.mean()), largest=float(last.max())))
        said += f" Learned from: windows of {refit.label_window} from {', '.join(map(str, refit.cutoffs))}."
        plan = replace(plan, val=None)  # no window of the past is like the present, so customers validate
    train, val = _chosen(refit, plan=plan)
    return Fold(str(plan.test), plan.test, train=train, val=val, refit=refit, test=test, shift=said)


def _after_break(
    past: Database, known: TaskTable, *, plan: Plan, task: TaskConfig, split: TemporalConfig
) -> TaskTable:
    """Labels at the level of the last window that has closed: where they add up over time, of windows of half the
    horizon, the last of which lies closer to the present and so after more of the break."""
    if known.is_additive:
        half = Horizon(max(task.horizon.days_after(plan.test) // 2, 1), "days")
        short = replace(task, horizon=half, horizons=())
        needed = split.min_history_days or task.horizon.days_after(past.first_day) // 3
        cutoffs = _steps(half.before(plan.test), earliest=past.first_day, needed=needed, split=split)
        known = concat([labelled(past, cutoff=cutoff, config=short) for cutoff in cutoffs]).at_most(split.max_rows)
        known = replace(known, horizon=task.horizon, window=half)
    return known.where(known.frame["cutoff"].isin([pd.Timestamp(cutoff) for cutoff in at_level(known)]))


def _chosen(refit: TaskTable, *, plan: Plan) -> tuple[TaskTable, TaskTable]:
    if plan.val is not None:
        train = refit.where(refit.frame["cutoff"].isin([pd.Timestamp(cutoff) for cutoff in plan.train]))
        return train.known_at(plan.val), refit.at(plan.val)  # auxiliary windows may be longer than the main one
    held_out = refit.bucket(5) == 0
    return refit.where(~held_out), refit.where(held_out)


def _held_out(db: Database, *, task: TaskConfig, split: CustomersConfig) -> list[Fold]:
    table = labelled(db, cutoff=split.cutoff, config=task)
    bucket = table.bucket(split.folds)
    return [
        Fold(
            name=f"customers-{k}", cutoff=split.cutoff,
            train=table.where((bucket != k) & (bucket != (k + 1) % split.folds)), val=table.where(bucket == (k + 1) %
            split.folds), refit=table.where(bucket != k), test=table.where(bucket == k).without_label(), ) for k in
            range(split.folds) ]  # fmt: skip
