"""Conformal quantiles by history: shifts by hand, coverage on simulated customers, and what they never do."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows_by_hand import table
from scipy.stats import binom, norm

from patron.estimators.base import COLUMNS, QUANTILES, predictions
from patron.estimators.conformal import HISTORIES, MIN_ROWS, Conformal
from patron.task.ltv import TaskTable

BOUNDS = ["q05", "q10", "q25", "ltv_median", "q75", "q90", "q95"]


def said(rows: TaskTable, spend: "np.ndarray | float") -> pd.DataFrame:
    """Predictions whose every number is `spend`."""
    values = np.broadcast_to(np.asarray(spend, dtype=float), len(rows))
    return predictions(rows, mean=values, quantile=lambda _: values)


def normal_around(rows: TaskTable, location: np.ndarray, *, sigma: float) -> pd.DataFrame:
    """Predictions that take log1p of spend to be Normal(location, sigma)."""
    return predictions(
        rows, mean=np.exp(location), quantile=lambda level: np.expm1(location + sigma * norm.ppf(level)).clip(min=0)
    )


# Shifts


def test_shifts_by_hand() -> None:
    """Of errors 1, 2, ..., 100 the k-th is k: ceil(101 level) above the median and floor(101 level) below."""
    error = np.random.default_rng(0).permutation(np.arange(1, 101)) / 100
    rows = table(np.expm1(5 + error))
    shifts = Conformal.fit(said(rows, np.expm1(5.0)), rows).shifts
    by_hand = {"q05": 0.05, "q10": 0.10, "q25": 0.25, "q75": 0.76, "q90": 0.91, "q95": 0.96}
    assert {name: pytest.approx(shift[2]) for name, shift in shifts.items()} == by_hand


def test_few_rows_are_left_alone() -> None:
    """One row short of MIN_ROWS nothing is moved; with that one it is."""
    for number, moves in ((MIN_ROWS - 1, False), (MIN_ROWS, True)):
        rows = table(np.expm1(np.full(number, 6.0)), history=1)
        fitted = Conformal.fit(said(rows, np.expm1(5.0)), rows)
        for shift in fitted.shifts.values():
            assert_allclose(shift, [0, 1.0 * moves, 0], atol=1e-12)


def test_each_history_has_its_own_shift() -> None:
    history = np.repeat([0, 1, 2], 150)
    rows = table(np.expm1(4.0 + history), history=history)
    fitted = Conformal.fit(said(rows, np.expm1(5.0)), rows)
    for shift in fitted.shifts.values():
        assert_allclose(shift, [-1, 0, 1], atol=1e-12)
    few = table([0.0, 0.0, 0.0], history=[2, 0, 1])
    moved = fitted.apply(said(few, np.expm1(3.0)), few)
    assert_allclose(moved["q95"], np.expm1([4.0, 3.0, 3.0]))  # lower ones stop at the median
    assert_allclose(moved["q05"], np.expm1([3.0, 2.0, 3.0]))


def test_only_quantiles_move() -> None:
    rows = table(np.expm1(np.full(120, 6.0)))
    frame = said(rows, np.expm1(5.0))
    moved = Conformal.fit(frame, rows).apply(frame, rows)
    assert list(moved.columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(moved.drop(columns=list(QUANTILES)), frame.drop(columns=list(QUANTILES)))
    assert (moved["q95"] > frame["q95"]).all()


# Coverage


def test_coverage_holds_in_every_history() -> None:
    """The predictions take everybody's sigma to be 1; it is 0.5 after one order, 1.5 of the dormant, 1 and 0.4 more
    than they say of the others. On new customers every quantile holds its level, within what chance allows."""
    sigma, bias = np.array([0.5, 1.5, 1.0]), np.array([0.0, 0.0, 0.4])

    def world(number: int, seed: int) -> tuple[TaskTable, pd.DataFrame]:
        rng = np.random.default_rng(seed)
        history, location = rng.integers(HISTORIES, size=number), rng.normal(8, 1, number)
        log_y = location + bias[history] + sigma[history] * rng.normal(size=number)
        rows = table(np.expm1(np.maximum(log_y, 0)), history=history)
        return rows, normal_around(rows, location, sigma=1.0)

    rows, frame = world(30_000, seed=0)
    new, raw = world(6_000, seed=1)
    moved, wrong = Conformal.fit(frame, rows).apply(raw, new), 0
    for history in range(HISTORIES):
        here = new.history == history
        for name, level in QUANTILES.items():
            low, high = binom.interval(0.9999, here.sum(), level) + np.array([-1, 1]) * 0.004 * here.sum()
            assert low <= (new.label <= moved[name])[here].sum() <= high, (history, name)
            wrong += not low <= (new.label <= raw[name])[here].sum() <= high
    assert wrong >= 16  # of 18


# What quantiles never do


def test_quantiles_never_cross_nor_fall_below_zero() -> None:
    rng = np.random.default_rng(0)
    history = rng.integers(HISTORIES, size=900)
    location = rng.normal(1, 1, 900)
    rows = table(np.where(rng.random(900) < 0.85, 0, rng.lognormal(3, 2, 900)), history=history)
    frame = normal_around(rows, location, sigma=0.3)
    fitted = Conformal.fit(frame, rows)
    moved = fitted.apply(frame, rows)
    assert (np.diff(moved[BOUNDS], axis=1) >= 0).all()
    assert (moved[BOUNDS] >= 0).all(axis=None)
    alone = {name: np.expm1(np.log1p(frame[name]) + shift[history]) for name, shift in fitted.shifts.items()}
    assert (pd.DataFrame(alone) < 0).any(axis=None)  # or nothing was at stake
    assert (alone["q75"] < frame["ltv_median"]).any()


def test_of_a_flag_they_are_probabilities() -> None:
    flags = (np.random.default_rng(0).random(400) < 0.5).astype(float)
    rows = table(flags, target="churn")
    frame = said(rows, 0.4)
    moved = Conformal.fit(frame, rows).apply(said(rows, 0.9), rows)
    assert moved[BOUNDS].stack().between(0, 1).all()
    assert_array_equal(moved["q95"], 1.0)  # 0.9 and the shift from 0.4 to 1
    money = table(flags)
    assert (Conformal.fit(frame, money).apply(said(money, 0.9), money)["q95"] > 1).all()


def test_unknown_quantiles_stay_unknown() -> None:
    rows = table(np.arange(200.0))
    frame = predictions(rows, mean=np.ones(200))
    moved = Conformal.fit(frame, rows).apply(frame, rows)
    assert moved[list(QUANTILES)].isna().all(axis=None)
    assert (moved["ltv_median"] == 1).all()
