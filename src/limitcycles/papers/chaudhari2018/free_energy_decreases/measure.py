"""F(ρ) = T KL(ρ‖ρ^ss) and its parts, E_ρ[Φ] and H(ρ), at every time step of (FP).

ρ^ss is the null vector of the same matrix, so that what is said of F holds for the discrete
equation to rounding. What the solver does not know comes beside it: Φ in closed form, the relative
Fisher information, and Gaussians.
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.theory import linear_theory, systems
from limitcycles.theory.fokker_planck import (
    Generator,
    Grid,
    analysis,
    evolve,
    generator,
    steady_state,
)
from limitcycles.theory.systems import System

READS = ("theory.cells",)

END = 16.0  # the slowest mode, of the wells, has then fallen by more than e^{-20}
TOLERANCE = 1e-5  # of a step, in total variation
MOST_CELLS = 192  # along a side, enough to see the order of the grid's error
HALVES = (4, 2, 1)  # the grids: cells over these
START, DEVIATION = (0.8, -1.0), 0.7  # of the Gaussian at time 0, the same along both axes
LINEAR = "linear"


def arms() -> dict[str, System]:
    """The systems by the name of their arm, all with Φ in closed form; T = 1."""
    return {
        "wells": systems.gradient_double_well("isotropic"),
        "example-19": systems.double_well(1.5),
        "rotation-varying": systems.rotation_varying(),
        LINEAR: systems.linear_non_commuting(),
        "varying-diagonal": systems.gradient_double_well("varying diagonal"),
        "varying-tensor": systems.rotationally_invariant(),
    }


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Each system from one Gaussian to time 16, on grids of up to `settings.cells` and halves.

    Part `steps`, by (system, cells, step), NaN beyond the last step: `time` (no unit) and, in the
    unit of the loss, `free_energy` F = T KL(ρ‖ρ^ss), `energy` E_ρ[Φ] with Φ = −T log ρ^ss,
    `closed_energy` with Φ in closed form, `loss_energy` E_ρ[f] (NaN where −b is no gradient),
    `entropy` T·H(ρ), and F with another density for ρ^ss: `closed_free_energy` with e^{−Φ/T} in
    closed form, `shifted_free_energy` with that shifted by its standard deviation along x₁. `rate`
    −dF/dt = −T ∫ Lρ log(ρ/ρ^ss) and `fisher` T² ∫ ρ ∇log(ρ/ρ^ss)·D∇log(ρ/ρ^ss), per unit time,
    which are equal in the continuum. By system: `isotropic`, whether D(x) = c(x) I, and
    `temperature`.

    Part `gaussian`, by step, for the linear system at the times of the finest grid: F, E[Φ] and T·H
    of its Gaussian in closed form (`free_energy`, `energy`, `entropy`), and F of this Gaussian
    taken at the centres of the finest grid, by the same sums as above (`sum_free_energy`).

    Raises LimitcyclesError: fewer than 64 cells.
    """
    if settings["cells"] < 64:
        raise LimitcyclesError(
            f"the claim free-energy-decreases needs at least 64 cells, not {settings['cells']}"
        )
    finest = min(MOST_CELLS, settings["cells"] // 4 * 4)
    sizes = [finest // part for part in HALVES]
    chosen = arms()
    found = {}
    bar = track(total=len(chosen) * len(sizes), unit="grid", what="free energies")
    for name, system in chosen.items():
        for cells in sizes:
            with warnings.catch_warnings():
                if cells < finest:
                    warnings.simplefilter("ignore")  # about grids that are to be coarse
                found[name, cells] = _one(system, cells)
            bar.update()
    bar.close()
    steps = max(len(each["time"]) for each in found.values())
    shape = (len(chosen), len(sizes), steps)
    variables = {}
    for key in found[LINEAR, finest]:
        values = np.full(shape, np.nan)
        for i, name in enumerate(chosen):
            for k, cells in enumerate(sizes):
                values[i, k, : len(found[name, cells][key])] = found[name, cells][key]
        variables[key] = (("system", "cells", "step"), values)
    variables["isotropic"] = ("system", [bool(s.isotropic) for s in chosen.values()])
    variables["temperature"] = ("system", [s.temperature for s in chosen.values()])
    coords = {"system": list(chosen), "cells": sizes}
    times = found[LINEAR, finest]["time"]
    return {
        "steps": xr.Dataset(variables, coords, {"end": END}),
        "gaussian": xr.Dataset(
            {k: ("step", v) for k, v in _gaussian(chosen[LINEAR], finest, times).items()}
        ),
    }


def _made(system: System, cells: int) -> Generator:
    grid = Grid(*zip(*system.box, strict=True), (cells, cells))
    return generator(grid, system.drift, system.diffusion, system.temperature)


def _on(grid: Grid, logs: np.ndarray) -> np.ndarray:
    """The density ∝ e^logs, `logs` at the centres."""
    return grid.normalise(np.exp(logs - logs.max()).reshape(grid.shape))


def _one(system: System, cells: int) -> dict[str, np.ndarray]:
    made = _made(system, cells)
    grid, heat = made.grid, system.temperature
    steady = steady_state(made)
    start = _on(grid, -((grid.centres - START) ** 2).sum(1) / (2 * DEVIATION**2))
    run = evolve(made, start, [0.0, END], tolerance=TOLERANCE, every_step=True)
    potential = system.potential(grid.centres).reshape(grid.shape)
    closed = _on(grid, -potential.ravel() / heat)
    shift = np.array([_deviation(grid, closed), 0.0])
    shifted = _on(grid, -system.potential(grid.centres - shift) / heat)
    if system.loss is None:
        loss = np.full(grid.shape, np.nan)
    else:
        loss = system.loss(grid.centres).reshape(grid.shape)

    def each(density: np.ndarray) -> dict[str, float]:
        return {
            "free_energy": analysis.free_energy(made, density, steady),
            "energy": analysis.energy(made, density, steady),
            "closed_energy": analysis.mean(grid, density, potential),
            "loss_energy": analysis.mean(grid, density, loss),
            "entropy": heat * analysis.entropy(grid, density),
            "closed_free_energy": analysis.free_energy(made, density, closed),
            "shifted_free_energy": analysis.free_energy(made, density, shifted),
        } | dissipation(made, density, steady)

    rows = [each(density) for density in run.densities]
    return {"time": run.times} | {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _deviation(grid: Grid, density: np.ndarray) -> float:
    """Standard deviation along x₁."""
    x = grid.centres[:, 0].reshape(grid.shape)
    mean = analysis.mean(grid, density, x)
    return float(np.sqrt(analysis.mean(grid, density, (x - mean) ** 2)))


def dissipation(made: Generator, density: np.ndarray, steady: np.ndarray) -> dict[str, float]:
    """−dF/dt by the matrix, and the relative Fisher information that it is equal to."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(density) - np.log(steady)
    slope = analysis.gradient(made.grid, ratio)
    square = np.einsum("...i,...ij,...j->...", slope, made.diffusion, slope)
    good = np.isfinite(square) & np.isfinite(ratio)  # not where ρ has underflowed
    heat, volume = made.temperature, made.grid.volume
    change = made.apply(density)
    return {
        "rate": float(-heat * (change[good] * ratio[good]).sum() * volume),
        "fisher": float(heat**2 * (density[good] * square[good]).sum() * volume),
    }


def _gaussian(system: System, cells: int, times: np.ndarray) -> dict[str, np.ndarray]:
    """The Gaussian N(m, C) of the linear system, U the Hessian of Φ, S = T U⁻¹ its steady C.

    F = T/2 [tr S⁻¹C + mᵀS⁻¹m − d − log det(S⁻¹C)], E[Φ] = ½ tr(U C) + ½ mᵀUm,
    H = ½ log det(2πe C).
    """
    made = _made(system, cells)
    grid, heat = made.grid, system.temperature
    drift = -system.jacobian(np.zeros(2))
    noise = system.diffusion(np.zeros(2))
    steady = linear_theory.stationary_covariance(drift, noise, heat)
    inverse = np.linalg.inv(steady)
    reference = _on(grid, -np.einsum("ni,ij,nj->n", grid.centres, inverse, grid.centres) / 2)
    rows = []
    for time in times:
        moved, spread = linear_theory.transition(drift, noise, heat, time)
        mean, covariance = moved @ START, spread + DEVIATION**2 * moved @ moved.T
        relative = inverse @ covariance
        excess = np.trace(relative - np.eye(2)) - _log_determinant(relative)
        away = grid.centres - mean
        logs = -np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away) / 2
        rows.append(
            {
                "free_energy": heat / 2 * (excess + mean @ inverse @ mean),
                "energy": heat / 2 * (np.trace(relative) + mean @ inverse @ mean),
                "entropy": heat / 2 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1],
                "sum_free_energy": analysis.free_energy(made, _on(grid, logs), reference),
            }
        )
    return {"time": times} | {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _log_determinant(matrix: np.ndarray) -> float:
    """log det from log(1 + e) of the eigenvalues 1 + e, for matrices close to the identity."""
    return float(np.log1p(np.linalg.eigvals(matrix - np.eye(len(matrix)))).sum().real)
