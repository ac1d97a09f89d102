"""Programs that some tests need and that pip does not install."""

import os
import shutil

import pytest


def program(*names: str) -> str:
    """The path of the first of these that is there. Without any the test is skipped with a line that says so; in CI,
    which has to install them, it fails."""
    for name in names:
        if path := shutil.which(name):
            return path
    line = f"there is no {' or '.join(names)} here"
    return pytest.fail(f"{line}, and CI must have it") if os.environ.get("CI") else pytest.skip(line)
