"""Training on sampled trees: with room for everybody they say what the whole snapshot says, and nothing is later than
its seed."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from settings import ESTIMATORS, SMALL, TEST, each, fit, setting
from torch_geometric.data import HeteroData

from patron.estimators import build as build_estimator
from patron.graph.build import build
from patron.graph.edges import is_echo
from patron.graph.sampler import both_ways
from patron.graph.snapshot import of_trees, snapshot
from patron.nn.model import LTVModel
from patron.tables.database import Database
from patron.task.split import Fold, folds
from patron.testing import scrambled_after, small_shop
from patron.training.apply import outputs
from patron.training.shots import Sampled, SamplingConfig, Whole

CUTOFF, HALF_LIFE, WIDTH, CUSTOMERS = date(2021, 1, 1), 90, 5, 40
EVERYBODY = SamplingConfig(hops=(5_000, 5_000), how="last", batch_size=CUSTOMERS)
FEW = SamplingConfig(hops=(4, 2), how="uniform", batch_size=16)


@pytest.fixture(scope="module")
def timed(shop: Database) -> HeteroData:
    return both_ways(build(shop.upto(CUTOFF), config=SMALL.graph))


@pytest.fixture(scope="module")
def shot(shop: Database) -> HeteroData:
    made = snapshot(build(shop.upto(CUTOFF), config=SMALL.graph), cutoff=CUTOFF, half_life_days=HALF_LIFE)
    for edge in [edge for edge in made.edge_types if is_echo(edge)]:
        del made[edge]
    rng = torch.Generator().manual_seed(0)
    for kind in made.node_types:
        made[kind].x = torch.randn(made[kind].num_nodes, WIDTH, generator=rng)
    customers = made["customer"]
    customers.rows = torch.randperm(customers.num_nodes, generator=rng)[:CUSTOMERS]
    customers.y, customers.offset = torch.arange(CUSTOMERS).float(), torch.zeros(CUSTOMERS, 8)
    return made


def sampled(shot: HeteroData, timed: HeteroData, config: SamplingConfig, *, seed: int = 0) -> Sampled:
    return Sampled([shot], [timed], config=config, half_life_days=HALF_LIFE, seed=seed)


def new_model(shot: HeteroData) -> LTVModel:
    torch.manual_seed(1)
    model = LTVModel(dict.fromkeys(shot.node_types, WIDTH), shot.edge_types, config=ESTIMATORS["gnn"].model)
    for name, parameter in model.named_parameters():
        if "of_stats" in name or name.startswith("wide"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def test_trees_with_room_for_everybody_say_what_the_snapshot_says(shot: HeteroData, timed: HeteroData) -> None:
    """Every relation, the last state of a loyalty too: weights, statistics, and nobody is heard who was not."""
    model, trees = new_model(shot), sampled(shot, timed, EVERYBODY).draw(0, step=0)
    (whole, some) = (outputs(model, [each]) for each in (shot, trees))
    order = trees["customer"].y.long()  # labels are numbered
    assert sorted(order.tolist()) == list(range(CUSTOMERS))
    torch.testing.assert_close(some, whole[order], rtol=1e-5, atol=1e-5)


def test_fewer_edges_are_another_mean(shot: HeteroData, timed: HeteroData) -> None:
    model, trees = new_model(shot), sampled(shot, timed, replace(EVERYBODY, hops=(1, 1))).draw(0, step=0)
    whole, some = (outputs(model, [each]) for each in (shot, trees))
    assert not torch.allclose(some, whole[trees["customer"].y.long()], atol=1e-3)


def test_a_step_draws_the_same_again_and_another_one_others(shot: HeteroData, timed: HeteroData) -> None:
    shots = sampled(shot, timed, FEW)
    first, second, again = (shots.draw(0, step=step)["customer"].y for step in (3, 4, 3))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert len(first) == FEW.batch_size
    other = sampled(shot, timed, FEW, seed=1).draw(0, step=3)["customer"].y
    assert not torch.equal(first, other)


def test_all_customers_come_in_time(shot: HeteroData, timed: HeteroData) -> None:
    shots = sampled(shot, timed, FEW)
    seen = {int(y) for step in range(20) for y in shots.draw(0, step=step)["customer"].y}
    assert seen == set(range(CUSTOMERS))


def test_an_edge_from_the_future_is_no_edge_of_a_tree(shot: HeteroData, timed: HeteroData) -> None:
    """The test of the assertion: seeds that are set back after they were sampled."""
    batch = sampled(shot, timed, FEW).loaders[0](list(range(16)))
    of_trees(batch, shot, half_life_days=HALF_LIFE)
    batch["customer"].seed_time = batch["customer"].seed_time - 400 * 86_400
    with pytest.raises(AssertionError, match="later than its seed"):
        of_trees(batch, shot, half_life_days=HALF_LIFE)


def test_a_whole_snapshot_is_drawn_as_it_is(shot: HeteroData) -> None:
    shots = Whole([shot])
    drawn = shots.draw(0, step=7)
    assert len(shots) == 1
    assert all(torch.equal(drawn["customer"][name], shot["customer"][name]) for name in ("rows", "y", "offset"))
    assert all(drawn[edge].adj_t is shot[edge].adj_t for edge in shot.edge_types)
    assert (drawn["customer"].share, "share" in shot["customer"]) == (1.0, False)


@each(["gnn", "boosted_gnn"], alike=True)
def test_an_estimator_learns_from_trees_and_sees_no_future(name: str, tmp_path: Path) -> None:
    """Scrambled after the test cutoff nothing moves: the difference is exactly 0."""
    shop, said = small_shop(customers=60), []
    for k, db in enumerate((shop, scrambled_after(shop, cutoff=TEST))):
        (fold,) = folds(db, task=SMALL.task, split=SMALL.split)
        model = fit(name, db, fold=fold, folder=tmp_path / str(k), sampling=FEW)
        said.append(model.predict(db.upto(TEST), rows=fold.test)["ltv_mean"].to_numpy())
    assert np.isfinite(said[0]).all()
    assert said[0].std() > 0
    assert np.abs(said[0] - said[1]).max() == 0.0


def test_shuffled_edges_are_not_sampled(shop: Database, fold: Fold, tmp_path: Path) -> None:
    asked = setting(tmp_path, sampling=FEW)
    model = build_estimator(ESTIMATORS["gnn"], replace(asked, graph=replace(asked.graph, shuffled=True)))
    with pytest.raises(ValueError, match=r"trainer\.sampling=null"):
        model.fit(shop.upto(fold.cutoff), train=fold.train, val=fold.val, refit=fold.refit)
