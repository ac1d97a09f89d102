"""A column that knows the future is found, beside what the past tells; one that may well be older than the cutoff is
not."""

import re

import numpy as np
import pandas as pd
import pytest

from patron.evaluation.leaks import Check
from patron.evaluation.suspicion import signs, suspicion

CUT = 0.3
NAMED = re.compile(r"customers, (.+?)(?:, by (?:word|code))?$")


def customers(number: int = 400) -> pd.DataFrame:
    """Rates of customers, what they bought before and after a cutoff, and what is called the past's score of it."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(1.0, 4.0, number)
    return pd.DataFrame(
        {"rate": rate, "before": rng.poisson(rate), "after": rng.poisson(rate), "noise": rng.random(number)}
    )


def looked_at(columns: pd.DataFrame, rows: pd.DataFrame) -> Check:
    label = rows["after"].to_numpy(dtype=float)
    return suspicion(columns, label=label, past=rows[["before"]], where="customers", cut=CUT)


def told(columns: pd.DataFrame, rows: pd.DataFrame) -> set[str]:
    found = looked_at(columns, rows).findings
    assert not any(finding.certain for finding in found)
    return {match[1] for finding in found if (match := NAMED.match(finding.where))}


def today(rows: pd.DataFrame) -> pd.DataFrame:
    """What an export says of customers at its own day."""
    total = rows["before"] + rows["after"]
    tenth = (total.rank(pct=True, method="first") * 9.999).astype(int)
    return pd.DataFrame({
        "total_spend": total,
        "less_is_more": -rows["after"],
        "tier": pd.cut(total, [-1, 3, 9, 20, 999], labels=["none", "bronze", "silver", "gold"]).astype(str),
        "customers.segment_code": np.array([7, 2, 9, 4, 0, 8, 5, 1, 6, 3])[tenth],  # its order means nothing
        "last_order_age": np.where(rows["after"] > rows["after"].median(), np.nan, rows["noise"]),
        "spend_group": np.where(rows["after"] > rows["after"].median(), "a", ""),
    })  # fmt: skip


def test_columns_that_know_the_future() -> None:
    rows = customers()
    assert told(today(rows), rows) == set(today(rows))


def test_columns_that_may_well_be_older_than_the_cutoff() -> None:
    rows = customers()
    rng = np.random.default_rng(1)
    honest = pd.DataFrame({
        "noise": rows["noise"],
        "until_then": rows["before"] + rows["noise"],
        "income": rows["rate"] * rng.lognormal(0, 2, len(rows)),  # it tells of the rate, as a good attribute does
        "town": rng.integers(0, 40, len(rows)).astype(str),  # and many words tell nothing of what they were counted on
        "customers.ward": rng.integers(0, 40, len(rows)).astype(float),
        "one": 1.0,
        "unknown": np.nan,
    })  # fmt: skip
    assert told(honest, rows) == set()


def test_an_attribute_may_be_as_good_as_a_leak() -> None:
    """Nothing in one export tells the two apart, so that it is a suspicion and no more."""
    rows = customers()
    rate = rows["rate"] * np.random.default_rng(1).lognormal(0, 0.5, len(rows))
    assert told(pd.DataFrame({"contract": rate}), rows) == {"contract"}


def test_the_past_takes_away_what_it_tells_in_any_shape() -> None:
    """Thresholds of what was bought before are no news, whatever they are called."""
    rows = customers()
    columns = pd.DataFrame({"u": (rows["before"] - 4) ** 2, "tier": np.where(rows["before"] > 6, "gold", "none")})
    assert told(columns, rows) == set()
    blind = rows.assign(before=0)  # what tells nothing takes nothing away
    assert told(columns[["tier"]], blind) == {"tier"}
    assert told(rows[["noise", "after"]], blind) == {"after"}


def test_few_customers_tell_nothing() -> None:
    check = looked_at(customers(49)[["after"]], customers(49))
    assert (check.findings, check.measured) == ((), "customers: 49 rows, too few to tell (fewer than 50)")
    assert told(customers(50)[["after"]], customers(50)) == {"after"}


@pytest.mark.parametrize("partial", [0.0, 0.3, 0.6])
def test_the_correlation_is_the_partial_one(partial: float) -> None:
    """Of normal columns that share a past it is known: in ranks, 6 / pi * asin(partial / 2), as in Pearson 1907. What
    trees have not learned of the past is left in both, and adds a little."""
    rng = np.random.default_rng(3)
    past, own, noise = rng.normal(size=(3, 4000))
    x, y = past + own, past + partial * own + np.sqrt(1 - partial**2) * noise
    check = suspicion(pd.DataFrame({"x": x}), label=y, past=pd.DataFrame({"past": past}), where="here", cut=1.0)
    match = re.search(r"largest correlation (0\.\d\d)", check.measured)
    assert match is not None
    assert float(match[1]) == pytest.approx(6 / np.pi * np.arcsin(partial / 2), abs=0.06)


def test_findings_are_ranked_by_what_they_add() -> None:
    rows = customers()
    columns = pd.DataFrame({"hint": rows["after"] + 6 * rows["noise"], "after": rows["after"]})
    found = looked_at(columns, rows).findings
    assert [finding.where for finding in found] == ["customers, after", "customers, hint"]
    gains = [re.match(r"it adds \+(0\.\d+) \[\+(0\.\d+), \+(0\.\d+)\] of Spearman", finding.what) for finding in found]
    for gain in gains:
        assert gain is not None
        middle, low, high = map(float, gain.groups())
        assert 0 < low < middle < high < 1
    assert "keep it if it was known by then" in found[0].mend


def came_back(number: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """A past, and whether customers ordered again: a third of those who bought little, nine in ten of the others."""
    rng = np.random.default_rng(0)
    often = rng.random(number) < 0.3
    return pd.DataFrame({"often": often.astype(float)}), rng.random(number) < np.where(often, 0.9, 0.33)


def test_rows_that_were_kept_only_of_those_who_came_back() -> None:
    past, back = came_back()
    rng = np.random.default_rng(1)
    touched = rng.random(len(back)) < 0.4
    there = pd.DataFrame({"campaigns, all": touched, "campaigns, kept": touched & back})
    check = signs(there, came_back=back, past=past, where="customers")
    (found,) = check.findings
    assert (found.where, found.certain) == ("customers, campaigns, kept", False)
    assert re.match(
        r"of \d+ customers who have it, 0 did not order again by the end of the data, where the past expects \d+",
        found.what,
    )


def test_a_row_may_tell_that_a_customer_is_still_there() -> None:
    """Half of those who leave are touched no more: an honest sign, which many have who do not come back."""
    past, back = came_back()
    touched = np.random.default_rng(1).random(len(back)) < np.where(back, 0.6, 0.3)
    check = signs(pd.DataFrame({"touched": touched}), came_back=back, past=past, where="customers")
    assert check.findings == ()
    few = signs(pd.DataFrame({"touched": back[:49]}), came_back=back[:49], past=past[:49], where="x")
    assert few.measured == "x: 49 rows, too few to tell (fewer than 50)"
