"""What a newcomer brings: two CSV files with column names of their own, and the YAML that maps them.

`SMALL` makes the command line of a run that takes seconds; `SHARED` is the part of it that fits any estimator. `Shell`
runs a script in this process, which has paid for the imports already.
"""

import runpy
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from patron.testing import small_shop

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
SHARED = shlex.split(
    """
    evaluation.n_boot=20 split.max_cutoffs=2 split.step_days=60
    features.windows=[30,90] features.lags=1 features.groups=[rfm,windows,baskets] features.top_categories=2
    trainer.max_steps=4 trainer.steps_per_check=2 trainer.patience=2 trainer.warmup_steps=1 trainer.progress=false
    """
)
SMALL = shlex.split(
    """
    estimator=[lightgbm,gnn] seeds=[0] estimators.gnn.model.channels=4 estimators.gnn.model.num_layers=1
    estimators.lightgbm.max_trees=8 estimators.lightgbm.params.num_threads=1
    estimators.lightgbm.params.min_data_in_leaf=5
    """
)
SMALL += SHARED
EXPERIMENT = """\
# @package _global_
defaults: [{{override /data: files}}, {{override /task: 90d}}]
name: my_shop
split: {{test: ["2021-03-01"]}}
data:
  path: {path}
  tables:
    customers: {{file: people.csv, columns: {{customer_id: Person, registration_date: Since}}}}
    orders:
      file: sales.csv
      columns: {{order_id: Invoice, customer_id: Person, order_date: Day, product_id: Sku, quantity: Qty, price: Each}}
"""


def write_shop(folder: Path, *, customers: int = 80) -> Path:
    """`folder`, now with `people.csv` and `sales.csv` of a shop: orders of 2020-01-01 to 2021-06-28, ids like 0007."""
    folder.mkdir(parents=True, exist_ok=True)
    shop = small_shop(customers=customers)
    people = shop["customers"].to_pandas()[["customer_id", "registration_date"]].set_axis(["Person", "Since"], axis=1)
    _zeros(people).to_csv(folder / "people.csv", index=False)
    lines = shop["order_items"].to_pandas().merge(shop["orders"].to_pandas(), on="order_id")
    lines = lines.assign(order_id="#" + lines["order_id"].astype(str), order_date=lines["order_date"].dt.floor("s"))
    columns = ["order_id", "customer_id", "order_date", "product_id", "quantity", "price"]
    sales = lines[columns].set_axis(["Invoice", "Person", "Day", "Sku", "Qty", "Each"], axis=1)
    _zeros(sales).to_csv(folder / "sales.csv", index=False)
    return folder


def read_csv(path: Path) -> pd.DataFrame:
    """A table with customers' ids as they are written: 0007."""
    return pd.read_csv(
        path, dtype={"Person": str, "customer_id": str}, parse_dates=["cutoff"] if "scores" in path.name else []
    )


def _zeros(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(Person=[f"{person:04d}" for person in table["Person"]])


def write_experiment(folder: Path, *, data: Path, text: str = EXPERIMENT) -> Path:
    """`folder`, fit for `--config-dir`, with `experiment/my_shop.yaml` for the shop in `data`."""
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "experiment" / "my_shop.yaml").write_text(text.format(path=data))
    return folder


def composed(name: str, *overrides: str, config_dir: Path | None = None) -> DictConfig:
    """`configs/NAME.yaml` with `overrides`; experiments are looked for in `config_dir` too."""
    more = [f"hydra.searchpath=[file://{config_dir}]"] if config_dir else []
    with initialize_config_dir(str(CONFIGS), version_base=None):
        return compose(name, overrides=[*more, *overrides])


@dataclass(frozen=True)
class Said:
    """How a script ended, and what it said."""

    code: int
    out: str
    err: str

    def refused(self, *parts: str) -> None:
        """Assert that it ended as on a user's mistake: not with 0, without a traceback, naming all `parts`."""
        assert self.code != 0, self.out
        assert "Traceback" not in self.err
        assert "error: " in self.err
        for part in parts:
            assert part in self.err, f"{part!r} is not in:\n{self.err}"


class Shell:
    """Runs the scripts of the repository in this process, in the folder `here`."""

    def __init__(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self.monkeypatch = here, monkeypatch

    def __call__(self, script: str, *arguments: str | Path, full_error: bool = False) -> Said:
        """`python scripts/SCRIPT.py ARGUMENTS`; with `full_error`, HYDRA_FULL_ERROR=1 before it."""
        path = ROOT / "scripts" / f"{script}.py"
        self.monkeypatch.chdir(self.here)
        self.monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        self.monkeypatch.setenv("HYDRA_FULL_ERROR", "1" if full_error else "")
        self.monkeypatch.setenv("COLUMNS", "200")
        out, err, code = StringIO(), StringIO(), 0
        try:
            with redirect_stdout(out), redirect_stderr(err):
                runpy.run_path(str(path), run_name="__main__")
        except SystemExit as left:
            code = int(left.code or 0)
        return Said(code, out.getvalue(), err.getvalue())
