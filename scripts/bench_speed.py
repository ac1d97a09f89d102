"""Measure patron's kernels beside others, then every stage of the way at growing sizes of a world; write the figures
and a plot with slopes.

python scripts/bench_speed.py
"""

from pathlib import Path

import pandas as pd

from patron.config import entry
from patron.reporting.plots import save
from patron.reporting.speed import speed_figure
from patron.reporting.tables import write_results
from patron.run import command, commit
from patron.speed.opponents import opponents
from patron.speed.stages import SpeedConfig, measure


def main(config: SpeedConfig) -> None:
    beside = opponents(config.opponents)
    print(beside.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    _write(beside, f"{config.name}_opponents", config)
    found = pd.DataFrame()
    for rows in measure(config):
        print(rows.to_string(index=False, float_format=lambda value: f"{value:.1f}"))
        found = pd.concat([found, rows])
        _write(found, config.name, config)  # what is measured stays, whatever becomes of the next size
    print(f"wrote {save(speed_figure(found), config.results / f'{config.name}.png')}")


def _write(found: pd.DataFrame, name: str, config: SpeedConfig) -> None:
    found = found.assign(command=command(), commit=commit())
    for path in write_results(found, name=name, folder=config.results, readme=None):
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=SpeedConfig, configs=Path(__file__).parents[1] / "configs", name="bench_speed")
