"""The long results table: its rows, its means, its pairing, and its refusal to drop anybody."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from patron.evaluation import evaluate as evaluation
from patron.evaluation.ceiling import REPLICATES, Ceiling
from patron.evaluation.curves import decile_table
from patron.evaluation.evaluate import ATTAINED, COLUMNS, GAIN, evaluate
from patron.evaluation.metrics import BY_DECILE, FLAG_METRICS, METRICS
from patron.evaluation.occasions import OCCASIONS
from patron.evaluation.scores import DECILES

CONTEXT = {"data": "tiny", "task": "ltv_90d", "split": "temporal", "command": "python x.py", "commit": "abc1234"}
SEEDS = {"zero": 1, "lightgbm": 2, "gnn": 3}
CUTOFF = pd.Timestamp("2017-10-01")


def make_truth(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    spend = np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(3, 1, n))
    frame = pd.DataFrame({"customer_id": [f"c{i:03d}" for i in range(n)], "cutoff": CUTOFF, "label": spend})
    return frame.assign(label_scale=7.0, slice_new=np.arange(n) < 50, slice_dormant=np.arange(n) < 29)


def predict(truth: pd.DataFrame, *, estimator: str, seed: int, fold: str, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng([len(estimator), seed, len(fold)])
    known = np.log1p(truth["label"]) + rng.normal(0, noise, len(truth)) if noise else np.zeros(len(truth))
    spreads = {"q025": -4, "q05": -3, "q10": -1, "q25": 0.1, "q75": 30, "q90": 40, "q95": 45, "q975": 50}
    bounds = {name: known + spread if noise else np.nan for name, spread in spreads.items()}
    decoded = {"ltv_mean": np.exp(known), "ltv_median": np.exp(known) - 1, "rank_score": known}
    decoded["p_active"] = np.clip(known / 5, 0, 1) if noise else np.nan
    return truth[["customer_id", "cutoff"]].assign(estimator=estimator, seed=seed, fold=fold, **decoded, **bounds)


def read(frame: pd.DataFrame, name: str) -> np.ndarray:
    """What the metric reads of a cell of predictions."""
    return frame.assign(label_scale=7.0)[list(FLAG_METRICS[name].columns)].to_numpy().squeeze()


def make_predictions(truth: pd.DataFrame, folds: tuple[str, ...] = ("a", "bb")) -> pd.DataFrame:
    noises = {"zero": 0.0, "lightgbm": 1.0, "gnn": 1.2}
    runs = [(name, seed, fold) for name, count in SEEDS.items() for seed in range(count) for fold in folds]
    frames = [predict(truth, estimator=name, seed=s, fold=fold, noise=noises[name]) for name, s, fold in runs]
    return pd.concat(frames, ignore_index=True)


def run(predictions: pd.DataFrame, truth: pd.DataFrame, n_boot: int = 40) -> pd.DataFrame:
    return evaluate(predictions, truth, n_boot=n_boot, seed=1, context=CONTEXT)


def pick(results: pd.DataFrame, **where: str) -> pd.Series:
    where = {"fold": "mean", "seed": "mean", "slice": "all", **where}
    rows = results[(results[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(rows) == 1, (where, len(rows))
    return rows.iloc[0]


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return make_truth()


@pytest.fixture(scope="module")
def predictions(truth: pd.DataFrame) -> pd.DataFrame:
    return make_predictions(truth)


@pytest.fixture(scope="module")
def results(predictions: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    return run(predictions, truth)


def test_columns_and_keys(results: pd.DataFrame) -> None:
    assert list(results.columns) == list(COLUMNS)
    assert not results.duplicated(["fold", "estimator", "seed", "slice", "metric"]).any()
    for key, value in CONTEXT.items():
        assert (results[key] == value).all()
    detailed = results[(results["fold"] == "a") & (results["seed"] == "2")]
    assert set(detailed["estimator"]) == {"gnn"}
    assert set(detailed["metric"]) == set(METRICS)


def test_each_cell_is_the_metric_of_that_cell(
    results: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame
) -> None:
    cell = predictions[(predictions["estimator"] == "gnn") & (predictions["seed"] == 1) & (predictions["fold"] == "bb")]
    for name, metric in METRICS.items():
        row = pick(results, estimator="gnn", seed="1", fold="bb", metric=name)
        assert row["value"] == pytest.approx(metric(truth["label"], read(cell, name)), rel=1e-12, nan_ok=True)
        assert row["lo"] < row["value"] < row["hi"] or name == "decile_mape"  # of 12 who may all have spent nothing


def test_means_over_folds_and_seeds(results: pd.DataFrame) -> None:
    cells = results[(results["fold"] != "mean") & (results["seed"] != "mean") & (results["slice"] == "all")]
    gnn = cells[(cells["estimator"] == "gnn") & (cells["metric"] == "spearman")]
    assert pick(results, estimator="gnn", metric="spearman")["value"] == pytest.approx(gnn["value"].mean())
    by_seed = gnn.groupby("seed")["value"].mean()
    of_fold = gnn[gnn["fold"] == "a"]["value"]
    assert pick(results, estimator="gnn", metric="spearman", fold="a")["value"] == pytest.approx(of_fold.mean())
    assert pick(results, estimator="gnn", metric="spearman_seed_sd", fold="a")["value"] == pytest.approx(of_fold.std())
    assert pick(results, estimator="gnn", metric="spearman", seed="2")["value"] == pytest.approx(by_seed["2"])
    assert pick(results, estimator="gnn", metric="spearman_seed_sd")["value"] == pytest.approx(by_seed.std())
    assert not ((results["estimator"] == "zero") & (results["metric"] == "spearman_seed_sd")).any()  # one seed


@pytest.mark.parametrize("fold", ["a", "bb", "mean"])
def test_difference_is_paired(results: pd.DataFrame, fold: str) -> None:
    difference = pick(results, estimator="gnn", metric="spearman_minus_lightgbm", fold=fold)
    ours, reference = (pick(results, estimator=name, metric="spearman", fold=fold) for name in ("gnn", "lightgbm"))
    assert difference["value"] == pytest.approx(ours["value"] - reference["value"])
    assert difference["lo"] <= difference["value"] <= difference["hi"]
    unpaired = np.hypot(ours["hi"] - ours["lo"], reference["hi"] - reference["lo"])
    assert difference["hi"] - difference["lo"] < unpaired


def test_a_copy_of_the_reference_differs_by_exactly_nothing(truth: pd.DataFrame) -> None:
    reference = predict(truth, estimator="lightgbm", seed=0, fold="a", noise=1.0)
    results = run(pd.concat([reference, reference.assign(estimator="copy")]), truth)
    row = pick(results, estimator="copy", metric="spearman_minus_lightgbm")
    assert (row["value"], row["lo"], row["hi"]) == (0, 0, 0)


def test_slices(results: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame) -> None:
    inside = truth["slice_new"].to_numpy()
    cells = [frame for _, frame in predictions[predictions["estimator"] == "gnn"].groupby(["fold", "seed"])]
    expected = [METRICS["nmae"](truth["label"][inside], frame["ltv_median"][inside]) for frame in cells]
    new = pick(results, estimator="gnn", metric="nmae", slice="new")
    assert (new["value"], new["n"]) == (pytest.approx(np.mean(expected)), 50)
    assert pick(results, estimator="gnn", metric="nmae_minus_lightgbm", slice="new")["n"] == 50
    small = pick(results, estimator="gnn", metric="nmae", slice="dormant")
    assert np.isnan(small["value"])
    assert small["n"] == 29


def test_deciles_are_of_each_estimators_own_ranking(
    results: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame
) -> None:
    """Of 120 rows a tenth is too small to be scored, of 300 it is not."""
    of_gnn = results[(results["estimator"] == "gnn") & results["slice"].isin(DECILES)]
    assert of_gnn[["value", "lo"]].isna().all(axis=None)
    assert set(of_gnn["n"]) == {12}
    many = make_truth(300)
    cell = predict(many, estimator="gnn", seed=0, fold="a", noise=1.0)
    found, table = run(cell, many), decile_table(many["label"], cell).set_index("decile")
    for k in (1, 5, 10):
        where = {"estimator": "gnn", "slice": f"decile_{k}"}
        for fold in ("a", "mean"):
            label = pick(found, **where, metric="label_mean", fold=fold)
            assert (label["value"], label["n"]) == (pytest.approx(table["actual_mean"][k]), 30)
        predicted = pick(found, **where, metric="prediction_mean")
        assert predicted["value"] == pytest.approx(table["predicted_mean"][k])
        assert predicted["lo"] < predicted["value"] < predicted["hi"]
    best = cell["rank_score"].rank() > 270
    covered = many["label"][best].between(cell["q10"][best], cell["q90"][best]).mean()
    assert pick(found, estimator="gnn", slice="decile_1", metric="coverage80")["value"] == pytest.approx(covered)


def test_deciles_of_who_gives_no_interval_have_no_coverage(results: pd.DataFrame) -> None:
    zero = results[(results["estimator"] == "zero") & results["slice"].isin(DECILES)]
    assert set(zero["metric"]) == {"label_mean", "prediction_mean"}
    gnn = results[(results["estimator"] == "gnn") & results["slice"].isin(DECILES)]
    assert set(gnn["metric"]) == set(BY_DECILE)


def test_what_an_estimator_does_not_give_is_not_scored(results: pd.DataFrame) -> None:
    for name in ("pr_auc_active", "brier_active", "crps", "pinball", "coverage90", "coverage90_upper", "width80"):
        assert np.isnan(pick(results, estimator="zero", metric=name)["value"]), name
        assert np.isfinite(pick(results, estimator="gnn", metric=name)["value"]), name


def test_columns_of_an_older_run_may_be_missing(predictions: pd.DataFrame, truth: pd.DataFrame) -> None:
    older = predictions.drop(columns=["p_active", "q05", "q95"])
    results = run(older, truth.drop(columns="label_scale"))
    for name, there in {"brier_active": False, "crps": False, "nmae_std": False, "coverage80": True}.items():
        assert np.isfinite(pick(results, estimator="gnn", metric=name)["value"]) == there, name
    with pytest.raises(ValueError, match="NaN"):
        run(predictions.drop(columns="ltv_mean"), truth, n_boot=0)


@pytest.mark.parametrize("fold", ["a", "bb", "mean"])
def test_ceiling_rows(results: pd.DataFrame, truth: pd.DataFrame, fold: str) -> None:
    row = pick(results, estimator="ceiling", metric="spearman_ceiling", fold=fold)
    assert row["value"] == pytest.approx(np.sqrt(1 - (truth["label"] == 0).mean() ** 3))
    assert row["n"] == 120
    assert "spearman_propensity" not in set(results["metric"])  # nothing is said of when anybody bought


@pytest.mark.parametrize("n_boot", [3, 200])
def test_the_ceiling_by_propensity_has_an_interval(
    predictions: pd.DataFrame, truth: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, n_boot: int
) -> None:
    bought = truth.assign(**{name: float(k) for k, name in enumerate(OCCASIONS)})
    seen = []

    def found(label: np.ndarray, occasions: np.ndarray, draws: Iterator[np.ndarray]) -> Ceiling:
        assert label.tolist() == truth["label"].tolist()
        assert (occasions == np.arange(len(OCCASIONS))).all()
        weights = np.concatenate([*draws])
        seen.append(weights)
        return Ceiling(weights[:, 0] / 10)

    monkeypatch.setattr(evaluation, "propensity_ceiling", found)
    results = run(predictions, bought, n_boot=n_boot)
    row = pick(results, estimator="ceiling", metric="spearman_propensity")
    assert [len(weights) for weights in seen] == [1 + min(n_boot, REPLICATES)] * 2
    assert row["value"] == pytest.approx(0.1)
    assert (row["lo"], row["hi"]) == (*np.quantile(seen[0][1:, 0] / 10, [0.025, 0.975]),)


def test_without_a_ceiling_by_propensity_the_reason_is_said(
    predictions: pd.DataFrame, truth: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="patron")
    run(predictions, truth, n_boot=0)
    assert "fold a has no ceiling by the propensity of customers: the labels do not add up" in caplog.text


def test_no_ranking_gains_more_than_that_by_the_labels(truth: pd.DataFrame) -> None:
    many = make_truth(300)
    results = run(predict(many, estimator="gnn", seed=0, fold="a", noise=1.0), many, n_boot=0)
    tenths = results[(results["metric"] == "label_mean") & (results["fold"] == "mean")]
    perfect, ours = (tenths[tenths["estimator"] == name].set_index("slice") for name in ("ceiling", "gnn"))
    assert perfect["value"]["decile_1"] == pytest.approx(np.sort(many["label"])[-30:].mean())
    assert perfect["n"].sum() == 300
    revenue = [(of["n"] * of["value"]).fillna(0).cumsum().to_numpy() for of in (perfect, ours)]
    assert (revenue[0][:5] > revenue[1][:5]).all()
    assert revenue[0][-1] == pytest.approx(revenue[1][-1]) == pytest.approx(many["label"].sum())


def test_row_order_changes_nothing(results: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame) -> None:
    by_estimator = predictions.sample(frac=1, random_state=0).sort_values(
        "estimator", key=lambda e: e.map(list(SEEDS).index)
    )
    pd.testing.assert_frame_equal(run(by_estimator, truth.sample(frac=1, random_state=1)), results, check_exact=True)


def test_folds_of_the_truth_hold_their_own_rows(truth: pd.DataFrame) -> None:
    folded = truth.assign(fold=np.where(np.arange(len(truth)) < 70, "a", "bb"))
    parts = [
        predict(part, estimator="lightgbm", seed=0, fold=str(fold), noise=1.0) for fold, part in folded.groupby("fold")
    ]
    results = run(pd.concat(parts), folded)
    sizes = [pick(results, estimator="lightgbm", metric="mae", fold=fold)["n"] for fold in ("a", "bb", "mean")]
    assert sizes == [70, 50, 120]
    part = folded[folded["fold"] == "bb"]
    expected = METRICS["spearman"](part["label"], parts[1]["rank_score"])
    assert pick(results, estimator="lightgbm", metric="spearman", fold="bb")["value"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="folds"):
        run(parts[0], folded)


def test_a_customer_at_several_cutoffs_is_one_cluster(truth: pd.DataFrame) -> None:
    later = pd.concat([truth, truth.assign(cutoff=CUTOFF + pd.Timedelta(days=30))], ignore_index=True)
    once = predict(truth, estimator="lightgbm", seed=0, fold="a", noise=1.0)
    twice = pd.concat([once, once.assign(cutoff=CUTOFF + pd.Timedelta(days=30))])
    one, two = run(once, truth), run(twice, later)  # the same rows twice tell nothing more
    narrow, wide = (pick(results, estimator="lightgbm", metric="nmae") for results in (one, two))
    assert (wide["lo"], wide["hi"]) == (pytest.approx(narrow["lo"]), pytest.approx(narrow["hi"]))


SPOILT_PREDICTIONS = {
    r"7 of 120 truth rows have no prediction by estimator 'zero' \(fold a, seed 0\).*'c000', 'c001'": lambda p: p.iloc[
        7:
    ],
    "2 predictions by estimator 'gnn'.*repeat.*'c118', 'c119'": lambda p: pd.concat([p, p.iloc[-2:]]),
    "120 of 120 truth rows have no prediction": lambda p: p.assign(customer_id=p["customer_id"] + "x"),
    "belong to no truth row.*'x'": lambda p: pd.concat([p, p.iloc[[-1]].assign(customer_id="x")]),
    "1 predictions by.*NaN.*'c003'": lambda p: p.assign(ltv_mean=p["ltv_mean"].mask(p.index == 3)),
    "1 predictions by.*'lightgbm'.*NaN": lambda p: p.assign(q10=p["q10"].mask(p.index == 500)),
    r"120 of 120.*'lightgbm' \(fold bb, seed 1\)": lambda p: p[(p["fold"] == "a") | (p["seed"] == 0)],
}
SPOILT_TRUTHS = {
    "1 truth rows.*negative.*'c004'": lambda t: t.assign(label=t["label"].mask(t.index == 4, -1.0)),
    "1 truth rows share customer_id and cutoff.*'c000'": lambda t: pd.concat([t, t.iloc[:1]]),
    "slice_odd.*float64": lambda t: t.assign(slice_odd=1.0),
}


@pytest.mark.parametrize("message", SPOILT_PREDICTIONS)
def test_nobody_is_dropped_silently(predictions: pd.DataFrame, truth: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(SPOILT_PREDICTIONS[message](predictions), truth, n_boot=0)


@pytest.mark.parametrize("message", SPOILT_TRUTHS)
def test_a_wrong_truth_is_named(predictions: pd.DataFrame, truth: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(predictions, SPOILT_TRUTHS[message](truth), n_boot=0)


def test_context_must_be_complete(predictions: pd.DataFrame, truth: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="commit"):
        evaluate(predictions, truth, n_boot=0, context={"data": "tiny"})


# The share of the attainable gain


def make_bounded(truth: pd.DataFrame, *, floor: float = 3.0, ceiling: float = 0.2) -> pd.DataFrame:
    """Predictions of an RFM and an oracle with so much noise, of two folds, and of two seeds of a GNN between them."""
    runs = [("rfm", 0, floor), ("oracle", 0, ceiling), ("gnn", 0, 1.0), ("gnn", 1, 1.0)]
    return pd.concat([
        predict(truth, estimator=name, seed=seed, fold=fold, noise=noise)
        for name, seed, noise in runs for fold in ("a", "bb")
    ])  # fmt: skip


def test_share_of_the_attainable_gain(truth: pd.DataFrame) -> None:
    results = run(make_bounded(truth), truth, n_boot=200)
    gains = results[results["metric"] == GAIN]
    assert gains[["fold", "estimator", "seed", "slice", "n"]].to_numpy().tolist() == [
        [fold, "gnn", "mean", "all", 120] for fold in ("a", "bb", "mean")
    ]
    for fold, (_, row) in zip(("a", "bb", "mean"), gains.iterrows(), strict=True):
        bounds = ("rfm", "gnn", "oracle")
        low, ours, high = (pick(results, estimator=name, metric="spearman", fold=fold)["value"] for name in bounds)
        assert row["value"] == pytest.approx((ours - low) / (high - low))
        assert 0.2 < row["lo"] < row["value"] < row["hi"] < 1


def test_the_share_by_hand() -> None:
    """Spearman of 1, 2, 3, 4 against 2, 1, 4, 3 is 0.6, against 4, 3, 1, 2 it is -0.8: 1.4 of 1.8."""
    truth = pd.DataFrame({"customer_id": [1, 2, 3, 4], "cutoff": CUTOFF, "label": [1.0, 2.0, 3.0, 4.0]})
    said = {"low": [4, 3, 1, 2], "gnn": [2, 1, 4, 3], "past": [1, 2, 4, 3], "high": [1, 2, 3, 4]}
    cell = truth[["customer_id", "cutoff"]].assign(seed=0, fold="a", q10=np.nan, q90=np.nan)
    predictions = pd.concat([
        cell.assign(estimator=name, ltv_mean=values, ltv_median=values, rank_score=values)
        for name, values in said.items()
    ])  # fmt: skip
    bounds = {"floor": "low", "ceiling": "high", "attainable": "past"}
    results = evaluate(predictions, truth, n_boot=0, **bounds, context=CONTEXT)
    assert pick(results, estimator="gnn", metric="spearman")["value"] == pytest.approx(0.6)
    assert pick(results, estimator="low", metric="spearman")["value"] == pytest.approx(-0.8)
    row = pick(results, estimator="gnn", metric=GAIN)
    assert row["value"] == pytest.approx(7 / 9)
    assert np.isnan([row["lo"], row["hi"]]).all()
    assert pick(results, estimator="past", metric=GAIN)["value"] == pytest.approx(8 / 9)
    assert pick(results, estimator="gnn", metric=ATTAINED)["value"] == pytest.approx(7 / 8)
    assert set(results.loc[results["metric"] == ATTAINED, "estimator"]) == {"gnn"}


def test_the_share_is_paired(truth: pd.DataFrame) -> None:
    """A copy of the floor has gained exactly nothing of it, a copy of the ceiling exactly all, in every replicate."""
    bounds = make_bounded(truth).query("estimator != 'gnn'")
    copies = bounds.assign(estimator=bounds["estimator"].map({"rfm": "copy of rfm", "oracle": "copy of oracle"}))
    results = run(pd.concat([bounds, copies]), truth)
    for name, share in (("copy of rfm", 0), ("copy of oracle", 1)):
        row = pick(results, estimator=name, metric=GAIN)
        assert (row["value"], row["lo"], row["hi"]) == (share, share, share)


@pytest.mark.parametrize("absent", ["rfm", "oracle"])
def test_no_share_without_floor_or_ceiling(truth: pd.DataFrame, absent: str) -> None:
    results = run(make_bounded(truth).query("estimator != @absent"), truth)
    assert GAIN not in set(results["metric"])
    assert "spearman" in set(results["metric"])


def test_no_share_where_the_ceiling_is_not_above_the_floor(truth: pd.DataFrame) -> None:
    bounded = make_bounded(truth, floor=0.2, ceiling=3.0)
    alike = make_bounded(truth).query("estimator != 'oracle'")
    alike = pd.concat([alike, alike[alike["estimator"] == "rfm"].assign(estimator="oracle")])
    for predictions in (bounded, alike):
        row = pick(run(predictions, truth), estimator="gnn", metric=GAIN)
        assert np.isnan(row[["value", "lo", "hi"]].to_numpy(dtype=float)).all()


# Flags


def test_flags_are_scored_as_a_classification_too(truth: pd.DataFrame) -> None:
    flags = truth.assign(label=(truth["label"] == 0).astype(float))
    predicted = predict(flags, estimator="gnn", seed=0, fold="a", noise=0.5)
    money, flag = (evaluate(predicted, flags, n_boot=20, context=CONTEXT, flag=kind) for kind in (False, True))
    assert set(flag["metric"]) - set(money["metric"]) == {"roc_auc", "average_precision", "brier"}
    both = flag[flag["metric"].isin(set(money["metric"]))].reset_index(drop=True)
    pd.testing.assert_frame_equal(both, money, rtol=1e-12)
    expected = FLAG_METRICS["roc_auc"](flags["label"], predicted["rank_score"])
    row = pick(flag, estimator="gnn", metric="roc_auc")
    assert row["value"] == pytest.approx(expected)
    assert row["lo"] < row["value"] < row["hi"]


def test_money_is_no_flag(truth: pd.DataFrame, predictions: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="truth rows have a label that is neither 0 nor 1"):
        evaluate(predictions, truth, n_boot=0, context=CONTEXT, flag=True)
