"""Maximum a posteriori in log parameters, from several starts, with standard errors; the same for every model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits

from patron.features.btyd.histories import Rows

WEAK_PRIOR = 1e-3  # precision of the Normal(0, 1 / precision) prior on every log parameter, in scaled units
LOG_BOUND = 7.0  # scaled parameters stay within exp(±7): beyond, the likelihood is flat and hyp2f1 overflows
_ROUGH_ROWS = 1000  # that the search from every start looks at; the best goes on with all
_ROUGH = {"ftol": 1e-6, "gtol": 1e-4}
_FINE = {"ftol": 1e-13, "gtol": 1e-9}
_STEP = 1e-4  # of the log parameters, for the curvature
_SINGULAR = 1e-7  # the least curvature over the greatest, below which a direction counts as flat

Data = TypeVar("Data", bound=Rows)
Scores = Callable[[np.ndarray, Data], tuple[np.ndarray, np.ndarray]]
"""parameters [K], rows [N] -> log likelihood of each row [N], and its derivatives by the parameters [K, N]."""
Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""log parameters [K] -> what is to be lowest, and its gradient [K]."""


@dataclass(frozen=True)
class Fit:
    """Parameters by name in the units of the data, their standard errors, and what is to be said about them."""

    parameters: Mapping[str, float]
    standard_errors: Mapping[str, float]
    converged: bool
    note: str


@threadpool_limits.wrap(limits=1, user_api="blas")  # threads would wait for each other over products this small
def fit(
    scores: Scores[Data], data: Data, *, starts: Sequence[Sequence[float]], penalty: float, units: Mapping[str, float]
) -> Fit:
    """The highest posterior that L-BFGS-B reaches: from every start roughly, on a part of the rows, and from the best
    of these ends on all.

    `starts` are scaled parameters, in the order of `units`: what each is multiplied with to be in the unit of the data.
    `penalty` is the precision of the prior, which standard errors leave out: they are from the curvature of the
    likelihood at the point found, and NaN where that is flat or a bound holds a parameter.
    """
    loss = negative_posterior(scores, data, penalty=penalty)
    part = negative_posterior(scores, data.every(-(-len(data.weight) // _ROUGH_ROWS)), penalty=penalty)
    inside = [np.clip(np.log(start), 1 - LOG_BOUND, LOG_BOUND - 1) for start in starts]
    ends = [_descend(part, start, options=_ROUGH).x for start in inside]
    best = _descend(loss, min(ends, key=lambda end: loss(end)[0]), options=_FINE)
    slope = best.x - np.clip(best.x - best.jac, -LOG_BOUND, LOG_BOUND)  # 0 where a bound holds a parameter
    converged, held = bool(np.abs(slope).max() < 1e-5), np.abs(best.x) >= LOG_BOUND - 1e-6
    likelihood, customers = negative_posterior(scores, data, penalty=0.0), data.weight.sum()
    errors = np.full(len(best.x), np.nan) if held.any() else _log_errors(likelihood, best.x, customers=customers)
    values = np.exp(best.x) * list(units.values())
    return Fit(
        dict(zip(units, values.tolist(), strict=True)), dict(zip(units, (values * errors).tolist(), strict=True)),
        converged=converged, note=_note(list(units), converged=converged, held=held, errors=errors),
    )  # fmt: skip


def negative_posterior(scores: Scores[Data], data: Data, *, penalty: float) -> Loss:
    """The negative log posterior a customer and its gradient, by log parameters."""
    customers = data.weight.sum()

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = np.exp(at)
        log_likelihood, score = scores(parameters, data)
        slope = penalty * at - (score @ data.weight) * parameters
        return float(penalty * at @ at / 2 - data.weight @ log_likelihood) / customers, slope / customers

    return loss


def unknown(names: Sequence[str]) -> dict[str, float]:
    """The standard errors of what was not estimated: NaN."""
    return dict.fromkeys(names, float("nan"))


def joined(*notes: str) -> str:
    """The notes that are not empty, as one."""
    return "; ".join(note for note in notes if note)


def _descend(loss: Loss, start: np.ndarray, *, options: Mapping[str, float]) -> OptimizeResult:
    bounds = [(-LOG_BOUND, LOG_BOUND)] * len(start)
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=dict(options))


def _log_errors(loss: Loss, at: np.ndarray, *, customers: float) -> np.ndarray:
    # Of log parameters, from the inverse of the observed information; NaN where a direction is flat: [K].
    steps = _STEP * np.eye(len(at))
    curvature = np.stack([(loss(at + step)[1] - loss(at - step)[1]) / (2 * _STEP) for step in steps])
    information = customers * (curvature + curvature.T) / 2
    values = np.linalg.eigvalsh(information)
    if not values[0] > _SINGULAR * values[-1]:
        return np.full(len(at), np.nan)
    return np.sqrt(np.diag(np.linalg.inv(information)))


def _note(names: Sequence[str], *, converged: bool, held: np.ndarray, errors: np.ndarray) -> str:
    at_bound = ", ".join(name for name, bound in zip(names, held, strict=True) if bound)
    failed = "" if converged else "no convergence: the best point found is used"
    flat = "the likelihood is flat in some direction: no standard errors" if np.isnan(errors).any() else ""
    return joined(failed, f"{at_bound} at the bound: the data do not determine it" if at_bound else flat)
