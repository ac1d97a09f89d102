"""Fit all estimators of a benchmark, write `results/<name>.csv`, its curves and its table in the README.

python scripts/benchmark.py experiment=complete_journey_90d
"""

from pathlib import Path

from rich.console import Console

from patron.config import BenchmarkConfig, entry
from patron.controls import benchmark
from patron.reporting.plots import write_curves
from patron.reporting.tables import console, write_results


def main(config: BenchmarkConfig) -> None:
    results = benchmark(config)
    screen = Console()
    screen.print(console(results, width=screen.width))
    written = write_results(results, name=config.name, folder=config.results, readme=config.readme)
    for path in [*written, *write_curves(results, name=config.name, folder=config.results)]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=BenchmarkConfig, configs=Path(__file__).parents[1] / "configs", name="benchmark")
