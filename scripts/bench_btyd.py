"""Fit the BTYD models to all 23,570 customers of CDNOW, by patron and by lifetimes, and write how they compare.

python scripts/bench_btyd.py
"""

from pathlib import Path

import pandas as pd

from patron.evaluation.lifetimes import beside_lifetimes, histories, jobs
from patron.files import whole_file
from patron.run import command, commit

REPEATS = 5


def main(folder: Path) -> None:
    known = histories()
    rows = [beside_lifetimes(job, repeats=REPEATS) for job in jobs(known)]
    results = pd.DataFrame(rows).assign(command=command(), commit=commit())
    print(results.drop(columns=["command", "commit"]).to_string(index=False))
    with whole_file(folder / "bench_btyd.csv") as partial:
        results.to_csv(partial, index=False)
    print(f"wrote {folder / 'bench_btyd.csv'}")


if __name__ == "__main__":
    main(Path(__file__).parents[1] / "results")
