"""Audit the exports of a hundred clean made-up shops, and count the false alarms.

python scripts/alarms.py
"""

from pathlib import Path

from patron.alarms import AlarmsConfig, alarms
from patron.config import entry
from patron.reporting.tables import write_results
from patron.run import command, commit


def main(config: AlarmsConfig) -> None:
    results = alarms(config).assign(command=command(), commit=commit())
    print(results.groupby("shop", sort=False).agg(largest=("largest", "max"), alarms=("alarms", "sum")).to_string())
    for path in write_results(results, name="alarms", folder=config.results, readme=None):
        print(f"wrote {path}")


if __name__ == "__main__":
    entry(main, schema=AlarmsConfig, configs=Path(__file__).parents[1] / "configs", name="alarms")
