"""Ensembles of dx = b dt + √(2 T D) dW (Itô) against the solution of (FP), as histograms.

The ensemble knows nothing of the grid, and the solver nothing of paths. Cells of the histograms
are unions of cells of the grid, so that masses are compared with masses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import linear_theory, systems
from limitcycles.theory.fokker_planck import Grid, evolve, generator
from limitcycles.theory.langevin import (
    HistogramDistances,
    cell_shares,
    histogram_distances,
    langevin_ensemble,
)
from limitcycles.theory.systems import System

READS = ("theory.seed", "theory.cells", "theory.paths", "rule.level")

TIMES = (0.1, 0.2, 0.4, 0.8)  # intervals are multiples of all time steps
STEP, STEP_PATHS = 0.0025, 100_000  # with fewer paths a longer step hides in their noise as well
LONGEST_STEP = 0.005
COARSER = 4  # times as long are the steps that show what the time step does
MOST_CELLS = 128  # along a side: the error of the grid is then far below the envelope
TOLERANCE = 1e-5  # of a step of the solver, in total variation
PER_SIDE = 16  # cells of a histogram along each axis of the plane
BINS = 2 * PER_SIDE  # of a marginal density along x₁
LINE = 8  # cells on the line for each along a side of the plane
BOX = ((-3.2, 3.2), (-5.0, 5.0))  # of the wells
START, DEVIATION = (0.8, -0.8), 0.5  # of the Gaussian at time 0, the same along all axes
HEAT = 0.5  # of the wells


def arms() -> dict[str, System]:
    """The systems by the name of their arm."""
    wells, heat = systems.gradient_double_well, {"temperature": HEAT}
    return {
        "wells": wells("isotropic", **heat),
        "rotation": systems.rotating_wells(1, **heat),
        "varying-line": systems.multiplicative_noise(),
        "varying-isotropic": wells("varying isotropic", **heat),
        "varying-tensor": wells("varying tensor", **heat),
    }


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """`settings.paths` paths of each system from one Gaussian; grids of at most `settings.cells`.

    Part `ensembles`, by (system, time), time without unit: L1 distances Σ_cells |share − mass| of
    the Itô ensemble (`distance`), of one that saw the same Brownian paths with four times the time
    step (`coarse_distance`) and of the Stratonovich reading with that step, NaN for constant D
    (`stratonovich_distance`); the `envelope` at the level of the rule, shared over the
    times, and over times and systems (`envelope_of_all`). Two errors, as L1 distances:
    `grid_error`, a third of that of the masses to those of the grid half as fine, and `step_error`
    of the time step, of first order: the excess of the coarse distance in quadrature,
    √((coarse² − distance²)/15), 0 if negative.

    By (system, time, bin): densities along x₁ (1/length) at `x` (system, bin), of the ensembles
    (`sampled`, `stratonovich`) and of (FP) (`solved`).

    Part `control`, by time: `distance` and `envelope` of an Ornstein–Uhlenbeck ensemble against its
    closed form, and `solver_distance`, that of the masses of the grid to the closed form.

    Raises LimitcyclesError: fewer than 32 cells.
    """
    paths, seed, level = settings["paths"], settings["seed"], settings["level"]
    cells = min(MOST_CELLS, settings["cells"] // BINS * BINS)
    if not cells:
        raise LimitcyclesError(
            "the claim fokker-planck-evolution needs "
            f"at least {BINS} cells, not {settings['cells']}"
        )
    chosen = arms()
    step = time_step(paths)
    bar = track(total=len(chosen) + 1, unit="system", what="ensembles against (FP)")
    found = []
    for name, system in chosen.items():
        ensemble = _Ensemble(system, paths, step, stream(seed, f"evolution of {name}"))
        found.append(_one(ensemble, cells, level, len(chosen)))
        bar.update()
    linear = systems.rotational_ou(2, temperature=HEAT)
    seed = stream(seed, "evolution of a linear system")
    control = _control(_Ensemble(linear, paths, step, seed), cells, level)
    bar.update()
    bar.close()
    attrs = {
        "paths": paths,
        "cells": cells,
        "time_step": step,
        "coarser": COARSER,
        "level": level,
        "histogram_cells": PER_SIDE**2,
    }
    coords = {"system": list(chosen), "time": list(TIMES)}
    dims = {1: ("system", "time"), 2: ("system", "time", "bin")}
    variables = {
        key: (
            ("system", "bin") if key == "x" else dims[values.ndim],
            np.stack([each[key] for each in found]),
        )
        for key, values in found[0].items()
    }
    times = {"time": list(TIMES)}
    return {
        "ensembles": xr.Dataset(variables, coords, attrs),
        "control": xr.Dataset({k: ("time", v) for k, v in control.items()}, times, attrs),
    }


def time_step(paths: int) -> float:
    """Halved until its error, of first order, is as small against the noise as at STEP_PATHS."""
    wanted = STEP * np.sqrt(STEP_PATHS / paths)
    return LONGEST_STEP / 2 ** max(0, int(np.ceil(np.log2(LONGEST_STEP / wanted) - 1e-9)))


@dataclass(frozen=True)
class _Ensemble:
    """Paths of a system from the Gaussian at time 0."""

    system: System
    paths: int
    step: float
    seed: int

    def points(self, **options) -> np.ndarray:
        """At TIMES, shape (times, paths, d); `options` of `langevin_ensemble`."""
        d = self.system.dimension
        rng = np.random.default_rng(self.seed)
        start = START[:d] + DEVIATION * rng.standard_normal((self.paths, d))
        noise = self.system.diffusion
        return langevin_ensemble(
            self.system.drift,
            noise(np.zeros(d)) if self.system.constant_diffusion else noise,
            start,
            TIMES,
            temperature=self.system.temperature,
            seed=self.seed + 1,
            **({"step": self.step} | options),
        )

    def judged(self, shares: np.ndarray, masses: np.ndarray, level: float) -> HistogramDistances:
        return histogram_distances(
            shares, masses, paths=self.paths, seed=self.seed + 2, level=level
        )


def _one(ensemble: _Ensemble, cells: int, level: float, systems: int) -> dict[str, np.ndarray]:
    system = ensemble.system
    grid, edges, bins = _cells(system, cells)
    half = _cells(system, cells // 2)[0]
    densities = _solve(system, grid)
    masses, along = _merged(densities, edges, grid), _merged(densities, bins, grid)
    halved = _merged(_solve(system, half), edges, half)
    points = ensemble.points()
    shares = _shares(points, edges)
    long = COARSER * ensemble.step
    coarse = _distance(_shares(ensemble.points(step=long, substeps=COARSER), edges), masses)
    judged = ensemble.judged(shares, masses, level)
    excess = np.maximum(coarse**2 - judged.distance**2, 0)
    width = np.diff(bins[0])
    result = {
        "distance": judged.distance,
        "envelope": judged.envelope,
        "envelope_of_all": ensemble.judged(shares, masses, level ** (1 / systems)).envelope,
        "coarse_distance": coarse,
        "step_error": np.sqrt(excess / (COARSER**2 - 1)),
        "grid_error": _distance(halved, masses) / 3,
        "stratonovich_distance": np.full(len(TIMES), np.nan),
        "x": (bins[0][1:] + bins[0][:-1]) / 2,
        "solved": along / width,
        "sampled": _shares(points, bins) / width,
        "stratonovich": np.full((len(TIMES), BINS), np.nan),
    }
    if not system.constant_diffusion:
        points = ensemble.points(step=long, reading="stratonovich")
        result["stratonovich_distance"] = _distance(_shares(points, edges), masses)
        result["stratonovich"] = _shares(points, bins) / width
    return result


def _cells(system: System, cells: int) -> tuple[Grid, list[np.ndarray], list[np.ndarray]]:
    """The grid, edges of the histogram, and of the bins along x₁ (edges of the grid, all)."""
    if system.dimension == 1:
        grid = Grid(*zip(*system.box, strict=True), cells * LINE)
        edges = np.linspace(grid.low[0], grid.high[0], LINE * PER_SIDE + 1)
        fine = np.linspace(grid.low[0], grid.high[0], LINE * BINS + 1)
        middle = len(fine) // 2
        return grid, [edges], [fine[middle - PER_SIDE : middle + PER_SIDE + 1]]
    grid = Grid(*zip(*BOX, strict=True), (cells, cells))
    edges = [np.linspace(*side, PER_SIDE + 1) for side in BOX]
    return grid, edges, [np.linspace(*BOX[0], BINS + 1), np.array(BOX[1])]


def _solve(system: System, grid: Grid) -> np.ndarray:
    """Densities at TIMES, shape (times, *grid.shape)."""
    made = generator(grid, system.drift, system.diffusion, system.temperature)
    away = (grid.centres - np.array(START[: grid.dimension])) / DEVIATION
    start = grid.normalise(np.exp(-(away**2).sum(1) / 2).reshape(grid.shape))
    return evolve(made, start, [0.0, *TIMES], tolerance=TOLERANCE).densities[1:]


def _merged(densities: np.ndarray, edges: list[np.ndarray], grid: Grid) -> np.ndarray:
    """Masses between edges that are edges of the grid too, shape (times, cells of a histogram)."""
    masses = densities * grid.volume
    for axis, (low, h, along) in enumerate(zip(grid.low, grid.spacing, edges, strict=True), 1):
        first = np.rint((along - low) / h).astype(int)
        upto = np.insert(np.cumsum(masses, axis), 0, 0.0, axis)
        masses = np.diff(np.take(upto, first, axis), axis=axis)
    return masses.reshape(len(masses), -1)


def _shares(points: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    return np.stack([cell_shares(p, edges).ravel() for p in points])


def _distance(shares: np.ndarray, masses: np.ndarray) -> np.ndarray:
    return np.abs(shares - masses).sum(1)


def _control(ensemble: _Ensemble, cells: int, level: float) -> dict[str, np.ndarray]:
    """A linear system with an isotropic Gaussian, which stays one: a product of two."""
    system = ensemble.system
    edges = [np.linspace(*side, PER_SIDE + 1) for side in system.box]
    exact = np.stack([gaussian_masses(system, time, edges).ravel() for time in TIMES])
    grid = Grid(*zip(*system.box, strict=True), (cells, cells))
    judged = ensemble.judged(_shares(ensemble.points(), edges), exact, level)
    return {
        "distance": judged.distance,
        "envelope": judged.envelope,
        "solver_distance": _distance(_merged(_solve(system, grid), edges, grid), exact),
    }


def gaussian_masses(system: System, time: float, edges: list[np.ndarray]) -> np.ndarray:
    """Masses of cells for the linear `system` with isotropic covariance, in closed form."""
    drift = -system.jacobian(np.zeros(2))
    moved, spread = linear_theory.transition(drift, np.eye(2), system.temperature, time)
    mean = moved @ START
    covariance = spread + DEVIATION**2 * moved @ moved.T
    parts = [
        np.diff(stats.norm.cdf(along, m, np.sqrt(v)))
        for along, m, v in zip(edges, mean, covariance.diagonal(), strict=True)
    ]
    return np.multiply.outer(*parts)
