"""Every customer feature belongs to one group, told by its name alone, so that groups can be made, left out, compared.

Columns that come from the data carry the prefix of their group (`customer_geo`, `event_count_shipped`), so whatever
they are called, no two features have one name.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

Group = Literal[
    "attributes", "rfm", "windows", "percentiles", "baskets", "returns", "campaigns", "loyalty", "order_events",
    "interactions", "external", "calendar", "btyd", "twohop",
]  # fmt: skip

RFM = ("recency", "tenure", "orders", "spend_pace", "amount_mean")
PATTERNS: Mapping[Group, str] = {
    "attributes": r"customer_.+",
    "rfm": r"recency|tenure|orders|days_active|(spend|net|tenure)_pace|amount_(?!mean_percentile).+|gap_.+|overdue",
    "windows": r"(spend|orders|items|discount|net)_\d+d(_over_\d+d)?|lag_\d+|last_year",
    "percentiles": r"(recency|orders|amount_mean|spend_pace)_percentile",
    "baskets": r"products(_.+)?|categories(_\d+d)?|category_(top_share|entropy)|price_.+|share_of_.+|repeat_share"
    r"|(items|lines)_per_order|discount_share",
    "returns": r"returns?(_.+)?|refund_.+",
    "campaigns": r"campaigns?(_.+)?",
    "loyalty": r"loyalty_.+",
    "order_events": r"event_.+",
    "interactions": r"interactions?(_.+)?",
    "external": r"external_.+",
    "calendar": r"season_.+",
    "btyd": r"btyd_.+",
    "twohop": r"twohop_.+",
}


@cache
def group_of(column: str) -> Group:
    """The one group of a customer feature."""
    groups = [group for group, pattern in PATTERNS.items() if re.fullmatch(pattern, column, re.DOTALL)]
    assert len(groups) == 1, f"feature '{column}' is of the groups {groups}; it needs exactly one"
    return groups[0]
