"""Every target by hand, auxiliary labels that never know more than the database, and what each estimator makes of a
target that is no money."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from newcomer import SHARED, composed
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, OTHER_HEADS, SMALL, TEST, each, fit, setting

from patron.config import Config, load
from patron.days import Horizon, midnight
from patron.estimators import StackConfig, build
from patron.estimators.base import QUANTILES
from patron.evaluation.metrics import spearman
from patron.features.btyd import BGNBD
from patron.pipeline import prepare, run_one
from patron.serving.score import ScoreConfig, score
from patron.tables.database import Database
from patron.task.ltv import Target, TaskConfig, TaskTable, concat, labelled, last_outcome, outcome, population
from patron.task.split import Fold, folds, truth
from patron.testing import scrambled_after, shuffled

CUTOFF, CLOSES = date(2020, 7, 1), date(2020, 7, 31)
AT, END, TICK = midnight(CUTOFF), midnight(CLOSES), timedelta(microseconds=1)
BASE = TaskConfig(horizon=Horizon(30, "days"), target="gross", population=None, horizons=(), query=None)
TARGETS = get_args(Target)
EARLIER = datetime(2020, 5, 1)
# customer, time, [(product, quantity, amount)]; tea costs 3, a cup 10, nobody knows what a book costs
ORDERS = [
    ("edges", EARLIER, [("tea", 1, 5.0)]),
    ("edges", AT, [("tea", 1, 100.0)]),
    ("edges", AT + TICK, [("tea", 2, 10.0), ("cup", 1, 8.0)]),
    ("edges", END, [("tea", 1, 5.5)]),
    ("edges", END + TICK, [("tea", 1, 1000.0)]),
    ("reader", EARLIER, [("book", 1, 9.0)]),
    ("reader", datetime(2020, 7, 5), [("book", 3, 27.0), ("tea", None, 4.0), (None, 1, 2.0)]),
    ("loser", EARLIER, [("tea", 1, 5.0)]),
    ("loser", datetime(2020, 7, 6), [("cup", 4, 20.0)]),
    ("empty", EARLIER, []),
    ("empty", datetime(2020, 7, 6), []),
    ("silent", EARLIER, [("tea", 1, 5.0)]),
]
ITEM = ("order_id", "product_id", "quantity", "amount")
BY_HAND = {
    "gross": {"edges": 23.5, "empty": 0.0, "loser": 20.0, "reader": 33.0, "silent": 0.0},
    "net": {"edges": 21.5, "empty": 0.0, "loser": 20.0, "reader": 0.0, "silent": 0.0},  # reader sends 40 back
    "margin": {"edges": 4.5, "empty": 0.0, "loser": 0.0, "reader": 0.0, "silent": 0.0},  # 10 - 6 + 8 - 10 + 5.5 - 3
    "orders": {"edges": 2.0, "empty": 1.0, "loser": 1.0, "reader": 1.0, "silent": 0.0},
    "order_value": {"edges": 11.75, "empty": 0.0, "loser": 20.0, "reader": 33.0, "silent": 0.0},
    "churn": {"edges": 0.0, "empty": 0.0, "loser": 0.0, "reader": 0.0, "silent": 1.0},
}
FLOORED = {"net": 1, "margin": 1}  # the reader's -7, the loser's 20 - 40


def make_shop(*, costs: bool = True) -> Database:
    lines = [(k, *line) for k, (_, _, items) in enumerate(ORDERS) for line in items]
    products = {"product_id": ["tea", "cup", "book"]} | ({"cost": [3.0, 10.0, None]} if costs else {})
    returns = [("edges", END, 2.0), ("edges", END + TICK, 4.0), ("edges", AT, 8.0), ("reader", END, 40.0)]
    tables = {
        "customers": {"customer_id": sorted({who for who, _, _ in ORDERS})},
        "orders": {
            "order_id": list(range(len(ORDERS))), "customer_id": [who for who, _, _ in ORDERS],
            "order_date": pa.array([when for _, when, _ in ORDERS], pa.timestamp("us")),
        },
        "order_items": {name: [line[k] for line in lines] for k, name in enumerate(ITEM)},
        "products": products,
        "returns": {
            "return_id": [1, 2, 3, 4], "customer_id": [who for who, _, _ in returns],
            "return_date": pa.array([when for _, when, _ in returns], pa.timestamp("us")),
            "refund_amount": [amount for _, _, amount in returns],
        },
    }  # fmt: skip
    return Database("shop", {name: pa.table(columns) for name, columns in tables.items()})


def labels(rows: TaskTable, column: str = "label") -> dict[str, float]:
    return dict(zip(rows.frame["customer_id"], rows.frame[column].tolist(), strict=True))


# The targets


@pytest.mark.parametrize("target", TARGETS)
def test_labels_by_hand(target: Target) -> None:
    rows = labelled(make_shop(), cutoff=CUTOFF, config=replace(BASE, target=target))
    assert labels(rows) == BY_HAND[target]
    assert rows.floored == FLOORED.get(target, 0)
    assert rows.frame["label"].dtype == np.float64


@pytest.mark.parametrize("target", TARGETS)
def test_labels_do_not_depend_on_the_order_of_rows(target: Target) -> None:
    one, other = (
        labelled(db, cutoff=CUTOFF, config=replace(BASE, target=target)) for db in (make_shop(), shuffled(make_shop()))
    )
    assert_frame_equal(one.frame, other.frame, check_exact=True)


def test_a_margin_without_costs_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"table products of 'shop' has no value in column cost.*products\.cost"):
        labelled(make_shop(costs=False), cutoff=CUTOFF, config=replace(BASE, target="margin"))


def test_a_table_knows_its_target_through_every_operation() -> None:
    rows = labelled(make_shop(), cutoff=CUTOFF, config=replace(BASE, target="churn", horizons=(Horizon(7, "days"),)))
    for part in (
        rows,
        rows.at(CUTOFF),
        rows.where(rows.label > 0),
        rows.without_label(),
        concat([rows]),
        rows.known_at(CUTOFF),
    ):
        assert (part.target, part.horizon, part.is_flag, part.is_total) == ("churn", BASE.horizon, True, False)
    assert population(make_shop(), cutoff=CUTOFF, config=replace(BASE, target="margin")).is_total


def test_titles_name_the_target_unless_it_is_net() -> None:
    assert [replace(BASE, target=target).title for target in ("net", "churn")] == ["30d", "churn 30d"]


def test_outcomes_come_in_the_order_that_was_asked_for() -> None:
    asked = pd.Series(["silent", "edges", "loser"])
    assert outcome(make_shop(), customers=asked, start=CUTOFF, end=CLOSES, target="orders").tolist() == [0.0, 2.0, 1.0]
    raw = outcome(make_shop(), customers=asked, start=CUTOFF, end=CLOSES, target="margin")
    assert raw.tolist() == [0.0, 4.5, -20.0]  # not floored


# Auxiliary labels


MANY = replace(BASE, horizons=(Horizon(4, "days"), Horizon(30, "days"), Horizon(1, "months"), Horizon(2, "months")))


def test_auxiliary_labels_by_hand() -> None:
    """The data end on 2020-07-31: a window that closes on 2020-08-01 is complete, one of two months is open."""
    rows = labelled(make_shop(), cutoff=CUTOFF, config=MANY)
    assert labels(rows, "label_4d") == {"edges": 18.0, "empty": 0.0, "loser": 0.0, "reader": 33.0, "silent": 0.0}
    assert labels(rows, "label_30d") == labels(rows)
    assert labels(rows, "label_1m") == labels(rows) | {"edges": 1023.5}
    assert rows.frame["label_2m"].isna().all()
    assert list(rows.without_label().frame) == list(population(make_shop(), cutoff=CUTOFF, config=BASE).frame)


def test_an_auxiliary_label_never_reaches_past_what_the_database_knows() -> None:
    rows = labelled(make_shop().upto(CLOSES), cutoff=CUTOFF, config=MANY)
    assert rows.frame["label_1m"].isna().all()
    assert labels(rows, "label_30d") == BY_HAND["gross"]
    with pytest.raises(ValueError, match=r"\(2020-07-01, 2020-09-01\] is not closed"):
        labelled(make_shop(), cutoff=CUTOFF, config=replace(MANY, horizon=Horizon(2, "months")))


def test_no_role_knows_an_auxiliary_label_past_the_next_roles_cutoff(shop: Database) -> None:
    """The main windows of train close by the validation cutoff; longer ones would tell of validation's."""
    long = Horizon(150, "days")
    (fold,) = folds(shop, task=replace(SMALL.task, horizons=(long, Horizon(30, "days"))), split=SMALL.split)
    for rows, limit in ((fold.train, fold.val.cutoffs[0]), (fold.val, TEST), (fold.refit, TEST)):
        assert not rows.frame["label_30d"].isna().any()
        for cutoff in rows.cutoffs:
            known = rows.at(cutoff).frame[f"label_{long}"].notna()
            assert known.all() if long.after(cutoff) <= limit else not known.any()
    assert fold.refit.frame[f"label_{long}"].notna().any()
    assert fold.train.frame[f"label_{long}"].isna().all()
    assert not [column for column in fold.test.frame if str(column).startswith("label")]


# Estimators


@pytest.fixture(scope="module")
def priced(shop: Database) -> Database:
    """The small shop with a cost for every product but one."""
    products = shop["products"].drop_columns(["cost"])
    costs = pa.array([None, *(1.0 + k % 7 for k in range(1, len(products)))], pa.float64())
    return Database(shop.name, {**shop.tables, "products": products.append_column("cost", costs)})


@pytest.mark.parametrize("target", TARGETS)
def test_scrambling_the_future_moves_no_row_and_no_closed_label(priced: Database, target: Target) -> None:
    config = replace(SMALL.task, target=target, horizons=(Horizon(30, "days"),))
    closed = config.horizon.before(TEST)
    one, other = (labelled(db, cutoff=closed, config=config) for db in (priced, scrambled_after(priced, cutoff=TEST)))
    assert_frame_equal(one.frame, other.frame, check_exact=True)
    now, changed = (
        labelled(db, cutoff=TEST, config=replace(config, horizon=Horizon(60, "days")))
        for db in (priced, scrambled_after(priced, cutoff=TEST))
    )
    assert_frame_equal(now.without_label().frame, changed.without_label().frame, check_exact=True)
    assert (now.label != changed.label).any()


@pytest.mark.parametrize("target", ["gross", "margin", "orders", "order_value", "churn"])
def test_last_window_is_the_label_of_the_window_that_has_just_closed(
    priced: Database, target: Target, tmp_path: Path
) -> None:
    (fold,) = folds(priced, task=replace(SMALL.task, target=target), split=SMALL.split)
    predicted = fit("last_window", priced, fold=fold, folder=tmp_path).predict(priced.upto(TEST), rows=fold.test)
    last = labelled(priced, cutoff=TEST - timedelta(days=90), config=replace(SMALL.task, target=target))
    both = predicted.merge(last.frame, on="customer_id")
    assert len(both) > 100
    assert both["ltv_mean"].equals(both["label"].rename("ltv_mean"))
    late = predicted[~predicted["customer_id"].isin(last.frame["customer_id"])]
    assert len(late) > 0  # first ordered within the window
    assert (late["ltv_mean"] == 0).all() if target == "churn" else (late["ltv_mean"] > 0).mean() > 0.5


def test_last_outcome_reads_the_past_only(priced: Database) -> None:
    rows = population(priced, cutoff=TEST, config=replace(SMALL.task, target="order_value"))
    values = [last_outcome(db, rows=rows) for db in (priced, scrambled_after(priced, cutoff=TEST), shuffled(priced))]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


@pytest.mark.parametrize("target", ["churn", pytest.param("orders", marks=pytest.mark.slow), "order_value"])
@each(sorted(set(ESTIMATORS) - {"zero", *OTHER_HEADS}), alike=True)
def test_every_estimator_ranks_a_target_that_is_no_total(
    name: str, target: Target, priced: Database, tmp_path: Path
) -> None:
    task = replace(SMALL.task, target=target)
    (fold,) = folds(priced, task=task, split=SMALL.split)
    if name in ("btyd", "btyd_purchases", "stack") and target == "order_value":
        with pytest.raises(ValueError, match=r"btyd predicts gross, net, orders, churn .*leave it out of estimator="):
            fit(name, priced, fold=fold, folder=tmp_path)
        return
    predicted = fit(name, priced, fold=fold, folder=tmp_path).predict(priced.upto(TEST), rows=fold.test)
    actual = truth(priced, fold=fold, task=task)
    assert predicted["rank_score"].nunique() > 1
    if "gnn" not in name and target != "order_value":  # four steps teach nothing; an order's value is mostly chance
        assert spearman(actual.label, predicted["rank_score"]) > 0.02  # of churn at least 0.22, SD 0.04 over seeds
    most = 1 if target == "churn" else actual.label.max() * 3
    for column in ("ltv_mean", "ltv_median", *(() if "gnn" in name else QUANTILES)):  # nor tails
        assert predicted[column].dropna().between(0, most).all()


LATER = [pytest.param(target, marks=pytest.mark.slow) for target in ("gross", "order_value")]


@pytest.mark.parametrize("target", ["margin", *LATER])
def test_a_stack_without_btyd_predicts_every_target(target: Target, priced: Database, tmp_path: Path) -> None:
    whole, task = ESTIMATORS["stack"], replace(SMALL.task, target=target)
    assert isinstance(whole, StackConfig)
    config = replace(whole, components={name: whole.components[name] for name in ("lightgbm_twohop", "boosted_gnn")})
    (fold,) = folds(priced, task=task, split=SMALL.split)
    past = priced.upto(fold.cutoff)
    model = build(config, setting(tmp_path)).fit(past, train=fold.train, val=fold.val, refit=fold.refit)
    predicted = model.predict(priced.upto(TEST), rows=fold.test)
    assert (predicted[["ltv_mean", "ltv_median", *QUANTILES]] >= 0).all(axis=None)
    assert predicted["ltv_mean"].mean() == pytest.approx(truth(priced, fold=fold, task=task).label.mean(), rel=0.4)


def test_only_totals_of_money_start_from_the_pace_of_spend(priced: Database, tmp_path: Path) -> None:
    for target in ("gross", "order_value"):
        (fold,) = folds(priced, task=replace(SMALL.task, target=target), split=SMALL.split)
        fitted = fit("lightgbm_rfm", priced, fold=fold, folder=tmp_path / target)
        pace = fitted.matrix(priced.upto(TEST), fold.test).pace
        assert (pace > 0).mean() > 0.5 if target == "gross" else np.isnan(pace).all()


def test_the_chance_of_a_purchase_by_hand() -> None:
    """Of a new customer the rate is Gamma(r, alpha): E[exp(-rate t)] is (alpha / (alpha + t)) ** r."""
    model = BGNBD(r=2.0, alpha=10.0, a=1.0, b=3.0)
    new = {"frequency": 0, "recency": 0, "T": 0}
    assert model.p_purchase(30, **new) == pytest.approx(1 - (10 / 40) ** 2)
    past = {"frequency": [0, 3, 3], "recency": [0, 20, 20], "T": [50, 20, 80]}
    chance = model.p_purchase(30, **past)
    assert chance[1] == pytest.approx(model.p_alive(**past)[1] * (1 - (30 / 60) ** 5))
    assert (chance < model.p_alive(**past)).all()
    assert (chance < model.expected_purchases(30, **past)).all()
    short = model.p_purchase(1e-4, **past) / model.expected_purchases(1e-4, **past)
    assert short == pytest.approx(np.ones(3), rel=1e-4)  # two purchases at once are rare


# Which tables estimators see


SEEN = ("order_items", "products")


@pytest.fixture(scope="module")
def seen(shop: Database) -> tuple[Database, Database]:
    """What is seen of the shop, and of one with other returns, campaigns and categories."""
    others = {table: shop[table].slice(0, 9) for table in ("returns", "campaigns", "categories")}
    return shop.only(SEEN), Database(shop.name, {**shop.tables, **others}).only(SEEN)


@each(sorted(set(ESTIMATORS) - OTHER_HEADS), alike=True)
def test_a_table_that_is_left_out_changes_no_prediction(
    name: str, seen: tuple[Database, Database], fold: Fold, tmp_path: Path
) -> None:
    """The labels are held, all else is as it was."""
    one, two = (
        fit(name, db, fold=fold, folder=tmp_path / str(k)).predict(db.upto(TEST), rows=fold.test)
        for k, db in enumerate(seen)
    )
    assert_frame_equal(one, two, check_exact=True)


@each(sorted(set(ESTIMATORS) - OTHER_HEADS), alike=True)
def test_customers_and_orders_alone_are_enough(name: str, shop: Database, fold: Fold, tmp_path: Path) -> None:
    bare = shop.only([])
    predicted = fit(name, bare, fold=fold, folder=tmp_path).predict(bare.upto(TEST), rows=fold.test)
    assert np.isfinite(predicted[["ltv_mean", "ltv_median", "rank_score"]].to_numpy()).all()


def chosen(folder: Path, *overrides: str) -> Config:
    words = [
        "estimator=[last_window]",
        "task=90d",
        "task.population=null",
        f"split.test=['{TEST}']",
        *SHARED,
        *overrides,
    ]
    return load(composed("config", *words, f"runs={folder}", "seeds=[0]"), schema=Config)


@pytest.mark.parametrize("tables", ["[order_items,products]", "null"])
def test_a_run_sees_its_tables_and_is_judged_by_all(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: str
) -> None:
    """In the other shop everything is sent back: net labels say so, and whoever may see returns."""
    returns = shop["returns"].to_pandas().assign(refund_amount=1e4)
    other = Database(shop.name, {**shop.tables, "returns": pa.Table.from_pandas(returns, preserve_index=False)})
    truths, predictions, scores = [], [], []
    for k, db in enumerate((shop, other)):
        for module in ("patron.pipeline", "patron.serving.score"):
            monkeypatch.setattr(f"{module}.load_database", lambda _, db=db: db)
        experiment = prepare(chosen(tmp_path / str(k), f"tables={tables}"))
        truths.append(experiment.truth["label"])
        predictions.append(run_one(experiment, name="last_window", seed=0))
        run = tmp_path / str(k) / experiment.config.name / "last_window-seed0"
        written = score(ScoreConfig(run=run, cutoff=date(2021, 6, 1), data={}, out=None, parts=1))
        scores.append(pd.read_parquet(written.paths[0]))
    assert (truths[0] > truths[1]).any()
    for one, two in (predictions, scores):
        assert one["ltv_mean"].equals(two["ltv_mean"]) == (tables != "null")
