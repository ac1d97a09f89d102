"""The views of spend that trees learn, by hand, and how LightGBM puts them together: trees chosen on validation rows,
and residuals of customers held out."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table
from scipy.special import expit
from scipy.stats import spearmanr
from settings import ESTIMATORS, setting

from patron.estimators import LightGBM, LightGBMConfig
from patron.estimators.boosting import (
    CERTAIN,
    LEAST,
    VIEWS,
    Boosted,
    Level,
    Matrix,
    Name,
    Said,
    _at_level_of,
    _Labelled,
    boost,
)
from patron.estimators.lightgbm import PARTS
from patron.task.ltv import TaskTable

NAMES: tuple[Name, ...] = get_args(Name)
EARLY, LATE = date(2021, 1, 1), date(2021, 4, 1)
PARAMS = {"num_threads": 1, "min_data_in_leaf": 10, "learning_rate": 0.1, "num_leaves": 7, "seed": 0}


def matrix(*columns: np.ndarray, pace: "np.ndarray | None" = None) -> Matrix:
    return Matrix(np.column_stack(columns), np.full(len(columns[0]), np.nan) if pace is None else pace)


def boosted(seen: Matrix, rows: TaskTable, *, trees: int = 20) -> Boosted:
    return boost(seen, rows, params=PARAMS, trees=dict.fromkeys(NAMES, trees))


# Targets and starts


def test_targets_by_hand() -> None:
    """Two cutoffs: percentiles are within each, ties in the middle."""
    rows = table([0, 0, 16, 81, 0, 1], customers=[1, 2, 3, 4, 1, 2], cutoffs=[EARLY] * 4 + [LATE] * 2)
    targets = {name: view.target(rows, 49.0) for name, view in VIEWS.items()}
    assert_allclose(targets["rank"], [1 / 4, 1 / 4, 5 / 8, 7 / 8, 1 / 4, 3 / 4])
    assert_allclose(targets["buys"], [0, 0, 1, 1, 0, 1])
    assert_allclose(targets["root"], [0, 0, 2, 3, 0, 1])
    assert_allclose(targets["mean"], np.array([0, 0, 16, 81, 0, 1]) / 49)


def test_starts_by_hand() -> None:
    """The pace of the past in the scale of the view; a mean starts at a fiftieth of the average at least."""
    pace = np.array([0.0, 16.0, 81.0, -1.0])
    starts = {name: view.link(view.start(pace, 8.0)) for name, view in VIEWS.items() if view.start is not None}
    assert set(starts) == {"root", "mean"}
    assert_allclose(starts["root"], [0, 2, 3, 0])
    assert_allclose(starts["mean"], np.log([LEAST, 2, 81 / 8, LEAST]))


def test_starts_are_at_the_level_of_the_labels() -> None:
    """Everybody spends three times the pace: a single tree that may not split says so, of a mean, and of payers' roots
    the mean of these."""
    pace = np.array([9.0, 16.0, 81.0, 16.0] * 10)
    seen, rows = matrix(np.zeros(40), pace=pace), table(3 * pace)
    learned = boosted(seen, rows, trees=1)
    level = {"root": pytest.approx(3**0.25), "mean": pytest.approx(3, rel=0.02)}
    assert learned.starts == {"rank": 1.0, "buys": 1.0, **level}
    said = learned.say(seen)
    assert_allclose(said.mean, 3 * pace, rtol=0.02)
    assert_allclose(said.root, (3 * pace) ** 0.25, rtol=0.01)
    nothing = boosted(matrix(np.zeros(40), pace=np.zeros(40)), rows)
    assert nothing.starts["root"] == 1.0  # 0 has no level


def test_who_buys_nothing_teaches_no_root() -> None:
    """Payers spend 16 or 81 by column 1; the others say nothing, or the roots would be near 0."""
    rng = np.random.default_rng(0)
    heavy, pays = rng.random(400) < 0.5, rng.random(400) < 0.2
    rows, seen = table(np.where(pays, np.where(heavy, 81, 16), 0)), matrix(heavy.astype(float), rng.random(400))
    learned = boosted(seen, rows, trees=150)
    raw = learned.boosters["root"].predict(seen.values, raw_score=True)
    assert_allclose(raw, np.where(heavy, 3, 2), atol=0.05)
    said = learned.say(seen)
    assert_allclose(said.root, said.buys * raw)  # of everybody, not of payers alone
    assert said.root.mean() == pytest.approx((rows.label**0.25).mean(), rel=0.1)


def test_without_trees_that_help_a_mean_is_the_pace() -> None:
    """Labels are their pace, and columns say nothing: what is said stays near the start, also far above the average."""
    rng = np.random.default_rng(0)
    pace = np.exp(rng.normal(4, 0.8, 600))
    seen = matrix(rng.random(600), pace=pace)
    said = boosted(seen, table(pace)).say(seen)
    assert_allclose(said.mean / pace, 1, rtol=0.02)
    assert_allclose(said.root, pace**0.25, rtol=0.02)
    unknown = boosted(matrix(seen.values[:, 0]), table(pace)).say(matrix(seen.values[:, 0]))
    assert spearmanr(unknown.mean, pace).statistic < 0.6


# Labels that are all alike


@pytest.mark.parametrize("label", [0.0, 5.0])
def test_labels_all_alike_are_what_is_said(label: float) -> None:
    rows, seen = table(np.full(60, label)), matrix(np.arange(60.0), pace=np.full(60, 3.0))
    learned = boosted(seen, rows)
    assert all(isinstance(booster, float) for booster in learned.boosters.values())
    said = learned.say(matrix(np.arange(3.0), pace=np.full(3, 7.0)))
    assert_allclose(said.rank, 0)  # the percentile of each is one half
    assert_allclose(said.buys, expit(CERTAIN if label else -CERTAIN))
    assert_allclose(said.root, label**0.25, atol=1e-4)
    assert_allclose(said.mean, label, atol=1e-9)


def test_payers_that_are_all_alike_still_differ_in_whether_they_pay() -> None:
    pays = np.arange(200) % 4 == 0
    seen = matrix(pays.astype(float))
    learned = boosted(seen, table(np.where(pays, 16.0, 0.0)), trees=60)
    assert learned.boosters["root"] == 2.0
    said = learned.say(seen)
    assert said.buys[pays].min() > 0.9 > 0.1 > said.buys[~pays].max()
    assert_allclose(said.root, 2 * said.buys)


def test_flags_are_learned_as_they_are() -> None:
    """Of a churn flag whoever has it is a 'payer', the mean is its probability, and the root no more than that."""
    rng = np.random.default_rng(0)
    x = rng.random(1_000)
    flags, seen = (rng.random(1_000) < x).astype(float), matrix(x)
    said = boosted(seen, table(flags, target="churn"), trees=40).say(seen)
    assert np.corrcoef(said.buys, x)[0, 1] > 0.9
    assert np.corrcoef(said.mean, x)[0, 1] > 0.9
    assert_allclose(said.root, said.buys)


# The level


def test_at_level_by_hand() -> None:
    said = Said(
        rank=np.array([-1.0, 1.0]), buys=np.array([0.2, 0.8]), root=np.array([1.0, 2.0]), mean=np.array([2.0, 8.0])
    )
    y = np.array([0.0, 81.0])  # one of two pays, as is said; a payer's root is 3, and 2 / 0.8 was said; 81 where 10 was
    level = Level.between(said, y)
    assert level.active == pytest.approx(0, abs=1e-9)
    at = said.moved(level)
    assert_allclose(at.root, [(1 / 0.2 + 0.5) * 0.2, 3 * 0.8])
    assert_allclose(at.mean, [16.2, 64.8])
    assert_array_equal(at.rank, said.rank)


def test_a_level_holds_the_share_of_buyers() -> None:
    rng = np.random.default_rng(0)
    said = Said(*(rng.random(400) for _ in range(4)))
    y = np.where(rng.random(400) < 0.2, 16.0, 0.0)
    moved = said.moved(Level.between(said, y))
    assert moved.buys.sum() == pytest.approx((y > 0).sum(), abs=1)
    assert (moved.root / moved.buys)[y > 0].mean() == pytest.approx(2, abs=0.1)  # none below 0
    assert moved.mean.sum() == pytest.approx(y.sum())
    one, other = Level(1.0, 0.5, 2.0), Level(0.25, 0.2, 4.0)
    assert one.since(other) == Level(0.75, pytest.approx(0.3), 0.5)


def test_logit_of_a_certain_purchase_is_finite() -> None:
    said = Said(*(np.array([0.0, 0.5, 1.0]) for _ in range(4)))
    assert_allclose(said.buys_logit, [-np.log(1e6 - 1), 0, np.log(1e6 - 1)])


# Trees


def test_trees_are_as_many_as_the_validation_rows_like() -> None:
    """Where the validation rows know the same signal there are many; where theirs is another one, few."""
    rng = np.random.default_rng(0)

    def world(sign: int) -> tuple[Matrix, TaskTable]:
        x = rng.normal(size=600)
        return matrix(x, rng.normal(size=600)), table(np.exp(3 + sign * x + 0.3 * rng.normal(size=600)).round(-1))

    most, trees = dict.fromkeys(NAMES, 80), {}
    learned = world(1)
    for sign in (1, -1):
        found = boost(*learned, params=PARAMS, trees=most, valid=world(sign), patience=10)
        trees[sign] = found.trees
    assert all(trees[1][name] > 15 for name in NAMES)
    assert all(trees[-1][name] <= 2 for name in NAMES)


def test_validation_rows_start_at_their_own_level() -> None:
    """How far another window's level is from what was learned says nothing of how many trees tell customers apart."""
    values = np.zeros((4, 1))
    learned = _Labelled(values, np.array([0.0, 0.0, 0.0, 1.0]), None)
    valid = _Labelled(values, np.array([0.0, 1.0, 1.0, 1.0]), None)
    assert_allclose(_at_level_of(learned, valid, link=VIEWS["buys"].link).start, np.full(4, 2 * np.log(3)))
    spend = _Labelled(values, np.array([0.0, 1.0, 2.0, 3.0]), None), _Labelled(values, np.full(4, 6.0), None)
    assert_allclose(_at_level_of(*spend, link=VIEWS["mean"].link).start, np.full(4, np.log(4)))
    assert_allclose(_at_level_of(*spend, link=VIEWS["root"].link).start, np.full(4, 4.5))
    started = _Labelled(values, np.full(4, 6.0), np.arange(4.0))
    assert _at_level_of(spend[0], started, link=VIEWS["root"].link) is started



def test_without_validation_rows_there_are_as_many_as_asked_for() -> None:
    x = np.random.default_rng(0).normal(size=200)
    learned = boost(
        matrix(x), table(np.exp(x).round()), params=PARAMS, trees={"rank": 3, "buys": 4, "root": 5, "mean": 6}
    )
    assert learned.trees == {"rank": 3, "buys": 4, "root": 5, "mean": 6}


def test_the_rank_view_ranks_best_where_a_few_spend_enormously() -> None:
    """A planted signal in everybody's rank, and a heavy tail of chance that a mean chases."""
    rng = np.random.default_rng(0)

    def world() -> tuple[Matrix, np.ndarray]:
        x = rng.normal(size=2_000)
        return matrix(x, rng.normal(size=2_000)), np.exp(
            x + rng.normal(size=2_000) + 2 * rng.standard_t(2, 2_000).clip(0, 6)
        )

    (seen, y), (others, theirs) = world(), world()
    said = boosted(seen, table(y), trees=30).say(others)
    by_rank, by_mean = (spearmanr(values, theirs).statistic for values in (said.rank, said.mean))
    assert by_rank > 0.25
    assert by_rank > by_mean + 0.01


# Customers held out


class _Given(LightGBM):
    """LightGBM on a matrix that is given, and so without a database."""

    def __init__(self, folder: Path, columns: np.ndarray) -> None:
        config = ESTIMATORS["lightgbm_rfm"]
        assert isinstance(config, LightGBMConfig)
        by_heart = {"min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 1e-9, "num_leaves": 63, "lambda_l2": 0}
        params = {
            **config.params,
            **by_heart,
            "max_bin": 255,
            "min_data_in_bin": 1,
            "bagging_fraction": 1,
            "feature_fraction": 1,
        }
        super().__init__(replace(config, params=params), setting(folder))
        self.columns = columns

    def matrix(self, db: object, rows: TaskTable) -> Matrix:
        return matrix(self.columns[rows.frame["customer_id"]])

    def learn(self, rows: TaskTable, *, trees: int) -> Boosted:
        return self._boost(self.matrix(None, rows), rows, dict.fromkeys(NAMES, trees))

    def say_held_out(self, rows: TaskTable) -> Said:
        return self.cross_fitted(None, rows=rows)  # type: ignore[arg-type]


def test_nobody_is_scored_by_a_booster_that_learned_from_them(tmp_path: Path) -> None:
    """Every customer has a number of their own and a label that is chance: who has seen a customer, at whichever
    cutoff, knows the label by heart; who has not can only guess."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.arange(1.0, 121.0))
    rows = table(np.tile(label, 2), customers=np.tile(np.arange(120), 2), cutoffs=[EARLY] * 120 + [LATE] * 120)
    model = _Given(tmp_path, rng.permutation(120).astype(float))
    model.trees = dict.fromkeys(NAMES, 80)
    model.tuned = model.learn(rows, trees=80)
    by_heart = model.tuned.say(model.matrix(None, rows))
    held_out = model.say_held_out(rows)
    for name in ("rank", "root", "mean"):
        assert spearmanr(getattr(by_heart, name), rows.label).statistic > 0.95
        assert abs(spearmanr(getattr(held_out, name), rows.label).statistic) < 0.25


def test_parts_are_of_customers_and_whole(tmp_path: Path) -> None:
    """What is said of a part is what boosters of the other two say."""
    rng = np.random.default_rng(0)
    rows = table(rng.lognormal(3, 1, 90).round())
    model = _Given(tmp_path, rng.normal(size=90))
    model.trees = dict.fromkeys(NAMES, 5)
    said, part = model.say_held_out(rows), rows.parts(PARTS)
    for k in range(PARTS):
        others = model.learn(rows.where(part != k), trees=5)
        for name, values in vars(others.say(model.matrix(None, rows.where(part == k)))).items():
            assert_array_equal(getattr(said, name)[part == k], values)
