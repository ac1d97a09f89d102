"""What is known of events, by hand on a shop of two customers; and the waves of an age."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from patron.features.encode import encode, fit_encoder
from patron.features.nodes import PERIODS, RELATIVE_TIME, EventKind, event_features, relative_time
from patron.tables.database import Database
from patron.testing import scrambled_after, shuffled

CUTOFF = date(2020, 3, 1)
TIME, INT, REAL, TEXT = pa.timestamp("us"), pa.int64(), pa.float64(), pa.string()
LATER = datetime(2020, 3, 1, 1)  # an hour after the cutoff


def on(month: int, day: int) -> datetime:
    return datetime(2020, month, day)


def table(rows: Sequence[tuple[Any, ...]], **types: pa.DataType) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(column, kind) for (name, kind), column in zip(types.items(), columns, strict=True)})


@pytest.fixture(scope="module")
def past() -> Database:
    """The shop as of the cutoff; every table has a row later than that."""
    tables = {
        "customers": table([(1,), (2,)], customer_id=INT),
        "orders": table(
            [(11, 1, on(2, 10)), (12, 2, on(2, 20)), (13, 2, LATER)],
            order_id=INT, customer_id=INT, order_date=TIME,
        ),
        "order_items": table(
            [(11, 5, 30.0), (11, 5, 10.0), (11, 6, 60.0), (12, 5, 0.0), (13, 5, 1.0)],
            order_id=INT, product_id=INT, amount=REAL,
        ),
        "order_events": table(
            [(12, "shipped", on(2, 21), None), (11, "paid", datetime(2020, 2, 12, 12), 100.0),
             (11, "fraud", on(2, 9), 1.0), (12, "paid", LATER, 5.0), (13, "asked", on(2, 5), 1.0)],
            order_id=INT, event_type=TEXT, event_date=TIME, amount=REAL,
        ),
        "interactions": table(
            [(72, 1, on(2, 28), "call"), (71, 2, on(1, 31), None), (73, 2, LATER, "call")],
            interaction_id=INT, customer_id=INT, interaction_date=TIME, interaction_type=TEXT,
        ),
        "returns": table(
            [(81, 11, 5, 1, on(2, 15), "broken", 20.0), (82, 11, None, 1, on(2, 20), None, 25.0),
             (83, 12, 5, 2, on(2, 29), "late", 7.0), (84, None, 6, 2, on(2, 29), "late", 7.0),
             (85, 11, 6, 1, LATER, "late", 7.0)],
            return_id=INT, order_id=INT, product_id=INT, customer_id=INT, return_date=TIME, return_reason=TEXT,
            refund_amount=REAL,
        ),
        "loyalty": table(
            [(93, 1, on(2, 10), "gold", 50.0, 30.0, 0.0), (91, 1, on(1, 1), "gold", 10.0, 10.0, 0.0),
             (92, 1, on(1, 11), "silver", 20.0, 10.0, 5.0), (94, 1, on(2, 20), "gold", 60.0, 10.0, 2.0),
             (95, 1, LATER, "gold", 99.0, 9.0, 9.0), (96, 2, on(2, 1), None, None, None, None)],
            loyalty_id=INT, customer_id=INT, loyalty_date=TIME, membership_level=TEXT, loyalty_points=REAL,
            points_earned=REAL, points_redeemed=REAL,
        ),
        "campaigns": table(
            [("b", 1, "mail", on(2, 20), 1.0), ("b", 2, "mail", on(2, 10), 0.0),
             ("b", 2, "mail", on(2, 25), None), ("a", 1, None, on(1, 1), None), ("b", 1, "mail", LATER, 1.0),
             ("c", 1, "mail", LATER, 1.0)],
            campaign_id=TEXT, customer_id=INT, campaign_type=TEXT, campaign_date=TIME, campaign_response=REAL,
        ),
    }  # fmt: skip
    return Database("shop", tables).upto(CUTOFF)


def known(past: Database, kind: EventKind) -> pd.DataFrame:
    return event_features(past, kind=kind, cutoff=CUTOFF)


def assert_row(frame: pd.DataFrame, key: Any, **values: Any) -> None:
    row = frame.loc[key]
    assert sorted(row.index) == sorted(values)
    for name, value in values.items():
        if value is None:
            assert pd.isna(row[name]), name
        else:
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value)), name


def test_order_events_are_numbered_as_they_became_known(past: Database) -> None:
    """One that is dated before its order is known with the order; that of an order to come is not."""
    events = known(past, "order_event")
    assert events.index.tolist() == [0, 1, 2]
    assert_row(events, 0, event_type="fraud", amount=1, days_after_order=-1, age=21)
    assert_row(events, 1, event_type="paid", amount=100, days_after_order=2.5, age=17.5)
    assert_row(events, 2, event_type="shipped", amount=None, days_after_order=1, age=9)


def test_interactions(past: Database) -> None:
    interactions = known(past, "interaction")
    assert interactions.index.tolist() == [71, 72]
    assert_row(interactions, 71, interaction_type=None, age=30)
    assert_row(interactions, 72, interaction_type="call", age=2)


def test_returns_have_a_share_of_the_line_or_else_of_the_order(past: Database) -> None:
    returns = known(past, "return")
    assert returns.index.tolist() == [81, 82, 83, 84]
    assert_row(returns, 81, return_reason="broken", refund=20, share=20 / 40, days_after_order=5, age=15)
    assert_row(returns, 82, return_reason=None, refund=25, share=25 / 100, days_after_order=10, age=10)
    assert_row(returns, 83, return_reason="late", refund=7, share=None, days_after_order=9, age=1)  # a free line
    assert_row(returns, 84, return_reason="late", refund=7, share=None, days_after_order=None, age=1)


def test_loyalty_knows_since_when_the_level_holds(past: Database) -> None:
    """Gold came back on 2020-02-10; the gold of January does not count for that."""
    states = known(past, "loyalty")
    assert states.index.tolist() == [91, 92, 93, 94, 96]
    assert_row(states, 91, membership_level="gold", points=10, earned=10, redeemed=0, days_at_level=60, age=60)
    assert_row(states, 92, membership_level="silver", points=20, earned=10, redeemed=5, days_at_level=50, age=50)
    assert_row(states, 94, membership_level="gold", points=60, earned=10, redeemed=2, days_at_level=20, age=10)
    assert_row(states, 96, membership_level=None, points=None, earned=None, redeemed=None, days_at_level=29, age=29)


def test_a_campaign_is_one_row_and_knows_the_responses_so_far(past: Database) -> None:
    campaigns = known(past, "campaign")
    assert campaigns.index.tolist() == ["a", "b"]
    assert_row(campaigns, "a", campaign_type=None, touched=1, response_share=None, age=60)
    assert_row(campaigns, "b", campaign_type="mail", touched=2, response_share=0.5, age=20)


def test_a_database_that_goes_on_is_refused(past: Database) -> None:
    with pytest.raises(AssertionError, match="from a database that ends at 2020-03-01"):
        event_features(past, kind="return", cutoff=date(2020, 2, 1))


def test_tables_without_a_row_have_events_without_a_row() -> None:
    bare = Database("bare", {"customers": table([(1,)], customer_id=INT)}).upto(CUTOFF)
    for kind in get_args(EventKind):
        assert known(bare, kind).empty
        assert "age" in known(bare, kind)


# What must not matter, on a larger shop

HALF = date(2020, 12, 1)


@pytest.mark.parametrize("kind", get_args(EventKind))
@pytest.mark.parametrize("change", [lambda db: scrambled_after(db, cutoff=HALF), shuffled], ids=["future", "order"])
def test_neither_the_future_nor_the_order_of_rows_reaches_an_event(
    change: Callable[[Database], Database], kind: EventKind, shop: Database
) -> None:
    one, other = (event_features(db.upto(HALF), kind=kind, cutoff=HALF) for db in (shop, change(shop)))
    assert len(one) > 5
    assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_the_past_reaches_an_event(kind: EventKind, shop: Database) -> None:
    """The control of the test above."""
    changed = scrambled_after(shop, cutoff=date(2020, 9, 1)).upto(HALF)
    one, other = (event_features(db, kind=kind, cutoff=HALF) for db in (shop.upto(HALF), changed))
    assert not one.equals(other)


# Waves


def test_waves_of_an_age_by_hand() -> None:
    waves = relative_time(np.array([0.0, 7 / 4, 7.0, 365.25]))
    assert (waves.shape, waves.dtype) == ((4, RELATIVE_TIME), np.float32)
    assert_allclose(waves[0], [0, 1] * (RELATIVE_TIME // 2))
    assert_allclose(waves[:3, :2], [[0, 1], [1, 0], [0, 1]], atol=1e-6)  # the week: a quarter, then a whole one
    year = 2 * PERIODS.index(365.25)
    assert_allclose(waves[3, year : year + 2], [0, 1], atol=1e-6)
    assert_allclose(waves[3, -2:], [np.sin(np.log(366.25) * np.pi / 2), np.cos(np.log(366.25) * np.pi / 2)], rtol=1e-5)


def test_an_unknown_age_is_nought_in_all_waves() -> None:
    assert relative_time(np.array([np.nan])).tolist() == [[0.0] * RELATIVE_TIME]


def test_waves_tell_what_a_rank_does_not() -> None:
    """Days of the week: the rank of the age is blind to them, and the waves are not."""
    age = np.arange(700.0)
    weekend = age % 7 < 2
    rank = encode(fit_encoder(pd.DataFrame({"age": age})), pd.DataFrame({"age": age}))

    def explained(x: np.ndarray) -> float:
        design = np.column_stack([x, np.ones(len(age))])
        fit = design @ np.linalg.lstsq(design, weekend, rcond=None)[0]
        return float(np.corrcoef(fit, weekend)[0, 1])

    assert explained(rank) < 0.1
    assert explained(relative_time(age)) > 0.7
