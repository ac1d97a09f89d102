"""Results by hand, for what reads the table of results and evaluates nothing; and that a figure of them draws."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

CONTEXT = {"data": "tiny", "task": "ltv_90d", "split": "temporal", "command": "python x.py", "commit": "abc1234"}


def row(estimator: str, metric: str, value: float, lo: float = np.nan, hi: float = np.nan, **where: str) -> dict:
    place = {"fold": "mean", "seed": "mean", "slice": "all", **where}
    return {**CONTEXT, **place, "estimator": estimator, "metric": metric, "value": value, "lo": lo, "hi": hi, "n": 2500}


def make_results(lo: float = -0.012, hi: float = 0.001) -> pd.DataFrame:
    rows = [
        row("other", "spearman", 0.1, 0.05, 0.15),
        row("gnn", "spearman", 0.806, 0.79, 0.82),
        row("gnn", "spearman", 0.804, 0.79, 0.82, seed="0"),
        row("gnn", "spearman", 0.808, 0.79, 0.82, seed="1"),
        row("gnn", "spearman_seed_sd", 0.0028),
        row("gnn", "spearman_minus_lightgbm", -0.006, lo, hi),
        row("lightgbm", "spearman", 0.812, 0.79, 0.83),
        row("zero", "spearman", 0.0, 0.0, 0.0),
        row("lightgbm", "spearman", 0.5, 0.4, 0.6, slice="new"),
        row("zero", "bias", -1.0, -1.0, -1.0),
        row("lightgbm", "bias", 0.031, 0.0, 0.06),
        row("gnn", "bias", -0.02, -0.05, 0.01),
        row("zero", "mae", 1234.56),
        row("gnn", "mae", 17.891),
        row("gnn", "coverage80", 0.7712, 0.75, 0.79),
        row("ceiling", "spearman_ceiling", 0.9356),
    ]
    return pd.DataFrame(rows)


def draw(figure: Figure, tmp_path: Path) -> None:
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert figure.axes[0].get_xlabel()


def predicted(truth: pd.DataFrame, values: np.ndarray, *, estimator: str, seed: int) -> pd.DataFrame:
    """The predictions of who says `values` [n] of the rows of a truth: mean, median and rank, and no interval."""
    rows = truth[["customer_id", "cutoff", "fold"]].assign(estimator=estimator, seed=seed)
    return rows.assign(ltv_mean=values, ltv_median=values, rank_score=values, q10=np.nan, q90=np.nan)
