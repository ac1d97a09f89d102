"""Whom a node hears of when not everybody fits: trees of sampled edges, every seed at its own time, behind PyG's
`NodeLoader`.

A batch is disjoint: each seed has a tree of its own, in which a node stands as often as it is reached, and no edge of a
tree is later than its seed. Edges lie sorted by target and time, so that what a target knows at a time is one range of
them. Hamilton et al. 2017, with the time of Rossi et al. 2020. The search in these ranges is compiled by numba, the
first time that it runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.index import index2ptr
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, NodeSamplerInput

from patron.graph.edges import EDGES, EdgeType, is_echo

How = Literal["last", "uniform"]
EVER = -(2**62)  # the time of what was always known


def both_ways(data: HeteroData) -> HeteroData:
    """The graph with the reverse of each relation as `rev_<relation>`, which shares what the edges carry. Symmetric
    relations stand in both directions already; echoes (`is_echo`), which tell a node what it has said, are left out."""
    turned = HeteroData()
    for kind in data.node_types:
        turned[kind].num_nodes = data[kind].num_nodes
    for edge in data.edge_types:
        source, relation, target = edge
        ends, back = data[edge].edge_index, (target, f"rev_{relation}", source)
        carried = {name: value for name, value in data[edge].items() if name != "edge_index"}
        if not is_echo(edge):
            turned[edge].update({"edge_index": ends, **carried})
        if not EDGES[relation].symmetric and not is_echo(back):
            turned[back].update({"edge_index": ends.flip(0), **carried})
    return turned


@dataclass(frozen=True)
class _Edges:
    """Edges of one type by target and time: those of target t lie from `start[t]` to `start[t + 1]`, and `place` is
    where each stands in the graph."""

    start: np.ndarray
    time: np.ndarray
    source: Tensor
    place: Tensor

    @classmethod
    def of(cls, data: HeteroData, edge: EdgeType) -> Self:
        (source, target), number = data[edge].edge_index, data[edge[2]].num_nodes
        time = data[edge].time if "time" in data[edge] else torch.full_like(target, EVER)
        place = torch.argsort(time, stable=True)
        place = place[torch.argsort(target[place], stable=True)]
        return cls(index2ptr(target[place], number).numpy(), time[place].numpy(), source[place], place)


class TemporalSampler(BaseSampler):
    """At most `hops[h]` edges of each type for every node that hop h reaches: the latest ones, or some drawn without
    replacement; none later than the seed of the tree. Edges without a `time` are known from the beginning.

    `generator` draws; it is needed for `uniform` alone.
    """

    def __init__(
        self, data: HeteroData, *, hops: Sequence[int], how: How, generator: torch.Generator | None = None
    ) -> None:
        assert how == "last" or generator is not None, "uniform sampling draws; give it a generator"
        self.hops, self.how, self.generator, self.kinds = tuple(hops), how, generator, data.node_types
        self.edges = {edge: _Edges.of(data, edge) for edge in data.edge_types}

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> HeteroSamplerOutput:
        """The trees of these nodes, seeds first, then hop by hop. Raises ValueError for seeds without a time."""
        from patron.graph.sampler_kernel import find  # numba is imported when something is sampled

        if index.time is None:
            raise ValueError("the seeds have no time, so nobody can say what they may see; give input_time")
        rng, now = self._rng(), index.time.to(torch.int64)
        trees = _Trees(index.node, kind=str(index.input_type), kinds=self.kinds, edge_types=[*self.edges])
        for most in self.hops:
            heard: dict[EdgeType, _Heard] = {}
            for edge, known in self.edges.items():
                nodes, seeds = trees.nodes[edge[2]][-1]
                found = find(known.start, known.time, nodes.numpy(), now[seeds].numpy(), most, rng)
                who, at = (torch.from_numpy(each) for each in found)
                heard[edge] = _Heard(who, known.source[at], known.place[at])
            trees.grow(heard)
        return trees.output(metadata=(index.input_id, index.time))

    def sample_from_edges(self, *_: Any, **__: Any) -> Any:
        """Raises NotImplementedError: patron predicts customers, and samples from nodes."""
        raise NotImplementedError("patron samples from nodes; there are no seed edges")

    def _rng(self) -> np.random.Generator | None:
        if self.how == "last":
            return None
        return np.random.default_rng(int(torch.randint(2**62, (), generator=self.generator)))


@dataclass(frozen=True)
class _Heard:
    """Edges of one type that a hop found, [m]: which of the nodes of the hop before hears, whom, and where the edge
    stands in the graph."""

    who: Tensor
    source: Tensor
    place: Tensor


class _Trees:
    """The trees as they grow: of each type, by hop, `nodes` and the seeds whose trees they stand in; of each edge type,
    by hop, `edges`: sources and targets among these nodes, and places in the graph."""

    def __init__(self, seeds: Tensor, *, kind: str, kinds: Sequence[str], edge_types: Sequence[EdgeType]) -> None:
        self.nodes = {each: [_cat([])] for each in kinds} | {kind: [(seeds, torch.arange(len(seeds)))]}
        self.edges: dict[EdgeType, list[tuple[Tensor, Tensor, Tensor]]] = {edge: [] for edge in edge_types}

    def grow(self, heard: Mapping[EdgeType, _Heard]) -> None:
        """By one hop."""
        first = {kind: sum(len(nodes) for nodes, _ in hops[:-1]) for kind, hops in self.nodes.items()}
        count = {kind: first[kind] + len(hops[-1][0]) for kind, hops in self.nodes.items()}
        found: dict[str, list[tuple[Tensor, Tensor]]] = {kind: [] for kind in self.nodes}
        for edge, edges in heard.items():
            source, _, target = edge
            row = count[source] + torch.arange(len(edges.who))
            self.edges[edge].append((row, first[target] + edges.who, edges.place))
            found[source].append((edges.source, self.nodes[target][-1][1][edges.who]))
            count[source] += len(row)
        for kind, parts in found.items():
            self.nodes[kind].append(_cat(parts))

    def output(self, *, metadata: Any) -> HeteroSamplerOutput:
        """All that was found, in PyG's form."""
        nodes = {kind: _cat(hops) for kind, hops in self.nodes.items()}
        row, col, place = (
            {edge: torch.cat([hop[k] for hop in hops]) for edge, hops in self.edges.items()} for k in range(3)
        )
        return HeteroSamplerOutput(
            {kind: node for kind, (node, _) in nodes.items()}, row, col, place,
            batch={kind: seed for kind, (_, seed) in nodes.items()},
            num_sampled_nodes={kind: [len(node) for node, _ in hops] for kind, hops in self.nodes.items()},
            num_sampled_edges={edge: [len(hop[0]) for hop in hops] for edge, hops in self.edges.items()},
            metadata=metadata,
        )  # fmt: skip


def _cat(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    none = torch.empty(0, dtype=torch.int64)
    return torch.cat([none, *(nodes for nodes, _ in parts)]), torch.cat([none, *(seeds for _, seeds in parts)])
