"""The cut of an export for RelBench is patron's: at each cutoff the same customers, orders and items are known."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from exports import NO_SETTINGS, VAL, by_hand, cut, made
from settings import TEST

from patron.serving.relbench_tables import relational
from patron.tables.database import Database
from patron.tables.schema import TABLES
from patron.testing import scrambled_after


def test_customers_are_known_from_registration_or_first_order() -> None:
    data = made(by_hand())
    known = data.tables["customers"].rows.to_pandas()["known_since"].astype(str).tolist()
    ids = data.numbers["customers"].to_pandas()
    assert ids["number"].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(zip(ids["id"], known, strict=True)) == [
        ("early", "2020-01-01 00:00:00"),
        ("never", "2020-02-01 10:00:00"),  # no registration: from the first order of the shop
        ("undated", "2020-02-01 10:00:00"),
        ("late", "2021-02-01 10:00:00"),  # ordered before it registered
        ("soon", "2021-03-01 00:00:00"),
        ("future", "2021-07-01 00:00:00"),
    ]


def test_items_have_the_date_of_their_order() -> None:
    items = made(by_hand()).tables["order_items"].rows.to_pandas()
    assert items["amount"].tolist() == [1.0, 1.5, 2.0, 3.0, 4.0]
    assert items["order_id"].tolist() == [0, 0, 1, 2, 3]
    assert items["order_date"].astype(str).tolist() == [
        "2020-02-01 10:00:00", "2020-02-01 10:00:00", "2021-02-01 10:00:00", "2021-06-01 10:00:00",
        "2021-08-01 10:00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("cutoff", [date(2020, 3, 1), date(2021, 3, 1), date(2021, 5, 1), date(2021, 9, 1)])
def test_by_hand_the_cut_knows_whom_patron_knows(cutoff: date) -> None:
    db = by_hand()
    data, past = made(db), db.upto(cutoff)
    known = {name: table.num_rows for name, table in past.tables.items() if name in data.tables}
    here = cut(data, cutoff)
    assert {name: len(frame) for name, frame in here.items()} == known
    ids = data.numbers["customers"].to_pandas()["id"].head(len(here["customers"]))
    assert set(ids) == set(past["customers"]["customer_id"].to_pylist())
    if cutoff == date(2021, 5, 1):
        assert here["order_events"]["order_id"].isna().tolist() == [True]  # the order is not known yet


@pytest.mark.parametrize("cutoff", [date(2020, 6, 15), VAL, TEST])
def test_the_cut_is_what_patron_knows(shop: Database, cutoff: date) -> None:
    data, past = made(shop), shop.upto(cutoff)
    here = cut(data, cutoff)
    assert {name: len(frame) for name, frame in here.items()} == {name: t.num_rows for name, t in past.tables.items()}
    for name, numbers in data.numbers.items():
        first = numbers.to_pandas()["id"].head(len(here[name]))
        assert set(first) == set(past[name][str(TABLES[name].key)].to_pylist()), name
    for name, column in {"order_items": "amount", "campaigns": "campaign_response", "external": "value"}.items():
        np.testing.assert_array_equal(np.sort(here[name][column]), np.sort(past[name][column].to_numpy()))
    assert all(len(here[name]) < data.tables[name].rows.num_rows for name in here if data.tables[name].time_col)


def test_another_future_leaves_the_cut_as_it_is(shop: Database) -> None:
    before = cut(made(shop), TEST)
    after = cut(relational(scrambled_after(shop, cutoff=TEST), chosen=NO_SETTINGS), TEST)
    assert before.keys() == after.keys()
    for name in before:
        pd.testing.assert_frame_equal(before[name], after[name], check_exact=True)
