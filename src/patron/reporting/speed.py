"""How time and memory grow with the number of customers, drawn."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from patron.reporting.plots import PALETTE, dress

MEASURES = {"seconds": "seconds", "peak_mb": "peak memory of the process, MB"}


def slopes(found: pd.DataFrame, *, measure: str) -> pd.Series:
    """By stage, the exponent with which `measure` grows with the customers between the two largest sizes: in smaller
    ones much is what does not grow. NaN of a single size; 1 is linear."""
    stages = found.sort_values("customers", kind="stable").groupby("stage", sort=False)
    return pd.Series({stage: _slope(rows["customers"].to_numpy(), rows[measure].to_numpy()) for stage, rows in stages})


def speed_figure(found: pd.DataFrame) -> Figure:
    """Seconds and memory of each stage by number of customers, both axes logarithmic; slopes stand in the legend."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
        steepness = slopes(found, measure=measure)
        for k, (stage, rows) in enumerate(found.groupby("stage", sort=False)):
            slope = steepness[stage]
            name = str(stage) if np.isnan(slope) else f"{stage} ({slope:.2f})"
            style = "-" if k < len(PALETTE) else "--"
            axes.plot(rows["customers"], rows[measure], marker="o", ls=style, color=PALETTE[k % len(PALETTE)], lw=1.2,
                      ms=4, label=name)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        dress(axes, f"{label} (slope at the end)", x="customers", y=label)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _slope(customers: np.ndarray, values: np.ndarray) -> float:
    if len(customers) < 2:
        return float("nan")
    ends = np.log(customers[-2:]), np.log(np.maximum(values[-2:], 1e-3))
    return float(np.diff(ends[1])[0] / np.diff(ends[0])[0])
