"""The steady world: what is true at one cutoff is true at the next, and nearly everybody spends, so that a model that
is off at the test cutoff has itself to blame."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from newcomer import composed

from patron.config import Config, load
from patron.estimators import Setting
from patron.estimators.lightgbm import LightGBM, LightGBMConfig
from patron.pipeline import Experiment, prepare
from patron.task.ltv import last_outcome


@pytest.fixture(scope="module")
def steady() -> Experiment:
    words = ("experiment=steady", "data.customers=6000", "estimator=[lightgbm]", "split.step_days=182")
    return prepare(load(composed("config", *words), schema=Config))


def test_labels_are_alike_at_every_cutoff_and_few_are_zero(steady: Experiment) -> None:
    (fold,) = steady.folds
    later = fold.refit.where(fold.refit.frame["cutoff"] >= pd.Timestamp("2021-06-01"))
    means = later.frame.groupby("cutoff")["label"].mean()
    assert len(means) >= 3
    tested = steady.truth["label"].mean()
    assert (means / tested).between(0.9, 1.1).all()
    assert later.frame.groupby("cutoff")["slice_new"].mean().between(0.15, 0.27).all()
    last = last_outcome(steady.db.upto(fold.cutoff), rows=fold.test)
    tenth = pd.qcut(pd.Series(last).rank(method="first"), 10, labels=False)
    zeros = (steady.truth["label"] == 0).groupby(tenth.to_numpy()).mean()
    assert zeros.iloc[1:].max() < 0.05
    assert zeros.iloc[0] < 0.08


def test_the_last_window_of_who_is_known_for_one_is_without_bias(steady: Experiment) -> None:
    (fold,) = steady.folds
    past = steady.db.upto(fold.cutoff)
    first = past["orders"].to_pandas().groupby("customer_id")["order_date"].min()
    known = (fold.test.frame["customer_id"].map(first) < pd.Timestamp("2023-01-01")).to_numpy()
    assert known.mean() > 0.5
    last, spent = last_outcome(past, rows=fold.test)[known].sum(), steady.truth["label"].to_numpy()[known].sum()
    assert last / spent == pytest.approx(1, abs=0.05)


def test_the_pace_that_boosting_starts_from_does_not_fall_as_the_history_grows(
    steady: Experiment, tmp_path: Path
) -> None:
    """A pace over the whole history falls by more than a quarter here from the first of these cutoffs to the test, and
    with it went 15 % of the total."""
    (fold,), config = steady.folds, steady.config
    past, chosen = steady.db.upto(fold.cutoff), config.estimators["lightgbm"]
    assert isinstance(chosen, LightGBMConfig)
    common = {"seed": 0, "folder": tmp_path, "ckpt_path": None, "world": None}
    model = LightGBM(chosen, Setting(config.features, config.graph, config.trainer, **common))
    model.begin(past, train=fold.train, cutoffs=fold.refit.cutoffs)
    early = fold.refit.at(fold.refit.cutoffs[2])
    at_first, at_test = (model.matrix(past, rows).pace.mean() for rows in (early, fold.test))
    assert at_first / at_test == pytest.approx(1, abs=0.1)
    assert np.isfinite(at_test)
