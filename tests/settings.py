"""What the tests of estimators share: every estimator of `configs/estimator`, small, and one fold of the small shop.

The configs are those of the package, so that a new estimator or key is tested as soon as it is there; the values that
are tuned are replaced, so that no test depends on them.
"""

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from patron.config import BenchmarkConfig, load
from patron.estimators import (
    BoostedGNNConfig,
    Estimator,
    EstimatorConfig,
    GNNConfig,
    LightGBMConfig,
    Setting,
    StackConfig,
    build,
)
from patron.nn.model import ModelConfig
from patron.tables.database import Database
from patron.task.ltv import TaskTable
from patron.task.split import CustomersConfig, Fold

CONFIGS = Path(__file__).parents[1] / "configs"
TEST = date(2021, 4, 1)
ORACLES = ("oracle", "oracle_past")  # they know worlds only, see test_oracle.py
NAMES = sorted(file.stem for file in (CONFIGS / "estimator").glob("*.yaml") if file.stem not in ORACLES)

TREES = {
    "num_threads": 1, "min_data_in_leaf": 10, "learning_rate": 0.1, "num_leaves": 15, "lambda_l2": 1,
    "feature_fraction": 0.8, "bagging_fraction": 0.7, "bagging_freq": 1,
}  # fmt: skip
_SMALL = [
    f"estimator=[{','.join(NAMES)}]", "graph=full", "task=90d", "task.population=null",
    f"split.test=['{TEST}']", "split.validation=cutoff", "split.min_history_days=null",
    "split.train=['2020-09-01','2020-10-01']",
    "features.windows=[30,91,182]", "features.lags=2", "features.top_categories=2", "features.top_types=2",
    "graph.half_life_days=90", "graph.co_shopper={threshold:0.1,top_k:8,min_products:2}",
    "trainer={accelerator:cpu,devices:1,num_nodes:1,precision:32-true,max_steps:4,steps_per_check:2,patience:3,learning_rate:0.01}",
    "trainer={weight_decay:0.001,warmup_steps:2,gradient_clip:1.0,weight_averaging:0.5,progress:false}",
]  # fmt: skip


def _composed() -> BenchmarkConfig:
    with initialize_config_dir(str(CONFIGS), version_base=None):
        return load(compose("benchmark", overrides=_SMALL), schema=BenchmarkConfig)


def small(config: EstimatorConfig) -> EstimatorConfig:
    """`config` with little to fit, and without the values that are tuned."""
    match config:
        case GNNConfig():
            return replace(config, model=_small_model(config.model))
        case LightGBMConfig():
            return _small_trees(config)
        case BoostedGNNConfig():
            return replace(config, lightgbm=_small_trees(config.lightgbm), model=_small_model(config.model))
        case StackConfig():
            return replace(config, components={name: small(part) for name, part in config.components.items()})
    return config


def _small_trees(config: LightGBMConfig) -> LightGBMConfig:
    return replace(config, max_trees=30, patience=5, params={**config.params, **TREES})


def _small_model(config: ModelConfig) -> ModelConfig:
    return replace(with_dropout(config, 0.1), channels=8, num_layers=2)


def with_dropout(model: ModelConfig, share: float) -> ModelConfig:
    """`model` with every dropout it knows set to `share`."""
    return replace(model, **{field.name: share for field in fields(model) if "dropout" in field.name})


SMALL = _composed()
ESTIMATORS = {name: small(SMALL.estimators[name]) for name in NAMES}
GNNS = [name for name, config in ESTIMATORS.items() if isinstance(config, GNNConfig)]
OTHER_HEADS = set(GNNS) - {"gnn"}  # they differ in their head alone
MADE_OF_OTHERS = {"boosted_gnn", "stack", "lightgbm_flat", "lightgbm_rfm", "lightgbm_twohop", "btyd_purchases"}
HELD_OUT = CustomersConfig("customers", cutoff=date(2021, 3, 1), folds=3)


def each(names: Iterable[str], *, alike: bool = False) -> pytest.MarkDecorator:
    """A test of each of these estimators by `name`. Those with another head than the GNN's are for `make test-all`, and
    where all are `alike` to the test, so are those that are made of others or differ in their columns alone."""
    later = OTHER_HEADS | MADE_OF_OTHERS if alike else OTHER_HEADS
    marks = {name: [pytest.mark.slow] for name in later}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks.get(name, ())) for name in names])


def setting(folder: Path, *, seed: int = 0, ckpt_path: Path | None = None, **trainer: Any) -> Setting:
    """The shared setting, with `trainer` keys changed."""
    return Setting(
        SMALL.features, SMALL.graph, replace(SMALL.trainer, **trainer), seed=seed, folder=folder, ckpt_path=ckpt_path,
        world=None,
    )  # fmt: skip


def fit(name: str, db: Database, *, fold: Fold, folder: Path, seed: int = 0, **trainer: Any) -> Estimator:
    """The estimator `name`, fitted on what `db` knows at the fold's cutoff."""
    folder.mkdir(parents=True, exist_ok=True)
    estimator = build(ESTIMATORS[name], setting(folder, seed=seed, **trainer))
    return estimator.fit(db.upto(fold.cutoff), train=fold.train, val=fold.val, refit=fold.refit)


def rows_for(customers: list[Any], *, cutoffs: tuple[date, ...]) -> TaskTable:
    """Rows without labels: each of `customers` at each of `cutoffs`, in no slice."""
    pairs = [(customer, pd.Timestamp(cutoff).as_unit("us")) for cutoff in cutoffs for customer in customers]
    frame = pd.DataFrame(pairs, columns=["customer_id", "cutoff"])
    return TaskTable(frame.assign(slice_one_order=False, slice_dormant=False), SMALL.task.horizon)
