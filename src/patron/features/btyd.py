"""Buy-till-you-die models: BG/NBD for how often a customer comes back, Gamma-Gamma for what is spent each time.

Both are fitted by maximum a posteriori: analytic gradient in log parameters, equal rows grouped, time in units of the
mean T and money in units of the mean spend, several starts. The default prior on a log parameter, Normal(0, sd 32),
only keeps flat directions finite: CDNOW's published estimates stand to three decimals. Where the data cannot carry a
fit, `note` says what was used instead. Nothing here returns NaN.

    history = {"frequency": frequency, "recency": recency, "T": T}        # days or weeks since the first purchase
    purchases = fit_bgnbd(**history).expected_purchases(90, **history)
    spend = purchases * fit_gamma_gamma(count, mean_spend).expected_spend(count, mean_spend)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import betaincinv, expit, hyp2f1

from patron.features.likelihood import (
    Purchases,
    Spends,
    bgnbd_log_likelihood,
    bgnbd_loss,
    branches,
    gamma_gamma_log_likelihood,
    gamma_gamma_loss,
)

WEAK_PRIOR = 1e-3  # precision of the Normal(0, 1 / precision) prior on every log parameter, in scaled units
MIN_CUSTOMERS = 10  # fewer than this cannot tell three or four parameters apart
HEAVY_TAIL_Q = 1.1  # here the Gamma-Gamma mean p v / (q - 1) is 10 p v, set by customers nobody has seen
LOG_BOUND = 7.0  # scaled parameters stay within exp(±7): beyond, the likelihood is flat and hyp2f1 overflows
BGNBD_STARTS = ((0.3, 0.8, 2.5), (1.0, 0.3, 3.0), (3.0, 2.0, 2.0), (0.1, 0.1, 0.5))  # r, a, b; alpha = r / rate
GAMMA_GAMMA_STARTS = ((6.0, 4.0, 0.5), (1.0, 2.0, 1.0), (2.0, 10.0, 4.5))  # p, q, v / mean spend
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(100)


@dataclass(frozen=True)
class BGNBD:
    """BG/NBD: purchase rates are Gamma(r, alpha), dropout after a purchase Beta(a, b). Fader, Hardie & Lee 2005.

    `alpha` is in the time unit of the data, as are all recency, T and horizon arguments. `note` is empty for an
    ordinary fit and else says what was used instead; `converged` is False for a fallback.
    """

    r: float
    alpha: float
    a: float
    b: float
    converged: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        _check_parameters(r=self.r, alpha=self.alpha, a=self.a, b=self.b)

    def log_likelihood(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Log likelihood of each history: [N]. Eq. 6; a density in purchase times, so it depends on their unit."""
        return bgnbd_log_likelihood(self._parameters(), data=_purchases(frequency, recency, T))

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of not having dropped out by T: [N]; 1 without a repeat purchase. Fader & Hardie 2008."""
        log_alive, log_dead = branches(self._parameters(), _purchases(frequency, recency, T))
        return expit(log_alive - log_dead)

    def expected_purchases(
        self, horizon: ArrayLike, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> np.ndarray:
        """Expected purchases in `(T, T + horizon]` given the history: [N]; horizon is one number or [N].

        Eq. 10, which is eq. 9 for frequency = recency = T = 0. Finite, and at most its value without dropout.
        """
        past, length = _purchases(frequency, recency, T), _column("horizon", horizon)
        if len(length) > 1 and len(past.T) > 1:
            _check_lengths(horizon=length, frequency=past.frequency)
        return _purchases_if_alive(self, length, past) * self.p_alive(past.frequency, past.recency, past.T)

    def p_purchase(self, horizon: float, *, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Probability of at least one purchase in `(T, T + horizon]` given the history: [N].

        Closed form: whoever is alive stays so until the next purchase, and has a rate of Gamma(r + x, alpha + T).
        """
        past = _purchases(frequency, recency, T)
        none = ((self.alpha + past.T) / (self.alpha + past.T + horizon)) ** (self.r + past.frequency)
        return self.p_alive(past.frequency, past.recency, past.T) * (1 - none)

    def _parameters(self) -> np.ndarray:
        return np.array([self.r, self.alpha, self.a, self.b])


@dataclass(frozen=True)
class GammaGamma:
    """Gamma-Gamma: a purchase is Gamma(p, nu), nu varies over customers as Gamma(q, v). Fader & Hardie 2013.

    It takes the value of a purchase to be independent of how often a customer buys. `v` and `mean_spend`, the observed
    mean of all purchases, are in the currency of the data. `note` and `converged` are as in BGNBD.
    """

    p: float
    q: float
    v: float
    mean_spend: float
    converged: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        _check_parameters(p=self.p, q=self.q, v=self.v)

    @property
    def heavy_tailed(self) -> bool:
        """Whether the model's own mean is infinite (q <= 1) or too near it to be used (q <= 1.1)."""
        return self.q <= HEAVY_TAIL_Q

    @property
    def population_mean(self) -> float:
        """Expected value of a new customer's purchase: p v / (q - 1), or `mean_spend` where the tail is heavy."""
        return self.mean_spend if self.heavy_tailed else self.p * self.v / (self.q - 1)

    def log_likelihood(self, frequency: ArrayLike, monetary: ArrayLike) -> np.ndarray:
        """Log density of each customer's mean spend: [N]. Eq. 1a. ValueError unless both columns are positive."""
        spends = _spends(frequency, monetary)
        _refuse(spends.frequency <= 0, "frequency is 0: the density is of customers who bought")
        _refuse(spends.monetary <= 0, "monetary <= 0: the density is of customers who paid")
        return gamma_gamma_log_likelihood(np.array([self.p, self.q, self.v]), data=spends)

    def expected_spend(self, frequency: ArrayLike, monetary: ArrayLike) -> np.ndarray:
        """Expected value of a purchase given the mean of `frequency` past ones: [N], in their currency. Eq. 5.

        Lies between the customer's own mean and `population_mean`, which customers with frequency 0 get. Negative
        monetary counts as 0. Where the tail is heavy the population weighs q, not q - 1, so that this stays true.
        """
        spends = _spends(frequency, monetary)
        own = self.p * spends.frequency
        prior = self.q if self.heavy_tailed else self.q - 1
        return (own * np.maximum(spends.monetary, 0) + prior * self.population_mean) / (own + prior)


def fit_bgnbd(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike, *, penalty: float = WEAK_PRIOR) -> BGNBD:
    """The BG/NBD of these customers, [N] each, in any one unit of time; their order does not matter.

    `penalty` is the precision of the Normal prior on each log parameter with time in units of the mean T; 0 gives
    maximum likelihood. Fewer than 10 customers, no repeat purchases or no time to repeat: the pooled rate, and a note.
    """
    data = _grouped_purchases(_purchases(frequency, recency, T))
    why = _unfit(data)
    if why:
        return _pooled_rate(data, why=why)
    scale = float(data.weight @ data.T / data.weight.sum())
    scaled = Purchases(data.frequency, data.recency / scale, data.T / scale, data.weight)
    best = _minimise(lambda point: bgnbd_loss(point, data=scaled, penalty=penalty), starts=_bgnbd_starts(scaled))
    r, alpha, a, b = np.exp(best.log_parameters).tolist()
    return BGNBD(r, alpha * scale, a, b, converged=best.converged, note=_note(best, names=("r", "alpha", "a", "b")))


def fit_gamma_gamma(frequency: ArrayLike, monetary: ArrayLike, *, penalty: float = WEAK_PRIOR) -> GammaGamma:
    """The Gamma-Gamma of the customers with frequency > 0 and monetary > 0: [N] each, in one currency.

    `frequency` is the number of purchases that `monetary` averages. Customers who bought but did not pay are left out
    and counted in `note`. `penalty` is as in `fit_bgnbd`. Fewer than 10 payers: p, q = 2, 3 around their mean, noted.
    """
    data, unpaid = _grouped_spends(_spends(frequency, monetary))
    left_out = f"{unpaid} customers with purchases but monetary <= 0 left out" if unpaid else ""
    payers = int(data.weight.sum())
    bought = data.weight * data.frequency
    mean = float(bought @ data.monetary / bought.sum()) if payers else 0.0
    if payers < MIN_CUSTOMERS:
        why = f"{payers} paying customers are too few: p, q = 2, 3 around their mean spend"
        return GammaGamma(2.0, 3.0, mean or 1e-12, mean, converged=False, note=_joined(why, left_out))
    scaled = Spends(data.frequency, data.monetary / mean, data.weight)
    starts = [np.log(start) for start in GAMMA_GAMMA_STARTS]
    best = _minimise(lambda point: gamma_gamma_loss(point, data=scaled, penalty=penalty), starts=starts)
    p, q, v = np.exp(best.log_parameters).tolist()
    heavy = f"q = {q:.3g}: the mean is infinite or nearly so, the observed one is used" if q <= HEAVY_TAIL_Q else ""
    note = _joined(_note(best, names=("p", "q", "v")), heavy, left_out)
    return GammaGamma(p, q, v * mean, mean, converged=best.converged, note=note)


# --- the conditional expectation


def _purchases_if_alive(model: BGNBD, horizon: np.ndarray, past: Purchases) -> np.ndarray:
    """Expected purchases in the horizon of a customer alive at T: [N], finite."""
    frequency, ratio = np.broadcast_arrays(past.frequency, horizon / (model.alpha + past.T))
    with np.errstate(over="ignore", invalid="ignore"):  # huge a: replaced in the next lines
        expected = _closed_form(model, frequency=frequency, ratio=ratio)
    lost = ~np.isfinite(expected)
    expected[lost] = _quadrature(model, frequency=frequency[lost], ratio=ratio[lost])
    return np.clip(expected, 0, (model.r + frequency) * ratio)


def _closed_form(model: BGNBD, *, frequency: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Eq. 10 for a customer alive, ratio = horizon / (alpha + T): [N] -> [N]. NaN or inf where hyp2f1 overflows.

    The paper's (1 - z)^(r+x) 2F1(r+x, b+x; c; z) is, by Euler's transformation, (1 - z)^(a-1) 2F1(a-1, a+b-1-r; c; z).
    There only c grows with the frequency, so that heavy buyers overflow nothing.
    """
    a = _away_from(model.a, pole=1.0)
    c = _away_from(a + model.b + frequency - 1, pole=0.0)
    hypergeometric = hyp2f1(a - 1, a + model.b - 1 - model.r, c, ratio / (1 + ratio))
    return c / (a - 1) * (1 - np.exp((1 - a) * np.log1p(ratio)) * hypergeometric)


def _quadrature(model: BGNBD, *, frequency: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """The same as the mean of (1 - (1 + p ratio)^-(r+x)) / p over dropout p ~ Beta(a, b + x): [N] -> [N]."""
    shape = model.r + frequency[:, None]
    p = np.maximum(betaincinv(model.a, model.b + frequency[:, None], (_NODES + 1) / 2), 1e-100)  # [N, 100]
    return -np.expm1(-shape * np.log1p(p * ratio[:, None])) / p @ (_NODE_WEIGHTS / 2)


def _away_from(value: ArrayLike, *, pole: float) -> np.ndarray:
    """`value`, kept 1e-6 from a removable singularity of eq. 10, which moves the expectation by 1e-6 of itself."""
    values = np.asarray(value, dtype=float)
    return np.where(np.abs(values - pole) < 1e-6, pole + 1e-6, values)


# --- fitting


@dataclass(frozen=True)
class Optimum:
    """The lowest point found, as scaled log parameters [K], and whether the gradient vanishes there."""

    log_parameters: np.ndarray
    converged: bool


def _minimise(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], *, starts: Sequence[np.ndarray]) -> Optimum:
    """The lowest point that L-BFGS-B reaches from any start, within exp(±7)."""
    settings = {"bounds": [(-LOG_BOUND, LOG_BOUND)] * len(starts[0]), "jac": True, "method": "L-BFGS-B"}
    inside = [np.clip(start, 1 - LOG_BOUND, LOG_BOUND - 1) for start in starts]
    ends = [minimize(loss, start, options={"ftol": 1e-15, "gtol": 1e-9}, **settings) for start in inside]
    best = min(ends, key=lambda end: end.fun)
    slope = best.x - np.clip(best.x - best.jac, -LOG_BOUND, LOG_BOUND)  # 0 where a bound holds a parameter
    return Optimum(best.x, converged=bool(np.abs(slope).max() < 1e-5))


def _bgnbd_starts(data: Purchases) -> list[np.ndarray]:
    """Log (r, alpha, a, b) with the observed rate of repeat purchases: a list of [4]."""
    rate = (data.weight @ data.frequency) / (data.weight @ data.T)
    return [np.log([r, r / rate, a, b]) for r, a, b in BGNBD_STARTS]


def _note(best: Optimum, *, names: Sequence[str]) -> str:
    at_bound = np.abs(best.log_parameters) >= LOG_BOUND - 1e-6
    held = ", ".join(name for name, bound in zip(names, at_bound, strict=True) if bound)
    failed = "" if best.converged else "no convergence: the best point found is used"
    return _joined(failed, f"{held} at the bound: the data do not determine it" if held else "")


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _unfit(data: Purchases) -> str:
    """Why no BG/NBD can be fitted to these customers; empty when it can."""
    customers = int(data.weight.sum())
    if customers < MIN_CUSTOMERS:
        return f"{customers} customers are too few"
    if not np.any(data.frequency > 0):
        return "no repeat purchases"
    return "" if np.any(data.T > 0) else "no time after the first purchase"


def _pooled_rate(data: Purchases, *, why: str) -> BGNBD:
    """One rate for all, (purchases + 1/2) / time as by Jeffreys, known as from one customer (r = 1), and no dropout.

    Dropout is a / (a + b) = 1e-6. Where no time was seen at all, one unit of time a customer is assumed.
    """
    time = data.weight @ data.T or max(data.weight.sum(), 1.0)
    rate = float((data.weight @ data.frequency + 0.5) / time)
    note = f"{why}: the pooled rate of {rate:.3g} repeat purchases a unit of time is used, without dropout"
    return BGNBD(1.0, 1 / rate, 1e-3, 1e3, converged=False, note=note)


# --- input


def _purchases(frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> Purchases:
    """The histories as checked columns. ValueError names the column, what is wrong and the first row where it is."""
    x, last, age = _column("frequency", frequency), _column("recency", recency), _column("T", T)
    _check_lengths(frequency=x, recency=last, T=age)
    _refuse(last > age, "recency > T: recency is the time from the first purchase to the last, T to the cutoff")
    _refuse((x == 0) & (last > 0), "recency > 0 where frequency is 0: recency runs from the first purchase to the last")
    return Purchases(x, last, age, np.ones_like(x))


def _spends(frequency: ArrayLike, monetary: ArrayLike) -> Spends:
    """The spends as checked columns; monetary may be negative. ValueError as in `_purchases`."""
    x, mean = _column("frequency", frequency), _column("monetary", monetary, signed=True)
    _check_lengths(frequency=x, monetary=mean)
    return Spends(x, mean, np.ones_like(x))


def _column(name: str, values: ArrayLike, *, signed: bool = False) -> np.ndarray:
    column = np.atleast_1d(np.asarray(values, dtype=float))
    if column.ndim != 1:
        raise ValueError(f"{name} has shape {column.shape}; give one value a customer")
    _refuse(~np.isfinite(column), f"{name} is missing or infinite; write 0 where there was no purchase")
    _refuse((column < 0) & (not signed), f"{name} is negative")
    return column


def _refuse(bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise ValueError(f"{what} ({bad.sum()} rows, the first is row {np.flatnonzero(bad)[0]})")


def _check_lengths(**columns: np.ndarray) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {lengths}; give one value a customer in every column")


def _check_parameters(**parameters: float) -> None:
    bad = {name: value for name, value in parameters.items() if not (np.isfinite(value) and value > 0)}
    if bad:
        raise ValueError(f"parameters must be positive and finite, not {bad}")


def _grouped_purchases(data: Purchases) -> Purchases:
    """One row a distinct history, sorted, so that the order of customers cannot change a sum."""
    rows = np.stack([data.frequency, data.recency, data.T], axis=1)
    distinct, weight = np.unique(rows, axis=0, return_counts=True)
    frequency, recency, T = np.ascontiguousarray(distinct.T)
    return Purchases(frequency, recency, T, weight.astype(float))


def _grouped_spends(data: Spends) -> tuple[Spends, int]:
    """One row a distinct spend of customers who paid, sorted, and the number of customers who bought without paying."""
    bought = data.frequency > 0
    paid = bought & (data.monetary > 0)
    rows = np.stack([data.frequency[paid], data.monetary[paid]], axis=1)
    distinct, weight = np.unique(rows, axis=0, return_counts=True)
    frequency, monetary = np.ascontiguousarray(distinct.T)
    return Spends(frequency, monetary, weight.astype(float)), int((bought & ~paid).sum())
