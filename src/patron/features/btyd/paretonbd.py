"""Pareto/NBD: a customer buys at a rate of his own, and may drop out at any time, at another rate of his own.

Rates of purchase are Gamma(r, alpha), of dropout Gamma(s, beta). Schmittlein, Morrison & Colombo 1987; the numbers of
equations are those of Fader & Hardie, A Note on Deriving the Pareto/NBD Model, 2005.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, expit, exprel, gammaln

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
from patron.features.btyd.integral import PowerIntegral, power_integral
from patron.features.btyd.optimise import WEAK_PRIOR, fit, unknown

STARTS = ((0.5, 0.6, 0.4), (1.0, 1.0, 1.0), (0.3, 0.3, 0.1), (3.0, 2.0, 4.0))  # r, s, beta / mean T; alpha = r / rate
NAMES = ("r", "alpha", "s", "beta")


@dataclass(frozen=True)
class ParetoNBD:
    """Pareto/NBD, see `PurchaseModel`, whose methods these are. `alpha` and `beta` are in the time unit of the data."""

    r: float
    alpha: float
    s: float
    beta: float
    converged: bool = True
    note: str = ""
    standard_errors: Mapping[str, float] = field(default_factory=lambda: unknown(NAMES), compare=False)

    def __post_init__(self) -> None:
        check_parameters(r=self.r, alpha=self.alpha, s=self.s, beta=self.beta)

    def log_likelihood(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Log likelihood of each history: [N]. Eq. 18; a density in purchase times, so it depends on their unit."""
        return scores(self._parameters(), purchases(frequency, recency, T))[0]

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of not having dropped out by T: [N]. Eq. 36."""
        return self._alive(purchases(frequency, recency, T))

    def expected_purchases(
        self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> np.ndarray:
        """Expected purchases in `(T, T + horizon]` given the history: [N]; horizon is one number or [N].

        Eq. 41: of whoever is alive, the rate of purchase times the time until dropout, s = 1 included.
        """
        past = purchases(frequency, recency, T)
        wait = np.log1p(horizon_of(horizon, past) / (self.beta + past.T))
        time = (self.beta + past.T) * wait * exprel((1 - self.s) * wait)
        return self._alive(past) * (self.r + past.frequency) / (self.alpha + past.T) * time

    def p_purchase(self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of at least one purchase in `(T, T + horizon]` given the history: [N].

        Of whoever is alive, the integral over the time of the next purchase, which must come before the dropout.
        """
        past = purchases(frequency, recency, T)
        shape, until = self.r + past.frequency, past.T + horizon_of(horizon, past)
        next_one = power_integral(past.T, until, alpha=self.alpha, p=shape + 1, beta=self.beta, q=self.s).log_value
        log_rate = np.log(shape) + shape * np.log(self.alpha + past.T) + self.s * np.log(self.beta + past.T)
        return self._alive(past) * np.exp(np.minimum(log_rate + next_one, 0))

    def _alive(self, past: Purchases) -> np.ndarray:
        log_alive, log_dead, _ = _branches(self._parameters(), past)
        return expit(log_alive - log_dead)

    def _parameters(self) -> np.ndarray:
        return np.array([self.r, self.alpha, self.s, self.beta])


def fit_paretonbd(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike, *, penalty: float = WEAK_PRIOR) -> ParetoNBD:
    """The Pareto/NBD of these customers, [N] each, in any one unit of time; their order does not matter.

    `penalty` is the precision of the Normal prior on each log parameter with time in units of the mean T; 0 gives
    maximum likelihood. Fewer than 10 customers, no repeat purchases or no time to repeat: the pooled rate, and a note.
    """
    data = grouped_purchases(purchases(frequency, recency, T))
    why = unfit(data)
    if why:
        # Known as from one customer (r = 1), and dropout at 1e-6 of that rate.
        rate = pooled_rate(data)
        note = f"{why}: the pooled rate of {rate:.3g} repeat purchases a unit of time is used, without dropout"
        return ParetoNBD(1.0, 1 / rate, 1.0, 1e6 / rate, converged=False, note=note)
    scaled, unit, rate = scaled_time(data)
    starts = [(r, r / rate, s, beta) for r, s, beta in STARTS]
    best = fit(scores, scaled, starts=starts, penalty=penalty, units={"r": 1.0, "alpha": unit, "s": 1.0, "beta": unit})
    return ParetoNBD(**best.parameters, converged=best.converged, note=best.note, standard_errors=best.standard_errors)


def scores(parameters: np.ndarray, data: Purchases) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood of each history under (r, alpha, s, beta), and its derivatives by them: [4] -> [N], [4, N].

    Eq. 18, with A_0 as the integral over the time of dropout that it came from.
    """
    r, alpha, s, beta = parameters
    log_alive, log_dead, gone = _branches(parameters, data)
    dead = expit(log_dead - log_alive)
    value, by_r = data.by_frequency(lambda x: np.stack([gammaln(r + x) - gammaln(r), digamma(r + x) - digamma(r)]))
    log_alpha = (1 - dead) * np.log(alpha + data.T) + dead * gone.log_alpha
    log_beta = (1 - dead) * np.log(beta + data.T) + dead * gone.log_beta
    per_alpha = (1 - dead) / (alpha + data.T) + dead * gone.per_alpha
    per_beta = (1 - dead) * s / (beta + data.T) + dead * (s + 1) * gone.per_beta
    slopes = np.stack([
        by_r + np.log(alpha) - log_alpha, r / alpha - (r + data.frequency) * per_alpha,
        np.log(beta) - log_beta + dead / s, s / beta - per_beta,
    ])  # fmt: skip
    return value + r * np.log(alpha) + s * np.log(beta) + np.logaddexp(log_alive, log_dead), slopes


def _branches(parameters: np.ndarray, data: Purchases) -> tuple[np.ndarray, np.ndarray, PowerIntegral]:
    """Log weights of 'alive at T' and of 'gone between the last purchase and T', -inf where no time was between them:
    [4] -> [N], [N]; and when they went."""
    r, alpha, s, beta = parameters
    shape = r + data.frequency
    gone = power_integral(data.recency, data.T, alpha=alpha, p=shape, beta=beta, q=s + 1)
    return -shape * np.log(alpha + data.T) - s * np.log(beta + data.T), np.log(s) + gone.log_value, gone
