"""The Lightning module: one step is one whole snapshot. It never asks which model or head it has."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torchmetrics.functional import spearman_corrcoef

from patron.nn.heads import as_numpy
from patron.nn.model import LTVModel
from patron.training.apply import said, said_of_all_horizons
from patron.training.config import TrainerConfig
from patron.training.ranks import everybodys


class LTVModule(pl.LightningModule):
    """Trains `model` on snapshots, or on what this process holds of them, whose customers carry `rows` [B] (which of
    them count), `y` [B] (their spend), `auxiliary` [B, H] (that at other horizons) if the model learns it, and maybe an
    `offset` [B, head.out].

    In training their `share` is how much more or less than the average process this one has of them, so that the mean
    over processes that train together is that over customers."""

    def __init__(self, model: LTVModel, *, config: TrainerConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, shot: HeteroData) -> Tensor:
        """A snapshot -> outputs of the head for its `rows`: [B, head.out]."""
        return said(self.model, shot)

    def training_step(self, shot: HeteroData, _: int) -> Tensor:
        model, (out, others) = self.model, said_of_all_horizons(self.model, shot)
        loss = model.head.loss(out, shot["customer"].y.log1p())
        if model.auxiliary.number:
            loss = loss + model.auxiliary_weight * model.auxiliary.loss(others, shot["customer"].auxiliary.log1p())
        self.log("train_loss", loss, batch_size=1)
        return loss * shot["customer"].share

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None]))
        self.log_dict({"gradient_norm": norm, "learning_rate": optimizer.param_groups[0]["lr"]}, batch_size=1)

    def validation_step(self, shot: HeteroData, _: int) -> None:
        self._seen.append((self(shot), shot["customer"].y))

    def on_validation_epoch_end(self) -> None:
        out, y = (everybodys(torch.cat(parts)) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        head, spend = self.model.head, as_numpy(y)
        location = head.location(out)
        values: dict[str, Any] = {
            "val_loss": head.loss(out, y.log1p()),
            "val_spearman": spearman_corrcoef(head.rank(out), y),
        }
        median = np.maximum(np.expm1(as_numpy(location)), 0)  # before calibration, so an upper bound on the error
        values["val_nmae"] = float(np.abs(median - spend).mean() / max(spend.mean(), 1e-9))
        values["val_spread"] = location.std()
        self.log_dict(
            {name: torch.as_tensor(value, dtype=torch.float32) for name, value in values.items()}, batch_size=1
        )

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        warmup = max(1, self.config.warmup_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
