"""LightGBM's parameters, chosen once for all data sets together, on validation rows; no test label is looked at.

A trial fits all views on the train rows of every experiment, with early stopping on some of the train customers, and
predicts the validation rows. Its objective is the mean over the experiments of

    (Spearman of the rank - that of the default) + (1 - MAE of the median / that of the default)

so that 0 is the default, trial 0, and 0.01 is, say, half a point of Spearman and half a per cent less error. The median
is the decoded fourth root, by the residuals of the other half of the validation customers. Both terms are means over
rows, of which a standard error with customers as clusters follows. The best of many trials is best by luck too: a gain
within the error is no gain, and one that is not should be looked at on other data.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from patron.config import Config, load_experiment
from patron.estimators import LightGBMConfig
from patron.estimators.boosting import Matrix, boost
from patron.estimators.choose import Advantage, advantage, rank_losses
from patron.estimators.lightgbm import LightGBM, median_losses
from patron.pipeline import load_database, stage
from patron.task.ltv import TaskTable
from patron.task.split import folds

Params = Mapping[str, float | int | str | bool]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Range:
    """From `low` to `high`, both included, evenly or evenly in the logarithm; whole numbers if both are whole."""

    low: int | float
    high: int | float
    log: bool


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TuneConfig:
    """A study over the parameters in `space`, of so many `trials`, kept in the SQLite file `storage`."""

    name: Annotated[str, Field(min_length=1)]
    experiments: Annotated[tuple[str, ...], Field(min_length=1)]
    overrides: Mapping[str, tuple[str, ...]]
    trials: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    stopping: Annotated[int, Field(ge=2)]
    space: Annotated[Mapping[str, Range | tuple[int | float, ...]], Field(min_length=1)]
    storage: Path
    results: Path
    progress: bool


@dataclass(frozen=True)
class Losses:
    """Of the validation rows, [n] each: minus the share in Spearman's correlation, and the error of the median."""

    rank: np.ndarray
    median: np.ndarray

    @property
    def spearman(self) -> float:
        """The correlation of the ranks."""
        return -float(self.rank.mean())

    def gain(self, default: "Losses", *, rows: TaskTable) -> Advantage:
        """Over the default: of both terms of the objective together."""
        scale = max(float(default.median.mean()), 1e-9)
        before, after = (losses.rank + losses.median / scale for losses in (default, self))
        return advantage(before, after, customers=rows.frame["customer_id"])


@dataclass(frozen=True)
class Bench:
    """What a trial needs of an experiment: matrices and labels of the rows that are learned from, those that say when
    to stop, and those that are scored."""

    config: LightGBMConfig
    model: LightGBM
    learn: tuple[Matrix, TaskTable]
    stop: tuple[Matrix, TaskTable]
    val: tuple[Matrix, TaskTable]

    @classmethod
    def of(cls, config: Config, *, stopping: int) -> Self:
        """Of the experiment's last fold, as it is known at the validation cutoff."""
        chosen = config.estimators["lightgbm"]
        assert isinstance(chosen, LightGBMConfig)
        db = load_database(config.data)
        with stage("making matrices"):
            fold = folds(db, task=config.task, split=config.split)[-1]
            train, val = fold.train, fold.val
            past = db.only(config.tables).upto(val.cutoffs[-1])
            cutoffs = tuple(sorted({*train.cutoffs, *val.cutoffs}))
            model = LightGBM(chosen, config.setting(config.runs)).begin(past, train=train, cutoffs=cutoffs)
            matrix = model.matrix(past, train)
            # The last digit but one: where customers validate, the last one has chosen them.
            held_out = train.bucket(stopping * stopping) // stopping == 0
            learn, stop = ((matrix.where(part), train.where(part)) for part in (~held_out, held_out))
            return cls(chosen, model, learn, stop, (model.matrix(past, val), val))

    def losses(self, params: Params) -> Losses:
        """Of the validation rows, by boosters with these parameters in place of the default's."""
        settings = {**self.config.params, **params, "seed": self.model.setting.seed}
        boosted = boost(
            *self.learn, params=settings, trees=self.model.most, valid=self.stop, patience=self.config.patience
        )
        matrix, rows = self.val
        said = boosted.say(matrix)
        return Losses(rank_losses(rows.label, said.rank), median_losses(said, rows))


def benches(config: TuneConfig) -> dict[str, Bench]:
    """Every experiment of the study, by name. Raises ValueError for overrides of another one."""
    unknown = sorted(set(config.overrides) - set(config.experiments))
    if unknown:
        raise ValueError(f"overrides: {unknown} are not among the experiments {list(config.experiments)}; add them")
    return {
        name: Bench.of(load_experiment(name, overrides=config.overrides.get(name, ())), stopping=config.stopping)
        for name in config.experiments
    }


def tune(config: TuneConfig) -> pd.DataFrame:
    """Run what is left of the study's trials. Returns a row a finished trial, in order, the default first: `trial`, its
    parameters, `objective`, `se` of it by customers and `se_sets` over the experiments, and of each experiment
    `spearman_`, `nmae_`, `gain_` and `se_<name>`. Raises ValueError for a study begun with another configuration."""
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tables = benches(config)
    default = _default(tables, config)
    config.storage.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=config.name, storage=f"sqlite:///{config.storage}", direction="maximize", load_if_exists=True
    )
    _require_same(study, config, default=default)
    study.enqueue_trial(default, skip_if_exists=True)
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + done)  # the same seed would draw the same again
    with stage("the default"):
        before = {name: bench.losses({}) for name, bench in tables.items()}

    def objective(trial: Any) -> float:
        params = {name: _suggested(trial, name, values) for name, values in config.space.items()}
        return _tried(trial, params, tables=tables, before=before, default=default)

    if done < config.trials:
        study.optimize(objective, n_trials=config.trials - done, show_progress_bar=config.progress)
    return _table(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))


def best(trials: pd.DataFrame) -> tuple[pd.Series, bool]:
    """The trial with the highest objective, and whether its gain over the default exceeds both standard errors."""
    row = trials.iloc[int(trials["objective"].argmax())]
    errors = row[["se", "se_sets"]].astype(float).fillna(0)
    return row, bool(row["objective"] > errors.max())


def _tried(
    trial: Any, params: Params, *, tables: Mapping[str, Bench], before: Mapping[str, Losses], default: Params
) -> float:
    gains = {}
    for name, bench in tables.items():
        rows = bench.val[1]
        after = before[name] if params == default else bench.losses(params)
        gains[name] = after.gain(before[name], rows=rows)
        nmae = float(after.median.mean() / max(rows.label.mean(), 1e-9))
        said = {"spearman": after.spearman, "nmae": nmae, "gain": gains[name].gain, "se": gains[name].se}
        for what, value in said.items():
            trial.set_user_attr(f"{what}_{name}", value)
    values, number = np.array([one.gain for one in gains.values()]), len(gains)
    errors = np.array([one.se for one in gains.values()])
    trial.set_user_attr("se", float(np.sqrt((errors**2).sum()) / number))
    trial.set_user_attr("se_sets", float(values.std(ddof=1) / np.sqrt(number)) if number > 1 else None)
    return float(values.mean())


def _table(trials: list[Any]) -> pd.DataFrame:
    rows = [{"trial": one.number, **one.params, "objective": one.value, **one.user_attrs} for one in trials]
    return pd.DataFrame(rows).sort_values("trial", ignore_index=True)


def _suggested(trial: Any, name: str, values: Range | tuple[int | float, ...]) -> Any:
    if not isinstance(values, Range):
        return trial.suggest_categorical(name, list(values))
    whole = isinstance(values.low, int) and isinstance(values.high, int)
    suggest = trial.suggest_int if whole else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)


def _default(tables: Mapping[str, Bench], config: TuneConfig) -> dict[str, Any]:
    # What the file of the estimator says of the parameters in the space; it must lie there.
    params = next(iter(tables.values())).config.params
    for name, values in config.space.items():
        if name not in params:
            raise ValueError(f"space: estimators.lightgbm.params has no '{name}' to begin with; add it there")
        inside = values.low <= params[name] <= values.high if isinstance(values, Range) else params[name] in values  # type: ignore[operator]
        if not inside:
            raise ValueError(f"space: the default {name}={params[name]} is not in it; widen space.{name}")
    return {name: params[name] for name in config.space}


def _require_same(study: Any, config: TuneConfig, *, default: Mapping[str, Any]) -> None:
    # What objectives are compared on. Trials of another would be no match.
    overrides = {name: list(words) for name, words in config.overrides.items()}
    this = [list(config.experiments), overrides, config.stopping, sorted(config.space), dict(default)]
    begun = study.user_attrs.get("begun", json.dumps(this))
    if begun != json.dumps(this):
        raise ValueError(
            f"the study '{config.name}' in {config.storage} was begun with {begun}, not {json.dumps(this)}; "
            f"choose another name=... or storage=..."
        )
    study.set_user_attr("begun", begun)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ValueError("optuna is not installed; pip install -c constraints.txt -e '.[tune]'") from error
    return optuna
