"""The heads: losses against references, a start at the training target, and decoding to money."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from pydantic import TypeAdapter, ValidationError
from rows_by_hand import table
from sklearn.metrics import mean_pinball_loss
from torch import Tensor

from patron.calibration.decode import Centre, Decoder
from patron.calibration.distribution import Distribution
from patron.nn.heads import (
    Head,
    HeadConfig,
    HuberConfig,
    HuberHead,
    HurdleQuantileConfig,
    QuantileConfig,
    QuantileHead,
    RankedConfig,
    RankedHead,
    Start,
    TweedieConfig,
    ZILNConfig,
    as_numpy,
    build_head,
)
from patron.nn.heads import (
    level as at_level,
)
from patron.nn.heads.quantile import increasing

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HUBER, QUANTILE = HuberConfig("huber", delta=1.0), QuantileConfig("quantile", levels=LEVELS)
TWEEDIE, ZILN, HURDLE = (
    TweedieConfig("tweedie", power=1.5), ZILNConfig("ziln"), HurdleQuantileConfig("hurdle_quantile", levels=LEVELS),
)  # fmt: skip
EVERY = pytest.mark.parametrize("config", [HUBER, QUANTILE, TWEEDIE, ZILN, HURDLE], ids=lambda config: config.name)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spend(n: int, *, zeros: float = 0.4, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(3 + sigma * rng.normal(size=n)) * (rng.random(n) >= zeros)


def log_target(y: np.ndarray) -> Tensor:
    return torch.from_numpy(np.log1p(y)).float()


def outputs(head: Head, *, y: np.ndarray, signal: Tensor) -> Tensor:
    """Outputs [B, out] of a net that starts at the target `y` and has learned to shift it by `signal` [B]."""
    out = head.start_at(log_target(y)).repeat(len(signal), 1)
    return torch.cat([out[:, :1] + signal[:, None], out[:, 1:]], dim=1)


def decoded(head: Head, out: Tensor, y: np.ndarray) -> Distribution:
    """What outputs at the level of spend `y` are decoded to, as `y` itself taught."""
    said = head.forecast(out + at_level(head, out, y))
    return Decoder.fit(said, table(y)).decode(said, np.full(len(y), 2))


# Losses


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_huber_loss_by_hand_and_by_torch(delta: float) -> None:
    head = HuberHead(HuberConfig("huber", delta=delta))
    out, target = torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([0.25, 4.0, -5.0])
    by_hand = [0.25**2 / 2, delta * (4 - delta / 2), delta * (6 - delta / 2)]
    assert head.loss(out, target).item() == pytest.approx(np.mean(by_hand))
    out, target = normal(50, 1), 3 * normal(50, seed=1)
    assert head.loss(out, target).item() == pytest.approx(torch.nn.HuberLoss(delta=delta)(out[:, 0], target).item())


def test_huber_loss_is_of_standard_deviations() -> None:
    head = HuberHead(HUBER)
    head.start_at(torch.tensor([1.0, 3.0, 5.0]))  # mean 3, standard deviation 2
    assert head.loss(torch.tensor([[0.5]]), torch.tensor([5.0])).item() == pytest.approx(0.125)


def test_pinball_loss_is_that_of_sklearn() -> None:
    head = QuantileHead(QUANTILE)
    out, target = normal(200, len(LEVELS)), 2 * normal(200, seed=1) + 1
    quantiles = increasing(out).numpy()
    expected = [mean_pinball_loss(target, quantiles[:, k], alpha=level) for k, level in enumerate(LEVELS)]
    assert head.loss(out, target).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_pinball_loss_is_of_standard_deviations() -> None:
    head = QuantileHead(QUANTILE)
    target = 4 * normal(300) + 7
    head.start_at(target)
    out, standard = normal(300, len(LEVELS), seed=1), (target - target.mean()) / target.std()
    quantiles = increasing(out).numpy()
    expected = [mean_pinball_loss(standard, quantiles[:, k], alpha=level) for k, level in enumerate(LEVELS)]
    assert head.loss(out, target).item() == pytest.approx(np.mean(expected), rel=1e-5)


@EVERY
def test_the_start_is_the_best_constant(config: HeadConfig) -> None:
    head, target = build_head(config), log_target(spend(2_000, zeros=0.1))
    start = head.start_at(target)
    best = head.loss(start.repeat(len(target), 1), target)
    for step in (-0.5, 0.5):
        shifted = torch.cat([start[:1] + step, start[1:]])
        assert head.loss(shifted.repeat(len(target), 1), target) > best


# Quantiles


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_quantiles_never_cross(scale: float) -> None:
    head = QuantileHead(QUANTILE)
    head.start_at(normal(100) + 3)
    quantiles = head.quantiles(scale * normal(500, len(LEVELS)))
    assert quantiles.shape == (500, len(LEVELS))
    steps = quantiles.diff(dim=1)
    assert (steps >= 0).all()
    assert scale > 1 or (steps > 0).all()


def test_levels_may_come_in_any_order() -> None:
    head = QuantileHead(QuantileConfig("quantile", levels=(0.9, 0.1, 0.5)))
    assert_allclose(head.levels, [0.1, 0.5, 0.9])
    head.start_at(log_target(spend(500, zeros=0)))
    out = normal(20, 3)
    assert (head.quantiles(out).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("levels", [(), (0.5,), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_levels_that_make_no_distribution_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(HeadConfig).validate_python({"name": "quantile", "levels": levels})


# The start


def test_huber_starts_at_the_average() -> None:
    head, target = HuberHead(HUBER), log_target(spend(500))
    start = head.start_at(target)
    assert start.shape == (head.out,)
    assert head.location(start[None]).item() == pytest.approx(target.mean().item(), rel=1e-6)
    assert head.location(torch.ones(1, 1)).item() == pytest.approx((target.mean() + target.std()).item(), rel=1e-6)


@pytest.mark.parametrize(("zeros", "tolerance"), [(0.0, 1e-4), (0.4, 0.02)])
def test_quantile_starts_at_the_quantiles_of_the_target(zeros: float, tolerance: float) -> None:
    head, target = QuantileHead(QUANTILE), log_target(spend(500, zeros=zeros))
    start = head.start_at(target)
    assert start.shape == (head.out,)
    assert torch.isfinite(start).all()
    expected = torch.quantile(target, torch.tensor(LEVELS))
    assert_allclose(head.quantiles(start[None])[0], expected, atol=tolerance)


@EVERY
def test_a_target_that_does_not_vary_is_a_start(config: HeadConfig) -> None:
    head = build_head(config)
    start = head.start_at(torch.zeros(200))
    assert torch.isfinite(start).all()
    assert torch.isfinite(head.loss(start.repeat(200, 1), torch.zeros(200)))
    assert head.location(start[None]).item() == pytest.approx(0, abs=0.01)


# Decoding


@EVERY
def test_decoded_spend_is_finite_and_increases_with_the_level(config: HeadConfig) -> None:
    head, y = build_head(config), spend(600)
    said = decoded(head, outputs(head, y=y, signal=normal(600)), y)
    curves = np.stack([said.quantile(level) for level in np.linspace(0.01, 0.99, 30)])
    assert np.isfinite(curves).all()
    assert (curves >= 0).all()
    assert (np.diff(curves, axis=0) >= 0).all()
    assert (curves[-1] > curves[0]).mean() > 0.9  # a few spend nothing at any level
    assert np.isfinite(said.mean).all()
    assert (said.mean >= 0).all()


@EVERY
def test_quantiles_hold_their_level(config: HeadConfig) -> None:
    head, y = build_head(config), spend(4_000, zeros=0.0)
    said = decoded(head, outputs(head, y=y, signal=torch.zeros(4_000)), y)
    for level in (0.1, 0.5, 0.9):
        assert (y <= said.quantile(level)).mean() == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("zeros", [0.0, 0.4])
@EVERY
def test_mean_recovers_the_revenue_of_the_calibration_rows(config: HeadConfig, zeros: float) -> None:
    head, signal = build_head(config), normal(2_000)
    y = spend(2_000, zeros=zeros) * np.exp(signal.double().numpy())
    out = outputs(head, y=y, signal=signal * 0.6)
    assert decoded(head, out, y).mean.sum() / y.sum() == pytest.approx(1, abs=0.03)
    if isinstance(config, HuberConfig | QuantileConfig):
        biased = np.expm1(as_numpy(head.location(out + at_level(head, out, y))))  # expm1 of a mean of log1p
        assert np.maximum(biased, 0).sum() / y.sum() < 0.7


@EVERY
def test_mean_is_right_among_high_and_low(config: HeadConfig) -> None:
    """Not only in total: the upper and the lower half of the predictions recover their own revenue."""
    head, signal = build_head(config), normal(2_000)
    y = spend(2_000, zeros=0.0, sigma=0.5) * np.exp(signal.double().numpy())
    mean = decoded(head, outputs(head, y=y, signal=signal * 0.9), y).mean
    for half in (signal > 0, signal <= 0):
        rows = half.numpy()
        assert mean[rows].sum() / y[rows].sum() == pytest.approx(1, abs=0.04)


@EVERY
def test_location_ranks_as_the_outputs_do(config: HeadConfig) -> None:
    head, signal = build_head(config), normal(100)
    location = head.location(outputs(head, y=spend(500), signal=signal))
    assert location.shape == (100,)
    assert torch.equal(location.argsort(), signal.argsort())


# The level


@EVERY
@pytest.mark.parametrize("zeros", [0.0, 0.2])
def test_at_level_is_where_the_loss_is_least(config: HeadConfig, zeros: float) -> None:
    head, y, signal = build_head(config), spend(2_000, zeros=zeros), 0.3 * normal(2_000)
    out = outputs(head, y=y, signal=signal)
    best = out + at_level(head, out, y)
    assert torch.equal(best.diff(dim=0)[:, 1:], out.diff(dim=0)[:, 1:])
    assert_allclose((best - out)[:, 0], (best - out)[0, 0], atol=1e-6)
    for step in (-0.02, 0.02):
        moved = torch.cat([best[:, :1] + step, best[:, 1:]], dim=1)
        assert head.loss(moved, log_target(y)) > head.loss(best, log_target(y))
    again = best + at_level(head, best, y)  # who is there already stays
    assert_allclose(head.location(again), head.location(best), atol=5e-3)
    said = head.forecast(again)
    assert isinstance(said, Centre) or said.p_active.mean() == pytest.approx(1 - zeros, abs=0.02)


@EVERY
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_shift_of_the_validation_window_is_not_counted_twice(config: HeadConfig, factor: float) -> None:
    """Validation customers spend `factor` times what the tuned net has seen. The final net has learned that, and its
    mean is what they spend, not `factor` times as much."""
    head, signal = build_head(config), 0.5 * normal(4_000)
    y = 100 * spend(4_000, zeros=0.0, sigma=0.7) * np.exp(signal.double().numpy())
    tuned = outputs(head, y=y, signal=signal)
    tuned = tuned + at_level(head, tuned, y)
    final = tuned + at_level(head, tuned, factor * y)
    mean = Decoder.fit(head.forecast(final), table(factor * y)).decode(head.forecast(final), np.full(4_000, 2)).mean
    assert mean.sum() / (factor * y).sum() == pytest.approx(1, abs=0.02)
    shift = as_numpy(head.location(final) - head.location(tuned))
    assert_allclose(shift, np.log(factor), atol=0.01)


@EVERY
def test_scale_and_levels_are_in_the_checkpoint(config: HeadConfig) -> None:
    head, fresh = build_head(config), build_head(config)
    head.start_at(log_target(spend(300)))
    fresh.load_state_dict(head.state_dict())
    out = normal(10, head.out)
    assert torch.equal(fresh.location(out), head.location(out))
    assert not torch.equal(build_head(config).location(out), head.location(out))


# Rank, root and P(spend > 0) at once

RANKED = RankedConfig("ranked", delta=2.0)
PAID = np.array([0.0, 0.0, 16.0, 81.0])  # roots 0, 0, 2, 3


def ranked(y: np.ndarray = PAID) -> tuple[RankedHead, Tensor]:
    """A ranked head that has started at spend `y`, in float64, and its start."""
    head = RankedHead(RANKED).double()
    return head, head.start_at(torch.from_numpy(np.log1p(y)))


def test_ranked_starts_at_the_average_root_the_middle_and_the_share_of_payers() -> None:
    head, start = ranked()
    assert head.root(start[None]).item() == pytest.approx(1.25)
    assert head.rank(start[None]).item() == 0
    assert head.forecast(start[None]).active == pytest.approx([0])
    few, start = ranked(np.array([1.0, 0, 0, 0]))
    assert few.forecast(start[None]).active == pytest.approx([-np.log(3)])


def test_ranked_loss_by_hand() -> None:
    """Percentiles of 0, 0, 16, 81 are 1/4, 1/4, 5/8, 7/8; roots are in standard deviations, Huber beyond 2."""
    head, _ = ranked()
    out = torch.tensor([[0.0, 0.3, -1.0], [5.0, 0.0, 0.0], [0.5, -2.0, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    roots = (np.array([0, 0, 2, 3]) - 1.25) / np.std([0, 0, 2, 3], ddof=1)
    off = np.abs(out[:, 0].numpy() - roots)
    huber = np.where(off <= 2, off**2 / 2, 2 * (off - 1))
    assert (off > 2).any()

    def entropy(logit: np.ndarray, share: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-logit))
        return -share * np.log(p) - (1 - share) * np.log(1 - p)

    rank = entropy(out[:, 1].numpy(), np.array([1 / 4, 1 / 4, 5 / 8, 7 / 8]))
    buys = entropy(out[:, 2].numpy(), np.array([0, 0, 1, 1]))
    by_hand = huber.mean() + rank.mean() + buys.mean()
    assert head.loss(out, torch.from_numpy(np.log1p(PAID))).item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_ranked_loss_is_least_at_the_truth(place: int) -> None:
    y = spend(200, zeros=0.3)
    head, _ = ranked(y)
    target = torch.from_numpy(np.log1p(y))
    below = (y[:, None] > y).mean(axis=1) + (y[:, None] == y).mean(axis=1) / 2
    truth = Start(y**0.25, np.log(below / (1 - below)), np.where(y > 0, 12.0, -12.0))
    out = head.offset(truth).double()
    for sign in (-0.2, 0.2):
        away = out.clone()
        away[:, place] += sign * torch.where(normal(200) > 0, 1.0, -1.0)
        assert head.loss(away, target) > head.loss(out, target)


def test_what_offset_says_is_where_it_starts() -> None:
    """Decoded again, the outputs are the start: the root, the logit of the rank, P(buy), and the money."""
    head, _ = ranked(spend(300))
    start = Start(root=np.array([0.0, 2.0, 5.0]), rank=np.array([-3.0, 0.1, 2.0]), buys=np.array([-9.0, 0.0, 1.0]))
    out = head.offset(start)
    assert out.shape == (3, head.out)
    assert_allclose(as_numpy(head.root(out)), start.root, atol=1e-5)
    assert_allclose(as_numpy(head.rank(out)), start.rank, rtol=1e-6)
    said = head.forecast(out)
    assert_allclose(said.active, start.buys, rtol=1e-5)
    assert_allclose(said.location[1:], np.log1p([(2 / 0.5) ** 4, (5 * (1 + np.exp(-1))) ** 4]), rtol=1e-5)
    assert_allclose(said.corrections[:, 0], start.rank, rtol=1e-6)
    assert_allclose(np.expm1(as_numpy(head.location(out))), [0, 16, 625], rtol=1e-4, atol=1e-4)
    assert_allclose(start.columns, np.stack([start.root, start.rank, start.buys], axis=1), rtol=1e-6)


def test_ranks_are_those_of_the_rank_and_not_of_the_root() -> None:
    head, _ = ranked()
    out = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert head.rank(out).argmax() == 1
    assert head.location(out).argmax() == 0


def test_spend_is_never_negative_below_a_root_of_zero() -> None:
    head, _ = ranked()
    assert head.location(torch.full((1, 3), -50.0, dtype=torch.float64)).item() == 0
