"""Buy till you die as features: the models are fitted to the purchases known at the cutoff, and asked what comes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from patron.features.btyd import GammaGamma, PurchaseModel, fit_bgnbd, fit_gamma_gamma


@dataclass(frozen=True)
class PurchaseHistory:
    """What BTYD models know of a customer: days with a purchase less one, days from the first to the last of them and
    to the cutoff, and average spend a day with a purchase; each [n]. Purchases of one day are one, as in Fader,
    Hardie & Lee 2005."""

    frequency: np.ndarray
    recency: np.ndarray
    age: np.ndarray
    monetary: np.ndarray


def purchase_history(features: pd.DataFrame) -> PurchaseHistory:
    """The purchase history of customers with an order, from their features."""
    first, last = np.floor(features["tenure"].to_numpy()), np.floor(features["recency"].to_numpy())
    return PurchaseHistory(
        (features["days_active"] - 1).to_numpy(), first - last, first, features["amount_per_day"].to_numpy()
    )


def expected(past: PurchaseHistory, *, purchases: PurchaseModel, spend: GammaGamma, days: int) -> pd.DataFrame:
    """`alive, purchases, spend` of the next `days` days, one row a customer: P(alive), expected purchases, expected
    money."""
    number = purchases.expected_purchases(days, frequency=past.frequency, recency=past.recency, T=past.age)
    each = spend.expected_spend(past.frequency + 1, past.monetary)
    alive = purchases.p_alive(past.frequency, past.recency, past.age)
    return pd.DataFrame({"alive": alive, "purchases": number, "spend": number * each})


def btyd_features(purchases: pd.DataFrame, *, days: int) -> pd.DataFrame:
    """`btyd_alive, btyd_purchases, btyd_spend` of customers with an order, NaN for the others: the percentile of
    P(alive), and multiples of the mean expectation. Of what the parameters of a cutoff say to all alike a model would
    learn the cutoff, and not the customer."""
    bought = purchases[purchases["orders"] > 0]
    past = purchase_history(bought)
    counts, spend = (
        fit_bgnbd(past.frequency, past.recency, past.age),
        fit_gamma_gamma(past.frequency + 1, past.monetary),
    )
    answer = expected(past, purchases=counts, spend=spend, days=days).set_index(bought.index)
    relative = answer / answer.mean().clip(lower=1e-9)
    return relative.assign(alive=answer["alive"].rank(pct=True)).add_prefix("btyd_").reindex(purchases.index)
