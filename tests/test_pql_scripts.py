"""Queries in a configuration, on the command line and from training to scores; and the page that explains them."""

import re
import shlex
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from newcomer import CONFIGS, ROOT, SHARED, Shell, composed, write_experiment, write_shop
from queries import CHURN, EACH, FOUR, SPEND, task

from patron.config import BenchmarkConfig, Config, ConfigError, dump, entry, load
from patron.tables.database import Database
from patron.task.ltv import labelled
from patron.task.pql import PQLError, compile

# In a configuration and on the command line


def on_the_command_line(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Config:
    seen: list[Config] = []
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    entry(seen.append, schema=Config, configs=CONFIGS, name="config")
    return seen[0]


QUOTED = "PREDICT COUNT(orders.* WHERE orders.channel = \"it's\" OR orders.channel = 'a\\', 0, 9, days) >= 1" + EACH


@pytest.mark.parametrize("text", [*FOUR, QUOTED])
@pytest.mark.parametrize("key", ["query", "task.query"])
def test_a_query_is_given_on_the_command_line_as_it_is(key: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, f"{key}={text}")
    assert (config.query, config.task.query) == (text, text)
    assert config.task == task(text)


@pytest.mark.parametrize("text", FOUR)
def test_or_in_quotes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, f'query="{text}"', "seeds=[0]")
    assert (config.query, config.task) == (text, task(text))
    assert config.tables == compile(text).tables


def test_no_query_leaves_the_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_the_command_line(monkeypatch, "query=null", "task=90d", "tables=[returns,products]")
    assert (config.query, config.task.target, str(config.task.horizon)) == (None, "net", "90d")
    assert config.tables == ("products", "returns")


@pytest.mark.parametrize("schema", [Config, BenchmarkConfig])
@pytest.mark.parametrize("text", FOUR)
def test_a_config_with_a_query_survives_a_dump(schema: type, text: str) -> None:
    composition = composed("config" if schema is Config else "benchmark")
    composition.query = text
    config = load(composition, schema=schema)
    assert load(dump(config), schema=schema) == config
    assert dump(config)["task"]["horizon"] == str(compile(text).horizon)


def test_a_wrong_query_is_said_beside_other_mistakes() -> None:
    composition = composed("config", "tables=[order_itms]")
    composition.query = "PREDICT COUNT(orderz.*, 0, 9, days)" + EACH
    with pytest.raises(ConfigError) as caught:
        load(composition, schema=Config)
    lines = str(caught.value).split("\n")
    assert lines[0] == "the configuration has 2 mistake(s):"
    at = lines.index("  query: there is no table 'orderz'; did you mean 'orders'?")
    assert lines[at + 1 : at + 3] == [f"    {composition.query}", "    " + " " * 14 + "^"]
    assert any(
        line.startswith("  tables: there is no table 'order_itms'; did you mean 'order_items'?") for line in lines
    )


def test_a_task_needs_a_target_or_a_query() -> None:
    with pytest.raises(ConfigError, match=r"task: there is no target; choose task\.target from gross, net"):
        load(composed("config", "task.target=null"), schema=Config)


# The whole way


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    write_experiment(folder / "my", data=write_shop(folder / "shop", customers=60))
    return folder


WORDS = ["--config-dir", "my", "experiment=my_shop", "estimator=[last_window,rfm]", "seeds=[0]", *SHARED]


TOTAL = pytest.param("PREDICT total_spend_90d FOR customer USING purchase", marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("text", [CHURN, TOTAL])
def test_train_and_score_by_a_query(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    shell, name = Shell(here, monkeypatch), "flag" if text == CHURN else "spend"
    train = shell("train", *WORDS, f"name={name}", f"query={text}")
    assert train.code == 0, train.err
    assert ("ROC AUC" in train.out) == (text == CHURN)
    said = shell("score", f"run=runs/{name}/rfm-seed0", "cutoff=2021-06-01")
    assert said.code == 0, said.err
    scores = pd.read_parquet(here / "runs" / name / "rfm-seed0" / "scores" / "scores_2021-06-01.parquet")
    shop = load(composed("config", "experiment=my_shop", config_dir=here / "my"), schema=Config)
    assert shop.query is None
    assert len(scores) > 30
    if text == CHURN:
        assert scores["ltv_mean"].between(0, 1).all()


def test_a_wrong_query_is_refused_before_anything_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Shell(here, monkeypatch)("train", *WORDS, "name=no", "query=PREDICT churn_90d FOR customers")
    said.refused(
        "query: write FOR EACH customers.customer_id", "    PREDICT churn_90d FOR customers\n", "\n" + " " * 26 + "^"
    )
    assert not (here / "runs" / "no").exists()


# The page


PAGE = (ROOT / "docs" / "pql.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```pql\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_page_has_ten_examples_and_the_four_queries() -> None:
    assert len(EXAMPLES) == 10
    assert set(FOUR) <= {" ".join(text.split()) for text in EXAMPLES}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_page_run(shop: Database, text: str) -> None:
    rows = labelled(shop, cutoff=date(2020, 6, 25), config=task(text))
    assert len(rows) > 20
    assert len(set(rows.label)) > 1


def test_the_error_on_the_page_is_what_is_said() -> None:
    with pytest.raises(PQLError) as caught:
        compile(SPEND.replace("order_items", "order_itms"))
    assert f"query: {caught.value}" in PAGE


def test_the_commands_on_the_page_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("python scripts/")]
    assert len(commands) == 2
    for _, _, *arguments in commands:
        assert on_the_command_line(monkeypatch, *arguments).query is not None
