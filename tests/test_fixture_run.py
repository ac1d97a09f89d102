"""Runs that patron 0.1.0 has left are refused with the fix: `fixtures/run_0_1_0` holds a small shop, a run of LightGBM
and one of the GNN, made at commit 66b7ca9. Their models say means, medians and probabilities that do not agree."""

import json
import shutil
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from patron.run import RunFolder
from patron.serving.score import ScoreConfig, score

RUNS = Path(__file__).parent / "fixtures" / "run_0_1_0"


@pytest.mark.parametrize("name", ["lightgbm", "gnn"])
def test_a_run_of_0_1_0_is_refused_and_left_as_it_was(name: str, tmp_path: Path) -> None:
    run = tmp_path / name
    shutil.copytree(RUNS / f"{name}-seed0", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    asked = ScoreConfig(run, date(2021, 12, 31), data={"path": str(RUNS / "shop")}, out=tmp_path / "scores", parts=1)
    fix = r"was made by patron 0\.1\.0 \(format 1\).* train it again with force=true, or use that version"
    with pytest.raises(ValueError, match=fix):
        score(asked)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "scores").exists()


def test_a_run_says_its_format(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin({"name": "run"})
    folder.finish(predictions=pd.DataFrame({"customer_id": [1]}), report={})
    folder.require_format()
    file = folder.path / "report.json"
    report = json.loads(file.read_text())
    file.write_text(json.dumps({**report, "format": report["format"] + 1}))
    with pytest.raises(ValueError, match=r"format 3.* does not read"):
        folder.require_format()
