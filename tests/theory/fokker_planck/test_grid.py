"""Grids: geometry, neighbours, densities, and what is refused."""

import numpy as np
import pytest

from limitcycles.theory.fokker_planck.grid import EdgeMassWarning, Grid, GridError


def test_geometry():
    grid = Grid((0, -1), (2, 1), (4, 8), (False, True))
    assert grid.shape == (4, 8)
    assert grid.size == 32
    np.testing.assert_allclose(grid.spacing, [0.5, 0.25])
    assert grid.volume == pytest.approx(0.125)
    assert grid.centres.shape == (32, 2)
    np.testing.assert_allclose(grid.centres[0], [0.25, -0.875])
    np.testing.assert_allclose(grid.centres[1], [0.25, -0.625])  # C order: y runs first
    np.testing.assert_allclose(grid.axes[0], [0.25, 0.75, 1.25, 1.75])


def test_one_value_stands_for_all_axes():
    assert Grid(-1, 1, (4, 6)).periodic == (False, False)
    assert Grid(0, 1, 10, True).shape == (10,)
    assert Grid((0, 0), 1, 8).high == (1.0, 1.0)


def test_neighbours_stop_at_walls_and_wrap_around():
    grid = Grid(0, 1, (4, 5), (False, True))
    tail, head = grid.neighbours((1, 2))
    pairs = {(int(a), int(b)) for a, b in zip(tail, head, strict=True)}
    expected = {(i * 5 + j, (i + 1) * 5 + (j + 2) % 5) for i in range(3) for j in range(5)}
    assert pairs == expected


def test_wrap():
    grid = Grid(0, (1, 2), (4, 4), (True, False))
    np.testing.assert_allclose(
        grid.wrap(np.array([[1.25, 2.5], [-0.25, 1.0]])), [[0.25, 2.5], [0.75, 1]]
    )


def test_normalise_and_density():
    grid = Grid(0, 2, 4)
    density = grid.normalise([1, 1, 2, 0])
    assert density.sum() * grid.volume == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(grid.density(density), density)
    with pytest.raises(GridError, match="mass of the density is 4"):
        grid.density([2, 2, 2, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, (4, 4, 4)), "one or two axes"),
        (((0, 0), (1, 1, 1), 4), "one or two axes"),
        ((0, 1, 3), "3 cells"),
        ((0, 1, 4.5), "whole numbers"),
        ((1, 1, 4), "must be below"),
        ((0, float("inf"), 4), "both finite"),
    ],
)
def test_bad_grids(arguments, message):
    with pytest.raises(GridError, match=message):
        Grid(*arguments)


@pytest.mark.parametrize(
    "values", [[1, 1, -1, 1], [0, 0, 0, 0], [1, np.nan, 1, 1], [1, np.inf, 1, 1]]
)
def test_bad_densities(values):
    with pytest.raises(GridError, match="finite and non-negative"):
        Grid(0, 1, 4).normalise(values)


def test_density_of_the_wrong_shape():
    with pytest.raises(GridError, match=r"shape \(3,\), the grid \(4,\)"):
        Grid(0, 1, 4).normalise([1, 1, 1])


def test_edge_mass_counts_sides_that_end():
    grid = Grid(0, 1, (4, 4), (True, False))
    density = np.zeros((4, 4))
    density[0] = 4  # the sides of the periodic axis do not count
    assert grid.edge_mass(density) == pytest.approx(0.25)
    with pytest.warns(EdgeMassWarning, match=r"hold 0\.25 of the mass"):
        grid.warn_about_edge(density, 0.2)
    grid.warn_about_edge(density, 0.3)
