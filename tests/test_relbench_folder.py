"""An export for RelBench: what is in the folder, that it is there whole or not at all, and what the script says."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from exports import NO_SETTINGS, TASK, VAL, Folder, experiment_of, made_once
from newcomer import Shell, composed
from settings import HELD_OUT, SMALL, TEST

from patron.config import load
from patron.pipeline import Experiment
from patron.serving import relbench as module
from patron.serving.relbench import ExportConfig, export
from patron.serving.relbench_tables import relational
from patron.tables.database import Database


@pytest.fixture(scope="module", autouse=True)
def _made_once() -> Iterator[None]:
    yield from made_once()


@pytest.fixture(scope="module")
def experiment(shop: Database) -> Experiment:
    return experiment_of(shop)


@pytest.fixture(scope="module")
def written(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(export(experiment, folder=tmp_path_factory.mktemp("relbench") / "shop"))


# What is in the folder


def test_the_manifest_says_keys_times_and_cutoffs(written: Folder) -> None:
    manifest = written.manifest()
    assert (manifest["name"], manifest["manifest_version"]) == ("shop", 1)
    assert (manifest["val_timestamp"], manifest["test_timestamp"]) == (str(VAL), str(TEST))
    tables = {name: (spec["pkey"], spec["time_col"], spec["fkeys"]) for name, spec in manifest["tables"].items()}
    owner, order, product = {"customer_id": "customers"}, {"order_id": "orders"}, {"product_id": "products"}
    assert tables == {
        "customers": ("customer_id", "known_since", {}),
        "orders": ("order_id", "order_date", owner),
        "order_items": (None, "order_date", {**order, **product}),
        "products": ("product_id", None, {"category_id": "categories"}),
        "categories": ("category_id", None, {}),
        "order_events": (None, "event_date", order),
        "interactions": ("interaction_id", "interaction_date", owner),
        "returns": ("return_id", "return_date", {**order, **product, **owner}),
        "loyalty": ("loyalty_id", "loyalty_date", owner),
        "campaigns": (None, "campaign_date", owner),
        "external": (None, "date", {}),
    }


def test_the_task_says_what_is_predicted(written: Folder) -> None:
    assert written.task() == {
        "name": TASK, "kind": "external", "task_type": "regression",
        "description": "net in (cutoff, cutoff + 90d] of customers with an order before the cutoff",
        "entity_table": "customers", "entity_col": "customer_id", "target_col": "net", "time_col": "cutoff",
        "timedelta": "90 days", "manifest_version": 1,
    }  # fmt: skip


def test_the_folder_holds_what_it_says(written: Folder) -> None:
    folder, manifest = written.exported.folder, written.manifest()
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    splits = {f"tasks/{TASK}/{name}" for name in ("manifest.yaml", "train.parquet", "val.parquet", "test.parquet")}
    tables = {f"db/{name}.parquet" for name in manifest["tables"]}
    assert files == {"manifest.yaml", "README.md", "keys/customers.parquet", *splits, *tables}
    assert not list(folder.parent.glob("*.partial"))
    assert written.exported.tables == {name: len(written.table(name)) for name in manifest["tables"]}
    assert written.exported.labels == {split: len(written.labels(split)) for split in ("train", "val", "test")}
    card = (folder / "README.md").read_text()
    for part in (
        "# shop",
        f'load_task("{TASK}")',
        'load_dataset("shop")',
        "| `order_items` |",
        "what was known at 2021",
    ):
        assert part in card


def test_keys_are_numbers_from_0_and_lead_to_rows(written: Folder) -> None:
    manifest = written.manifest()["tables"]
    for name, spec in manifest.items():
        frame = written.table(name)
        if spec["pkey"]:
            np.testing.assert_array_equal(frame[spec["pkey"]], np.arange(len(frame)))
        for column, other in spec["fkeys"].items():
            assert frame[column].between(0, written.exported.tables[other] - 1).all(), (name, column)


def test_times_are_in_order_and_in_nanoseconds(written: Folder) -> None:
    """RelBench's loader divides whatever unit it finds by a thousand million to get seconds."""
    for name, spec in written.manifest()["tables"].items():
        if spec["time_col"]:
            time = written.table(name)[spec["time_col"]]
            assert time.dtype == "datetime64[ns]", name
            assert time.is_monotonic_increasing, name
    assert written.labels("train")["cutoff"].dtype == "datetime64[ns]"


def test_personal_fields_other_dates_and_foreign_ids_stay_at_home(shop: Database) -> None:
    orders = shop["orders"]
    paid = pa.array(np.array(orders["order_date"]) + np.timedelta64(30, "D"))
    card = pa.array([f"x{k}" for k in range(orders.num_rows)])
    orders = orders.append_column("paid_on", paid).append_column("receipt_id", card)
    data = relational(Database("more", {**shop.tables, "orders": orders}), chosen=NO_SETTINGS)
    assert data.tables["orders"].rows.column_names == ["order_id", "order_date", "customer_id"]
    assert set(data.tables["customers"].rows.column_names) == {
        "customer_id", "known_since", "geo", "age_band", "household_size",
    }  # fmt: skip
    assert "campaign_id" in data.tables["campaigns"].rows.column_names  # an id of no table: a column like others


def test_only_tables_that_estimators_may_see_are_there(experiment: Experiment, tmp_path: Path) -> None:
    narrow = replace(experiment, config=replace(experiment.config, tables=("order_items",)))
    found = Folder(export(narrow, folder=tmp_path / "narrow"))
    assert list(found.manifest()["tables"]) == ["customers", "orders", "order_items"]
    assert found.manifest()["tables"]["order_items"]["fkeys"] == {"order_id": "orders"}
    items = found.table("order_items")
    products = experiment.db["order_items"]["product_id"].to_pylist()
    assert set(items["product_id"]) == {str(product) for product in products}  # of no table: a text like others


# Complete or not at all


def test_a_folder_is_not_written_over_unless_forced(experiment: Experiment, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "shop"
    export(experiment, folder=out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"shop is there already; choose another out=\.\.\., or force=true"):
        export(experiment, folder=out)
    assert (out / "notes.txt").exists()
    export(experiment, folder=out, force=True)
    assert not (out / "notes.txt").exists()
    assert [path.name for path in out.parent.iterdir()] == ["shop"]


def test_force_replaces_nothing_that_is_no_data_set(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is no RelBench data set"):
        export(experiment, folder=tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failure_leaves_what_was_there(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(experiment, folder=tmp_path / "shop")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "_card", full)  # the last that is written
    for folder in ("shop", "new"):
        with pytest.raises(OSError, match="no space left"):
            export(experiment, folder=tmp_path / folder, force=True)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_protocols_that_relbench_has_not_are_refused(experiment: Experiment, tmp_path: Path) -> None:
    split = SMALL.split
    wrong: Mapping[str, Experiment] = {
        r"holds customers out at one, 2021-03-01\. Choose split=temporal": with_split(experiment, HELD_OUT),
        "split.validation=cutoff": with_split(experiment, replace(split, validation="customers")),
        f"split.test has {VAL}, {TEST}; export each": with_split(experiment, replace(split, test=(VAL, TEST))),
    }
    for message, one in wrong.items():
        with pytest.raises(ValueError, match=message):
            export(one, folder=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def with_split(experiment: Experiment, split: Any) -> Experiment:
    return replace(experiment, config=replace(experiment.config, split=split))


# The script


TINY = ["data=tiny", "task=90d", "task.population=null", "split.test=['2021-06-01']", "split.min_history_days=90"]


def test_the_config_loads_and_has_a_folder_for_each_experiment() -> None:
    config = load(composed("export_relbench", "experiment=seed_regime"), schema=ExportConfig)
    assert config.out == Path("relbench/seed_regime")


def test_the_script_says_what_it_wrote_and_how_to_load_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, monkeypatch)
    said = shell("export_relbench", *TINY, "out=there/tiny")
    assert said.code == 0, said.err
    manifest = yaml.safe_load((tmp_path / "there" / "tiny" / "manifest.yaml").read_text())
    assert manifest["test_timestamp"] == "2021-06-01"
    rows = len(pd.read_parquet(tmp_path / "there" / "tiny" / "db" / "orders.parquet"))
    for part in (f"{rows:,}  orders", "wrote there/tiny, ", 'relbench.load_dataset("there/tiny").load_task("customer-'):
        assert part in said.out
    shell("export_relbench", *TINY, "out=there/tiny").refused("there/tiny is there already", "force=true")
    shell("export_relbench", *TINY, "outt=x").refused("outt: no such key; did you mean 'out'?")
