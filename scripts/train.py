"""Fit the estimators of a config, once a seed, and print their table.

python scripts/train.py experiment=complete_journey_90d estimator=[gnn] seeds=[0]
"""

from pathlib import Path

from rich.console import Console

from patron.config import Config, entry
from patron.pipeline import run_all
from patron.reporting.tables import console
from patron.training.ranks import rank


def main(config: Config) -> None:
    results = run_all(config)
    if rank():  # the first of the processes that torchrun started speaks for all
        return
    screen = Console()
    screen.print(console(results, width=screen.width))
    print(f"runs: {config.runs / config.name}; look at them with: tensorboard --logdir {config.runs / config.name}")


if __name__ == "__main__":
    entry(main, schema=Config, configs=Path(__file__).parents[1] / "configs", name="config")
