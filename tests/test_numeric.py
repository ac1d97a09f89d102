"""Numeric encoders: where they bend, what they start as, and that a column is dropped out as a whole."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import ndtri
from settings import ESTIMATORS
from torch import Tensor

from patron.nn.model import LTVModel
from patron.nn.numeric import BINS, CHANNELS, Numeric, NumericEncoder

KINDS = get_args(Numeric)
LINE = torch.linspace(-2.5, 2.5, 501)[:, None]


def encoder(kind: Numeric, *, columns: int = 1, dropout: float = 0.0) -> NumericEncoder:
    torch.manual_seed(0)
    return NumericEncoder(kind, columns=columns, dropout=dropout)


def bends(encoded: Tensor) -> Tensor:
    """How much the slope of each output changes along the line: [499]."""
    return encoded.diff(dim=0).diff(dim=0).abs().amax(dim=1)


def test_linear_leaves_columns_as_they_are() -> None:
    x = torch.randn(5, 3)
    assert torch.equal(encoder("linear", columns=3)(x), x)


def test_piecewise_starts_as_a_line() -> None:
    assert bends(encoder("piecewise")(LINE)).max() < 1e-5


def test_piecewise_bends_at_the_quantiles_alone() -> None:
    made = encoder("piecewise")
    torch.nn.init.normal_(made.embed.linear.weight)
    bent = LINE[1:-1, 0][bends(made(LINE).detach()) > 1e-4]
    knots = torch.from_numpy(ndtri(torch.arange(1, BINS).double().numpy() / BINS))
    assert_allclose((bent[:, None] - knots).abs().amin(dim=1), 0, atol=0.011)  # a step of the line is 0.01
    assert ((bent[:, None] - knots).abs().amin(dim=0) < 0.011).all()


def test_a_column_is_encoded_by_itself_and_dropped_as_a_whole() -> None:
    made, x = encoder("piecewise", columns=6, dropout=0.5), torch.randn(200, 6)
    kept = made.eval()(x).view(200, 6, CHANNELS)
    other = made(torch.cat([x[:, :5], x[:, 5:] + 1], dim=1)).view(200, 6, CHANNELS)
    assert torch.equal(kept[:, :5], other[:, :5])
    dropped = made.train()(x).view(200, 6, CHANNELS)
    gone = (dropped == 0).all(dim=2)
    assert gone.float().mean() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(dropped[~gone], 2 * kept[~gone])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [0, 3])
def test_every_kind_makes_a_model_and_all_its_weights_learn(kind: Numeric, columns: int) -> None:
    config = replace(ESTIMATORS["gnn"].model, numeric=kind)
    torch.manual_seed(0)
    model = LTVModel({"customer": columns}, [], config=config)
    model.start_at(torch.rand(20))
    torch.nn.init.normal_(model.wide.weight)
    out = model.eval()({"customer": torch.randn(20, columns)}, {})
    assert out.shape == (20, model.head.out)
    out.square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
