"""Nothing is fitted twice: estimators that are parts of others are remembered by what they were fitted to.

Databases and task tables are compared by identity, as everywhere; of the setting, the folder makes no difference, and
graph and trainer only to who learns on a graph: controls of the graph share their LightGBM.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from patron.estimators.base import Estimator, Setting
from patron.tables.database import Database
from patron.task.ltv import TaskTable

E = TypeVar("E", bound=Estimator)


@dataclass(frozen=True)
class _Job:
    what: str
    db: Database
    train: TaskTable
    val: TaskTable
    refit: TaskTable
    estimator: Any = field(compare=False)


def fitted(
    estimator: E, *, config: Any, setting: Setting, db: Database, train: TaskTable, val: TaskTable, refit: TaskTable
) -> E:
    """`estimator`, which `config` and `setting` made, fitted; or one of the same kind that was fitted to the same
    before."""
    graph = (setting.graph, setting.trainer, setting.ckpt_path) if estimator.on_graph else ()
    what = repr((config, setting.features, setting.seed, graph))
    done: E = _done(_Job(what, db, train, val, refit, estimator))
    return done


@lru_cache(maxsize=64)
def _done(job: _Job) -> Any:
    return job.estimator.fit(job.db, train=job.train, val=job.val, refit=job.refit)
