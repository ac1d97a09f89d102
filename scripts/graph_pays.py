"""Does the graph pay? Write `results/graph_pays_<name>.html`, a page with the verdict first, and its long table.

python scripts/graph_pays.py experiment=seed_regime
"""

from pathlib import Path

from patron.config import entry
from patron.graph_pays import GraphPaysConfig, graph_pays
from patron.reporting.graph_page import contrasts_said, graph_page
from patron.reporting.tables import write_results


def main(config: GraphPaysConfig) -> None:
    results = graph_pays(config)
    page, name = graph_page(results), f"graph_pays_{config.name}"
    print("\n".join([page.lead, *contrasts_said(results)]))
    written = write_results(results, name=name, folder=config.results, readme=None)
    for path in [*written, page.write(config.results / f"{name}.html")]:
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=GraphPaysConfig, configs=Path(__file__).parents[1] / "configs", name="graph_pays")
