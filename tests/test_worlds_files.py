"""Worlds as files, configs and sources: what is written reads back, and says of itself what is true."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from newcomer import CONFIGS, Shell, composed
from shared_worlds import checked, config_of, frame, world_of

from patron.config import Config, dump, load
from patron.days import Horizon
from patron.features.asof import customer_features, specify
from patron.tables.read import FilesConfig, TableConfig
from patron.tables.schema import TABLES
from patron.tables.sources import CdnowConfig, label, read, truth
from patron.tables.worlds.world import MakeConfig, generate, write


def test_a_written_world_reads_back_as_files(tmp_path: Path) -> None:
    world, folder = world_of("tiny"), tmp_path / "here" / "tiny"
    rows = write(config_of("tiny"), folder=folder)
    assert rows == {name: table.num_rows for name, table in world.tables.items()}
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]  # nothing partial
    tables = {name: TableConfig(file=f"{name}.parquet") for name in TABLES}
    back = read(FilesConfig(folder, tables, label="tiny"))
    assert checked(back).report.of("error") == ()
    for name, table in world.tables.items():
        assert back[name].to_pandas().equals(table.to_pandas()), name
    hidden = pq.read_table(folder / "truth" / "customers.parquet")
    assert hidden["level"].to_numpy() == pytest.approx(world.truth.customers.level)


def test_what_a_written_world_says_of_itself_is_true(tmp_path: Path) -> None:
    write(config_of("tiny"), folder=tmp_path / "tiny")
    said = yaml.safe_load((tmp_path / "tiny" / "world.yaml").read_text())
    assert load({"data": said, "out": "x"}, schema=MakeConfig).data == config_of("tiny")
    block = (tmp_path / "tiny" / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    mapping = yaml.safe_load(block)["data"]
    tables = {name: TableConfig(**table) for name, table in mapping.pop("tables").items()}
    assert len(read(FilesConfig(**mapping, tables=tables))["customers"]) == 300


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="remove it, or choose another folder"):
        write(config_of("tiny"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_script_writes_a_world_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, monkeypatch)
    said = shell("make_world", "data=tiny")
    assert said.code == 0, said.err
    assert "       300  customers" in said.out
    assert (tmp_path / "data" / "worlds" / "tiny" / "orders.parquet").exists()
    shell("make_world", "data=tiny").refused("error: data/worlds/tiny is there already; remove it")
    shell("make_world", "data=tiny", "out=other", "data.customers=0").refused("  data.customers: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_personal_fields_never_become_features() -> None:
    db, day = checked(world_of("tiny").tables).database, date(2021, 6, 1)
    config = load(composed("config", "data=tiny"), schema=Config).features
    spec = specify(db, config=config, horizon=Horizon.parse("90d"), cutoffs=[day])
    columns = set(customer_features(db.upto(day), cutoff=day, spec=spec).columns)
    assert {"customer_geo", "customer_age_band", "customer_household_size", "returns"} <= columns
    assert not any(column.startswith(("customer_first", "customer_email", "customer_phone")) for column in columns)


def test_sources_know_worlds() -> None:
    config = config_of("tiny")
    assert label(config) == "tiny"
    assert read(config)["orders"].equals(world_of("tiny").tables["orders"])
    known = truth(config)
    assert known is not None
    assert np.array_equal(known.customers.level, world_of("tiny").truth.customers.level)
    assert truth(CdnowConfig()) is None


@pytest.mark.parametrize("preset", sorted(file.stem for file in (CONFIGS / "data").glob("*.yaml")))
def test_presets_are_called_by_their_file(preset: str) -> None:
    if preset in ("files", "cdnow", "complete_journey", "online_retail_ii"):
        return
    config = config_of(preset)
    assert config.preset == preset
    assert load({"data": dump(config), "out": "x"}, schema=MakeConfig).data == config


def test_a_response_of_everybody_is_allowed() -> None:
    config = config_of("tiny", "data.contacts.response=1")
    assert frame(generate(replace(config, customers=50)), "campaigns")["campaign_response"].eq(1).all()
