"""What a peer is given, and what is made of its answer. kumo-engine itself takes minutes: scripts/bench_peers.py."""

import stat
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from newcomer import composed

from patron.config import load
from patron.speed import peers
from patron.speed.peers import PeersConfig
from patron.tables.database import Database
from patron.task.split import Fold

# Reads what it is given as kumo-engine would, and says of everybody the customer's id.
PEER = """
import json, sys
from pathlib import Path
import pandas as pd
_, folder, out, days, *quick = sys.argv[1:]
tables = {file.stem: pd.read_parquet(file) for file in Path(folder).glob("*.parquet")}
assert tables["orders"]["total"].notna().all() and tables["order_items"]["item_id"].is_unique
assert tables["customers"]["signup_date"].notna().all()
last = tables["to_predict"]["TIMESTAMP"].max()
assert max(tables["orders"]["order_date"].max(), tables["order_items"]["order_date"].max()) <= last
assert sorted(tables["labelled"]["SPLIT"].unique()) == [0, 1] and tables["labelled"]["TARGET1"].notna().all()
assert (tables["labelled"]["TIMESTAMP"] < last).all()
asked = tables["to_predict"]
asked.assign(prediction=asked["ENTITY1"] * 1.0).to_parquet(out)
print(json.dumps({"seconds": {"snapshot": 1.0, "fit": int(days), "predict": len(quick)}}))
"""


@pytest.fixture
def config(tmp_path: Path) -> PeersConfig:
    config = load(composed("bench_peers", "quick=true", "task=90d"), schema=PeersConfig)
    return replace(config, peers=tmp_path / "peers")


def test_a_peer_gets_the_same_rows_and_no_more_than_is_known(
    shop: Database, fold: Fold, config: PeersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "peer.py").write_text(PEER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path / "peer.py"}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(peers, "_environment", lambda folder, packages: python)
    said, seconds, note = peers._kumo(shop.upto(fold.cutoff), fold, config)
    assert said is not None
    assert said.tolist() == fold.test.frame["customer_id"].tolist()
    assert seconds == 1 + config.task.horizon.days_after(date(2021, 1, 1)) + 1
    assert note.endswith("one short trial")


def test_what_cannot_be_run_is_said(
    shop: Database, fold: Fold, config: PeersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "pip", stderr="looking\nno wheel for this machine\n")

    monkeypatch.setattr(peers, "_environment", refuse)
    said, seconds, note = peers._kumo(shop.upto(fold.cutoff), fold, config)
    assert said is None
    assert pd.isna(seconds)
    assert "could not be run" in note
    assert "no wheel for this machine" in note
