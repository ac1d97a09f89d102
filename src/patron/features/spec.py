"""Which columns a fit has: `FeatureConfig` says what is wanted, `specify` what the database supports of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.days import Horizon
from patron.features.columns import Kind, TypedColumn, settings, typed_columns
from patron.features.groups import Group
from patron.tables.engine import Tables, query
from patron.tables.schema import known_tables

NEEDS: Mapping[Group, tuple[str, str]] = {
    "returns": ("returns", "refund_amount"), "campaigns": ("campaigns", "campaign_date"),
    "loyalty": ("loyalty", "loyalty_date"), "order_events": ("order_events", "event_type"),
    "interactions": ("interactions", "interaction_date"), "external": ("external", "value"),
}  # fmt: skip


def _known_tables(columns: Mapping[str, Mapping[str, Kind]]) -> Mapping[str, Mapping[str, Kind]]:
    known_tables(columns)
    return columns


def _asked_for(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    if "twohop" in groups:
        raise ValueError("twohop is not for every estimator; fit the one that asks for it, estimator=lightgbm_twohop")
    return groups


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FeatureConfig:
    """What is computed: groups, candidate windows in days, number of lagged label windows, category shares, types.

    `top_types` is the number of the most frequent event, interaction and campaign types, return reasons and external
    series that get columns of their own; `columns` sets kinds, `{table: {column: kind}}`.
    """

    groups: Annotated[tuple[Group, ...], Field(min_length=1), AfterValidator(_asked_for)]
    windows: tuple[Annotated[int, Field(gt=0)], ...]
    lags: Annotated[int, Field(ge=0)]
    top_categories: Annotated[int, Field(ge=0)]
    top_types: Annotated[int, Field(ge=0)]
    columns: Annotated[Mapping[str, Mapping[str, Kind]], AfterValidator(_known_tables)]


@dataclass(frozen=True)
class FeatureSpec:
    """The columns of one fit, fixed by what was known at its cutoffs, so that train and test rows have the same
    ones.

    `groups` are those asked for whose tables had rows; `columns` those in which something was known, with their kinds.
    """

    horizon: Horizon
    windows: tuple[int, ...]
    lags: int
    season: bool
    calendar: bool
    groups: tuple[Group, ...]
    columns: tuple[TypedColumn, ...]
    top_categories: tuple[str | int, ...] = ()
    event_types: tuple[str, ...] = ()
    interaction_types: tuple[str, ...] = ()
    campaign_types: tuple[str, ...] = ()
    return_reasons: tuple[str, ...] = ()
    series: tuple[str, ...] = ()

    def has(self, table: str, column: str) -> bool:
        """Whether the column held anything at the first cutoff."""
        return any((one.table, one.name) == (table, column) for one in self.columns)

    def described(self, table: str) -> tuple[TypedColumn, ...]:
        """The columns of a table that become features as they are."""
        return tuple(one for one in self.columns if one.table == table and one.used)


def specify(db: Tables, *, config: FeatureConfig, horizon: Horizon, cutoffs: Sequence[date]) -> FeatureSpec:
    """The columns that `db` supports for a fit at `cutoffs`. Kinds, types and categories are those of the first of
    them."""
    history, first = history_days(db, max(cutoffs)), db.upto(min(cutoffs))
    days, number = horizon.days_after(max(cutoffs)), config.top_types
    columns = typed_columns(first, chosen=settings(config.columns))
    calendar = _each_season_twice(cutoffs)
    return FeatureSpec(
        horizon=horizon,
        windows=_windows_for(days, candidates=config.windows, history=history),
        lags=min(config.lags, history // days),
        season=history >= 365,
        calendar=calendar,
        groups=tuple(group for group in config.groups if _supported(group, columns=columns, calendar=calendar)),
        columns=columns,
        top_categories=_top_categories(first, number=config.top_categories),
        event_types=_frequent(first, "order_events", "event_type", number=number),
        interaction_types=_frequent(first, "interactions", "interaction_type", number=number),
        campaign_types=_frequent(first, "campaigns", "campaign_type", number=number),
        return_reasons=_frequent(first, "returns", "return_reason", number=number),
        series=_frequent(first, "external", "series", number=number),
    )


def history_days(db: Tables, cutoff: date) -> int:
    """Days from the first order to the cutoff, at least 1."""
    return max(1, (cutoff - db.first_day).days)


def _each_season_twice(cutoffs: Sequence[date]) -> bool:
    # A season met in one year cannot be told from what else was so then.
    years: dict[int, set[int]] = {quarter: set() for quarter in range(4)}
    for cutoff in cutoffs:
        years[(cutoff.month - 1) // 3].add(cutoff.year)
    return all(len(met) > 1 for met in years.values())


def _supported(group: Group, *, columns: tuple[TypedColumn, ...], calendar: bool) -> bool:
    known = {(column.table, column.name) for column in columns}
    return (group not in NEEDS or NEEDS[group] in known) and (group not in ("calendar", "external") or calendar)


def _windows_for(days: int, *, candidates: Sequence[int], history: int) -> tuple[int, ...]:
    # The label's own length replaces a candidate within a tenth of it: two near-copies teach nothing.
    others = (w for w in candidates if abs(w - days) > days / 10)
    return tuple(w for w in sorted({*others, days}) if w <= history) or (history,)


def _top_categories(db: Tables, *, number: int) -> tuple[str | int, ...]:
    sql = """
        SELECT p.category_id FROM order_items i JOIN products p USING (product_id) WHERE p.category_id IS NOT NULL
        GROUP BY p.category_id ORDER BY SUM(CAST(i.amount AS DECIMAL(18, 4))) DESC, p.category_id LIMIT $number"""
    return tuple(query(db, sql, number=number)["category_id"].to_pylist())


def _frequent(db: Tables, table: str, column: str, *, number: int) -> tuple[str, ...]:
    sql = f"""
        SELECT {column} AS word FROM {table} WHERE {column} IS NOT NULL
        GROUP BY {column} ORDER BY COUNT(*) DESC, {column} LIMIT $number"""
    return tuple(query(db, sql, number=number)["word"].to_pylist())
