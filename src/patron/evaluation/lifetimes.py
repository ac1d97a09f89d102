"""The fits of `patron.features.btyd` beside those of the package lifetimes: time, likelihood and optimum."""

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lifetimes
import numpy as np
import pandas as pd

from patron.features.btyd import (
    BGNBD,
    MBGNBD,
    GammaGamma,
    ParetoNBD,
    fit_bgnbd,
    fit_gamma_gamma,
    fit_mbgnbd,
    fit_paretonbd,
)
from patron.tables.sources import cdnow


@dataclass(frozen=True)
class Job:
    """One model as both packages have it, and the columns that both are given. `theirs` takes log parameters, if
    `logs`."""

    what: str
    fit: Callable[..., Any]
    model: Callable[..., Any]
    theirs: Any
    names: Sequence[str]
    columns: Sequence[np.ndarray]
    logs: bool = True


def histories() -> pd.DataFrame:
    """`frequency, recency, T, days, monetary` of all 23,570 customers of CDNOW at the end of the data, as in
    `PurchaseHistory`: purchases of one day are one, times in days."""
    tables = cdnow.read(cdnow.CdnowConfig())
    orders = tables["orders"].join(tables["order_items"], "order_id").to_pandas()
    daily = orders.groupby(["customer_id", "order_date"])["amount"].sum().reset_index().groupby("customer_id")
    first, last, days = daily["order_date"].min(), daily["order_date"].max(), daily.size()
    age = (orders["order_date"].max() - first).dt.days
    columns = {"frequency": days - 1, "recency": (last - first).dt.days, "T": age, "days": days}
    return pd.DataFrame({**columns, "monetary": daily["amount"].mean()}).astype(float)


def jobs(known: pd.DataFrame) -> list[Job]:
    """The four models, the last on those who paid."""
    past = [known[name].to_numpy() for name in ("frequency", "recency", "T")]
    paid = known[known["monetary"] > 0]
    spent = [paid[name].to_numpy() for name in ("days", "monetary")]
    geometric, pareto = ("r", "alpha", "a", "b"), ("r", "alpha", "s", "beta")
    return [
        Job("BG/NBD", fit_bgnbd, BGNBD, lifetimes.BetaGeoFitter, geometric, past),
        Job("MBG/NBD", fit_mbgnbd, MBGNBD, lifetimes.ModifiedBetaGeoFitter, geometric, past),
        Job("Pareto/NBD", fit_paretonbd, ParetoNBD, lifetimes.ParetoNBDFitter, pareto, past, logs=False),
        Job("Gamma-Gamma", fit_gamma_gamma, _gamma_gamma, lifetimes.GammaGammaFitter, ("p", "q", "v"), spent),
    ]


def beside_lifetimes(job: Job, *, repeats: int) -> dict[str, Any]:
    """One row: median seconds of either fit, taken in turns, by maximum likelihood and with standard errors (of which
    lifetimes has none for the Pareto/NBD); the largest difference of a customer's log likelihood at the same
    parameters, and for how many histories lifetimes has none; and the log likelihood of all at either optimum, both by
    patron's function."""
    turns = [
        (*_timed(lambda: job.fit(*job.columns, penalty=0.0)), *_timed(lambda: job.theirs().fit(*job.columns)))
        for _ in range(repeats)
    ]
    ours, _, theirs, _ = turns[-1]
    patron_seconds, lifetimes_seconds = (statistics.median(turn[column] for turn in turns) for column in (1, 3))
    difference = _difference(job, ours)
    at_theirs = job.model(*(theirs.params_[name] for name in job.names))
    return {
        "what": job.what, "customers": len(job.columns[0]), "repeats": repeats,
        "patron_seconds": round(patron_seconds, 4), "lifetimes_seconds": round(lifetimes_seconds, 4),
        "ratio": round(lifetimes_seconds / patron_seconds, 2), "max_difference": np.nanmax(difference),
        "lifetimes_nan": np.isnan(difference).sum(),
        "patron_log_likelihood": ours.log_likelihood(*job.columns).sum(),
        "lifetimes_log_likelihood": at_theirs.log_likelihood(*job.columns).sum(),
    }  # fmt: skip


def _difference(job: Job, model: Any) -> np.ndarray:
    # Their function gives a mean over customers, so that each different one is asked alone.
    rows = np.unique(np.stack(job.columns, axis=1), axis=0)
    at = np.array([getattr(model, name) for name in job.names])
    given, negative = np.log(at) if job.logs else at, job.theirs._negative_log_likelihood
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [-negative(given, *row[:, None], np.ones(1), 0.0) for row in rows]
    return np.abs(model.log_likelihood(*rows.T) - theirs)


def _gamma_gamma(p: float, q: float, v: float) -> GammaGamma:
    return GammaGamma(p, q, v, mean_spend=1.0)


def _timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifetimes divides by zero on its way
        started = time.perf_counter()
        return fit(), time.perf_counter() - started
