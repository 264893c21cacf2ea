"""Weak errors of SGD: the measurement against closed forms that it does not use."""

import numpy as np
import pytest
import scipy.integrate
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.sde_limit import measure

SETTINGS = settings_read("sde-limit", seed=3, paths=2000)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("sde-limit", SETTINGS)


def test_every_system_has_its_numbers(parts):
    assert dict(parts["errors"].sizes) == {"system": 4, "function": 5, "batch": 5}
    for name, part in parts.items():
        for variable, values in part.items():
            assert np.isfinite(values).all(), (name, variable)
    assert (parts["errors"]["low"] < parts["errors"]["high"]).all()


def test_mean_and_variance_by_hand(parts):
    """One Hessian: mean (1 − η)^n and Var 2T Σ η (1 − η)^{2i}, D = 1; z starts at 1."""
    errors = parts["errors"].sel(system="skewed")
    for rate, batch in zip(measure.RATES, measure.BATCHES, strict=True):
        steps = round(1.28 / rate)
        mean = (1 - rate) ** steps
        variance = 2 * rate * sum((1 - rate) ** (2 * i) for i in range(steps))
        at = errors["error"].sel(batch=batch)
        assert at.sel(function="z") == pytest.approx(mean - np.exp(-1.28), abs=1e-9)
        # E z² of the equation: 1, its stationary value
        assert at.sel(function="z²") == pytest.approx(mean**2 + variance - 1, abs=1e-9)


@pytest.mark.parametrize(
    ("system", "values", "chances"),
    [("symmetric", [1, -1], [0.5, 0.5]), ("skewed", [2, -0.5], [0.2, 0.8])],
)
def test_what_is_left_over_is_that_of_the_infinitely_divisible_limit(
    parts, system, values, chances
):
    """log E exp(iwz) of the limit: ∫ log(E exp(2iTwh e^−s))/(2T) ds; Gaussian for (3)."""
    T, time = 0.01, 1.28

    def exponent(s):
        return np.log(np.dot(chances, np.exp(2j * T * np.exp(-s) / 0.1 * np.array(values))))

    real, imaginary = (
        scipy.integrate.quad(lambda s, p=p: p(exponent(s)) / (2 * T), 0, time)[0]
        for p in (np.real, np.imag)
    )
    mean = np.exp(-time)
    limit = np.exp(real + 1j * (imaginary + mean))
    gauss = np.exp(1j * mean - (1 - mean**2) / 2)
    rest = parts["errors"]["left_over"].sel(system=system)
    assert rest.sel(function="cos z") == pytest.approx((limit - gauss).real, abs=1e-6)
    assert rest.sel(function="sin z") == pytest.approx((limit - gauss).imag, abs=1e-6)


def test_extrapolation_of_a_polynomial():
    rates = np.array(measure.RATES)
    errors = np.stack([3 + rates - 2 * rates**2 + rates**4, rates**3])
    rest, uncertainty = measure.left_over(errors)
    np.testing.assert_allclose(rest, [3, 0], atol=1e-12)
    assert uncertainty[0] > 1e-8 > uncertainty[1]


def test_other_methods_agree(parts):
    errors = parts["errors"]
    assert errors.attrs["other_error"] < 1e-9
    assert (errors["grid_error"] < 1e-4 * abs(errors["error"]) + 1e-8).all()
    score = abs(errors["sampled"] - errors["error"]) / errors["standard_error"]
    assert (score < 4.5).all()


def test_the_third_cumulant_in_three_ways(parts):
    found = parts["cumulant"]
    expected = (0.02**2 * (0.2 * 8 - 0.8 / 8)) * (1 - np.exp(-3.84)) / 3 / 0.1**3
    assert found["formula"] == pytest.approx(expected)
    assert found["limit"] == pytest.approx(expected, rel=1e-8)
    assert abs(found["sampled"] - found["sgd"][0]) < 4.5 * found["standard_error"]


def test_controls_behave(parts):
    controls = parts["controls"]
    assert (controls["low"].sel(against="equation") > 0.5).all()
    assert (controls["high"].sel(against="doubled", function=["z²", "z³", "cos z"]) < 0.1).all()


def test_equal_settings_give_equal_numbers(parts):
    errors, _, _ = measure._system("double-well", SETTINGS)
    mine = parts["errors"].sel(system="double-well")
    other, _ = measure._sampled("double-well", SETTINGS | {"seed": 4})
    np.testing.assert_array_equal(errors["sampled"], mine["sampled"])
    np.testing.assert_array_equal(errors["error"], mine["error"])
    assert not np.array_equal(other, mine["sampled"])
