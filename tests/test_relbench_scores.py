"""An export for RelBench: labels are patron's, predictions come in its order, and RelBench scores as patron does.

Most of it needs no RelBench. Where RelBench is installed it is asked.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from exports import TASK, VAL, Folder, by_hand, cut, experiment_of, made, made_once, predicted
from settings import SMALL, TEST

from patron.days import Horizon
from patron.evaluation.metrics import FLAG_METRICS, METRICS
from patron.pipeline import Experiment
from patron.serving import relbench as module
from patron.serving.relbench import export, in_order
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import Fold


@pytest.fixture(scope="module", autouse=True)
def _made_once() -> Iterator[None]:
    yield from made_once()


@pytest.fixture(scope="module")
def experiment(shop: Database) -> Experiment:
    return experiment_of(shop)


@pytest.fixture(scope="module")
def written(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(export(experiment, folder=tmp_path_factory.mktemp("relbench") / "shop"))


@pytest.fixture
def relbench() -> ModuleType:
    return pytest.importorskip("relbench", reason="RelBench is not installed: pip install -e '.[relbench]'")


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
