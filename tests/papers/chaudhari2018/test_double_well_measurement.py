"""Example 19 at small settings, against closed forms and quadrature."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401
from scipy import integrate

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.double_well import measure
from limitcycles.runtime.errors import LimitcyclesError

SETTINGS = settings_read("double-well", seed=1, cells=80, paths=3000, systems=3)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("double-well", SETTINGS)


def test_the_steady_density_and_its_rate(parts):
    steady = parts["steady"]
    assert (steady["l1_extrapolated"] < 0.1 * steady["l1"].isel(grid=-1) + 1e-12).all()
    coarse, fine = steady["l1"].sel(lam=1.5).values
    assert coarse / fine == pytest.approx(4, rel=0.1)  # second order
    # ½∫(x₁j₂ − x₂j₁)ρ by quadrature, with the j of the system's definition written out
    mass = integrate.quad(lambda x: np.exp(-((x**2 - 1) ** 2) / 4), -8, 8)[0] * np.sqrt(2 * np.pi)
    moment = integrate.quad(lambda r: r**3 * np.exp(-(r**4) / 4), 0, 9)[0] * np.pi
    exact = steady["lam"].values * moment / mass
    np.testing.assert_allclose(steady["rate_exact"], exact, rtol=1e-9, atol=0)
    np.testing.assert_allclose(steady["rate_grid"].isel(grid=-1), exact, rtol=3e-3, atol=1e-12)
    sigma = (steady["rate_high"] - steady["rate_low"]) / 4
    assert (abs(steady["rate"] - exact) < 5 * sigma).all()
    np.testing.assert_allclose(steady["shift"], [0, np.hypot(1 - 0.9024, 0.3888), 1], atol=1e-4)


def test_the_ring_has_the_rate_of_its_radial_law(parts):
    ring = parts["orbits"].sel(system="hopf_ring")
    weight = lambda r: r * np.exp(-(r**4) / 4 + r**2 / 2)  # noqa: E731
    square = integrate.quad(lambda r: r**2 * weight(r), 0, 8)[0] / integrate.quad(weight, 0, 8)[0]
    assert float(ring["rate_exact"]) == pytest.approx(square / 2, rel=1e-9)
    assert float(ring["rate_grid"]) == pytest.approx(square / 2, rel=1e-2)
    assert float(ring["rate_low"]) < square / 2 * 1.1
    assert float(ring["rate_high"]) > square / 2 * 0.9


def test_known_cycles_are_found_and_example_19_has_none(parts):
    orbits = parts["orbits"]
    for name in ("hopf_ring", "van_der_pol"):
        mine = orbits.sel(system=name)
        assert float(mine["on_closed"]) == 1
        assert float(mine["period"]) == pytest.approx(float(mine["known_period"]), rel=1e-8)
        assert int(mine["dulac"]) == 0
        assert float(mine["settled"]) == 1
    for name in ("lambda-0", "lambda-0.5", "lambda-1.5"):
        mine = orbits.sel(system=name)
        assert float(mine["on_closed"]) == float(mine["undecided"]) == 0
        assert int(mine["cycles"]) == int(mine["bands"]) == 0
        assert int(mine["dulac"]) == -1
        assert bool(mine["complete"])
    assert float(orbits.sel(system="lambda-1.5")["settled"]) == 0
    assert np.isnan(orbits.sel(system="lambda-0.5")["settled"])
    assert (parts["turns"]["relative"].sel(flow="lambda-1.5") < 0).all()
    ring = parts["turns"].sel(flow="hopf_ring")
    assert (ring["relative"].values[ring["s"] < 0.99] > 0).all()
    assert (ring["relative"].values[ring["s"] > 1.01] < 0).all()


def test_noise_and_temperature(parts):
    noise = parts["noise"]
    assert (noise["l1"].sel(temperature=1.0) < 5e-3).all()
    assert (noise["l1"].sel(lam=0) < 1e-6).all()  # a gradient system, at every temperature
    far = noise["l1"].sel(lam=[0.5, 1.5], temperature=0.2)
    np.testing.assert_allclose(far, [2 * 0.177, 2 * 0.278], atol=4e-3)  # twice ½∫|ρ − σ|
    assert (noise["from_wells"].sel(temperature=1.0) < 0.02).all()
    assert float(noise["from_attractors"].sel(lam=1.5, temperature=1.0)) == pytest.approx(
        1, abs=0.02
    )


def test_bifurcations(parts):
    points = parts["points"]
    focus, meeting = points.attrs["changes"]
    assert focus == pytest.approx(0.5109953, abs=1e-4)
    assert meeting == pytest.approx(np.exp(-0.25), abs=1e-4)
    assert (points["kind"].isel(point=0, sweep=-1)).item() == "centre"
    assert points["kind"].isel(sweep=0).values.tolist() == ["stable node", "saddle", "stable node"]


def test_pictures(parts):
    shown = parts["pictures"]
    potential = (shown["u"] ** 2 - 1) ** 2 / 4 + shown["v"] ** 2 / 2
    for lam in (0, 1.5):
        logs = shown["log_density"].sel(lam=lam, shown=1.0)
        np.testing.assert_allclose(logs, -potential + float((logs + potential).mean()), atol=0.03)
    end = shown[["orbit1", "orbit2"]].sel(orbit_lam=0.0).isel(start=0).dropna("step").isel(step=-1)
    assert abs(float(end["orbit1"])) == pytest.approx(1, abs=1e-4)


def test_equal_settings_give_equal_ensembles():
    system = measure.systems.double_well(0.5)
    first = measure.simulated_rate(system, 50, 7, 0.95)
    assert first == measure.simulated_rate(system, 50, 7, 0.95)
    assert first != measure.simulated_rate(system, 50, 8, 0.95)


@pytest.mark.parametrize("change", [{"cells": 40}, {"cells": 65}, {"paths": 100}, {"systems": 1}])
def test_too_small_settings_are_refused(change):
    with pytest.raises(LimitcyclesError, match="double-well needs"):
        measuring.of_theory("double-well", SETTINGS | change)
