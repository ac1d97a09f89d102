"""Log likelihoods of BG/NBD and Gamma-Gamma with their gradients, and as losses with a prior on log parameters."""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, gammaln


@dataclass(frozen=True)
class Purchases:
    """Purchase histories, float [N] each, times since the first purchase in one unit.

    `frequency` is purchase occasions after the first, `recency` the time of the last one (0 if there is none), `T` the
    time of observation and `weight` the number of customers with this history.
    """

    frequency: np.ndarray
    recency: np.ndarray
    T: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Spends:
    """Observed spend, float [N] each: `frequency` purchases with mean value `monetary`, by `weight` customers."""

    frequency: np.ndarray
    monetary: np.ndarray
    weight: np.ndarray


def bgnbd_log_likelihood(parameters: np.ndarray, *, data: Purchases) -> np.ndarray:
    """Log likelihood of each history under (r, alpha, a, b): [4] -> [N]. Fader, Hardie & Lee 2005, eq. 6, sec. 7."""
    r, alpha, a, b = parameters
    x = data.frequency
    constant = r * np.log(alpha) - gammaln(r) + gammaln(a + b) - gammaln(b)
    return constant + gammaln(r + x) + gammaln(b + x) - gammaln(a + b + x) + np.logaddexp(*branches(parameters, data))


def bgnbd_score(parameters: np.ndarray, *, data: Purchases) -> np.ndarray:
    """Derivatives of `bgnbd_log_likelihood` by (r, alpha, a, b): [4] -> [4, N]."""
    r, alpha, a, b = parameters
    x = data.frequency
    log_alive, log_dead = branches(parameters, data)
    dead = expit(log_dead - log_alive)
    log_time = (1 - dead) * np.log(alpha + data.T) + dead * np.log(alpha + data.recency)
    per_time = (1 - dead) / (alpha + data.T) + dead / (alpha + data.recency)
    both = digamma(a + b) - digamma(a + b + x)
    by_r = digamma(r + x) - digamma(r) + np.log(alpha) - log_time
    by_b = both + digamma(b + x) - digamma(b) - dead / (b + np.maximum(x, 1) - 1)
    return np.stack([by_r, r / alpha - (r + x) * per_time, both + dead / a, by_b])


def branches(parameters: np.ndarray, data: Purchases) -> tuple[np.ndarray, np.ndarray]:
    """Log weights of 'alive at T' and of 'gone since the last purchase', -inf without a repeat: [4] -> [N], [N]."""
    r, alpha, a, b = parameters
    x = data.frequency
    log_alive = -(r + x) * np.log(alpha + data.T)
    log_dead = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + data.recency)
    return log_alive, np.where(x > 0, log_dead, -np.inf)


def gamma_gamma_log_likelihood(parameters: np.ndarray, *, data: Spends) -> np.ndarray:
    """Log density of each customer's mean spend under (p, q, v): [3] -> [N]. Fader & Hardie 2013, eq. 1a."""
    p, q, v = parameters
    shape, total = p * data.frequency, data.frequency * data.monetary
    constant = gammaln(shape + q) - gammaln(shape) - gammaln(q) - np.log(data.monetary)
    return constant + q * np.log(v) + shape * np.log(total) - (shape + q) * np.log(total + v)


def gamma_gamma_score(parameters: np.ndarray, *, data: Spends) -> np.ndarray:
    """Derivatives of `gamma_gamma_log_likelihood` by (p, q, v): [3] -> [3, N]."""
    p, q, v = parameters
    shape, total = p * data.frequency, data.frequency * data.monetary
    common = digamma(shape + q) - np.log(total + v)
    by_p = data.frequency * (common - digamma(shape) + np.log(total))
    return np.stack([by_p, common - digamma(q) + np.log(v), q / v - (shape + q) / (total + v)])


def bgnbd_loss(log_parameters: np.ndarray, *, data: Purchases, penalty: float) -> tuple[float, np.ndarray]:
    """Negative log posterior a customer and its gradient by log (r, alpha, a, b), for scipy: [4] -> (scalar, [4])."""
    parameters = np.exp(log_parameters)
    log_likelihood = data.weight @ bgnbd_log_likelihood(parameters, data=data)
    score = bgnbd_score(parameters, data=data) @ data.weight * parameters
    return _negative_posterior(log_parameters, log_likelihood, score, penalty=penalty, customers=data.weight.sum())


def gamma_gamma_loss(log_parameters: np.ndarray, *, data: Spends, penalty: float) -> tuple[float, np.ndarray]:
    """Negative log posterior a customer and its gradient by log (p, q, v), for scipy: [3] -> (scalar, [3])."""
    parameters = np.exp(log_parameters)
    log_likelihood = data.weight @ gamma_gamma_log_likelihood(parameters, data=data)
    score = gamma_gamma_score(parameters, data=data) @ data.weight * parameters
    return _negative_posterior(log_parameters, log_likelihood, score, penalty=penalty, customers=data.weight.sum())


def _negative_posterior(
    at: np.ndarray, log_likelihood: float, score: np.ndarray, *, penalty: float, customers: float
) -> tuple[float, np.ndarray]:
    return float(penalty * at @ at / 2 - log_likelihood) / customers, (penalty * at - score) / customers
