"""BG/NBD and Gamma-Gamma against published numbers: the papers, Hardie's sheets and lifetimes, all on CDNOW."""

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cdnow_sample import histories, lifetimes_or_skip, spent
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import beta

from patron.features.btyd import BGNBD, GammaGamma, fit_bgnbd, fit_gamma_gamma

PUBLISHED = BGNBD(0.243, 4.414, 0.793, 2.426)
BGNBD_NAMES = ("r", "alpha", "a", "b")
FEW: dict[str, Any] = {"frequency": [0, 1, 2, 5, 400], "recency": [0, 3, 20, 30, 38], "T": [10, 5, 30, 38, 38.5]}


def parameters(model: BGNBD | GammaGamma) -> list[float]:
    return [getattr(model, name) for name in (BGNBD_NAMES if isinstance(model, BGNBD) else ("p", "q", "v"))]


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    return histories()


@pytest.fixture(scope="module")
def spends() -> pd.DataFrame:
    return spent()


@pytest.fixture(scope="module")
def lifetimes() -> ModuleType:
    return lifetimes_or_skip()


# --- published numbers


@pytest.mark.parametrize("prior", [{}, {"penalty": 0.0}])
def test_bgnbd_finds_the_published_estimates(cdnow: pd.DataFrame, prior: dict) -> None:
    model = fit_bgnbd(**cdnow, **prior)
    assert_allclose(parameters(model), parameters(PUBLISHED), atol=5e-4)
    assert model.converged
    assert model.note == ""


@pytest.mark.parametrize("prior", [{}, {"penalty": 0.0}])
def test_gamma_gamma_finds_the_published_estimates(spends: pd.DataFrame, prior: dict) -> None:
    model = fit_gamma_gamma(**spends, **prior)
    assert_allclose(parameters(model), [6.25, 3.74, 15.44], atol=0.015)
    assert model.converged
    assert model.note == ""


def test_log_likelihood_is_the_papers(cdnow: pd.DataFrame) -> None:
    assert fit_bgnbd(**cdnow).log_likelihood(**cdnow).sum() == pytest.approx(-9582.4, abs=0.05)  # as the paper reports


def test_expected_purchases_are_hardies_sheet(cdnow: pd.DataFrame) -> None:
    model = fit_bgnbd(**cdnow)
    assert model.expected_purchases(39, frequency=2, recency=30.43, T=38.86) == pytest.approx(1.226, abs=5e-4)
    weeks = [0.1429, 1.0, 3.0, 31.8571, 32.0, 78.0]  # of a new customer
    expected = [0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576]
    assert_allclose(model.expected_purchases(weeks, frequency=0, recency=0, T=0), expected, atol=5e-4)


def test_expected_spend_shrinks_to_the_published_mean() -> None:
    model = GammaGamma(6.25, 3.74, 15.44, mean_spend=38.81)
    assert model.population_mean == pytest.approx(35.22, abs=0.01)  # 6.25 × 15.44 / 2.74
    expected = model.expected_spend([2, 1, 0, 10_000], [22.35, 11.77, 0, 50])
    assert_allclose(expected, [24.66, 18.92, 35.22, 50.0], atol=0.01)


# --- lifetimes, number by number


def test_log_likelihood_is_that_of_lifetimes(cdnow: pd.DataFrame, spends: pd.DataFrame, lifetimes: ModuleType) -> None:
    columns = [cdnow[name].to_numpy() for name in cdnow]
    negative = lifetimes.BetaGeoFitter._negative_log_likelihood
    theirs = -negative(np.log(parameters(PUBLISHED)), *columns, np.ones(len(cdnow)), 0.0) * len(cdnow)
    assert PUBLISHED.log_likelihood(*columns).sum() == pytest.approx(theirs, rel=1e-9)

    model = GammaGamma(6.25, 3.74, 15.44, mean_spend=38.81)
    columns = [spends.query("frequency > 0")[name].to_numpy() for name in spends]
    negative = lifetimes.GammaGammaFitter._negative_log_likelihood
    theirs = -negative(np.log(parameters(model)), *columns, np.ones(len(columns[0])), 0.0) * len(columns[0])
    assert model.log_likelihood(*columns).sum() == pytest.approx(theirs, rel=1e-9)


def test_predictions_are_those_of_lifetimes(cdnow: pd.DataFrame, spends: pd.DataFrame, lifetimes: ModuleType) -> None:
    theirs = lifetimes.BetaGeoFitter()
    theirs.params_ = pd.Series(parameters(PUBLISHED), index=BGNBD_NAMES)
    p_alive = theirs.conditional_probability_alive(cdnow["frequency"], cdnow["recency"], cdnow["T"])
    assert_allclose(PUBLISHED.p_alive(**cdnow), p_alive, rtol=1e-9)
    for weeks in (1, 13, 39, 200):
        expected = theirs.conditional_expected_number_of_purchases_up_to_time(weeks, *(cdnow[name] for name in cdnow))
        assert_allclose(PUBLISHED.expected_purchases(weeks, **cdnow), expected, rtol=1e-9)

    theirs = lifetimes.GammaGammaFitter()
    theirs.params_ = pd.Series([6.25, 3.74, 15.44], index=["p", "q", "v"])
    expected = theirs.conditional_expected_average_profit(spends["frequency"], spends["monetary"])
    assert_allclose(GammaGamma(6.25, 3.74, 15.44, mean_spend=38.81).expected_spend(**spends), expected, rtol=1e-9)


def test_the_optimum_is_no_worse_than_that_of_lifetimes(cdnow: pd.DataFrame, lifetimes: ModuleType) -> None:
    theirs = lifetimes.BetaGeoFitter().fit(cdnow["frequency"], cdnow["recency"], cdnow["T"])
    at_theirs = BGNBD(*theirs.params_[list(BGNBD_NAMES)]).log_likelihood(**cdnow).sum()
    assert fit_bgnbd(**cdnow, penalty=0).log_likelihood(**cdnow).sum() >= at_theirs - 1e-6


# --- the mathematics


@pytest.mark.parametrize("a", [0.2, 1 - 1e-7, 1.0, 1 + 1e-5, 1.5, 40.0, 2000.0])
@pytest.mark.parametrize("b", [0.5, *(pytest.param(b, marks=pytest.mark.slow) for b in (0.8, 30.0))])
def test_expected_purchases_are_the_integral_over_dropout(a: float, b: float) -> None:
    """E[(1 - (1 + p w)^-(r+x)) / p] for p ~ Beta(a, b + x), times P(alive); a = 1, a + b = 1 and huge a included."""
    model = BGNBD(0.5, 4.0, a, b)
    for frequency, recency, T in zip(*FEW.values(), strict=True):
        shape, ratio = 0.5 + frequency, 26 / (4 + T)
        dropout = beta(a, b + frequency)
        integral = quad(
            lambda u, d=dropout, s=shape, w=ratio: -np.expm1(-s * np.log1p(d.ppf(u) * w)) / max(d.ppf(u), 1e-100), 0, 1
        )[0]
        expected = integral * model.p_alive(frequency, recency, T)
        actual = model.expected_purchases(26, frequency=frequency, recency=recency, T=T)
        assert_allclose(actual, expected, rtol=1e-3 if a > 1000 else 1e-5)


def test_expected_purchases_grow_with_the_horizon_and_stay_finite() -> None:
    history = {"frequency": [0, 1, 50, 5000], "recency": [0, 1, 300, 364], "T": [0, 2, 365, 365]}
    for model in (PUBLISHED, BGNBD(1e-3, 1e-3, 1e-3, 1e-3), BGNBD(1e3, 1e3, 1e3, 1e3), BGNBD(1e-3, 1e4, 1e3, 1e-3)):
        curve = np.stack([model.expected_purchases(days, **history) for days in (0, 1, 30, 365, 10_000)])
        assert np.all(np.isfinite(curve))
        assert_array_equal(curve[0], 0)
        assert np.all(np.diff(curve, axis=0) >= -1e-6 * (1 + curve[1:]))


def test_p_alive_is_a_probability_and_one_without_a_repeat() -> None:
    frequency, recency, T = (grid.ravel() for grid in np.meshgrid([0, 1, 7, 90, 9000], [0, 5, 90], [0, 5, 91, 5000]))
    seen = (recency <= T) & ((frequency > 0) | (recency == 0))
    alive = PUBLISHED.p_alive(frequency[seen], recency[seen], T[seen])
    assert np.all((alive >= 0) & (alive <= 1))
    assert_array_equal(alive[frequency[seen] == 0], 1)


# --- invariances


def test_the_order_of_customers_changes_nothing(cdnow: pd.DataFrame, spends: pd.DataFrame) -> None:
    assert fit_bgnbd(**cdnow.sample(frac=1, random_state=0)) == fit_bgnbd(**cdnow)
    assert fit_gamma_gamma(**spends.sample(frac=1, random_state=0)) == fit_gamma_gamma(**spends)


def test_doubling_every_customer_changes_nothing(cdnow: pd.DataFrame, spends: pd.DataFrame) -> None:
    """Exactly so without the prior, which otherwise weighs half as much."""
    twice = [pd.concat([table, table]) for table in (cdnow, spends)]
    for prior, rtol in ((0.0, 1e-9), (1e-3, 2e-4)):
        for fit, table, doubled in ((fit_bgnbd, cdnow, twice[0]), (fit_gamma_gamma, spends, twice[1])):
            once = parameters(fit(**table, penalty=prior))
            assert_allclose(parameters(fit(**doubled, penalty=prior)), once, rtol=rtol)


@pytest.mark.parametrize("unit", [7, 7 * 86_400])
def test_days_and_weeks_expect_the_same(cdnow: pd.DataFrame, unit: float) -> None:
    rescaled = cdnow.assign(recency=cdnow["recency"] * unit, T=cdnow["T"] * unit)
    weeks, days = fit_bgnbd(**cdnow), fit_bgnbd(**rescaled)
    assert days.alpha == pytest.approx(weeks.alpha * unit, rel=1e-5)
    expected = weeks.expected_purchases(13, **cdnow)
    assert_allclose(days.expected_purchases(13 * unit, **rescaled), expected, rtol=1e-5)
    assert_allclose(days.p_alive(**rescaled), weeks.p_alive(**cdnow), rtol=1e-5)


def test_the_currency_changes_nothing(spends: pd.DataFrame) -> None:
    dollars, yen = fit_gamma_gamma(**spends), fit_gamma_gamma(spends["frequency"], spends["monetary"] * 150)
    assert_allclose([yen.p, yen.q, yen.v / 150], [dollars.p, dollars.q, dollars.v], rtol=1e-4)


# --- data that cannot carry a fit

DEGENERATE: dict[str, Any] = {
    "no customers": ([], [], [], "0 customers are too few"),
    "three customers": ([0, 1, 4], [0, 2, 9], [9, 9, 9], "3 customers are too few"),
    "no repeat purchases": ([0] * 20, [0] * 20, range(20), "no repeat purchases"),
    "no time": ([1] * 20, [0] * 20, [0] * 20, "no time after the first purchase"),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_histories_get_the_pooled_rate_and_a_note(case: str) -> None:
    *history, note = DEGENERATE[case]
    model = fit_bgnbd(*history)
    assert not model.converged
    assert model.note.startswith(f"{note}: the pooled rate")
    assert np.all(np.isfinite(model.expected_purchases(90, **FEW)))
    assert np.all(np.isfinite(model.p_alive(*FEW.values())))


def test_the_pooled_rate_is_purchases_over_time() -> None:
    model = fit_bgnbd([0, 1, 4], [0, 2, 9], [9, 9, 9])
    assert_allclose(model.r / model.alpha, 5.5 / 27)
    new = model.expected_purchases(10, frequency=0, recency=0, T=0)
    assert_allclose(new, 10 * 5.5 / 27, rtol=1e-4)


EXTREME: dict[str, Any] = {
    "all alike": ([3] * 50, [20] * 50, [30] * 50),
    "one repeat": ([0] * 49 + [1], [0] * 49 + [1], [30] * 50),
    "nobody leaves": (range(1, 51), [30] * 50, [30] * 50),
    "everybody leaves": ([1] * 50, [1e-3] * 50, [1e4] * 50),
    "at once": ([2] * 50, [0] * 50, range(50)),
    "a very heavy buyer": ([0] * 40 + [100_000] * 10, [0] * 40 + [364] * 10, [365] * 50),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", EXTREME)
def test_extreme_histories_are_finite(case: str) -> None:
    history = dict(zip(("frequency", "recency", "T"), EXTREME[case], strict=True))
    model = fit_bgnbd(**history)
    for past in (history, FEW):
        expected = model.expected_purchases(90, **past)
        assert np.all(np.isfinite(expected))
        assert np.all(expected >= 0)
        assert np.all(np.isfinite(model.log_likelihood(**past)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "monetary", [[], [5.0], [0.0] * 30, [20.0] * 30, [-3.0] * 15 + [8.0] * 15, np.geomspace(1, 1e9, 30)]
)
def test_degenerate_spends_are_finite(monetary: list[float]) -> None:
    model = fit_gamma_gamma([2] * len(monetary), monetary)
    expected = model.expected_spend([0, 1, 5, 400], [0, 10, -2, 1e7])
    assert np.all(np.isfinite(expected))
    assert np.all(expected >= 0)


def test_alike_spends_expect_that_spend() -> None:
    model = fit_gamma_gamma([2] * 30, [20.0] * 30)
    assert_allclose(model.expected_spend([0, 2], [0, 20]), 20, rtol=0.01)


def test_few_payers_and_unpaid_purchases_are_noted() -> None:
    model = fit_gamma_gamma([1, 3, 2, 0], [10, 20, 0, 0])
    assert model.population_mean == pytest.approx(17.5)  # (10 + 3 × 20) / 4
    assert model.note.startswith("2 paying customers are too few")
    assert model.note.endswith("1 customers with purchases but monetary <= 0 left out")


def test_an_infinite_mean_is_replaced_by_the_observed_one_and_noted() -> None:
    generator = np.random.default_rng(0)
    spend = generator.gamma(3, size=2000) / generator.gamma(0.7, size=2000)  # p = 3, q = 0.7
    model = fit_gamma_gamma(np.ones(2000), spend)
    assert model.q < 1
    assert "the mean is infinite" in model.note
    assert model.population_mean == pytest.approx(spend.mean())
    expected = model.expected_spend([0, 1], [0, 5])
    assert expected[0] == pytest.approx(spend.mean())
    assert min(5, spend.mean()) <= expected[1] <= max(5, spend.mean())


# --- input

WRONG: dict[str, Any] = {
    "frequency is negative": ([1, -1], [1, 1], [2, 2]),
    "recency > T": ([1, 1], [1, 3], [2, 2]),
    "recency > 0 where frequency is 0": ([1, 0], [1, 1], [2, 2]),
    "lengths differ": ([1, 1], [1], [2, 2]),
    "T is missing": ([1, 1], [1, 1], [2, np.nan]),
    "has shape": ([[1, 1]], [[1, 1]], [[2, 2]]),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_histories_are_named(message: str) -> None:
    frequency, recency, T = WRONG[message]
    with pytest.raises(ValueError, match=message):
        fit_bgnbd(frequency, recency, T)
    with pytest.raises(ValueError, match=message):
        PUBLISHED.expected_purchases(1, frequency=frequency, recency=recency, T=T)


def test_other_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="the first is row 1"):
        fit_gamma_gamma([1, 2, 3], [5, np.nan, 5])
    with pytest.raises(ValueError, match="horizon is negative"):
        PUBLISHED.expected_purchases(-1, **FEW)
    with pytest.raises(ValueError, match="lengths differ"):
        PUBLISHED.expected_purchases([1, 2], **FEW)
    with pytest.raises(ValueError, match="parameters must be positive"):
        BGNBD(1, 1, 0, 1)
    with pytest.raises(ValueError, match="customers who paid"):
        GammaGamma(6.25, 3.74, 15.44, mean_spend=38.81).log_likelihood([1], [0])


# --- known truth


def test_the_parameters_of_a_simulated_world_are_found() -> None:
    truth = BGNBD(0.8, 10.0, 0.9, 3.0)
    found = fit_bgnbd(*simulated(truth, customers=4000, seed=0))
    assert_allclose(parameters(found), parameters(truth), rtol=0.25)


def test_expected_purchases_add_up_in_a_simulated_world() -> None:
    truth, customers = BGNBD(0.8, 10.0, 0.9, 3.0), 4000
    frequency, recency, T = simulated(truth, customers=customers, seed=0)
    later, _, _ = simulated(truth, customers=customers, seed=0, until=80.0)
    expected = fit_bgnbd(frequency, recency, T).expected_purchases(40, frequency=frequency, recency=recency, T=T)
    assert expected.sum() == pytest.approx((later - frequency).sum(), rel=0.05)


def simulated(model: BGNBD, *, customers: int, seed: int, until: float = 40.0) -> tuple[np.ndarray, ...]:
    """Histories of customers drawn from the model up to `until`; the same seed gives the same lives: [N], [N], [N]."""
    generator = np.random.default_rng(seed)
    rate = generator.gamma(model.r, 1 / model.alpha, customers)
    purchases = generator.geometric(np.maximum(generator.beta(model.a, model.b, customers), 1e-9))  # until dropout
    times = np.cumsum(generator.exponential(size=(customers, 400)) / rate[:, None], axis=1)
    happened = (times <= until) & (np.arange(400) < purchases[:, None])
    return happened.sum(axis=1), np.max(times * happened, axis=1), np.full(customers, until)
