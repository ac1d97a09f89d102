"""Co-shopper edges against a brute force over all pairs: heavy ties, sources in tiles, strict thresholds."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from patron.graph import coshopper
from patron.graph.coshopper import CoShopperConfig, CoShoppers, Standing, co_shoppers

Edge = tuple[int, int, float]
ALL = CoShopperConfig(threshold=0.1, top_k=10_000, min_products=1, max_popularity=None)


def baskets(*sets: set[int]) -> sp.csr_matrix:
    """Customers x products, 1 where bought."""
    width = max((max(basket, default=0) for basket in sets), default=0) + 1
    return sp.csr_matrix(np.array([[product in basket for product in range(width)] for basket in sets], dtype=np.int8))


def sparse(seed: int, *, customers: int = 120, products: int = 30, mean: float = 3.0) -> sp.csr_matrix:
    """Small sets of popular products, some empty: most Jaccard indices occur many times."""
    rng = np.random.default_rng(seed)
    popularity = rng.dirichlet(np.full(products, 0.4))
    bought = rng.random((customers, products)) < np.minimum(1, mean * popularity)
    return sp.csr_matrix(bought.astype(np.int8))


def edges(found: CoShoppers) -> list[Edge]:
    return list(zip(found.target.tolist(), found.source.tolist(), found.jaccard.tolist(), strict=True))


def brute_force(bought: sp.csr_matrix, *, config: CoShopperConfig) -> list[Edge]:
    """The same from the sets themselves, a pair at a time."""
    sets = [set(row.indices.tolist()) for row in bought]
    if config.max_popularity is not None:
        most = config.max_popularity * sum(1 for basket in sets if basket)
        popular = {product for product, number in Counter(chain.from_iterable(sets)).items() if number > most}
        sets = [basket - popular for basket in sets]
    eligible = [k for k, basket in enumerate(sets) if len(basket) >= config.min_products]
    found: list[Edge] = []
    for target in eligible:
        pairs = ((source, len(sets[target] & sets[source]), len(sets[target] | sets[source])) for source in eligible)
        known = [(target, source, both / either) for source, both, either in pairs if source != target]
        near = sorted((edge for edge in known if edge[2] > config.threshold), key=lambda edge: (-edge[2], edge[1]))
        found += near[: config.top_k]
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("top_k", [1, 3, 200])
def test_edges_are_those_of_a_brute_force(seed: int, top_k: int) -> None:
    bought = sparse(seed)
    for threshold, min_products in ((0.1, 1), (0.25, 2), (0.5, 3)):
        config = CoShopperConfig(threshold=threshold, top_k=top_k, min_products=min_products, max_popularity=None)
        expected = brute_force(bought, config=config)
        assert edges(co_shoppers(bought, config=config)) == expected
        assert len(expected) > 20


@pytest.mark.parametrize(("tile", "chunk"), [(1, 1), (7, 50), (64, 3), (300, 300)])
def test_neither_tiles_nor_chunks_are_to_be_seen(tile: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties at the last place are broken rightly, too, when the first of their kind is in another tile."""
    monkeypatch.setattr(coshopper, "TILE", tile)
    monkeypatch.setattr(coshopper, "CHUNK", chunk)
    bought, config = sparse(7, customers=300, products=8), replace(ALL, top_k=2)
    expected = brute_force(bought, config=config)
    assert edges(co_shoppers(bought, config=config)) == expected
    half = np.arange(0, 300, 2)
    some = co_shoppers(bought, config=replace(config, top_k=300), targets=half[::-1], sources=half[::-1])
    everything = brute_force(bought, config=replace(config, top_k=300))
    assert edges(some) == [edge for edge in everything if edge[0] % 2 == edge[1] % 2 == 0]


def test_identical_customers_take_the_first_of_their_kind() -> None:
    same = baskets(*[{1, 2}] * 50)
    found = edges(co_shoppers(same, config=replace(ALL, top_k=2)))
    assert [edge for edge in found if edge[0] == 0] == [(0, 1, 1.0), (0, 2, 1.0)]
    assert [edge for edge in found if edge[0] == 1] == [(1, 0, 1.0), (1, 2, 1.0)]
    assert [edge for edge in found if edge[0] == 49] == [(49, 0, 1.0), (49, 1, 1.0)]


@pytest.mark.parametrize(("threshold", "both", "either"), [(0.5, 1, 2), (0.1, 1, 10), (0.3, 3, 10), (0.25, 2, 8)])
def test_the_threshold_is_strict(threshold: float, both: int, either: int) -> None:
    bought = baskets(set(range(either)), set(range(both)))
    assert edges(co_shoppers(bought, config=replace(ALL, threshold=threshold))) == []
    below = edges(co_shoppers(bought, config=replace(ALL, threshold=threshold - 1e-9)))
    assert below == [(0, 1, both / either), (1, 0, both / either)]


def test_just_above_the_threshold_is_an_edge() -> None:
    """1001 of 9999 products in common, and 1000 of 10000 would be 0.1. Sizes are equal: no lower cosine has this J."""
    bought = baskets(set(range(5500)), set(range(4499, 9999)))
    assert edges(co_shoppers(bought, config=ALL)) == [(0, 1, 1001 / 9999), (1, 0, 1001 / 9999)]
    assert edges(co_shoppers(bought, config=replace(ALL, threshold=1001 / 9999))) == []


def test_min_products_leaves_out_both_ends() -> None:
    bought = baskets({1}, {1}, {1, 2}, {1, 2}, set())
    assert edges(co_shoppers(bought, config=replace(ALL, min_products=2))) == [(2, 3, 1.0), (3, 2, 1.0)]
    one = edges(co_shoppers(bought, config=ALL))
    assert {(target, source) for target, source, _ in one} == {(i, j) for i in range(4) for j in range(4) if i != j}
    assert {edge for edge in one if edge[2] == 1.0} == {(0, 1, 1.0), (1, 0, 1.0), (2, 3, 1.0), (3, 2, 1.0)}


def test_edges_are_sorted_and_nobody_is_their_own_neighbour() -> None:
    found = edges(co_shoppers(sparse(3), config=replace(ALL, top_k=7)))
    assert found == sorted(found, key=lambda edge: (edge[0], -edge[2], edge[1]))
    assert all(target != source for target, source, _ in found)
    assert len({(target, source) for target, source, _ in found}) == len(found)
    assert max(np.bincount([target for target, _, _ in found])) == 7


def test_without_a_limit_edges_go_both_ways() -> None:
    found = set(edges(co_shoppers(sparse(4), config=ALL)))
    assert {(source, target, jaccard) for target, source, jaccard in found} == found
    assert len(found) > 100


def test_permuting_customers_permutes_edges() -> None:
    bought = sparse(5)
    order = np.random.default_rng(0).permutation(bought.shape[0])
    straight, permuted = (co_shoppers(matrix, config=ALL) for matrix in (bought, bought[order]))
    renamed = {(int(order[target]), int(order[source]), jaccard) for target, source, jaccard in edges(permuted)}
    assert renamed == set(edges(straight))
    limited = [co_shoppers(matrix, config=replace(ALL, top_k=3)) for matrix in (bought, bought[order])]
    kept = [sorted(zip(names, found.jaccard, strict=True)) for names, found in
            ((limited[0].target, limited[0]), (order[limited[1].target], limited[1]))]  # fmt: skip
    assert kept[0] == kept[1]  # which of the tied is kept may change, how near they are may not


def test_permuting_products_changes_nothing() -> None:
    bought = sparse(6)
    turned = bought[:, np.random.default_rng(0).permutation(bought.shape[1])]
    config = replace(ALL, top_k=4)
    assert edges(co_shoppers(turned, config=config)) == edges(co_shoppers(bought, config=config))


@pytest.mark.parametrize("dtype", [np.int8, np.float32, bool])
def test_the_number_type_of_the_matrix_does_not_matter(dtype: type) -> None:
    config = replace(ALL, top_k=4)
    assert edges(co_shoppers(sparse(8).astype(dtype), config=config)) == brute_force(sparse(8), config=config)


def test_the_number_of_threads_does_not_matter() -> None:
    bought, config = sparse(9, customers=400), replace(ALL, top_k=5)
    one = edges(co_shoppers(bought, config=config, threads=1))
    assert all(edges(co_shoppers(bought, config=config, threads=threads)) == one for threads in (2, 5))
    assert len(one) > 400


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (5, 5)])
def test_nobody_and_nothing_bought_give_no_edges(shape: tuple[int, int]) -> None:
    found = co_shoppers(sp.csr_matrix(shape, dtype=np.int8), config=ALL)
    assert edges(found) == []
    assert (found.target.dtype, found.source.dtype, found.jaccard.dtype) == (np.int64, np.int64, np.float64)


def test_a_customer_alone_has_no_edge() -> None:
    assert edges(co_shoppers(baskets({1, 2}, {1}, {3, 4}), config=replace(ALL, min_products=2))) == []


# Popular products


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 1.0])
def test_popular_products_count_neither_as_common_nor_as_bought(share: float) -> None:
    bought, config = sparse(3, mean=4.0), replace(ALL, max_popularity=share, top_k=5, min_products=2)
    assert edges(co_shoppers(bought, config=config)) == brute_force(bought, config=config)
    if share < 1:
        assert edges(co_shoppers(bought, config=config)) != edges(
            co_shoppers(bought, config=replace(config, max_popularity=None))
        )


def test_a_product_of_exactly_the_share_counts() -> None:
    """Two of four buyers have product 0; a customer without any purchase is no buyer."""
    bought = baskets({0, 1}, {0, 1}, {2}, {3}, set())
    kept, cut = (co_shoppers(bought, config=replace(ALL, max_popularity=share)) for share in (0.5, 0.49))
    assert edges(kept) == [(0, 1, 1.0), (1, 0, 1.0)]
    assert edges(cut) == []


# From one day to a later one


def later(bought: sp.csr_matrix, seed: int, *, share: float) -> sp.csr_matrix:
    """The same with some new purchases of a share of the customers, some of them the first ones."""
    rng = np.random.default_rng(seed)
    grown, (customers, products) = bought.toarray(), bought.shape
    for customer in np.flatnonzero(rng.random(customers) < share):
        grown[customer, rng.integers(0, products, rng.integers(1, 4))] = 1
    return sp.csr_matrix(grown)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 8, 200])
@pytest.mark.parametrize("seed", range(4))
def test_moving_on_gives_what_a_rebuild_gives(seed: int, top_k: int, share: float) -> None:
    config = replace(ALL, top_k=top_k, min_products=1 + seed % 2, max_popularity=[None, 0.3][seed // 2])
    before = sparse(seed)
    after = later(before, seed, share=share)
    moved = Standing.of(before, config=config).moved_on(after).edges
    assert edges(moved) == edges(co_shoppers(after, config=config))
    assert moved.target.dtype == moved.source.dtype == np.int64


def test_who_had_not_made_it_moves_up_when_another_moves_away() -> None:
    """Customer 0 knows one neighbour, 1. When this one buys elsewhere, 2 takes the place, of whom no edge was kept."""
    config = replace(ALL, top_k=1)
    before = baskets({0, 1, 2}, {0, 1, 2}, {0, 1, 9})
    after = baskets({0, 1, 2}, {0, 1, 2, 4, 5, 6, 7, 8}, {0, 1, 9})
    first = Standing.of(sp.csr_matrix(before), config=config)
    assert (0, 2) not in {(target, source) for target, source, _ in edges(first.edges)}
    moved = edges(first.moved_on(after).edges)
    assert moved == edges(co_shoppers(after, config=config))
    assert moved[0] == (0, 2, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_moving_on_day_after_day(seed: int) -> None:
    """What is kept in reserve is used up, and made anew where it is needed; a product falls below the share and a set
    shrinks on the way."""
    config = replace(ALL, top_k=3, min_products=2, max_popularity=0.4)
    bought = sparse(seed, mean=5.0)
    standing = Standing.of(bought, config=config)
    for day in range(12):
        bought = later(bought, 100 * seed + day, share=0.1)
        if day == 6:
            bought = sp.csr_matrix(np.where(np.arange(bought.shape[0])[:, None] == 5, 0, bought.toarray()))
        standing = standing.moved_on(bought)
        assert edges(standing.edges) == brute_force(bought, config=config)


def test_only_who_changed_is_looked_at_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 120 customers buys something: the others are asked about this one alone."""
    before = sparse(5)
    grown = before.toarray()
    grown[7, :4] = 1
    first, asked, real = Standing.of(before, config=replace(ALL, top_k=3)), [], coshopper._search

    def spy(*args: Any, targets: np.ndarray, sources: np.ndarray, **how: Any) -> None:
        asked.append((len(targets), len(sources)))
        real(*args, targets=targets, sources=sources, **how)

    monkeypatch.setattr(coshopper, "_search", spy)
    first.moved_on(sp.csr_matrix(grown))
    assert asked == [(119, 1), (1, 120)]


@pytest.mark.parametrize("products", [300, 70_000])
def test_baskets_of_many_products(products: int) -> None:
    """More than 16 bits count, all but alike."""
    bought = sp.csr_matrix((np.random.default_rng(0).random((6, products)) < 0.98).astype(np.int8))
    assert bought.sum(axis=1).max() > (2**16 if products > 300 else 2**8)
    assert edges(co_shoppers(bought, config=replace(ALL, top_k=3))) == brute_force(bought, config=replace(ALL, top_k=3))
