"""The README holds: its Python runs, its YAML loads, its commands name what is there, its links lead somewhere."""

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from newcomer import CONFIGS, ROOT
from pydantic import TypeAdapter

from patron.config import entry
from patron.tables.sources import DataConfig

README = ROOT / "README.md"


def text() -> str:
    return README.read_text(encoding="utf-8") if README.exists() else ""  # then the first test below says so


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(), flags=re.DOTALL | re.MULTILINE)


def lines() -> list[list[str]]:
    """The words of every command of the bash blocks: comments left out, continued lines joined."""
    joined = "\n".join(blocks("bash")).replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def commands() -> list[tuple[str, list[str]]]:
    """Script and arguments of every `python scripts/...`, whatever is set before it."""
    found = [words[words.index("python") :] for words in lines() if "python" in words]
    return [(script, arguments) for _, script, *arguments in found if script.startswith("scripts/")]


def test_there_is_a_readme_with_python_yaml_and_bash() -> None:
    assert README.exists()
    assert {language for language in ("python", "yaml", "bash") if blocks(language)} == {"python", "yaml", "bash"}
    assert commands()


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page and in one namespace, as somebody would who types it."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, README.name, "exec"), namespace)


def test_yaml_maps_tables_that_patron_knows() -> None:
    """An experiment loads whole with the command that uses it, below; that its tables make sense is seen here."""
    for block in blocks("yaml"):
        values = yaml.safe_load(block)
        assert isinstance(values, dict)
        if "data" in values:
            TypeAdapter(DataConfig).validate_python({"name": "files", **values["data"]})


@pytest.fixture
def beside_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the reader has done what the README says: its experiments lie in every `--config-dir` it names."""
    folders = {
        arguments[arguments.index("--config-dir") + 1] for _, arguments in commands() if "--config-dir" in arguments
    }
    for block in blocks("yaml"):
        if block.startswith("# @package _global_"):
            for folder in folders:
                (tmp_path / folder / "experiment").mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / "experiment" / f"{yaml.safe_load(block)['name']}.yaml").write_text(block)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("beside_the_readme")
@pytest.mark.parametrize(
    ("script", "arguments"), commands(), ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_commands_compose_and_load(
    script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very way the script goes, up to the point where it would begin to work."""
    assert (ROOT / script).is_file(), f"there is no {script}"
    source = (ROOT / script).read_text()
    schema = get_type_hints(runpy.run_path(str(ROOT / script))["main"])["config"]
    name = re.search(r'\bentry\(.*\bname="(\w+)"', source)
    assert name
    loaded: list[Any] = []
    monkeypatch.setattr(sys, "argv", [str(ROOT / script), *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    try:
        entry(loaded.append, schema=schema, configs=CONFIGS, name=name[1])
    except SystemExit:
        pytest.fail(f"{script} {shlex.join(arguments)}: {capsys.readouterr().err}")
    assert loaded
    assert all(isinstance(config, schema) for config in loaded)
    assert ("-m" in arguments or "--multirun" in arguments) == (len(loaded) > 1)


def test_experiments_that_are_shown_are_run_by_a_command() -> None:
    shown = {yaml.safe_load(block)["name"] for block in blocks("yaml") if block.startswith("# @package _global_")}
    assert shown <= {word.removeprefix("experiment=") for _, arguments in commands() for word in arguments}


def test_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for words in lines() if words[0] == "make" for word in words[1:] if "=" not in word}
    named |= set(re.findall(r"`make ([\w-]+)`", text()))
    assert named
    assert named <= targets


def test_the_options_of_each_group_are_those_there_are() -> None:
    named = dict(re.findall(r"^\| `(\w+)` \| ((?:`\w+` ?)+)\|", text(), flags=re.MULTILINE))
    assert set(named) == {folder.name for folder in CONFIGS.iterdir() if folder.is_dir()}
    for group, options in named.items():
        there = {file.stem for file in (CONFIGS / group).glob("*.yaml")}
        assert set(re.findall(r"`(\w+)`", options)) == there, group


def test_links_lead_somewhere() -> None:
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text()) if "://" not in link}
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_tables_stand_between_markers_of_experiments() -> None:
    """`benchmark.py` replaces what stands between them; a marker that no experiment has the name of stays empty."""
    marked = re.findall(r"<!-- results:(\w+):(begin|end) -->", text())
    names = [name for name, end in marked if end == "begin"]
    assert marked == [(name, end) for name in names for end in ("begin", "end")]
    assert set(names) <= {file.stem for file in (CONFIGS / "experiment").glob("*.yaml")}
