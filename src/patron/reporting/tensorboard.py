"""What TensorBoard shows of a finished run, beside the curves that training wrote: the decile figure, the
hyper-parameters with the final metrics, and the customers' embeddings with their value and segment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.tensorboard import SummaryWriter

from patron.evaluation.curves import decile_table
from patron.reporting.plots import decile_figure

MAX_EMBEDDED = 5_000  # the projector's page gets slow beyond


def log_run(
    folder: Path,
    *,
    title: str,
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
) -> None:
    """Write events for the Images and HParams pages to `folder/final`; `truth` and `predictions` hold the same rows."""
    matched = truth[["customer_id", "cutoff", "label"]].merge(predictions, on=["customer_id", "cutoff"], validate="1:1")
    with SummaryWriter(str(folder / "final")) as writer:
        figure = decile_figure(decile_table(matched["label"].to_numpy(), matched), title=title)
        writer.add_figure("predicted against actual by decile", figure)
        final = {f"final/{name}": value for name, value in metrics.items() if np.isfinite(value)}
        writer.add_hparams(_flat(config), final, run_name=".")


def log_embeddings(folder: Path, *, embeddings: np.ndarray, rows: pd.DataFrame, predicted: np.ndarray) -> None:
    """Write embeddings [n, channels] for the Projector page to `folder/final`, with id, actual and predicted spend
    and segment.

    The segment is the first that holds of one order, new, dormant, heavy, and otherwise `regular`. Of many customers,
    every k-th.
    """
    kept = np.arange(0, len(rows), -(-len(rows) // MAX_EMBEDDED))
    shown = rows.iloc[kept]
    metadata = [
        [str(customer), f"{actual:.2f}", f"{value:.2f}", segment]
        for customer, actual, value, segment in zip(
            shown["customer_id"], shown["label"], predicted[kept], _segment(shown), strict=True
        )
    ]
    with SummaryWriter(str(folder / "final")) as writer:
        header = ["customer", "actual spend", "predicted spend", "segment"]
        writer.add_embedding(
            torch.from_numpy(embeddings[kept]).float(), metadata=metadata, metadata_header=header, tag="customers"
        )


def _segment(rows: pd.DataFrame) -> list[str]:
    names = [column for column in rows if str(column).startswith("slice_")]
    flags = rows[names].to_numpy(dtype=bool)
    labels = np.array([*(str(name).removeprefix("slice_").replace("_", " ") for name in names), "regular"])
    return labels[np.where(flags.any(axis=1), flags.argmax(axis=1), len(names))].tolist()


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, float | int | str | bool]:
    flat: dict[str, float | int | str | bool] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, float | int | str | bool) else str(value)
    return flat
