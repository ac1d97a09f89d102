"""The audit finds nothing in what patron does by itself, and each leak that is planted, once."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from newcomer import CONFIGS, ROOT, SHARED, Shell, composed, write_experiment, write_shop
from settings import ESTIMATORS, HELD_OUT, SMALL, TEST

from patron.audit import AuditConfig, Build, audit, findings
from patron.config import load
from patron.estimators.base import Stored, expectations
from patron.evaluation.leaks import Check, Finding
from patron.features import asof
from patron.features.moment import Moment
from patron.tables.database import Database
from patron.tables.scramble import scrambled_after
from patron.task.ltv import TaskTable, labelled, outcome
from patron.task.split import Fold, folds

SHOP_CHECKS = ["windows", "population", "columns", "columns", "edges", *["suspicion"] * 3]
ESTIMATOR_CHECKS = ["future", "names", "error"]
SPLIT = replace(SMALL.split, train=(date(2020, 9, 1),))


@pytest.fixture(scope="module")
def shop(shop: Database) -> Database:
    """The small shop without the tables that tell nothing new here."""
    return Database("shop", {name: shop[name] for name in ("customers", "orders", "order_items")})


@pytest.fixture(scope="module")
def config() -> AuditConfig:
    """The audit of RFM, with the small settings of all tests, few features and one baseline."""
    whole = load(composed("audit", "estimator=[rfm]"), schema=AuditConfig)
    features = replace(SMALL.features, groups=("attributes", "windows", "percentiles"), windows=(30,), lags=0)
    graph = replace(SMALL.graph, relations=("purchased", "co_shopper"))
    baselines = {"last_window": whole.baselines["last_window"]}
    return replace(whole, task=SMALL.task, split=SPLIT, features=features, graph=graph, baselines=baselines)


@pytest.fixture(scope="module", autouse=True)
def _one_other_future() -> Iterator[None]:
    """Tests share what a database is changed to, and so all that is computed of it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("patron.audit.scrambled_after", cache(scrambled_after))
        yield


def found(checks: tuple[Check, ...]) -> dict[str, list[Finding]]:
    """The findings by the name of the check."""
    names = [check.name for check in checks if check.findings]
    return {name: [one for one in findings(checks) if one.check == name] for name in names}


# Nothing to find


def test_patron_is_clean(config: AuditConfig, shop: Database) -> None:
    lightgbm = replace(ESTIMATORS["lightgbm_rfm"], max_trees=5)
    checks = audit(replace(config, estimators={**config.estimators, "lightgbm": lightgbm}), db=shop)
    assert findings(checks) == []
    assert [check.name for check in checks] == [*SHOP_CHECKS, *ESTIMATOR_CHECKS, *ESTIMATOR_CHECKS]
    compared = [check.measured for check in checks if check.name in ("future", "names")]
    assert [text.split(":")[0] for text in compared] == ["rfm", "rfm", "lightgbm", "lightgbm"]
    assert all(text.endswith("largest difference 0") for text in compared)


@pytest.mark.slow
def test_held_out_customers_of_a_shop_without_products_are_clean(config: AuditConfig, shop: Database) -> None:
    orders = shop["order_items"].drop_columns(["product_id"])
    plain = Database("plain", {"customers": shop["customers"], "orders": shop["orders"], "order_items": orders})
    checks = audit(replace(config, split=HELD_OUT), db=plain)
    assert findings(checks) == []
    assert [check.name for check in checks].count("columns") == 1  # there is one cutoff


# Estimators


@dataclass
class Peeks(Stored):
    """Predicts what is to come, as a database tells it that was put aside."""

    aside: Database

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        (cutoff,) = rows.cutoffs
        ends = rows.horizon.after(cutoff)
        spend = outcome(self.aside, customers=rows.frame["customer_id"], start=cutoff, end=ends, target="net")
        return expectations(rows, mean=spend.clip(min=0))


class FromFile(Peeks):
    """Predicts what stands beside the customer in a file."""

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        file = pd.Series(1.0, index=self.aside["customers"]["customer_id"].to_pandas())
        return expectations(rows, mean=file.loc[rows.frame["customer_id"]].to_numpy())


@dataclass
class Says(Stored):
    """Predicts what `value` says of the database that it is handed, for everybody."""

    value: Callable[[Database], float]

    def fit(self, db: Database, *, train: TaskTable, val: TaskTable, refit: TaskTable) -> Self:
        return self

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        return expectations(rows, mean=np.full(len(rows), self.value(db)))


@pytest.fixture(scope="module")
def planted(config: AuditConfig, shop: Database) -> dict[str, dict[str, str]]:
    """What is said of estimators with a leak of their own each, by the name of the check."""
    dice = np.random.default_rng(0)
    builds: dict[str, Build] = {
        "made of the future": lambda setting, whole: Peeks(whole),
        "keeps the future": lambda setting, whole: Peeks(shop),
        "needs a file": lambda setting, whole: FromFile(shop),
        "throws dice": lambda setting, whole: Says(lambda db: dice.random()),
        "counts what it is handed": lambda setting, whole: Says(lambda db: len(db["orders"])),
    }
    leaks = findings(audit(config, db=shop, builds=builds))
    assert {leak.where for leak in leaks} <= set(builds)
    return {name: {leak.check: leak.what for leak in leaks if leak.where == name} for name in builds}


def test_an_estimator_that_is_made_of_the_future(planted: dict[str, dict[str, str]]) -> None:
    leaks = planted["made of the future"]
    assert set(leaks) == {"future", "error"}
    assert leaks["future"].startswith("predictions change with the future (by up to ")
    assert leaks["future"].endswith(" in ltv_mean, ltv_median, rank_score)")
    assert "0.000 is 0% of that of last_window" in leaks["error"]


def test_an_estimator_that_keeps_the_future_where_no_scramble_reaches_it(planted: dict[str, dict[str, str]]) -> None:
    """It predicts the same under any future, but finds no customer by another name."""
    leaks = planted["keeps the future"]
    assert set(leaks) == {"names", "error"}
    assert leaks["names"].startswith("predictions change with the names of customers and orders (by up to ")


def test_an_estimator_that_needs_a_file(planted: dict[str, dict[str, str]]) -> None:
    leaks = planted["needs a file"]
    assert set(leaks) == {"names"}
    assert leaks["names"].startswith("it fails where customers and orders have other names: KeyError")


def test_an_estimator_that_throws_dice_is_not_called_a_leak(planted: dict[str, dict[str, str]]) -> None:
    leaks = planted["throws dice"]
    assert list(leaks) == ["future"]
    assert leaks["future"].startswith("two fits to the same data differ, so nothing can be said of its leaks")


def test_what_an_estimator_is_handed_holds_no_future(planted: dict[str, dict[str, str]]) -> None:
    """The control: the number of all orders changes, that of the orders it sees does not."""
    assert planted["counts what it is handed"] == {}


class LooksAtTheOthers(Peeks):
    """Predicts the mean label of all customers of the cutoff, the held out ones too."""

    def predict(self, db: Database, *, rows: TaskTable) -> pd.DataFrame:
        frame = super().predict(db, rows=rows)
        return frame.assign(ltv_mean=frame["ltv_mean"].mean())


def test_held_out_labels_must_not_be_seen(config: AuditConfig, shop: Database) -> None:
    held_out = replace(config, split=HELD_OUT)
    builds: dict[str, Build] = {"looks": lambda setting, whole: LooksAtTheOthers(whole)}
    assert "future" in found(audit(held_out, db=shop, builds=builds))


# Features, rows and edges


def test_a_feature_that_is_made_of_what_was_read_later(
    config: AuditConfig, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long the data go on after a cutoff is known to no one at it."""

    def planted(moment: Moment) -> pd.DataFrame:
        ahead = (moment.db.read_until - moment.cutoff).days  # type: ignore[operator]
        return pd.DataFrame({"lag_9": float(ahead)}, index=moment.customers)

    monkeypatch.setattr(asof, "BLOCKS", {**asof.BLOCKS, planted: ("windows",)})
    leaks = found(audit(config, db=shop))
    assert set(leaks) == {"columns"}  # RFM has no use for it
    first, second = leaks["columns"]
    assert first.where == "features of customers at 2020-09-01"
    assert second.where == f"features of customers at {TEST}"
    assert second.what.startswith("1 columns change with the future: lag_9 by ")


class Forgetful(Database):
    """A database that takes everything it holds for the past."""

    def upto(self, cutoff: date) -> Database:
        if cutoff not in self._cuts:
            self._cuts[cutoff] = Database(self.name, self.tables, known_until=cutoff, read_until=self.read_until)
        return self._cuts[cutoff]


@pytest.mark.slow
def test_a_database_that_does_not_forget_the_future(config: AuditConfig, shop: Database) -> None:
    leaks = found(audit(config, db=Forgetful("forgetful", shop.tables)))
    assert {"population", "columns", "edges", "future"} <= set(leaks)
    assert any("purchased" in one.where and "later than the cutoff" in one.what for one in leaks["edges"])
    assert any("come or go with the future" in one.what for one in leaks["population"])


def split(shop: Database) -> list[Fold]:
    return folds(shop, task=SMALL.task, split=SPLIT)


def test_a_population_conditioned_on_the_outcome(config: AuditConfig, shop: Database) -> None:
    """Only who buys again is tested, as in many a notebook."""

    def buyers(whole: Database) -> list[Fold]:
        (fold,) = split(whole)
        ids, ends = fold.test.frame["customer_id"], fold.test.horizon.after(TEST)
        spend = outcome(whole, customers=ids, start=TEST, end=ends, target="gross")
        return [replace(fold, test=fold.test.where(spend > 0))]

    leaks = found(audit(config, db=shop, split=buyers))
    assert set(leaks) == {"population"}
    (finding,) = leaks["population"]
    assert finding.where == "fold 2021-04-01, test"
    assert "rows come or go with the future" in finding.what


@pytest.mark.slow
def test_windows_that_reach_into_the_test(config: AuditConfig, shop: Database) -> None:
    """Somebody trains on all data there are, two weeks past the test cutoff, that no plan has seen."""

    def late(whole: Database) -> list[Fold]:
        (fold,) = split(whole)
        return [replace(fold, refit=labelled(whole, cutoff=date(2021, 1, 15), config=SMALL.task))]

    leaks = found(audit(config, db=shop, split=late))
    (finding,) = leaks["windows"]
    assert finding.where == "fold 2021-04-01, refit and test"
    assert finding.what == "1 label windows reach past 2021-04-01: (2021-01-15, 2021-04-15]"


@pytest.mark.slow
def test_a_column_of_customers_that_was_computed_at_the_export(config: AuditConfig, shop: Database) -> None:
    customers = shop["customers"].to_pandas()
    lines = shop["order_items"].to_pandas().merge(shop["orders"].to_pandas(), on="order_id")
    recent = lines[lines["order_date"] > pd.Timestamp("2021-02-01")]
    spend = recent.groupby("customer_id")["amount"].sum().reindex(customers["customer_id"]).fillna(0.0)
    table = shop["customers"].append_column("spend_lately", [spend.to_numpy()])
    table = table.append_column("shoe_size", [36.5 + np.arange(len(customers)) % 10])
    only = replace(config, features=replace(config.features, groups=("attributes", "percentiles")))
    leaks = found(audit(only, db=Database("export", {**shop.tables, "customers": table})))
    assert set(leaks) == {"suspicion"}
    assert [one.where for one in leaks["suspicion"]] == ["customers at 2021-04-01, customers.spend_lately"]


# The script


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    write_shop(tmp_path / "shop")
    write_experiment(tmp_path / "my", data=Path("shop"))
    return Shell(tmp_path, monkeypatch)


FEW = ["tables=[order_items]", "features.groups=[attributes,windows,percentiles]", "graph.relations=[co_shopper]"]
MY_SHOP: list[Any] = ["--config-dir", "my", "experiment=my_shop", "estimator=[rfm]", *SHARED, *FEW]


@pytest.mark.slow
def test_the_script_ends_well_on_clean_data(shell: Shell) -> None:
    said = shell("audit", *MY_SHOP)
    assert said.code == 0, said.err
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[0] for line in lines] == [*SHOP_CHECKS, *ESTIMATOR_CHECKS]
    assert {line[1] for line in lines} == {"ok"}
    assert "rfm: " in said.out
    assert "leak" not in said.err
    assert {path.name for path in shell.here.iterdir()} == {"shop", "my"}  # nothing is written


def with_totals(folder: Path) -> None:
    """The customers of a folder, now with what each had spent when it was written."""
    people, sales = (pd.read_csv(folder / f"{name}.csv", dtype=str) for name in ("people", "sales"))
    spend = sales["Qty"].astype(float) * sales["Each"].astype(float)
    totals = spend.groupby(sales["Person"]).sum().reindex(people["Person"]).fillna(0.0)
    people.assign(total_spend=totals.round(2).to_numpy()).to_csv(folder / "people.csv", index=False)


def test_the_script_ends_with_3_on_a_suspicion_alone(shell: Shell) -> None:
    with_totals(shell.here / "shop")
    said = shell("audit", *MY_SHOP)
    assert said.code == 3, said.err
    assert "suspicion: customers at 2021-03-01, customers.total_spend: it adds +0." in said.err
    assert "this may be honest, or a leak: find out where it comes from before a figure is believed" in said.err
    assert not any(line.startswith("leak: ") for line in said.err.splitlines())


@pytest.mark.slow
def test_the_script_ends_with_1_where_an_export_was_rewritten(shell: Shell) -> None:
    """The earlier export of the same shop ends two months before; each has the totals of its own day."""
    write_shop(shell.here / "old")
    sales = pd.read_csv(shell.here / "old" / "sales.csv", dtype=str)
    sales[sales["Day"] < "2021-04-20"].to_csv(shell.here / "old" / "sales.csv", index=False)
    clean = shell("audit", *MY_SHOP, "earlier=old")
    assert clean.code == 0, clean.err
    for folder in ("shop", "old"):
        with_totals(shell.here / folder)
    said = shell("audit", *MY_SHOP, "earlier=old")
    assert said.code == 1, said.err
    assert re.search(
        r"leak: exports: table customers, column total_spend: \d+ of \d+ \(\d+\.\d%\) of the rows", said.err
    )
    assert "suspicion: customers at 2021-03-01, customers.total_spend" in said.err


def test_only_files_have_an_earlier_export(shell: Shell) -> None:
    said = shell("audit", "data=tiny", "earlier=old")
    said.refused("earlier: data 'world' have no path, so there is no earlier export of them")


def test_the_script_ends_with_1_and_says_the_leak(shell: Shell) -> None:
    """The oracle is one by design: what it knows of a customer stands elsewhere."""
    world = ["data=tiny", "tables=[]", "task=90d", "split.test=['2021-06-01']", "split.max_cutoffs=1"]
    said = shell("audit", *world, "estimator=[oracle]", "features.groups=[rfm]", "features.windows=[90]")
    assert said.code == 1
    assert "names      1 found  oracle" in said.out
    assert "leak: names: oracle: it fails where customers and orders have other names: IndexError" in said.err


# The page


@pytest.mark.slow
def test_the_page_holds() -> None:
    """Its Python runs, and it names every check there is."""
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {"__name__": "page", "CONFIGS": CONFIGS}
    exec(compile(block, "audit.md", "exec"), namespace)
    made = list(dict.fromkeys(check.name for check in namespace["checks"]))
    named = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert [name for name in named if name != "exports"] == made  # there is one export
