"""What validation found and what became of every row: a value, a text for people, the message of `InvalidTables`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["strict", "repair"]
Severity = Literal["error", "warning", "info"]
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
_HEADER = ("", "column", "what is wrong", "rows", "share", "for example")


@dataclass(frozen=True)
class Violation:
    """One rule and the rows of one table that break it.

    `column` is empty when the table itself is meant; `share` is of the rows read; `samples` are at most five keys, with
    the value where there is one. `mend` is what the user can do; `remedy` is what repair does, empty for warnings and
    for what it cannot repair; `fixed` and `dropped` count the rows that it takes, or in strict mode would take. A row
    that breaks two rules counts for both and is dropped by the first.
    """

    table: str
    column: str
    rule: str
    severity: Severity
    count: int
    share: float
    samples: tuple[str, ...]
    mend: str
    remedy: str = ""
    dropped: int = 0
    fixed: int = 0

    @property
    def where(self) -> str:
        """`table.column`, or the table."""
        return f"{self.table}.{self.column}" if self.column else self.table

    @property
    def stops(self) -> bool:
        """Whether no repair can mend it."""
        return self.severity == "error" and not self.remedy

    def advice(self, mode: Mode) -> str:
        """One line: what to do, and what repair does or has done about it."""
        if not self.remedy:
            return f"mend: {self.mend}"
        taken = self.dropped + self.fixed
        others = "; the others break a rule above" if taken < self.count else ""
        said = f"{self.remedy} ({taken:,} row{'s' * (taken != 1)}{others})"
        if self.severity == "info":  # corrected in either mode: nothing is left for the user to do
            return f"done: {said}"
        return f"mend: {self.mend}; mode='repair': {said}" if mode == "strict" else f"done: {said}; better: {self.mend}"


@dataclass(frozen=True)
class RowCount:
    """Where the rows of one table went: `read + added == kept + dropped`."""

    table: str
    read: int
    added: int
    dropped: int
    kept: int


@dataclass(frozen=True)
class Report:
    """All violations of all tables and the account of their rows. `str(report)` is for people, `to_rows()` for JSON."""

    name: str
    mode: Mode
    violations: tuple[Violation, ...]
    rows: tuple[RowCount, ...]

    def of(self, severity: Severity) -> tuple[Violation, ...]:
        """The violations of one severity."""
        return tuple(violation for violation in self.violations if violation.severity == severity)

    @property
    def refused(self) -> bool:
        """Whether these tables cannot be used: any error in strict mode, an error without a repair in either."""
        return any(violation.stops or self.mode == "strict" for violation in self.of("error"))

    def to_rows(self) -> list[dict[str, Any]]:
        """One dict a violation, ready for JSON."""
        return [asdict(violation) | {"samples": list(violation.samples)} for violation in self.violations]

    def __str__(self) -> str:
        counts = ", ".join(f"{severity} {len(self.of(severity))}" for severity in _ORDER)
        title = f"tables of '{self.name}', mode='{self.mode}': {counts}"
        changed = [count for count in self.rows if count.dropped or count.added]
        return "\n".join([title, *_violation_lines(self), *map(_account, changed)])


class InvalidTables(ValueError):
    """Tables that break the rules. The message is the whole report; `report` holds it."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def _violation_lines(report: Report) -> Iterator[str]:
    found = sorted(report.violations, key=lambda violation: _ORDER[violation.severity])
    cells = [_HEADER, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths=widths) for row in cells]
    for line, violation in zip(lines[1:], found, strict=True):
        yield from [*lines[:1], line] if violation is found[0] else [line]
        yield f"{'':{widths[0]}}  {violation.advice(report.mode)}"


def _line(cells: tuple[str, ...], *, widths: list[int]) -> str:
    aligned = zip(cells, widths, "<<<>><", strict=True)
    return "  ".join(f"{cell:{side}{width}}" for cell, width, side in aligned).rstrip()


def _cells(violation: Violation) -> tuple[str, ...]:
    share = f"{violation.share:.1%}" if violation.share >= 0.001 or not violation.count else "<0.1%"
    count, samples = f"{violation.count:,}", ", ".join(violation.samples)
    return violation.severity, violation.where, violation.rule, count, share, samples


def _account(count: RowCount) -> str:
    added = f" + {count.added:,} added" if count.added else ""
    return f"rows of {count.table}: {count.read:,} read{added} = {count.kept:,} kept + {count.dropped:,} dropped"
