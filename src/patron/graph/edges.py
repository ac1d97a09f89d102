"""The relations of the purchase graph, as data: which nodes they join, which tables they need, and the SQL of their
rows.

| edge | from the table | carries |
|---|---|---|
| `customer placed order` | orders | time |
| `order contains product` | order_items | time, amount, quantity |
| `customer purchased product` | order_items, one edge a line | time, amount, quantity |
| `product belongs_to category` | products | |
| `category child_of category` | categories | |
| `customer co_shopper customer` | derived: Jaccard of product sets | time, jaccard |
| `order_event happened_to order` | order_events | time |
| `order_event concerned customer` | order_events | time |
| `customer did interaction` | interactions | time |
| `customer returned return` | returns | time |
| `return of_product product` | returns | time |
| `return of_order order` | returns | time |
| `customer has loyalty` | loyalty | time; a snapshot keeps the last state |
| `customer touched_by campaign` | campaigns, one edge a touch | time |
| `customer responded_to campaign` | campaigns, the touches with response 1 | time |

An order event hangs on its order and on its customer: without the order nodes it would be lost otherwise, and with them
it would be two hops away. A touch that was answered is an edge of both relations, so that the response reaches the net
as a relation of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from patron.features.nodes import ORDER_EVENTS

EdgeType = tuple[str, str, str]
Table = Literal[
    "customers", "orders", "order_items", "products", "categories", "order_events", "interactions", "returns",
    "loyalty", "campaigns", "external",
]  # fmt: skip
Relation = Literal[
    "placed", "contains", "purchased", "belongs_to", "child_of", "co_shopper", "happened_to", "concerned", "did",
    "returned", "of_product", "of_order", "has", "touched_by", "responded_to",
]  # fmt: skip


@dataclass(frozen=True)
class Edge:
    """A relation: `sql` gives `source, target` (ids) and what an edge carries, in an order of its own.

    `symmetric` edges stand in both directions already. `last_only`: a source has one edge at a time, the latest.
    `owner`: the node type to which each node at the other end belongs, alone and for good.
    """

    type: EdgeType
    needs: tuple[Table, ...]
    sql: str
    symmetric: bool = False
    last_only: bool = False
    owner: str | None = None


_LINES = """
SELECT o.customer_id, o.order_id, i.product_id, COALESCE(i.amount, 0) AS amount, COALESCE(i.quantity, 0) AS quantity,
       o.order_date AS time
FROM order_items i JOIN orders o USING (order_id) WHERE i.product_id IS NOT NULL
"""
_SOLD = f"SELECT DISTINCT product_id FROM ({_LINES})"


def _lines(source: str) -> str:
    return f"""
SELECT {source} AS source, product_id AS target, time, amount, quantity FROM ({_LINES})
ORDER BY time, order_id, product_id, amount, quantity"""


# Rows of a customer who is not known yet are no edges.
def _of_customer(table: str, key: str, time: str, *, where: str = "TRUE") -> str:
    return f"""
SELECT customer_id AS source, {key} AS target, {time} AS time FROM {table} JOIN customers USING (customer_id)
WHERE {where} ORDER BY time, source, target"""


_CHILD_OF = f"""
WITH RECURSIVE above(category_id) AS (
    SELECT category_id FROM products WHERE product_id IN ({_SOLD})
    UNION
    SELECT c.parent_id FROM categories c JOIN above USING (category_id)
)
SELECT category_id AS source, parent_id AS target FROM categories JOIN above USING (category_id)
WHERE parent_id IS NOT NULL ORDER BY source"""

EDGES: Mapping[str, Edge] = {
    "placed": Edge(("customer", "placed", "order"), ("orders",), """
SELECT customer_id AS source, order_id AS target, order_date AS time FROM orders ORDER BY target""", owner="customer"),
    "contains": Edge(("order", "contains", "product"), ("orders", "order_items"), _lines("order_id")),
    "purchased": Edge(("customer", "purchased", "product"), ("order_items",), _lines("customer_id")),
    "belongs_to": Edge(("product", "belongs_to", "category"), ("order_items", "products", "categories"), f"""
SELECT product_id AS source, category_id AS target FROM products
WHERE category_id IS NOT NULL AND product_id IN ({_SOLD}) ORDER BY source"""),
    "child_of": Edge(
        ("category", "child_of", "category"), ("order_items", "products", "categories"), _CHILD_OF),
    # From the lines; `build` makes pairs of customers of them.
    "co_shopper": Edge(
        ("customer", "co_shopper", "customer"), ("order_items",), _lines("customer_id"), symmetric=True),
    "happened_to": Edge(("order_event", "happened_to", "order"), ("order_events", "orders"), f"""
SELECT event_id AS source, order_id AS target, time FROM ({ORDER_EVENTS}) ORDER BY source""", owner="order"),
    "concerned": Edge(("order_event", "concerned", "customer"), ("order_events",), f"""
SELECT event_id AS source, customer_id AS target, time FROM ({ORDER_EVENTS}) ORDER BY source""", owner="customer"),
    "did": Edge(("customer", "did", "interaction"), ("interactions",),
                _of_customer("interactions", "interaction_id", "interaction_date"), owner="customer"),
    "returned": Edge(("customer", "returned", "return"), ("returns",),
                     _of_customer("returns", "return_id", "return_date"), owner="customer"),
    "of_product": Edge(("return", "of_product", "product"), ("returns", "order_items"), f"""
SELECT return_id AS source, product_id AS target, return_date AS time FROM returns JOIN customers USING (customer_id)
WHERE product_id IN ({_SOLD}) ORDER BY time, source"""),
    "of_order": Edge(("return", "of_order", "order"), ("returns", "orders"), """
SELECT r.return_id AS source, r.order_id AS target, GREATEST(r.return_date, o.order_date) AS time
FROM returns r JOIN orders o USING (order_id) JOIN customers c ON c.customer_id = r.customer_id
ORDER BY time, source"""),
    "has": Edge(("customer", "has", "loyalty"), ("loyalty",),
                _of_customer("loyalty", "loyalty_id", "loyalty_date"), last_only=True, owner="customer"),
    "touched_by": Edge(("customer", "touched_by", "campaign"), ("campaigns",),
                       _of_customer("campaigns", "campaign_id", "campaign_date")),
    "responded_to": Edge(("customer", "responded_to", "campaign"), ("campaigns",),
                         _of_customer("campaigns", "campaign_id", "campaign_date", where="campaign_response = 1")),
}  # fmt: skip


def is_echo(edge: EdgeType) -> bool:
    """Whether `edge`, of a snapshot, leads from an owner to what belongs to it alone: whatever comes back that way is
    what the owner has said itself."""
    source, relation, _ = edge
    return source == EDGES[relation.removeprefix("rev_")].owner
