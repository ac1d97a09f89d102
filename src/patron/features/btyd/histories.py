"""What the models are told and asked: purchase histories as checked columns, equal ones grouped, and the Protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

MIN_CUSTOMERS = 10  # fewer than this cannot tell three or four parameters apart


class PurchaseModel(Protocol):
    """How often customers come back. All times are in the unit of the data that the model was fitted to, as in
    `Purchases`; answers are [N], one a customer, and never NaN.

    `note` is empty for an ordinary fit and else says what was used instead; `converged` is False for a fallback.
    `standard_errors` are by name of the parameter, in its unit: NaN where the data do not determine it.
    """

    @property
    def r(self) -> float:
        """The shape of the gamma distribution of rates of purchase."""
        ...

    @property
    def converged(self) -> bool: ...
    @property
    def note(self) -> str: ...
    @property
    def standard_errors(self) -> Mapping[str, float]: ...
    def log_likelihood(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Log likelihood of each history: [N]. A density in purchase times, so it depends on their unit."""
        ...

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of not having dropped out by T: [N]."""
        ...

    def expected_purchases(
        self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> np.ndarray:
        """Expected purchases in `(T, T + horizon]` given the history: [N]; horizon is one number or [N]."""
        ...

    def p_purchase(self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of at least one purchase in `(T, T + horizon]` given the history: [N]."""
        ...


@dataclass(frozen=True)
class Rows:
    """Columns, float [N] each: the number of customers that a row stands for, how often they bought, and what else the
    kind of rows knows."""

    weight: np.ndarray
    frequency: np.ndarray

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self.frequency, return_inverse=True)

    def by_frequency(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`function(frequency)`, whose last axis is customers, computed once a frequency: gamma functions are dear."""
        distinct, index = self._counts
        return function(distinct)[..., index]

    def every(self, step: int) -> Self:
        """Every `step`-th row."""
        return type(self)(**{column.name: getattr(self, column.name)[::step] for column in fields(self)})


@dataclass(frozen=True)
class Purchases(Rows):
    """Purchase histories, float [N] each, times since the first purchase in one unit.

    `frequency` is purchase occasions after the first, `recency` the time of the last one (0 if there is none), and `T`
    the time of observation.
    """

    recency: np.ndarray
    T: np.ndarray


def purchases(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> Purchases:
    """The histories as checked columns. ValueError names the column, what is wrong and the first row where it is."""
    x, last, age = column("frequency", frequency), column("recency", recency), column("T", T)
    check_lengths(frequency=x, recency=last, T=age)
    refuse(last > age, "recency > T: recency is the time from the first purchase to the last, T to the cutoff")
    refuse((x == 0) & (last > 0), "recency > 0 where frequency is 0: recency runs from the first purchase to the last")
    return Purchases(np.ones_like(x), frequency=x, recency=last, T=age)


def horizon_of(horizon: ArrayLike, past: Purchases) -> np.ndarray:
    """`horizon` as a checked column of length 1 or N. ValueError if it is negative or of another length."""
    length = column("horizon", horizon)
    if len(length) > 1 and len(past.T) > 1:
        check_lengths(horizon=length, frequency=past.frequency)
    return length


def grouped(*columns: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The distinct rows of `columns`, sorted, so that the order of customers cannot change a sum, and how often each is
    there: [n] each."""
    order = np.lexsort(columns[::-1])
    rows = np.stack(columns)[:, order]
    new = np.append(True, np.any(rows[:, 1:] != rows[:, :-1], axis=0))[: len(order)]
    starts = np.flatnonzero(new)
    return list(rows[:, starts]), np.diff(starts, append=len(order)).astype(float)


def grouped_purchases(data: Purchases) -> Purchases:
    """One row a distinct history."""
    (frequency, recency, T), weight = grouped(data.frequency, data.recency, data.T)
    return Purchases(weight, frequency=frequency, recency=recency, T=T)


def scaled_time(data: Purchases) -> tuple[Purchases, float, float]:
    """The histories with time in units of the mean T; that unit; and the rate of repeat purchases in it."""
    unit = float(data.weight @ data.T / data.weight.sum())
    scaled = replace(data, recency=data.recency / unit, T=data.T / unit)
    return scaled, unit, float((data.weight @ data.frequency) / (data.weight @ scaled.T))


def unfit(data: Purchases) -> str:
    """Why no model of how often can be fitted to these customers; empty when one can."""
    customers = int(data.weight.sum())
    if customers < MIN_CUSTOMERS:
        return f"{customers} customers are too few"
    if not np.any(data.frequency > 0):
        return "no repeat purchases"
    return "" if np.any(data.T > 0) else "no time after the first purchase"


def pooled_rate(data: Purchases) -> float:
    """One rate for all, (purchases + 1/2) / time as by Jeffreys; where no time was seen at all, one unit of it a
    customer is assumed."""
    time = data.weight @ data.T or max(data.weight.sum(), 1.0)
    return float((data.weight @ data.frequency + 0.5) / time)


def column(name: str, values: ArrayLike, *, signed: bool = False) -> np.ndarray:
    """`values` as float [N]. ValueError unless they are finite, one a customer and, if not `signed`, not negative."""
    found = np.atleast_1d(np.asarray(values, dtype=float))
    if found.ndim != 1:
        raise ValueError(f"{name} has shape {found.shape}; give one value a customer")
    refuse(~np.isfinite(found), f"{name} is missing or infinite; write 0 where there was no purchase")
    refuse((found < 0) & (not signed), f"{name} is negative")
    return found


def refuse(bad: np.ndarray, what: str) -> None:
    """ValueError that says `what`, in how many rows and where first, if any is bad."""
    if bad.any():
        raise ValueError(f"{what} ({bad.sum()} rows, the first is row {np.flatnonzero(bad)[0]})")


def check_lengths(**columns: np.ndarray) -> None:
    """ValueError unless all have the same length."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {lengths}; give one value a customer in every column")


def check_parameters(**parameters: float) -> None:
    """ValueError unless all are positive and finite."""
    bad = {name: value for name, value in parameters.items() if not (np.isfinite(value) and value > 0)}
    if bad:
        raise ValueError(f"parameters must be positive and finite, not {bad}")
