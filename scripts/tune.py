"""LightGBM's parameters, chosen once on the validation rows of several experiments together.

python scripts/tune.py 'overrides.online_retail_ii_91d=["data.path=<folder>"]'
"""

from pathlib import Path

from rich.console import Console

from patron.config import entry
from patron.reporting.tables import write_results
from patron.tuning import TuneConfig, best, tune


def main(config: TuneConfig) -> None:
    trials = tune(config)
    found, clear = best(trials)
    both = trials[trials["trial"].isin([0, found["trial"]])].drop_duplicates("trial")
    console = Console(width=200)
    console.print(both.set_index("trial").T.to_string(float_format=lambda value: f"{value:.5g}"))
    said = "is above" if clear else "is not above"
    console.print(
        f"Best: trial {found['trial']:.0f}. What it gains on the default, trial 0, {said} its standard errors."
    )
    for path in write_results(trials, name=config.name, folder=config.results, readme=None):
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=TuneConfig, configs=Path(__file__).parents[1] / "configs", name="tune")
