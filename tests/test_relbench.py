"""An export for RelBench: what is in the folder, that its cut is patron's, and that RelBench loads and scores it alike.

Most of it needs no RelBench: its cut is a line, and it is written out here. Where RelBench is installed it is asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from newcomer import Shell, composed
from settings import HELD_OUT, SMALL, TEST

from patron.config import load
from patron.days import Horizon, midnight
from patron.evaluation.metrics import FLAG_METRICS, METRICS
from patron.features.columns import Settings
from patron.pipeline import Experiment
from patron.serving import relbench as module
from patron.serving.relbench import ExportConfig, Exported, export, in_order
from patron.serving.relbench_tables import Relational, relational
from patron.tables.database import Database
from patron.tables.schema import TABLES
from patron.task.ltv import TaskTable
from patron.task.split import Fold, folds, truth
from patron.testing import scrambled_after

TASK = "customer-net-90d"
VAL = date(2021, 1, 1)  # 90 days before the test
NO_SETTINGS: Settings = ()


def experiment_of(db: Database, **task: Any) -> Experiment:
    config = replace(SMALL, task=replace(SMALL.task, **task))
    parts = folds(db, task=config.task, split=config.split)
    answers = [truth(db, fold=fold, task=config.task).frame.assign(fold=fold.name) for fold in parts]
    return Experiment(config, db, tuple(parts), pd.concat(answers, ignore_index=True), None)


@dataclass(frozen=True)
class Folder:
    """An export, read back."""

    exported: Exported

    def manifest(self) -> dict[str, Any]:
        return yaml.safe_load((self.exported.folder / "manifest.yaml").read_text())

    def task(self) -> dict[str, Any]:
        return yaml.safe_load((self.exported.folder / "tasks" / self.exported.task / "manifest.yaml").read_text())

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.exported.folder / "db" / f"{name}.parquet")

    def labels(self, split: str) -> pd.DataFrame:
        return pd.read_parquet(self.exported.folder / "tasks" / self.exported.task / f"{split}.parquet")


@pytest.fixture(scope="module", autouse=True)
def _made_once() -> Iterator[None]:
    """The tables of one database are made once, however often it is exported here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "relational", made)
        yield


@cache
def made(db: Database, *, chosen: Settings = NO_SETTINGS) -> Relational:
    return relational(db, chosen=chosen)


@pytest.fixture(scope="module")
def experiment(shop: Database) -> Experiment:
    return experiment_of(shop)


@pytest.fixture(scope="module")
def written(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(export(experiment, folder=tmp_path_factory.mktemp("relbench") / "shop"))


@pytest.fixture
def relbench() -> ModuleType:
    return pytest.importorskip("relbench", reason="RelBench is not installed: pip install -e '.[relbench]'")


def cut(data: Relational, cutoff: date) -> dict[str, pd.DataFrame]:
    """What RelBench shows at `cutoff`: each table cut by its own time, and keys of rows that are not there missing."""
    known = {}
    for name, table in data.tables.items():
        frame = table.rows.to_pandas()
        known[name] = frame if table.time_col is None else frame[frame[table.time_col] <= midnight(cutoff)]
    for name, table in data.tables.items():
        gone = {column: known[name][column] >= len(known[other]) for column, other in table.fkeys.items()}
        known[name] = known[name].assign(**{column: known[name][column].mask(rows) for column, rows in gone.items()})
    return known


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


# The cut


CUSTOMERS = {
    "customer_id": ["never", "late", "early", "undated", "future", "soon"],
    "registration_date": [None, "2021-05-01", "2020-01-01", None, "2021-07-01", "2021-03-01"],
}
ORDERS = {
    "order_id": ["o1", "o2", "o3", "o4"], "customer_id": ["early", "late", "undated", "future"],
    "order_date": ["2020-02-01 10:00", "2021-02-01 10:00", "2021-06-01 10:00", "2021-08-01 10:00"],
}  # fmt: skip


@cache
def by_hand() -> Database:
    """Customers who registered before and after their first order, never, or without ordering; an event before its
    order."""
    frames = {
        "customers": pd.DataFrame(CUSTOMERS).astype({"registration_date": "datetime64[us]"}),
        "orders": pd.DataFrame(ORDERS).astype({"order_date": "datetime64[us]"}),
        "order_items": pd.DataFrame({"order_id": ["o4", "o1", "o3", "o2", "o1"], "amount": [4.0, 1.0, 3.0, 2.0, 1.5]}),
        "order_events": pd.DataFrame({"order_id": ["o3"], "event_type": ["reserved"], "event_date": ["2021-04-01"]}),
    }
    frames["order_events"] = frames["order_events"].astype({"event_date": "datetime64[us]"})
    return Database("by hand", {name: pa.Table.from_pandas(f, preserve_index=False) for name, f in frames.items()})


def test_customers_are_known_from_registration_or_first_order() -> None:
    data = made(by_hand())
    known = data.tables["customers"].rows.to_pandas()["known_since"].astype(str).tolist()
    ids = data.numbers["customers"].to_pandas()
    assert ids["number"].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(zip(ids["id"], known, strict=True)) == [
        ("early", "2020-01-01 00:00:00"),
        ("never", "2020-02-01 10:00:00"),  # no registration: from the first order of the shop
        ("undated", "2020-02-01 10:00:00"),
        ("late", "2021-02-01 10:00:00"),  # ordered before it registered
        ("soon", "2021-03-01 00:00:00"),
        ("future", "2021-07-01 00:00:00"),
    ]


def test_items_have_the_date_of_their_order() -> None:
    items = made(by_hand()).tables["order_items"].rows.to_pandas()
    assert items["amount"].tolist() == [1.0, 1.5, 2.0, 3.0, 4.0]
    assert items["order_id"].tolist() == [0, 0, 1, 2, 3]
    assert items["order_date"].astype(str).tolist() == [
        "2020-02-01 10:00:00", "2020-02-01 10:00:00", "2021-02-01 10:00:00", "2021-06-01 10:00:00",
        "2021-08-01 10:00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("cutoff", [date(2020, 3, 1), date(2021, 3, 1), date(2021, 5, 1), date(2021, 9, 1)])
def test_by_hand_the_cut_knows_whom_patron_knows(cutoff: date) -> None:
    db = by_hand()
    data, past = made(db), db.upto(cutoff)
    known = {name: table.num_rows for name, table in past.tables.items() if name in data.tables}
    here = cut(data, cutoff)
    assert {name: len(frame) for name, frame in here.items()} == known
    ids = data.numbers["customers"].to_pandas()["id"].head(len(here["customers"]))
    assert set(ids) == set(past["customers"]["customer_id"].to_pylist())
    if cutoff == date(2021, 5, 1):
        assert here["order_events"]["order_id"].isna().tolist() == [True]  # the order is not known yet


@pytest.mark.parametrize("cutoff", [date(2020, 6, 15), VAL, TEST])
def test_the_cut_is_what_patron_knows(shop: Database, cutoff: date) -> None:
    data, past = made(shop), shop.upto(cutoff)
    here = cut(data, cutoff)
    assert {name: len(frame) for name, frame in here.items()} == {name: t.num_rows for name, t in past.tables.items()}
    for name, numbers in data.numbers.items():
        first = numbers.to_pandas()["id"].head(len(here[name]))
        assert set(first) == set(past[name][str(TABLES[name].key)].to_pylist()), name
    for name, column in {"order_items": "amount", "campaigns": "campaign_response", "external": "value"}.items():
        np.testing.assert_array_equal(np.sort(here[name][column]), np.sort(past[name][column].to_numpy()))
    assert all(len(here[name]) < data.tables[name].rows.num_rows for name in here if data.tables[name].time_col)


def test_another_future_leaves_the_cut_as_it_is(shop: Database) -> None:
    before = cut(made(shop), TEST)
    after = cut(relational(scrambled_after(shop, cutoff=TEST), chosen=NO_SETTINGS), TEST)
    assert before.keys() == after.keys()
    for name in before:
        pd.testing.assert_frame_equal(before[name], after[name], check_exact=True)


# Labels


def test_labels_are_those_of_patron(experiment: Experiment, written: Folder) -> None:
    (fold,) = experiment.folds
    ids = pd.read_parquet(written.exported.folder / "keys" / "customers.parquet")
    frames = {"train": fold.train.frame, "val": fold.val.frame, "test": experiment.truth}
    for split, frame in frames.items():
        found = written.labels(split)
        assert list(found.columns) == ["customer_id", "cutoff", "net"]
        pd.testing.assert_frame_equal(found, found.sort_values(["cutoff", "customer_id"], ignore_index=True))
        back = (
            found.merge(ids, on="customer_id")
            .drop(columns="customer_id")
            .rename(columns={"original_id": "customer_id"})
        )
        both = frame.merge(back, on=["customer_id", "cutoff"], validate="1:1")
        assert len(both) == len(frame) == len(found)
        np.testing.assert_array_equal(both["label"], both["net"])
    assert set(written.labels("val")["cutoff"]) == {pd.Timestamp(VAL)}
    assert set(written.labels("test")["cutoff"]) == {pd.Timestamp(TEST)}
    assert written.labels("train")["cutoff"].max() + pd.Timedelta(days=90) <= pd.Timestamp(VAL)


def test_who_is_tested_is_known_at_the_test(shop: Database, written: Folder) -> None:
    assert written.labels("test")["customer_id"].max() < shop.upto(TEST)["customers"].num_rows


def test_a_flag_is_a_classification(shop: Database, tmp_path: Path) -> None:
    found = Folder(export(experiment_of(shop, target="churn"), folder=tmp_path / "churn"))
    assert (found.exported.task, found.task()["task_type"]) == ("customer-churn-90d", "binary_classification")
    labels = found.labels("test")["churn"]
    assert labels.dtype == np.int64
    assert set(labels) == {0, 1}


@pytest.mark.parametrize(("test", "days"), [(date(2023, 1, 1), 365), (date(2024, 1, 1), 365), (date(2025, 1, 1), 365)])
def test_a_leap_day_does_not_make_the_window_longer_than_from_val_to_test(test: date, days: int) -> None:
    """RelBench refuses that. A year from 2024-01-01 has 366 days, a year up to it 365; for 2025-01-01 it is the other
    way round."""
    horizon = Horizon.parse("12m")
    at = {cutoff: pd.DataFrame({"customer_id": [1], "cutoff": [pd.Timestamp(cutoff)]}) for cutoff in
          (horizon.before(test), test)}  # fmt: skip
    val, tested = (TaskTable(frame, horizon) for frame in at.values())
    fold = Fold(str(test), test, train=val, val=val, refit=val, test=tested)
    assert module._task(fold, config=SMALL.task, name="x")["timedelta"] == f"{days} days"


# Patron's predictions in RelBench's order


def predicted(experiment: Experiment) -> pd.DataFrame:
    """Something for every test row, in an order of its own; no two alike."""
    rng = np.random.default_rng(3)
    rows = experiment.truth[["customer_id", "cutoff"]].sample(frac=1, random_state=1, ignore_index=True)
    return rows.assign(ltv_median=rng.gamma(1, 50, len(rows)), ltv_mean=rng.gamma(1, 60, len(rows)),
                       rank_score=rng.random(len(rows)))  # fmt: skip


def test_predictions_are_put_in_order(experiment: Experiment, written: Folder) -> None:
    predictions = predicted(experiment)
    ordered = in_order(predictions, folder=written.exported.folder, task=TASK)
    ids = pd.read_parquet(written.exported.folder / "keys" / "customers.parquet").set_index("customer_id")[
        "original_id"
    ]
    assert ordered["customer_id"].tolist() == ids.loc[written.labels("test")["customer_id"]].tolist()
    both = ordered.merge(predictions, on="customer_id", validate="1:1")
    np.testing.assert_array_equal(both["ltv_mean_x"], both["ltv_mean_y"])


def test_a_test_row_without_prediction_is_named(experiment: Experiment, written: Folder) -> None:
    predictions = predicted(experiment)
    gone = predictions["customer_id"].iloc[0]
    with pytest.raises(ValueError, match=rf"1 test rows of .* have no prediction, first of customers \[{gone}\]"):
        in_order(predictions.iloc[1:], folder=written.exported.folder, task=TASK)


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


# RelBench itself


def test_relbench_loads_it_and_cuts_it_as_patron_does(relbench: ModuleType, shop: Database, written: Folder) -> None:
    from relbench.manifest import validate_dataset_manifest

    dataset = relbench.load_dataset(written.exported.folder)
    validate_dataset_manifest(dataset.manifest, dataset.db_dir)
    task = dataset.load_task(TASK)
    assert dataset.get_task_names() == [TASK]
    assert (dataset.val_timestamp, dataset.test_timestamp) == (datetime(2021, 1, 1), datetime(2021, 4, 1))
    past, expected = task.get_db().table_dict, cut(made(shop), TEST)
    assert {name: len(table) for name, table in past.items()} == {
        n: t.num_rows for n, t in shop.upto(TEST).tables.items()
    }
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(
            past[name].df.reset_index(drop=True), frame.reset_index(drop=True), check_dtype=False
        )
    for table in past.values():
        assert table.time_col is None or table.max_timestamp <= dataset.test_timestamp
    assert list(task.get_table("test").df.columns) == ["cutoff", "customer_id"]  # no label


def test_relbench_takes_what_is_not_known_yet_as_missing(relbench: ModuleType, tmp_path: Path) -> None:
    """An event before its order: at the cutoff between them RelBench has the event, of no order."""
    db = by_hand()
    rows = TaskTable(pd.DataFrame({"customer_id": ["early"], "cutoff": [pd.Timestamp(2020, 6, 1)], "label": 1.0}),
                     Horizon.parse("90d"))  # fmt: skip
    fold = Fold("x", date(2021, 5, 1), train=rows, val=rows, refit=rows, test=rows)
    experiment = Experiment(SMALL, db, (fold,), rows.frame, None)
    past = relbench.load_dataset(export(experiment, folder=tmp_path / "x").folder).get_db().table_dict
    assert past["order_events"].df["order_id"].isna().tolist() == [True]
    assert len(past["customers"]) == 5  # all but who registers in July


def test_relbench_scores_money_as_patron_does(relbench: ModuleType, experiment: Experiment, written: Folder) -> None:
    """Its `nmae` is the MAE over the standard deviation (n - 1) of the labels of `train`."""
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    task, predictions = relbench.load_dataset(written.exported.folder).load_task(TASK), predicted(experiment)
    ordered = in_order(predictions, folder=written.exported.folder, task=TASK)
    ours = experiment.truth.merge(predictions, on="customer_id", validate="1:1")
    mae = METRICS["mae"](ours["label"], ours["ltv_median"])
    deviation = experiment.folds[0].train.label.std(ddof=1)
    assert task.evaluate(ordered["ltv_median"].to_numpy()) == {"nmae": pytest.approx(mae / deviation, abs=1e-9)}
    theirs = task.evaluate(ordered["ltv_median"].to_numpy(), metrics=[mean_absolute_error])
    assert theirs == {"mean_absolute_error": pytest.approx(mae, abs=1e-9)}
    theirs = task.evaluate(ordered["ltv_mean"].to_numpy(), metrics=[root_mean_squared_error])
    rmse = METRICS["rmse"](ours["label"], ours["ltv_mean"])
    assert theirs == {"root_mean_squared_error": pytest.approx(rmse, abs=1e-9)}


def test_relbench_scores_a_flag_as_patron_does(relbench: ModuleType, shop: Database, tmp_path: Path) -> None:
    experiment = experiment_of(shop, target="churn")
    there, predictions = export(experiment, folder=tmp_path / "churn"), predicted(experiment)
    ordered = in_order(predictions, folder=there.folder, task=there.task)
    task = relbench.load_dataset(there.folder).load_task(there.task)
    ours = experiment.truth.merge(predictions, on="customer_id", validate="1:1")
    auc = FLAG_METRICS["roc_auc"](ours["label"], ours["rank_score"])
    assert task.evaluate(ordered["rank_score"].to_numpy()) == {"roc_auc": pytest.approx(auc, abs=1e-9)}
