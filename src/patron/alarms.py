"""How often one export of clean data is suspected: made-up shops in which nothing was planted, audited one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass
from tqdm import tqdm

from patron.evaluation.one_export import one_export
from patron.pipeline import quietly
from patron.tables.database import Database
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.world import generate
from patron.task.ltv import TaskConfig, labelled


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AlarmsConfig:
    """Shops by a name, of so many `customers` each, made at seeds 0 to `seeds` - 1, and tasks, which take turns."""

    shops: Annotated[Mapping[str, WorldConfig], Field(min_length=1)]
    tasks: Annotated[Mapping[str, TaskConfig], Field(min_length=1)]
    customers: Annotated[int, Field(gt=0)]
    seeds: Annotated[int, Field(gt=0)]
    results: Path


def alarms(config: AlarmsConfig) -> pd.DataFrame:
    """A row each shop, seed and check: what was looked at, the largest correlation and where it is, what was found."""
    runs = [(name, seed) for name in config.shops for seed in range(config.seeds)]
    with quietly():
        return pd.DataFrame([row for run in tqdm(runs, desc="shops") for row in _audited(config, *run)])


def _audited(config: AlarmsConfig, name: str, seed: int) -> Iterator[dict[str, object]]:
    world = replace(config.shops[name], customers=config.customers, seed=seed)
    db = Database(name, generate(world).tables)
    task = list(config.tasks.values())[seed % len(config.tasks)]
    # The label window closes with the data, the day before the last for whoever closes before midnight.
    cutoff = task.horizon.before(world.calendar.start + timedelta(days=world.calendar.days - 1))
    for check in one_export(db, answer=labelled(db, cutoff=cutoff, config=task)):
        yield {
            "shop": name, "seed": seed, "task": task.title, "cutoff": cutoff, "largest": check.largest,
            "alarms": len(check.findings), "measured": check.measured,
            "found": "; ".join(f"{finding.where}: {finding.what}" for finding in check.findings),
        }  # fmt: skip
