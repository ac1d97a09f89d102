"""Leave out one table, relation or group of features at a time, fit again, and report paired differences.

python scripts/ablate.py experiment=shop estimator=[gnn]
"""

from pathlib import Path

from rich.console import Console

from patron.config import entry
from patron.reporting.plots import differences_figure, save
from patron.reporting.tables import differences, write_results
from patron.variants import EVERYTHING, AblationConfig, ablate, ablated, advantages


def main(config: AblationConfig) -> None:
    results = ablate(config)
    found = advantages(results, reference=EVERYTHING)
    Console().print(differences(found, title=f"{config.name}: Spearman less that of everything"))
    name = f"ablation_{config.name}_{ablated(config)}"
    written = write_results(results, name=name, folder=config.results, readme=None)
    figure = differences_figure(found, title=f"{config.name}: what is lost without it")
    for path in [*written, save(figure, config.results / f"{name}.png")]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=AblationConfig, configs=Path(__file__).parents[1] / "configs", name="ablate")
