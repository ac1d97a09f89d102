"""A program that is not there: a line on somebody's machine, a failure in CI."""

import sys
from pathlib import Path

import pytest
from programs import program


def test_the_first_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    assert program("no-such-program", python.name) == str(python)


@pytest.mark.parametrize("ci", [False, True])
def test_without_any_it_is_skipped_and_fails_in_ci(ci: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true") if ci else monkeypatch.delenv("CI", raising=False)
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match="no no-such-program or other") as left:
        program("no-such-program", "other")
    assert left.type is (pytest.fail.Exception if ci else pytest.skip.Exception)
