"""What boosting learns of a customer's spend, each in the scale in which trees learn it best: views of one label.

| view | objective | on its raw scale it says |
|---|---|---|
| `rank` | cross-entropy on the share of customers with a smaller label at the same cutoff | its logit |
| `buys` | cross-entropy on whether the label is above 0 | its logit |
| `root` | squared error on the fourth root of the label, of those who bought | the root |
| `mean` | Tweedie deviance, power 1.5, log link | log of the mean over that of all |

A Spearman correlation is Pearson's of ranks, so what is expected of a rank is what ranks best; `buys` and `root`
together are a hurdle model. `root` and `mean` start from the pace of the past, since trees alone cut the heavy tail
into steps, at the level that the labels have on average: trees that stop early would not get there. Chosen on
validation rows (LOG.md, 2026-11-22).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from tqdm import tqdm

from patron.calibration.decode import RARE, Centre, log_of_payers
from patron.task.ltv import TaskTable

if TYPE_CHECKING:
    import lightgbm

Name = Literal["rank", "buys", "root", "mean"]
LEAST = 0.02  # of the mean label: the pace at which a mean starts for who bought nothing
CERTAIN = 12.0  # logit of a probability that all rows share


@dataclass(frozen=True)
class Matrix:
    """What boosting sees of rows [n, columns], and the spend that their past pace would come to: [n], NaN for a label
    that is no total of money. It is the pace since a customer's first order: one over the whole history of the data
    falls from cutoff to cutoff as this grows, and what starts from it comes out too low."""

    values: np.ndarray
    pace: np.ndarray

    def where(self, mask: np.ndarray) -> "Matrix":
        """The rows for which `mask` is true."""
        return Matrix(self.values[mask], self.pace[mask])


@dataclass(frozen=True)
class View:
    """A target of the rows' labels, which of them it has, and where boosting starts from, on the scale of the target;
    `link` takes that to the raw scale; `scale` is the mean label."""

    objective: Mapping[str, Any]
    target: Callable[[TaskTable, float], np.ndarray]
    payers: bool = False
    start: Callable[[np.ndarray, float], np.ndarray] | None = None
    link: Callable[[np.ndarray], np.ndarray] = np.asarray


def fourth_root(spend: np.ndarray) -> np.ndarray:
    """[n] -> [n]; of negative values 0."""
    return np.maximum(spend, 0) ** 0.25


VIEWS: Mapping[Name, View] = {
    "rank": View({"objective": "cross_entropy"}, lambda rows, _: rows.percentile, link=logit),
    "buys": View({"objective": "cross_entropy"}, lambda rows, _: (rows.label > 0).astype(np.float64), link=logit),
    "root": View({"objective": "regression"}, lambda rows, _: fourth_root(rows.label), payers=True,
                 start=lambda pace, _: fourth_root(pace)),
    "mean": View({"objective": "tweedie", "tweedie_variance_power": 1.5}, lambda rows, scale: rows.label / scale,
                 start=lambda pace, scale: np.maximum(pace / scale, LEAST), link=np.log),
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What the boosters say of rows, [n] each: logit of the expected percentile, probability of a label above 0, its
    expected fourth root (0 for none), and its mean."""

    rank: np.ndarray
    buys: np.ndarray
    root: np.ndarray
    mean: np.ndarray

    @property
    def buys_logit(self) -> np.ndarray:
        """The logit of `buys`, within bounds."""
        return logit(np.clip(self.buys, 1e-6, 1 - 1e-6))

    @property
    def forecast(self) -> Centre:
        """The same for a `Decoder`: payers by their root, which mean and rank may correct."""
        active = self.buys_logit
        location, mean = log_of_payers(self.root, active), np.log1p(self.mean / expit(active.clip(-RARE, RARE)))
        return Centre(active, location, np.column_stack([mean - location, self.rank]))

    def where(self, rows: np.ndarray) -> "Said":
        """The rows of a mask."""
        return Said(*(values[rows] for values in vars(self).values()))

    def moved(self, level: "Level") -> "Said":
        """The same at another level."""
        active = expit(self.buys_logit + level.active)
        root = (self.root / np.maximum(self.buys, 1e-6) + level.root) * active
        return replace(self, buys=active, root=np.maximum(root, 0), mean=self.mean * level.factor)


@dataclass(frozen=True)
class Level:
    """By how much all logits of P(label > 0), all payers' roots and all means are moved. What learns from labels knows
    their level, so that a season's shift is no fault of an earlier model."""

    active: float
    root: float
    factor: float

    @classmethod
    def between(cls, said: Said, y: np.ndarray) -> Self:
        """From what is said of rows to their labels `y` [n]."""
        paid, of_payers = y > 0, said.root / np.maximum(said.buys, 1e-6)
        share = (paid.sum() + 0.5) / (len(y) + 1)
        active = brentq(lambda by: float(expit(said.buys_logit + by).mean()) - share, -30, 30)
        root = float((fourth_root(y) - of_payers)[paid].mean()) if paid.any() else 0.0
        return cls(active, root, float(y.sum() / max(float(said.mean.sum()), 1e-9)))

    def since(self, other: "Level") -> "Level":
        """The move that leads from `other` to this one."""
        return Level(self.active - other.active, self.root - other.root, self.factor / max(other.factor, 1e-9))


@dataclass(frozen=True)
class Boosted:
    """A booster of every view, or where all labels are alike the value that it would have learned; their `scale`; and
    by what the `starts` of each view are multiplied."""

    boosters: Mapping[Name, "lightgbm.Booster | float"]
    scale: float
    starts: Mapping[Name, float]

    @property
    def trees(self) -> dict[Name, int]:
        """The number of trees of each view, at its best."""
        return {name: _trees(booster) for name, booster in self.boosters.items()}

    def say(self, matrix: Matrix) -> Said:
        """What is said of the rows of `matrix`."""
        rank, buys, root, mean = (self._raw(matrix, name) for name in get_args(Name))
        return Said(rank, expit(buys), expit(buys) * np.maximum(root, 0), np.exp(mean) * self.scale)

    def _raw(self, matrix: Matrix, name: Name) -> np.ndarray:
        booster = self.boosters[name]
        if isinstance(booster, float):
            return np.full(len(matrix.values), booster)
        said = np.asarray(booster.predict(matrix.values, raw_score=True), dtype=np.float64)
        start = _start(matrix, VIEWS[name], scale=self.scale, factor=self.starts[name])
        return said if start is None else said + start


def boost(
    matrix: Matrix,
    rows: TaskTable,
    *,
    params: Mapping[str, Any],
    trees: Mapping[Name, int],
    valid: tuple[Matrix, TaskTable] | None = None,
    patience: int = 0,
) -> Boosted:
    """Boosters of all views of `rows`, each of so many `trees`, or with `valid` rows of as many as these like best,
    at most that."""
    scale = max(float(rows.label.mean()), 1e-9)
    starts = {name: _level(matrix, rows, VIEWS[name], scale=scale) for name in get_args(Name)}
    bins, boosters = _Bins(), dict[Name, Any]()
    for name in tqdm(get_args(Name), desc="LightGBM", unit="view", delay=2, leave=False):
        start = partial(_start, view=VIEWS[name], scale=scale, factor=starts[name])
        learned = _labelled(matrix, rows, view=VIEWS[name], start=start, scale=scale)
        if len(learned.target) == 0 or np.ptp(learned.target) == 0:
            boosters[name] = _constant(learned.target, name)
            continue
        settings = {**params, **VIEWS[name].objective, "verbosity": -1, "deterministic": True}
        data = bins.of(learned)
        check = None
        if valid is not None:
            own = _level(*valid, VIEWS[name], scale=scale)
            asked = _labelled(*valid, view=VIEWS[name], start=partial(start, factor=own), scale=scale)
            check = bins.of(_at_level_of(learned, asked, link=VIEWS[name].link), by=data)
        boosters[name] = _trained(settings, data, check, trees=trees[name], patience=patience)
    return Boosted(boosters, scale, starts)


@dataclass(frozen=True)
class _Labelled:
    """Rows of a view, [n, columns], with its target and what boosting starts from, [n]."""

    values: np.ndarray
    target: np.ndarray
    start: np.ndarray | None


def _labelled(
    matrix: Matrix, rows: TaskTable, *, view: View, start: Callable[[Matrix], np.ndarray | None], scale: float
) -> _Labelled:
    matrix, rows = _of_view(matrix, rows, view)
    return _Labelled(matrix.values, view.target(rows, scale), start(matrix))


def _at_level_of(learned: _Labelled, valid: _Labelled, *, link: Callable[[np.ndarray], np.ndarray]) -> _Labelled:
    # Rows that choose the number of trees start at their own level. How far that of another window is from what was
    # learned says nothing of how many trees tell customers apart.
    if valid.start is not None or not len(valid.target):
        return valid
    means = np.array([valid.target.mean(), learned.target.mean()])
    later, before = link(np.clip(means, 1e-3, None if means.max() > 1 else 1 - 1e-3))
    return replace(valid, start=np.full(len(valid.target), later - before))


class _Bins:
    """LightGBM's bins of rows: views of the same rows differ in target and start alone, and share them."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, lightgbm.Dataset | None], lightgbm.Dataset] = {}

    def of(self, rows: _Labelled, *, by: "lightgbm.Dataset | None" = None) -> "lightgbm.Dataset":
        """The rows with their target and start; cut as those of `by` are."""
        import lightgbm  # it brings scikit-learn along, and matplotlib where that is there

        which = len(rows.values), by  # of all rows and the payers among them, those of one length are the same
        if which not in self.made:
            # Column names may hold what LightGBM's JSON refuses, so it gets positions.
            self.made[which] = lightgbm.Dataset(rows.values) if by is None else by.create_valid(rows.values)
        data = self.made[which]
        if rows.start is None and data.init_score is not None:
            data.set_field("init_score", None)  # that of another view would stay
        return data.set_label(rows.target).set_init_score(rows.start)


def _trained(
    settings: dict[str, Any], data: "lightgbm.Dataset", check: "lightgbm.Dataset | None", *, trees: int,
    patience: int,
) -> "lightgbm.Booster":  # fmt: skip
    import lightgbm

    if check is None:
        return lightgbm.train(settings, data, num_boost_round=trees)
    stop = lightgbm.early_stopping(patience, verbose=False)
    return lightgbm.train(settings, data, num_boost_round=trees, valid_sets=[check], callbacks=[stop])


def _of_view(matrix: Matrix, rows: TaskTable, view: View) -> tuple[Matrix, TaskTable]:
    paid = rows.label > 0
    return (matrix.where(paid), rows.where(paid)) if view.payers and paid.any() else (matrix, rows)


def _constant(target: np.ndarray, name: Name) -> float:
    value = float(target[0]) if len(target) else 0.0
    match name:
        case "rank" | "buys":
            return float(np.clip(logit(value), -CERTAIN, CERTAIN))
        case "root":
            return value
        case "mean":
            return float(np.log(max(value, 1e-9)))


def _start(matrix: Matrix, view: View, *, scale: float, factor: float) -> np.ndarray | None:
    unknown = bool(np.isnan(matrix.pace).any())
    return None if view.start is None or unknown else view.link(view.start(matrix.pace, scale) * factor)


def _level(matrix: Matrix, rows: TaskTable, view: View, *, scale: float) -> float:
    # By what starts are to be multiplied so that they are the target's on average. Trees that stop early would not
    # get there.
    matrix, rows = _of_view(matrix, rows, view)
    start = 0.0 if view.start is None else float(np.mean(view.start(matrix.pace, scale)))
    target = float(np.mean(view.target(rows, scale)))
    return target / start if start > 0 and target > 0 else 1.0


def _trees(booster: "lightgbm.Booster | float") -> int:
    if isinstance(booster, float):
        return 1
    return booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
