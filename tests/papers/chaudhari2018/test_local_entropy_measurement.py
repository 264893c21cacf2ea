"""Local entropy at small settings, against closed forms and direct sums."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401
from scipy import integrate

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.local_entropy import measure
from limitcycles.runtime.errors import LimitcyclesError

SETTINGS = settings_read("local-entropy", cells=72)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("local-entropy", SETTINGS)


def test_smoothing_is_a_convolution_with_a_gaussian():
    axis = np.linspace(-8, 8, 161)
    h = axis[1] - axis[0]
    rho = np.exp(-((axis - 1) ** 2)) + 0.3 * np.exp(-2 * (axis + 3) ** 2)
    gamma = 0.7
    kernel = np.exp(-(np.subtract.outer(axis, axis) ** 2) / (2 * gamma)) / np.sqrt(
        2 * np.pi * gamma
    )
    np.testing.assert_allclose(measure.smoothed(rho, (h,), gamma), kernel @ rho * h, atol=1e-10)
    plane = np.exp(-np.add.outer(axis**2, 2 * (axis - 1) ** 2))
    both = kernel @ plane @ kernel.T * h * h
    np.testing.assert_allclose(measure.smoothed(plane, (h, h), gamma), both, atol=1e-10)
    assert measure.smoothed(rho, (h,), 0.0) is rho
    edge = np.where(axis > 7, 1.0, 0.0)  # nothing comes round to the other side
    assert measure.smoothed(edge, (h,), gamma)[:40].max() < 1e-12


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_exact_mass_by_quadrature(gamma):
    def side(low, high, ratio):
        def density(x):
            total = 0.0
            for k, centre in ((1.0, 6.0), (ratio, -6.0)):
                spread = 1 / k + gamma
                total += np.exp(-((x - centre) ** 2) / 2 / spread) / np.sqrt(k * spread)
            return total

        return integrate.quad(density, low, high, points=[-6, 6], limit=200)[0]

    expected = side(-20, 0, 8.0) / side(0, 20, 8.0)
    assert measure.exact_mass(8.0, gamma, 1) == pytest.approx(expected, rel=1e-8)


def test_masses_depths_and_slopes_of_two_wells(parts):
    wells = parts["wells"]
    np.testing.assert_allclose(wells["mass"], wells["mass_exact"], rtol=1e-3)
    np.testing.assert_allclose(wells["mass_barrier"], wells["mass_exact"], rtol=1e-2)
    r, g, d = wells["ratio"], wells["gamma"], wells["dimension"]
    exact = d / 2 * np.log((1 + r * g) / (1 + g))
    np.testing.assert_allclose(wells["depth"], exact.transpose(*wells["depth"].dims), atol=1e-4)
    assert float(wells["error"].sel(gamma=[0.1, 0.3, 1.0]).max()) < 1e-3
    for name in ("slope", "slope_exact"):
        assert (abs(wells[name] + d / 2) < 1e-3).all()
    assert (wells["slope_high"] < -0.4).all()
    assert (wells["slope_fixed_low"] < 0).all()
    assert (wells["slope_fixed_high"] > 0).all()
    assert (wells["power"] < 1e-2).all()
    assert (wells["exponential"] > 0.2).all()


def test_a_power_and_an_exponential_are_told_apart():
    ratios = np.array(measure.RATIOS)
    power, exponential = measure.deviations(-1.3 * np.log(ratios) + 2)
    assert power < 1e-12 < 0.1 < exponential
    power, exponential = measure.deviations(-0.2 * ratios + 2)
    assert exponential < 1e-12 < 0.1 < power


def test_the_saddle(parts):
    saddle = parts["saddle"]
    bare = saddle.sel(gamma=0.0)
    assert float(bare["value"]) == pytest.approx(0.25)
    assert float(bare["curvature"]) == pytest.approx(-1, abs=0.05)
    # the share of the box with Φ < 1/4, by quadrature over x₁
    width = integrate.quad(
        lambda x: np.sqrt(max(0.0, 2 * (0.25 - (x**2 - 1) ** 2 / 4))), 0, np.sqrt(2), limit=200
    )[0]
    assert float(bare["quantile"]) == pytest.approx(2 * 2 * width / 9, abs=0.03)
    assert float(saddle["quantile"].sel(gamma=1.0)) == 0
    assert float(saddle["curvature"].sel(gamma=1.0)) > 0
    assert (np.diff(saddle["quantile"]) <= 0).all()
    # f_γ at the origin, where the two coordinates factorise
    gamma = 0.3

    def first(x):
        return np.exp(-((x**2 - 1) ** 2) / 4 - x**2 / (2 * gamma)) / np.sqrt(2 * np.pi * gamma)

    exact = -np.log(integrate.quad(first, -6, 6)[0] / np.sqrt(1 + gamma))
    assert float(saddle["value"].sel(gamma=gamma)) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("cells", [40, 49])
def test_too_few_cells_are_refused(cells):
    with pytest.raises(LimitcyclesError, match="even number of cells"):
        measuring.of_theory("local-entropy", {"seed": 0, "cells": cells})
