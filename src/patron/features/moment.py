"""A database as of a cutoff beside the columns asked of it: what every block of features is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pyarrow as pa

from patron.days import midnight
from patron.features.spec import FeatureSpec, history_days
from patron.tables.engine import Tables, query


@dataclass(frozen=True)
class Moment:
    """`db` must end at `cutoff`: AssertionError otherwise."""

    db: Tables
    cutoff: date
    spec: FeatureSpec

    def __post_init__(self) -> None:
        require_end(self.db, self.cutoff)

    @property
    def customers(self) -> pd.Index:
        """The customers known, sorted; named `customer_id`."""
        return _customers(self.db)

    @property
    def history(self) -> int:
        """Days since the first order."""
        return history_days(self.db, self.cutoff)

    @property
    def days(self) -> int:
        """The length of the label window at this cutoff, in days."""
        return self.spec.horizon.days_after(self.cutoff)

    def pace(self, window: int) -> float:
        """What a sum over the last `window` days is multiplied with to be that of a label window."""
        return self.days / min(window, self.history)

    def run(self, name: str, *, tables: Mapping[str, pa.Table] | None = None, **template: Any) -> pd.DataFrame:
        """The result of `sql/name.sql`, rendered with `template`; SQL knows the cutoff as `$cutoff`."""
        return run(self.db, name, cutoff=self.cutoff, tables=tables, **template)


@lru_cache(maxsize=64)
def _customers(db: Tables) -> pd.Index:
    ids = query(db, "SELECT customer_id FROM customers")["customer_id"]
    return pd.Index(ids.to_pandas(), name="customer_id").sort_values()


def run(
    db: Tables, name: str, *, cutoff: date, tables: Mapping[str, pa.Table] | None = None, **template: Any
) -> pd.DataFrame:
    """The result of `sql/name.sql` on a database that ends at the cutoff: AssertionError otherwise."""
    require_end(db, cutoff)
    sql = _environment().get_template(f"{name}.sql").render(**template)
    return query(db, sql, cutoff=midnight(cutoff), **(tables or {})).to_pandas()


def require_end(db: Tables, cutoff: date) -> None:
    """Raises AssertionError unless `db` ends at the cutoff."""
    assert db.known_until == cutoff, f"features at {cutoff} from a database that ends at {db.known_until}"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "sql"), undefined=jinja2.StrictUndefined
    )
