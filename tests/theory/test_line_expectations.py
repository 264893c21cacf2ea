"""Expectations on a line against closed forms and against every path."""

import itertools

import numpy as np
import pytest
import scipy.integrate

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.line_expectations import (
    Interval,
    LineSum,
    sde_expectations,
    sgd_expectations,
)

FUNCTIONS = [lambda x: x, lambda x: x**3, np.cos]


@pytest.fixture
def quartic():
    """Gradients (x³ − x)/2 + 1 and 2(x³ − x) − 1, the first twice as likely."""

    def gradients(x):
        force = x**3 - x
        return np.stack([force / 2 + 1, 2 * force - 1])

    return LineSum(gradients, np.array([2 / 3, 1 / 3]))


def test_interpolation_and_derivative_of_polynomials():
    interval = Interval(-1.0, 3.0, 9)
    x = np.array([-1.0, 0.3, 2.9, *interval.points[3:5], 5.0])
    at = np.clip(x, -1, 3)
    values = interval.points**5 - 2 * interval.points
    np.testing.assert_allclose(interval.interpolation(x) @ values, at**5 - 2 * at, atol=1e-11)
    slopes = 5 * interval.points**4 - 2
    np.testing.assert_allclose(interval.derivative @ values, slopes, atol=1e-10)


def test_drift_and_diffusion_by_hand(quartic):
    assert quartic.drift(2.0) == pytest.approx(-(2 / 3 * 4 + 1 / 3 * 11))
    assert quartic.diffusion(2.0) == pytest.approx(2 / 9 * 7**2)  # p(1 − p)(4 − 11)²


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_sgd_by_all_of_its_paths(quartic, batch):
    kinds = [0, 0, 1]
    points = np.array([0.4])
    for _ in range(2):
        points = np.concatenate(
            [
                points - 0.1 * np.mean([quartic.gradients(points)[k] for k in draw], axis=0)
                for draw in itertools.product(kinds, repeat=batch)
            ]
        )
    expected = [f(points).mean() for f in FUNCTIONS]
    interval = Interval(-2.0, 2.0, 40)
    found = sgd_expectations(quartic, interval, FUNCTIONS, 0.4, 2, rate=0.1, batch=batch)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_equation_of_ornstein_and_uhlenbeck():
    linear = LineSum(lambda x: np.stack([x - 1, x + 1]), np.array([0.5, 0.5]))
    mean, variance = 0.5 * np.exp(-0.7), 0.1 * (1 - np.exp(-1.4))
    expected = [mean, mean**3 + 3 * mean * variance, np.exp(-variance / 2) * np.cos(mean)]
    interval = Interval(-3.0, 3.0, 60)
    found = sde_expectations(linear, interval, FUNCTIONS, 0.5, 0.7, temperature=0.1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_equation_of_a_double_well_goes_to_its_steady_state():
    """In one dimension and for constant D: exp(−f/(T D)), here D = 4 and T = 0.1."""
    wells = LineSum(lambda x: np.stack([x**3 - x - 2, x**3 - x + 2]), np.array([0.5, 0.5]))
    interval = Interval(-3.2, 3.2, 90)
    functions = [np.square, np.cos]
    found = sde_expectations(wells, interval, functions, 1.0, 60.0, temperature=0.1)

    def weight(x):
        return np.exp(-((x**2 - 1) ** 2) / 4 / 0.4)

    norm = scipy.integrate.quad(weight, -3.2, 3.2)[0]
    expected = [
        scipy.integrate.quad(lambda x, f=f: f(x) * weight(x), -3.2, 3.2)[0] / norm
        for f in functions
    ]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_no_noise_no_equation():
    still = LineSum(lambda x: np.stack([x, x]), np.array([0.5, 0.5]))
    with pytest.raises(LimitcyclesError, match="D vanishes"):
        sde_expectations(still, Interval(-1, 1, 9), FUNCTIONS, 0.0, 1.0, temperature=0.1)
