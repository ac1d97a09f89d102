"""The three models of how often customers come back: what they have in common, and the two that are not in
test_published.py, against published numbers, lifetimes, finite differences and simulated lives."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cdnow_sample import histories, lifetimes_or_skip
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import approx_fprime

from patron.features.btyd import BGNBD, MBGNBD, ParetoNBD, PurchaseModel, fit_bgnbd, fit_mbgnbd, fit_paretonbd
from patron.features.btyd import betageometric as geometric
from patron.features.btyd import paretonbd as pareto
from patron.features.btyd.histories import Purchases
from patron.features.btyd.integral import power_integral
from patron.features.btyd.optimise import negative_posterior

Fit = Callable[..., Any]
FITS: dict[str, Fit] = {"bgnbd": fit_bgnbd, "mbgnbd": fit_mbgnbd, "paretonbd": fit_paretonbd}
KINDS: dict[str, Any] = {"bgnbd": BGNBD, "mbgnbd": MBGNBD, "paretonbd": ParetoNBD}
THEIRS = {"bgnbd": "BetaGeoFitter", "mbgnbd": "ModifiedBetaGeoFitter", "paretonbd": "ParetoNBDFitter"}
SCORES: dict[str, Any] = {
    "bgnbd": partial(geometric.scores, first_tosses=0), "mbgnbd": partial(geometric.scores, first_tosses=1),
    "paretonbd": pareto.scores,
}  # fmt: skip
NAMES = {name: [*kind.__dataclass_fields__][:4] for name, kind in KINDS.items()}
POINTS = ((0.25, 4.4, 0.8, 2.4), (0.6, 10.6, 0.6, 11.7), (3.0, 0.5, 1.0, 0.3), (0.9, 50.0, 4.0, 700.0))
each = pytest.mark.parametrize("name", FITS)


def parameters(model: PurchaseModel, name: str) -> list[float]:
    return [getattr(model, parameter) for parameter in NAMES[name]]


def lives(size: int, *, seed: int, most: int) -> dict[str, np.ndarray]:
    """Random histories, with nobody, somebody and everybody just back."""
    generator = np.random.default_rng(seed)
    frequency = np.floor(np.exp(generator.uniform(0, np.log(most + 1), size))) - 1
    T = generator.uniform(0.5, 80, size)
    recency = T * generator.choice([0.0, 0.3, 0.9, 1.0], size) * (frequency > 0)
    return {"frequency": frequency, "recency": recency, "T": T}


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    return histories()


@pytest.fixture(scope="module")
def lifetimes() -> ModuleType:
    return lifetimes_or_skip()


# --- published numbers


def test_paretonbd_finds_the_published_estimates(cdnow: pd.DataFrame) -> None:
    """Fader, Hardie & Lee 2005, table 2; both priors that are weak enough for it."""
    for prior in ({}, {"penalty": 0.0}):
        model = fit_paretonbd(**cdnow, **prior)
        assert_allclose(parameters(model, "paretonbd"), [0.553, 10.578, 0.606, 11.669], rtol=2e-3)
        assert model.log_likelihood(**cdnow).sum() == pytest.approx(-9595.0, abs=0.05)
        assert (model.converged, model.note) == (True, "")


def test_mbgnbd_finds_the_published_estimates(cdnow: pd.DataFrame) -> None:
    """As the documentation of the R package BTYDplus gives them, Platzer 2016."""
    model = fit_mbgnbd(**cdnow)
    assert_allclose(parameters(model, "mbgnbd"), [0.525, 6.183, 0.891, 1.614], rtol=2e-3)
    assert (model.converged, model.note) == (True, "")


# --- lifetimes


@pytest.mark.filterwarnings("ignore::RuntimeWarning:lifetimes")
@each
@pytest.mark.parametrize("point", POINTS)
def test_log_likelihood_is_that_of_lifetimes_customer_by_customer(
    name: str, point: tuple[float, ...], lifetimes: ModuleType
) -> None:
    past = lives(60, seed=0, most=3000)
    ours = KINDS[name](*point).log_likelihood(**past)
    columns = np.stack(list(past.values()))
    negative = getattr(lifetimes, THEIRS[name])._negative_log_likelihood
    given = np.array(point) if name == "paretonbd" else np.log(point)
    theirs = [-negative(given, *column[:, None], np.ones(1), 0.0) for column in columns.T]
    seen = np.isfinite(theirs)  # their Pareto/NBD overflows from about a hundred purchases on
    assert np.all(seen | ((past["frequency"] > 80) & (name == "paretonbd")))
    assert np.all(np.isfinite(ours))
    assert_allclose(ours[seen], np.array(theirs)[seen], rtol=1e-9)


@each
@pytest.mark.parametrize("point", POINTS[:2])
def test_predictions_are_those_of_lifetimes(name: str, point: tuple[float, ...], lifetimes: ModuleType) -> None:
    past, model = lives(60, seed=1, most=40), KINDS[name](*point)
    theirs = getattr(lifetimes, THEIRS[name])()
    theirs.params_ = pd.Series(point, index=NAMES[name])
    assert_allclose(model.p_alive(**past), theirs.conditional_probability_alive(*past.values()), rtol=1e-6, atol=1e-12)
    for horizon in (1, 26, 300):
        expected = theirs.conditional_expected_number_of_purchases_up_to_time(horizon, *past.values())
        assert_allclose(model.expected_purchases(horizon, **past), expected, rtol=1e-6, atol=1e-12)


@each
def test_the_optimum_is_no_worse_than_that_of_lifetimes(name: str, cdnow: pd.DataFrame, lifetimes: ModuleType) -> None:
    theirs = getattr(lifetimes, THEIRS[name])().fit(cdnow["frequency"], cdnow["recency"], cdnow["T"])
    at_theirs = KINDS[name](*theirs.params_[NAMES[name]]).log_likelihood(**cdnow).sum()
    assert FITS[name](**cdnow, penalty=0).log_likelihood(**cdnow).sum() >= at_theirs - 1e-6


@pytest.mark.parametrize("name", ["bgnbd", "mbgnbd"])
def test_standard_errors_are_those_of_lifetimes(name: str, cdnow: pd.DataFrame, lifetimes: ModuleType) -> None:
    theirs = getattr(lifetimes, THEIRS[name])().fit(cdnow["frequency"], cdnow["recency"], cdnow["T"])
    errors = FITS[name](**cdnow, penalty=0).standard_errors
    assert_allclose([errors[parameter] for parameter in NAMES[name]], theirs.standard_errors_[NAMES[name]], rtol=2e-3)


# --- the mathematics


@each
@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_the_slopes(name: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    past = {key: values / (1 if key == "frequency" else 40) for key, values in lives(30, seed=seed, most=9).items()}
    data = Purchases(weight=generator.integers(1, 4, 30).astype(float), **past)
    loss = negative_posterior(SCORES[name], data, penalty=0.7)
    at = generator.normal(size=4)
    assert_allclose(loss(at)[1], approx_fprime(at, lambda point: loss(point)[0], 1e-7), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("alpha", "beta"), [(0.02, 7.0), (7.0, 0.02), (3.0, 3.0)])
@pytest.mark.parametrize("p", [0.01, 0.9, 3.0, 60.0])
def test_the_integral_of_powers(alpha: float, beta: float, p: float) -> None:
    def integral(function: Callable[[float], float]) -> float:
        return quad(lambda y: function(y) * (alpha + y) ** -p * (beta + y) ** -1.6, 0.5, 9, epsabs=0, limit=200)[0]

    found = power_integral(np.array([0.5]), np.array([9.0]), alpha=alpha, p=np.array([p]), beta=beta, q=1.6)
    total = integral(lambda _: 1.0)
    means = [integral(f) / total for f in (lambda y: np.log(alpha + y), lambda y: np.log(beta + y))]
    means += [integral(f) / total for f in (lambda y: 1 / (alpha + y), lambda y: 1 / (beta + y))]
    assert_allclose(found.log_value, np.log(total), atol=1e-9)
    given = [found.log_alpha, found.log_beta, found.per_alpha, found.per_beta]
    assert_allclose(np.concatenate(given), means, rtol=1e-8)


def test_the_integral_of_steep_powers_is_that_of_the_exponential() -> None:
    """Over 50 years, of a customer with a million purchases: the integrand at the lower end, by 1 / slope there."""
    found = power_integral(np.array([10.0]), np.array([18_000.0]), alpha=2.0, p=np.array([1e6]), beta=5.0, q=1.0)
    assert found.log_value == pytest.approx(-1e6 * np.log(12) - np.log(15) - np.log(1e6 / 12), rel=1e-9)


def test_an_integral_over_nothing_is_nothing() -> None:
    found = power_integral(np.array([3.0]), np.array([3.0]), alpha=1.0, p=np.array([2.0]), beta=2.0, q=1.0)
    assert found.log_value == -np.inf
    assert_allclose([found.log_alpha[0], found.per_beta[0]], [np.log(4), 0.2])


def test_paretonbd_by_hand() -> None:
    """A new customer: E = r beta / (alpha (s - 1)) (1 - (beta / (beta + t))^(s - 1)), and its limit at s = 1."""
    new = {"frequency": 0, "recency": 0, "T": 0}
    expected = ParetoNBD(0.5, 10.0, 3.0, 20.0).expected_purchases(30, **new)
    assert_allclose(expected, 0.5 * 20 / (10 * 2) * (1 - (20 / 50) ** 2))
    assert_allclose(ParetoNBD(0.5, 10.0, 1.0, 20.0).expected_purchases(30, **new), 0.05 * 20 * np.log(50 / 20))
    assert_allclose(ParetoNBD(0.5, 10.0, 3.0, 20.0).p_alive(**new), 1)


def test_mbgnbd_may_have_lost_who_never_came_back() -> None:
    """Just after the first purchase the coin has been tossed once: b / (a + b)."""
    new = {"frequency": 0, "recency": 0, "T": 0}
    assert_allclose(MBGNBD(0.5, 4.0, 1.0, 3.0).p_alive(**new), 3 / 4)
    assert_allclose(BGNBD(0.5, 4.0, 1.0, 3.0).p_alive(**new), 1)


def test_without_dropout_the_three_are_one() -> None:
    past = lives(40, seed=2, most=30)
    past["recency"] = past["T"] * (past["frequency"] > 0)
    models = BGNBD(0.7, 9.0, 1e-9, 1.0), MBGNBD(0.7, 9.0, 1e-9, 1.0), ParetoNBD(0.7, 9.0, 1e-9, 1.0)
    for model in models:
        assert_allclose(
            model.expected_purchases(20, **past), 20 * (0.7 + past["frequency"]) / (9 + past["T"]), rtol=1e-5
        )
        none = ((9 + past["T"]) / (29 + past["T"])) ** (0.7 + past["frequency"])
        assert_allclose(model.p_purchase(20, **past), 1 - none, rtol=1e-5)


@each
@pytest.mark.parametrize("point", POINTS)
def test_the_chance_of_a_purchase_lies_between(name: str, point: tuple[float, ...]) -> None:
    """0 at once, the expected number soon, never more than that number or than P(alive), and more with time."""
    past, model = lives(60, seed=3, most=3000), KINDS[name](*point)
    chances = np.stack([model.p_purchase(horizon, **past) for horizon in (0, 1e-5, 1, 30, 1e6)])
    assert_array_equal(chances[0], 0)
    assert_allclose(chances[1], model.expected_purchases(1e-5, **past), rtol=0.02)
    assert np.all(np.diff(chances, axis=0) >= -1e-12)
    assert np.all(chances[3] <= model.expected_purchases(30, **past) * (1 + 1e-9))
    assert np.all(chances[4] <= model.p_alive(**past) + 1e-12)


# --- known truth

TRUTH = {
    "bgnbd": BGNBD(0.8, 10.0, 0.9, 3.0),
    "mbgnbd": MBGNBD(0.8, 10.0, 0.9, 3.0),
    "paretonbd": ParetoNBD(0.8, 10.0, 0.9, 20.0),
}


@pytest.fixture(scope="module", params=TRUTH)
def simulated(request: pytest.FixtureRequest) -> tuple[str, dict[str, np.ndarray], np.ndarray]:
    """A model, histories of 20,000 customers drawn from it up to week 40, and their purchases in the next 20 weeks."""
    name, size = request.param, 20_000
    model, generator = TRUTH[name], np.random.default_rng(7)
    rate = generator.gamma(model.r, 1 / model.alpha, size)
    times = np.cumsum(generator.exponential(size=(size, 150)) / rate[:, None], axis=1)
    if isinstance(model, ParetoNBD):
        death = generator.exponential(size=size) / generator.gamma(model.s, 1 / model.beta, size)
        alive = times <= death[:, None]
    else:
        tosses = generator.geometric(np.maximum(generator.beta(model.a, model.b, size), 1e-9))
        alive = np.arange(150) < (tosses - model.first_tosses)[:, None]
    past = alive & (times <= 40)
    history = {"frequency": past.sum(axis=1), "recency": np.max(times * past, axis=1), "T": np.full(size, 40.0)}
    return name, history, (alive & (times > 40) & (times <= 60)).sum(axis=1)


def test_predictions_come_true_in_a_simulated_world(simulated: tuple) -> None:
    """Among all, and among customers with no, one or more purchases, lately or long ago: within 4 standard errors."""
    name, past, later = simulated
    chance, number = (getattr(TRUTH[name], what)(20, **past) for what in ("p_purchase", "expected_purchases"))
    late = past["recency"] > 25
    groups = [past["frequency"] == 0, (past["frequency"] == 1) & late, (past["frequency"] == 1) & ~late]
    for group in (*groups, (past["frequency"] > 3) & late, (past["frequency"] > 3) & ~late, late | ~late):
        assert group.sum() > 50
        bought = later[group] > 0
        assert abs(bought.mean() - chance[group].mean()) < 4 * np.sqrt(chance[group].mean() / group.sum())
        spread = later[group].std() / np.sqrt(group.sum())
        assert abs(later[group].mean() - number[group].mean()) < 4 * spread


def test_the_parameters_of_a_simulated_world_are_found(simulated: tuple) -> None:
    """Each within 4 of its standard errors, which are small enough to mean something."""
    name, past, _ = simulated
    found = FITS[name](**past)
    errors = np.array([found.standard_errors[parameter] for parameter in NAMES[name]])
    truth = np.array(parameters(TRUTH[name], name))
    assert np.all(np.abs(parameters(found, name) - truth) < 4 * errors)
    assert np.all(errors < 0.5 * truth)


# --- standard errors


@each
def test_standard_errors_are_the_curvature_of_the_likelihood(name: str, cdnow: pd.DataFrame) -> None:
    """Of the log likelihood itself, by second differences in the parameters."""
    model = FITS[name](**cdnow, penalty=0)
    at = np.array(parameters(model, name))
    steps = np.diag(at * 1e-3)

    def total(point: np.ndarray) -> float:
        return KINDS[name](*point).log_likelihood(**cdnow).sum()

    corners = [[[total(at + s * i + t * j) for t in (1, -1)] for s in (1, -1)] for i in steps for j in steps]
    mixed = [(c[0][0] - c[0][1] - c[1][0] + c[1][1]) / 4 for c in corners]
    information = -np.reshape(mixed, (4, 4)) / np.outer(at, at) * 1e6
    errors = [model.standard_errors[parameter] for parameter in NAMES[name]]
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(information))), rtol=5e-3)


@each
def test_standard_errors_are_unknown_where_the_data_are_silent(name: str) -> None:
    """A fallback, and customers who are all alike, so that heterogeneity goes to its bound."""
    for history in (([0, 1, 4], [0, 2, 9], [9, 9, 9]), ([3] * 50, [20] * 50, [30] * 50)):
        model = FITS[name](*history)
        assert set(model.standard_errors) == set(NAMES[name])
        assert np.isnan(list(model.standard_errors.values())).all()
        assert model.note


@each
def test_standard_errors_shrink_with_the_root_of_the_customers(name: str, cdnow: pd.DataFrame) -> None:
    once, fourfold = (FITS[name](**pd.concat([cdnow] * copies), penalty=0) for copies in (1, 4))
    ratio = [once.standard_errors[parameter] / fourfold.standard_errors[parameter] for parameter in NAMES[name]]
    assert_allclose(ratio, 2, rtol=1e-3)


# --- invariances, and data that cannot carry a fit


@each
def test_neither_order_nor_the_unit_of_time_matters(name: str, cdnow: pd.DataFrame) -> None:
    weeks = FITS[name](**cdnow)
    assert FITS[name](**cdnow.sample(frac=1, random_state=0)) == weeks
    rescaled = cdnow.assign(recency=cdnow["recency"] * 7, T=cdnow["T"] * 7)
    days = FITS[name](**rescaled)
    assert_allclose(days.expected_purchases(91, **rescaled), weeks.expected_purchases(13, **cdnow), rtol=1e-4)
    assert_allclose(days.standard_errors["alpha"], 7 * weeks.standard_errors["alpha"], rtol=1e-4)
    assert_allclose(days.standard_errors["r"], weeks.standard_errors["r"], rtol=1e-4)


HARD: dict[str, Any] = {
    "all alike": ([3] * 50, [20] * 50, [30] * 50),
    "one repeat": ([0] * 49 + [1], [0] * 49 + [1], [30] * 50),
    "nobody leaves": (range(1, 51), [30] * 50, [30] * 50),
    "everybody leaves": ([1] * 50, [1e-3] * 50, [1e4] * 50),
    "at once": ([2] * 50, [0] * 50, range(50)),
    "a very heavy buyer": ([0] * 40 + [100_000] * 10, [0] * 40 + [364] * 10, [365] * 50),
}


@pytest.mark.filterwarnings("error")
@each
@pytest.mark.parametrize("case", HARD)
def test_extreme_histories_are_finite(name: str, case: str) -> None:
    model = FITS[name](*HARD[case])
    past = lives(60, seed=4, most=100_000)
    for answer in (model.log_likelihood(**past), model.expected_purchases(90, **past)):
        assert np.all(np.isfinite(answer))
    for chance in (model.p_alive(**past), model.p_purchase(90, **past)):
        assert np.all((chance >= 0) & (chance <= 1))


@each
def test_degenerate_histories_get_the_pooled_rate(name: str) -> None:
    model = FITS[name]([0, 1, 4], [0, 2, 9], [9, 9, 9])
    assert not model.converged
    assert model.note.startswith("3 customers are too few: the pooled rate of 0.204")
    new = {"frequency": 0, "recency": 0, "T": 0}
    assert_allclose(model.expected_purchases(10, **new), 10 * 5.5 / 27, rtol=1e-4)
    assert_allclose(model.p_alive(**new), 1, atol=1e-5)


@each
def test_wrong_input_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="recency > T"):
        FITS[name]([1, 1], [1, 3], [2, 2])
    with pytest.raises(ValueError, match="horizon is negative"):
        TRUTH[name].p_purchase(-1, frequency=1, recency=1, T=2)
    with pytest.raises(ValueError, match="lengths differ"):
        TRUTH[name].p_purchase([1, 2, 3], frequency=[1, 1], recency=[1, 1], T=[2, 2])
    with pytest.raises(ValueError, match="parameters must be positive"):
        KINDS[name](1, 1, 0, 1)
