"""The house has one direction, and its rooms stay small. All is read from the source, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "patron"
ORDER = (
    "tables", "task", "features", "graph", "calibration", "nn", "training", "estimators", "evaluation", "reporting",
    "decisions", "config", "run", "pipeline", "variants", "controls", "tuning", "graph_pays", "audit", "alarms",
    "serving", "speed",
)  # fmt: skip
HELPERS = ("days", "files", "memory")  # stand before all others and see nothing of patron but each other
MAX_FUNCTION, MAX_FILE = 60, 450
FILES = sorted([*SOURCE.rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
MODULES = [file for file in FILES if SOURCE in file.parents]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def room(file: Path) -> str:
    """The package or top-level module that a file belongs to."""
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def allowed(room: str) -> set[str]:
    """What a room may import from: itself, what stands to its left, and the helpers."""
    if room == "testing":
        return {"tables", "days"}
    if room == "__init__":
        return set()
    return {*HELPERS, *ORDER[: ORDER.index(room) + 1]} if room in ORDER else set(HELPERS)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever in the file it stands; relative ones are made absolute."""
    package = file.parent.relative_to(SOURCE.parent).parts if SOURCE in file.parents else ()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1] if node.level else ()
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def rooms_imported(file: Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(file):
        first, *rest = name.split(".")
        if first == "patron" and rest:
            yield line, rest[0]


def importers(package: str) -> set[str]:
    return {name_of(file) for file in FILES for _, name in imports(file) if name.split(".")[0] == package}


def test_every_room_has_its_place() -> None:
    rooms = {room(file) for file in MODULES} - {"__init__", "testing", *HELPERS}
    assert rooms <= set(ORDER), f"give {rooms - set(ORDER)} a place in the order of {name_of(Path(__file__))}"


def test_imports_go_one_way() -> None:
    wrong = [
        f"{name_of(file)}:{line} imports {imported}"
        for file in MODULES
        for line, imported in rooms_imported(file)
        if imported not in allowed(room(file))
    ]
    assert wrong == []


def test_the_direction_is_seen_by_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: an import to the right is found at any depth, absolute or relative."""
    monkeypatch.setitem(globals(), "SOURCE", tmp_path / "patron")
    (tmp_path / "patron" / "tables" / "deep").mkdir(parents=True)
    file = tmp_path / "patron" / "tables" / "deep" / "x.py"
    file.write_text("import patron.task.ltv\ndef f():\n    from ...nn import heads\n    from patron import run\n")
    assert room(file) == "tables"
    assert sorted(rooms_imported(file)) == [(1, "task"), (3, "nn"), (4, "run")]
    assert {"task", "nn", "run"}.isdisjoint(allowed("tables"))
    assert "tables" in allowed("task")
    assert allowed("days") == set(HELPERS)


def test_only_config_knows_hydra() -> None:
    assert importers("omegaconf") | importers("hydra") == {"src/patron/config.py"}


def test_only_tests_know_pytest() -> None:
    assert importers("pytest") == set()
    assert importers("patron") >= {
        "scripts/train.py",
        "scripts/score.py",
        "scripts/benchmark.py",
    }  # it does find imports


def test_nothing_is_imported_by_a_star() -> None:
    starred = [f"{name_of(file)}:{line}" for file in FILES for line, name in imports(file) if name.endswith(".*")]
    assert starred == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_functions_and_files_are_short(file: Path) -> None:
    text = file.read_text()
    long = {
        node.name: length
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION
    }
    assert long == {}
    assert len(text.splitlines()) <= MAX_FILE


def test_nine_functions_in_ten_are_under_45_lines_and_scripts_under_40() -> None:
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert sum(length < 45 for length in lengths) >= 0.9 * len(lengths)
    scripts = {name_of(file): len(file.read_text().splitlines()) for file in FILES if file not in MODULES}
    assert {name: length for name, length in scripts.items() if length >= 40} == {}
