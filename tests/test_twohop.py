"""Two-hop aggregates by hand: what other buyers of the same products did, in closed windows, the customer left out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import log
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from settings import SMALL

from patron.days import Horizon, midnight
from patron.features.asof import customer_features, product_features, specify
from patron.features.twohop import PRIOR
from patron.tables.database import Database
from patron.testing import shuffled

CUTOFF, MONTH = date(2020, 7, 1), Horizon(30, "days")
# (order, customer, age in days, product, amount)
LINES = [
    (1, "a", 100, "p", 10.0),
    (2, "a", 80, "q", 5.0),
    (3, "b", 60, "p", 20.0),
    (4, "b", 40, None, 7.0),
    (5, "b", 10, "p", 4.0),
    (6, "c", 50, "q", 8.0),
    (7, "c", 20, "q", 2.0),
    (8, "d", 5, "p", 1.0),
]
LATER = ["later_spend", "later_share", "growth", "later_buyers"]


def at(age: float) -> datetime:
    return midnight(CUTOFF) - timedelta(days=age)


def make_shop(lines: Sequence[tuple[Any, ...]] = LINES) -> Database:
    orders, owners, ages, products, amounts = zip(*lines, strict=True)
    days = pa.array([at(age) for age in ages], pa.timestamp("us"))
    return Database("shop", {
        "customers": pa.table({"customer_id": list("edcba")}),  # e never ordered
        "orders": pa.table({"order_id": orders, "customer_id": owners, "order_date": days}),
        "order_items": pa.table({"order_id": orders, "product_id": products, "amount": amounts}),
    })  # fmt: skip


def twohop(db: Database) -> pd.DataFrame:
    spec = specify(db, config=SMALL.features, horizon=MONTH, cutoffs=[CUTOFF])
    found = customer_features(db.upto(CUTOFF), cutoff=CUTOFF, spec=spec, groups=("twohop",))
    return found.rename(columns=lambda name: name.removeprefix("twohop_"))


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return twohop(make_shop())


def assert_values(row: pd.Series, **expected: float) -> None:
    assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-9)


def with_(*lines: tuple[Any, ...]) -> Database:
    """The shop with these lines in the place of those of the same order, or beside them."""
    kept = [line for line in LINES if line[0] not in {new[0] for new in lines}]
    return make_shop([*kept, *lines])


def test_later_spend_of_earlier_buyers(found: pd.DataFrame) -> None:
    """Closed: a spent 5 in the 30 days after p and nothing after q; b spent 7 after the first p; c spent 2 after q.

    In the 30 days up to that purchase a had spent 10 and 15, b 20, c 8. d bought p, whose others are a and b; the mean
    over all pairs of others is 3.5 and 13.25.
    """
    assert PRIOR == 5
    later, before = (5 + 7 + 5 * 3.5) / 7, (10 + 20 + 5 * 13.25) / 7
    assert_values(found.loc["d"], later_spend=later, growth=later / before, later_buyers=log(3))
    assert_values(found.loc["d"], later_share=(2 + 5 * 0.75) / 7)


def test_the_customer_is_left_out(found: pd.DataFrame) -> None:
    """Of p, b has a's 5 as the only other; the pairs of others are a's two and c's."""
    assert_values(found.loc["b"], later_spend=(5 + 5 * 7 / 3) / 6, later_buyers=log(2))
    weight = {"p": 0.5 ** (100 / 30), "q": 0.5 ** (80 / 30)}
    of = {"p": (7 + 5 * 4.5) / 6, "q": (2 + 5 * 4.5) / 6}
    mean = sum(weight[product] * of[product] for product in of) / sum(weight.values())
    assert_values(found.loc["a"], later_spend=mean)


def test_the_other_buyers_now(found: pd.DataFrame) -> None:
    """In the last 30 days b spent 4 and c 2; d is too new for a pace. Tenures are 100, 60, 50 and 5 days."""
    assert_values(found.loc["d"], pace=(4 + 5 * 6 / 4) / 7, active=(1 + 5 * 2 / 4) / 7, repeat=(1 + 5 * 2 / 4) / 7)
    assert_values(found.loc["d"], tenure=(160 + 5 * 310 / 4) / 7, buyers=log(3))


def test_demand_of_the_products(found: pd.DataFrame) -> None:
    """Of p the others bought one in the last 30 days, for 4, and none in the 30 before; of q the same for 2 and 8."""
    assert_values(found.loc["d"], demand=log(2), trend=log(5))
    weight = {"p": 0.5 ** (100 / 30), "q": 0.5 ** (80 / 30)}
    trend = (weight["p"] * log(6) + weight["q"] * (log(3) - log(9))) / sum(weight.values())
    assert_values(found.loc["a"], trend=trend)


def test_co_shoppers_spend_fades(found: pd.DataFrame) -> None:
    """d has p in common with a and b, one of three buyers each."""
    a = 10 * 0.5 ** (100 / 30) + 5 * 0.5 ** (80 / 30)
    b = 20 * 0.25 + 7 * 0.5 ** (40 / 30) + 4 * 0.5 ** (1 / 3)
    assert found.loc["d", "co_spend"] == pytest.approx((a + b) / 2, abs=2e-4)
    assert_values(found.loc["d"], co_overlap=log(1 + 2 / 3))


def test_products_know_how_all_their_buyers_did() -> None:
    """Nobody is left out: of p, a's 5 and b's 7 followed, of q a's 0 and c's 2; in the last 30 days b spent 4, c 2."""
    db = make_shop()
    spec = specify(db, config=SMALL.features, horizon=MONTH, cutoffs=[CUTOFF])
    products = product_features(db.upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="product_id")
    assert products.index.tolist() == ["p", "q"]
    assert products["buyer_later_spend"].tolist() == pytest.approx([(12 + 5 * 3.5) / 7, (2 + 5 * 3.5) / 7])
    assert products["buyer_pace"].tolist() == pytest.approx([(4 + 5 * 1.5) / 7, (2 + 5 * 1.5) / 7])
    assert products["buyer_tenure"].tolist() == pytest.approx([(165 + 5 * 63) / 8, (150 + 5 * 63) / 7])


def test_without_products_nothing_is_known(found: pd.DataFrame) -> None:
    assert found.loc["e"].isna().all()
    assert found.drop("e").notna().all(axis=None)
    assert (10 <= found.shape[1] <= 20, set(found.dtypes)) == (True, {np.dtype(np.float64)})


def test_ones_own_record_never_comes_back() -> None:
    """What b spends, ever and after buying p, is in the columns of the others and in none of b's, to the last bit."""
    one, other = twohop(make_shop()), twohop(with_((4, "b", 40, None, 7_000.0), (3, "b", 60, "p", 21.0)))
    assert_frame_equal(one.loc[["b"]], other.loc[["b"]], check_exact=True)
    assert one.loc["d", "later_spend"] < other.loc["d", "later_spend"]
    assert one.loc["d", "co_spend"] < other.loc["d", "co_spend"]


def test_windows_that_are_open_do_not_count() -> None:
    """c bought q 20 days ago: what c has spent since says nothing yet, of c and of the others alike."""
    one, other = twohop(make_shop()), twohop(with_((9, "c", 1, None, 900.0)))
    assert_frame_equal(one[LATER], other[LATER], check_exact=True)
    assert one.loc["a", "pace"] < other.loc["a", "pace"]


def test_a_window_closes_at_the_cutoff_and_starts_after_the_purchase() -> None:
    """(purchase, purchase + 30 days] of the purchase 30 days ago holds an order at the cutoff, and not the purchase."""
    lines = [(1, "a", 30, "p", 10.0), (2, "a", 0, None, 3.0), (3, "b", 1, "p", 1.0)]
    assert_values(twohop(make_shop(lines)).loc["b"], later_spend=3, growth=0.3, later_buyers=log(2))
    young = twohop(make_shop([(1, "a", 29.99, "p", 10.0), *lines[1:]]))
    assert young.loc["b", ["later_spend", "growth", "later_share"]].isna().all()


def test_the_order_of_rows_does_not_matter(shop: Database) -> None:
    cutoff = date(2021, 4, 1)
    spec = specify(shop, config=SMALL.features, horizon=SMALL.task.horizon, cutoffs=[cutoff])
    one, other = (
        customer_features(db.upto(cutoff), cutoff=cutoff, spec=spec, groups=("twohop",))
        for db in (shop, shuffled(shop, seed=3))
    )
    assert_frame_equal(one, other, check_exact=True)
    assert one.nunique().min() > 50


def test_where_products_are_not_known_there_is_no_column() -> None:
    bare = make_shop([(order, owner, age, None, amount) for order, owner, age, _, amount in LINES])
    assert twohop(bare).shape == (5, 0)
    spec = specify(make_shop(), config=SMALL.features, horizon=MONTH, cutoffs=[CUTOFF])
    later = customer_features(bare.upto(CUTOFF), cutoff=CUTOFF, spec=spec, groups=("twohop",))
    assert later.isna().all(axis=None)
    assert later.shape == (5, 13)
    assert replace(spec, groups=()).has("order_items", "product_id")
