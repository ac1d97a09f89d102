"""Export to RelBench v3: a folder that `relbench.load_dataset(folder)` loads, with one task, and its labels.

`manifest.yaml` (tables, keys, times, cutoffs) · `db/<table>.parquet` · `tasks/<task>/manifest.yaml` and `train`, `val`,
`test.parquet` · `README.md` · `keys/customers.parquet`, which RelBench does not read: whose number is whose id.

The labels are patron's, as they are (RelBench's kind `external`): its own label queries know no months and no cutoffs
closer than a horizon. The test labels and what happened after the test cutoff are in the folder, as in all of RelBench;
`get_db()` and `get_table("test")` do not show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config
from patron.features.columns import settings
from patron.files import whole_folder
from patron.pipeline import Experiment, prepare
from patron.run import commit
from patron.serving.relbench_tables import Relational, relational
from patron.task.ltv import TaskConfig
from patron.task.split import CustomersConfig, Fold, TemporalConfig

KEY, TIME = "customer_id", "cutoff"  # of the task tables

CARD = """\
# {name}

{description}

| table | rows | key | time |
|---|---:|---|---|
{tables}

Task `{task}`: {what}. Rows: {rows}.

```python
import relbench

dataset = relbench.load_dataset("{folder}")
task = dataset.load_task("{task}")
task.get_db()               # what was known at {test}
task.get_table("train").df  # {key}, {time}, {target}
task.evaluate(predictions)  # in the order of task.get_table("test")
```
"""


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ExportConfig(Config):
    """An experiment, and the folder that its data and task are written to; `force` replaces an export there."""

    out: Path


@dataclass(frozen=True)
class Exported:
    """Where an export is, what its task is called, and how many rows its tables have."""

    folder: Path
    task: str
    tables: Mapping[str, int]
    labels: Mapping[str, int]


def write(config: ExportConfig) -> Exported:
    """Read the data and export the experiment to `config.out`. What `export` refuses is refused before that."""
    _require_free(config.out, force=config.force)
    _require_one_after_the_other(config.split)
    return export(prepare(config), folder=config.out, force=config.force)


def export(experiment: Experiment, *, folder: Path, force: bool = False) -> Exported:
    """Write the tables that estimators may see, and the task, to `folder`, complete or not at all.

    Raises ValueError for a protocol that RelBench does not have, and FileExistsError if there is a folder; `force`
    replaces it if it is a RelBench data set.
    """
    config = experiment.config
    _require_free(folder, force=force)
    _require_one_after_the_other(config.split)
    (fold,) = experiment.folds
    data = relational(experiment.db.only(config.tables), chosen=settings(config.features.columns))
    name, labels = _task_name(fold), _labels(experiment, fold=fold, customers=data.numbers["customers"])
    manifest, task = _dataset(experiment, fold=fold, data=data), _task(fold, config=config.task, name=name)
    exported = Exported(
        folder, name, tables={name: table.rows.num_rows for name, table in data.tables.items()},
        labels={split: rows.num_rows for split, rows in labels.items()},
    )  # fmt: skip
    with whole_folder(folder) as partial:
        _write_yaml(partial / "manifest.yaml", manifest)
        _write_tables(partial / "db", {name: table.rows for name, table in data.tables.items()})
        _write_tables(partial / "tasks" / name, labels)
        _write_yaml(partial / "tasks" / name / "manifest.yaml", task)
        _write_tables(partial / "keys", {"customers": data.numbers["customers"].rename_columns(["original_id", KEY])})
        (partial / "README.md").write_text(_card(exported, manifest=manifest, task=task))
    return exported


def in_order(predictions: pd.DataFrame, *, folder: Path | str, task: str) -> pd.DataFrame:
    """The predictions of patron for the test rows of an export, in RelBench's order, with their ids as patron has them.

    Raises ValueError if a test row has no prediction.
    """
    test = pd.read_parquet(Path(folder) / "tasks" / task / "test.parquet", columns=[KEY, TIME])
    ids = test.merge(pd.read_parquet(Path(folder) / "keys" / "customers.parquet"), on=KEY, how="left", validate="m:1")
    wanted = ids.drop(columns=KEY).rename(columns={"original_id": KEY})
    found = wanted.merge(predictions, on=[KEY, TIME], how="left", validate="1:1", indicator=True)
    if (lost := found["_merge"] == "left_only").any():
        first = found.loc[lost, KEY].head(5).tolist()
        raise ValueError(
            f"{int(lost.sum())} test rows of {folder} have no prediction, first of customers {first}; "
            f"predict the test rows of the experiment that was exported"
        )
    return found.drop(columns="_merge")


def _require_one_after_the_other(split: TemporalConfig | CustomersConfig) -> None:
    if isinstance(split, CustomersConfig):
        raise ValueError(
            f"RelBench trains, validates and tests at cutoffs one after the other; split 'customers' holds customers "
            f"out at one, {split.cutoff}. Choose split=temporal split.test=['<date>'] and, if the history before the "
            f"test is too short for it, a shorter task.horizon"
        )
    if split.validation == "customers":
        raise ValueError(
            "RelBench validates at a cutoff of its own between training and test, not on held-out customers; "
            "choose split.validation=cutoff and, if the history is too short for it, a shorter task.horizon"
        )
    if len(split.test) != 1:
        tests = ", ".join(map(str, split.test))
        raise ValueError(f"RelBench has one test cutoff, split.test has {tests}; export each to a folder of its own")


def _require_free(folder: Path, *, force: bool) -> None:
    if folder.exists() and not force:
        raise FileExistsError(f"{folder} is there already; choose another out=..., or force=true to replace it")
    if folder.exists() and not (folder / "manifest.yaml").exists():
        raise FileExistsError(f"{folder} is no RelBench data set, so it is not replaced; choose another out=...")


def _task_name(fold: Fold) -> str:
    return f"customer-{fold.test.target}-{fold.test.horizon}".replace("_", "-")


def _labels(experiment: Experiment, *, fold: Fold, customers: pa.Table) -> dict[str, pa.Table]:
    # RelBench's order of a task table: by time, then by entity.
    frames = {"train": fold.train.frame, "val": fold.val.frame, "test": experiment.truth}
    tables = {}
    for split, frame in frames.items():
        rows = frame[[KEY, TIME, "label"]].merge(customers.to_pandas(), left_on=KEY, right_on="id", validate="m:1")
        assert len(rows) == len(frame), f"{split} rows of customers who are not in table customers"
        kinds = {TIME: "datetime64[ns]", "label": np.int64 if experiment.is_flag else np.float64}
        rows = rows[["number", TIME, "label"]].astype(kinds).sort_values([TIME, "number"])
        rows.columns = pd.Index([KEY, TIME, fold.test.target])
        tables[split] = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    return tables


def _dataset(experiment: Experiment, *, fold: Fold, data: Relational) -> dict[str, Any]:
    tables = {
        name: {"pkey": table.pkey, "time_col": table.time_col, "fkeys": dict(table.fkeys)}
        for name, table in data.tables.items()
    }
    (val,) = fold.val.cutoffs
    return {
        "name": experiment.config.name, "manifest_version": 1,
        "description": f"Customers of '{experiment.db.name}' and what they did; written by patron, commit {commit()}.",
        "val_timestamp": str(val), "test_timestamp": str(fold.cutoff), "tables": tables,
    }  # fmt: skip


def _task(fold: Fold, *, config: TaskConfig, name: str) -> dict[str, Any]:
    (val,), horizon = fold.val.cutoffs, fold.test.horizon
    # RelBench wants one length in days, not longer than from val to test. A leap day may make the test window longer.
    days = min(horizon.days_after(fold.cutoff), (fold.cutoff - val).days)
    return {
        "name": name, "kind": "external",
        "task_type": "binary_classification" if fold.test.is_flag else "regression",
        "description": _described(config), "entity_table": "customers", "entity_col": KEY,
        "target_col": fold.test.target, "time_col": TIME, "timedelta": f"{days} days", "manifest_version": 1,
    }  # fmt: skip


def _described(config: TaskConfig) -> str:
    if config.query is not None:
        return config.query
    before = "before" if config.population is None else f"in the {config.population} before"
    return f"{config.target} in (cutoff, cutoff + {config.horizon}] of customers with an order {before} the cutoff"


def _card(exported: Exported, *, manifest: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    tables = [
        f"| `{name}` | {exported.tables[name]:,} | {spec['pkey'] or ''} | {spec['time_col'] or ''} |"
        for name, spec in manifest["tables"].items()
    ]
    rows = ", ".join(f"{number:,} {split}" for split, number in exported.labels.items())
    return CARD.format(
        name=manifest["name"], description=manifest["description"], tables="\n".join(tables), task=task["name"],
        what=task["description"], rows=rows, folder=exported.folder.name, test=manifest["test_timestamp"], key=KEY,
        time=TIME, target=task["target_col"],
    )  # fmt: skip


def _write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(rows, folder / f"{name}.parquet")


def _write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=4096))
