"""Labels and populations by hand: half-open windows to the microsecond, returns, the floor, whom the rule admits."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from patron.days import Horizon, midnight
from patron.tables.database import Database
from patron.task.ltv import TaskConfig, TaskTable, concat, labelled, population
from patron.testing import scrambled_after

Event = tuple[str, datetime, float | None]  # customer, time, money; None is an order without items

CUTOFF, CLOSES = date(2020, 7, 1), date(2020, 7, 31)
AT, END = midnight(CUTOFF), midnight(CLOSES)
TICK = timedelta(microseconds=1)
NET = TaskConfig(horizon=Horizon(30, "days"), target="net", population=Horizon(12, "months"), horizons=(), query=None)
GROSS, EVERYBODY = replace(NET, target="gross"), replace(NET, population=None)

ORDERS: list[Event] = [
    ("barely", datetime(2019, 7, 1) + TICK, 3.0),
    ("old", datetime(2019, 7, 1), 3.0),
    ("old", datetime(2020, 7, 9), 200.0),
    ("edges", AT, 1.0),
    ("edges", AT + TICK, 2.0),
    ("edges", END, 4.0),
    ("edges", END + TICK, 8.0),
    ("sender", datetime(2020, 6, 1), 100.0),
    ("sender", datetime(2020, 7, 10), 30.0),
    ("loser", datetime(2020, 6, 2), 50.0),
    ("loser", datetime(2020, 7, 11), 5.0),
    ("silent", datetime(2020, 5, 1), 7.0),
    ("empty", datetime(2020, 5, 1), None),
    ("cents", datetime(2020, 5, 1), 1.0),
    ("cents", datetime(2020, 7, 2), 0.1),
    ("cents", datetime(2020, 7, 3), 0.2),
    ("later", AT + TICK, 9.0),
]
RETURNS: list[Event] = [
    ("sender", AT, 5.0),
    ("sender", AT + TICK, 1.0),
    ("sender", datetime(2020, 7, 15), 10.0),
    ("sender", END, 2.0),
    ("sender", END + TICK, 4.0),
    ("loser", datetime(2020, 7, 12), 20.0),
    ("later", datetime(2020, 7, 20), 99.0),
]


def make_shop(orders: Sequence[Event], returns: Sequence[Event] = ()) -> Database:
    """Each order has one item of its amount; one more customer never ordered. Rows are not in the order of time."""
    paid = [(k, amount) for k, (_, _, amount) in enumerate(orders) if amount is not None]
    return Database(
        "shop",
        {
            "customers": pa.table({"customer_id": sorted({who for who, _, _ in orders} | {"never"})}),
            "orders": _events(orders, key="order_id", time="order_date").drop_columns("money"),
            "order_items": pa.table({"order_id": [k for k, _ in paid], "amount": [amount for _, amount in paid]}),
            "returns": _events(returns, key="return_id", time="return_date", money="refund_amount"),
        },
    )


def _events(events: Sequence[Event], *, key: str, time: str, money: str = "money") -> pa.Table:
    return pa.table(
        {
            key: pa.array(range(len(events)), pa.int64()),
            "customer_id": pa.array([who for who, _, _ in events], pa.string()),
            time: pa.array([when for _, when, _ in events], pa.timestamp("us")),
            money: pa.array([amount for _, _, amount in events], pa.float64()),
        }
    )


def labels(rows: TaskTable) -> dict[str, float]:
    return dict(zip(rows.frame["customer_id"], rows.label.tolist(), strict=True))


def flagged(rows: TaskTable, name: str) -> set[str]:
    return set(rows.frame.loc[rows.frame[f"slice_{name}"], "customer_id"])


def test_gross_is_what_was_bought_in_the_window() -> None:
    rows = labelled(make_shop(ORDERS, RETURNS), cutoff=CUTOFF, config=GROSS)
    assert labels(rows) == {
        "barely": 0.0, "cents": 0.3, "edges": 6.0, "empty": 0.0, "loser": 5.0, "sender": 30.0, "silent": 0.0,
    }  # fmt: skip
    assert rows.floored == 0


def test_net_takes_off_what_came_back_in_the_window() -> None:
    """Whenever it was bought: 10 of the sender's refunds are for an order before the cutoff. The loser's -15 is 0."""
    rows = labelled(make_shop(ORDERS, RETURNS), cutoff=CUTOFF, config=NET)
    assert labels(rows) == {
        "barely": 0.0, "cents": 0.3, "edges": 6.0, "empty": 0.0, "loser": 0.0, "sender": 17.0, "silent": 0.0,
    }  # fmt: skip
    assert rows.floored == 1


def test_windows_meet_without_overlap() -> None:
    """One window's last order is not in the next: both together hold each order once."""
    shop = make_shop([*ORDERS, ("edges", datetime(2020, 9, 1), 16.0)])
    parts = [labels(labelled(shop, cutoff=cutoff, config=GROSS))["edges"] for cutoff in (CUTOFF, CLOSES)]
    assert parts == [6.0, 8.0]


def test_months_are_calendar_months() -> None:
    config = replace(GROSS, horizon=Horizon(1, "months"))
    assert labels(labelled(make_shop(ORDERS), cutoff=CUTOFF, config=config))["edges"] == 14.0  # to 2020-08-01


def test_the_rule_looks_back_twelve_months_from_the_cutoff() -> None:
    shop = make_shop(ORDERS, RETURNS)
    admitted = set(population(shop, cutoff=CUTOFF, config=NET).frame["customer_id"])
    assert admitted == {"barely", "cents", "edges", "empty", "loser", "sender", "silent"}
    everybody = set(population(shop, cutoff=CUTOFF, config=EVERYBODY).frame["customer_id"])
    assert everybody == admitted | {"old"}


def test_a_wider_rule_changes_no_label() -> None:
    shop = make_shop(ORDERS, RETURNS)
    wide = labels(labelled(shop, cutoff=CUTOFF, config=EVERYBODY))
    assert wide == labels(labelled(shop, cutoff=CUTOFF, config=NET)) | {"old": 200.0}


def test_nobody_in_the_population_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"nobody is in the population at cutoff 2024-01-01.* in the 12m before"):
        population(make_shop(ORDERS), cutoff=date(2024, 1, 1), config=NET)


def test_rows_are_sorted_and_carry_their_cutoff() -> None:
    rows = labelled(make_shop(ORDERS[::-1]), cutoff=CUTOFF, config=NET)
    assert rows.frame["customer_id"].is_monotonic_increasing
    assert (rows.cutoffs, rows.horizon) == ((CUTOFF,), NET.horizon)
    assert rows.frame["cutoff"].dtype == "datetime64[us]"
    assert_frame_equal(rows.frame, labelled(make_shop(ORDERS), cutoff=CUTOFF, config=NET).frame)


def test_slices_of_history_end_to_the_microsecond() -> None:
    ninety, hundred_eighty = datetime(2020, 4, 2), datetime(2020, 1, 3)
    shop = make_shop(
        [
            ("new", ninety, 1.0),
            ("new", AT, 1.0),
            ("known", ninety - TICK, 1.0),
            ("dormant", hundred_eighty - TICK, 1.0),
            ("dormant", datetime(2019, 9, 1), 1.0),
            ("awake", hundred_eighty, 1.0),
            ("awake", AT + TICK, 1.0),  # not known at the cutoff: still one order
        ]
    )
    rows = population(shop, cutoff=CUTOFF, config=NET)
    assert flagged(rows, "new") == {"new"}
    assert flagged(rows, "dormant") == {"dormant"}
    assert flagged(rows, "one_order") == {"known", "awake"}


def test_heavy_is_the_top_tenth_by_spend_so_far() -> None:
    spent: list[Event] = [(f"c{k:02d}", datetime(2020, 6, 1), float(k)) for k in range(1, 21)]
    rows = population(make_shop([*spent, ("c01", datetime(2020, 7, 5), 1_000.0)]), cutoff=CUTOFF, config=NET)
    assert flagged(rows, "heavy") == {"c19", "c20"}
    assert len(rows) == 20


@pytest.mark.parametrize(("last", "closed"), [(datetime(2020, 7, 29, 23, 59), False), (datetime(2020, 7, 30), True)])
def test_a_window_still_open_is_refused_with_both_dates(last: datetime, closed: bool) -> None:
    """Data that end on the last day of the window, here 2020-07-30, are complete."""
    shop = make_shop([("a", datetime(2020, 6, 1), 1.0), ("a", last, 2.0)])
    if closed:
        assert labels(labelled(shop, cutoff=CUTOFF, config=NET)) == {"a": 2.0}
        return
    with pytest.raises(ValueError, match="choose an earlier cutoff or a shorter horizon") as caught:
        labelled(shop, cutoff=CUTOFF, config=NET)
    assert "(2020-07-01, 2020-07-31] is not closed" in str(caught.value)
    assert "orders of 'shop' are known up to 2020-07-29" in str(caught.value)


def test_a_truncated_database_has_no_label_past_its_end() -> None:
    shop = make_shop(ORDERS, RETURNS)
    for known_until in (CUTOFF, date(2020, 7, 30)):
        with pytest.raises(ValueError, match=r"\(2020-07-01, 2020-07-31\] is not closed"):
            labelled(shop.upto(known_until), cutoff=CUTOFF, config=NET)
    whole = labelled(shop, cutoff=CUTOFF, config=NET)
    assert_frame_equal(labelled(shop.upto(CLOSES), cutoff=CUTOFF, config=NET).frame, whole.frame)


def test_data_that_end_early_are_no_more_complete_for_being_truncated_later() -> None:
    shop = make_shop([("a", datetime(2020, 6, 1), 1.0), ("a", datetime(2020, 7, 15), 2.0)])
    with pytest.raises(ValueError, match=r"\(2020-07-01, 2020-07-31\] is not closed.* known up to 2020-07-15"):
        labelled(shop.upto(date(2020, 9, 1)), cutoff=CUTOFF, config=NET)


def test_the_population_does_not_depend_on_the_outcome(shop: Database) -> None:
    cutoff, config = date(2021, 1, 1), replace(NET, horizon=Horizon(90, "days"))
    other = scrambled_after(shop, cutoff=cutoff)
    rows, changed = (labelled(db, cutoff=cutoff, config=config) for db in (shop, other))
    assert_frame_equal(rows.without_label().frame, changed.without_label().frame, check_exact=True)
    assert_frame_equal(rows.without_label().frame, population(shop, cutoff=cutoff, config=config).frame)
    assert abs(rows.label - changed.label).max() > 0
    assert 0 < len(flagged(rows, "new")) < len(rows)


def test_parts_of_a_table_and_tables_put_together() -> None:
    shop = make_shop([*ORDERS, ("edges", datetime(2020, 9, 1), 16.0)], RETURNS)
    both = concat([labelled(shop, cutoff=cutoff, config=NET) for cutoff in (CLOSES, CUTOFF)])
    assert both.cutoffs == (CUTOFF, CLOSES)
    assert both.floored == 2  # the loser at the first cutoff, the sender, who then only sent back, at the second
    assert_frame_equal(both.at(CUTOFF).frame, labelled(shop, cutoff=CUTOFF, config=NET).frame)
    paid = both.where(both.label > 0)
    assert sorted(paid.frame["customer_id"]) == ["cents", "edges", "edges", "sender"]
    assert "label" not in both.without_label().frame
    assert both.without_label().floored == 0


def test_a_customer_twice_at_one_cutoff_is_a_mistake() -> None:
    twice = pd.DataFrame({"customer_id": ["a", "a"], "cutoff": [pd.Timestamp(CUTOFF)] * 2})
    with pytest.raises(AssertionError, match="1 customers twice at one cutoff"):
        TaskTable(twice, NET.horizon)
