"""A run is a folder, the same for every estimator:

`config.yaml` (resolved) · `report.json` (versions, commit, seed, metrics, timings, peak memory) ·
`predictions.parquet` · `estimator.joblib`, `checkpoint.ckpt` · TensorBoard events · `DONE`, written last. A folder with
`DONE` is left alone unless `force=true`.
"""

import json
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from patron.files import lock, whole_file, write_text

_PACKAGES = ("torch", "torch-geometric", "pytorch-lightning", "lightgbm", "duckdb", "numpy", "pandas", "patron")

FORMAT = 2  # of what a run holds; 1, of patron 0.1.0, had other predictions and models


@dataclass(frozen=True)
class RunFolder:
    """One estimator at one seed."""

    path: Path

    @property
    def is_done(self) -> bool:
        """Whether everything of the run has been written."""
        return (self.path / "DONE").exists()

    def lock(self) -> AbstractContextManager[None]:
        """Only this process writes the run. Raises InUse if another one does."""
        return lock(self.path, fix="wait until it is done, stop it, or choose another name=...")

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder, without `DONE` until `finish` nor the curves of an earlier fit, and write `config.yaml`."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "DONE").unlink(missing_ok=True)
        for earlier in self.path.rglob("events.out.tfevents*"):  # TensorBoard would draw both
            earlier.unlink()
        write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def finish(self, *, predictions: pd.DataFrame, report: Mapping[str, Any]) -> None:
        """Write predictions and report, then `DONE`."""
        with whole_file(self.path / "predictions.parquet") as partial:
            predictions.to_parquet(partial, index=False)
        whole = {"format": FORMAT, **provenance(), **report}
        write_text(self.path / "report.json", json.dumps(whole, indent=1, default=str))
        write_text(self.path / "DONE", "")

    def config(self) -> dict[str, Any]:
        """What `begin` was given. Raises ValueError if this is no run."""
        file = self.path / "config.yaml"
        if not file.exists():
            raise ValueError(f"{self.path} is not a run: it has no config.yaml; scripts/train.py makes runs")
        return yaml.safe_load(file.read_text())

    def require_format(self) -> None:
        """Raises ValueError for a finished run whose model and predictions this patron does not read."""
        report = json.loads((self.path / "report.json").read_text())
        found = report.get("format", 1)
        if found != FORMAT:
            raise ValueError(
                f"{self.path} was made by patron {report['versions']['patron']} (format {found}), whose models and "
                f"predictions this version (format {FORMAT}) does not read; train it again with force=true, or use "
                f"that version"
            )

    def predictions(self) -> pd.DataFrame:
        """The predictions of a finished run."""
        return pd.read_parquet(self.path / "predictions.parquet")


def provenance() -> dict[str, Any]:
    """Where a number comes from: command, commit, versions, machine, and the peak memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    source = {"command": command(), "commit": commit(), "versions": versions}
    return {**source, "platform": platform.platform(), "peak_memory_mb": round(peak)}


def command() -> str:
    """The command line of this process, as one would type it at the top of the repository."""
    script = Path(sys.argv[0])
    name = f"{script.parent.name}/{script.name}" if script.parent.name == "scripts" else script.name
    arguments = [argument.removeprefix("++") for argument in sys.argv[1:]]
    return shlex.join(["python", name, *arguments])


def commit() -> str:
    """The short hash of the source that runs, with `+` if it has uncommitted changes; `unknown` outside a checkout."""
    try:
        here = Path(__file__).parent
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)  # else it is the checkout that a .venv lies in
        head = _git(here, "rev-parse", "--short", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", "..", "../../configs")
        return head + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
