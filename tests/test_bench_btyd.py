"""What `scripts/bench_btyd.py` compares: the histories by hand, and a row of the sample."""

import numpy as np
import pytest
from cdnow_sample import histories as sample
from cdnow_sample import lifetimes_or_skip


@pytest.mark.slow
def test_a_row_says_how_both_did() -> None:
    lifetimes_or_skip()
    from patron.evaluation.lifetimes import beside_lifetimes, jobs

    known = sample().assign(days=lambda table: table["frequency"] + 1, monetary=np.linspace(5, 90, 2357))
    for job in jobs(known):
        row = beside_lifetimes(job, repeats=1)
        assert row["customers"] == 2357
        assert row["max_difference"] < 1e-6
        assert row["ratio"] == pytest.approx(row["lifetimes_seconds"] / row["patron_seconds"], rel=0.05)
        assert row["patron_log_likelihood"] >= row["lifetimes_log_likelihood"] - 1e-6
    assert row["what"] == "Gamma-Gamma"


def test_the_histories_are_of_all_customers_of_cdnow() -> None:
    """Customer 4 bought on 1 and 18 January, 2 August and 12 December 1997; the data end on 30 June 1998."""
    lifetimes_or_skip()
    from patron.evaluation.lifetimes import histories

    known = histories()
    assert len(known) == 23_570
    columns = ["frequency", "recency", "T", "days"]
    assert known.loc["00001", columns].tolist() == [0, 0, 545, 1]
    assert known.loc["00004", columns].tolist() == [3, 345, 545, 4]
    assert known.loc["00004", "monetary"] == pytest.approx((29.33 + 29.73 + 14.96 + 26.48) / 4)
