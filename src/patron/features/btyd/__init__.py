"""Buy-till-you-die models: how often a customer comes back, and what is spent each time.

Three models of how often, behind one Protocol: BG/NBD (a customer may leave after each repeat purchase), MBG/NBD (also
right after the first) and Pareto/NBD (at any time). Gamma-Gamma is what is spent each time. All are fitted by maximum a
posteriori: analytic gradient in log parameters, equal rows grouped, time in units of the mean T and money in units of
the mean spend, several starts. The default prior on a log parameter, Normal(0, sd 32), only keeps flat directions
finite: CDNOW's published estimates stand to three decimals. Where the data cannot carry a fit, `note` says what was
used instead. No prediction is NaN; a standard error is where the data do not determine it.

    history = {"frequency": frequency, "recency": recency, "T": T}        # days or weeks since the first purchase
    purchases = fit_bgnbd(**history).expected_purchases(90, **history)
    spend = purchases * fit_gamma_gamma(count, mean_spend).expected_spend(count, mean_spend)
"""

from patron.features.btyd.betageometric import BGNBD, MBGNBD, fit_bgnbd, fit_mbgnbd
from patron.features.btyd.gamma_gamma import GammaGamma, fit_gamma_gamma
from patron.features.btyd.histories import PurchaseModel
from patron.features.btyd.paretonbd import ParetoNBD, fit_paretonbd

__all__ = [
    "BGNBD", "MBGNBD", "GammaGamma", "ParetoNBD", "PurchaseModel", "fit_bgnbd", "fit_gamma_gamma", "fit_mbgnbd",
    "fit_paretonbd",
]  # fmt: skip
