"""Other horizons: what is learned of them, what is open and counts for nothing, and that none changes nothing."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from settings import ESTIMATORS, TEST, setting

from patron.estimators import GNN
from patron.nn.auxiliary import Auxiliary
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold

NAN = float("nan")


def test_loss_by_hand() -> None:
    """The first horizon has mean 2 and standard deviation 2, the second mean 1 and 1; the open window is left out."""
    others = Auxiliary(2)
    assert torch.equal(others.start_at(torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0], [NAN, NAN]])), torch.zeros(2))
    loss = others.loss(torch.tensor([[0.0, 1.0], [0.0, 5.0]]), torch.tensor([[3.0, 1.0], [8.0, NAN]]))
    assert loss.item() == pytest.approx((0.5**2 / 2 + 1**2 / 2 + (3 - 0.5)) / 3)


def test_open_windows_count_for_nothing() -> None:
    """Neither in the loss nor in a gradient, and where all are open there is no loss, and a start all the same."""
    others = Auxiliary(1)
    assert torch.equal(others.start_at(torch.full((4, 1), NAN)), torch.zeros(1))
    out = torch.ones(4, 1, requires_grad=True)
    loss = others.loss(out, torch.full((4, 1), NAN))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(out.grad, torch.zeros(4, 1))


def with_horizon(rows: TaskTable, values: np.ndarray) -> TaskTable:
    return replace(rows, frame=rows.frame.assign(label_30d=values))


def fitted(shop: Database, fold: Fold, folder: Path, *, weight: float = 1.0, steps: int = 3) -> GNN:
    folder.mkdir()
    config = ESTIMATORS["gnn"]
    given = setting(folder, max_steps=steps, steps_per_check=steps)
    gnn = GNN(replace(config, model=replace(config.model, auxiliary_weight=weight)), given)
    return gnn.fit(shop.upto(TEST), train=fold.train, val=fold.val, refit=fold.refit)


def known(fold: Fold) -> Fold:
    """The fold with a horizon of 30 days in which everybody spends a third of the label; it is open at the latest
    cutoff."""

    def told(rows: TaskTable) -> TaskTable:
        is_open = rows.frame["cutoff"] == np.datetime64(fold.refit.cutoffs[-1])
        return with_horizon(rows, np.where(is_open, np.nan, rows.label / 3))

    return replace(fold, train=told(fold.train), val=told(fold.val), refit=told(fold.refit))


def test_what_is_learned_at_other_horizons_reaches_the_prediction(shop: Database, fold: Fold, tmp_path: Path) -> None:
    rows = fold.test
    none, one = (
        fitted(shop, known(fold), tmp_path / str(weight), weight=weight).predict(shop.upto(TEST), rows=rows)
        for weight in (0.0, 1.0)
    )
    assert np.isfinite(one["ltv_mean"]).all()
    assert not np.allclose(one["rank_score"], none["rank_score"], rtol=1e-4)


def test_other_horizons_are_learned(shop: Database, fold: Fold, tmp_path: Path) -> None:
    gnn = fitted(shop, known(fold), tmp_path / "gnn", steps=5)
    model = gnn.trained.model
    assert model.auxiliary.number == 1
    assert model.out.out_features == model.head.out + 1
    assert (model.wide.weight[-1] != 0).any()
    closed = known(fold).refit.auxiliary[:, 0]
    closed = np.log1p(closed[~np.isnan(closed)])
    assert_allclose(model.auxiliary.loc.item(), closed.mean(), rtol=1e-5)


def test_a_task_without_other_horizons_has_no_outputs_for_them(shop: Database, fold: Fold, tmp_path: Path) -> None:
    gnn = fitted(shop, fold, tmp_path / "gnn")
    assert gnn.trained.model.out.out_features == gnn.trained.model.head.out
    assert fold.train.auxiliary.shape == (len(fold.train), 0)


def test_the_table_gives_them_in_the_order_of_their_columns(fold: Fold) -> None:
    rows = with_horizon(fold.val, np.arange(len(fold.val), dtype=float))
    assert_allclose(rows.auxiliary[:, 0], np.arange(len(fold.val)))
    assert rows.at(date.fromisoformat(str(fold.val.cutoffs[0]))).auxiliary.shape == (len(fold.val), 1)
