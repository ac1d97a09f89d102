"""What is compared for speed says the same; and measuring measures."""

import time

import numpy as np
import pytest

from patron.graph.coshopper import CoShopperConfig, co_shoppers
from patron.speed.coshoppers import by_duckdb, by_scipy, purchases
from patron.speed.measure import measured


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


def test_time_and_memory_of_a_call() -> None:
    def call() -> int:
        held = np.ones(40 * 2**20, dtype=np.int8)  # 40 MB
        time.sleep(0.02)
        return int(held[::4096].sum())

    found = measured(call, repeats=2)
    assert found.value == 10_240
    assert 0.02 <= found.seconds < 2
    assert 30 < found.added_mb < 200
    assert found.peak_mb > found.added_mb
    assert measured(lambda: None).added_mb < 20
