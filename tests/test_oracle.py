"""The oracles: who knows the state predicts the truth; who knows the past only predicts what Bayes' theorem says."""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from newcomer import composed
from pandas.testing import assert_frame_equal
from scipy.stats import spearmanr
from settings import CONFIGS, setting

from patron.config import Config, load
from patron.days import Horizon, midnight
from patron.estimators import Estimator, OracleConfig, Setting, build
from patron.estimators.base import QUANTILES
from patron.estimators.oracle import Oracle
from patron.pipeline import run_all
from patron.tables.database import Database
from patron.tables.worlds import futures
from patron.tables.worlds.latent import draw_states
from patron.tables.worlds.posterior import forecast_from_past
from patron.tables.worlds.truth import Truth
from patron.tables.worlds.world import MakeConfig, World, generate
from patron.task.ltv import TaskTable
from patron.testing import scrambled_after, shuffled

START = date(2020, 1, 1)
CUTOFFS = (date(2020, 11, 1), date(2021, 2, 1), date(2021, 6, 1))
STATE = OracleConfig(name="oracle", knows="state", draws=50)
PAST = OracleConfig(name="oracle", knows="past", draws=50)
# Everybody is alike: what is left is chance, which no state foretells.
ALIKE = (
    "data.purchases={rate_shape:1e9,value_spread:0,lifetime_days:1e12}", "data.communities.graph_signal=1",
    "data.arrivals.cold_share=0", "data.contacts={reach:0,response:0}",
)  # fmt: skip
NO_LEVEL = ("data.communities={graph_signal:1,rate_effect:0,value_effect:0}", "data.purchases.trial_days=5000")


@cache
def world_of(preset: str, *overrides: str) -> World:
    """Shared by all tests."""
    return generate(load(composed("make_world", f"data={preset}", *overrides), schema=MakeConfig).data)


def database(world: World) -> Database:
    return Database("world", world.tables)


def day(number: int) -> date:
    return START + timedelta(days=number)


def in_world(folder: Path, world: World, *, seed: int = 0) -> Setting:
    return replace(setting(folder, seed=seed), world=world.truth)


def rows_of(world: World, *, cutoffs: tuple[date, ...] = CUTOFFS, target: str = "net") -> TaskTable:
    """Whoever has come by each cutoff, in an order that mixes customers and cutoffs."""
    now = {cutoff: (cutoff - START).days for cutoff in cutoffs}
    arrives = world.truth.customers.arrives
    pairs = [(k, midnight(cutoff)) for cutoff in cutoffs for k in np.flatnonzero(arrives <= now[cutoff])]
    frame = pd.DataFrame(pairs, columns=["customer_id", "cutoff"]).astype({"cutoff": "datetime64[us]"})
    return TaskTable(frame.sample(frac=1, random_state=0, ignore_index=True), Horizon.parse("90d"), target=target)


def predicted(config: OracleConfig, world: World, db: Database, rows: TaskTable, folder: Path) -> pd.DataFrame:
    oracle = build(config, in_world(folder, world)).fit(db, train=rows, val=rows, refit=rows)
    return oracle.predict(db, rows=rows)


def totals(world: World, *, now: int) -> tuple[np.ndarray, np.ndarray]:
    """Of every customer up to day `now`: how many orders, the first among them, and what they were worth."""
    orders = world.tables["orders"].to_pandas().merge(
        world.tables["order_items"].to_pandas().groupby("order_id")["amount"].sum(), on="order_id"
    )  # fmt: skip
    known = orders[orders["order_date"] <= midnight(day(now))].groupby("customer_id")["amount"].agg(["size", "sum"])
    known = known.reindex(range(len(world.truth.customers)), fill_value=0)
    return known["size"].to_numpy(), known["sum"].to_numpy()


def prior(truth: Truth, *, cutoff: date, days: int, states: int = 200) -> np.ndarray:
    """Expected gross of who knows arrival and community of each customer, and not a single order."""
    owner = np.repeat(np.arange(len(truth.customers)), states)
    drawn = draw_states(
        np.random.default_rng(1), config=truth.config, customer_id=owner, arrives=truth.customers.arrives[owner],
        community=truth.customers.community[owner], effects=truth.effects,
    )  # fmt: skip
    return replace(truth, customers=drawn).expected(cutoff, days=days).gross.reshape(-1, states).mean(axis=1)


# The estimator


def test_both_oracles_of_the_configuration_are_built(tmp_path: Path) -> None:
    estimators = load(composed("config", "estimator=[oracle,oracle_past]"), schema=Config).estimators
    known = {name: config.knows for name, config in estimators.items() if isinstance(config, OracleConfig)}
    assert known == {"oracle": "state", "oracle_past": "past"}
    assert all(isinstance(build(one, in_world(tmp_path, world_of("tiny"))), Oracle) for one in estimators.values())
    assert {file.stem for file in (CONFIGS / "estimator").glob("oracle*.yaml")} == set(known)


@pytest.mark.parametrize("target", ["gross", "net", "orders"])
def test_who_knows_the_state_predicts_the_truth_in_the_order_of_the_rows(tmp_path: Path, target: str) -> None:
    world = world_of("tiny")
    rows = rows_of(world, target=target)
    said = predicted(STATE, world, database(world), rows, tmp_path)
    assert_frame_equal(said[["customer_id", "cutoff"]], rows.frame)
    expected = {cutoff: getattr(world.truth.expected(cutoff, days=90), target) for cutoff in CUTOFFS}
    by_hand = [expected[stamp.date()][who] for who, stamp in rows.frame.itertuples(index=False)]
    assert said["ltv_mean"].tolist() == by_hand
    assert np.unique(by_hand).size > 200
    for _, of_cutoff in said.groupby("cutoff"):
        assert spearmanr(of_cutoff["rank_score"], of_cutoff["ltv_mean"]).statistic > 0.9
    assert said["p_active"].between(0, 1).all()
    ordered = said[[name for name in QUANTILES if QUANTILES[name] < 0.5]].to_numpy()
    assert (np.diff(np.column_stack([ordered, said["ltv_median"]]), axis=1) >= 0).all()


def test_who_knows_the_past_predicts_the_posterior_in_the_order_of_the_rows(tmp_path: Path) -> None:
    world, db = world_of("tiny"), database(world_of("tiny"))
    rows = rows_of(world, cutoffs=CUTOFFS[:2])
    said = predicted(PAST, world, db, rows, tmp_path)
    expected = {
        cutoff: forecast_from_past(world.truth, db, cutoff=cutoff, days=90, draws=50, seed=0).expected.net
        for cutoff in CUTOFFS[:2]
    }
    by_hand = [expected[stamp.date()][who] for who, stamp in rows.frame.itertuples(index=False)]
    assert said["ltv_mean"].tolist() == by_hand


def test_another_seed_draws_other_states(tmp_path: Path) -> None:
    world, rows = world_of("tiny"), rows_of(world_of("tiny"), cutoffs=CUTOFFS[:1])
    one, same, other = (
        build(PAST, in_world(tmp_path, world, seed=seed)).predict(database(world), rows=rows) for seed in (0, 0, 1)
    )
    assert_frame_equal(one, same, check_exact=True)
    assert not one["ltv_mean"].equals(other["ltv_mean"])
    assert spearmanr(one["ltv_mean"], other["ltv_mean"]).statistic > 0.9


def test_data_that_are_no_world_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"knows made-up worlds only; take data=shop, or leave it out of estimator="):
        build(STATE, setting(tmp_path))


@pytest.mark.parametrize("target", ["margin", "order_value", "churn", "flag"])
def test_a_target_it_does_not_know_is_refused(tmp_path: Path, target: str) -> None:
    world = world_of("tiny")
    rows = rows_of(world, target=target)
    with pytest.raises(ValueError, match=f"the oracle expects gross, net, orders, not '{target}'; leave it out"):
        predicted(STATE, world, database(world), rows, tmp_path)


@pytest.mark.parametrize("config", [STATE, PAST], ids=["state", "past"])
def test_what_is_saved_predicts_the_same(tmp_path: Path, config: OracleConfig) -> None:
    world, rows = world_of("tiny"), rows_of(world_of("tiny"), cutoffs=CUTOFFS[:1])
    oracle: Estimator = build(config, in_world(tmp_path, world))
    oracle.fit(database(world), train=rows, val=rows, refit=rows).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["estimator.joblib"]
    again = Oracle.load(tmp_path).predict(database(world), rows=rows)
    assert_frame_equal(again, oracle.predict(database(world), rows=rows), check_exact=True)


# The past, and nothing but the past


def test_the_future_changes_nothing_and_the_past_does(tmp_path: Path) -> None:
    world, db = world_of("tiny"), database(world_of("tiny"))
    rows = rows_of(world, cutoffs=CUTOFFS[1:2])
    expected = predicted(PAST, world, db, rows, tmp_path)
    for other in (scrambled_after(db, cutoff=CUTOFFS[1]), db.upto(CUTOFFS[1])):
        assert_frame_equal(predicted(PAST, world, other, rows, tmp_path), expected, check_exact=True)
    changed = predicted(PAST, world, scrambled_after(db, cutoff=CUTOFFS[0]), rows, tmp_path)
    assert (changed["ltv_mean"] != expected["ltv_mean"]).mean() > 0.2


def test_the_order_of_rows_in_tables_changes_nothing(tmp_path: Path) -> None:
    world, rows = world_of("tiny"), rows_of(world_of("tiny"), cutoffs=CUTOFFS[1:2])
    both = [predicted(PAST, world, db, rows, tmp_path) for db in (database(world), shuffled(database(world)))]
    assert_frame_equal(*both, check_exact=True)


# The posterior against what can be worked out


def test_where_all_are_alike_the_past_tells_as_much_as_the_state() -> None:
    world = world_of("world", "data.customers=200", *ALIKE)
    for cutoff in (day(300), day(1000)):
        said = forecast_from_past(world.truth, database(world), cutoff=cutoff, days=90, draws=4, seed=0).expected
        known = world.truth.expected(cutoff, days=90)
        for name in ("orders", "gross", "net"):
            assert getattr(said, name) == pytest.approx(getattr(known, name), rel=1e-3)
    assert np.unique(known.orders.round(3)).size > 12  # communities differ, and who has come


def test_customers_are_looked_at_in_parts_without_being_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("world", "data.customers=200", *ALIKE)
    monkeypatch.setattr(futures, "CHUNK", 30)  # 7 customers at a time, 4 in the last part
    said = forecast_from_past(world.truth, database(world), cutoff=day(1000), days=90, draws=4, seed=0).expected
    assert said.net == pytest.approx(world.truth.expected(day(1000), days=90).net, rel=1e-3)


def test_rates_are_those_of_gamma_and_poisson() -> None:
    """Shape 2 and n orders after the first in T days: the posterior mean is (2 + n) / (2 + T x trial_rate / 365)."""
    rates = "data.purchases={rate_shape:2,trial_rate:6,value_spread:0,lifetime_days:1e12}"
    world = world_of("world", "data.customers=60", *NO_LEVEL, rates)
    said = forecast_from_past(world.truth, database(world), cutoff=day(800), days=28, draws=5000, seed=0).expected
    exposure = (800 - world.truth.customers.arrives) * 6 / 365
    come = exposure > 0
    number = totals(world, now=800)[0] - 1
    expected = ((2 + number) / (2 + exposure) * 6 / 365 * 28)[come]
    assert expected.max() > 5 * expected.min()
    assert said.orders[come] == pytest.approx(expected, rel=0.05)
    assert said.orders[come].sum() == pytest.approx(expected.sum(), rel=0.01)
    assert not said.orders[~come].any()


def test_values_are_those_of_gamma_and_gamma() -> None:
    """The mean value of a customer is inverse Gamma; every order tells something of it, the first one too."""
    values = "data.purchases={rate_shape:1e9,value:50,value_shape:2,value_spread:0.5,lifetime_days:1e12}"
    world = world_of("world", "data.customers=60", *NO_LEVEL, values)
    said = forecast_from_past(world.truth, database(world), cutoff=day(800), days=28, draws=5000, seed=0).expected
    number, worth = totals(world, now=800)
    shape, come = 2 + 1 / 0.5**2, number > 0
    expected = ((shape - 1) * 50 + 2 * worth) / (shape + 2 * number - 1)
    assert said.gross[come] / said.orders[come] == pytest.approx(expected[come], rel=0.05)
    assert (said.gross[come] / said.orders[come]).sum() == pytest.approx(expected[come].sum(), rel=0.01)


def test_who_has_been_silent_for_long_may_have_left() -> None:
    """By orders alone, two states by hand: there at the rate r since the last order, or gone before. Hazards are
    alike: shape 1e9."""
    lives = "data.purchases={rate_shape:1e9,trial_rate:12,value_spread:0,leaving_days:0}"
    hazard = "data.purchases={lifetime_days:400,lifetime_shape:1e9}"
    world = world_of("world", "data.customers=60", *NO_LEVEL, lives, hazard)
    now, rate = 1000, 12 / 365
    orders = database(world).only(())
    said = forecast_from_past(world.truth, orders, cutoff=day(now), days=28, draws=5000, seed=0).expected
    when = world.tables["orders"].to_pandas()
    when = when[when["order_date"] <= midnight(day(now))].groupby("customer_id")["order_date"].max()
    last = ((when - pd.Timestamp(START)) / pd.Timedelta(days=1)).reindex(range(60)).to_numpy()
    # The density of leaving at t is exp(-t / 400) / 400 a day, and of no order until then exp(-rate x t).
    silent = now - last
    both = rate + 1 / 400
    gone = (1 - np.exp(-both * silent)) / 400 / both
    there = np.exp(-both * silent) / (np.exp(-both * silent) + gone)
    expected = there * rate * 400 * (1 - np.exp(-28 / 400))
    come = ~np.isnan(last)
    assert {True, False} == set((there[come] < 0.01).tolist())
    assert (there[come] > 0.9).any()
    assert said.orders[come] == pytest.approx(expected[come], rel=0.08, abs=0.03)


def test_who_has_only_arrived_gets_a_number() -> None:
    """And the fewer orders came after the arrival, the fewer are expected."""
    world = world_of("tiny")
    said = forecast_from_past(world.truth, database(world), cutoff=day(500), days=90, draws=100, seed=0).expected
    number, _ = totals(world, now=500)
    come = world.truth.customers.arrives <= 500
    assert (number[come] == 1).sum() > 20
    for values in (said.orders, said.gross, said.net):
        assert np.isfinite(values).all()
        assert not values[~come].any()
    assert 0 < said.orders[come & (number == 1)].mean() < said.orders[number > 3].mean()
    assert (said.orders[come] > 0).all()


def test_orders_that_no_state_explains_leave_the_prior() -> None:
    """Nobody orders in the trial: whoever does, by another shop's tables, gets a number all the same."""
    world = world_of("tiny", "data.arrivals.cold_share=1", "data.purchases.trial_days=5000")
    owner = np.repeat(np.arange(300), 2)
    orders = {"order_id": np.arange(600), "customer_id": owner, "order_date": np.datetime64(day(5), "us") + owner}
    db = Database("others", {"customers": world.tables["customers"], "orders": pa.table(orders)})
    said = forecast_from_past(world.truth, db, cutoff=day(500), days=90, draws=10, seed=0).expected
    assert np.isfinite(said.net).all()


@pytest.mark.parametrize("contacts", ["reach:0", "reach:0.8,response:0.5,lift:2"])
def test_the_past_counts_as_much_as_it_should_in_total(contacts: str) -> None:
    """In the mean over customers, expectations given less are those given more; orders that campaigns brought are not
    taken for own ones."""
    world = world_of("shop", "data.customers=3000", f"data.contacts={{{contacts}}}")
    known = world.truth.expected(day(1096), days=90)
    said = forecast_from_past(world.truth, database(world), cutoff=day(1096), days=90, draws=100, seed=0).expected
    for name in ("orders", "gross", "net"):
        assert getattr(said, name).sum() == pytest.approx(getattr(known, name).sum(), rel=0.04)


@pytest.mark.parametrize("signal", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_who_knows_more_ranks_better(signal: float) -> None:
    world = world_of("world", "data.customers=3000", f"data.communities.graph_signal={signal}")
    now, days = 900, 365
    come = world.truth.customers.arrives <= now
    future = totals(world, now=now + days)[1] - totals(world, now=now)[1]
    said = forecast_from_past(world.truth, database(world), cutoff=day(now), days=days, draws=100, seed=0).expected
    known = world.truth.expected(day(now), days=days)
    guessed = prior(world.truth, cutoff=day(now), days=days, states=50)
    ranks = [spearmanr(values[come], future[come]).statistic for values in (known.gross, said.gross, guessed)]
    assert ranks[0] > ranks[1] + 0.02 > ranks[2] + 0.04


def test_an_oracle_that_an_experiment_brings_along_stays_out_of_what_it_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("experiment=shop", "data=tiny", "estimator=[zero]", "task.target=churn", "task.horizon=90d")
    split = ("split.test=['2021-06-01']", "split.max_cutoffs=1", "split.min_history_days=90")
    more = ("evaluation.n_boot=5", "trainer.progress=false", f"runs={tmp_path}")
    config = load(composed("config", *words, *split, *more), schema=Config)
    assert set(config.estimators) == {"zero", "oracle", "oracle_past"}
    assert set(run_all(config)["estimator"]) == {"zero", "ceiling"}
    assert "oracle, oracle_past left out: the truth is known of gross, net, orders only" in caplog.text
