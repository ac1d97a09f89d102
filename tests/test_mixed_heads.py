"""The heads that know of zeros: zero-inflated lognormal, hurdle quantiles and Tweedie, against scipy and sklearn and by
hand."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from pydantic import TypeAdapter, ValidationError
from rows_by_hand import table
from scipy.special import expit, logit
from scipy.stats import lognorm, norm
from sklearn.metrics import log_loss, mean_pinball_loss, mean_tweedie_deviance
from torch import Tensor

from patron.calibration.decode import Decoder
from patron.calibration.distribution import Distribution
from patron.nn.heads import (
    Head,
    HeadConfig,
    HurdleQuantileConfig,
    HurdleQuantileHead,
    TweedieConfig,
    ZILNConfig,
    ZILNHead,
    as_numpy,
    build_head,
    level,
)
from patron.nn.heads.quantile import increasing
from patron.nn.heads.ziln import NARROWEST

LEVELS = (0.1, 0.5, 0.9)
TWEEDIE, ZILN, HURDLE = (
    TweedieConfig("tweedie", power=1.5), ZILNConfig("ziln"), HurdleQuantileConfig("hurdle_quantile", levels=LEVELS),
)  # fmt: skip
EVERY = pytest.mark.parametrize("config", [TWEEDIE, ZILN, HURDLE], ids=lambda config: config.name)
HURDLES = pytest.mark.parametrize("config", [ZILN, HURDLE], ids=lambda config: config.name)


def spend(n: int, *, zeros: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(3 + 0.8 * rng.normal(size=n)) * (rng.random(n) >= zeros)


def log1p(y: np.ndarray) -> Tensor:
    return torch.from_numpy(np.log1p(y)).double()


def started(config: HeadConfig, y: np.ndarray) -> tuple[Head, Tensor]:
    """A head in float64, and what it says at the start of each of `y`."""
    head = build_head(config).double()
    return head, head.start_at(log1p(y)).repeat(len(y), 1)


def forecast(head: Head, out: Tensor) -> Distribution:
    """What a head that knows a distribution says."""
    said = head.forecast(out)
    assert isinstance(said, Distribution)
    return said


# Zero-inflated lognormal


def test_ziln_loss_is_the_likelihood_of_scipy() -> None:
    """But for the constant that the change of scale adds for every payer."""
    y = spend(400, zeros=0.3)
    head, _ = started(ZILN, y)
    assert isinstance(head, ZILNHead)
    out = torch.randn(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loc, unit, p = float(head.loc), float(head.unit), expit(out[:, 2].numpy())
    width = unit * (NARROWEST + np.logaddexp(0, out[:, 1].numpy()))
    centre = loc + unit * out[:, 0].numpy()
    payer = lognorm.logpdf(np.maximum(y, 1e-9), s=width, scale=np.exp(centre))
    likelihood = np.where(y > 0, np.log(p) + payer, np.log(1 - p))
    constant = np.where(y > 0, np.log(np.maximum(y, 1e-9)) + np.log(np.sqrt(2 * np.pi) * unit), 0)
    assert head.loss(out, log1p(y)).item() == pytest.approx(-(likelihood + constant).mean(), rel=1e-9)


def test_ziln_starts_at_the_lognormal_of_the_payers() -> None:
    y = np.array([0.0, np.exp(1), np.exp(3), 0.0, np.exp(5)])
    head, out = started(ZILN, y)
    fitted = [0.5, 0.9]
    expected = lognorm.ppf(fitted, s=np.sqrt(8 / 3), scale=np.exp(3))
    p, said = 3.5 / 6, head.forecast(out)  # with half a customer more on both sides
    got = [said.quantile(1 - p + p * level)[0] for level in fitted]
    assert_allclose(got, expected, rtol=2e-3)
    assert said.p_active[0] == pytest.approx(p)


def test_ziln_mean_is_that_of_the_mixture() -> None:
    head, out = started(ZILN, spend(20_000, zeros=0.4))
    assert head.forecast(out[:1]).mean[0] == pytest.approx(0.6 * lognorm.mean(s=0.8, scale=np.exp(3)), rel=0.03)


def test_ziln_takes_the_smallest_spend_and_none_at_all() -> None:
    """Gradients too: a log of zero in the branch not taken would make them NaN."""
    head = build_head(ZILN)
    target = torch.tensor([0.0, 1e-6, 5.0, 12.0])
    out = head.start_at(target).repeat(4, 1).requires_grad_()
    head.loss(out, target).backward()
    assert torch.isfinite(out.grad).all()


# Hurdle quantiles


def test_hurdle_loss_is_that_of_sklearn() -> None:
    y = spend(300, zeros=0.5)
    head, _ = started(HURDLE, y)
    out = torch.randn(300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pays, quantiles = y > 0, increasing(out[:, :-1]).numpy()
    standard = (np.log1p(y) - float(head.loc)) / float(head.unit)
    losses = [
        mean_pinball_loss(standard[pays], quantiles[pays, k], alpha=level)
        for k, level in enumerate(as_numpy(head.levels))
    ]
    expected = log_loss(pays, expit(out[:, 3].numpy())) + np.mean(losses) * pays.mean()
    assert head.loss(out, log1p(y)).item() == pytest.approx(expected, rel=1e-9)


def test_hurdle_quantiles_by_hand() -> None:
    """Payers' quantiles 1, 2, 4 of log1p at 0.1, 0.5, 0.9; eight in ten pay. The median is the payers' at 3/8, and the
    lowest fifth spend nothing. Between levels and beyond them log1p is linear in normal scores."""
    head = HurdleQuantileHead(HURDLE)
    steps = np.log(np.expm1([1.0, 2.0]))
    out = torch.tensor([[1.0, *steps, logit(0.8)]], dtype=torch.float64)
    said, levels = head.forecast(out), np.array([0.1, 0.19, 0.28, 0.5, 0.6, 0.92, 0.97])
    got = [said.quantile(at)[0] for at in levels]
    score, unit = norm.ppf(np.clip((levels - 0.2) / 0.8, 1e-9, 1)), norm.ppf(0.9)
    expected = np.where(levels > 0.2, np.where(score < 0, 2 + score / unit, 2 + 2 * score / unit), 0)
    assert_allclose(np.log1p(got), expected, atol=0.01)


def test_hurdle_starts_at_the_payers_quantiles() -> None:
    y = spend(501, zeros=0.3)
    head, out = started(HURDLE, y)
    assert isinstance(head, HurdleQuantileHead)
    assert_allclose(head.quantiles(out)[0], np.quantile(np.log1p(y[y > 0]), LEVELS), rtol=1e-6)


@HURDLES
def test_probability_is_the_share_of_payers_at_the_start(config: HeadConfig) -> None:
    y = spend(2_000, zeros=0.35)
    head, out = started(config, y)
    assert_allclose(forecast(head, out).p_active, (y > 0).mean(), atol=1e-3)


@HURDLES
@pytest.mark.parametrize("zeros", [0.0, 1.0])
def test_who_all_pay_or_none_is_a_start(config: HeadConfig, zeros: float) -> None:
    y = spend(200, zeros=zeros)
    head, out = started(config, y)
    assert torch.isfinite(out).all()
    assert forecast(head, out).p_active[0] == pytest.approx(1 - zeros, abs=0.01)
    assert (forecast(head, out).quantile(0.9) > 0).all() == (zeros == 0)


@HURDLES
def test_quantiles_of_a_mixture_hold_their_level(config: HeadConfig) -> None:
    y = spend(20_000, zeros=0.3)
    head, out = started(config, y)
    said = forecast(head, out)
    assert (said.quantile(0.29) == 0).all()
    for at in (0.5, 0.8, 0.9):
        assert (y <= said.quantile(at)).mean() == pytest.approx(at, abs=0.03)  # linear between three levels


@HURDLES
def test_who_pays_more_often_ranks_higher(config: HeadConfig) -> None:
    head, out = started(config, spend(400, zeros=0.3))
    out[:, -1] = torch.linspace(-3, 3, 400)
    assert (head.location(out).diff() > 0).all()


@HURDLES
def test_calibration_knows_the_level_of_both_parts(config: HeadConfig) -> None:
    """Validation customers pay half as often and twice as much. A net that has learned it counts neither twice."""
    head, out = started(config, spend(20_000, zeros=0.2))
    later = 2 * spend(20_000, zeros=0.6, seed=1)
    decoder = Decoder.fit(head.forecast(out + level(head, out, later)), table(later))
    learned = head.start_at(log1p(later)).repeat(5, 1)
    assert decoder.decode(head.forecast(learned), np.full(5, 2)).mean[0] == pytest.approx(later.mean(), rel=0.03)


# Tweedie


@pytest.mark.parametrize("power", [1.2, 1.5, 1.9])
def test_tweedie_loss_is_the_deviance_of_sklearn(power: float) -> None:
    y = spend(300, zeros=0.3)
    head, _ = started(TweedieConfig("tweedie", power=power), y)
    out = torch.randn(300, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = mean_tweedie_deviance(y / y.mean(), np.exp(out[:, 0].numpy()), power=power)
    assert head.loss(out, log1p(y)).item() == pytest.approx(expected, rel=1e-5)


def test_tweedie_location_is_the_log_of_the_mean() -> None:
    head, _ = started(TWEEDIE, np.array([0.0, 10.0, 50.0]))
    assert_allclose(head.location(torch.tensor([[0.0], [np.log(2.0)]])), np.log1p([20, 40]), rtol=1e-6)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_a_power_that_makes_no_tweedie_is_refused(power: float) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(HeadConfig).validate_python({"name": "tweedie", "power": power})


# All of them


@EVERY
def test_a_head_that_starts_at_the_average_starts_nowhere_else(config: HeadConfig) -> None:
    with pytest.raises(NotImplementedError, match="use the head 'ranked'"):
        build_head(config).offset(None)


@EVERY
def test_gradient_steps_lower_the_loss(config: HeadConfig) -> None:
    """And customers are told apart by what they spend: no collapse to a constant."""
    y = spend(300, zeros=0.3)
    head, start = started(config, y)
    out = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([out], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(out, log1p(y)).backward()
        optimizer.step()
    assert head.loss(out, log1p(y)) < head.loss(start, log1p(y))
    assert np.corrcoef(as_numpy(head.location(out)), np.log1p(y))[0, 1] > 0.9


def test_ranks_of_a_hurdle_are_expected_percentiles() -> None:
    """A quarter pay nothing, payers' logs are 0 to 1 evenly. Whoever pays for sure and stands at the middle of them is
    ahead of 1/4 + 3/4 x 1/2; with P(buy) 1/2 this counts half, and an eighth is what a zero is ahead of."""
    head = HurdleQuantileHead(HURDLE)
    logs = torch.cat([torch.linspace(0.001, 1, 30_000), torch.zeros(10_000)])
    start = head.start_at(logs)
    assert head.zeros == 0.25
    certain, half, never = start.clone(), start.clone(), start.clone()
    certain[-1], half[-1], never[-1] = 30, 0, -30
    ranks = head.rank(torch.stack([certain, half, never]))
    assert_allclose(ranks, [0.625, (0.625 + 0.125) / 2, 0.125], atol=2e-3)
    narrow = certain.clone()
    narrow[0], narrow[1:-1] = head.standard(torch.tensor(0.8)), -30.0  # all quantiles at 0.8
    assert_allclose(head.rank(narrow[None]), [0.25 + 0.75 * 0.8], atol=2e-3)


def test_ranks_of_a_hurdle_rise_beyond_all_that_was_seen() -> None:
    head = HurdleQuantileHead(HURDLE)
    start = head.start_at(torch.rand(500) + 0.1)
    far = start.repeat(3, 1)
    far[:, 0] += torch.tensor([20.0, 30.0, -30.0])
    ranks = head.rank(far)
    assert ranks[1] > ranks[0] > 0.99 > 0.01 > ranks[2]


def test_one_who_spends_irregularly_ranks_by_expectation_not_by_the_median() -> None:
    """Two with the same median: the upper half of the one lies far beyond all others, which a rank cannot exceed, the
    lower half of the other far below."""
    head = HurdleQuantileHead(HURDLE)
    start = head.start_at(torch.linspace(0.001, 1, 3_000))
    start[-1] = 30
    middle = (len(start) - 1) // 2
    steady = start.clone()
    steady[0], steady[1:-1] = head.standard(torch.tensor(0.6)), -30.0
    upwards, downwards = steady.clone(), steady.clone()
    upwards[middle + 1] = 5.0  # the next quantile is five standard deviations further, the median stays
    downwards[0] -= 5.0
    downwards[middle] = 5.0
    one, two, three = head.rank(torch.stack([steady, upwards, downwards]))
    assert two > one > three
