"""Horizons, ends of months, and seconds since 1970 whatever unit the timestamps are stored in."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from patron.days import DAY_SECONDS, Horizon, back, epoch_seconds, midnight, to_date


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("90d", 90, "days"),
        ("1D", 1, "days"),
        (" 7 days ", 7, "days"),
        ("1 day", 1, "days"),
        ("12m", 12, "months"),
        ("6 Months", 6, "months"),
        ("1month", 1, "months"),
    ],
)
def test_parse_reads_days_and_months(text: str, amount: int, unit: str) -> None:
    horizon = Horizon.parse(text)
    assert (horizon.amount, horizon.unit) == (amount, unit)
    assert Horizon.parse(str(horizon)) == Horizon.parse(horizon) == horizon


@pytest.mark.parametrize("text", ["", "d", "90", "0d", "00 months", "-3d", "1.5m", "3w", "1y", "d90", "90d 1m", "90dd"])
def test_parse_refuses_and_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write days or months, for example 90d or 12m") as caught:
        Horizon.parse(text)
    assert f"'{text}'" in str(caught.value)


def test_a_config_reads_and_writes_horizons_as_text() -> None:
    adapter = TypeAdapter(Horizon)
    assert adapter.validate_python("12m") == Horizon(12, "months")
    assert adapter.dump_json(Horizon(90, "days")) == b'"90d"'
    with pytest.raises(ValidationError, match="'3w' is not a length of time"):
        adapter.validate_python("3w")


@pytest.mark.parametrize(
    ("text", "day", "before", "after"),
    [
        ("1m", date(2020, 3, 31), date(2020, 2, 29), date(2020, 4, 30)),
        ("1m", date(2021, 3, 31), date(2021, 2, 28), date(2021, 4, 30)),
        ("1m", date(2020, 1, 31), date(2019, 12, 31), date(2020, 2, 29)),
        ("1m", date(2020, 2, 29), date(2020, 1, 29), date(2020, 3, 29)),
        ("12m", date(2020, 2, 29), date(2019, 2, 28), date(2021, 2, 28)),
        ("48m", date(2020, 2, 29), date(2016, 2, 29), date(2024, 2, 29)),
        ("6m", date(2020, 8, 31), date(2020, 2, 29), date(2021, 2, 28)),
        ("30d", date(2020, 3, 15), date(2020, 2, 14), date(2020, 4, 14)),
        ("30d", date(2021, 3, 15), date(2021, 2, 13), date(2021, 4, 14)),
        ("1d", date(2020, 1, 1), date(2019, 12, 31), date(2020, 1, 2)),
    ],
)
def test_horizons_move_along_the_calendar(text: str, day: date, before: date, after: date) -> None:
    horizon = Horizon.parse(text)
    assert (horizon.before(day), horizon.after(day)) == (before, after)
    assert horizon.days_after(day) == (after - day).days


@pytest.mark.parametrize("horizon", [Horizon(1, "months"), Horizon(6, "months")], ids=str)
def test_a_window_that_ends_at_a_cutoff_never_passes_it(horizon: Horizon) -> None:
    """Months back and forth again may lose days, at the ends of months, but never gain one; days lose none."""
    days = [back(date(2021, 1, 1), k) for k in range(800)]
    moved = [horizon.after(horizon.before(day)) for day in days]
    assert all(there_and_back <= day for there_and_back, day in zip(moved, days, strict=True))
    assert moved != days
    assert [Horizon(91, "days").after(Horizon(91, "days").before(day)) for day in days] == days


def test_days_after_depends_on_the_month_and_the_year() -> None:
    assert [Horizon.parse("1m").days_after(date(2021, month, 1)) for month in (1, 2, 4)] == [31, 28, 30]
    assert [Horizon.parse("12m").days_after(date(year, 1, 1)) for year in (2019, 2020)] == [365, 366]


def test_dates_and_instants() -> None:
    assert midnight(date(2020, 2, 29)) == datetime(2020, 2, 29, 0, 0)
    assert to_date("2020-02-29 23:59:59.999999") == to_date(pd.Timestamp("2020-02-29")) == date(2020, 2, 29)
    assert back(date(2020, 3, 1), 1) == date(2020, 2, 29)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epoch_seconds_does_not_depend_on_the_unit(unit: str) -> None:
    texts = ["1970-01-01", "1969-12-31", "2020-02-29 12:34:56", "2262-04-11"]
    stamps = np.array(texts, dtype=f"datetime64[{unit}]")
    assert stamps.dtype == f"datetime64[{unit}]"
    seconds = epoch_seconds(stamps)
    assert seconds.dtype == np.int64
    assert seconds.tolist() == [0, -DAY_SECONDS, 1_582_979_696, 106_751 * DAY_SECONDS]
    assert epoch_seconds(pd.Series(stamps)).tolist() == seconds.tolist()


def test_epoch_seconds_of_one_instant() -> None:
    assert int(epoch_seconds(midnight(date(1970, 1, 3)))) == 2 * DAY_SECONDS
    assert int(epoch_seconds(pd.Timestamp(1970, 1, 1, 0, 0, 7))) == 7
