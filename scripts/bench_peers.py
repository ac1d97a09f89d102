"""Measure patron beside lifetimes, PyG, LightGBM and kumo-engine in one run, and write how they compare.

python scripts/bench_peers.py
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from patron.config import entry
from patron.reporting.tables import write_results
from patron.run import command, commit
from patron.speed.peers import PeersConfig, beside_peers


def main(config: PeersConfig) -> None:
    rows = []
    for row in beside_peers(config):
        rows.append({**asdict(row), "ratio": row.ratio, "command": command(), "commit": commit()})
        print(f"{row.what}: {row.patron_seconds:.3g} s; {row.peer} {row.peer_seconds:.3g} s {row.note}", flush=True)
        written = write_results(pd.DataFrame(rows), name="peers", folder=config.results, readme=None)
    print(*(f"wrote {path}" for path in written), sep="\n")


if __name__ == "__main__":
    entry(main, schema=PeersConfig, configs=Path(__file__).parents[1] / "configs", name="bench_peers")
