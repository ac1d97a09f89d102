"""Clean shops, one after the other: what the audit of one export says of each."""

from dataclasses import replace

import pandas as pd
import pytest
from newcomer import composed

from patron.alarms import AlarmsConfig, alarms
from patron.config import load


@pytest.mark.slow
def test_a_row_for_every_shop_and_check() -> None:
    config = load(composed("alarms", "customers=120", "seeds=2"), schema=AlarmsConfig)
    assert sorted(config.shops) == ["cold", "no_signal", "seed_regime", "shop", "steady"]
    rows = alarms(replace(config, shops={"shop": config.shops["shop"]}))
    assert rows.groupby(["shop", "seed"])["task"].agg(list).to_dict() == {
        ("shop", 0): ["12m"] * 3, ("shop", 1): ["90d"] * 3,
    }  # fmt: skip
    assert rows["measured"].str.match(r"(customers|products) at 202[23]-\d\d-\d\d: \d+ ").all()
    assert list(rows["alarms"]) == [0] * 6
    assert (rows["found"] == "").all()
    assert rows.loc[rows["measured"].str.contains("largest"), "largest"].between(0, 1).all()
    assert pd.isna(rows["largest"]).sum() == 2  # signs are counted, not correlated
