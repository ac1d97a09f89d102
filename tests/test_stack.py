"""The blend: what it takes and what it leaves, of ranks and of spend, from components whose worth is known."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rows_by_hand import table
from scipy.stats import spearmanr
from settings import setting

from patron.calibration.distribution import blend, lognormal
from patron.estimators import Stack, StackConfig, stack
from patron.estimators.base import COLUMNS, Prediction
from patron.tables.database import Database
from patron.task.ltv import TaskTable

N = 1_500
EARLY, LATE = date(2021, 1, 1), date(2021, 4, 1)
DB = Database("empty", {})


class Given:
    """A component that says what it is given."""

    on_graph = False

    def __init__(self, held_out: Prediction, later: "Prediction | None" = None) -> None:
        self.held_out, self.later = held_out, later

    def fit(self, db: Database, **_: TaskTable) -> "Given":
        return self

    def say(self, db: Database, *, rows: TaskTable) -> Prediction:
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


def says(
    rows: TaskTable, score: np.ndarray, *, rank: "np.ndarray | None" = None, p: "np.ndarray | float" = 0.8
) -> Prediction:
    """A component that takes payers' spend to be lognormal about exp(2 + score), and ranks by the score."""
    number = len(rows)
    spend = lognormal(np.broadcast_to(np.asarray(p, dtype=float), number).copy(), 2 + score, np.full(number, 0.5))
    return Prediction(score if rank is None else rank, spend.where)


# What is taken


def test_two_that_know_half_each_are_blended(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    parts = {name: Given(*[says(rows, score)] * 2) for name, score in (("one", one), ("two", two))}
    model = fitted(parts, rows, monkeypatch)
    assert_allclose(model.weights["rank"]["one"], 0.5, atol=0.11)
    blend = spearmanr(model.predict(DB, rows=rows)["rank_score"], rows.label).statistic
    assert blend > spearmanr(one, rows.label).statistic + 0.1


def test_noise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    noise = np.random.default_rng(1).normal(size=N)
    parts = {"good": Given(says(rows, one + two)), "noise": Given(says(rows, noise))}
    assert fitted(parts, rows, monkeypatch).weights == {"rank": {"good": 1.0}, "spend": {"good": 1.0}}


def test_no_more_is_taken_than_is_clearly_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who know the same and err apart: half and half is about best, and less of the second is not clearly worse."""
    rows, one, two = world()
    rng = np.random.default_rng(3)
    first, second = (one + two + 1.5 * rng.normal(size=N) for _ in range(2))
    model = fitted({"first": Given(says(rows, first)), "second": Given(says(rows, second))}, rows, monkeypatch)
    taken = model.weights["rank"]["second"]
    by_share = {share: spearmanr((1 - share) * first + share * second, rows.label).statistic for share in stack.SHARES}
    assert 0 < taken < max(by_share, key=lambda share: by_share[share]) <= 0.6


def test_noise_that_comes_first_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is where it starts, not what it stays with."""
    rows, one, two = world()
    noise = np.random.default_rng(1).normal(size=N)
    model = fitted({"noise": Given(says(rows, noise)), "good": Given(says(rows, one + two))}, rows, monkeypatch)
    assert model.weights["rank"]["good"] > 0.85
    assert model.weights["spend"]["good"] > 0.85


def test_weights_are_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    rng = np.random.default_rng(2)
    scores = {"one": one, "two": two, "both": one + two + rng.normal(size=N), "noise": rng.normal(size=N)}
    model = fitted({name: Given(says(rows, score)) for name, score in scores.items()}, rows, monkeypatch)
    assert set(model.weights) == {"rank", "spend"}
    assert max(map(len, model.weights.values())) >= 3
    for weights in model.weights.values():
        assert sum(weights.values()) == pytest.approx(1)
        assert min(weights.values()) > 0


def test_ranks_and_spend_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ranks, the other knows what is spent: a rank needs no level, and spend needs no ranks as good as these."""
    rows, one, two = world()
    ranks = says(rows, np.full(N, 5.0), rank=one + two, p=0.1)
    level = says(rows, one + two, rank=np.random.default_rng(0).normal(size=N))
    model = fitted({"ranks": Given(ranks), "level": Given(level)}, rows, monkeypatch)
    assert model.weights == {"rank": {"ranks": 1.0}, "spend": {"level": 1.0}}


def test_what_is_blended_is_one_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    said = {"one": says(rows, one, p=0.9), "two": says(rows, two, p=0.6)}
    model = fitted({name: Given(of, of) for name, of in said.items()}, rows, monkeypatch)
    weights = model.weights["spend"]
    assert set(weights) == {"one", "two"}
    frame = model.predict(DB, rows=rows)
    assert list(frame.columns) == list(COLUMNS)
    assert_allclose(frame["p_active"], 0.9 * weights["one"] + 0.6 * weights["two"])
    spend = blend({name: of.spend(slice(None)) for name, of in said.items()}, weights)
    assert_allclose(frame["ltv_mean"], spend.mean)
    assert (frame["q10"] == 0).all()
    assert (np.diff(frame[["q25", "ltv_median", "q75", "q90", "q95", "q975"]], axis=1) > 0).all()


def test_who_has_no_weight_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, one, two = world()
    good = says(rows, one + two)
    model = fitted({"good": Given(good, good), "useless": Given(says(rows, np.full(N, 9.0)))}, rows, monkeypatch)
    assert all(set(weights) == {"good"} for weights in model.weights.values())
    assert_allclose(model.predict(DB, rows=rows)["ltv_mean"], good.spend(slice(None)).mean)


def test_without_a_later_window_it_stays_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other customers of the windows that were learned from cannot say what holds in a later one."""
    rows, one, two = world()
    parts = {"one": Given(says(rows, one)), "both": Given(says(rows, one + two))}
    assert fitted(parts, rows, monkeypatch).weights["rank"] != {"one": 1.0}  # at the cutoff itself others are tested
    later = replace(DB, known_until=LATE + timedelta(days=1))
    monkeypatch.setattr("test_stack.DB", later)
    assert fitted(parts, rows, monkeypatch).weights == {"rank": {"one": 1.0}, "spend": {"one": 1.0}}


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
    stretched = {**plain, "two": says(rows, two, rank=1e5 * np.exp(two))}
    models = [
        fitted({name: Given(of, of) for name, of in parts.items()}, rows, monkeypatch) for parts in (plain, stretched)
    ]
    ranks = [model.predict(DB, rows=rows)["rank_score"] for model in models]
    assert models[0].weights["rank"] == pytest.approx(models[1].weights["rank"])
    assert spearmanr(*ranks).statistic > 0.999


def test_ranks_are_judged_within_a_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the late cutoff everybody spends more. To know that is not to rank: who says nothing but the cutoff is not
    taken, and would be if the rows of both were ranked together."""
    one, season = np.random.default_rng(0).normal(size=N), np.repeat([0.0, 3.0], N // 2)
    rows = table(
        np.exp(one + season), customers=np.tile(np.arange(N // 2), 2), cutoffs=[EARLY] * (N // 2) + [LATE] * (N // 2)
    )
    noisy = one + np.random.default_rng(1).normal(size=N)
    parts = {"noisy": Given(says(rows, noisy)), "season": Given(says(rows, season))}
    assert fitted(parts, rows, monkeypatch).weights["rank"] == {"noisy": 1.0}
    frame = rows.frame.assign(customer_id=np.arange(N), cutoff=rows.frame["cutoff"][0])
    together = replace(rows, frame=frame)
    assert fitted(parts, together, monkeypatch).weights["rank"].get("season", 0) > 0.2


# The config


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StackConfig("stack", components={})
