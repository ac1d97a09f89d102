"""The world `regime`: hardly anybody comes back, then many do, and half of the tested are of a kind not met before."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from newcomer import composed
from shared_worlds import START, close, frame, world_of

from patron.config import Config, load
from patron.pipeline import Experiment, prepare
from patron.tables.database import Database
from patron.tables.worlds.latent import relaunched
from patron.tables.worlds.posterior import forecast_from_past
from patron.tables.worlds.world import World
from patron.task.level import levels
from patron.task.ltv import TaskTable, concat, labelled
from patron.task.split import plan

TEST = date(2023, 1, 1)
NOW, DAYS = (TEST - START).days, 181


@pytest.fixture(scope="module")
def regime() -> Experiment:
    return prepare(load(composed("config", "experiment=regime", "estimator=[oracle]"), schema=Config))


@pytest.fixture(scope="module")
def world() -> World:
    return world_of("regime")


def closed(regime: Experiment) -> TaskTable:
    """Labels of all windows of the whole horizon that have closed."""
    config, (fold,) = regime.config, regime.folds
    chosen = plan(regime.db, task=config.task, split=config.split, test=fold.cutoff)
    return concat([labelled(regime.db.upto(fold.cutoff), cutoff=at, config=config.task) for at in chosen.refit])


def test_the_shares_of_buyers_by_cutoff(regime: Experiment) -> None:
    """In per cent, of the windows that have closed and of the test."""
    share = 100 * (1 - levels(closed(regime))["zeros"])
    assert share.round(1).tolist() == [0.1, 0.1, 0.0, 0.0, 19.3, 40.8]
    assert 100 * (regime.truth["label"] > 0).mean() == pytest.approx(34.2, abs=0.05)


def test_the_windows_before_the_break_are_at_another_level(regime: Experiment) -> None:
    (fold,) = regime.folds
    assert "2021-09-01, 2021-11-01, 2022-01-01, 2022-03-01 0.0 to 0.1 % of the labels are above 0" in fold.shift
    assert fold.shift.endswith("Learned from: windows of 90d from 2022-08-03, 2022-10-03.")


def test_half_of_the_tested_are_of_a_kind_that_no_closed_window_has(regime: Experiment) -> None:
    """They came by a channel of their own, hardly come back, and their first order is larger."""
    known = regime.db["customers"].to_pandas().set_index("customer_id")["channel"] == "marketplace"
    assert not known[closed(regime).frame["customer_id"]].any()
    tested = regime.truth.assign(new=known[regime.truth["customer_id"]].to_numpy())
    assert tested["new"].mean() == pytest.approx(0.5, abs=0.02)
    bought = (tested["label"] > 0).groupby(tested["new"]).mean()
    assert bought[False] > 5 * bought[True] > 0


def test_who_came_with_the_relaunch_is_known_by_the_channel_alone(world: World) -> None:
    customers, new = world.truth.customers, relaunched(world.truth.customers, world.truth.config)
    assert ((frame(world, "customers")["channel"] == "marketplace") == new).all()
    assert customers.arrives[new].min() >= 926 > customers.arrives[~new].max()
    close(new.mean(), 0.67, sd=np.sqrt(0.67 * 0.33), n=len(new))


@pytest.mark.parametrize("new", [False, True])
def test_both_oracles_are_right_on_average_of_either_kind(new: bool, world: World) -> None:
    """The truth is what happens, and who knows the past only expects as much in total."""
    truth = world.truth
    mask = (relaunched(truth.customers, truth.config) == new) & (truth.customers.arrives <= NOW)
    known = truth.expected(TEST, days=DAYS)
    forecast = forecast_from_past(truth, Database("regime", world.tables), cutoff=TEST, days=DAYS, draws=50, seed=0)
    past = forecast.expected
    bought = spent(world)
    for expected in (known.gross, past.gross):
        off = (bought - expected)[mask]
        close(off.mean(), 0, sd=off.std(), n=len(off))
    assert past.orders[mask].sum() == pytest.approx(known.orders[mask].sum(), rel=0.04)


def spent(world: World) -> np.ndarray:
    """What every customer bought in `(TEST, TEST + DAYS]`."""
    lines = frame(world, "order_items").merge(frame(world, "orders"), on="order_id")
    inside = (lines["order_date"] > pd.Timestamp(TEST)) & (lines["order_date"] <= pd.Timestamp(TEST + timedelta(DAYS)))
    by_customer = lines[inside].groupby("customer_id")["amount"].sum()
    return by_customer.reindex(range(len(world.truth.customers)), fill_value=0.0).to_numpy()
