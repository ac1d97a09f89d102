"""The blend: what it takes and what it leaves, each functional by itself, from components whose worth is known."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table
from scipy.stats import spearmanr
from settings import setting

from patron.estimators import Stack, StackConfig, stack
from patron.estimators.base import COLUMNS, QUANTILES, predictions
from patron.tables.database import Database
from patron.task.ltv import TaskTable

N = 1_500
EARLY, LATE = date(2021, 1, 1), date(2021, 4, 1)
DB = Database("empty", {})


class Given:
    """A component that says what it is given: frames by the number of rows asked for."""

    on_graph = False

    def __init__(self, held_out: pd.DataFrame, later: "pd.DataFrame | None" = None) -> None:
        self.held_out, self.later = held_out, later

    def fit(self, db: Database, **_: TaskTable) -> "Given":
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        assert self.later is not None, "nobody was to ask"
        return self.later


def fitted(parts: dict[str, Given], rows: TaskTable, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of `parts`, whose configs are their names."""
    monkeypatch.setattr(stack, "build_component", lambda config, _: parts[config])
    config = object.__new__(StackConfig)
    object.__setattr__(config, "components", {name: name for name in parts})
    return Stack(config, setting(Path())).fit(DB, train=rows, val=rows, refit=rows)


def world(seed: int = 0) -> tuple[TaskTable, np.ndarray, np.ndarray]:
    """Customers of whom two things matter alike, and nobody else knows: log spend is their sum and noise."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=N), rng.normal(size=N)
    spend = np.exp(2 + one + two + 0.5 * rng.normal(size=N)) * (rng.random(N) < 0.8)
    return table(spend), one, two


def says(rows: TaskTable, score: np.ndarray, *, p_active: bool = True, quantiles: bool = True) -> pd.DataFrame:
    """A component's frame: spend is exp(2 + score), the rank the score itself."""
    spend = np.exp(2 + score)
    return predictions(
        rows, mean=spend, median=spend, rank=score, p_active=np.full(len(rows), 0.8) if p_active else None,
        quantile=(lambda level: spend * 2 * level) if quantiles else None,
    )  # fmt: skip


# What is taken


def test_two_that_know_half_each_are_blended(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    model = fitted({"one": Given(says(rows, one)), "two": Given(says(rows, two))}, rows, monkeypatch)
    assert_allclose(model.weights["rank_score"]["one"], 0.5, atol=0.11)
    blend = spearmanr(model.held_out["rank_score"], rows.label).statistic
    assert blend > spearmanr(one, rows.label).statistic + 0.1


def test_noise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    noise = np.random.default_rng(1).normal(size=N)
    parts = {"good": Given(says(rows, one + two)), "noise": Given(says(rows, noise))}
    model = fitted(parts, rows, monkeypatch)
    for functional in ("rank_score", "ltv_median", "p_active"):
        assert model.weights[functional] == {"good": 1.0}, functional


def test_no_more_is_taken_than_is_clearly_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who know the same and err apart: half and half is about best, and less of the second is not clearly worse."""
    rows, one, two = world()
    rng = np.random.default_rng(3)
    first, second = (one + two + 1.5 * rng.normal(size=N) for _ in range(2))
    model = fitted({"first": Given(says(rows, first)), "second": Given(says(rows, second))}, rows, monkeypatch)
    taken = model.weights["rank_score"]["second"]
    by_share = {share: spearmanr((1 - share) * first + share * second, rows.label).statistic for share in stack.SHARES}
    assert 0 < taken < max(by_share, key=lambda share: by_share[share]) <= 0.6


def test_noise_that_comes_first_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is where it starts, not what it stays with."""
    rows, one, two = world()
    noise = np.random.default_rng(1).normal(size=N)
    model = fitted({"noise": Given(says(rows, noise)), "good": Given(says(rows, one + two))}, rows, monkeypatch)
    assert model.weights["rank_score"]["good"] > 0.85


def test_weights_are_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    rng = np.random.default_rng(2)
    scores = {"one": one, "two": two, "both": one + two + rng.normal(size=N), "noise": rng.normal(size=N)}
    model = fitted({name: Given(says(rows, score)) for name, score in scores.items()}, rows, monkeypatch)
    assert set(model.weights) == {"rank_score", "ltv_median", "ltv_mean", "p_active"}
    assert max(map(len, model.weights.values())) >= 3
    for weights in model.weights.values():
        assert sum(weights.values()) == pytest.approx(1)
        assert min(weights.values()) > 0


def test_each_functional_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ranks, the other knows the level: a rank needs no level, and a median needs no ranks as good as these."""
    rows, one, two = world()
    ranks = says(rows, one + two).assign(ltv_median=1e4, ltv_mean=1e4, p_active=0.1)
    level = says(rows, np.zeros(N)).assign(ltv_median=rows.label + 1, p_active=(rows.label > 0) * 0.9)
    model = fitted({"ranks": Given(ranks), "level": Given(level)}, rows, monkeypatch)
    assert model.weights["rank_score"] == {"ranks": 1.0}
    assert model.weights["ltv_median"] == model.weights["p_active"] == {"level": 1.0}
    assert_allclose(model.held_out["ltv_median"], rows.label + 1)


# What components do not know


def test_who_does_not_know_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first says neither quantiles nor p_active; they are those of the other, however the median is blended."""
    rows, one, two = world()
    plain = says(rows, one, p_active=False, quantiles=False)
    model = fitted({"plain": Given(plain), "full": Given(says(rows, two))}, rows, monkeypatch)
    assert model.weights["p_active"] == {"full": 1.0}
    assert_allclose(model.held_out["p_active"], 0.8)
    assert set(model.weights["ltv_median"]) == {"plain", "full"}
    assert model.held_out[list(QUANTILES)].notna().all(axis=None)


def test_what_nobody_knows_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    parts = {
        name: Given(says(rows, score, p_active=False, quantiles=False)) for name, score in (("a", one), ("b", two))
    }
    model = fitted(parts, rows, monkeypatch)
    assert model.weights["p_active"] == {}
    assert list(model.held_out.columns) == list(COLUMNS)
    assert model.held_out[["p_active", *QUANTILES]].isna().all(axis=None)
    assert model.held_out[["ltv_mean", "ltv_median", "rank_score"]].notna().all(axis=None)


def test_who_has_no_weight_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    good = says(rows, one + two)
    useless = says(rows, np.full(N, 9.0), p_active=False)
    model = fitted({"good": Given(good, good), "useless": Given(useless)}, rows, monkeypatch)
    assert all(set(weights) == {"good"} for weights in model.weights.values())
    assert_array_equal(model.predict(DB, rows=rows), model.held_out)


# Ranks


def test_ranks_beyond_those_of_validation_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, _ = world()
    beyond = np.array([-90.0, -9.0, 0.0, 9.0, 90.0])
    few = table(np.zeros(5))
    model = fitted({"one": Given(says(rows, one), says(few, beyond))}, rows, monkeypatch)
    said = model.predict(DB, rows=few)
    assert (np.diff(said["rank_score"]) > 0).all()


def test_the_scale_of_a_score_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    plain = {"one": says(rows, one), "two": says(rows, two)}
    stretched = {**plain, "two": plain["two"].assign(rank_score=1e5 * np.exp(two))}
    models = [
        fitted({name: Given(frame) for name, frame in frames.items()}, rows, monkeypatch)
        for frames in (plain, stretched)
    ]
    ranks = [model.held_out["rank_score"] for model in models]
    assert models[0].weights["rank_score"] == pytest.approx(models[1].weights["rank_score"])
    assert spearmanr(*ranks).statistic > 0.999


def test_ranks_are_judged_within_a_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the late cutoff everybody spends more. To know that is not to rank: who says nothing but the cutoff is not
    taken, and would be if the rows of both were ranked together."""
    one, season = np.random.default_rng(0).normal(size=N), np.repeat([0.0, 3.0], N // 2)
    rows = table(
        np.exp(one + season), customers=np.tile(np.arange(N // 2), 2), cutoffs=[EARLY] * (N // 2) + [LATE] * (N // 2)
    )
    noisy = one + np.random.default_rng(1).normal(size=N)
    model = fitted({"noisy": Given(says(rows, noisy)), "season": Given(says(rows, season))}, rows, monkeypatch)
    assert model.weights["rank_score"] == {"noisy": 1.0}
    assert_array_equal(model.held_out["cutoff"], rows.frame["cutoff"])
    assert_array_equal(model.held_out["customer_id"], rows.frame["customer_id"])
    together = rows.where(np.ones(N, dtype=bool))
    together = replace(
        together, frame=together.frame.assign(customer_id=np.arange(N), cutoff=together.frame["cutoff"][0])
    )
    model = fitted(
        {"noisy": Given(says(together, noisy)), "season": Given(says(together, season))}, together, monkeypatch
    )
    assert model.weights["rank_score"].get("season", 0) > 0.2


# The config


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StackConfig("stack", components={})
