"""What importing patron costs and needs: heavy libraries come when they are used, and no folder must be writable."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import program

import patron

HEAVY = ("matplotlib", "pytorch_lightning", "lightgbm", "torchmetrics", "tensorboard")
KERNELS = ("patron.graph.coshopper_kernel", "patron.graph.sampler_kernel")
NOBODY = 65534
COMPILES = f"""
import sys
import patron.config, patron.pipeline, patron.serving.score
assert not (early := [name for name in {(*HEAVY, *KERNELS)} if name in sys.modules]), early
import numpy as np, scipy.sparse as sp
from patron.graph.coshopper import CoShopperConfig, co_shoppers
from patron.graph.sampler_kernel import find
config = CoShopperConfig(threshold=0.1, top_k=2, min_products=1, max_popularity=None)
found = co_shoppers(sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]])), config=config)
assert found.target.tolist() == [0, 1, 1, 2] and found.source.tolist() == [1, 0, 2, 1], found
one = np.array([0, 2]), np.array([1, 5]), np.array([0]), np.array([3])
assert find(*one, 4, None)[1].tolist() == [0]
try:
    open(patron.__file__.replace("__init__", "new"), "w")
except OSError:
    print("fine")
"""


def run(code: str, *before: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_read_only_package_of_a_user_without_a_home(tmp_path: Path) -> None:
    """Nothing can be kept that was compiled, and it works all the same. Heavy libraries come when they are used."""
    package = tmp_path / "site" / "patron"
    shutil.copytree(Path(patron.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*package.rglob("*"), package, package.parent):
        path.chmod(0o555 if path.is_dir() else 0o444)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package.parent), "HOME": "/nonexistent"}
    try:
        assert run(COMPILES, *_as_nobody(), env=env) == "fine"
    finally:
        for path in (package.parent, package, *(path for path in package.rglob("*") if path.is_dir())):
            path.chmod(0o755)


def _as_nobody() -> tuple[str, ...]:
    # Who is root may write anywhere. Nobody may not, and needs a capability where only root may read what is installed.
    if os.geteuid():
        return ()
    plain = (program("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    for caps in ((), tuple(f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient"))):
        reads = [*plain, *caps, sys.executable, "-c", "import numpy"]
        if subprocess.run(reads, capture_output=True, check=False).returncode == 0:
            return (*plain, *caps)
    return pytest.skip("root may write to anything, and nobody may not read what it has installed")
