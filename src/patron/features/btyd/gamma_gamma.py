"""Gamma-Gamma: what is spent each time, whatever the number of times. Fader & Hardie 2013, with its equations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from patron.features.btyd.histories import MIN_CUSTOMERS, Rows, check_lengths, check_parameters, column, grouped, refuse
from patron.features.btyd.optimise import WEAK_PRIOR, fit, joined, unknown

HEAVY_TAIL_Q = 1.1  # here the mean p v / (q - 1) is 10 p v, set by customers nobody has seen
DEPENDENT = 0.3  # a correlation of frequency and mean spend beyond which the model misleads; CDNOW has 0.1
STARTS = ((6.0, 4.0, 0.5), (1.0, 2.0, 1.0), (2.0, 10.0, 4.5))  # p, q, v / mean spend
NAMES = ("p", "q", "v")


@dataclass(frozen=True)
class Spends(Rows):
    """Observed spend, float [N] each: `frequency` purchases with mean value `monetary`."""

    monetary: np.ndarray


@dataclass(frozen=True)
class GammaGamma:
    """Gamma-Gamma: a purchase is Gamma(p, nu), nu varies over customers as Gamma(q, v).

    It takes the value of a purchase to be independent of how often a customer buys; `correlation` is that of the two
    among the customers it was fitted to, and `note` says so where it is beyond 0.3. `v` and `mean_spend`, the observed
    mean of all purchases, are in the currency of the data. All else is as in `PurchaseModel`.
    """

    p: float
    q: float
    v: float
    mean_spend: float
    correlation: float = 0.0
    converged: bool = True
    note: str = ""
    standard_errors: Mapping[str, float] = field(default_factory=lambda: unknown(NAMES), compare=False)

    def __post_init__(self) -> None:
        check_parameters(p=self.p, q=self.q, v=self.v)

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
        spent = _spends(frequency, monetary)
        refuse(spent.frequency <= 0, "frequency is 0: the density is of customers who bought")
        refuse(spent.monetary <= 0, "monetary <= 0: the density is of customers who paid")
        return scores(np.array([self.p, self.q, self.v]), spent)[0]

    def expected_spend(self, frequency: ArrayLike, monetary: ArrayLike) -> np.ndarray:
        """Expected value of a purchase given the mean of `frequency` past ones: [N], in their currency. Eq. 5.

        Lies between the customer's own mean and `population_mean`, which customers with frequency 0 get. Negative
        monetary counts as 0. Where the tail is heavy the population weighs q, not q - 1, so that this stays true.
        """
        spent = _spends(frequency, monetary)
        own = self.p * spent.frequency
        prior = self.q if self.heavy_tailed else self.q - 1
        return (own * np.maximum(spent.monetary, 0) + prior * self.population_mean) / (own + prior)


def fit_gamma_gamma(frequency: ArrayLike, monetary: ArrayLike, *, penalty: float = WEAK_PRIOR) -> GammaGamma:
    """The Gamma-Gamma of the customers with frequency > 0 and monetary > 0: [N] each, in one currency.

    `frequency` is the number of purchases that `monetary` averages. Customers who bought but did not pay are left out
    and counted in `note`. `penalty` is as in `fit_bgnbd`. Fewer than 10 payers: p, q = 2, 3 around their mean, noted.
    """
    data, unpaid = _payers(_spends(frequency, monetary))
    left_out = f"{unpaid} customers with purchases but monetary <= 0 left out" if unpaid else ""
    payers = int(data.weight.sum())
    bought = data.weight * data.frequency
    mean = float(bought @ data.monetary / bought.sum()) if payers else 0.0
    if payers < MIN_CUSTOMERS:
        why = f"{payers} paying customers are too few: p, q = 2, 3 around their mean spend"
        return GammaGamma(2.0, 3.0, mean or 1e-12, mean, converged=False, note=joined(why, left_out))
    scaled = replace(data, monetary=data.monetary / mean)
    best = fit(scores, scaled, starts=STARTS, penalty=penalty, units={"p": 1.0, "q": 1.0, "v": mean})
    q, correlation = best.parameters["q"], _correlation(scaled)
    heavy = f"q = {q:.3g}: the mean is infinite or nearly so, the observed one is used" if q <= HEAVY_TAIL_Q else ""
    return GammaGamma(
        **best.parameters, mean_spend=mean, correlation=correlation, converged=best.converged,
        note=joined(best.note, heavy, _dependence(correlation), left_out), standard_errors=best.standard_errors,
    )  # fmt: skip


def scores(parameters: np.ndarray, data: Spends) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each customer's mean spend under (p, q, v), and its derivatives by them: [3] -> [N], [3, N].
    Eq. 1a."""
    p, q, v = parameters
    shape, total = p * data.frequency, data.frequency * data.monetary
    log_total, log_more = np.log(total), np.log(total + v)
    gammas, by_p, by_q = data.by_frequency(lambda x: _of_counts(p * x, q))
    by_p = data.frequency * (by_p + log_total - log_more)
    slopes = np.stack([by_p, by_q + np.log(v) - log_more, q / v - (shape + q) / (total + v)])
    return gammas - np.log(data.monetary) + q * np.log(v) + shape * log_total - (shape + q) * log_more, slopes


def _of_counts(shape: np.ndarray, q: float) -> np.ndarray:
    """The gamma functions of a log density, and their derivatives by the shape and by q: [n] -> [3, n]."""
    both = digamma(shape + q)
    return np.stack([gammaln(shape + q) - gammaln(shape) - gammaln(q), both - digamma(shape), both - digamma(q)])


def _correlation(data: Spends) -> float:
    """Pearson's, of frequency and mean spend over customers; 0 where one of them does not vary."""
    weight = data.weight / data.weight.sum()
    frequency, monetary = (values - weight @ values for values in (data.frequency, data.monetary))
    spread = np.sqrt((weight @ frequency**2) * (weight @ monetary**2))
    return float(weight @ (frequency * monetary) / spread) if spread > 1e-12 else 0.0


def _dependence(correlation: float) -> str:
    if abs(correlation) <= DEPENDENT:
        return ""
    often, seldom = ("low", "high") if correlation > 0 else ("high", "low")
    return (
        f"frequency and mean spend correlate at {correlation:.2f}, and the model takes them to be independent: "
        f"it values frequent customers too {often} and rare ones too {seldom}"
    )


def _spends(frequency: ArrayLike, monetary: ArrayLike) -> Spends:
    """The spends as checked columns; monetary may be negative. ValueError as of purchase histories."""
    x, mean = column("frequency", frequency), column("monetary", monetary, signed=True)
    check_lengths(frequency=x, monetary=mean)
    return Spends(np.ones_like(x), frequency=x, monetary=mean)


def _payers(data: Spends) -> tuple[Spends, int]:
    """One row a distinct spend of customers who paid, and the number of customers who bought without paying."""
    bought = data.frequency > 0
    paid = bought & (data.monetary > 0)
    (frequency, monetary), weight = grouped(data.frequency[paid], data.monetary[paid])
    return Spends(weight, frequency=frequency, monetary=monetary), int((bought & ~paid).sum())
