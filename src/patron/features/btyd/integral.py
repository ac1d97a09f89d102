"""One integral, of which the Pareto/NBD consists: of a product of two powers of time."""

from dataclasses import dataclass

import numpy as np

_NODES, _WEIGHTS = (values[:, None] for values in np.polynomial.legendre.leggauss(32))
_BLOCK = 1024  # customers at a time, so that the nodes of all do not have to fit into memory
_NEGLIGIBLE = 40.0  # the integrand is cut where its log has fallen by this much from where it starts


@dataclass(frozen=True)
class PowerIntegral:
    """`∫ (alpha + y)^-p (beta + y)^-q dy` over an interval of each of N customers, as its log, and the means of four
    functions of y under the density that the integrand is proportional to: [N] each. An empty interval has log -inf."""

    log_value: np.ndarray
    log_alpha: np.ndarray  # mean of log(alpha + y)
    log_beta: np.ndarray  # mean of log(beta + y)
    per_alpha: np.ndarray  # mean of 1 / (alpha + y)
    per_beta: np.ndarray  # mean of 1 / (beta + y)


def power_integral(
    lower: np.ndarray, upper: np.ndarray, *, alpha: float, p: np.ndarray, beta: float, q: float
) -> PowerIntegral:
    """The integral over `lower` to `upper`, all of them and p [N], for p and q > 0, to about ten digits.

    In v = log of (y + the lesser of alpha and beta), from its lower end, the log integrand h is smooth and concave and
    falls by at most p + q a unit, however often the customer bought: Gauss-Legendre over what is not negligible. The
    closed form by 2F1 (Fader & Hardie 2005) overflows for heavy buyers, and its derivatives have no closed form.
    """
    blocks = [slice(first, first + _BLOCK) for first in range(0, max(len(p), 1), _BLOCK)]
    parts = [_block(lower[b], upper[b], alpha=alpha, p=p[b], beta=beta, q=q) for b in blocks]
    return PowerIntegral(*np.concatenate(parts, axis=1))


def _block(lower: np.ndarray, upper: np.ndarray, *, alpha: float, p: np.ndarray, beta: float, q: float) -> np.ndarray:
    # The five rows of a PowerIntegral: [5, N].
    swapped = bool(alpha > beta)
    near, far, steep, flat = (beta, alpha, q, p) if swapped else (alpha, beta, p, q)
    start, offset = near + lower, far + lower
    ratio = start / offset
    length = _length(np.log1p((upper - lower) / start), ratio=ratio, steep=steep, flat=flat)
    v = length * (_NODES + 1) / 2  # [nodes, N]
    growth = np.expm1(v)
    far_growth = 1 + ratio * growth
    log_far = np.log(far_growth)
    density = _WEIGHTS / 2 * np.exp((1 - steep) * v - flat * log_far)
    total = density.sum(axis=0)
    with np.errstate(divide="ignore"):  # an empty interval
        log_value = (1 - steep) * np.log(start) - flat * np.log(offset) + np.log(length) + np.log(total)
    density /= total
    log_near, log_far = np.log(start) + _mean(v, density), np.log(offset) + _mean(log_far, density)
    per_near, per_far = _mean(1 / (1 + growth), density) / start, _mean(1 / far_growth, density) / offset
    swap = (log_far, log_near, per_far, per_near)
    return np.stack([log_value, *(swap if swapped else (log_near, log_far, per_near, per_far))])


def _mean(values: np.ndarray, density: np.ndarray) -> np.ndarray:
    return np.einsum("kn,kn->n", values, density)


def _length(full: np.ndarray, *, ratio: np.ndarray, steep: np.ndarray | float, flat: np.ndarray | float) -> np.ndarray:
    # Newton's method from the right, where a concave h has fallen too far, never steps to the left of its aim.
    length = full.copy()
    for _ in range(10):
        growth = ratio * np.expm1(length)
        height = (1 - steep) * length - flat * np.log1p(growth)
        slope = (1 - steep) - flat * (ratio + growth) / (1 + growth)
        beyond = height < -_NEGLIGIBLE - 1
        if not beyond.any():
            break
        length = np.where(beyond, length - (height + _NEGLIGIBLE) / np.where(beyond, slope, 1), length)
    return length
