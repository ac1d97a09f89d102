"""Every YAML composes and loads; whatever is wrong with a configuration is said at once, by key, with what to write."""

from datetime import timedelta
from pathlib import Path

import pytest
from newcomer import CONFIGS, SHARED, Shell, composed, write_experiment, write_shop
from omegaconf import OmegaConf

from patron.audit import AuditConfig
from patron.config import BenchmarkConfig, Config, ConfigError, dump, load
from patron.serving.score import ScoreConfig
from patron.tables.sources import label
from patron.tables.worlds.config import WorldConfig
from patron.variants import AblationConfig, SweepConfig, ablated, sweep

SCHEMAS = {"config": Config, "benchmark": BenchmarkConfig, "ablate": AblationConfig, "audit": AuditConfig}


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


def mistakes(*overrides: str, config_dir: Path | None = None) -> dict[str, str]:
    """What `load` has against the default experiment with `overrides`, by dotted path."""
    with pytest.raises(ConfigError) as caught:
        load(composed("config", *overrides, config_dir=config_dir), schema=Config)
    first, *lines = str(caught.value).splitlines()
    assert first == f"the configuration has {len(lines)} mistake(s):"
    return dict(line.strip().split(": ", maxsplit=1) for line in lines)


# Everything that is there


@pytest.mark.parametrize("experiment", options("experiment"))
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_experiment_loads_and_survives_a_dump(name: str, experiment: str) -> None:
    config = load(composed(name, f"experiment={experiment}"), schema=SCHEMAS[name])
    assert config.name == experiment  # whose table goes between the markers of this name
    assert load(dump(config), schema=SCHEMAS[name]) == config


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_sweep_is_of_any_experiment_on_a_world(experiment: str) -> None:
    whole = load(composed("config", f"experiment={experiment}"), schema=Config)
    config = load(composed("sweep", f"experiment={experiment}"), schema=SweepConfig)
    assert config.name == "graph_signal"
    assert (config.data, config.task, config.split) == (whole.data, whole.task, whole.split)
    assert load(dump(config), schema=SweepConfig) == config
    if not isinstance(config.data, WorldConfig):
        with pytest.raises(ValueError, match="only a made-up world can be made again"):
            sweep(config)


def test_ablation_and_sweep_say_what_they_do_by_themselves() -> None:
    """The opponents and the graph that their files choose are not those of the root."""
    ablation = load(composed("ablate"), schema=AblationConfig)
    assert (ablation.name, ablated(ablation), ablation.seeds) == ("shop", "gnn", (0,))
    assert (ablation.leave_out_tables, ablation.leave_out_relations, ablation.leave_out_groups) == (None, None, None)
    config = load(composed("sweep"), schema=SweepConfig)
    assert isinstance(config.data, WorldConfig)
    assert config.data.preset == "seed_regime"
    assert set(config.estimators) == {"rfm", "lightgbm", "lightgbm_twohop", "gnn", "oracle", "oracle_past"}
    assert config.graph == load(composed("config", "graph=seed"), schema=Config).graph
    assert (config.column, config.values) == ("graph_signal", (0, 0.25, 0.5, 0.75, 1))


def test_a_stress_test_says_what_it_does_by_itself() -> None:
    config = load(composed("stress"), schema=SweepConfig)
    assert isinstance(config.data, WorldConfig)
    assert (config.name, config.data.preset, set(config.estimators)) == ("stress", "steady", {"lightgbm", "oracle"})
    assert (config.column, config.values, config.seeds) == ("shift", (0.7, 0.85, 1, 1.15, 1.3), (0,))
    test = config.data.calendar.start + timedelta(config.data.calendar.shift_day)
    assert [str(test)] == [str(day) for day in config.split.test]  # type: ignore[union-attr]


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_says_the_command_that_runs_it(experiment: str) -> None:
    first, second, *_ = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    script = "train" if experiment == "million" else "benchmark"  # eleven estimators on a million take a night
    assert second.startswith(f"# python scripts/{script}.py experiment={experiment}")


def test_every_estimator_loads() -> None:
    names = options("estimator")
    config = load(composed("config", f"estimator=[{','.join(names)}]"), schema=Config)
    assert sorted(config.estimators) == names  # the file's name is the estimator's in reports
    assert all(name.startswith(chosen.name) for name, chosen in config.estimators.items())


@pytest.mark.parametrize(
    ("group", "option"),
    [(group, option) for group in ("graph", "trainer", "task", "features") for option in options(group)],
)
def test_every_option_of_a_group_loads(group: str, option: str) -> None:
    config = load(composed("config", f"{group}={option}"), schema=Config)
    assert load(dump(config), schema=Config) == config


@pytest.mark.parametrize("option", options("data"))
def test_every_data_set_loads(option: str) -> None:
    files = ["data.path=/my/shop", "data.tables={orders:{file:orders.csv}}"] if option == "files" else []
    config = load(composed("config", f"data={option}", *files), schema=Config)
    assert option in (config.data.name, label(config.data))  # a world has the name of its preset
    assert load(dump(config), schema=Config) == config


def test_score_loads_and_survives_a_dump() -> None:
    config = load(composed("score", "run=runs/x/gnn-seed0", "cutoff=2021-06-01", "+data.path=new"), schema=ScoreConfig)
    assert (config.data, config.out) == ({"path": "new"}, None)
    assert load(dump(config), schema=ScoreConfig) == config


def test_an_experiments_file_wins_over_the_groups_it_chooses(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults: [{{override /task: 6m}}]\nname: mine\ntask: {{target: gross}}\n"
    folder = write_experiment(tmp_path, data=tmp_path, text=text + "split: {{test: ['2017-07-01']}}\n")
    task = load(composed("config", "experiment=my_shop", config_dir=folder), schema=Config).task
    assert (str(task.horizon), task.target, str(task.population)) == ("6m", "gross", "12m")


def test_an_experiment_may_choose_a_world_and_change_it(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults: [{{override /data: shop}}]\nname: mine\n"
    text += "data: {{seed: 3, contacts: {{reach: 0.5}}}}\nsplit: {{test: ['2023-07-01']}}\n"
    folder = write_experiment(tmp_path, data=tmp_path, text=text)
    data = load(composed("config", "experiment=my_shop", config_dir=folder), schema=Config).data
    assert isinstance(data, WorldConfig)
    assert (data.preset, data.seed, data.contacts.reach) == ("shop", 3, 0.5)
    assert (data.customers, data.contacts.response) == (5000, 0.2)  # of the preset, and of world.yaml below it


def test_a_slip_in_a_world_names_its_key() -> None:
    found = mistakes("data=tiny", "data.contacts.reach=2", "+data.catalogue.line=3", "data.calendar.start=soon")
    assert found["data.contacts.reach"] == "Input should be less than or equal to 1 (it is 2)"
    assert found["data.catalogue.line"] == "no such key; did you mean 'lines'?"
    assert found["data.calendar.start"].startswith("'soon' is no date")
    assert len(found) == 3


def test_an_experiments_file_wins_over_the_root(tmp_path: Path) -> None:
    text = "# @package _global_\nname: mine\nseeds: [7]\nsplit: {{test: ['2017-07-01']}}\n"
    folder = write_experiment(tmp_path, data=tmp_path, text=text)
    assert load(composed("config", "experiment=my_shop", config_dir=folder), schema=Config).seeds == (7,)


# What is wrong


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    found = mistakes(
        "experiment=complete_journey_90d",
        "estimator=[lightgbm,gnn]", "split=customers", "+seads=[0]", "seeds=0", "name=''", "+n_boot=9",
        "task.horizon=3w", "task.target=netto", "~trainer.devices", "trainer.max_steps=many", "trainer.patience=0",
        "+trainer.max_step=3", "graph.relations=[placed,bought]", "+graph.co_shopper.topk=3", "data.name=cdnau",
        "estimators.lightgbm.name=lightgmb", "+estimators.gnnn.model.channels=8", "+estimators.gnn.model.layers=2",
        "estimators.gnn.model.head.name=hubert", "split.folds=2",
    )  # fmt: skip
    assert found == {
        "split.cutoff": "has no value; write split.cutoff=... on the command line, or set it in YAML",
        "split.folds": "Input should be greater than or equal to 3 (it is 2)",
        "split.test": "no such key; allowed here: cutoff, folds, name",
        "name": "String should have at least 1 character (it is '')",
        "data.name": "there is no 'cdnau'; did you mean 'cdnow'?",
        "task.horizon": "'3w' is not a length of time; write days or months, for example 90d or 12m (it is '3w')",
        "task.target": "Input should be 'gross', 'net', 'margin', 'orders', 'order_value' or 'churn' (it is 'netto')",
        "trainer.devices": "has no value; write trainer.devices=... on the command line, or set it in YAML",
        "graph.relations.1": found["graph.relations.1"],
        "graph.co_shopper.topk": "no such key; did you mean 'top_k'?",
        "trainer.max_steps": found["trainer.max_steps"],
        "trainer.patience": "Input should be greater than 0 (it is 0)",
        "trainer.max_step": "no such key; did you mean 'max_steps'?",
        "estimators.lightgbm.name": "there is no 'lightgmb'; did you mean 'lightgbm'?",
        "estimators.gnn.model.head.name": "there is no 'hubert'; did you mean 'huber'?",
        "estimators.gnn.model.layers": found["estimators.gnn.model.layers"],
        "estimators.gnnn": "it has no name to say what it is; did you mean 'gnn'?",
        "seeds": "should be a list; write [0]",
        "seads": "no such key; did you mean 'seeds'?",
        "n_boot": found["n_boot"],
    }
    assert "'placed'" in found["graph.relations.1"]
    assert "integer" in found["trainer.max_steps"]
    assert "'many'" in found["trainer.max_steps"]
    assert "num_layers" in found["estimators.gnn.model.layers"]  # near or not, what is allowed is named
    assert "evaluation" in found["n_boot"]


def test_dates_say_how_they_are_written() -> None:
    found = mistakes("split.test=[2017-13-01,17.9.2017]", "split.val=soon", "split.train=2017-01-01")
    for key, date in {"split.test.0": "2017-13-01", "split.test.1": "17.9.2017", "split.val": "soon"}.items():
        assert found.pop(key) == f"'{date}' is no date; write it as year-month-day, for example 2017-10-01"
    assert found == {"split.train": "should be a list; write [2017-01-01]"}


def test_own_files_have_their_keys_named() -> None:
    found = mistakes("data=files", "+data.vaildation=repair", "data.tables={orders:{fiel:x.csv},custmers:{columns:7}}")
    assert found["data.path"].startswith("has no value; write data.path=...")
    assert found["data.vaildation"] == "no such key; did you mean 'validation'?"  # which has a default
    assert found["data.tables.orders.fiel"] == "no such key; did you mean 'file'?"
    assert "dictionary" in found["data.tables.custmers.columns"]
    assert len(found) == 4


def test_interpolation_and_missing_values_name_their_key() -> None:
    composed_ = OmegaConf.create(
        {
            "run": "${nowhere.at.all}",
            "cutoff": "???",
            "data": {"path": "${oc.env:NO_SUCH_VARIABLE}"},
            "out": "${cutof}",
            "parts": 1,
        }
    )
    with pytest.raises(ConfigError) as caught:
        load(composed_, schema=ScoreConfig)
    run, cutoff, path, out = str(caught.value).splitlines()[1:]
    mend = "; write a value, or ${the path of another key}"
    assert run == f"  run: Interpolation key 'nowhere.at.all' not found{mend}"
    assert cutoff == "  cutoff: has no value; write cutoff=... on the command line, or set it in YAML"
    assert path.startswith("  data.path: ")
    assert "NO_SUCH_VARIABLE" in path
    assert out == f"  out: Interpolation key 'cutof' not found{mend}"


def test_interpolation_of_a_key_that_is_there_is_resolved() -> None:
    config = load(composed("config", "runs=/x/${name}", "evaluation.n_boot=${trainer.max_steps}"), schema=Config)
    assert config.runs == Path("/x/shop")
    assert config.evaluation.n_boot == config.trainer.max_steps


def test_an_experiment_without_its_first_line_is_told_so(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path, data=tmp_path, text="name: mine\n")
    found = mistakes("experiment=my_shop", config_dir=folder)
    assert found["experiment"] == "no such key; the first line of an experiment's file must be '# @package _global_'"


# On the command line


def test_unknown_keys_on_the_command_line_are_all_named(shell: Shell) -> None:
    said = shell("train", "trainr.max_steps=3", "task.horizn=90d", "seeds=[0,x]", "estimator.gnn.model.channels=4")
    said.refused(
        "4 mistake(s)", "  trainr: no such key; did you mean 'trainer'?", "  task.horizn: no such key; did you mean",
        "  seeds.1: ", "  estimator: no such key; did you mean 'estimators'?",
    )  # fmt: skip
    assert said.code == 1
    assert list(shell.here.iterdir()) == []


def test_score_without_its_arguments_names_them(shell: Shell) -> None:
    shell("score").refused(
        "2 mistake(s)", "  run: has no value; write run=...", "  cutoff: has no value; write cutoff="
    )


@pytest.mark.parametrize("script", ["train", "benchmark"])
def test_an_unknown_experiment_names_those_there_are(shell: Shell, script: str) -> None:
    write_experiment(shell.here / "my", data=shell.here)
    said = shell(script, "--config-dir", "my", "experiment=nope")
    said.refused("error: experiment has no 'nope'; it has ", "my_shop", *options("experiment"))


@pytest.mark.parametrize(
    ("group", "given", "wrong"), [("task", "7d", "7d"), ("estimator", "[gnn,gnm]", "gnm"), ("estimator", "gnm", "gnm")]
)
def test_an_unknown_option_names_those_there_are(shell: Shell, group: str, given: str, wrong: str) -> None:
    expected = f"error: {group} has no '{wrong}'; it has {', '.join(options(group))}\n"
    shell("train", f"{group}={given}").refused(expected)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["seeds=[0"], "[0"),
        (["seeds"], "seeds"),
        (["--config-dir", "nowhere"], "nowhere"),
        (["~nothing"], "nothing"),
    ],
)
def test_a_slip_on_the_command_line_is_said(shell: Shell, arguments: list[str], part: str) -> None:
    shell("train", *arguments).refused(part)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("# @package _global_\nname: [mine\n", ("my_shop.yaml", "line")),
        ("# @package _global_\nname: ${{task\n", ("name", "${task")),
        ("# @package _global_\ndefaults: [{{override /task: 90days}}]\n", ("task has no '90days'", "90d")),
    ],
)
def test_a_slip_in_ones_own_yaml_is_said(shell: Shell, text: str, parts: tuple[str, ...]) -> None:
    write_experiment(shell.here / "my", data=shell.here, text=text)
    shell("train", "--config-dir", "my", "experiment=my_shop").refused(*parts)


def test_the_traceback_is_there_for_whoever_asks(shell: Shell) -> None:
    with pytest.raises(ConfigError, match="trainr"):
        shell("train", "trainr.max_steps=3", full_error=True)


@pytest.mark.slow
def test_multirun_runs_every_value(shell: Shell) -> None:
    write_experiment(shell.here / "my", data=write_shop(shell.here / "shop", customers=40))
    words = ["experiment=my_shop", *SHARED, "estimator=[zero]", "seeds=[0],[1]"]
    said = shell("train", "-m", "--config-dir", "my", *words)
    assert said.code == 0, said.err
    assert sorted(path.parent.name for path in shell.here.glob("runs/my_shop/*/DONE")) == ["zero-seed0", "zero-seed1"]


def test_a_mistake_in_a_multirun_is_said_once(shell: Shell) -> None:
    said = shell("train", "-m", "seeds=[0],[1]", "trainr.max_steps=3")
    said.refused("did you mean 'trainer'?")
    assert said.err.count("error: ") == 1


def test_a_multirun_leaves_nothing_where_one_stands(shell: Shell) -> None:
    shell("train", "-m", "seeds=[0],[1]", "trainr.max_steps=3")
    assert [path.name for path in shell.here.iterdir() if path.is_file()] == []
