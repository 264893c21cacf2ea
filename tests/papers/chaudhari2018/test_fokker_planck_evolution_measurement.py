"""Ensembles against (FP) on small settings, and the closed form that serves as control."""

import numpy as np
import pytest
import scipy.linalg
from helpers import one_thread, settings_read  # noqa: F401
from scipy import stats

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.fokker_planck_evolution import measure
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory import systems

# The smallest grids do for what is tested here.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the cell P.clet number:UserWarning", "ignore:the outermost cells:UserWarning"
)

SETTINGS = settings_read("fokker-planck-evolution", seed=1, cells=64, paths=6000)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("fokker-planck-evolution", SETTINGS)


def test_every_system_has_its_numbers(parts):
    found = parts["ensembles"]
    assert dict(found.sizes) == {"system": 5, "time": 4, "bin": 32}
    varying = [name.startswith("varying") for name in found["system"].values]
    for name in found:
        rows = np.isfinite(found[name].values).reshape(5, -1)
        expected = varying if name.startswith("stratonovich") else [True] * 5
        np.testing.assert_array_equal(rows.all(1), expected)
        np.testing.assert_array_equal(rows.any(1), expected)
    assert (found["envelope_of_all"] > found["envelope"]).all()
    width = np.diff(found["x"])[:, :1, None]
    for name in ("sampled", "solved"):
        mass = (found[name].transpose("system", "bin", "time") * width).sum("bin")
        np.testing.assert_allclose(mass, 1, atol=0.02)


def test_the_equation_holds_and_the_other_reading_does_not(parts):
    found = parts["ensembles"]
    assert (found["distance"] < 1.15 * found["envelope"]).all()
    assert (parts["control"]["distance"] < 1.15 * parts["control"]["envelope"]).all()
    wrong = (found["stratonovich_distance"] / found["envelope"]).isel(time=-1).dropna("system")
    assert (wrong > 1.15).all()
    assert (found["grid_error"] < 0.5 * found["envelope"]).all()


def test_equal_settings_give_equal_numbers(parts):
    few = SETTINGS | {"paths": 1000, "cells": 32}
    first, again = measure.measure(few), measure.measure(few)
    other = measure.measure(few | {"seed": 2})
    assert all(again[name].identical(first[name]) for name in parts)
    assert not np.array_equal(other["ensembles"]["distance"], first["ensembles"]["distance"])


def test_masses_of_the_linear_control():
    """Against a quadrature of the bivariate Gaussian from the matrix exponential."""
    system, time = systems.rotational_ou(2, temperature=measure.HEAT), 0.4
    edges = [np.linspace(-1, 1, 5), np.linspace(-1.5, 0.5, 3)]
    found = measure.gaussian_masses(system, time, edges)
    decay = scipy.linalg.expm(-np.array([[1.0, 2.0], [-2.0, 1.0]]) * time)
    share = np.exp(-2 * time)
    variance = share * measure.DEVIATION**2 + measure.HEAT * (1 - share)
    law = stats.multivariate_normal(decay @ measure.START, variance * np.eye(2))
    for i in range(4):
        for k in range(2):
            low, high = (edges[0][i], edges[1][k]), (edges[0][i + 1], edges[1][k + 1])
            assert found[i, k] == pytest.approx(law.cdf(high, lower_limit=low), abs=1e-6)


def test_cells_of_a_histogram_are_unions_of_cells_of_the_grid():
    rng = np.random.default_rng(0)
    for system in (systems.multiplicative_noise(), systems.rotating_wells(1)):
        grid, edges, bins = measure._cells(system, 64)
        densities = rng.random((2, *grid.shape))
        points = grid.centres, densities[1].ravel() * grid.volume
        for cut in (edges, bins):
            expected, _ = np.histogramdd(points[0], cut, weights=points[1])
            found = measure._merged(densities, cut, grid)[1]
            np.testing.assert_allclose(found, expected.ravel(), rtol=1e-9)


def test_fewer_paths_take_longer_steps():
    assert measure.time_step(100_000) == 0.0025
    assert measure.time_step(1_000_000) < 0.001
    assert measure.time_step(1000) == measure.time_step(20_000) == 0.005


def test_too_few_cells():
    with pytest.raises(LimitcyclesError, match="at least 32 cells, not 20"):
        measure.measure(SETTINGS | {"cells": 20})
