"""Gamma-Gamma's standard errors, and the warning where what it takes for granted does not hold."""

import numpy as np
import pandas as pd
import pytest
from cdnow_sample import lifetimes_or_skip, spent
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime

from patron.features.btyd import GammaGamma, fit_gamma_gamma
from patron.features.btyd.gamma_gamma import Spends, scores
from patron.features.btyd.optimise import negative_posterior


@pytest.fixture(scope="module")
def spends() -> pd.DataFrame:
    return spent()


def drawn(slope: float, *, size: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and mean spends of p, q, v = 5, 4, 15 that grow with them as exp(slope * frequency)."""
    generator = np.random.default_rng(3)
    frequency = 1 + generator.poisson(3, size)
    each = generator.gamma(4, 1 / 15, size)
    return frequency, generator.gamma(5.0 * frequency) / each / frequency * np.exp(slope * frequency)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_the_slopes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    weight, frequency = generator.integers(1, 4, 30), generator.integers(1, 6, 30)
    data = Spends(weight.astype(float), frequency=frequency.astype(float), monetary=generator.gamma(2, 20, 30))
    loss = negative_posterior(scores, data, penalty=0.7)
    at = generator.normal(size=3)
    assert_allclose(loss(at)[1], approx_fprime(at, lambda point: loss(point)[0], 1e-7), rtol=1e-4, atol=1e-5)


def test_log_likelihood_is_that_of_lifetimes_customer_by_customer() -> None:
    generator = np.random.default_rng(0)
    frequency, monetary = np.floor(np.geomspace(1, 5000, 40)), generator.gamma(2, 20, 40)
    for point in ((6.25, 3.74, 15.44), (0.3, 1.2, 900.0)):
        negative = lifetimes_or_skip().GammaGammaFitter._negative_log_likelihood
        rows = zip(frequency, monetary, strict=True)
        theirs = [-negative(np.log(point), np.array([x]), np.array([m]), np.ones(1), 0.0) for x, m in rows]
        assert_allclose(GammaGamma(*point, mean_spend=1).log_likelihood(frequency, monetary), theirs, rtol=1e-6)


def test_standard_errors_are_those_of_lifetimes(spends: pd.DataFrame) -> None:
    bought = spends.query("frequency > 0")
    theirs = lifetimes_or_skip().GammaGammaFitter().fit(bought["frequency"], bought["monetary"])
    errors = fit_gamma_gamma(**spends, penalty=0).standard_errors
    assert list(errors) == ["p", "q", "v"]
    assert_allclose(list(errors.values()), theirs.standard_errors_[["p", "q", "v"]], rtol=5e-3)


def test_standard_errors_hold_the_truth() -> None:
    model = fit_gamma_gamma(*drawn(0.0))
    for name, truth in {"p": 5.0, "q": 4.0, "v": 15.0}.items():
        assert abs(getattr(model, name) - truth) < 4 * model.standard_errors[name]
        assert model.standard_errors[name] < 0.3 * truth


def test_few_payers_have_no_standard_errors() -> None:
    assert np.isnan(list(fit_gamma_gamma([1, 3, 2], [10, 20, 5]).standard_errors.values())).all()


def test_the_published_correlation_is_found(spends: pd.DataFrame) -> None:
    """0.11 among the 946 of CDNOW who came back; Fader & Hardie 2005, RFM and CLV, table 3. It deserves no warning."""
    model = fit_gamma_gamma(**spends)
    assert model.correlation == pytest.approx(0.11, abs=0.005)
    assert model.correlation == pytest.approx(spends.query("frequency > 0").corr().iloc[0, 1], rel=1e-9)
    assert model.note == ""


def test_a_planted_dependence_is_noted_and_its_sign_explained() -> None:
    independent, rising, falling = (fit_gamma_gamma(*drawn(slope)) for slope in (0.0, 0.3, -0.3))
    assert abs(independent.correlation) < 0.1
    assert independent.note == ""
    assert rising.correlation > 0.5
    assert f"correlate at {rising.correlation:.2f}" in rising.note
    assert "values frequent customers too low and rare ones too high" in rising.note
    assert falling.correlation < -0.3
    assert "values frequent customers too high and rare ones too low" in falling.note


def test_who_buys_alike_has_no_correlation() -> None:
    assert fit_gamma_gamma([2] * 30, np.linspace(5, 9, 30)).correlation == 0
    assert fit_gamma_gamma(np.arange(1, 31), [20.0] * 30).correlation == 0


def test_the_currency_changes_neither_correlation_nor_relative_errors() -> None:
    frequency, monetary = drawn(0.1)
    dollars, yen = fit_gamma_gamma(frequency, monetary), fit_gamma_gamma(frequency, monetary * 150)
    assert yen.correlation == pytest.approx(dollars.correlation)
    assert yen.standard_errors["v"] == pytest.approx(150 * dollars.standard_errors["v"], rel=1e-4)
    assert yen.standard_errors["p"] == pytest.approx(dollars.standard_errors["p"], rel=1e-4)
