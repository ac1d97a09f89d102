"""Kendall's tau-b against scipy, by hand, and the linearised bootstrap against the one that counts all pairs."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from patron.evaluation import kendall as module
from patron.evaluation.bootstrap import cluster_weights
from patron.evaluation.kendall import EXACT_ROWS
from patron.evaluation.metrics import kendall


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spend with many zeros, and a score that knows something of it; both with ties."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 0.0, np.round(rng.lognormal(3, 1, n)))
    return y, np.round(np.log1p(y) + rng.normal(0, 1, n), 1)


@pytest.mark.parametrize("n", [2, 3, 7, 64, 65, 400, EXACT_ROWS + 1, 3000])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_scipys_tau_b(n: int, seed: int) -> None:
    y, score = sample(n, seed)
    y[:2], score[:2] = [1, 2], [3, 1]  # some spread in any case
    assert kendall(y, score) == pytest.approx(kendalltau(y, score).statistic, abs=1e-12)


def test_by_hand() -> None:
    y = np.array([0.0, 0.0, 1.0, 2.0])  # five pairs untied
    assert kendall(y, [1, 1, 2, 3]) == pytest.approx(1)
    assert kendall(y, [1, 2, 3, 4]) == pytest.approx(5 / np.sqrt(5 * 6))
    assert kendall(y, [1, 2, 4, 3]) == pytest.approx(3 / np.sqrt(5 * 6))
    assert kendall(y, [4, 3, 2, 1]) == pytest.approx(-5 / np.sqrt(5 * 6))
    assert kendall(y, np.ones(4)) == 0
    assert np.isnan(kendall(np.ones(4), y))


def test_no_information_is_no_rank_for_many_rows_too() -> None:
    y, _ = sample(EXACT_ROWS + 100)
    weights = np.random.default_rng(0).poisson(1.0, (5, len(y)))
    assert (kendall(y, np.zeros(len(y)), weights) == 0).all()
    assert np.isnan(kendall(np.zeros(len(y)), y, weights)).all()


def test_drawing_every_row_thrice_changes_nothing() -> None:
    y, score = sample(EXACT_ROWS + 100)
    assert kendall(y, score, np.full(len(y), 3)) == pytest.approx(kendall(y, score), rel=1e-12)


def test_the_linearised_interval_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    y, score = sample(300, seed=4)
    weights = cluster_weights(np.arange(300), n_boot=1000, rng=np.random.default_rng(0))
    exact = kendall(y, score, weights)
    assert exact[0] == pytest.approx(kendalltau(np.repeat(y, weights[0]), np.repeat(score, weights[0])).statistic)
    monkeypatch.setattr(module, "EXACT_ROWS", 0)
    linear = kendall(y, score, weights)
    assert (linear != exact).all()
    length = np.ptp(np.quantile(exact, [0.025, 0.975]))
    np.testing.assert_allclose(
        np.quantile(linear, [0.025, 0.975]), np.quantile(exact, [0.025, 0.975]), atol=0.05 * length
    )
    assert np.corrcoef(linear, exact)[0, 1] > 0.98
