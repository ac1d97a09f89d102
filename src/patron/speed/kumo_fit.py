"""Fit kumo-engine to given rows and predict others, as it suggests itself; run by a Python that has it, and not by
patron's own:

    python kumo_fit.py <folder> <out.parquet> <days> [quick]

The folder holds customers, orders, order_items and products, `labelled` (ENTITY1, TIMESTAMP, TARGET1: what the customer
spends in so many days, SPLIT: 0 train, 1 validation) and `to_predict` (ENTITY1, TIMESTAMP), each a Parquet file. The
last line of the output is JSON: the seconds of each step. `quick`: one trial of one epoch.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

# table: its key and its time
TABLES = {
    "customers": ("customer_id", "signup_date"),
    "orders": ("order_id", "order_date"),
    "order_items": ("item_id", "order_date"),
    "products": ("product_id", None),
}
EDGES = (
    ("orders", "customer_id", "customers"),
    ("order_items", "order_id", "orders"),
    ("order_items", "product_id", "products"),
)


def main(folder: Path, out: Path, *, days: int, quick: bool) -> None:
    """Write `out`: ENTITY1, TIMESTAMP and prediction of the rows to predict, in their order."""
    os.environ["KUMO_ACCELERATOR"] = "cpu"
    import kumo.engine as kumo

    with tempfile.TemporaryDirectory() as parent:
        work = Path(parent)
        kumo.configure(scratch_dir=work / "scratch")  # must not overlap a folder that tables are read from
        started = time.perf_counter()
        files = kumo.FileConnector(root_dir=folder.resolve())
        graph = _graph(kumo, files)
        snapshot = graph.snapshot()
        ready = time.perf_counter()
        query = kumo.PredictiveQuery(
            graph, f"PREDICT SUM(orders.total, 0, {days}, days) FOR EACH customers.customer_id"
        )
        trainer = _fitted(kumo, query, snapshot, rows=_labelled(kumo, folder, work=work), quick=quick)
        fitted = time.perf_counter()
        said = _said(kumo, trainer, query, snapshot, files=files, work=work)
        seconds = {"snapshot": ready - started, "fit": fitted - ready, "predict": time.perf_counter() - fitted}
    asked = pd.read_parquet(folder / "to_predict.parquet", columns=["ENTITY1", "TIMESTAMP"])
    asked.merge(said, on=["ENTITY1", "TIMESTAMP"], how="left", validate="one_to_one").to_parquet(out, index=False)
    print(json.dumps({"seconds": seconds}))


def _graph(kumo: Any, files: Any) -> Any:
    tables = {name: _table(kumo, files, name) for name in TABLES}
    return kumo.Graph(tables=tables, edges=[kumo.Edge(src_table=a, fkey=key, dst_table=b) for a, key, b in EDGES])


def _table(kumo: Any, files: Any, name: str) -> Any:
    # Without text, which takes word vectors. pandas writes large_string, which kumo does not know.
    from kumoapi.typing import Dtype, Stype

    source = files[name]
    key, when = (column if column in source.column_dict else None for column in TABLES[name])
    text = {own: Dtype.string for own, column in source.column_dict.items() if column.dtype == Dtype.unsupported}
    table = kumo.Table.from_source_table(source, primary_key=key, time_column=when, dtypes=text)
    kept = [column.name for column in table.definition.cols if column.stype != Stype.text]
    text = {own: kind for own, kind in text.items() if own in kept}
    return kumo.Table.from_source_table(source, kept, primary_key=key, time_column=when, dtypes=text)


def _labelled(kumo: Any, folder: Path, *, work: Path) -> Any:
    # The validation rows are the test rows, too: without any kumo fails after the fit. It learns nothing from them.
    labelled, rows = pd.read_parquet(folder / "labelled.parquet"), work / "rows"
    rows.mkdir()
    test = labelled[labelled["SPLIT"] == 1].assign(SPLIT=2)
    pd.concat([labelled, test]).to_parquet(rows / "rows.parquet", index=False)
    return kumo.FileConnector(root_dir=rows.resolve())["rows.parquet"]


def _fitted(kumo: Any, query: Any, snapshot: Any, *, rows: Any, quick: bool) -> Any:
    from kumoapi.model_plan import RunMode
    from kumoapi.train import TrainingTableSpec

    plan = query.suggest_model_plan(snapshot, run_mode=RunMode.FAST)
    plan.training_job.disable_explain = True  # after the fit, and none of our business
    if quick:
        plan.training_job.num_experiments = plan.optimization.max_epochs = 1
    spec = TrainingTableSpec(split_col="SPLIT")
    table = kumo.TrainingTable.from_source_table(rows, spec, pq=query, snapshot=snapshot)
    trainer = kumo.Trainer(plan)
    trainer.fit(table, snapshot=snapshot)
    return trainer


def _said(kumo: Any, trainer: Any, query: Any, snapshot: Any, *, files: Any, work: Path) -> pd.DataFrame:
    from kumoapi.jobs import MetadataField, PredictionArtifactType

    plan = trainer.training_table_generation_plan
    asked = kumo.PredictionTable.from_source_table(files["to_predict.parquet"], pq=query, snapshot=snapshot, plan=plan)
    output = kumo.PredictionOutputConfig(  # the result names the time of a row only if an export asks for it
        kumo.FileConnector(root_dir=(work / "rows").resolve()),
        artifact_type=PredictionArtifactType.PREDICTIONS,
        table_name="said.parquet",
        extra_fields=[MetadataField.ANCHOR_TIMESTAMP],
    )
    frame = trainer.predict(asked, snapshot=snapshot, output_config=output).frame
    names = {"ENTITY": "ENTITY1", "ANCHOR_TIMESTAMP": "TIMESTAMP", "TARGET_PRED": "prediction"}
    return frame.rename(columns=names)[list(names.values())]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), days=int(sys.argv[3]), quick="quick" in sys.argv[4:])
