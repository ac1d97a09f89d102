"""Score every customer at a cutoff with a finished run.

python scripts/score.py run=runs/complete_journey_90d/gnn-seed0 cutoff=2018-01-01
"""

from pathlib import Path

from patron.config import entry
from patron.serving.score import ScoreConfig, score


def main(config: ScoreConfig) -> None:
    written = score(config)
    print(written.best.to_string(index=False))
    print(f"{written.customers} customers: {' and '.join(map(str, written.paths))}")


if __name__ == "__main__":
    entry(main, schema=ScoreConfig, configs=Path(__file__).parents[1] / "configs", name="score")
