"""The truth of a world is what happens on average, and ranks customers better than their past does."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import spearmanr
from shared_worlds import NO_EFFECT, SIGNAL, START, close, sql, world_of

from patron.tables.worlds.purchases import gone
from patron.tables.worlds.world import World


def realised(world: World, *, now: int, days: int) -> dict[str, np.ndarray]:
    """Orders, gross and net spend of every customer in `(now, now + days]`."""
    window = f"> DATE '{START}' + {now} AND {{day}} <= DATE '{START}' + {now + days}"
    found = sql(world, f"""
        WITH bought AS (
            SELECT customer_id, count(DISTINCT order_id) AS orders, sum(amount) AS gross
            FROM orders JOIN order_items USING (order_id)
            WHERE order_date {window.format(day='order_date')} GROUP BY customer_id
        ), sent AS (
            SELECT customer_id, sum(refund_amount) AS refund FROM returns
            WHERE return_date {window.format(day='return_date')} GROUP BY customer_id
        )
        SELECT coalesce(orders, 0) AS orders, coalesce(gross, 0) AS gross,
               coalesce(gross, 0) - coalesce(refund, 0) AS net
        FROM latent LEFT JOIN bought USING (customer_id) LEFT JOIN sent USING (customer_id) ORDER BY customer_id
    """)  # fmt: skip
    return {name: found[name].to_numpy(dtype=float) for name in found}


def states(world: World, now: int) -> dict[str, np.ndarray]:
    """Where customers stand in their life: masks."""
    customers, purchases = world.truth.customers, world.truth.config.purchases
    come, stays, left = customers.arrives <= now, customers.leaves > now, gone(customers, world.truth.config) <= now
    new = customers.arrives + purchases.trial_days > now
    return {
        "trial": come & stays & new,
        "mature": come & stays & ~new,
        "leaving": come & ~stays & ~left,
        "gone": come & left,
    }


@pytest.mark.parametrize(
    "wanted",
    [
        (),
        ("data.calendar={christmas:2,shift:1.5,shift_day:950}",),
        ("data.contacts={reach:0.8,lift:3,discount:0.2}", "data.catalogue.return_rate=0.2"),
        ("data.arrivals={growth:40,cold_share:0.5}", "data.purchases={trial_days:270,lifetime_days:600}"),
    ],
    ids=["plain", "season and shift", "campaigns and returns", "growth and cold"],
)
@pytest.mark.parametrize(("now", "days"), [(905, 90), (1060, 365)])
def test_the_truth_is_what_happens_on_average(wanted: tuple[str, ...], now: int, days: int) -> None:
    world = world_of("world", "data.customers=20000", "data.seed=3", "data.contacts.interactions=0", *wanted)
    expected = world.truth.expected(START + timedelta(days=now), days=days)
    happened = realised(world, now=now, days=days)
    for name, mask in states(world, now).items():
        assert mask.sum() > 200
        for measure, values in happened.items():
            off = (values - getattr(expected, measure))[mask]
            close(off.mean(), 0, sd=off.std(), n=len(off))
            if name == "gone" and measure != "net":
                assert not values[mask].any()
                assert not getattr(expected, measure)[mask].any()
    nobody = world.truth.customers.arrives > now
    assert not expected.orders[nobody].any()
    assert not expected.net[nobody].any()


def test_a_first_order_that_is_sent_back_later_is_expected_to_be() -> None:
    """Nobody orders again, all is sent back: what is there at the cutoff is refunded until day 30 of the order."""
    wanted = "data.purchases={rate:1e-9,trial_rate:1e-9,value_spread:0}"
    world = world_of("world", wanted, "data.catalogue.return_rate=1", "data.customers=3000", *NO_EFFECT)
    age = 800 - world.truth.customers.arrives
    expected = world.truth.expected(START + timedelta(days=800), days=90)
    still_there = np.where(age > 0, 1 - np.clip((age - 3) / 27, 0, 1), 0)
    assert expected.net == pytest.approx(-50 * still_there, abs=1e-5)
    assert expected.gross == pytest.approx(np.zeros(3000), abs=1e-5)
    off = (realised(world, now=800, days=90)["net"] - expected.net)[(age > 0) & (age < 30)]
    close(off.mean(), 0, sd=off.std(), n=len(off))


def test_the_truth_goes_two_years_beyond_the_world() -> None:
    known, end = world_of("tiny").truth, START + timedelta(days=731)
    assert (known.expected(end, days=730).gross >= known.expected(end, days=365).gross).all()
    with pytest.raises(ValueError, match=f"731 days from {end}"):
        known.expected(end, days=731)


def test_the_truth_ranks_better_than_the_past() -> None:
    world = world_of("world", *SIGNAL)
    expected = world.truth.expected(START + timedelta(days=1000), days=365).gross
    past, future = realised(world, now=700, days=300)["gross"], realised(world, now=1000, days=365)["gross"]
    come = world.truth.customers.arrives <= 1000
    assert spearmanr(expected[come], future[come]).statistic > spearmanr(past[come], future[come]).statistic + 0.1
