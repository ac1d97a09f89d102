"""The only date arithmetic in patron.

Instants are naive UTC with microseconds. A cutoff is a calendar date and stands for the midnight that starts it, so
that the past is everything with `time <= midnight` and a label window is `(cutoff, cutoff + horizon]`. Tables that
hold dates without a time of day put an order of the cutoff's own date into the past.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

DAY_SECONDS = 86_400
_UNITS: dict[str, Literal["days", "months"]] = {
    "d": "days",
    "day": "days",
    "days": "days",
    "m": "months",
    "month": "months",
    "months": "months",
}


@dataclass(frozen=True, order=True)
class Horizon:
    """A length of calendar time, written `90d` or `12m`. Months end on the same day of the month, or on its last
    day."""

    amount: int
    unit: Literal["days", "months"]

    @classmethod
    def parse(cls, text: "str | Horizon") -> "Horizon":
        """The horizon that `text` names: `90d`, `12m`, `90 days`, `6 months`. Raises ValueError for anything else."""
        if isinstance(text, Horizon):
            return text
        match = re.fullmatch(r"\s*(\d+)\s*([a-z]+)\s*", str(text).lower())
        if match is None or match[2] not in _UNITS or int(match[1]) == 0:
            raise ValueError(f"'{text}' is not a length of time; write days or months, for example 90d or 12m")
        return cls(int(match[1]), _UNITS[match[2]])

    def after(self, day: date) -> date:
        """The date one horizon after `day`."""
        return self._move(day, sign=1)

    def before(self, day: date) -> date:
        """The date one horizon before `day`."""
        return self._move(day, sign=-1)

    def days_after(self, day: date) -> int:
        """Number of days in `(day, day + horizon]`."""
        return (self.after(day) - day).days

    def _move(self, day: date, *, sign: int) -> date:
        if self.unit == "days":
            return day + timedelta(days=sign * self.amount)
        return (pd.Timestamp(day) + pd.DateOffset(months=sign * self.amount)).date()

    def __str__(self) -> str:
        return f"{self.amount}{self.unit[0]}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())


def midnight(day: date) -> datetime:
    """The instant at which `day` starts, naive UTC."""
    return datetime(day.year, day.month, day.day)


def to_date(value: Any) -> date:
    """The calendar date of anything pandas can read as a time."""
    return pd.Timestamp(value).date()


def back(day: date, days: int) -> date:
    """The date `days` days before `day`."""
    return day - timedelta(days=days)


def epoch_seconds(values: Any) -> np.ndarray:
    """Seconds since 1970-01-01 as int64 of the same length, whatever unit the timestamps are stored in.

    Rounded up: what happens within a second is known at its end, so nothing after a cutoff gets its second.
    """
    return -(-np.asarray(values, dtype="datetime64[us]").astype(np.int64) // 1_000_000)
