"""What TensorBoard shows of a run is there and agrees with the run's own files: curves, figure, hparams, projector."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from newcomer import SMALL, composed, write_experiment, write_shop
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from patron.config import Config, load
from patron.pipeline import prepare, run_one
from patron.reporting.tensorboard import MAX_EMBEDDED, log_embeddings

SEGMENTS = {"one order", "new", "dormant", "heavy", "regular"}


@dataclass(frozen=True)
class Run:
    """A GNN's run folder, what it predicted, and what came."""

    folder: Path
    config: Config
    predictions: pd.DataFrame
    truth: pd.DataFrame

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of `report.json` that are numbers."""
        metrics = json.loads((self.folder / "report.json").read_text())["metrics"]
        return {name: value for name, value in metrics.items() if value is not None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    here = tmp_path_factory.mktemp("tensorboard")
    my = write_experiment(here / "my", data=write_shop(here / "shop"))
    config = load(composed("config", "experiment=my_shop", f"runs={here}", *SMALL, config_dir=my), schema=Config)
    experiment = prepare(config)
    predictions = run_one(experiment, name="gnn", seed=0)
    return Run(here / "my_shop" / "gnn-seed0", config, predictions, experiment.truth)


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def metadata(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "final" / "00000" / "customers" / "metadata.tsv", sep="\t", dtype={"customer": str})


def test_curves_of_training(run: Run) -> None:
    tuning = events(run.folder / "tune")
    steps, checks = run.config.trainer.max_steps, run.config.trainer.max_steps // run.config.trainer.steps_per_check
    for name, number in {
        "train_loss": steps,
        "learning_rate": steps,
        "gradient_norm": steps,
        "val_loss": checks,
    }.items():
        values = [scalar.value for scalar in tuning.Scalars(name)]
        assert len(values) == number, name
        assert np.isfinite(values).all()
    assert {"val_spearman", "val_nmae"} <= set(tuning.Tags()["scalars"])
    assert "train_loss" in events(run.folder / "refit").Tags()["scalars"]


def test_decile_figure(run: Run) -> None:
    final = events(run.folder / "final")
    (tag,) = final.Tags()["images"]
    assert "decile" in tag
    (image,) = final.Images(tag)
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert min(image.width, image.height) >= 200


def test_hparams_with_final_metrics(run: Run) -> None:
    final = events(run.folder / "final")
    summaries = final.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(summaries["_hparams_/session_start_info"]).session_start_info
    given = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert given["estimators.gnn.model.channels"] == 4
    assert given["trainer.learning_rate"] == run.config.trainer.learning_rate
    assert (given["task.horizon"], given["task.target"]) == ("90d", "net")
    shown = {
        info.name.tag
        for info in HParamsPluginData.FromString(summaries["_hparams_/experiment"]).experiment.metric_infos
    }
    assert shown == {f"final/{name}" for name in run.metrics}
    for name, value in run.metrics.items():
        (scalar,) = final.Scalars(f"final/{name}")
        assert scalar.value == pytest.approx(value, rel=1e-5)


def test_projector_has_every_customer_with_value_and_segment(run: Run) -> None:
    table = metadata(run.folder)
    assert list(table.columns) == ["customer", "actual spend", "predicted spend", "segment"]
    expected = run.truth[["customer_id", "label"]].merge(run.predictions, on="customer_id", validate="1:1")
    assert list(table["customer"]) == list(expected["customer_id"])
    np.testing.assert_allclose(table["actual spend"], expected["label"], atol=0.0051)
    np.testing.assert_allclose(table["predicted spend"], expected["ltv_mean"], atol=0.0051)
    assert table["predicted spend"].nunique() > 10
    assert set(table["segment"]) <= SEGMENTS
    assert table["segment"].nunique() > 1


def test_projector_segments_are_the_slices(run: Run) -> None:
    table = metadata(run.folder).set_index("customer")["segment"]
    truth = run.truth.set_index("customer_id")
    for segment in set(table) - {"regular"}:
        assert truth.loc[table.index[table == segment], f"slice_{segment.replace(' ', '_')}"].all(), segment
    slices = [column for column in truth if str(column).startswith("slice_")]
    assert not truth.loc[table.index[table == "regular"], slices].any(axis=None)


def test_projector_has_one_embedding_a_customer(run: Run) -> None:
    vectors = np.loadtxt(run.folder / "final" / "00000" / "customers" / "tensors.tsv", delimiter="\t")
    assert vectors.shape == (len(run.truth), 4)  # channels
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) > 10
    listing = (run.folder / "final" / "projector_config.pbtxt").read_text()
    for part in ("customers", "tensors.tsv", "metadata.tsv"):
        assert part in listing


def test_of_many_customers_every_kth_is_embedded(tmp_path: Path) -> None:
    n = 2 * MAX_EMBEDDED + 1
    rows = pd.DataFrame({"customer_id": np.arange(n), "label": np.arange(n) / 2, "slice_new": np.arange(n) % 2 == 0})
    log_embeddings(tmp_path, embeddings=np.arange(2 * n).reshape(n, 2), rows=rows, predicted=np.arange(n) * 1.0)
    table = metadata(tmp_path).astype({"customer": int})
    vectors = np.loadtxt(tmp_path / "final" / "00000" / "customers" / "tensors.tsv", delimiter="\t")
    assert len(table) == len(vectors) <= MAX_EMBEDDED
    assert table["customer"].diff().dropna().unique().tolist() == [3]
    np.testing.assert_array_equal(vectors[:, 0], 2 * table["customer"])  # rows keep to their customers
    np.testing.assert_array_equal(table["segment"] == "new", table["customer"] % 2 == 0)
