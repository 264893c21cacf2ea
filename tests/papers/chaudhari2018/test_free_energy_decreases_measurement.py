"""Free energies on small grids against Gaussians, quadrature and each other."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.free_energy_decreases import measure
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.fokker_planck import Grid, generator

SETTINGS = settings_read("free-energy-decreases", cells=64)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("free-energy-decreases", SETTINGS)


def run(parts, system, cells=64):
    return parts["steps"].sel(system=system, cells=cells).dropna("step", subset=["time"])


def test_every_system_has_its_numbers(parts):
    steps = parts["steps"]
    assert list(steps["cells"].values) == [16, 32, 64]
    without_loss = {"example-19", "rotation-varying"}
    for name in steps["system"].values:
        mine = run(parts, name)
        for key in steps.data_vars:
            missing = key == "loss_energy" and name in without_loss
            assert bool(mine[key].isnull().any()) == missing, (name, key)
        assert mine["time"][-1] == measure.END
    isotropic = dict(zip(steps["system"].values, steps["isotropic"].values, strict=True))
    assert [name for name, yes in isotropic.items() if not yes] == [
        "linear",
        "varying-diagonal",
        "varying-tensor",
    ]


def test_the_closed_form_of_a_gaussian(parts):
    """F, E[Φ] and H of N(m, C) against an integral over its density, at the start."""
    gaussian = parts["gaussian"].isel(step=0)
    U = np.linalg.inv(
        scipy.linalg.solve_continuous_lyapunov([[2, 1], [1, 2]], 2 * np.diag([1.0, 3.0]))
    )

    def integral(value):
        def inside(y, x):
            z = np.array([x, y])
            away = (z - measure.START) / measure.DEVIATION
            rho = np.exp(-away @ away / 2) / (2 * np.pi * measure.DEVIATION**2)
            return rho * value(z, np.log(rho))

        reach = 7 * measure.DEVIATION
        (a, b), options = measure.START, {"epsabs": 1e-8}
        return scipy.integrate.dblquad(
            inside, a - reach, a + reach, b - reach, b + reach, **options
        )[0]

    constant = np.log(np.sqrt(np.linalg.det(U)) / (2 * np.pi))
    assert gaussian["energy"] == pytest.approx(integral(lambda z, _: z @ U @ z / 2), rel=1e-6)
    assert gaussian["entropy"] == pytest.approx(integral(lambda _, log: -log), rel=1e-6)
    kl = integral(lambda z, log: log - constant + z @ U @ z / 2)
    assert gaussian["free_energy"] == pytest.approx(kl, rel=1e-6)
    assert gaussian["sum_free_energy"] == pytest.approx(kl, rel=1e-6)


def test_the_solver_follows_the_closed_form(parts):
    errors = [
        abs(float(run(parts, "linear", n)["free_energy"][0] - parts["gaussian"]["free_energy"][0]))
        for n in (16, 32, 64)
    ]
    assert errors[-1] < 2e-3
    mine = run(parts, "linear")
    np.testing.assert_allclose(
        mine["free_energy"], parts["gaussian"]["free_energy"], atol=5e-3, rtol=0
    )
    np.testing.assert_allclose(mine["entropy"], parts["gaussian"]["entropy"], atol=0.02, rtol=0)


def test_free_energy_falls_and_what_is_not_steady_does_not_end_at_zero(parts):
    for name in parts["steps"]["system"].values:
        mine = run(parts, name)
        assert (mine["free_energy"].diff("step") < 0).all()
        assert mine["free_energy"][-1] < 1e-9 * mine["free_energy"][0]
        assert mine["shifted_free_energy"][-1] > 0.1
        split = mine["free_energy"] - mine["energy"] + mine["entropy"]
        assert np.ptp(split.values) < 1e-12


def test_the_rate_is_the_slope_of_the_free_energy(parts):
    """−dF/dt integrated over the steps gives back F; Fisher information is near it."""
    mine = run(parts, "varying-tensor")
    time, rate = mine["time"].values, mine["rate"].values
    lost = np.trapezoid(rate, time)
    assert lost == pytest.approx(float(mine["free_energy"][0]), rel=0.02)
    np.testing.assert_allclose(mine["fisher"], rate, atol=0.02 * rate.max())


def test_dissipation_of_a_gaussian_on_the_line():
    """N(m, 1) under OU has F = T m²/2 for T = 1, so −dF/dt = m²."""
    grid = Grid(-9, 9, 900)
    made = generator(grid, lambda x: -x)
    steady, density = (
        grid.normalise(np.exp(-((grid.axes[0] - mean) ** 2) / 2)) for mean in (0.0, 1.5)
    )
    found = measure.dissipation(made, density, steady)
    assert found["rate"] == pytest.approx(2.25, rel=1e-3)
    assert found["fisher"] == pytest.approx(2.25, rel=1e-3)


def test_too_few_cells():
    with pytest.raises(LimitcyclesError, match="at least 64 cells, not 48"):
        measure.measure(SETTINGS | {"cells": 48})
