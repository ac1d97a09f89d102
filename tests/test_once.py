"""What is fitted once is remembered by what it was fitted to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rows_by_hand import table
from settings import setting

from patron.estimators.base import Setting
from patron.estimators.once import fitted
from patron.tables.database import Database
from patron.task.ltv import TaskTable

DB = Database("empty", {})
ROWS = {"train": table([1, 2]), "val": table([3]), "refit": table([1, 2, 3])}


class Counting:
    """An estimator that knows how often it was fitted."""

    on_graph = True

    def __init__(self) -> None:
        self.fits = 0

    def fit(self, db: Database, **_: TaskTable) -> "Counting":
        self.fits += 1
        return self


def ask(config: Any = "one", *, db: Database = DB, of: "Setting | None" = None, **rows: TaskTable) -> Counting:
    asked = {**ROWS, **rows}
    return fitted(Counting(), config=config, setting=of or setting(Path()), db=db, **asked)  # type: ignore[type-var]


def test_the_same_is_fitted_once() -> None:
    first = ask()
    assert first.fits == 1
    assert ask() is first
    assert first.fits == 1


def test_the_folder_makes_no_difference() -> None:
    assert ask("folder", of=setting(Path("here"))) is ask("folder", of=setting(Path("there")))


@pytest.mark.parametrize(
    "other",
    [
        {"config": "two"},
        {"db": Database("empty", {})},
        {"of": setting(Path(), seed=1)},
        {"of": setting(Path(), max_steps=3)},
        {"of": setting(Path(), ckpt_path=Path("some.ckpt"))},
        {"of": replace(setting(Path()), graph=replace(setting(Path()).graph, half_life_days=7))},
        {"train": table([1, 2])},
        {"val": table([3])},
        {"refit": table([1, 2, 3])},
    ],
    ids=["config", "db", "seed", "trainer", "checkpoint", "graph", "train", "val", "refit"],
)
def test_anything_else_is_another_fit(other: dict[str, Any]) -> None:
    first, second = ask(), ask(**other)
    assert second is not first
    assert second.fits == 1
    assert ask(**other) is second


def test_a_graph_makes_no_difference_to_who_has_none() -> None:
    class Flat(Counting):
        on_graph = False

    plain = setting(Path())
    other = replace(setting(Path(), max_steps=3), graph=replace(plain.graph, half_life_days=7))
    first, second, third = (
        fitted(Flat(), config="flat", setting=of, db=DB, **ROWS)  # type: ignore[type-var]
        for of in (plain, other, replace(plain, seed=1))
    )
    assert first is second
    assert third is not first
