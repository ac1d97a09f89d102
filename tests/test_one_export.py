"""What one export says of leaks that were planted in it, each alone, and of a clean one: at 12 months and at 90 days.

Worlds, plants and trees are drawn by fixed seeds, on one thread, so that nothing here depends on chance.
"""

from datetime import date
from functools import cache

import pytest
from leaks_planted import PLANTED, plant
from shared_worlds import world_of

from patron.evaluation.one_export import one_export
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, labelled

CUTOFF = {"12m": date(2022, 12, 31), "90d": date(2023, 10, 2)}  # the label window closes with the data
WHERE = {  # the column in which a leak is found, among others
    "customers.segment": "customers.segment, by word",
    "customers.segment_code": "customers.segment_code, by code",
    "customers.total_spend": "customers.total_spend",
    "customers.tier": "customers.tier, by word",
    "customers.channel": "customers.channel, other than orders.channel",
    "customers.updated_at": "customers.updated_at",
    "products.units_sold": "products.units_sold",
    "campaigns": "campaigns, a row since the last order",
    "campaigns.campaign_response": "campaigns.campaign_response, above 0 since the last order",
    "loyalty.membership_level": "loyalty.membership_level, first, by word",
    "loyalty.loyalty_points": "loyalty.loyalty_points, first",
    "interactions": "interactions, a row since the last order",
    "customers.customer_id": "customers.customer_id",
    "order of rows": "customers, place of the row",
    "order_items.price": "order_items.price over list, spread",
}
QUICK = {("campaigns", "90d")}


@cache
def export() -> Database:
    return Database("shop", world_of("shop", "data.customers=1500", "data.seed=1").tables)


def found(db: Database, horizon: str) -> dict[str, str]:
    """What is said of each column, sign or place."""
    task = TaskConfig(horizon=horizon, target="net", population="12m", horizons=(), query=None)
    checks = one_export(db, answer=labelled(db, cutoff=CUTOFF[horizon], config=task))
    findings = [finding for check in checks for finding in check.findings]
    assert not any(finding.certain for finding in findings)
    return {finding.where.split(", ", 1)[1]: finding.what for finding in findings}


EACH = [
    pytest.param(name, horizon, marks=() if (name, horizon) in QUICK else pytest.mark.slow)
    for name in PLANTED
    for horizon in CUTOFF
]


@pytest.mark.parametrize(("name", "horizon"), EACH)
def test_each_kind_of_leak_is_found(name: str, horizon: str) -> None:
    assert WHERE[name] in found(plant(name, export(), cutoff=CUTOFF[horizon]), horizon)


@pytest.mark.slow
@pytest.mark.parametrize("horizon", CUTOFF)
def test_a_clean_export_is_not_suspected(horizon: str) -> None:
    assert found(export(), horizon) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["customers.updated_at", "order of rows", None])
def test_an_export_long_after_the_label_window(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine months later it knows more of what came then, and that is asked after too."""
    cutoff = date(2023, 1, 1)
    monkeypatch.setitem(CUTOFF, "90d", cutoff)
    db = export() if name is None else plant(name, export(), cutoff=cutoff)
    assert (set() if name is None else {WHERE[name]}) <= (columns := set(found(db, "90d")))
    assert columns or name is None
    assert name or not columns
