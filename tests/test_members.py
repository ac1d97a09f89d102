"""Members of the readout: they differ, each learns by its own loss, and they predict together."""

from dataclasses import replace

import pytest
import torch
from settings import ESTIMATORS, with_dropout
from torch_geometric.data import HeteroData

from patron.nn.model import LTVModel
from patron.training.fit import outputs
from patron.training.module import loss_of_each

MODEL = with_dropout(ESTIMATORS["gnn"].model, 0.0)


def shot() -> HeteroData:
    """A snapshot of 30 customers, of whom 20 are asked for, and no edges."""
    made, rng = HeteroData(), torch.Generator().manual_seed(0)
    made["customer"].x = torch.randn(30, 3, generator=rng)
    made["customer"].rows = torch.arange(5, 25)
    made["customer"].y = torch.rand(20, generator=rng).mul(5).expm1()
    return made


def new_model(*, members: int) -> LTVModel:
    torch.manual_seed(0)
    model = LTVModel({"customer": 3}, [], config=replace(MODEL, members=members))
    model.start_at(shot()["customer"].y.log1p())
    return model


def test_members_differ_and_the_prediction_is_their_mean() -> None:
    model = new_model(members=4).eval()
    each = model(shot().x_dict, {})[5:25]
    assert each.shape == (20, 4, model.head.out)
    assert (each.std(dim=1) > 1e-4).all()
    torch.testing.assert_close(outputs(model, [shot()]), each.mean(dim=1))


@pytest.mark.parametrize("members", [1, 4])
def test_the_loss_is_the_mean_of_theirs_and_not_that_of_their_mean(members: int) -> None:
    model, y = new_model(members=members), shot()["customer"].y.log1p()
    each = model(shot().x_dict, {})[5:25]
    alone = torch.stack([model.head.loss(each[:, k], y) for k in range(members)])
    assert loss_of_each(model, shot()).item() == pytest.approx(alone.mean().item(), rel=1e-5)
    together = model.head.loss(each.mean(dim=1), y).item()
    assert (together == pytest.approx(alone.mean().item(), rel=1e-7)) == (members == 1)


def test_an_offset_moves_every_member() -> None:
    model, moved = new_model(members=4), shot()
    moved["customer"].offset = torch.linspace(-1, 1, 20)
    model.eval()
    by = model.head.location(outputs(model, [moved])) - model.head.location(outputs(model, [shot()]))
    torch.testing.assert_close(by > 0, moved["customer"].offset > 0)
    moved["customer"].offset.zero_()
    torch.testing.assert_close(loss_of_each(model, moved), loss_of_each(model, shot()))


def test_a_member_is_cheap() -> None:
    """Four share the weights of the readout; but for the last layer they add vectors."""
    one, four = (sum(weight.numel() for weight in new_model(members=k).readout.parameters()) for k in (1, 4))
    channels = MODEL.channels
    assert four - one == 4 * (2 * channels + channels) + 3 * channels
