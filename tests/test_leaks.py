"""Every check finds the leak that is planted for it, says where it is, and finds nothing where there is none."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from settings import HELD_OUT, SMALL, TEST
from torch_geometric.data import HeteroData

from patron.evaluation.leaks import (
    Check,
    columns,
    differences,
    edge_rows,
    edges,
    error,
    population,
    predictions,
    windows,
)
from patron.graph.build import build
from patron.tables.database import Database
from patron.task.ltv import TaskTable, concat, labelled
from patron.task.split import Fold, folds
from patron.testing import scrambled_after

CO_SHOPPER = ("customer", "co_shopper", "customer")
PURCHASED = ("customer", "purchased", "product")


def said(check: Check) -> str:
    """What the one finding of a check says."""
    (finding,) = check.findings
    assert finding.check == check.name
    assert finding.mend
    return f"{finding.where}: {finding.what}"


# Windows


def at(shop: Database, cutoff: str) -> TaskTable:
    return labelled(shop, cutoff=date.fromisoformat(cutoff), config=SMALL.task)


def test_windows_of_a_split_do_not_touch(shop: Database, fold: Fold) -> None:
    check = windows([fold, *folds(shop, task=SMALL.task, split=HELD_OUT)])
    assert check.findings == ()
    assert check.measured == f"{2 + 1 + len(fold.refit.cutoffs) + 3 * 3} label windows of 4 folds"


def test_windows_may_end_on_the_day_of_the_next_cutoff_and_not_later(shop: Database, fold: Fold) -> None:
    for cutoff, found in (("2021-01-01", 0), ("2021-01-02", 1)):  # 90 days before the test, and a day less
        broken = replace(fold, refit=concat([fold.refit.at(fold.refit.cutoffs[0]), at(shop, cutoff)]))
        assert len(windows([broken]).findings) == found
    expected = "fold 2021-04-01, refit and test: 1 label windows reach past 2021-04-01: (2021-01-02, 2021-04-02]"
    assert said(windows([broken])) == expected


def test_customers_at_the_cutoff_of_the_test_must_be_others(shop: Database) -> None:
    held_out = folds(shop, task=SMALL.task, split=HELD_OUT)[0]
    shared = held_out.test.frame["customer_id"].iloc[:2].tolist()
    table = labelled(shop, cutoff=HELD_OUT.cutoff, config=SMALL.task)
    both = concat([held_out.refit, table.where(table.frame["customer_id"].isin(shared))])
    what = said(windows([replace(held_out, refit=both)]))
    assert what.startswith("fold customers-0, refit and test: 2 customers are in both at the same cutoffs")


def test_test_rows_carry_no_label(fold: Fold) -> None:
    labelled_test = replace(fold.test, frame=fold.test.frame.assign(label=1.0))
    assert said(windows([replace(fold, test=labelled_test)])) == "fold 2021-04-01, test: the rows carry label"


def test_auxiliary_labels_are_blank_while_their_windows_are_open(fold: Fold) -> None:
    """Train cutoffs are 2020-09-01 and 2020-10-01, validation is 2021-01-01: 100 days reach past it from the second."""
    label = np.where(fold.train.frame["cutoff"] == pd.Timestamp("2020-09-01"), 1.0, np.nan)
    blank, known = (replace(fold.train, frame=fold.train.frame.assign(label_100d=one)) for one in (label, 1.0))
    assert windows([replace(fold, train=blank)]).findings == ()
    assert said(windows([replace(fold, train=known)])) == (
        "fold 2021-04-01, train and val: 1 label windows reach past 2021-01-01: (2020-10-01, 2021-01-09]"
    )


# Population


def again(shop: Database) -> Fold:
    (other,) = folds(scrambled_after(shop, cutoff=TEST), task=SMALL.task, split=SMALL.split)
    return other


def test_the_population_of_a_split_stays(shop: Database, fold: Fold) -> None:
    check = population(fold, again(shop))
    assert check.findings == ()
    assert check.measured.startswith(f"{sum(map(len, (fold.train, fold.val, fold.refit, fold.test)))} rows")


def test_rows_that_come_and_go(fold: Fold) -> None:
    fewer = replace(fold, test=fold.test.where(~fold.test.frame["customer_id"].isin([7, 9])))
    for one, other in ((fold, fewer), (fewer, fold)):
        assert said(population(one, other)) == (
            f"fold 2021-04-01, test: 2 of {len(fold.test)} rows come or go with the future, for example 7, 9"
        )


def test_labels_and_slices_that_change(fold: Fold) -> None:
    frame = fold.refit.frame
    late = replace(fold.refit, frame=frame.assign(label=frame["label"] + (frame["customer_id"] == 7)))
    number = int((frame["customer_id"] == 7).sum())
    assert said(population(fold, replace(fold, refit=late))) == (
        f"fold 2021-04-01, refit: label of {number} of {len(frame)} rows changes with the future"
    )
    heavy = replace(fold.test, frame=fold.test.frame.assign(slice_heavy=True))
    assert "slice_heavy of" in said(population(fold, replace(fold, test=heavy)))


def test_labels_of_open_windows_may_change_where_customers_are_held_out(shop: Database) -> None:
    one, other = (
        folds(db, task=SMALL.task, split=HELD_OUT)[0] for db in (shop, scrambled_after(shop, cutoff=HELD_OUT.cutoff))
    )
    assert not one.refit.frame["label"].equals(other.refit.frame["label"])
    assert population(one, other).findings == ()


# Columns and predictions


def test_differences_are_exact() -> None:
    one = pd.DataFrame(
        {"same": [1.0, np.nan], "moved": [1.0, 2.0], "lost": [1.0, 2.0], "word": ["a", "b"], "gone": [1, 2]}
    )
    other = pd.DataFrame(
        {"same": [1.0, np.nan], "moved": [1.0, 2.0 + 1e-15], "lost": [1.0, np.nan], "word": ["a", "c"]}
    )
    moved = differences(one, other)
    assert moved["same"] == 0
    assert 0 < moved["moved"] < 1e-14
    assert {name: moved[name] for name in ("lost", "word", "gone")} == dict.fromkeys(("lost", "word", "gone"), np.inf)
    assert differences(one, one) == dict.fromkeys(one, 0.0)
    assert differences(one, other.loc[[1, 0]]) == moved  # by the index, not by the place


def test_columns_are_named_that_change_with_the_future() -> None:
    frame = pd.DataFrame({"orders": [1.0, 2.0], "rank": [0.5, 1.0], "tier": ["a", "b"]}, index=[3, 4])
    other = frame.assign(rank=[0.75, 1.0], tier=["a", None])
    check = columns({"customers": frame, "orders": frame}, {"customers": other, "orders": frame}, cutoff=TEST)
    what = "features of customers at 2021-04-01: 2 columns change with the future: rank by 0.25, tier by inf"
    assert said(check) == what
    assert check.measured == "6 columns of 2 tables, 4 rows at 2021-04-01"
    assert "2 rows come or go" in said(columns({"x": frame}, {"x": frame.rename(index={4: 5})}, cutoff=TEST))
    assert columns({"x": frame}, {"x": frame.loc[[4, 3]]}, cutoff=TEST).findings == ()


def test_predictions_must_agree_to_the_last_bit() -> None:
    frame = pd.DataFrame({"customer_id": [1, 2], "cutoff": [TEST, TEST], "ltv_mean": [1.0, 2.0], "q10": np.nan})
    words = {"check": "future", "where": "mine", "what": "they change", "mend": "mend it"}
    check = predictions(frame, frame.iloc[::-1], **words)
    assert (check.findings, check.measured) == ((), "mine: 2 rows, 2 columns, largest difference 0")
    changed = predictions(frame, frame.assign(ltv_mean=[1.0, 2.5]), **words)
    assert said(changed) == "mine: they change (by up to 0.5 in ltv_mean)"
    assert "no row is predicted" in said(predictions(frame, frame.assign(customer_id=[8, 9]), **words))


# Edges


@pytest.fixture(scope="module")
def graph(shop: Database) -> HeteroData:
    return build(shop.upto(TEST), config=SMALL.graph)


def with_time(graph: HeteroData, edge: tuple[str, str, str], time: torch.Tensor) -> HeteroData:
    other = graph.clone()
    other[edge].time = time
    return other


def test_edges_of_the_graph_are_known_when_they_say(shop: Database, graph: HeteroData) -> None:
    other = build(scrambled_after(shop, cutoff=TEST).upto(TEST), config=SMALL.graph)
    check = edges(graph, other, past=shop.upto(TEST), cutoff=TEST)
    assert check.findings == ()
    number = sum(graph[edge].edge_index.shape[1] for edge in graph.edge_types)
    assert check.measured == f"{number} edges of {len(graph.edge_types)} relations at 2021-04-01"
    assert graph[CO_SHOPPER].edge_index.shape[1] > 100


def test_edges_later_than_the_cutoff(shop: Database) -> None:
    later, cutoff = build(shop.upto(TEST), config=SMALL.graph), date(2021, 3, 1)
    number = int((later[PURCHASED].time > pd.Timestamp(cutoff).timestamp()).sum())
    assert number > 0
    check = edges(later, later, past=shop.upto(TEST), cutoff=cutoff)
    (found,) = [finding for finding in check.findings if "purchased" in finding.where]
    assert found.what == f"{number} of {len(later[PURCHASED].time)} edges are later than the cutoff"


def test_an_edge_that_comes_with_the_future(shop: Database, graph: HeteroData) -> None:
    other = graph.clone()
    other[PURCHASED].edge_index[0, 0] += 1  # one edge goes and another comes
    what = said(edges(graph, other, past=shop.upto(TEST), cutoff=TEST))
    assert what == "edges customer purchased product at 2021-04-01: 2 edges come or go with the future"


def test_a_relation_that_comes_with_the_future(shop: Database, graph: HeteroData) -> None:
    other = graph.clone()
    number = other[PURCHASED].edge_index.shape[1]
    del other[PURCHASED]
    assert f": {number} edges come or go" in said(edges(graph, other, past=shop.upto(TEST), cutoff=TEST))


def test_one_derived_edge_that_is_there_too_early(shop: Database, graph: HeteroData) -> None:
    time = graph[CO_SHOPPER].time.clone()
    time[5] = int(pd.Timestamp("2020-01-02").timestamp())
    early, number = with_time(graph, CO_SHOPPER, time), len(time)
    what = said(edges(early, early, past=shop.upto(TEST), cutoff=TEST))
    assert what.endswith(f": 1 of {number} edges are there before their Jaccard index was reached")


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_popular_products_are_left_out_as_the_graph_leaves_them_out(shop: Database, share: float) -> None:
    """An edge carries the Jaccard index of the other products; who counts all of them finds others."""
    rare = replace(SMALL.graph, co_shopper=replace(SMALL.graph.co_shopper, max_popularity=share))
    graph, past = build(shop.upto(TEST), config=rare), shop.upto(TEST)
    assert graph[CO_SHOPPER].edge_index.shape[1] > 100
    assert edges(graph, graph, past=past, cutoff=TEST, max_popularity=share).findings == ()
    what = said(edges(graph, graph, past=past, cutoff=TEST))
    assert what.endswith("edges are there before their Jaccard index was reached")


def test_derived_edges_known_from_the_earlier_of_two_days(shop: Database, graph: HeteroData) -> None:
    """The slip that is easily made: the day on which the first of both sets last grew."""
    rows = edge_rows(graph, CO_SHOPPER)
    lines = shop.upto(TEST)["order_items"].to_pandas().merge(shop["orders"].to_pandas(), on="order_id")
    first = lines.sort_values("order_date").drop_duplicates(["customer_id", "product_id"])
    grown = first.groupby("customer_id")["order_date"].max().astype("datetime64[s]").astype("int64")
    earlier = np.minimum(grown[rows["source"]].to_numpy(), grown[rows["target"]].to_numpy()) + 1
    early = with_time(graph, CO_SHOPPER, torch.from_numpy(earlier))
    what = said(edges(early, early, past=shop.upto(TEST), cutoff=TEST))
    assert int(what.split(": ")[1].split()[0]) > 0.8 * len(rows)


# Too good to be true


@pytest.mark.parametrize(("value", "found"), [(0.50, 0), (0.48, 1), (0.0, 1), (2.0, 0), (float("nan"), 0)])
def test_an_error_far_below_the_best_simple_baseline(value: float, found: int) -> None:
    """70 % of 0.7 is 0.49."""
    check = error(value, baselines={"zero": 1.0, "rfm": 0.7}, metric="MAE / mean spend", where="mine")
    assert len(check.findings) == found
    if value == 0.48:
        assert said(check).startswith("mine: MAE / mean spend 0.480 is 69% of that of rfm, the best simple baseline")
