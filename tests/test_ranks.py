"""Two processes that torchrun starts train what one would have trained, each on half of the customers of a step."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from newcomer import ROOT, Shell

from patron.training import ranks
from patron.training.shots import _mine

TINY = [
    "data=tiny", "data.customers=120", "estimator=[gnn]", "seeds=[0]", "task=90d", "split.test=['2021-09-30']",
    "split.max_cutoffs=2", "features.groups=[rfm]", "trainer.max_steps=4", "trainer.steps_per_check=2",
    "trainer.progress=false", "evaluation.n_boot=0", "estimators.gnn.model.dropout=0",
    "estimators.gnn.model.input_dropout=0", "estimators.gnn.model.channels=8", "trainer.learning_rate=0.02",
    "trainer.warmup_steps=0",
]  # fmt: skip
MODES = {"shards": ["graph=full"], "trees": ["trainer.sampling={hops: [4, 2], how: last, batch_size: 33}"]}
# Each argument is a command line; all are run in the same processes, which take long to start.
TOGETHER = """
import runpy, shlex, sys
script, *lines = sys.argv[1:]
for line in lines:
    sys.argv = [script, *shlex.split(line)]
    runpy.run_path(script, run_name="__main__")
"""


def words(here: Path, mode: str) -> list[str]:
    return [*TINY, f"runs={here / mode}", *MODES[mode]]


def predictions(here: Path, mode: str) -> pd.DataFrame:
    """Of the run that `scripts/train.py` has left there."""
    (run,) = (here / mode).glob("*/gnn-seed0")
    assert (run / "DONE").exists()
    return pd.read_parquet(run / "predictions.parquet")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of both modes, by two processes."""
    here = tmp_path_factory.mktemp("together")
    (here / "run.py").write_text(TOGETHER)
    lines = [shlex.join([*words(here, mode), "trainer.devices=2"]) for mode in MODES]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    call = [*launch, str(here / "run.py"), str(ROOT / "scripts" / "train.py"), *lines]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("look at them with") == len(MODES), "each process said it"
    return here


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_train_what_one_would(
    mode: str, together: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a shard of every snapshot, or with half of the sampled trees."""
    assert Shell(tmp_path, monkeypatch)("train", *words(tmp_path, mode)).code == 0
    one, two = predictions(tmp_path, mode), predictions(together, mode)
    for column in ("ltv_mean", "ltv_median", "rank_score", "q90"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-4, atol=1e-4 * one[column].abs().mean())
    assert one["ltv_mean"].std() > 0


def test_the_customers_of_a_step_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five among two: three and two, and the mean of the two weighted means is that of the five."""
    drawn, loss = np.array([7, 3, 9, 1, 5]), dict(zip([7, 3, 9, 1, 5], [1.0, 2.0, 4.0, 8.0, 16.0], strict=True))
    monkeypatch.setattr("patron.training.shots.world", lambda: 2)
    parts = []
    for number in range(2):
        monkeypatch.setattr("patron.training.shots.rank", lambda number=number: number)
        parts.append(_mine(drawn))
    assert [mine.tolist() for mine, _ in parts] == [[7, 9, 5], [3, 1]]
    means = [share * np.mean([loss[one] for one in mine]) for mine, share in parts]
    assert np.mean(means) == pytest.approx(np.mean([*loss.values()]))


def test_alone_it_is_the_first_of_one() -> None:
    assert (ranks.rank(), ranks.world()) == (0, 1)
    ranks.require(devices=1, num_nodes=1)
    with pytest.raises(ValueError, match="ask for 4 processes, and there are 1; start them with torchrun"):
        ranks.require(devices=2, num_nodes=2)
