"""CDNOW: what 23,570 people who first bought in early 1997 bought until June 1998, from the Python package lifetimes.

Fader and Hardie's data. What is odd about it, and what is done:

- A customer may have several orders on one day. Each row is an order here, numbered in the order of the file. The
  literature counts the orders of one day as one occasion; that is a matter of features.
- Orders worth 0 dollars exist and are kept.
- There are no products: an order has one item, `quantity` CDs for `amount` dollars.
- Nobody is known before the first order, so that is the registration date.
- The sample of 2,357 customers has a second id, which is left out: they have the ids that they have in the whole.
"""

from typing import Literal

import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from patron.tables.read import Validation, packaged_file, select

_FIELDS = ("customer_id", "date", "number_of_cds", "dollar_value")
_ORDERS = "SELECT order_id, customer_id, strptime(date, '%Y%m%d') AS order_date FROM purchases"
_ORDER_ITEMS = "SELECT order_id, number_of_cds::BIGINT AS quantity, dollar_value::DOUBLE AS amount FROM purchases"
_CUSTOMERS = """
    SELECT customer_id, min(order_date) AS registration_date FROM orders GROUP BY customer_id ORDER BY customer_id
"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CdnowConfig:
    """CDNOW, whole or the `sample` of one in ten on which the published parameters were estimated."""

    name: Literal["cdnow"] = "cdnow"
    sample: bool = False
    validation: Validation = "strict"


def read(config: CdnowConfig) -> dict[str, pa.Table]:
    """Raw customers, orders and order items, in USD. Customer ids are text, as in the file: '00001'."""
    purchases = _purchases(sample=config.sample)
    orders = select(_ORDERS, purchases=purchases)
    return {
        "customers": select(_CUSTOMERS, orders=orders),
        "orders": orders,
        "order_items": select(_ORDER_ITEMS, purchases=purchases),
    }


def _purchases(*, sample: bool) -> pa.Table:
    """The file's rows as text, with a running `order_id` from 1."""
    file = "CDNOW_sample.txt" if sample else "CDNOW_master.txt"
    path = packaged_file(f"datasets/{file}", package="lifetimes", mend="pip install 'patron[data]'")
    rows = [line.split() for line in path.read_text().splitlines()]
    rows = [[row[0], *row[2:]] for row in rows] if sample else rows[1:]  # the sample has a second id and no header
    columns = dict(zip(_FIELDS, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({"order_id": pa.array(range(1, len(rows) + 1), pa.int64()), **columns})
