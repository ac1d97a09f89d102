"""Runs that patron 0.1.0 has left can be scored: `fixtures/run_0_1_0` holds a small shop, a run of LightGBM and one of
the GNN, made at commit 66b7ca9, and the scores that it gave then. Its README says by what command."""

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from patron.serving.score import ScoreConfig, score

RUNS = Path(__file__).parent / "fixtures" / "run_0_1_0"
CUTOFF = date(2021, 12, 31)


@pytest.mark.parametrize("name", ["lightgbm", "gnn"])
def test_a_run_of_0_1_0_scores_as_it_did(name: str, tmp_path: Path) -> None:
    run = tmp_path / name
    shutil.copytree(RUNS / f"{name}-seed0", run)
    assert json.loads((run / "report.json").read_text())["versions"]["patron"] == "0.1.0"
    asked = ScoreConfig(run=run, cutoff=CUTOFF, data={"path": str(RUNS / "shop")}, out=tmp_path / "scores", parts=1)
    written = score(asked)
    now, then = (
        pd.read_parquet(folder / f"scores_{CUTOFF}.parquet") for folder in (tmp_path / "scores", run / "scores")
    )
    assert written.customers == len(then) == 60
    assert list(now) == list(then)
    now, then = (frame.sort_values("customer_id", ignore_index=True) for frame in (now, then))
    pd.testing.assert_frame_equal(
        now.drop(columns=["rank", "decile"]), then.drop(columns=["rank", "decile"]), rtol=1e-4
    )
    assert np.corrcoef(now["rank"], then["rank"])[0, 1] > 0.99  # a tie may fall otherwise on another processor
