"""Windows of a query: `start, end, unit` is `(cutoff + start, cutoff + end]`, and must not leak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from lark import Tree

from patron.days import Horizon
from patron.task.pql_parse import PQLError, meant, parts, start_of

UNITS: Mapping[str, tuple[Literal["days", "months"], int]] = {
    "days": ("days", 1), "weeks": ("days", 7), "months": ("months", 1), "years": ("months", 12),
    "day": ("days", 1), "week": ("days", 7), "month": ("months", 1), "year": ("months", 12),
}  # fmt: skip


LONGEST = {"days": 36_500, "months": 1_200}  # a century: beyond, dates end


@dataclass(frozen=True)
class Offset:
    """A signed length of time from the cutoff."""

    amount: int
    unit: Literal["days", "months"]

    def of(self, cutoff: date) -> date:
        """The date so far from `cutoff`."""
        length = Horizon(abs(self.amount), self.unit)
        return length.after(cutoff) if self.amount >= 0 else length.before(cutoff)


@dataclass(frozen=True)
class Window:
    """`(cutoff + start, cutoff + end]`."""

    start: Offset
    end: Offset


def window_of(text: str, bounds: Tree, *, past: bool) -> Window:
    """The window that `start, end, unit` names. Raises PQLError unless it lies in the past or the future, as it has
    to."""
    words = [parts(bound)[-1] for bound in parts(bounds)]
    wrong = [word for word, kind in zip(words, ("NUMBER", "NUMBER", "NAME"), strict=False) if word.type != kind]
    if len(words) == 2 and not wrong:
        raise PQLError(text, start_of(words[1]), f"the window has no unit; write {words[0]}, {words[1]}, days")
    if len(words) != 3 or wrong:
        at = start_of(wrong[0] if wrong else words[-1])
        raise PQLError(text, at, "a window is start, end, unit, for example 0, 90, days")
    if words[2].lower() not in UNITS:
        raise PQLError(text, start_of(words[2]), f"there is no unit '{words[2]}'; {meant(words[2], UNITS)}")
    unit, size = UNITS[words[2].lower()]
    start, end = (Offset(size * _whole(text, bound), unit) for bound in parts(bounds)[:2])
    for bound, offset in zip(parts(bounds), (start, end), strict=False):
        if abs(offset.amount) > LONGEST[unit]:
            raise PQLError(text, start_of(bound), "a window is of at most 100 years")
    places = [start_of(bound) for bound in parts(bounds)]
    if end.amount <= start.amount:
        raise PQLError(text, places[1], "the window must end after its start; it is (cutoff + start, cutoff + end]")
    if not past and start.amount < 0:
        raise PQLError(
            text, places[0], "a label window lies after the cutoff, start >= 0: what lies before it is known "
            "already, and a label that holds it leaks",
        )  # fmt: skip
    if past and end.amount > 0:
        raise PQLError(
            text, places[1], "a window in WHERE lies before the cutoff, end <= 0: who is predicted must not depend "
            "on the future, or it leaks",
        )  # fmt: skip
    return Window(start, end)


def latest(ends: Sequence[Offset]) -> Horizon:
    """The horizon that no end lies behind, at any cutoff."""
    days = max((end.amount for end in ends if end.unit == "days"), default=0)
    months = max((end.amount for end in ends if end.unit == "months"), default=0)
    if not months:
        return Horizon(days, "days")
    lengths = [Horizon(months, "months").days_after(date(2000 + k // 12, k % 12 + 1, 1)) for k in range(48)]
    if days <= min(lengths):
        return Horizon(months, "months")
    return Horizon(max(days, *lengths), "days")


def _whole(text: str, bound: Tree) -> int:
    sign, number = parts(bound)
    if "." in number:
        raise PQLError(text, start_of(number), "a window has whole numbers; choose a smaller unit")
    return -int(number) if sign else int(number)
