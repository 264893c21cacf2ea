"""Richardson's extrapolation of densities from a grid and one half as fine: fourth order.

It is log ρ that is extrapolated, so that the result is positive: log ρ = (4 log ρ_h − log ρ_2h)/3.
Between the centres of the two grids log ρ is interpolated by polynomials of degree five.
"""

from __future__ import annotations

import numpy as np

from limitcycles.theory.fokker_planck.grid import Grid

NODES = 6  # of the interpolation
MOST = 1 / 3  # that log ρ is changed by at most, in far tails
RESOLVED = 1.0  # change of log ρ from the mean of a coarser cell to its centre
LEAST = 12  # cells along an axis


def half(grid: Grid) -> Grid | None:
    """The grid with half as many cells along each axis; None: they are odd or too few."""
    if any(cells % 2 or cells < LEAST for cells in grid.cells):
        return None
    return Grid(grid.low, grid.high, tuple(cells // 2 for cells in grid.cells), grid.periodic)


def extrapolated(grid: Grid, fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """The density from those on `grid` and on `half(grid)`, of mass 1."""
    logs = _logs(coarse)
    for axis, periodic in enumerate(grid.periodic):
        cells = grid.cells[axis]
        positions = (np.arange(cells) - 0.5) / 2  # of the fine centres, in coarse cells
        logs = _along(_interpolation(cells // 2, positions, periodic), logs, axis)
    correction = (_logs(fine) - logs) / 3
    return grid.normalise(fine * np.exp(np.clip(correction, -MOST, MOST)))


def restricted(grid: Grid, density: np.ndarray) -> tuple[np.ndarray, float]:
    """The density at the centres of `half(grid)`, and the mass in cells where it is not resolved.

    These are cells where the interpolated value differs from the mean of the four (two) finer cells
    by more than a factor e; there it is the mean times at most that factor.
    """
    logs, mean = _logs(density), density
    for axis, periodic in enumerate(grid.periodic):
        cells = grid.cells[axis]
        positions = 2 * np.arange(cells // 2) + 0.5  # of the coarse centres, in fine cells
        logs = _along(_interpolation(cells, positions, periodic), logs, axis)
        mean = _along(np.kron(np.eye(cells // 2), [[0.5, 0.5]]), mean, axis)
    correction = logs - _logs(mean)
    result = mean * np.exp(np.clip(correction, -RESOLVED, RESOLVED))
    coarse = half(grid)
    return coarse.normalise(result), float(
        mean[np.abs(correction) > RESOLVED].sum() * coarse.volume
    )


def _logs(density: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(density, np.finfo(np.float64).tiny))


def _along(matrix: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def _interpolation(cells: int, positions: np.ndarray, periodic: bool) -> np.ndarray:
    """Values at `positions` from those at 0, 1 … cells − 1, shape (len(positions), cells)."""
    first = np.floor(positions).astype(int) - (NODES // 2 - 1)
    if not periodic:
        first = np.clip(first, 0, cells - NODES)
    nodes = first[:, None] + np.arange(NODES)
    matrix = np.zeros((len(positions), cells))
    for k in range(NODES):
        others = np.delete(nodes, k, axis=1)
        weights = np.prod((positions[:, None] - others) / (nodes[:, [k]] - others), axis=1)
        matrix[np.arange(len(positions)), nodes[:, k] % cells] += weights
    return matrix
