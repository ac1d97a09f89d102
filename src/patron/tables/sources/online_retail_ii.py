"""Online Retail II: two years of a British gift wholesaler's invoices in GBP, published by UCI (doi 10.24432/C5CG6D).

Read from UCI's workbook or from a Parquet file of its rows. Each row goes to one place, and the log counts them:

- `bad debt`: invoices that start with A.
- `adjustments`: stock codes that do not start with five digits: postage, manual entries, discounts, fees, tests,
  vouchers, and a little merchandise with other codes: DCGS… (without customers), SP1002 (3 rows), PADS (19 rows).
- `stock corrections`: price 0, quantity 0, or a quantity whose sign does not go with the kind of invoice.
- `no customer`: merchandise sold to, or taken back from, nobody known. It names products and does nothing else.
- `returns`: cancellations (invoices that start with C) of merchandise. A return belongs to the customer's latest order
  up to then that holds the product; 9 % have none, as the purchase may lie before the file, and a NULL `order_id`.
- `order items`: what is left.

As of a day nothing is known that came later. A customer's registration date and `geo` are the time and country of the
first row (13 customers move); a product has its first description, and as category a word of that alone. There is no
product price: a median over the file would leak. An invoice whose rows are minutes apart has the date of its first. Two
orders (541431 and 581483) are cancelled within minutes: only a target net of returns is sane.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from patron.tables.read import UnreadableTables, Validation, select

FILES = ("online_retail_ii.parquet", "online_retail_II.xlsx")
COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
_log = logging.getLogger("patron")

_LINES = """
    SELECT *, CASE
        WHEN invoice LIKE 'A%' THEN 'bad debt'
        WHEN NOT regexp_matches(product_id, '^[0-9]{5}') THEN 'adjustments'
        WHEN price <= 0 OR quantity = 0 OR (quantity < 0) <> (invoice LIKE 'C%') THEN 'stock corrections'
        WHEN customer_id IS NULL THEN 'no customer'
        WHEN quantity < 0 THEN 'returns'
        ELSE 'order items' END AS place
    FROM (
        SELECT row, "Invoice" AS invoice, upper(trim("StockCode")) AS product_id, trim("Description") AS description,
               "Quantity" AS quantity, "InvoiceDate" AS time, "Price" AS price, "Customer ID"::BIGINT AS customer_id,
               "Country" AS country
        FROM file)
"""
_PLACES = "SELECT place, count(*) AS n FROM lines GROUP BY place ORDER BY n DESC, place"
_CUSTOMERS = """
    SELECT customer_id, min(time) AS registration_date, first(country ORDER BY time, row) AS geo
    FROM lines WHERE place IN ('order items', 'returns') GROUP BY customer_id ORDER BY customer_id
"""
_ORDERS = """
    SELECT invoice AS order_id, min(customer_id) AS customer_id, min(time) AS order_date
    FROM lines WHERE place = 'order items' GROUP BY invoice ORDER BY min(row)
"""
_ORDER_ITEMS = """
    SELECT invoice AS order_id, product_id, quantity, price, quantity * price AS amount
    FROM lines WHERE place = 'order items' ORDER BY row
"""
_RETURNS = """
    WITH
    back AS (FROM lines WHERE place = 'returns'),
    bought AS (
        SELECT orders.customer_id, items.product_id, orders.order_date, max(order_id) AS order_id
        FROM items JOIN orders USING (order_id) GROUP BY ALL)
    SELECT invoice || '-' || row_number() OVER (PARTITION BY invoice ORDER BY row) AS return_id, bought.order_id,
           back.product_id, back.customer_id, back.time AS return_date, -quantity * price AS refund_amount
    FROM back ASOF LEFT JOIN bought
        ON back.customer_id = bought.customer_id AND back.product_id = bought.product_id
        AND back.time >= bought.order_date
    ORDER BY row
"""
_PRODUCTS = """
    WITH named AS (
        SELECT product_id, first(description ORDER BY time, row) AS product_name FROM lines
        WHERE place IN ('order items', 'returns', 'no customer') AND description IS NOT NULL GROUP BY product_id)
    SELECT product_id, product_name
    FROM (SELECT DISTINCT product_id FROM lines WHERE place IN ('order items', 'returns'))
    LEFT JOIN named USING (product_id)
    ORDER BY product_id
"""
# The last word that is no colour, size or filler, in the singular: WHITE HANGING HEART T-LIGHT HOLDER -> HOLDER.
_CATEGORISED = r"""
    WITH words AS (
        SELECT *, regexp_extract_all(regexp_replace(upper(product_name),
            '\b(RED|PINK|BLUE|GREEN|WHITE|BLACK|CREAM|IVORY|SILVER|GOLD|PURPLE|ORANGE|YELLOW|BROWN|GREY|CLEAR|NATURAL|'
            'TURQUOISE|LILAC|COLOURS?|SMALL|MEDIUM|LARGE|ASSORTED|ASST|DESIGNS?)\b', '', 'g'), '[A-Z]{3,}') AS words
        FROM products)
    SELECT * EXCLUDE (words),
           regexp_replace(regexp_replace(words[-1], '(X|CH|SH)ES$', '\1'), '([^AS])S$', '\1') AS category_id
    FROM words
"""
_CATEGORIES = """
    SELECT DISTINCT category_id, category_id AS name FROM products WHERE category_id IS NOT NULL ORDER BY category_id
"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OnlineRetailIIConfig:
    """`path` is the Parquet file, UCI's workbook, or a folder that holds one of them under its published name."""

    path: Path
    name: Literal["online_retail_ii"] = "online_retail_ii"
    validation: Validation = "strict"


def read(config: OnlineRetailIIConfig) -> dict[str, pa.Table]:
    """Raw customers, orders, order items, returns, products and categories. The log accounts for every row."""
    lines = select(_LINES, file=_stored(_locate(config.path.expanduser())))
    _log_places(lines)
    orders, items = select(_ORDERS, lines=lines), select(_ORDER_ITEMS, lines=lines)
    products = select(_CATEGORISED, products=select(_PRODUCTS, lines=lines))
    return {
        "customers": select(_CUSTOMERS, lines=lines),
        "orders": orders,
        "order_items": items,
        "returns": select(_RETURNS, lines=lines, orders=orders, items=items),
        "products": products,
        "categories": select(_CATEGORIES, products=products),
    }


def _log_places(lines: pa.Table) -> None:
    places = select(_PLACES, lines=lines).to_pylist()
    counts = ", ".join(f"{row['n']:,} {row['place']}" for row in places)
    _log.info("online_retail_ii: %s rows: %s", f"{lines.num_rows:,}", counts)


def _locate(path: Path) -> Path:
    for candidate in (path, *(path / name for name in FILES)):
        if candidate.is_file():
            return candidate
    page = "https://archive.ics.uci.edu/dataset/502/online+retail+ii"
    mend = f"fetch the workbook from {page} and give its folder as path"
    raise UnreadableTables([f"online_retail_ii: {path} holds neither {' nor '.join(FILES)}; {mend}"])


def _stored(path: Path) -> pa.Table:
    """The file's rows in their order, numbered by `row`."""
    try:
        file = _workbook(path) if path.suffix.lower() == ".xlsx" else _parquet(path)
    except ImportError as error:
        raise UnreadableTables([f"{path}: a workbook needs openpyxl; pip install 'patron[data]'"]) from error
    except (pa.ArrowInvalid, BadZipFile) as error:
        raise UnreadableTables([f"{path} is neither a Parquet file nor a workbook: {error}"]) from error
    return file.append_column("row", pa.array(range(file.num_rows), pa.int64()))


def _parquet(path: Path) -> pa.Table:
    _check_columns(pq.read_schema(path).names, path=path)
    return pq.read_table(path, columns=list(COLUMNS))


def _workbook(path: Path) -> pa.Table:
    """The rows of all sheets without index. Where sheets overlap in time, the first one's rows are kept."""
    _log.info("reading %s takes minutes; written once to %s its rows are read in seconds", path.name, FILES[0])
    kept: list[pd.DataFrame] = []
    text = {"Invoice": str, "StockCode": str, "Description": str}
    for sheet in pd.read_excel(path, sheet_name=None, dtype=text).values():
        _check_columns(sheet.columns, path=path)
        for earlier in kept:
            first, last = earlier["InvoiceDate"].min(), earlier["InvoiceDate"].max()
            sheet = sheet[~sheet["InvoiceDate"].between(first, last)]
        kept.append(sheet[list(COLUMNS)])
    return pa.Table.from_pandas(pd.concat(kept, ignore_index=True), preserve_index=False)


def _check_columns(present: Iterable[str], *, path: Path) -> None:
    missing = [column for column in COLUMNS if column not in set(present)]
    if missing:
        raise UnreadableTables([f"online_retail_ii: {path} lacks the columns {missing}; it needs {list(COLUMNS)}"])
