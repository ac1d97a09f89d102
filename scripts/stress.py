"""One world whose level shifts at the test cutoff, unseen by the past: what becomes of intervals and totals?

python scripts/stress.py
"""

from pathlib import Path

from rich.console import Console

from patron.config import entry
from patron.reporting.plots import save
from patron.reporting.stress import stress_figure, stress_table, stressed
from patron.reporting.tables import write_results
from patron.variants import SweepConfig, stress


def main(config: SweepConfig) -> None:
    results = stress(config)
    table = stressed(results)
    title = f"{config.name}: what a factor on all rates from the test cutoff on does to predictions"
    Console(width=max(Console().width, 140)).print(stress_table(table, title=title))
    written = write_results(results, name=config.name, folder=config.results, readme=None)
    for path in [*written, save(stress_figure(table, title=title), config.results / f"{config.name}.png")]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=SweepConfig, configs=Path(__file__).parents[1] / "configs", name="stress")
