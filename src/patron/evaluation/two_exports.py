"""Two exports of different days: what was known at the first day must be the same in both.

Rows are compared as multisets, however they are put; those that differ are paired by the key of the table, or where it
has none by the ids and the time in it, and their cells are compared. What differs was written, or taken away, after it
was known, so that what is learned from the later export is learned from what came since.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from patron.days import back, midnight
from patron.evaluation.history import of_order
from patron.evaluation.leaks import Check, Finding
from patron.tables.database import Database
from patron.tables.schema import TABLES, TableSchema

_ODD = np.uint64(0x9E3779B97F4A7C15)  # apart by it, the hashes of equal rows meet no other
CHANCE = 5.0  # standard errors by which an order of rows that knows nothing of what came later stays below
MIN_OWNERS = 50
MANY = 10  # a column of many values has one for every ten rows, or more
_KEEP = "keep what was written at the time: a row with its date for every change, or an export that is never rewritten"


def two_exports(earlier: Database, later: Database) -> tuple[Check, ...]:
    """A check a table: whether what `earlier` knew on the day before its last order is in `later` as it was, and no
    more of it; and whether the order of the rows knows what came in between. The last day may not be complete.

    Rows of tables without a time, and customers without a registration date, may be new. Tables and columns that only
    one of the exports has are not compared. Raises ValueError unless `later` goes on after `earlier` has ended.
    """
    day = back(earlier.last_day, 1)
    if later.last_day <= earlier.last_day:
        raise ValueError(
            f"table orders: the earlier export '{earlier.name}' ends on {earlier.last_day}, the later one "
            f"'{later.name}' on {later.last_day}; audit the later one, and give the folder of the other as `earlier`"
        )
    activity = _activity(later, day=day)
    known = earlier.upto(day), later.upto(day)
    names = [name for name in TABLES if len(earlier[name]) and len(later[name])]
    return tuple(_table(TABLES[name], *known, activity=activity, day=day) for name in names)


@dataclass(frozen=True)
class _Both:
    """The rows of one table that were known at a day, as two exports have them, with the columns of both, as objects
    that can be compared. `here` and `there` say of each row whether the other export has it too."""

    schema: TableSchema
    earlier: pd.DataFrame
    later: pd.DataFrame
    here: pd.Series
    there: pd.Series

    @classmethod
    def of(cls, schema: TableSchema, earlier: pa.Table, later: pa.Table) -> "_Both":
        shared = [name for name in earlier.column_names if name in later.column_names]
        columns = {name: _alike(earlier[name], later[name]) for name in shared}
        one, other = (pd.DataFrame({name: pair[k] for name, pair in columns.items()}) for k in (0, 1))
        keys = _numbered(one), _numbered(other)
        return cls(schema, one, other, keys[0].isin(keys[1]), keys[1].isin(keys[0]))

    @property
    def identity(self) -> list[str]:
        """The columns by which a row is known again: the key, or the ids and the time."""
        if self.schema.key:
            return [self.schema.key]
        ids = [column.name for column in self.schema.columns if column.kind == "id"]
        return [name for name in (*ids, str(self.schema.time)) if name in self.earlier]

    def paired(self) -> pd.DataFrame:
        """The rows that differ, those of one identity side by side: `x` and `x later`, and `_merge`."""
        one = _occurrence(self.earlier[~self.here], self.identity)
        other = _occurrence(self.later[~self.there], self.identity)
        return one.merge(other, on=[*self.identity, "_nth"], how="outer", suffixes=("", " later"), indicator=True)


def _table(schema: TableSchema, earlier: Database, later: Database, *, activity: pd.DataFrame, day: date) -> Check:
    both = _Both.of(schema, earlier[schema.name], later[schema.name])
    found = [*_cells(both, day=day), *_rows(both, day=day)]
    owner = _owner(schema, later)
    if owner is not None:
        found += _order(both, owner=owner[both.there], activity=activity, day=day)
    measured = f"{schema.name}: {len(both.earlier)} rows known at {day}, {both.earlier.shape[1]} columns of two exports"
    return Check("exports", measured, tuple(found))


def _cells(both: _Both, *, day: date) -> Iterator[Finding]:
    pairs = both.paired()
    pairs = pairs[pairs["_merge"] == "both"]
    for name in [name for name in both.earlier if name not in both.identity]:
        one, other = pairs[name], pairs[f"{name} later"]
        changed = pairs[(one != other) & ~(one.isna() & other.isna())]
        if len(changed):
            what = (
                f"{_share(len(changed), len(both.earlier))} of the rows known at {day} have another value in the later "
                f"export, for example {_keys(changed, both.identity)}"
            )
            yield Finding("exports", f"table {both.schema.name}, column {name}", what, _KEEP)


def _rows(both: _Both, *, day: date) -> Iterator[Finding]:
    pairs, where = both.paired(), f"table {both.schema.name}, rows"
    gone, new = pairs[pairs["_merge"] == "left_only"], pairs[pairs["_merge"] == "right_only"]
    if len(gone):
        what = f"{_share(len(gone), len(both.earlier))} of those known at {day} are not in the later export"
        yield Finding("exports", where, f"{what}, for example {_keys(gone, both.identity)}", _KEEP)
    new = new[_must_be_known(both.schema, new)]
    if len(new):
        what = f"{_share(len(new), len(both.later))} of those dated by {day} were not in the earlier export"
        yield Finding("exports", where, f"{what}, for example {_keys(new, both.identity)}", _KEEP)


def _must_be_known(schema: TableSchema, new: pd.DataFrame) -> np.ndarray:
    # A product or category has no date: it may be younger than the earlier export. So may a customer without one.
    if schema.name == "order_items":
        return np.ones(len(new), dtype=bool)
    if schema.time is None:
        return np.zeros(len(new), dtype=bool)
    name = f"{schema.time} later" if f"{schema.time} later" in new else schema.time
    return new[name].notna().to_numpy()


# --- the order of the rows


def _order(both: _Both, *, owner: np.ndarray, activity: pd.DataFrame, day: date) -> Iterator[Finding]:
    # The place of a row in the later export, beside that in the earlier one and what its customer did in between.
    earlier, later = both.earlier[both.here], both.later[both.there]
    place = pd.Series(np.arange(len(earlier)), index=_numbered(earlier).to_numpy())
    before = place.reindex(_numbered(later).to_numpy()).to_numpy()
    if len(later) == 0 or (np.diff(before) > 0).all() or _is_sorted(later):
        return
    rows = pd.DataFrame({"owner": owner, "before": before, "after": np.arange(len(later), dtype=float)})
    means = rows.groupby("owner").mean()
    came = activity.reindex(means.index).fillna(0.0)
    told = {name: _partial(means["after"], came[name], given=means["before"]) for name in came}
    name = max(told, key=lambda one: abs(told[one]))
    if len(means) >= MIN_OWNERS and abs(told[name]) * np.sqrt(len(means)) > CHANCE:
        what = f"places have changed since the earlier export, and follow the {name} after {day} (rank correlation "
        mend = "put the rows in the order of an id or a date, or shuffle them"
        yield Finding("exports", f"table {both.schema.name}, order of the rows", f"{what}{told[name]:.2f})", mend)


def _is_sorted(rows: pd.DataFrame) -> bool:
    # By a column of many values, up or down: such an order says no more than the column.
    for name in rows:
        codes = rows[name].rank(method="dense", na_option="top").to_numpy()
        steps = np.diff(codes)
        if codes.max() * MANY > len(rows) and (not (steps < 0).any() or not (steps > 0).any()):
            return True
    return False


def _partial(one: pd.Series, other: pd.Series, *, given: pd.Series) -> float:
    ranks = pd.DataFrame({"one": one, "other": other, "given": given}).rank().corr().fillna(0.0)
    shared = ranks["given"]
    left = np.sqrt(max(0.0, (1 - shared["one"] ** 2) * (1 - shared["other"] ** 2)))
    return float((ranks.loc["one", "other"] - shared["one"] * shared["other"]) / left) if left > 1e-6 else 0.0


def _activity(later: Database, *, day: date) -> pd.DataFrame:
    # What each customer did after the day: `orders, spend, last order`.
    orders = later["orders"].select(["order_id", "customer_id", "order_date"]).to_pandas()
    new = orders[orders["order_date"] > pd.Timestamp(midnight(day))]
    items = later["order_items"].select(["order_id", "amount"]).to_pandas()
    spend = items.groupby("order_id")["amount"].sum().reindex(new["order_id"]).fillna(0.0).to_numpy()
    instants = new["order_date"].astype("datetime64[us]").astype("int64")
    by = new.assign(spend=spend, instant=instants).groupby("customer_id")
    return pd.DataFrame({"orders": by.size(), "spend": by["spend"].sum(), "last order": by["instant"].max()})


def _owner(schema: TableSchema, later: Database) -> np.ndarray | None:
    # The customer of each row, where the table or its orders say.
    table = later[schema.name]
    if "customer_id" in table.column_names:
        return table["customer_id"].to_pandas().to_numpy(dtype=object)
    if "order_id" in table.column_names:
        owner = later["orders"]["customer_id"].take(of_order(table, later["orders"]))
        return owner.to_pandas().to_numpy(dtype=object)
    return None


# --- rows and cells that can be compared


def _alike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> tuple[pd.Series, pd.Series]:
    # Dates as microseconds; where the types differ otherwise, as texts.
    if pa.types.is_temporal(one.type) and pa.types.is_temporal(other.type):
        pair = [values.cast(pa.timestamp("us")).cast(pa.int64()) for values in (one, other)]
        return pair[0].to_pandas(), pair[1].to_pandas()
    numbers = [pa.types.is_integer(values.type) or pa.types.is_floating(values.type) for values in (one, other)]
    if one.type != other.type and all(numbers):
        return one.cast(pa.float64()).to_pandas(), other.cast(pa.float64()).to_pandas()
    if one.type != other.type:
        return one.cast(pa.string()).to_pandas(), other.cast(pa.string()).to_pandas()
    return one.to_pandas(), other.to_pandas()


def _numbered(frame: pd.DataFrame) -> pd.Series:
    # A name for each row, the same for the same row; equal rows are counted.
    hashed = pd.Series(pd.util.hash_pandas_object(frame, index=False).to_numpy())
    return hashed + hashed.groupby(hashed).cumcount().astype(np.uint64) * _ODD


def _occurrence(rows: pd.DataFrame, identity: Sequence[str]) -> pd.DataFrame:
    others = [str(name) for name in rows if name not in identity]
    ordered = rows.sort_values(others, kind="stable") if others else rows
    return ordered.assign(_nth=ordered.groupby(list(identity), dropna=False).cumcount())


def _share(number: int, rows: int) -> str:
    return f"{number} of {rows} ({number / rows:.1%})"


def _keys(rows: pd.DataFrame, identity: Sequence[str]) -> str:
    ids = [str(name) for name in identity if name.endswith("_id")] or list(identity)
    first = rows.sort_values(ids, kind="stable").drop_duplicates(ids).head(3)
    return f"{' and '.join(ids)} " + ", ".join("/".join(map(str, row)) for row in first[ids].itertuples(index=False))
