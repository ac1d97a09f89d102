"""One world with more and more cross-customer signal: by how much does each model beat LightGBM on as-of features?

python scripts/sweep.py
"""

from pathlib import Path

from rich.console import Console

from patron.config import entry
from patron.reporting.plots import save, signal_figure
from patron.reporting.tables import differences, write_results
from patron.variants import REFERENCE, SweepConfig, advantages, sweep


def main(config: SweepConfig) -> None:
    results = sweep(config)
    found = advantages(results, reference=REFERENCE, column=config.column)
    Console().print(differences(found, title=f"{config.name}: Spearman less that of LightGBM", column=config.column))
    written = write_results(results, name=config.name, folder=config.results, readme=None)
    bounds = (config.evaluation.floor, config.evaluation.ceiling)  # far off: they would squeeze the others
    between = found[~found["estimator"].isin(bounds)]
    figure = signal_figure(between, title="Advantage over LightGBM on as-of features", column=config.column)
    for path in [*written, save(figure, config.results / f"{config.name}.png")]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=SweepConfig, configs=Path(__file__).parents[1] / "configs", name="sweep")
