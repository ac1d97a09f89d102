"""The level of predictions: that of all closed windows, or where the past has several that of an anchor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from settings import ESTIMATORS, TEST, setting

from patron.calibration.recalibrate import LARGEST
from patron.days import Horizon
from patron.estimators import GNN, Estimator, build
from patron.tables.database import Database
from patron.task.ltv import Anchor
from patron.task.split import Fold
from patron.training.apply import outputs


def test_a_net_is_at_the_level_of_all_closed_windows(
    shop: Database, fold: Fold, fitted: Callable[[str], Estimator]
) -> None:
    net, past, rows = fitted("gnn"), shop.upto(TEST), fold.refit
    assert isinstance(net, GNN)
    out, head = net.apply(past, rows, outputs), net.trained.model.head
    said = net.decoder.decode(head.forecast(out), rows.history)
    assert said.mean.sum() == pytest.approx(rows.label.sum())


@pytest.mark.parametrize("name", ["frequency", "rfm", "lightgbm", "gnn", "boosted_gnn"])
def test_windows_of_half_the_horizon_predict_the_whole_at_the_anchor(
    name: str, shop: Database, fold: Fold, tmp_path: Path
) -> None:
    """Labels count in 45 of 90 days; customers at the test are to spend 150 in the whole."""
    anchor = Anchor(fold.test, mean=150.0, largest=float(fold.refit.label.max()))
    rows = {role: replace(getattr(fold, role), window=Horizon(45, "days")) for role in ("train", "val", "refit")}
    rows["refit"] = replace(rows["refit"], anchor=anchor)
    past, config = shop.upto(fold.cutoff), ESTIMATORS[name]
    whole = build(config, setting(tmp_path / "whole")).fit(past, train=fold.train, val=fold.val, refit=fold.refit)
    half = build(config, setting(tmp_path / "half")).fit(past, **rows)
    found, plain = (model.predict(past, rows=fold.test) for model in (half, whole))
    assert found["ltv_mean"].mean() == pytest.approx(150)
    assert found["rank_score"].corr(plain["rank_score"], method="spearman") == pytest.approx(1)
    if found["q90"].notna().all():
        assert_allclose(1 - found["p_active"], (1 - plain["p_active"]) ** 2, atol=1e-6)
        factor = half.decoder.calibration.factor
        assert found[["q90", "q95", "q975"]].to_numpy().max() <= LARGEST * anchor.largest * factor * (1 + 1e-9)
