"""Curves and tables by tenths of the customers: where revenue is gained, and how far predictions are calibrated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from patron.evaluation.ranking import Ranking
from patron.evaluation.weighted import Array, ratio


@dataclass(frozen=True)
class Gains:
    """Share of revenue gained against share of customers targeted, best score first: both [G + 1], from 0 to 1."""

    customers: Array
    revenue: Array


def gains(y: Any, score: Any) -> Gains:
    """The gains curve, straight through tied scores. Revenue is NaN when nobody spent."""
    spend = np.asarray(y, dtype=float)[None]
    ranking = Ranking.of(-np.asarray(score, dtype=float))
    count, revenue = ranking.upto(np.ones_like(spend))[0], ranking.upto(ranking.drawn(spend))[0]
    return Gains(np.append(0, count / count[-1]), np.append(0, ratio(revenue, np.full_like(revenue, revenue[-1]))))


def decile_table(y: Any, predictions: pd.DataFrame) -> pd.DataFrame:
    """Ten rows, decile 1 the highest `rank_score`; predicted is `ltv_mean`; money in the currency of the orders.

    `predictions` holds one row a label, in the same order. Tied rows go together into the decile of their mid-rank, so
    that deciles are uneven where scores are tied, and a decile without rows has n = 0 and NaN.
    """
    spend, predicted = np.asarray(y, dtype=float), predictions["ltv_mean"].to_numpy(dtype=float)
    decile = deciles(predictions["rank_score"].to_numpy(dtype=float))
    frame = pd.DataFrame({"decile": decile, "predicted": predicted, "actual": spend, "spent": spend > 0})
    grouped = frame.groupby("decile")
    table = grouped.agg(
        n=("actual", "size"),
        predicted_mean=("predicted", "mean"),
        actual_mean=("actual", "mean"),
        actual_median=("actual", "median"),
        share_with_spend=("spent", "mean"),
    ).reindex(range(1, 11))
    table.insert(4, "share_of_revenue", grouped["actual"].sum() / (spend.sum() or np.nan))
    table["bias"] = table["predicted_mean"] / table["actual_mean"].replace(0, np.nan) - 1
    table["n"] = table["n"].fillna(0).astype(int)
    return table.rename_axis("decile").reset_index()


def deciles(score: Array) -> Array:
    """The tenth of each row, 1 for the highest scores to 10 for the lowest: [n] -> int [n].

    Tied rows go together into the tenth of their mid-rank.
    """
    n = len(score)
    twice = 2 * Ranking.of(-score).centred(np.ones((1, n)))[0] + n  # whole numbers in (0, 2n), so the division is exact
    return (10 * twice // (2 * n)).astype(int) + 1
