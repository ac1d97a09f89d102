"""The layers: what is computed is what can reach a customer, no more and no less."""

from dataclasses import replace
from datetime import date

import pytest
import torch
from settings import SMALL
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn import SAGEConv

from patron.graph.build import build
from patron.graph.edges import EdgeType, is_echo
from patron.graph.snapshot import Incoming, incoming, snapshot
from patron.nn import gnn
from patron.nn.gnn import HeteroSAGE, WeightedMean, reach
from patron.tables.database import Database

LINE: list[EdgeType] = [
    ("customer", "a", "b"), ("b", "b", "customer"), ("c", "c", "b"), ("d", "d", "c"), ("customer", "e", "lost"),
]  # fmt: skip
CHANNELS = 6
pytestmark = pytest.mark.filterwarnings("ignore:There exist node types")  # those that only send
State = tuple[dict[str, Tensor], dict[EdgeType, Incoming]]


@pytest.fixture(scope="module")
def shot(shop: Database) -> HeteroData:
    return snapshot(build(shop, config=SMALL.graph), cutoff=date(2021, 1, 1), half_life_days=90)


@pytest.fixture(scope="module")
def state(shot: HeteroData) -> State:
    rng = torch.Generator().manual_seed(1)
    x_dict = {kind: torch.randn(shot[kind].num_nodes, CHANNELS, generator=rng) for kind in shot.node_types}
    return x_dict, incoming(shot)


def new_gnn(shot: HeteroData, *, num_layers: int) -> HeteroSAGE:
    torch.manual_seed(0)
    net = HeteroSAGE(shot.edge_types, channels=CHANNELS, num_layers=num_layers, dropout=0.0)
    for name, parameter in net.named_parameters():
        if "of_stats" in name:  # they start at 0
            torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def test_reach_by_hand() -> None:
    """Two hops: c reaches b and b the customers; d is too far, and whoever only listens is never heard."""
    assert reach(LINE, num_layers=0) == [{"customer"}]
    assert reach(LINE, num_layers=1) == [{"customer", "b"}, {"customer"}]
    assert reach(LINE, num_layers=2) == [{"customer", "b", "c"}, {"customer", "b"}, {"customer"}]
    assert reach(LINE, num_layers=3)[0] == {"customer", "b", "c", "d"}


def test_an_echo_leads_from_an_owner_to_what_is_its_own(shot: HeteroData) -> None:
    assert {edge for edge in shot.edge_types if is_echo(edge)} == {
        ("customer", "placed", "order"), ("order", "rev_happened_to", "order_event"),
        ("customer", "rev_concerned", "order_event"), ("customer", "did", "interaction"),
        ("customer", "returned", "return"), ("customer", "has", "loyalty"),
    }  # fmt: skip


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_what_is_left_out_changes_no_output(
    num_layers: int, shot: HeteroData, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a net that computes every node type in every layer, with the same weights where both have some."""
    lean = new_gnn(shot, num_layers=num_layers)
    everything = frozenset(shot.node_types)
    monkeypatch.setattr(gnn, "reach", lambda edge_types, num_layers: [everything] * (num_layers + 1))
    full = new_gnn(shot, num_layers=num_layers)
    found = full.load_state_dict(lean.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert len(found.missing_keys) > 10 or num_layers == 0
    torch.testing.assert_close(lean(*state), full(*state), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_what_is_computed_reaches_a_customer(num_layers: int, shot: HeteroData, state: State) -> None:
    """Every weight of every layer has a gradient."""
    net = new_gnn(shot, num_layers=num_layers)
    net(*state).square().sum().backward()
    idle = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert idle == []


def test_stats_reach_the_customers_who_have_edges_and_no_others(shot: HeteroData, state: State) -> None:
    net, (x_dict, edges) = new_gnn(shot, num_layers=1), state
    told = ("loyalty", "rev_has", "customer")
    other = {**edges, told: replace(edges[told], stats=2 * edges[told].stats)}
    moved = (net(x_dict, edges) - net(x_dict, other)).abs().amax(dim=1) > 1e-6
    members = edges[told].stats[:, 0] > 0
    assert members.any()
    assert (moved <= members).all()
    assert moved.sum() > 0.8 * members.sum()


def test_a_new_net_takes_no_notice_of_stats(shot: HeteroData, state: State) -> None:
    """It starts as the weighted mean alone."""
    x_dict, edges = state
    net = HeteroSAGE(shot.edge_types, channels=CHANNELS, num_layers=2, dropout=0.0)
    deaf = {edge: replace(found, stats=torch.zeros_like(found.stats)) for edge, found in edges.items()}
    assert torch.equal(net(x_dict, edges), net(x_dict, deaf))


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_layer_by_layer_in_parts_says_the_same(size: int, shot: HeteroData, state: State) -> None:
    """With one node at a time, with a last part that is smaller, and with all in one."""
    net = new_gnn(shot, num_layers=2)
    with torch.no_grad():
        torch.testing.assert_close(net(*state, size=size), net(*state), rtol=1e-5, atol=1e-6)


def test_who_hears_nobody_stays_as_it_is(shot: HeteroData, state: State) -> None:
    """And has no weights of its own; the customers do, even where nobody talks to them."""
    net = new_gnn(shot, num_layers=2)
    told = {edge[2] for edge in shot.edge_types}
    assert set(net.layers[0].self_path) == reach(shot.edge_types, num_layers=2)[1] & told
    heard_by_few = [edge for edge in shot.edge_types if not is_echo(edge)]
    lean = HeteroSAGE(heard_by_few, channels=CHANNELS, num_layers=2, dropout=0.0).layers[0]
    assert not {"interaction", "loyalty", "order_event"} & set(lean.self_path)
    x_dict, edges = state
    assert torch.equal(lean(x_dict, edges)["interaction"], x_dict["interaction"])
    assert set(HeteroSAGE([], channels=CHANNELS, num_layers=1, dropout=0.0).layers[0].self_path) == {"customer"}


def test_a_transpose_is_the_matrix_turned_round(state: State) -> None:
    for edge, found in state[1].items():
        assert found.transposed.shape == found.adj_t.shape[::-1]
        assert torch.equal(found.transposed.to_dense(), found.adj_t.to_dense().T), edge
        for matrix in (found.adj_t, found.transposed):
            assert matrix.col_indices().dtype == matrix.crow_indices().dtype == torch.int32


def test_gradients_are_those_of_the_dense_product(state: State) -> None:
    """Of what is heard, and by a conv of PyG on the same edges with their weights."""
    torch.manual_seed(0)
    for found in state[1].values():
        x = torch.randn(found.adj_t.shape[1], CHANNELS, requires_grad=True)
        weight = torch.randn(found.adj_t.shape[0], CHANNELS)
        heard, dense = WeightedMean.apply(x, found.adj_t, found.transposed), found.adj_t.to_dense() @ x
        torch.testing.assert_close(heard, dense)
        (ours,), (theirs,) = (torch.autograd.grad((said * weight).sum(), x) for said in (heard, dense))
        torch.testing.assert_close(ours, theirs)
        assert theirs.abs().max() > 0


def test_a_conv_is_pyg_s_sage_conv_on_the_same_edges(shot: HeteroData, state: State) -> None:
    edge = ("customer", "purchased", "product")
    found, (source, _, target) = state[1][edge], edge
    pair = state[0][source], state[0][target]
    ours = gnn.CSRSAGEConv(CHANNELS)
    theirs = SAGEConv((CHANNELS, CHANNELS), CHANNELS, aggr="mean", root_weight=False)
    theirs.load_state_dict(ours.state_dict())
    one = Incoming(_evenly(found.adj_t), found.transposed, found.stats)
    edge_index = one.adj_t.to_dense().nonzero().T.flip(0)
    torch.testing.assert_close(ours(pair, one), theirs(pair, edge_index), rtol=1e-5, atol=1e-6)


def _evenly(adj_t: Tensor) -> Tensor:
    # The same edges, each of a row with the same weight: PyG's mean has no weights.
    dense = (adj_t.to_dense() > 0).float()
    return (dense / dense.sum(1, keepdim=True).clamp_min(1)).to_sparse_csr()
