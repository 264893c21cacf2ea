"""Steady states on a grid and on one half as fine, which tells the error of the first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limitcycles.fokker_planck import Generator, Grid, generator, steady_state
from limitcycles.systems import System

Box = Sequence[Sequence[float]]


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fine, steady(system, cells // 2, box)


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
