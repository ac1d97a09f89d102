"""Ablations and sweeps: one variant a part that is there, without that part and nothing else, compared in pairs.

Which variants there are is asked of a pipeline that fits nothing; what leaving out does, of a LightGBM of few trees.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from newcomer import composed
from pandas.testing import assert_frame_equal
from results_by_hand import predicted

from patron import pipeline, variants
from patron.config import load
from patron.pipeline import Experiment, Variant, compare, prepare, run_all
from patron.tables.database import Database
from patron.testing import shuffled
from patron.variants import EVERYTHING, AblationConfig, SweepConfig, ablate, advantages, stress, sweep

TINY = (  # of an experiment that brings no oracle
    "experiment=complete_journey_90d",
    "data=tiny", "task=90d", "task.population=null", "split=temporal", "split.test=['2021-06-01']",
    "split.max_cutoffs=1", "split.min_history_days=90", "evaluation.n_boot=30", "trainer.progress=false",
    "features.windows=[30,90]", "features.lags=1", "features.top_categories=2", "graph=full",
)  # fmt: skip
TREES = (
    "estimator=[lightgbm]", "features.groups=[rfm,campaigns]", "tables=[order_items,campaigns,interactions]",
    "estimators.lightgbm.max_trees=8", "estimators.lightgbm.params.num_threads=1",
    "estimators.lightgbm.params.min_data_in_leaf=5",
)  # fmt: skip
TABLES = (
    "order_items", "products", "categories", "order_events", "interactions", "returns", "loyalty", "campaigns",
    "external",
)  # fmt: skip


def ablation(folder: Path, *words: str) -> AblationConfig:
    return load(composed("ablate", *TINY, "name=tiny", f"runs={folder}", *words), schema=AblationConfig)


def sweeping(folder: Path, *words: str) -> SweepConfig:
    return load(composed("sweep", *TINY, f"runs={folder}", *words), schema=SweepConfig)


class Recorder:
    """Takes the place of `run_one`: keeps what it is asked for, and predicts by chance, another one a configuration."""

    def __init__(self) -> None:
        self.asked: list[tuple[Experiment, str, int]] = []

    def __call__(self, experiment: Experiment, *, name: str, seed: int) -> pd.DataFrame:
        self.asked.append((experiment, name, seed))
        chance = np.random.default_rng(len(self.asked)).random(len(experiment.truth))
        return predicted(experiment.truth, chance, estimator=name, seed=seed)

    @property
    def configs(self) -> list[Any]:
        return [experiment.config for experiment, _, _ in self.asked]


@pytest.fixture(scope="module")
def prepared() -> dict[str, Experiment]:
    """What has been read and split already, by data, task and split."""
    return {}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, prepared: dict[str, Experiment]) -> Recorder:
    def shared(config: Any) -> Experiment:
        key = str((config.data, config.task, config.split))
        prepared[key] = prepared.get(key) or prepare(config)
        return replace(prepared[key], config=config)

    recorder = Recorder()
    monkeypatch.setattr(variants, "prepare", shared)
    monkeypatch.setattr(pipeline, "run_one", recorder)
    return recorder


def labels(results: pd.DataFrame) -> list[str]:
    return [str(name) for name in results["estimator"].unique() if name != "ceiling"]


# Which variants there are


def test_each_part_that_is_there_is_left_out_once(tmp_path: Path, runs: Recorder) -> None:
    words = ("features.groups=[attributes,rfm,returns,campaigns,external]", "graph.relations=[purchased,did,has]")
    results = ablate(ablation(tmp_path, "estimator=[gnn]", *words))
    groups = ["attributes", "rfm", "returns", "campaigns"]
    assert labels(results)[0] == EVERYTHING
    assert sorted(labels(results)[1:]) == sorted(
        f"without {part}" for part in [*TABLES, "purchased", "did", "has", *(f"features {group}" for group in groups)]
    )
    assert {name for _, name, _ in runs.asked} == {"gnn"}
    assert {seed for *_, seed in runs.asked} == {0}


def test_a_variant_is_the_experiment_but_for_its_part(tmp_path: Path, runs: Recorder) -> None:
    words = ("features.groups=[rfm,windows]", "graph.relations=[purchased,did]", "tables=[order_items,interactions]")
    config = ablation(tmp_path, "estimator=[gnn]", *words)
    results = ablate(config)
    without = dict(zip(labels(results), runs.configs, strict=True))
    assert without.pop(EVERYTHING) == config
    assert without["without order_items"].tables == ("interactions",)
    assert without["without interactions"].tables == ("order_items",)
    assert without["without purchased"].graph.relations == ("did",)
    assert without["without did"].graph.relations == ("purchased",)
    assert without["without features rfm"].features.groups == ("windows",)
    assert without["without features windows"].features.groups == ("rfm",)
    changed = {"tables": config.tables, "graph": config.graph, "features": config.features, "name": config.name}
    assert len(without) == 6
    assert all(replace(one, **changed) == config for one in without.values())
    assert len({one.name for one in without.values()}) == 6  # each has a folder of its own
    assert all(one.name.startswith("tiny/without_") and " " not in one.name for one in without.values())


def test_a_table_without_rows_and_a_relation_without_edges_are_not_there(tmp_path: Path, runs: Recorder) -> None:
    words = ("data.contacts.reach=0", "data.catalogue.return_rate=0", "leave_out_groups=[]")
    found = set(labels(ablate(ablation(tmp_path, "estimator=[gnn]", *words))))
    assert {"without interactions", "without did", "without purchased"} <= found
    gone = {"campaigns", "touched_by", "responded_to", "returns", "returned", "of_product", "of_order"}
    assert found.isdisjoint(f"without {part}" for part in gone)
    assert len(runs.asked) == len(found)


def test_relations_are_for_the_gnn_alone(tmp_path: Path, runs: Recorder) -> None:
    found = labels(ablate(ablation(tmp_path, *TREES)))
    parts = ["order_items", "interactions", "campaigns", "features rfm", "features campaigns"]
    assert found == [EVERYTHING, *(f"without {part}" for part in parts)]
    with pytest.raises(ValueError, match=r"leave_out_relations: \['did'\] are not there to be left out; .* none"):
        ablate(ablation(tmp_path, *TREES, "leave_out_relations=[did]"))


def test_what_is_asked_for_is_left_out_and_nothing_else(tmp_path: Path, runs: Recorder) -> None:
    words = ("leave_out_tables=[returns,loyalty,returns]", "leave_out_relations=[did]", "leave_out_groups=[]")
    found = labels(ablate(ablation(tmp_path, "estimator=[gnn]", *words)))
    assert found == [EVERYTHING, "without returns", "without loyalty", "without did"]
    assert len(runs.asked) == 4


def test_the_only_group_is_not_left_out(tmp_path: Path, runs: Recorder) -> None:
    found = labels(ablate(ablation(tmp_path, *TREES, "features.groups=[rfm]", "leave_out_tables=[]")))
    assert found == [EVERYTHING]
    with pytest.raises(ValueError, match=r"leave_out_groups: \['rfm'\] are not there to be left out"):
        ablate(ablation(tmp_path, *TREES, "features.groups=[rfm]", "leave_out_groups=[rfm]"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["leave_out_tables=[retruns]"],
            r"leave_out_tables: \['retruns'\] are not there .* there are order_items, int",
        ),
        (["leave_out_tables=[orders]"], r"leave_out_tables: \['orders'\] are not there"),
        (
            ["leave_out_tables=[loyalty]"],
            r"leave_out_tables: \['loyalty'\] .* there are order_items, interactions, cam",
        ),
        (["leave_out_groups=[windows]"], r"leave_out_groups: \['windows'\] are not there .* there are rfm, campaigns"),
        (["leave_out_groups=[nonsense]"], "leave_out_groups"),
        (["leave_out_relations=[nonsense]"], "leave_out_relations"),
        (["estimator=[lightgbm,rfm]"], r"an ablation is of one estimator, not \['lightgbm', 'rfm'\]; give estimator="),
    ],
)
def test_what_is_not_there_cannot_be_left_out(tmp_path: Path, runs: Recorder, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ablate(ablation(tmp_path, *TREES, *words))
    assert runs.asked == []


@pytest.mark.slow
def test_a_query_that_names_tables_leaves_none_to_be_left_out(tmp_path: Path, runs: Recorder) -> None:
    """The tables of its USING win over any others, so a variant without one would have it all the same."""
    query = "+query='PREDICT SUM(order_items.amount, 0, 90, days) FOR EACH customers.customer_id {}'"
    using = query.format("USING customer, purchase, interaction")
    with pytest.raises(ValueError, match="USING fixes the tables, so none can be left out"):
        ablate(ablation(tmp_path, *TREES, using))
    found = labels(ablate(ablation(tmp_path, *TREES, using, "leave_out_tables=[]", "leave_out_groups=[]")))
    assert found == [EVERYTHING]
    words = ("leave_out_tables=[interactions]", "leave_out_groups=[]")
    ablate(ablation(tmp_path, *TREES, query.format(""), *words))
    assert runs.configs[-1].tables == ("order_items", "campaigns")  # a query without it leaves tables as they are


def test_variants_are_compared_in_pairs_with_everything(tmp_path: Path, runs: Recorder) -> None:
    results = ablate(ablation(tmp_path, *TREES, "leave_out_tables=[]"))
    found = advantages(results, reference=EVERYTHING).set_index("estimator")
    assert list(found.index) == ["without features rfm", "without features campaigns"]
    at = (results["metric"] == "spearman") & (results["slice"] == "all") & (results["seed"] == "mean")
    spearman = results[at & (results["fold"] == "mean")].set_index("estimator")
    for name, row in found.iterrows():
        difference = spearman.loc[str(name), "value"] - spearman.loc[EVERYTHING, "value"]
        assert row["value"] == pytest.approx(difference)
        assert row["lo"] < row["value"] < row["hi"]
    assert (found["n"] > 100).all()


def test_who_is_not_seeded_runs_once(tmp_path: Path, runs: Recorder) -> None:
    ablate(ablation(tmp_path, *TREES, "leave_out_tables=[]", "leave_out_groups=[rfm]", "seeds=[3,4]"))
    assert [seed for *_, seed in runs.asked] == [3, 4, 3, 4]
    ablate(ablation(tmp_path, "estimator=[rfm]", "leave_out_tables=[returns]", "leave_out_groups=[]", "seeds=[3,4]"))
    assert [seed for *_, seed in runs.asked[4:]] == [3, 3]


# What leaving out does


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def config(here: Path) -> AblationConfig:
    return ablation(here, *TREES, "leave_out_tables=[interactions,campaigns]", "leave_out_groups=[campaigns]")


@pytest.fixture(scope="module")
def results(config: AblationConfig) -> pd.DataFrame:
    return ablate(config)


@pytest.mark.slow
def test_everything_is_the_plain_run(config: AblationConfig, results: pd.DataFrame) -> None:
    done = config.runs / "tiny" / "lightgbm-seed0" / "DONE"
    before = done.stat().st_mtime_ns
    plain = run_all(config)
    assert done.stat().st_mtime_ns == before
    metrics = ["fold", "seed", "slice", "metric", "value", "lo", "hi", "n"]
    ours = results[results["estimator"] == EVERYTHING][metrics].reset_index(drop=True)
    assert_frame_equal(ours, plain[plain["estimator"] == "lightgbm"][metrics].reset_index(drop=True))


@pytest.mark.slow
def test_finished_variants_are_left_alone(config: AblationConfig, results: pd.DataFrame) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in config.runs.rglob("*") if path.is_file()}

    before = written()
    assert len([path for path in before if path.name == "DONE"]) == 4
    again = ablate(config).drop(columns="commit")  # somebody may be editing the source meanwhile
    assert_frame_equal(again, results.drop(columns="commit"))
    assert written() == before


def test_leaving_out_what_no_feature_needs_changes_nothing(results: pd.DataFrame) -> None:
    """There is no group of interactions here; the table of campaigns is that of a group, which goes with it."""
    found = advantages(results, reference=EVERYTHING).set_index("estimator")
    assert found.loc["without interactions", ["value", "lo", "hi"]].tolist() == [0, 0, 0]
    assert found.loc["without campaigns", "value"] != 0
    same = found.loc[["without campaigns", "without features campaigns"], "value"]
    assert same.nunique() == 1


def test_the_content_of_a_table_that_is_left_out_changes_nothing(
    config: AblationConfig, results: pd.DataFrame, tmp_path: Path
) -> None:
    """Every customer gets another one's campaigns: with the table that shows, without it the same numbers come out."""
    experiment = prepare(config)
    touches = experiment.db["campaigns"]
    position = touches.column_names.index("customer_id")
    others = shuffled(Database("x", {**experiment.db.tables, "campaigns": touches}))["campaigns"]["customer_id"]
    tables = {**experiment.db.tables, "campaigns": touches.set_column(position, "customer_id", others)}
    changed = replace(experiment, db=Database(experiment.db.name, tables))
    without = replace(config, runs=tmp_path, tables=("order_items", "interactions"), name="without")
    pair = [Variant(EVERYTHING, replace(config, runs=tmp_path), "lightgbm"), Variant("without", without, "lightgbm")]
    compare(changed, pair, reference=EVERYTHING)

    def predicted(folder: Path) -> pd.Series:
        return pd.read_parquet(folder / "lightgbm-seed0" / "predictions.parquet")["ltv_mean"]

    assert predicted(tmp_path / "without").equals(predicted(config.runs / "tiny" / "without_campaigns"))
    assert not predicted(tmp_path / "tiny").equals(predicted(config.runs / "tiny"))


# The sweep


def swept(folder: Path, *words: str) -> pd.DataFrame:
    return sweep(sweeping(folder, "values=[0,0.5,1]", *words))


@pytest.mark.slow
def test_a_sweep_has_every_estimator_at_every_signal(tmp_path: Path, runs: Recorder) -> None:
    results = swept(tmp_path, "estimator=[rfm,lightgbm,gnn,oracle]")
    names = ["rfm", "lightgbm", "gnn", "gnn_co_shoppers", "oracle"]
    found = results[results["estimator"] != "ceiling"].groupby("graph_signal")["estimator"].unique()
    assert {signal: list(each) for signal, each in found.items()} == dict.fromkeys([0, 0.5, 1], names)
    kept = advantages(results, reference="lightgbm")
    assert list(kept.columns) == ["graph_signal", "estimator", "value", "lo", "hi", "n"]
    assert kept[["graph_signal", "estimator"]].to_numpy().tolist() == [
        [signal, name] for signal in (0, 0.5, 1) for name in names if name != "lightgbm"
    ]
    folders = {(config.name, name) for config, (_, name, _) in zip(runs.configs, runs.asked, strict=True)}
    assert len(folders) == len(runs.asked) == 15
    assert ("graph_signal/0.5/co_shoppers", "gnn") in folders


def test_co_shoppers_alone_are_alone(tmp_path: Path, runs: Recorder) -> None:
    config = sweeping(tmp_path, "values=[0.5]", "estimator=[lightgbm,gnn]")
    sweep(config)
    _, whole, alone = runs.configs
    assert whole.graph == config.graph
    assert alone.graph.relations == ("co_shopper",)
    assert replace(alone, graph=whole.graph, name=whole.name) == whole


@pytest.mark.slow
def test_only_the_signal_changes(tmp_path: Path, runs: Recorder) -> None:
    """Who comes when and at what pace is the same in every world, and so is the share of the levels' variance."""
    swept(tmp_path, "estimator=[lightgbm]")
    none, some, all_ = (experiment.world for experiment, *_ in runs.asked)
    assert none is not None
    assert some is not None
    assert all_ is not None
    for name in ("customer_id", "community", "arrives", "leaves", "hazard", "rate", "value", "response", "cold"):
        for other in (some, all_):
            assert np.array_equal(getattr(none.customers, name), getattr(other.customers, name)), name
    assert np.array_equal(none.effects, all_.effects)
    for world, signal in ((none, 0), (some, 0.5), (all_, 1)):
        assert world.config.communities.graph_signal == signal
        own = np.corrcoef(world.effects[world.customers.community], world.customers.level)[0, 1]
        assert own == pytest.approx(np.sqrt(signal), abs=0.15)
    first, _, last = runs.asked
    assert not first[0].db["orders"].equals(last[0].db["orders"])  # each has a world of its own
    assert first[0].db["products"].equals(last[0].db["products"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=cdnow"], "only a made-up world can be made again, not cdnow; take data=shop"),
        (["estimator=[rfm,gnn]"], r"a sweep compares with lightgbm, not among \['gnn', 'rfm'\]; add it"),
        (["values=[]"], "values"),
        (
            ["values=[1,1.5]"],
            "values: 1.5 is no data.communities.graph_signal: Input should be less than or equal to 1",
        ),
        (
            ["key=data.calendar.shfit"],
            "the world has no data.calendar.shfit; in place of 'shfit' there are start, days",
        ),
        (["key=data.customers.more"], "the world has no data.customers.more; in place of 'more' there are none"),
        (["key=graph_signal"], "a sweep is over a key of the world, not 'graph_signal'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(tmp_path: Path, runs: Recorder, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(sweeping(tmp_path, *words))
    assert runs.asked == []


# The stress test

SHIFTS = (
    "experiment=steady", "data.customers=400", "data.calendar.days=731", "data.calendar.shift_day=517",
    "split.test=['2021-06-01']", "task=90d", "task.population=null", "split.max_cutoffs=1", "evaluation.n_boot=30",
    "trainer.progress=false",
)  # fmt: skip


def stressing(folder: Path, *words: str) -> SweepConfig:
    return load(composed("stress", *SHIFTS, f"runs={folder}", *words), schema=SweepConfig)


@pytest.mark.slow
def test_a_shift_begins_at_the_test_cutoff_and_nothing_else_changes(tmp_path: Path, runs: Recorder) -> None:
    results = stress(stressing(tmp_path, "values=[0.5,1,2]", "estimator=[lightgbm,gnn]"))
    assert set(results["shift"]) == {0.5, 1, 2}
    assert labels(results) == ["lightgbm", "gnn", "oracle"]  # and no net of the co-shopper edges
    assert [config.data.calendar.shift for config in runs.configs[::3]] == [0.5, 1, 2]
    same = {replace(config.data, calendar=replace(config.data.calendar, shift=1)) for config in runs.configs}
    assert len(same) == 1
    spent = {}
    for experiment, *_ in runs.asked[::3]:
        shift = experiment.config.data.calendar.shift  # type: ignore[union-attr]
        (fold,) = experiment.folds
        spent[shift] = experiment.truth["label"].sum(), fold.refit.label.sum()
    tested, before = (np.array([spent[shift][k] for shift in (0.5, 1, 2)]) for k in (0, 1))
    assert tested / tested[1] == pytest.approx([0.5, 1, 2], rel=0.15)
    assert before / before[1] == pytest.approx([1, 1, 1], rel=0.15)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.calendar.shift_day=516"], "begins on 2021-05-31, not at the test cutoff 2021-06-01; .*shift_day=517"),
        (["key=data.arrivals.growth"], "a stress test is of data.calendar.shift, with a temporal split of one test"),
        (["split.test=['2021-06-01','2021-09-01']"], "with a temporal split of one test"),
        (["values=[0]"], "values: 0 is no data.calendar.shift: Input should be greater than 0"),
    ],
)
def test_a_stress_test_that_makes_no_sense_is_refused(
    tmp_path: Path, runs: Recorder, words: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stress(stressing(tmp_path, *words))
    assert runs.asked == []
