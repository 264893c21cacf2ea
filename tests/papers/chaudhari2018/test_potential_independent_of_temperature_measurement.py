"""Potentials and shifts at several temperatures against closed forms."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.papers.chaudhari2018.potential_independent_of_temperature import measure
from limitcycles.theory import refinement, systems

SETTINGS = settings_read("potential-independent-of-temperature", cells=64)


@pytest.fixture(scope="module")
def potentials():
    with pytest.MonkeyPatch.context() as patch:
        few = {name: measure.POTENTIALS[name] for name in ("linear", "rotational", "control")}
        patch.setattr(measure, "POTENTIALS", few)
        yield measure._potentials(64)


@pytest.fixture(scope="module")
def shifts():
    with pytest.MonkeyPatch.context() as patch:
        few = {name: measure.SHIFTS[name] for name in ("constant", "line", "still")}
        patch.setattr(measure, "SHIFTS", few)
        yield measure._shifts(64, measure.SHIFT_TEMPERATURES)


def test_temperatures_span_two_decades():
    T = measure.TEMPERATURES
    assert T[-1] / T[0] == pytest.approx(100)
    np.testing.assert_allclose(T[measure.DECADE :] / T[: -measure.DECADE], 10)
    assert measure.SHIFT_TEMPERATURES[-1] / measure.SHIFT_TEMPERATURES[0] == pytest.approx(10)


def test_a_potential_that_keeps_its_shape_and_one_that_does_not(potentials):
    """D = I/(1 + f): Φ(10T) − Φ(T) = −9T log(1 + f), here over a grid of points of its own."""
    assert float(potentials["difference"].sel(system="linear").max()) < 1e-3
    assert float(potentials["difference"].sel(system="rotational").max()) < 0.02
    assert float(potentials["linear_difference"].max()) < 1e-12
    x, y = np.meshgrid(np.linspace(-3, 3, 601), np.linspace(-4, 4, 801), indexing="ij")
    f = (x**2 - 1) ** 2 / 4 + y**2 / 2
    for k, T in enumerate(potentials["colder"].values):
        phi = f + f**2 / 2 - T * np.log(1 + f)
        inside = phi - phi.min() <= T * np.log(1e4)
        expected = np.std(9 * T * np.log(1 + f)[inside]) / np.std(phi[inside])
        assert float(potentials["closed_difference"][k]) == pytest.approx(expected, rel=0.03)
        found = float(potentials["difference"].sel(system="control")[k])
        assert found == pytest.approx(expected, rel=0.03)


def test_errors_are_those_of_the_grid(potentials):
    mine = potentials.sel(system="rotational")
    assert (mine["difference"] <= mine["error"]).all()  # the true difference is zero
    assert potentials["constant"].values.tolist() == [1, 1, 0]
    assert potentials["divergence_free"].values.tolist() == [1, 1, 1]


def test_profiles_are_sections_of_the_potential(potentials):
    x = potentials["x"].values
    for profile in potentials["profile"].sel(system="rotational").values:
        there = np.isfinite(profile)
        assert there.sum() > 20
        np.testing.assert_allclose(profile[there], ((x**2 - 1) ** 2 / 4)[there], atol=0.05)


def test_shifts_in_closed_form(shifts):
    """One dimension: the mode −αT/(1 + 2κT); D = I: none."""
    T = shifts["temperature"].values
    line = shifts.sel(system="line")
    np.testing.assert_allclose(line["distance"], 0.5 * T / (1 + 0.2 * T), rtol=1e-4)
    np.testing.assert_allclose(line["predicted"], 0.5 * T / (1 + 0.2 * T), rtol=1e-12)
    still = shifts.sel(system="still")
    assert (still["distance"] < still["error"]).all()
    assert (still["predicted"] == 0).all()
    assert float(still["force"].max()) < 0.02


def test_a_constant_tensor_shifts_modes_in_proportion_to_small_temperatures(shifts):
    mine = shifts.sel(system="constant")
    assert (mine["distance"] > 3 * mine["error"]).all()
    assert float(mine["distance"][0] / mine["predicted"][0]) == pytest.approx(1, abs=0.1)
    assert float(mine["force"].min()) > 0.15


def test_sharpened_modes_are_those_of_a_known_density():
    """Of exp(−(x − a)²/2 − (x − a)³/10 − …) within 1e-6; parabolas are off by h²."""
    grid = refinement.Grid((-3.0, -3.0), (3.0, 3.0), (40, 40))
    x, y = np.meshgrid(*grid.axes, indexing="ij")
    u, v = x - 0.2345, y + 0.3141
    density = grid.normalise(np.exp(-(u**2) / 2 - u**3 / 10 - u * v / 3 - v**2 - v**4 / 20))
    (start, *_), _ = refinement.analysis.modes(grid, density)
    found = refinement.sharpened(grid, density, start)
    np.testing.assert_allclose(found, [0.2345, -0.3141], atol=1e-6)
    assert np.abs(start - found).max() > 1e-5
    line = refinement.Grid(-3.0, 3.0, 60)
    density = line.normalise(np.exp(-((line.axes[0] - 0.5) ** 2) * (1 + line.axes[0] / 9)))
    (start, *_), _ = refinement.analysis.modes(line, density)
    assert refinement.sharpened(line, density, start) == pytest.approx([0.5], abs=1e-8)


def test_fitted_boxes_hold_the_density():
    system = systems.rotating_wells(temperature=0.1)
    (left, right), (low, high) = refinement.fitted(system, measure.start_box(0.1))
    points = np.array([[x, 0.0] for x in (left, right)] + [[0.0, y] for y in (low, high)])
    assert (system.potential(points) > 0.1 * 9).all()  # Φ ≥ 9 T at the sides
    assert -2.6 < left < -1.5
    assert 1.0 < high < 3.0


def test_the_study_rounds_the_cells(monkeypatch):
    seen = []
    monkeypatch.setattr(measure, "_potentials", lambda cells: seen.append(cells))
    monkeypatch.setattr(measure, "_shifts", lambda cells, temperatures: seen.append(cells))
    for cells in (66, 96, 256, 512):
        measure.measure(SETTINGS | {"cells": cells})
    assert seen[::3] == [64, 96, 128, 256]
