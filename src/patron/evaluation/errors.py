"""Errors of predicted spend and of predicted probabilities: `metric(y [n], prediction)` prepares what a bootstrap calls
with `weights [B, n]`."""

import numpy as np

from patron.calibration.distribution import tweedie_deviance
from patron.evaluation.ranking import Ranking
from patron.evaluation.ranking import average_precision as _average_precision
from patron.evaluation.weighted import Array, Replicates, mean_of, ratio


def mae(y: Array, prediction: Array) -> Replicates:
    """Mean absolute error; the median of what may come makes it smallest."""
    return mean_of(np.abs(y - prediction))


def nmae(y: Array, prediction: Array) -> Replicates:
    """MAE over the mean label, as in the literature on spend."""
    return mean_of(np.abs(y - prediction), y)


def nmae_std(y: Array, scaled: Array) -> Replicates:
    """RelBench's normalised MAE: over the standard deviation of the training labels. `scaled [n, 2]` holds prediction
    and that standard deviation."""
    return mean_of(np.abs(y - scaled[:, 0]) / np.where(scaled[:, 1] > 0, scaled[:, 1], np.nan))


def rmse(y: Array, prediction: Array) -> Replicates:
    """Root of the mean squared error; the mean of what may come makes it smallest."""
    return mean_of((y - prediction) ** 2, finish=np.sqrt)


def r2(y: Array, prediction: Array) -> Replicates:
    """1 - squared error / variance of the labels: 0 for whoever predicts their mean, negative for who does worse."""
    centred = y - np.median(y)  # exactly 0 where all labels are alike, and no cancellation where they are far from 0

    def at(weights: Array) -> Array:
        total, linear, square = weights.sum(axis=1), weights @ centred, weights @ centred**2
        spread = square - ratio(linear, total) * linear
        return 1 - ratio(weights @ (y - prediction) ** 2, spread)

    return at


def rmsle(y: Array, prediction: Array) -> Replicates:
    """Root mean squared error of log(1 + spend); a negative prediction counts as 0."""
    return rmse(np.log1p(y), np.log1p(prediction.clip(0)))


def bias(y: Array, prediction: Array) -> Replicates:
    """sum(prediction) / sum(y) - 1: +0.1 promises a tenth more revenue than came."""
    return mean_of(prediction, y, finish=lambda total: total - 1)


def tweedie(y: Array, prediction: Array) -> Replicates:
    """Mean Tweedie deviance of power 1.5, in roots of the currency; a prediction counts as at least 0.01. The mean of
    what may come makes it smallest, and large customers count less than in a squared error. Jorgensen 1987."""
    return mean_of(tweedie_deviance(np.maximum(prediction, 0.01), y))


def decile_mape(y: Array, prediction: Array) -> Replicates:
    """Mean over the tenths of the customers, by their own prediction, of |mean prediction / mean label - 1|.

    As in Google's lifetime_value (Wang et al. 2019), but that tied predictions go into one tenth together. Tenths that
    hold nobody are left out; NaN if one spent nothing at all, unless the prediction was just that.
    """
    ranking = Ranking.of(prediction)
    both = [of[ranking.order] for of in (prediction, y)]

    def at(weights: Array) -> Array:
        drawn = ranking.drawn(weights)
        count = ranking.upto(drawn)
        tenths = ranking.tenths(count)
        members, promised, spent = (_between(of, tenths) for of in (count, *(ranking.upto(drawn * of) for of in both)))
        error = np.abs(np.divide(promised, spent, out=np.full_like(spent, np.nan), where=spent != 0) - 1)
        error[(spent == 0) & (promised == 0)] = 0
        return ratio(np.where(members > 0, error, 0).sum(axis=1), (members > 0).sum(axis=1))

    return at


def _between(running: Array, upto: Array) -> Array:
    """What each tenth adds, of sums up to each tied group [B, G] and the number of groups up to each tenth [B, 10]."""
    reached = np.where(upto > 0, np.take_along_axis(running, np.maximum(upto - 1, 0), axis=1), 0)
    return np.diff(reached, axis=1, prepend=0)


def brier(y: Array, probability: Array) -> Replicates:
    """Mean squared error of a probability. Brier 1950."""
    return mean_of((y - probability) ** 2)


def brier_active(y: Array, probability: Array) -> Replicates:
    """Brier score of the probability of a label above 0."""
    return brier((y > 0).astype(float), probability)


def pr_auc_active(y: Array, probability: Array) -> Replicates:
    """Average precision of the probability of a label above 0."""
    return _average_precision((y > 0).astype(float), probability)
