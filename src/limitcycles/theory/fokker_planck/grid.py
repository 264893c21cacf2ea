"""Uniform cell-centred grids in one and two dimensions, no-flux or periodic along each axis."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError

MASS_TOLERANCE = 1e-6  # of a density that is given: |Σρ·volume − 1|
EDGE_TOLERANCE = 1e-5  # mass in the outermost cells of one side: about that of the tail cut off


class GridError(LimitcyclesError):
    """A grid that cannot be made, or an array that does not fit one."""


class EdgeMassWarning(UserWarning):
    """The density has not decayed where the domain ends."""


@dataclass(frozen=True)
class Grid:
    """The box [low, high] cut into `cells` equal cells along each axis.

    `low`, `high`, `cells` and `periodic` are one value per axis; a single number or bool stands
    for all axes that the others name. Nothing flows through a side of an axis that is not periodic.
    Arrays over the grid have shape `shape`, in C order with the first coordinate first; a density
    is given by its values at the centres, in units of 1/volume, and its mass is Σρ·volume.

    Raises GridError: neither one nor two axes, fewer than four cells along one, low not below high.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    cells: tuple[int, ...]
    periodic: tuple[bool, ...] = (False,)

    def __post_init__(self):
        given = (self.low, self.high, self.cells, self.periodic)
        values = [np.atleast_1d(np.asarray(value)) for value in given]
        d = max(len(value) for value in values)
        if d not in (1, 2) or any(value.ndim > 1 or len(value) not in (1, d) for value in values):
            raise GridError(
                f"a grid has one or two axes, with as many of low, high, cells and periodic, not "
                f"{[value.shape for value in values]}"
            )
        types = {"low": float, "high": float, "cells": int, "periodic": bool}
        for (name, kind), value in zip(types.items(), values, strict=True):
            axes = tuple(kind(v) for v in np.broadcast_to(value, d))
            if kind is int and axes != tuple(np.broadcast_to(value, d)):
                raise GridError(f"grid: cells must be whole numbers, not {value}")
            object.__setattr__(self, name, axes)
        for low, high, cells in zip(self.low, self.high, self.cells, strict=True):
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise GridError(f"grid: low {low} must be below high {high}, both finite")
            if cells < 4:
                raise GridError(f"grid: {cells} cells along an axis; at least 4 are needed")

    @property
    def dimension(self) -> int:
        return len(self.cells)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cells

    @property
    def size(self) -> int:
        return int(np.prod(self.cells))

    @property
    def spacing(self) -> np.ndarray:
        """Width of a cell along each axis, shape (d,)."""
        return (np.array(self.high) - self.low) / self.cells

    @property
    def volume(self) -> float:
        """Length or area of one cell."""
        return float(np.prod(self.spacing))

    @cached_property
    def axes(self) -> tuple[np.ndarray, ...]:
        """The coordinates of the centres along each axis."""
        return tuple(
            low + (np.arange(cells) + 0.5) * h
            for low, cells, h in zip(self.low, self.cells, self.spacing, strict=True)
        )

    @cached_property
    def centres(self) -> np.ndarray:
        """Shape (size, d), in the order of a flattened array over the grid."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(self.size, -1)

    def wrap(self, points: np.ndarray) -> np.ndarray:
        """The same points, brought back into the box along periodic axes."""
        low, width = np.array(self.low), np.array(self.high) - self.low
        return np.where(self.periodic, low + np.mod(points - low, width), points)

    def neighbours(self, offset) -> tuple[np.ndarray, np.ndarray]:
        """Flat indices (tail, head) of all pairs of cells with head = tail + offset in the grid."""
        tails, heads = [], []
        for size, step, periodic in zip(self.cells, offset, self.periodic, strict=True):
            tail = np.arange(size)
            head = tail + step
            if periodic:
                head %= size
            else:
                inside = (head >= 0) & (head < size)
                tail, head = tail[inside], head[inside]
            tails.append(tail)
            heads.append(head)
        index = np.arange(self.size).reshape(self.shape)
        return index[np.ix_(*tails)].ravel(), index[np.ix_(*heads)].ravel()

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """A density ∝ values. Raises GridError: wrong shape, negative, not finite, all zero."""
        values = self._array(values, "density")
        total = values.sum() * self.volume
        if not (np.isfinite(total) and values.min() >= 0 and total > 0):
            raise GridError(
                f"a density must be finite and non-negative with a positive mass: its minimum is "
                f"{values.min():.3g} and its mass {total:.3g}"
            )
        return values / total

    def density(self, values: np.ndarray) -> np.ndarray:
        """`values` checked as a density of mass 1. Raises GridError: it is none."""
        checked = self.normalise(values)
        mass = float(np.sum(values) * self.volume)
        if abs(mass - 1) > MASS_TOLERANCE:
            raise GridError(f"the mass of the density is {mass:.9g}, not 1: use grid.normalise")
        return checked

    def _array(self, values, what: str) -> np.ndarray:
        arguments.check_filled(f"the {what}", values, GridError)
        values = np.asarray(values, dtype=np.float64)
        if values.shape != self.shape:
            raise GridError(f"the {what} has shape {values.shape}, the grid {self.shape}")
        return values

    def edge_mass(self, density: np.ndarray) -> float:
        """Largest mass in the outermost cells at one side that is not periodic."""
        masses = [0.0]
        for axis, periodic in enumerate(self.periodic):
            if not periodic:
                along = np.moveaxis(density, axis, 0)
                masses += [along[0].sum() * self.volume, along[-1].sum() * self.volume]
        return float(max(masses))

    def warn_about_edge(self, density: np.ndarray, tolerance: float) -> None:
        """EdgeMassWarning where a side holds more than `tolerance` in its outermost cells."""
        mass = self.edge_mass(density)
        if mass > tolerance:
            warnings.warn(
                f"the outermost cells at one side hold {mass:.3g} of the mass (tolerance "
                f"{tolerance:g}): the domain {self.low} to {self.high} is too small for this "
                "density; enlarge it, or raise edge_tolerance if it ends in a real wall",
                EdgeMassWarning,
                stacklevel=3,
            )
