"""A GNN that starts from LightGBM: before it has learned anything it says what LightGBM says, and what it starts from
in training is not better than it will be later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from settings import ESTIMATORS, SMALL, TEST, setting

from patron.estimators import BoostedGNN, BoostedGNNConfig, Estimator
from patron.estimators.base import QUANTILES
from patron.estimators.boosted_gnn import MOST, _corrected
from patron.estimators.boosting import Level, Said
from patron.estimators.gnn import in_order
from patron.nn.heads import RankedConfig, RankedHead, as_numpy
from patron.tables.database import Database
from patron.task.split import Fold
from patron.training.apply import outputs, said

CONFIG = ESTIMATORS["boosted_gnn"]
assert isinstance(CONFIG, BoostedGNNConfig)
STILL = 1e-12  # a learning rate that learns nothing


@pytest.fixture(scope="module")
def still(shop: Database, fold: Fold, tmp_path_factory: pytest.TempPathFactory) -> BoostedGNN:
    """The net after a step that moves nothing: where it starts."""
    assert isinstance(CONFIG, BoostedGNNConfig)
    held = setting(tmp_path_factory.mktemp("still"), max_steps=1, steps_per_check=1, learning_rate=STILL)
    return BoostedGNN(CONFIG, held).fit(shop.upto(fold.cutoff), train=fold.train, val=fold.val, refit=fold.refit)


def test_before_training_it_says_what_lightgbm_says(still: BoostedGNN, shop: Database, fold: Fold) -> None:
    """The mean, the rank and P(buy) to the precision of the net, and money by LightGBM's residuals and intervals."""
    predicted = still.predict(shop.upto(TEST), rows=fold.test)
    expected = still.boosted.predict(shop.upto(TEST), rows=fold.test)
    for column in ("ltv_mean", "ltv_median", "rank_score", "p_active", *QUANTILES):
        assert_allclose(predicted[column], expected[column], rtol=1e-3, atol=1e-4, err_msg=column)
    assert still.decoder is still.boosted.decoder
    assert predicted["rank_score"].nunique() > 20


def test_outputs_before_training_are_the_offset(still: BoostedGNN, shop: Database, fold: Fold) -> None:
    start = still._start(shop.upto(TEST), rows=still.begin(shop.upto(TEST), fold.refit))
    (first, *_) = still._shots(shop.upto(TEST), rows=still.begin(shop.upto(TEST), fold.refit), of=start)
    with torch.no_grad():
        assert torch.equal(said(start.model.eval(), first), first["customer"].offset)


def test_trained_it_says_something_else(
    still: BoostedGNN, shop: Database, fold: Fold, fitted: Callable[[str], Estimator]
) -> None:
    """The control."""
    trained = fitted("boosted_gnn").predict(shop.upto(TEST), rows=fold.test)["rank_score"]
    lightgbm = still.boosted.predict(shop.upto(TEST), rows=fold.test)["rank_score"]
    assert np.abs(trained - lightgbm).max() > 0.01


def test_another_head_is_refused() -> None:
    assert isinstance(CONFIG, BoostedGNNConfig)
    for config in SMALL.estimators.values():
        head = getattr(getattr(config, "model", None), "head", None)
        if head is not None and not isinstance(head, RankedConfig):
            with pytest.raises(ValueError, match=r"write model\.head\.name=ranked"):
                replace(CONFIG, model=replace(CONFIG.model, head=head))


def test_it_starts_from_customers_held_out(shop: Database, fold: Fold, tmp_path: Path) -> None:
    """The plant: labels are chance, and trees that know them by heart. What the net is told of the rows that it learns
    from must be as bad as of strangers."""
    seen: dict[str, Any] = {}

    class Spy(BoostedGNN):
        def learn(self, db: Database, **rows: Any) -> "Spy":
            seen.update(rows)
            self.decoder = self.boosted.decoder
            return self

        def _level(self, db: Database, rows: Any) -> Level:
            return Level(0.0, 0.0, 1.0)

    assert isinstance(CONFIG, BoostedGNNConfig)
    keen = {"min_data_in_leaf": 1, "min_data_in_bin": 1, "num_leaves": 63, "lambda_l2": 0, "max_bin": 255}
    trees = replace(CONFIG.lightgbm, params={**CONFIG.lightgbm.params, **keen}, max_trees=40, patience=40)
    rng = np.random.default_rng(0)
    customers = fold.refit.frame["customer_id"]
    luck = dict(zip(customers.unique(), rng.permutation(customers.nunique()) + 1.0, strict=True))

    def chance(rows: Any) -> Any:
        return replace(rows, frame=rows.frame.assign(label=rows.frame["customer_id"].map(luck)))

    train, val, refit = (chance(rows) for rows in (fold.train, fold.val, fold.refit))
    past = shop.upto(fold.cutoff)
    model = Spy(replace(CONFIG, lightgbm=trees), setting(tmp_path)).fit(past, train=train, val=val, refit=refit)
    by_heart = spearmanr(model.boosted.final.say(model.boosted.matrix(past, refit)).root, refit.label).statistic
    told = {name: spearmanr(rows.start.root, rows.table.label).statistic for name, rows in seen.items()}
    assert set(told) == {"train", "val", "refit"}
    for name in ("train", "refit"):
        assert abs(told[name]) < 0.3 < 0.5 < by_heart, name


def test_corrections_by_hand() -> None:
    """A root that doubles multiplies money by 16; the mean follows by a factor of three at most."""
    head = RankedHead(RankedConfig("ranked", delta=1.0))
    before = Said(*(np.ones(4) for _ in range(3)), mean=np.full(4, 10.0))
    roots = torch.tensor([1.0, 2.0, 0.1, 1.1])
    after = _corrected(before, torch.stack([roots, torch.full((4,), 0.7), torch.zeros(4)], dim=1), head=head)
    assert_allclose(after.root, roots, rtol=1e-6)
    assert_allclose(after.rank, 0.7, rtol=1e-6)
    assert_allclose(after.buys, 0.5)
    assert_allclose(after.mean, [10, 10 * MOST[1], 10 * MOST[0], 10 * 1.1**4], rtol=1e-4)
    nobody = Said(*(np.zeros(1) for _ in range(3)), mean=np.zeros(1))
    assert_array_equal(_corrected(nobody, torch.tensor([[-5.0, 0.0, 0.0]]), head=head).root, [0.0])


def test_scores_are_of_every_customer_of_the_graph(still: BoostedGNN, shop: Database, fold: Fold) -> None:
    """Whoever is asked about, neighbours are scored all the same."""
    past = shop.upto(TEST)
    few = fold.test.where(np.arange(len(fold.test)) < 5)
    wide = [
        still._shots(past, rows=still.begin(past, rows), of=still.trained)[0]["customer"].x[:, -3:]
        for rows in (few, fold.test)
    ]
    assert torch.equal(*wide)
    said = still.boosted.raw(past, rows=few)
    ids = still._structure(past, TEST)["customer"].ids
    at = [list(ids).index(customer) for customer in few.frame["customer_id"]]
    assert_allclose(as_numpy(wide[0][at]), np.stack([said.root, said.rank, said.buys_logit], axis=1), rtol=1e-6)


def test_a_correction_leaves_the_total_alone(shop: Database, fold: Fold, fitted: Callable[[str], Estimator]) -> None:
    """Of the rows that all has been learned from: what the net says, at its level, is in total what LightGBM says."""
    model = fitted("boosted_gnn")
    assert isinstance(model, BoostedGNN)
    past, rows = shop.upto(fold.cutoff), fold.refit
    known = model.boosted.known
    latest = model._rows(past, rows, known, by=model.boosted.final)
    out = in_order(rows, outputs(model.trained.model, model._shots(past, rows=latest, of=model.trained)))
    corrected = _corrected(known, out, head=model.trained.model.head)
    assert abs(corrected.mean.sum() / known.mean.sum() - 1) > 1e-4  # the control
    after = corrected.moved(model.level)
    assert after.mean.sum() == pytest.approx(known.mean.sum())
    assert after.buys.mean() == pytest.approx(known.buys.mean(), rel=0.02)
