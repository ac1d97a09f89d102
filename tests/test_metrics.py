"""Metrics against scipy, scikit-learn and hand values; weights against the sample they stand for; bootstrap draws."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    mean_absolute_error,
    mean_tweedie_deviance,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
    root_mean_squared_log_error,
)

from patron.evaluation import metrics
from patron.evaluation.bootstrap import Interval, cluster_weights, interval, weight_chunks
from patron.evaluation.ceiling import spearman_ceiling
from patron.evaluation.curves import decile_table, gains
from patron.evaluation.metrics import FLAG_METRICS, METRICS, metrics_for


def sample(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spend with many zeros, and a score with ties that knows something of it."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(3, 1, n))
    return y, np.round(np.log1p(y) + rng.normal(0, 1, n), 1)


def prediction_for(name: str, score: np.ndarray) -> np.ndarray:
    columns = len(METRICS[name].columns)
    return score if columns == 1 else np.stack([score + 20 * k for k in range(columns)], axis=1)


def labels_for(name: str, y: np.ndarray) -> np.ndarray:
    """A mean error by tenths asks for some spend in each."""
    return y + 1 if name == "decile_mape" else y


def test_against_scipy_and_sklearn() -> None:
    y, score = sample()
    assert metrics.spearman(y, score) == pytest.approx(spearmanr(y, score).statistic, abs=1e-14)
    assert metrics.mae(y, score) == pytest.approx(mean_absolute_error(y, score))
    assert metrics.nmae(y, score) == pytest.approx(mean_absolute_error(y, score) / y.mean())
    assert metrics.rmse(y, score) == pytest.approx(root_mean_squared_error(y, score))
    assert metrics.r2(y, score) == pytest.approx(r2_score(y, score), rel=1e-12)
    assert metrics.rmsle(y, np.abs(score)) == pytest.approx(root_mean_squared_log_error(y, np.abs(score)))
    active, probability = y > 0, np.clip(score / 4, 0, 1)  # with ties
    assert metrics.pr_auc_active(y, probability) == pytest.approx(average_precision_score(active, probability))
    assert metrics.brier_active(y, probability) == pytest.approx(brier_score_loss(active, probability))


def test_hand_values() -> None:
    y, predicted = np.array([0.0, 10.0, 30.0, 0.0]), np.array([4.0, 10.0, 26.0, 4.0])
    assert metrics.bias(y, predicted) == pytest.approx(44 / 40 - 1)
    assert metrics.nmae(y, predicted) == pytest.approx(12 / 40)
    assert metrics.rmse(y, predicted) == pytest.approx(np.sqrt(48 / 4))
    assert metrics.r2(y, predicted) == pytest.approx(1 - 48 / 600)  # the labels are 10, 0, 20 and 10 off their mean
    scaled = np.stack([predicted, np.full(4, 2.0)], axis=1)
    assert metrics.nmae_std(y, scaled) == pytest.approx(3 / 2)
    assert np.isnan(metrics.nmae_std(y, scaled * [1, 0]))  # all training labels alike
    assert metrics.rmsle(y, np.array([-5, 10, 30, np.e - 1])) == pytest.approx(1 / 2)  # negative counts as 0
    active = np.array([0.5, 1, 0.8, 0])
    assert metrics.brier_active(y, active) == pytest.approx((0.25 + 0.04) / 4)
    assert metrics.pr_auc_active(y, active) == 1
    bounds = np.array([[0, 1], [10, 12], [31, 40], [1, 2]])  # ends count as inside
    assert metrics.coverage80(y, bounds) == pytest.approx(2 / 4)
    assert metrics.coverage80_payers(y, bounds) == pytest.approx(1 / 2)
    assert np.isnan(metrics.coverage80(y, np.full((4, 2), np.nan)))


FOR_FLAGS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score, "brier": brier_score_loss}


def flags(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 0 and 1, and probabilities with ties."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(float)
    return y, np.round(np.clip(0.3 * y + 0.7 * rng.random(n), 0, 1), 1)


@pytest.mark.parametrize("name", FOR_FLAGS)
@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_flags_are_scikit_learns(name: str, seed: int) -> None:
    y, probability = flags(seed=seed)
    weights = np.random.default_rng(seed).poisson(1.0, (20, len(y)))
    expected = [FOR_FLAGS[name](np.repeat(y, w), np.repeat(probability, w)) for w in weights]
    np.testing.assert_allclose(FLAG_METRICS[name](y, probability, weights), expected, rtol=1e-12)
    assert FLAG_METRICS[name](y, probability) == pytest.approx(FOR_FLAGS[name](y, probability), rel=1e-12)


@pytest.mark.parametrize("name", FOR_FLAGS)
def test_metrics_of_flags_do_not_depend_on_the_order_of_rows(name: str) -> None:
    y, probability = flags()
    other = np.random.default_rng(3).permutation(len(y))
    assert FLAG_METRICS[name](y[other], probability[other]) == pytest.approx(FLAG_METRICS[name](y, probability))


def test_flags_by_hand() -> None:
    y, score = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.1, 0.5, 0.5, 0.5])
    assert metrics.roc_auc(y, score) == pytest.approx((2 + 2 * 0.5) / 4)
    assert metrics.average_precision(y, score) == pytest.approx(2 / 3)
    assert metrics.brier(y, score) == pytest.approx((0.01 + 3 * 0.25) / 4)
    assert metrics.roc_auc(y, np.zeros(4)) == 0.5
    for name in ("roc_auc", "average_precision"):
        assert np.isnan(FLAG_METRICS[name](np.zeros(4), score)), name
    assert np.isnan(metrics.roc_auc(np.ones(4), score))


def test_flags_have_three_more_metrics() -> None:
    assert metrics_for(flag=False) == METRICS
    assert set(metrics_for(flag=True)) - set(METRICS) == set(FOR_FLAGS)


def google_gini(y: np.ndarray, score: np.ndarray) -> float:
    """Normalised Gini of google/lifetime_value, metrics.py: rectangles under the gains curve, row by row."""

    def raw(by: np.ndarray) -> float:
        return 2 * np.mean(np.cumsum(y[np.argsort(-by, kind="stable")]) / y.sum()) - 1

    return raw(score) / raw(y)


def test_gini_is_googles_up_to_one_over_n() -> None:
    y, _ = sample(2000)
    untied = np.random.default_rng(1).normal(np.log1p(y), 1)
    assert metrics.gini(y, y) == pytest.approx(1, abs=1e-12)
    assert metrics.gini(y, untied) == pytest.approx(google_gini(y, untied), abs=2 / len(y))
    assert metrics.gini(y, -y) == pytest.approx(-1, abs=1e-12)
    chance = [metrics.gini(y, np.random.default_rng(seed).random(len(y))) for seed in range(100, 120)]
    assert abs(np.mean(chance)) < 0.03


def test_capture_by_hand() -> None:
    y = np.arange(20.0)  # revenue 190; the two best are worth 19 + 18
    assert metrics.capture10(y, y) == pytest.approx(37 / 190)
    assert metrics.capture10(y, -y) == pytest.approx(1 / 190)
    assert metrics.capture10(y, np.ones(20)) == pytest.approx(0.1)  # all tied: a tenth of everything
    border = np.where(y == 19, 2.0, 1.0)  # the best alone, then one of 19 tied
    assert metrics.capture10(y, border) == pytest.approx((19 + 171 / 19) / 190)
    assert metrics.capture10(y[:15], y[:15]) == pytest.approx((14 + 0.5 * 13) / 105)  # a tenth of 15 is 1.5 customers
    curve = gains(y, border)
    assert np.interp(0.1, curve.customers, curve.revenue) == pytest.approx(metrics.capture10(y, border))


def google_decile_mape(y: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the column decile_mape of google/lifetime_value's `decile_stats`."""
    frame = pd.DataFrame({"y": y, "predicted": predicted}).groupby(pd.qcut(predicted, 10, labels=False)).mean()
    return float((np.abs(frame["predicted"] - frame["y"]) / frame["y"]).mean())


def test_decile_mape_is_googles() -> None:
    y = np.random.default_rng(0).lognormal(3, 1, 500)
    predicted = y * np.random.default_rng(1).lognormal(0, 0.5, 500)
    assert metrics.decile_mape(y, predicted) == pytest.approx(google_decile_mape(y, predicted), rel=1e-12)


def test_decile_mape_by_hand() -> None:
    y = np.arange(1.0, 21)
    assert metrics.decile_mape(y, y) == 0
    assert metrics.decile_mape(y, 1.5 * y) == pytest.approx(0.5)
    swapped = y.copy()
    swapped[[0, 1]] = [2, 1]  # within the lowest tenth
    assert metrics.decile_mape(y, swapped) == 0
    twice = np.where(y > 18, 2 * y, y)  # the highest tenth is promised twice as much
    assert metrics.decile_mape(y, twice) == pytest.approx(0.1)
    assert metrics.decile_mape(y, np.full(20, 21.0)) == pytest.approx(1)  # all tied: one tenth of mean 10.5
    assert np.isnan(metrics.decile_mape(np.where(y < 3, 0, y), y))
    assert metrics.decile_mape(np.where(y < 3, 0, y), np.where(y < 3, 0, 2 * y)) == pytest.approx(0.9)


def test_tweedie_is_the_deviance_of_sklearn() -> None:
    y, score = np.array([0.0, 4.0, 10.0, 250.0]), np.array([1.0, 4.0, 30.0, 90.0])
    assert metrics.tweedie(y, score) == pytest.approx(mean_tweedie_deviance(y, score, power=1.5))
    assert metrics.tweedie(y, y * 0 + 0.0) == pytest.approx(metrics.tweedie(y, y * 0 + 0.01))


def test_no_information_and_no_spend() -> None:
    y, score = sample()
    constant = np.full(len(y), 3.0)
    assert metrics.spearman(y, constant) == 0
    assert metrics.gini(y, constant) == 0
    assert metrics.pr_auc_active(y, constant / 3) == pytest.approx((y > 0).mean())
    assert metrics.r2(y, np.full(len(y), y.mean())) == pytest.approx(0, abs=1e-12)
    assert np.isnan(metrics.r2(np.full(len(y), 0.1), score))  # whatever is 0.1 three times over, rounded
    nothing = ("spearman", "kendall", "gini", "capture10", "nmae", "bias", "coverage80_payers", "pinball", "crps",
               "r2", "decile_mape", "pr_auc_active", "width80")  # fmt: skip
    for name in nothing:
        assert np.isnan(METRICS[name](np.zeros(len(y)), prediction_for(name, score))), name


@pytest.mark.parametrize("name", METRICS)
def test_weights_equal_the_replicated_sample(name: str) -> None:
    y, score = sample(30)
    y, prediction, metric = labels_for(name, y), prediction_for(name, score), METRICS[name]
    weights = np.random.default_rng(2).poisson(1.0, (25, len(y)))
    expected = [metric(np.repeat(y, w), np.repeat(prediction, w, axis=0)) for w in weights]
    np.testing.assert_allclose(metric(y, prediction, weights), expected, rtol=1e-12, atol=1e-13)
    assert metric(y, prediction, weights[0]) == pytest.approx(expected[0], rel=1e-12)
    assert metric(y, prediction, np.ones(len(y))) == metric(y, prediction)


@pytest.mark.parametrize("name", METRICS)
def test_row_order_changes_nothing(name: str) -> None:
    y, score = sample()
    y, prediction, shuffled = labels_for(name, y), prediction_for(name, score), np.random.default_rng(3).permutation(80)
    assert METRICS[name](y[shuffled], prediction[shuffled]) == pytest.approx(METRICS[name](y, prediction), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_what_is_not_predicted_is_not_scored(name: str) -> None:
    """A NaN has no rank, and one in a column does not become a number by any other way."""
    y, score = sample(30)
    prediction = prediction_for(name, score)
    prediction[3] = np.nan
    assert np.isnan(METRICS[name](y, prediction, np.ones((2, 30)))).all()


def test_sizes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="mae: 3 labels, 2 predictions"):
        metrics.mae(np.zeros(3), np.zeros(2))


def test_ceiling_is_what_an_untied_perfect_ranking_reaches() -> None:
    y = np.concatenate([np.zeros(600), 1 + np.arange(400.0)])
    untied = np.arange(1000.0)
    assert spearman_ceiling(y) == pytest.approx(metrics.spearman(y, untied), abs=1e-5)


def test_decile_table() -> None:
    y = np.arange(100.0)
    predictions = pd.DataFrame({"rank_score": y, "ltv_mean": 2 * y})
    table = decile_table(y, predictions)
    assert table["n"].tolist() == [10] * 10
    first = table.iloc[0]
    assert (first["decile"], first["actual_mean"], first["predicted_mean"]) == (1, 94.5, 189)
    assert (first["actual_median"], first["bias"]) == (94.5, 1)
    assert table["share_of_revenue"].sum() == pytest.approx(1)
    assert table["share_with_spend"].iloc[-1] == 0.9  # the customer with spend 0
    shuffled = np.random.default_rng(0).permutation(100)
    pd.testing.assert_frame_equal(decile_table(y[shuffled], predictions.iloc[shuffled]), table)


def test_decile_table_keeps_ties_together() -> None:
    table = decile_table(np.ones(50), pd.DataFrame({"rank_score": np.zeros(50), "ltv_mean": np.zeros(50)}))
    assert table["n"].tolist() == [0, 0, 0, 0, 0, 50, 0, 0, 0, 0]


def test_cluster_weights_draw_customers_whole() -> None:
    ids = np.array(["b", "a", "b", "c", "a", "b"])
    weights = cluster_weights(ids, n_boot=500, rng=np.random.default_rng(0))
    assert weights.shape == (500, 6)
    for name in "abc":
        assert (weights[:, ids == name] == weights[:, ids == name][:, :1]).all()
    first_rows = weights[:, [1, 0, 3]]
    assert (first_rows.sum(axis=1) == 3).all()
    assert first_rows.mean() == pytest.approx(1)


def test_chunks_do_not_change_the_draws() -> None:
    codes, size = np.array([0, 1, 1, 4]), {"clusters": 7, "n_boot": 33}
    whole = np.concatenate(list(weight_chunks(codes, **size, rng=np.random.default_rng(5))))
    chunks = list(weight_chunks(codes, **size, rng=np.random.default_rng(5), chunk_bytes=8 * 7 * 5))
    assert len(chunks) == 7
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_interval() -> None:
    bounds = interval(np.arange(101.0), level=0.9)
    assert (bounds.lo, bounds.hi) == (pytest.approx(5), pytest.approx(95))
    assert interval(np.array([np.nan, 1.0, 1.0])) == Interval(1, 1)
    assert np.isnan(interval(np.array([np.nan, np.nan, 1.0])).lo)
    assert np.isnan(interval(np.array([])).hi)


def test_interval_covers_the_truth() -> None:
    """Cluster bootstrap of a mean: about 95 % of intervals hold the population's mean, two rows a customer."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        y = np.repeat(rng.normal(5, 1, 60), 2)
        weights = cluster_weights(np.repeat(np.arange(60), 2), n_boot=200, rng=rng)
        bounds = interval(metrics.mae(y, np.zeros(120), weights))
        held += bounds.lo <= 5 <= bounds.hi
    assert 88 <= held <= 99
