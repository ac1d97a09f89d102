"""Measure every stage of the way at growing sizes of a world, and write the figures and a plot with slopes.

python scripts/bench_speed.py
"""

from pathlib import Path

from patron.config import entry
from patron.reporting.plots import save
from patron.reporting.speed import speed_figure
from patron.reporting.tables import write_results
from patron.run import command, commit
from patron.speed.stages import SpeedConfig, measure


def main(config: SpeedConfig) -> None:
    found = measure(config)
    print(found.to_string(index=False, float_format=lambda value: f"{value:.1f}"))
    found = found.assign(command=command(), commit=commit())
    written = write_results(found, name=config.name, folder=config.results, readme=None)
    for path in [*written, save(speed_figure(found), config.results / f"{config.name}.png")]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=SpeedConfig, configs=Path(__file__).parents[1] / "configs", name="bench_speed")
