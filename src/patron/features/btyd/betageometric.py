"""BG/NBD and MBG/NBD: a customer buys at a rate of his own, and drops out by a coin of his own.

Rates are Gamma(r, alpha), coins Beta(a, b). In the BG/NBD the coin is tossed after each repeat purchase, so that
nobody has dropped out without one (Fader, Hardie & Lee 2005, whose equations are named here). In the MBG/NBD it is
tossed after the first purchase too (Batislam, Denizel & Filiztekin 2007): one toss more, and else the same formulas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, digamma, expit, gammaln, hyp2f1

from patron.features.btyd.histories import (
    Purchases,
    check_parameters,
    grouped_purchases,
    horizon_of,
    pooled_rate,
    purchases,
    scaled_time,
    unfit,
)
from patron.features.btyd.optimise import WEAK_PRIOR, fit, unknown

STARTS = ((0.3, 0.8, 2.5), (1.0, 0.3, 3.0), (3.0, 2.0, 2.0), (0.1, 0.1, 0.5))  # r, a, b; alpha = r / rate
NAMES = ("r", "alpha", "a", "b")
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(100)


@dataclass(frozen=True)
class _BetaGeometric:
    """What both models are: see `PurchaseModel`, whose methods these are. `alpha` is in the time unit of the data."""

    r: float
    alpha: float
    a: float
    b: float
    converged: bool = True
    note: str = ""
    standard_errors: Mapping[str, float] = field(default_factory=lambda: unknown(NAMES), compare=False)
    first_tosses: ClassVar[int]  # how often the coin is tossed before any repeat purchase

    def __post_init__(self) -> None:
        check_parameters(r=self.r, alpha=self.alpha, a=self.a, b=self.b)

    def log_likelihood(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Log likelihood of each history: [N]. Eq. 6; a density in purchase times, so it depends on their unit."""
        return scores(self._parameters(), purchases(frequency, recency, T), first_tosses=self.first_tosses)[0]

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of not having dropped out by T: [N]; in the BG/NBD 1 without a repeat. Fader & Hardie 2008."""
        return self._alive(purchases(frequency, recency, T))

    def expected_purchases(
        self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> np.ndarray:
        """Expected purchases in `(T, T + horizon]` given the history: [N]; horizon is one number or [N].

        Eq. 10, which is eq. 9 for frequency = recency = T = 0. Finite, and at most its value without dropout.
        """
        past = purchases(frequency, recency, T)
        return _purchases_if_alive(self, horizon_of(horizon, past), past) * self._alive(past)

    def p_purchase(self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of at least one purchase in `(T, T + horizon]` given the history: [N].

        Closed form: whoever is alive stays so until the next purchase, and has a rate of Gamma(r + x, alpha + T).
        """
        past = purchases(frequency, recency, T)
        wait = np.log1p(horizon_of(horizon, past) / (self.alpha + past.T))
        return self._alive(past) * -np.expm1(-(self.r + past.frequency) * wait)

    def _alive(self, past: Purchases) -> np.ndarray:
        return expit(-_dropped_out(self._parameters(), past, first_tosses=self.first_tosses)[0])

    def _parameters(self) -> np.ndarray:
        return np.array([self.r, self.alpha, self.a, self.b])


@dataclass(frozen=True)
class BGNBD(_BetaGeometric):
    """BG/NBD: whoever has not come back yet is alive for certain."""

    first_tosses: ClassVar[int] = 0


@dataclass(frozen=True)
class MBGNBD(_BetaGeometric):
    """MBG/NBD: a customer may have left right after the first purchase."""

    first_tosses: ClassVar[int] = 1


Model = TypeVar("Model", bound=_BetaGeometric)


def fit_bgnbd(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike, *, penalty: float = WEAK_PRIOR) -> BGNBD:
    """The BG/NBD of these customers, [N] each, in any one unit of time; their order does not matter.

    `penalty` is the precision of the Normal prior on each log parameter with time in units of the mean T; 0 gives
    maximum likelihood. Fewer than 10 customers, no repeat purchases or no time to repeat: the pooled rate, and a note.
    """
    return _fit(BGNBD, grouped_purchases(purchases(frequency, recency, T)), penalty=penalty)


def fit_mbgnbd(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike, *, penalty: float = WEAK_PRIOR) -> MBGNBD:
    """The MBG/NBD of these customers; all else as in `fit_bgnbd`."""
    return _fit(MBGNBD, grouped_purchases(purchases(frequency, recency, T)), penalty=penalty)


def scores(parameters: np.ndarray, data: Purchases, *, first_tosses: int) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood of each history under (r, alpha, a, b), and its derivatives by them: [4] -> [N], [4, N].

    Fader, Hardie & Lee 2005, eq. 6, sec. 7: with k tosses survived, `Gamma(r + x) B(a, b + k)` and so on.
    """
    r, alpha, a, _ = parameters
    log_odds, log_ratio = _dropped_out(parameters, data, first_tosses=first_tosses)
    dead, log_time = expit(log_odds), np.log(alpha + data.T)
    gammas, by_r, by_a, by_b, last = data.by_frequency(lambda x: _of_counts(parameters, x, tosses=x + first_tosses))
    per_time = (1 - dead) / (alpha + data.T) + dead / (alpha + data.recency)
    shape = r + data.frequency
    slopes = np.stack([
        by_r + np.log(alpha) - log_time + dead * log_ratio, r / alpha - shape * per_time,
        by_a + dead / a, by_b - dead * last,
    ])  # fmt: skip
    return gammas + r * np.log(alpha) - shape * log_time + _softplus(log_odds), slopes


def _dropped_out(parameters: np.ndarray, data: Purchases, *, first_tosses: int) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of having dropped out by the last toss, -inf where none was, and log((alpha + T) / (alpha + recency)):
    [4] -> [N], [N]."""
    r, alpha, a, b = parameters
    log_ratio = np.log((alpha + data.T) / (alpha + data.recency))
    chance = data.by_frequency(lambda x: _last_toss(a, b, tosses=x + first_tosses))
    return chance + (r + data.frequency) * log_ratio, log_ratio


def _last_toss(a: float, b: float, *, tosses: np.ndarray) -> np.ndarray:
    """Log odds that the last toss made an end, to that it did not, after those before did not; -inf without one."""
    return np.where(tosses > 0, np.log(a) - np.log(b + np.maximum(tosses, 1) - 1), -np.inf)


def _of_counts(parameters: np.ndarray, x: np.ndarray, *, tosses: np.ndarray) -> np.ndarray:
    """What depends on counts alone: log gammas, their derivatives by r, a and b, and that of `_last_toss` by -b:
    [n] -> [5, n]."""
    r, _, a, b = parameters
    value = gammaln(r + x) - gammaln(r) + gammaln(a + b) - gammaln(b) + gammaln(b + tosses) - gammaln(a + b + tosses)
    by_a = digamma(a + b) - digamma(a + b + tosses)
    by_b = by_a + digamma(b + tosses) - digamma(b)
    return np.stack([value, digamma(r + x) - digamma(r), by_a, by_b, 1 / (b + np.maximum(tosses, 1) - 1)])


def _softplus(values: np.ndarray) -> np.ndarray:
    """log(1 + exp(values)), faster than logaddexp."""
    return np.maximum(values, 0) - np.log(expit(np.abs(values)))


# --- fitting


def _fit(kind: type[Model], data: Purchases, *, penalty: float) -> Model:
    why = unfit(data)
    if why:
        # Known as from one customer (r = 1), and dropout a / (a + b) = 1e-6.
        rate = pooled_rate(data)
        note = f"{why}: the pooled rate of {rate:.3g} repeat purchases a unit of time is used, without dropout"
        return kind(1.0, 1 / rate, 1e-3, 1e3, converged=False, note=note)
    scaled, unit, rate = scaled_time(data)
    best = fit(
        partial(scores, first_tosses=kind.first_tosses), scaled, starts=[(r, r / rate, a, b) for r, a, b in STARTS],
        penalty=penalty, units={"r": 1.0, "alpha": unit, "a": 1.0, "b": 1.0},
    )  # fmt: skip
    return kind(**best.parameters, converged=best.converged, note=best.note, standard_errors=best.standard_errors)


# --- the conditional expectation


def _purchases_if_alive(model: _BetaGeometric, horizon: np.ndarray, past: Purchases) -> np.ndarray:
    """Expected purchases in the horizon of a customer alive at T: [N], finite."""
    frequency, ratio = np.broadcast_arrays(past.frequency, horizon / (model.alpha + past.T))
    with np.errstate(over="ignore", invalid="ignore"):  # huge a: replaced in the next lines
        expected = _closed_form(model, frequency=frequency, ratio=ratio)
    lost = ~np.isfinite(expected)
    expected[lost] = _quadrature(model, frequency=frequency[lost], ratio=ratio[lost])
    return np.clip(expected, 0, (model.r + frequency) * ratio)


def _closed_form(model: _BetaGeometric, *, frequency: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Eq. 10 for a customer alive, ratio = horizon / (alpha + T): [N] -> [N]. NaN or inf where hyp2f1 overflows.

    The paper's (1 - z)^(r+x) 2F1(r+x, b+k; c; z), k tosses survived and c = a+b+k-1, is by Euler's transformation
    (1 - z)^(a-1) 2F1(a-1, a+b+k-x-1-r; c; z). There only c grows with the frequency, so that heavy buyers overflow
    nothing.
    """
    a, b = _away_from(model.a, pole=1.0), model.b + model.first_tosses
    c = _away_from(a + b + frequency - 1, pole=0.0)
    hypergeometric = hyp2f1(a - 1, a + b - 1 - model.r, c, ratio / (1 + ratio))
    return c / (a - 1) * (1 - np.exp((1 - a) * np.log1p(ratio)) * hypergeometric)


def _quadrature(model: _BetaGeometric, *, frequency: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """The same as the mean of (1 - (1 + p ratio)^-(r+x)) / p over dropout p ~ Beta(a, b + k): [N] -> [N]."""
    shape, tosses = model.r + frequency[:, None], frequency[:, None] + model.first_tosses
    p = np.maximum(betaincinv(model.a, model.b + tosses, (_NODES + 1) / 2), 1e-100)  # [N, 100]
    return -np.expm1(-shape * np.log1p(p * ratio[:, None])) / p @ (_NODE_WEIGHTS / 2)


def _away_from(value: ArrayLike, *, pole: float) -> np.ndarray:
    """`value`, kept 1e-6 from a removable singularity of eq. 10, which moves the expectation by 1e-6 of itself."""
    values = np.asarray(value, dtype=float)
    return np.where(np.abs(values - pole) < 1e-6, pole + 1e-6, values)
