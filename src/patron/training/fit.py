"""Fitting: early stopping on validation snapshots, best and last checkpoint, resume; then the same number of steps on
all closed cutoffs."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import HeteroData
from tqdm import tqdm

from patron.nn.model import LTVModel
from patron.training.config import TrainerConfig
from patron.training.module import LTVModule
from patron.training.ranks import rank, require, world
from patron.training.shots import Shots, held


@dataclass(frozen=True)
class Fitted:
    """The model with its best weights, and after how many steps it had them."""

    model: LTVModel
    steps: int


@contextmanager
def _misconfigured() -> Iterator[None]:
    # What Lightning finds wrong with the trainer's configuration is the user's mistake.
    try:
        yield
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error


@_misconfigured()
def tune(
    model: LTVModel,
    *,
    train: Shots,
    val: Sequence[HeteroData],
    config: TrainerConfig,
    folder: Path,
    seed: int,
    ckpt_path: Path | None,
) -> Fitted:
    """`model` at the check with the lowest validation loss. Writes `best.ckpt`, `last.ckpt` and TensorBoard events to
    `folder`. Raises ValueError for a trainer that this machine does not have."""
    kept: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": False}
    best = ModelCheckpoint(folder, filename="best", monitor="val_loss", mode="min", **kept)
    last = ModelCheckpoint(folder, filename="last", **kept)  # `save_last` would follow the best only
    callbacks = [
        best,
        last,
        # At the check and not after the epoch: a resumed epoch has no check of its own.
        EarlyStopping("val_loss", mode="min", patience=config.patience, check_on_train_epoch_end=False),
        *_bar(config, f"tune seed {seed}"),
    ]
    module, trainer = (
        LTVModule(model, config=config),
        _trainer(config, callbacks=callbacks, folder=folder, name="tune", steps=config.max_steps),
    )
    trainer.fit(module, _steps(train, config=config, seed=seed), _whole(held(val)), ckpt_path=ckpt_path)
    # Our own checkpoint, just written: it holds nothing but tensors and numbers.
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return Fitted(module.model.cpu(), int(state["global_step"]))


@_misconfigured()
def refit(model: LTVModel, *, train: Shots, steps: int, config: TrainerConfig, folder: Path, seed: int) -> LTVModel:
    """`model` after `steps` steps on `train`. Writes `checkpoint.ckpt` to `folder`."""
    module, trainer = (
        LTVModule(model, config=config),
        _trainer(config, callbacks=_bar(config, f"refit seed {seed}"), folder=folder, name="refit", steps=steps),
    )
    trainer.fit(module, _steps(train, config=config, seed=seed))
    trainer.save_checkpoint(folder / "checkpoint.ckpt")
    return module.model.cpu()


def _trainer(config: TrainerConfig, *, callbacks: list[Callback], folder: Path, name: str, steps: int) -> pl.Trainer:
    for noisy in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    require(devices=config.devices, num_nodes=config.num_nodes)
    averaging = EMAWeightAveraging(decay=config.weight_averaging)
    warnings.filterwarnings(
        "ignore", module="pytorch_lightning"
    )  # its advice on workers and logging is not for full snapshots
    return pl.Trainer(
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.num_nodes,
        # An early snapshot may lack an edge type, whose weights get no gradient then.
        strategy="auto" if world() == 1 else "ddp_find_unused_parameters_true", use_distributed_sampler=False,
        precision=config.precision, max_steps=steps,
        max_epochs=-1, gradient_clip_val=config.gradient_clip, callbacks=[averaging, *callbacks],
        logger=TensorBoardLogger(folder, name="", version=name), log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, inference_mode=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    )  # fmt: skip


def _whole(shots: Sequence[HeteroData]) -> DataLoader:
    return DataLoader(list(shots), batch_size=None)  # type: ignore[arg-type]


def _steps(shots: Shots, *, config: TrainerConfig, seed: int) -> DataLoader:
    steps = min(config.steps_per_check, config.max_steps)
    return DataLoader(_Drawn(shots), batch_size=None, sampler=_Shuffled(len(shots), steps=steps, seed=seed))


@dataclass(frozen=True)
class _Drawn(Dataset[HeteroData]):
    shots: Shots

    def __getitem__(self, at: tuple[int, int]) -> HeteroData:
        k, step = at
        return self.shots.draw(k, step=step)


class _Shuffled(Sampler[tuple[int, int]]):
    """Of `steps` steps an epoch, which snapshot each learns from and its number; every snapshot comes as often as the
    others. The order depends on seed and epoch alone, so it survives a resume."""

    def __init__(self, number: int, *, steps: int, seed: int) -> None:
        self.number, self.steps, self.seed, self.epoch = number, steps, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first = self.epoch * self.steps
        for step in range(first, first + self.steps):
            shuffle = np.random.default_rng([self.seed, step // self.number]).permutation(self.number)
            yield int(shuffle[step % self.number]), step


def _bar(config: TrainerConfig, title: str) -> list[Callback]:
    return [_StepBar(title)] if config.progress and rank() == 0 else []


class _StepBar(Callback):
    """One bar over all steps; Lightning's own starts again at each check."""

    def __init__(self, title: str) -> None:
        self.title = title

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.max_steps, initial=trainer.global_step, desc=self.title, unit="step", dynamic_ncols=True
        )

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.bar.update(1)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        known = trainer.callback_metrics
        names = [name for name in ("val_loss", "val_spearman") if name in known]
        shown: dict[str, object] = {name: f"{float(known[name]):.4f}" for name in names}
        self.bar.set_postfix(shown)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar.close()
