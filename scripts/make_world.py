"""Write a made-up shop with a known truth as Parquet files.

python scripts/make_world.py data=million out=data/worlds/million
"""

from pathlib import Path

from patron.config import entry
from patron.tables.worlds.world import MakeConfig, write


def main(config: MakeConfig) -> None:
    rows = write(config.data, folder=config.out)
    for name, number in rows.items():
        print(f"{number:>12,}  {name}")
    print(f"wrote {config.out}; its README.md holds the YAML that reads it")


if __name__ == "__main__":
    entry(main, schema=MakeConfig, configs=Path(__file__).parents[1] / "configs", name="make_world")
