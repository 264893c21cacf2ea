"""Steady states on a grid and on one half as fine, which tells the error of the first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RectBivariateSpline, make_interp_spline
from scipy.optimize import root

from limitcycles.theory.fokker_planck import Generator, Grid, analysis, generator, steady_state
from limitcycles.theory.systems import System

Box = Sequence[Sequence[float]]
WINDOW = 6  # cells to each side of a mode through which its spline goes


@dataclass(frozen=True)
class Steady:
    """The steady density ρ, mass 1, of a system on a grid."""

    generator: Generator
    density: np.ndarray

    @property
    def grid(self) -> Grid:
        return self.generator.grid

    @property
    def points(self) -> np.ndarray:
        """The centres, (*shape, d)."""
        return self.grid.centres.reshape(*self.grid.shape, -1)

    @property
    def weights(self) -> np.ndarray:
        """The probability of each cell; they sum to 1."""
        return self.density * self.grid.volume


def made(system: System, cells: int, box: Box | None = None) -> Generator:
    """The generator of `system` on `cells` cells along each side of the box (its own, if None)."""
    low, high = np.array(system.box if box is None else box, dtype=float).T
    grid = Grid(tuple(low), tuple(high), (cells,) * len(low))
    return generator(grid, system.drift, system.diffusion, system.temperature)


def steady(system: System, cells: int, box: Box | None = None) -> Steady:
    """Its steady state; errors and warnings as `fokker_planck.steady_state`."""
    built = made(system, cells, box)
    return Steady(built, steady_state(built))


def pair(system: System, cells: int, box: Box | None = None) -> tuple[Steady, Steady]:
    """Its steady states on `cells` cells a side and on half as many; warnings of the finer one."""
    fine = steady(system, cells, box)
    with quiet():
        return fine, steady(system, cells // 2, box)


@contextmanager
def quiet():
    """Without warnings: for grids that only tell the error of a finer one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def error(fine, coarse):
    """Bound of the error of numbers on the finer of two grids, whose spacings differ by 2.

    Their difference, which is the error at first order and three times it at second.
    """
    return np.abs(np.asarray(fine) - np.asarray(coarse))


def widened(box: Box, factor: float) -> Box:
    """The box with its sides `factor` times as long, about the same middle."""
    middles = [(low + high) / 2 for low, high in box]
    halves = [factor * (high - low) / 2 for low, high in box]
    return tuple((m - h, m + h) for m, h in zip(middles, halves, strict=True))


def fitted(system: System, box: Box, cells: int = 48, tail: float = 1e-7) -> Box:
    """A box within `box` beyond whose sides at most `tail` of the mass lies, and some room.

    From a steady state on `cells` cells a side of `box`, whose own errors do not matter here.
    """
    with quiet():
        found = steady(system, cells, box)
    sides = []
    for k, axis in enumerate(found.grid.axes):
        others = tuple(i for i in range(found.grid.dimension) if i != k)
        mass = np.cumsum(found.weights.sum(axis=others))
        low, high = axis[np.searchsorted(mass, [tail, 1 - tail]).clip(0, cells - 1)]
        room = 0.15 * (high - low)
        sides.append((max(low - room, box[k][0]), min(high + room, box[k][1])))
    return tuple(sides)


def sharpened(grid: Grid, density: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """A mode (d,) of a smooth density, from the quintic spline through log ρ around it.

    To the order of the spline; `analysis.modes`, where `mode` comes from, is of second order.
    """
    logs = -analysis.potential(density, 1.0)
    windows = [
        slice(max(i - WINDOW, 0), i + WINDOW + 1)
        for i in (int(np.argmin(np.abs(axis - x))) for axis, x in zip(grid.axes, mode, strict=True))
    ]
    axes = [axis[window] for axis, window in zip(grid.axes, windows, strict=True)]
    if grid.dimension == 1:
        slope = make_interp_spline(axes[0], logs[windows[0]], k=5).derivative()
        return root(slope, mode).x
    spline = RectBivariateSpline(*axes, logs[tuple(windows)], kx=5, ky=5)
    return root(lambda x: [float(spline.ev(*x, dx=1)), float(spline.ev(*x, dy=1))], mode).x
