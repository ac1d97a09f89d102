"""What is compared for speed says the same; and measuring measures."""

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from newcomer import composed

from patron.config import load
from patron.graph.coshopper import CoShopperConfig, co_shoppers
from patron.reporting.speed import slopes, speed_figure
from patron.speed.coshoppers import by_duckdb, by_scipy, purchases
from patron.speed.measure import measured
from patron.speed.opponents import opponents
from patron.speed.stages import SpeedConfig, measure


@pytest.mark.parametrize("min_products", [1, 3])
@pytest.mark.parametrize("top_k", [2, 1_000])
def test_others_find_the_same_co_shoppers(top_k: int, min_products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patron.speed.coshoppers.CHUNK", 37)
    config = CoShopperConfig(threshold=0.1, top_k=top_k, min_products=min_products, max_popularity=None)
    bought = purchases(customers=200, products=40, purchases=900, zipf=0.8, seed=0)
    ours = co_shoppers(bought, config=config)
    assert len(ours.target) > 200
    for theirs in (by_scipy(bought, config=config), by_duckdb(bought, config=config, threads=1)):
        for name in ("target", "source", "jaccard"):
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))


def test_purchases_are_about_as_many_as_asked_for_and_follow_zipf() -> None:
    bought = purchases(customers=5_000, products=2_000, purchases=50_000, zipf=0.8, seed=0)
    assert bought.nnz == pytest.approx(50_000, rel=0.05)
    assert set(bought.data.tolist()) == {1}
    buyers = np.bincount(bought.indices, minlength=2_000)
    assert buyers[:10].mean() / buyers[100:110].mean() == pytest.approx((100 / 5) ** 0.8, rel=0.4)


def call(*, seconds: float) -> int:
    """Holds 100 MB, 25,600 pages, for so long."""
    held = np.ones(100 * 2**20, dtype=np.int8)
    time.sleep(seconds)
    return int(held[::4096].sum())


def test_time_and_memory_of_a_call() -> None:
    """No bound that a busy machine breaks: it makes a call slower than its sleep, but not faster."""
    short, long = (measured(partial(call, seconds=seconds)) for seconds in (0.02, 0.4))
    assert short.value == 25_600
    assert short.seconds >= 0.02
    assert long.seconds >= 0.4
    assert short.added_mb > 50
    assert short.peak_mb > short.added_mb
    assert measured(lambda: None).added_mb < short.added_mb / 2


def test_the_fastest_of_the_repeats_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own: they take 3, 1 and 2 seconds."""
    clock = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr("patron.speed.measure.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert measured(lambda: None, repeats=3).seconds == 1


@pytest.mark.slow
def test_patrons_kernels_beside_others() -> None:
    """On small sizes: all say the same, whoever is faster, and a ratio is theirs over ours."""
    few = "{customers: 300, products: 60, purchases: 2000, zipf: 0.8}"
    words = [f"opponents.{name}={few}" for name in ("few", "many", "edges")]
    config = load(composed("bench_speed", *words, "opponents.repeats=1", "opponents.seeds=16"), schema=SpeedConfig)
    found = opponents(config.opponents)
    rivals = [
        "scipy, in chunks",
        "DuckDB self-join",
        "none",
        "making them anew",
        "PyG SAGEConv(edge_index)",
        "none",
        "none",
    ]
    assert found["opponent"].tolist() == rivals
    assert found["max_difference"].max() < 1e-5
    alone = found["opponent"] == "none"
    assert (found["ratio"].isna() == alone).all()
    np.testing.assert_allclose(found["ratio"], found["opponent_seconds"] / found["patron_seconds"])


@pytest.mark.slow
def test_every_stage_of_the_way_is_measured_at_every_size(tmp_path: Path) -> None:
    words = ("data=tiny", "task.horizon=90d", "split.test=['2021-06-01']", "split.max_cutoffs=2", "estimator=[rfm]",
             "sizes=[120,240]", f"results={tmp_path}")  # fmt: skip
    found = pd.concat(measure(load(composed("bench_speed", *words), schema=SpeedConfig)))
    stages = ["read", "validate", "labels", "features", "graph", "fit rfm", "score rfm", "score rfm again"]
    assert found["stage"].tolist() == stages * 2
    assert found["customers"].tolist() == [120] * 8 + [240] * 8
    assert (found["seconds"] > 0).all()
    assert (found["peak_mb"] >= found["added_mb"]).all()
    assert found["order_items"].iloc[-1] > 1.5 * found["order_items"].iloc[0] > 0


def test_a_shop_that_is_no_world_has_one_size() -> None:
    config = load(composed("bench_speed", "data=complete_journey"), schema=SpeedConfig)
    with pytest.raises(ValueError, match=r"data=complete_journey has one size only; take a made-up world"):
        next(measure(config))


def test_slopes_by_hand() -> None:
    sizes, stages = np.array([10, 100, 1000] * 2), ["linear"] * 3 + ["square"] * 3
    seconds = np.concatenate([sizes[:3] / 7, sizes[:3] ** 2 / 100])
    seconds[[0, 3]] = 5, 2  # what does not grow hides the slope at the smallest size
    found = pd.DataFrame({"stage": stages, "customers": sizes, "seconds": seconds, "peak_mb": 5.0}).iloc[::-1]
    assert slopes(found, measure="seconds").round(6).to_dict() == {"linear": 1.0, "square": 2.0}
    assert slopes(found, measure="peak_mb").abs().max() < 1e-9
    labels = [text.get_text() for text in speed_figure(found).axes[0].get_legend().get_texts()]
    assert labels == ["square (2.00)", "linear (1.00)"]
    assert slopes(found[found["customers"] == 10], measure="seconds").isna().all()
