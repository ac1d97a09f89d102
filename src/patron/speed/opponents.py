"""patron's own kernels beside what one would use instead, in one run, so that a figure is a ratio: co-shoppers beside
scipy and DuckDB, from one cutoff to the next beside making them anew, message passing beside PyG's, and sampling."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn import SAGEConv
from torch_geometric.sampler import NodeSamplerInput
from tqdm import tqdm

from patron.graph.coshopper import CoShopperConfig, CoShoppers, Standing, co_shoppers
from patron.graph.sampler import TemporalSampler, both_ways
from patron.graph.snapshot import Incoming, mean_csr
from patron.nn.gnn import CSRSAGEConv
from patron.speed.coshoppers import by_duckdb, by_scipy, purchases
from patron.speed.measure import Measured, measured

Number = Annotated[int, Field(gt=0)]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PurchasesConfig:
    """Who bought what: products by Zipf's law with the exponent `zipf`."""

    customers: Number
    products: Number
    purchases: Number
    zipf: Annotated[float, Field(ge=0)]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OpponentsConfig:
    """Sizes of the comparisons, each the fastest of `repeats`: purchases whose co-shoppers all opponents can find,
    those of `many` customers that patron finds alone, the share of the customers who buy something new by the next
    cutoff, and the edges, channels, seeds and hops of message passing and sampling."""

    repeats: Number
    threads: Number
    co_shopper: CoShopperConfig
    few: PurchasesConfig
    many: PurchasesConfig
    moved: Annotated[float, Field(gt=0, lt=1)]
    edges: PurchasesConfig
    channels: Number
    seeds: Number
    hops: tuple[Number, ...]


@dataclass(frozen=True)
class Compared:
    """What patron and an opponent made of the same, and how far apart that is: the largest difference."""

    what: str
    opponent: str
    ours: Measured[Any]
    theirs: Measured[Any] | None
    difference: float

    def row(self) -> dict[str, Any]:
        """Seconds and MB added, ours and theirs, and their seconds over ours."""
        found: dict[str, Any] = {"what": self.what, "opponent": self.opponent}
        for whose, one in (("patron", self.ours), ("opponent", self.theirs)):
            found[f"{whose}_seconds"] = one.seconds if one else np.nan
            found[f"{whose}_added_mb"] = one.added_mb if one else np.nan
        ratio = found["opponent_seconds"] / found["patron_seconds"]
        return {**found, "ratio": ratio, "max_difference": self.difference}


def opponents(config: OpponentsConfig) -> pd.DataFrame:
    """One row a comparison; the ratio is NaN where patron ran alone."""
    jobs: Mapping[str, Callable[[OpponentsConfig], Iterator[Compared]]] = {
        "co-shoppers": _co_shoppers, "next cutoff": _next_cutoff, "message passing": messages, "sampling": _sampling,
    }  # fmt: skip
    bar = tqdm(jobs.items(), unit="kernel")
    rows = []
    for name, job in bar:
        bar.set_description(name)
        rows += [compared.row() for compared in job(config)]
    return pd.DataFrame(rows)


def _co_shoppers(config: OpponentsConfig) -> Iterator[Compared]:
    asked, how = config.co_shopper, {"repeats": config.repeats}
    bought = purchases(**vars(config.few), seed=0)
    ours = measured(partial(co_shoppers, bought, config=asked, threads=config.threads), **how)
    for name, call in (
        ("scipy, in chunks", partial(by_scipy, bought, config=asked)),
        ("DuckDB self-join", partial(by_duckdb, bought, config=asked, threads=config.threads)),
    ):
        theirs = measured(call, **how)
        yield Compared(f"co-shoppers of {config.few.customers}", name, ours, theirs, _apart(ours.value, theirs.value))
    many = purchases(**vars(config.many), seed=0)
    alone = measured(partial(co_shoppers, many, config=asked, threads=config.threads))
    yield Compared(f"co-shoppers of {config.many.customers}", "none", alone, None, 0.0)


def _next_cutoff(config: OpponentsConfig) -> Iterator[Compared]:
    after = purchases(**vars(config.few), seed=0)
    before = _earlier(after, share=config.moved)
    asked, threads = config.co_shopper, config.threads
    standing = Standing.of(before, config=asked, threads=threads)
    moved = measured(lambda: standing.moved_on(after, threads=threads).edges, repeats=config.repeats)
    anew = measured(partial(co_shoppers, after, config=asked, threads=threads), repeats=config.repeats)
    what = f"next cutoff, {config.moved:.0%} of {config.few.customers} moved"
    yield Compared(what, "making them anew", moved, anew, _apart(moved.value, anew.value))


def _earlier(bought: sp.csr_matrix, *, share: float) -> sp.csr_matrix:
    # Without the last product of some of the customers.
    rng = np.random.default_rng(1)
    kept = np.ones(bought.nnz, dtype=bool)
    moved = np.flatnonzero((rng.random(bought.shape[0]) < share) & (np.diff(bought.indptr) > 0))
    kept[bought.indptr[moved + 1] - 1] = False
    rows = np.repeat(np.arange(bought.shape[0]), np.diff(bought.indptr))[kept]
    return sp.csr_matrix((bought.data[kept], (rows, bought.indices[kept])), shape=bought.shape)


def messages(config: OpponentsConfig) -> Iterator[Compared]:
    """Message passing, there and back, beside PyG's own."""
    bought, size = purchases(**vars(config.edges), seed=0).tocoo(), (config.edges.products, config.edges.customers)
    target, source = (torch.from_numpy(ends.astype(np.int64)) for ends in (bought.col, bought.row))
    adj_t, transposed = mean_csr(target, source, torch.ones(len(source)), size=size)
    torch.manual_seed(0)
    x = torch.randn(size[1], config.channels)
    ours = CSRSAGEConv(config.channels)
    theirs = SAGEConv((config.channels, config.channels), config.channels, root_weight=False)
    theirs.lin_l.load_state_dict(ours.lin_l.state_dict())
    edges, ends = Incoming(adj_t, transposed, torch.empty(0)), torch.stack([source, target])
    one = measured(lambda: _there_and_back(x, lambda y: ours(y, edges)), repeats=config.repeats)
    other = measured(
        lambda: _there_and_back(x, lambda y: theirs((y, y.new_zeros(size[0], config.channels)), ends)),
        repeats=config.repeats,
    )
    apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(one.value, other.value, strict=True))
    yield Compared(f"messages, {len(source)} edges x {config.channels}", "PyG SAGEConv(edge_index)", one, other, apart)


def _there_and_back(x: Tensor, net: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    out = net(leaf)
    out.square().mean().backward()
    assert leaf.grad is not None
    return out.detach(), leaf.grad


def _sampling(config: OpponentsConfig) -> Iterator[Compared]:
    bought, rng = purchases(**vars(config.edges), seed=0).tocoo(), np.random.default_rng(2)
    data = HeteroData()
    data["customer"].num_nodes, data["product"].num_nodes = config.edges.customers, config.edges.products
    edge = data["customer", "purchased", "product"]
    edge.edge_index = torch.from_numpy(np.stack([bought.row, bought.col]).astype(np.int64))
    edge.time = torch.from_numpy(rng.integers(0, 10**8, bought.nnz))
    graph = both_ways(data)
    seeds = torch.from_numpy(rng.choice(config.edges.customers, config.seeds, replace=False))
    index = NodeSamplerInput(None, seeds, torch.full((config.seeds,), 10**8), "customer")
    for how in ("last", "uniform"):
        sampler = TemporalSampler(graph, hops=config.hops, how=how, generator=torch.Generator().manual_seed(0))
        took = measured(partial(sampler.sample_from_nodes, index), repeats=10 * config.repeats)
        yield Compared(f"sampling, {config.seeds} seeds, {how}", "none", took, None, 0.0)


def _apart(ours: CoShoppers, theirs: CoShoppers) -> float:
    same = np.array_equal(ours.target, theirs.target) and np.array_equal(ours.source, theirs.source)
    return float(np.abs(ours.jaccard - theirs.jaccard).max(initial=0.0)) if same else np.inf
