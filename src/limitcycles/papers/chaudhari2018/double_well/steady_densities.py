"""Steady densities on grids and area rates, of Example 19."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from limitcycles.runtime.seeds import stream
from limitcycles.statistics.intervals import REAL, estimate
from limitcycles.theory import fokker_planck, systems
from limitcycles.theory.fokker_planck import analysis
from limitcycles.theory.langevin import langevin_ensemble

STEP, SETTLE, MEASURE = 0.01, 8.0, 4.0  # of the ensembles, in units of time


def _grid(box, cells: int) -> fokker_planck.Grid:
    return fokker_planck.Grid(*zip(*box, strict=True), (cells, cells))


def _target(grid, potential, temperature: float) -> np.ndarray:
    """e^{−Φ/T} with mass 1 on the grid."""
    return grid.normalise(np.exp(-potential(grid.centres) / temperature).reshape(grid.shape))


def solved(system: systems.System, box, cells: int, potential, temperature: float):
    """(generator, ρ, ∫|ρ − e^{−Φ/T}/Z|) on a grid."""
    grid = _grid(box, cells)
    generator = fokker_planck.generator(grid, system.drift, 1.0, temperature)
    density = fokker_planck.steady_state(generator)
    target = _target(grid, potential, temperature)
    return generator, density, float(np.abs(density - target).sum() * grid.volume)


def on_grids(system: systems.System, box, cells: int):
    """L1 distances and area rates on two grids, L1 extrapolated, and the finest density."""
    l1, rates = [], []
    for part in (2, 1):
        generator, density, distance = solved(system, box, cells // part, system.potential, 1.0)
        l1.append(distance)
        rates.append(analysis.area_rate(generator, density))
    better = fokker_planck.extrapolated_steady_state(generator)
    target = _target(generator.grid, system.potential, 1.0)
    best = float(np.abs(better - target).sum() * generator.grid.volume)
    return l1, best, rates, (generator.grid, density)


def simulated_rate(system: systems.System, paths: int, seed: int, level: float):
    """½⟨x₁ dx₂ − x₂ dx₁⟩/dt over paths in the steady state: (mean, low, high) at `level`.

    The area between points a step apart is what the scheme itself sweeps: no error but that of the
    scheme's steady density, of the order of the step. Start: a standard normal cloud.
    """
    start = np.random.default_rng(stream(seed, "start")).standard_normal((paths, 2))
    times = SETTLE + STEP * np.arange(round(MEASURE / STEP) + 1)
    walk = langevin_ensemble(
        system.drift, 1.0, start, times, step=1.01 * STEP, temperature=1.0, seed=seed
    )
    here, there = walk[:-1], walk[1:]
    area = (here[..., 0] * there[..., 1] - here[..., 1] * there[..., 0]).sum(0) / 2
    mean, (low, high), _ = estimate(area / MEASURE, REAL, level)
    return mean, low, high


def exact_rate(lam: float) -> float:
    """πλ/Z with Z = ∫e^{−Φ}: the steady current is λJ/Z, and ½∫|x|² e^{−|x|⁴/4} dx = π.

    From J^ss = jρ^ss = λ e^Φ J e^{−Φ}/Z.
    """
    line = np.linspace(-8, 8, 4001)
    mass = np.exp(-((line**2 - 1) ** 2) / 4).sum() * (line[1] - line[0]) * np.sqrt(2 * np.pi)
    return float(np.pi * lam / mass)


def ring_rate(mu: float = 1.0, omega: float = 1.0) -> float:
    """½ω⟨|x|²⟩ of `hopf_ring` at T = 1: |x|² has a normal law (μ, 2), cut off at 0."""
    z = mu / np.sqrt(2)
    tail = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / ndtr(z)
    return float(omega * (mu + np.sqrt(2) * tail) / 2)
