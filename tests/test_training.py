"""Training: checkpoints, early stopping, resume, the number of steps, what TensorBoard shows, and the watchdog."""

import copy
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import ESTIMATORS, SMALL, with_dropout
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch_geometric.data import HeteroData

from patron.graph.snapshot import snapshot
from patron.nn.heads import HuberConfig, QuantileConfig
from patron.nn.model import LTVModel
from patron.training.apply import outputs, warn_if_collapsed
from patron.training.config import TrainerConfig
from patron.training.fit import refit, tune
from patron.training.shots import Whole

CUSTOMERS, PRODUCTS, WIDTH = 60, 12, 3
EDGE = ("customer", "purchased", "product")
HEADS = {"huber": HuberConfig("huber", delta=1.0), "quantile": QuantileConfig("quantile", levels=(0.1, 0.5, 0.9))}
MODEL = ESTIMATORS["gnn"].model


def trainer(**changes: Any) -> TrainerConfig:
    return replace(SMALL.trainer, **{"max_steps": 20, "steps_per_check": 4, "patience": 50, **changes})


def shot(seed: int, *, alike: bool = False) -> HeteroData:
    """A snapshot whose customers spend by their first feature, or all the same."""
    rng = torch.Generator().manual_seed(seed)
    data = HeteroData()
    for kind, number in (("customer", CUSTOMERS), ("product", PRODUCTS)):
        data[kind].ids, data[kind].num_nodes = np.arange(number), number
    ends = [torch.randint(number, (200,), generator=rng) for number in (CUSTOMERS, PRODUCTS)]
    data[EDGE].edge_index, data[EDGE].time = torch.stack(ends), torch.zeros(200, dtype=torch.int64)
    made = snapshot(data, cutoff=date(2021, 1, 1), half_life_days=90)
    for kind, number in (("customer", CUSTOMERS), ("product", PRODUCTS)):
        made[kind].x = torch.randn(number, WIDTH, generator=rng)
    rows = torch.randperm(CUSTOMERS, generator=rng)[:50]
    signal = torch.zeros(50) if alike else made["customer"].x[rows, 0]
    made["customer"].rows, made["customer"].y = rows, torch.expm1((2 + signal).clamp_min(0))
    return made


def new_model(head: str = "huber", *, seed: int = 0, dropout: float = 0.0) -> LTVModel:
    torch.manual_seed(seed)
    example = shot(0)
    config = replace(with_dropout(MODEL, dropout), head=HEADS[head])
    model = LTVModel({"customer": WIDTH, "product": WIDTH}, example.edge_types, config=config)
    model.start_at(torch.cat([each["customer"].y for each in TRAIN]).log1p())
    return model


TRAIN, VAL = [shot(seed) for seed in (1, 2, 3)], [shot(4)]
# A new model predicts what they spend, and whatever it learns of TRAIN takes it away from there: in each of ten seeds,
# the loss of every later check was at least four times that of the first.
ALIKE = [shot(9, alike=True)]


def tuned(folder: Path, *, config: TrainerConfig, ckpt_path: Path | None = None, val: list | None = None, **model: Any):
    return tune(
        new_model(**model),
        train=Whole(TRAIN),
        val=val or VAL,
        config=config,
        folder=folder,
        seed=0,
        ckpt_path=ckpt_path,
    )


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def val_losses(folder: Path) -> list[float]:
    """Of each check of a tuning."""
    return [value for _, value in scalars(folder / "tune")["val_loss"]]


def same(one: LTVModel, other: LTVModel) -> bool:
    states = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == name_ and torch.equal(value, value_) for (name, value), (name_, value_) in states)


# Tuning


@pytest.mark.parametrize("head", sorted(HEADS))
def test_tune_writes_checkpoints(head: str, tmp_path: Path) -> None:
    fitted = tuned(tmp_path, config=trainer(), head=head)
    assert {"best.ckpt", "last.ckpt"} <= {file.name for file in tmp_path.iterdir()}
    assert not list(tmp_path.glob("best-v*"))
    for name in ("best", "last"):
        state = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)  # tensors and numbers, no code
        assert state["global_step"] == (fitted.steps if name == "best" else 20)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_validation_loss_falls_where_there_is_something_to_learn(head: str, tmp_path: Path) -> None:
    ratios = []
    for seed in range(3):
        tuned(tmp_path / str(seed), config=trainer(), head=head, seed=seed)
        losses = val_losses(tmp_path / str(seed))
        ratios.append(min(losses) / losses[0])
    assert np.median(ratios) < 0.8  # 0.15 and 0.38 on average over ten seeds, standard deviation 0.05 and 0.04


@pytest.mark.parametrize("val", [VAL, ALIKE], ids=["learnable", "alike"])
def test_the_model_is_the_one_of_the_lowest_validation_loss(val: list[HeteroData], tmp_path: Path) -> None:
    """That is a later check where learning helps, and the first where it only harms."""
    fitted = tuned(tmp_path, config=trainer(), val=val)
    losses = val_losses(tmp_path)
    assert fitted.steps == 4 * (1 + int(np.argmin(losses)))
    assert (fitted.steps == 4) == (val is ALIKE)
    loss = fitted.model.head.loss(outputs(fitted.model, val), val[0]["customer"].y.log1p())
    assert loss.item() == pytest.approx(min(losses), rel=1e-5)


def test_early_stopping_stops(tmp_path: Path) -> None:
    """After `patience` checks without a lower loss, and not before."""
    config = trainer(patience=2)
    fitted = tuned(tmp_path, config=config, val=ALIKE)
    taken = len(scalars(tmp_path / "tune")["train_loss"])
    assert taken == fitted.steps + 2 * config.steps_per_check
    assert taken < config.max_steps


def test_the_last_checkpoint_is_of_the_last_check(tmp_path: Path) -> None:
    """And not of the last that was better: a run that is resumed goes on where it was."""
    fitted = tuned(tmp_path, config=trainer(), val=ALIKE)
    assert fitted.steps < 20
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 20


def test_steps_after_the_last_check_do_not_count(tmp_path: Path) -> None:
    fitted = tuned(tmp_path, config=trainer(max_steps=10, steps_per_check=4))
    assert len(scalars(tmp_path / "tune")["train_loss"]) == 10
    assert fitted.steps in (4, 8)


def test_tune_with_fewer_steps_than_a_check(tmp_path: Path) -> None:
    """There is a check at the end, or a refusal that names the keys; but no crash without words."""
    try:
        fitted = tuned(tmp_path, config=trainer(max_steps=3, steps_per_check=10))
    except ValueError as error:
        assert "steps_per_check" in str(error)  # noqa: PT017
    else:
        assert fitted.steps == 3


@pytest.mark.parametrize("alike", [False, True])
def test_resume_goes_on_where_it_stopped(alike: bool, tmp_path: Path) -> None:
    """8 steps and 12 more, from another start, are the same as 20 at once; also where the best was before the stop."""
    val = [shot(9, alike=alike)]
    whole = tuned(tmp_path / "whole", config=trainer(), val=val)
    tuned(tmp_path / "first", config=trainer(max_steps=8), val=val)
    checkpoint = tmp_path / "first" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 8
    tuned(tmp_path / "then", config=trainer(), val=val, ckpt_path=checkpoint, seed=5)
    ends = [torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "then")]
    assert [end["global_step"] for end in ends] == [20, 20]
    assert len(scalars(tmp_path / "then" / "tune")["train_loss"]) == 12
    assert all(torch.equal(value, ends[1]["state_dict"][name]) for name, value in ends[0]["state_dict"].items())
    assert not same(tuned(tmp_path / "control", config=trainer(), val=val, seed=5).model, whole.model)


@pytest.mark.parametrize("alike", [False, True])
def test_resume_in_the_same_folder_keeps_the_best(alike: bool, tmp_path: Path) -> None:
    val = [shot(9, alike=alike)]
    tuned(tmp_path, config=trainer(max_steps=8), val=val)
    resumed = tuned(tmp_path, config=trainer(), val=val, ckpt_path=tmp_path / "last.ckpt")
    whole = tuned(tmp_path / "whole", config=trainer(), val=val)
    assert resumed.steps == whole.steps
    assert same(resumed.model, whole.model)


def test_resume_of_a_finished_tuning(tmp_path: Path) -> None:
    """A run that was stopped while it was refitted has a `last.ckpt` of all steps."""
    whole = tuned(tmp_path, config=trainer(max_steps=8))
    again = tuned(tmp_path, config=trainer(max_steps=8), ckpt_path=tmp_path / "last.ckpt", seed=5)
    assert again.steps == whole.steps
    assert same(again.model, whole.model)


def test_every_snapshot_is_seen_as_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 steps of 3 snapshots are 4 each, whatever the steps of a check; and not in the same order every time."""
    seen: list[int] = []
    forward = LTVModel.forward

    def noted(self: LTVModel, x_dict: dict[str, Tensor], edges: dict, **how: object) -> Tensor:
        if self.training:
            seen.extend(k for k, each in enumerate(TRAIN) if torch.equal(each["customer"].x, x_dict["customer"]))
        return forward(self, x_dict, edges, **how)

    monkeypatch.setattr(LTVModel, "forward", noted)
    tuned(tmp_path, config=trainer(max_steps=12, steps_per_check=4))
    assert [seen.count(k) for k in range(3)] == [4, 4, 4]
    rounds = [tuple(seen[at : at + 3]) for at in range(0, 12, 3)]
    assert all(sorted(each) == [0, 1, 2] for each in rounds)
    assert len(set(rounds)) > 1


# Refit


@pytest.mark.parametrize("steps", [1, 7, 8])
def test_refit_takes_exactly_these_steps(steps: int, tmp_path: Path) -> None:
    refit(new_model(), train=Whole(TRAIN), steps=steps, config=trainer(steps_per_check=4), folder=tmp_path, seed=0)
    state = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)
    assert state["global_step"] == steps
    assert len(scalars(tmp_path / "refit")["train_loss"]) == steps


def test_refit_changes_the_model_and_keeps_no_dropout(tmp_path: Path) -> None:
    start = new_model(dropout=0.5)
    model = refit(new_model(dropout=0.5), train=Whole(TRAIN), steps=3, config=trainer(), folder=tmp_path, seed=0)
    assert not same(model, start)
    assert torch.equal(outputs(model, VAL), outputs(model, VAL))
    assert outputs(model, [*VAL, *TRAIN]).shape == (200, 1)


# Offsets


def test_an_offset_moves_what_is_said_of_its_row() -> None:
    model, moved = new_model(), VAL[0].clone()
    moved["customer"].offset = torch.linspace(-1, 1, 50)[:, None]
    said = [outputs(model, [each]) for each in (VAL[0], moved)]
    torch.testing.assert_close(said[1] - said[0], moved["customer"].offset)


def test_training_starts_from_the_offset(tmp_path: Path) -> None:
    """Of an offset that says it all, nothing is left to be learned; of none, all is."""
    model = new_model()
    model.start_at(torch.zeros(10))  # nothing is left on average
    model.head.standardise_by(torch.tensor([-1.0, 1.0]))
    told = [each.clone() for each in TRAIN]
    for each in told:
        each["customer"].offset = model.head.standard(each["customer"].y.log1p())[:, None]
    losses = []
    for number, shots in enumerate((told, TRAIN)):
        refit(
            copy.deepcopy(model), train=Whole(shots), steps=1, config=trainer(), folder=tmp_path / str(number), seed=0
        )
        losses.append(scalars(tmp_path / str(number) / "refit")["train_loss"][0][1])
    assert losses[0] < 0.1 * losses[1]


# TensorBoard


def test_tensorboard_shows_the_training(tmp_path: Path) -> None:
    tuned(tmp_path, config=trainer(warmup_steps=4, learning_rate=0.02))
    shown = scalars(tmp_path / "tune")
    assert {"train_loss", "val_loss", "val_spearman", "val_nmae", "learning_rate", "gradient_norm"} <= set(shown)
    for name in ("train_loss", "learning_rate", "gradient_norm"):
        assert len(shown[name]) == 20, name
    for name in ("val_loss", "val_spearman", "val_nmae"):
        assert len(shown[name]) == 5, name
    assert np.isfinite([value for values in shown.values() for _, value in values]).all()
    rates = [value for _, value in shown["learning_rate"]]
    assert rates == pytest.approx([0.005, 0.01, 0.015] + [0.02] * 17)
    assert all(value > 0 for _, value in shown["gradient_norm"])


def test_validation_scalars_are_those_of_the_model(tmp_path: Path) -> None:
    fitted = tuned(tmp_path, config=trainer(max_steps=4))
    shown = scalars(tmp_path / "tune")
    out, spend = outputs(fitted.model, VAL), VAL[0]["customer"].y
    location = fitted.model.head.location(out)
    ranks = np.stack([location.numpy().argsort().argsort(), spend.numpy().argsort().argsort()])
    assert shown["val_spearman"][0][1] == pytest.approx(np.corrcoef(ranks)[0, 1], abs=0.01)
    error = (location.expm1().clamp_min(0) - spend).abs().mean() / spend.mean()
    assert shown["val_nmae"][0][1] == pytest.approx(error.item(), rel=1e-4)


# The watchdog


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, logger="patron"):
        yield caplog


@pytest.mark.parametrize("head", sorted(HEADS))
def test_constant_predictions_are_said_to_have_collapsed(head: str, heard: pytest.LogCaptureFixture) -> None:
    model = new_model(head)
    constant = torch.zeros(50, model.head.out)
    assert warn_if_collapsed(model, constant)
    assert "collapsed" in heard.text
    assert "learning_rate" in heard.text


@pytest.mark.parametrize("head", sorted(HEADS))
def test_predictions_that_vary_have_not(head: str, heard: pytest.LogCaptureFixture) -> None:
    model = new_model(head)
    varied = torch.zeros(50, model.head.out)
    varied[:, 0] = torch.linspace(-1, 1, 50)
    assert not warn_if_collapsed(model, varied)
    assert not heard.records


@pytest.mark.parametrize("head", sorted(HEADS))
def test_predictions_that_are_no_numbers_are_not_passed_over(head: str, heard: pytest.LogCaptureFixture) -> None:
    """As after a learning rate that is far too high."""
    model = new_model(head)
    assert warn_if_collapsed(model, torch.full((50, model.head.out), torch.nan))
    assert "learning_rate" in heard.text


# Devices


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_gpu_trains_and_gives_back_a_model_on_the_cpu(precision: str, tmp_path: Path) -> None:
    fitted = tuned(tmp_path, config=trainer(accelerator="gpu", precision=precision))
    assert {parameter.device.type for parameter in fitted.model.parameters()} == {"cpu"}
    assert torch.isfinite(outputs(fitted.model, VAL)).all()


def test_bfloat16_trains(tmp_path: Path) -> None:
    """Mixed precision, on the CPU here: sparse products must not refuse it."""
    fitted = tuned(tmp_path, config=trainer(precision="bf16-mixed", max_steps=4))
    assert torch.isfinite(outputs(fitted.model, VAL)).all()
