"""The canonical tables: what a company's data is called inside patron.

Only `customers` and `orders` are required. Every other table, and every column that is not `required`, may be missing:
in SQL it is then there as an empty table or as a column of NULLs (`Database` sees to that), so that no query asks what
is present.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

Kind = Literal["id", "number", "money", "date", "text"]

# An id keeps the type of its column, int64 or string; the type here is that of a column which is absent.
ARROW: Mapping[Kind, pa.DataType] = {
    "id": pa.string(), "number": pa.float64(), "money": pa.float64(), "date": pa.timestamp("us"), "text": pa.string(),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column: its kind, whether the table is refused without it, whether NULL is allowed, and what values are."""

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    references: str | None = None  # the table whose key this column holds


@dataclass(frozen=True)
class TableSchema:
    """One table: its key (unique, or None), the column that says when a row became known (or None), its columns."""

    name: str
    key: str | None
    time: str | None
    columns: tuple[Column, ...]
    by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {column.name: column for column in self.columns})


def _key(name: str) -> Column:
    return Column(name, "id", required=True, nullable=False)


def _ref(name: str, table: str, *, required: bool = False, nullable: bool = True) -> Column:
    return Column(name, "id", required=required, nullable=nullable, references=table)


def _time(name: str) -> Column:
    return Column(name, "date", required=True, nullable=False)


_TABLES = (
    TableSchema("customers", "customer_id", "registration_date", (
        _key("customer_id"), Column("registration_date", "date"), Column("channel", "text"), Column("geo", "text"),
    )),
    TableSchema("orders", "order_id", "order_date", (
        _key("order_id"), _ref("customer_id", "customers", required=True, nullable=False),
        _time("order_date"), Column("channel", "text"),
    )),
    TableSchema("order_items", None, None, (
        _ref("order_id", "orders", required=True, nullable=False), _ref("product_id", "products"),
        Column("quantity", "number", minimum=0), Column("price", "money", minimum=0),
        Column("amount", "money", required=True, nullable=False, minimum=0),
    )),
    TableSchema("products", "product_id", None, (
        _key("product_id"), Column("product_name", "text"), _ref("category_id", "categories"),
        Column("price", "money", minimum=0), Column("cost", "money", minimum=0),
    )),
    TableSchema("categories", "category_id", None, (
        _key("category_id"), Column("name", "text"), _ref("parent_id", "categories"),
    )),
    TableSchema("order_events", None, "event_date", (
        _ref("order_id", "orders", required=True, nullable=False),
        Column("event_type", "text", required=True, nullable=False), _time("event_date"), Column("amount", "money"),
    )),
    TableSchema("interactions", "interaction_id", "interaction_date", (
        _key("interaction_id"), _ref("customer_id", "customers", required=True, nullable=False),
        _time("interaction_date"),
        Column("interaction_type", "text"), Column("interaction_details", "text"),
    )),
    TableSchema("returns", "return_id", "return_date", (
        _key("return_id"), _ref("order_id", "orders"), _ref("product_id", "products"),
        _ref("customer_id", "customers", required=True, nullable=False), _time("return_date"),
        Column("return_reason", "text"),
        Column("refund_amount", "money", required=True, nullable=False, minimum=0),
    )),
    TableSchema("loyalty", "loyalty_id", "loyalty_date", (
        _key("loyalty_id"), _ref("customer_id", "customers", required=True, nullable=False), _time("loyalty_date"),
        Column("membership_level", "text"), Column("loyalty_points", "number", minimum=0),
        Column("points_earned", "number", minimum=0), Column("points_redeemed", "number", minimum=0),
    )),
    TableSchema("campaigns", None, "campaign_date", (  # one row a customer touched, so a campaign has many
        _key("campaign_id"), _ref("customer_id", "customers", required=True, nullable=False),
        Column("campaign_type", "text"),
        _time("campaign_date"), Column("campaign_response", "number", minimum=0, maximum=1),
    )),
    TableSchema("external", None, "date", (
        _time("date"), Column("series", "text", required=True, nullable=False),
        Column("value", "number", required=True),
    )),
)  # fmt: skip

TABLES: Mapping[str, TableSchema] = {table.name: table for table in _TABLES}
REQUIRED_TABLES = ("customers", "orders")


def known_tables(names: Iterable[str]) -> tuple[str, ...]:
    """`names`, each once, in the order of the schema. Raises ValueError for one that is not canonical."""
    wanted = tuple(names)
    for name in wanted:
        if name not in TABLES:
            near = difflib.get_close_matches(name, TABLES, n=1)
            raise ValueError(
                f"there is no table '{name}'; "
                + (f"did you mean '{near[0]}'?" if near else f"patron knows {list(TABLES)}")
            )
    return tuple(name for name in TABLES if name in wanted)
