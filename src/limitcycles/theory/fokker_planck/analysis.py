"""What follows from a density on a grid: Φ, j, free energy, entropy production, modes, ψ and Q(x).

Notation of the paper: Φ = −T log ρ^ss (5), j = −∇f + D∇Φ − T∇·D = J^ss/ρ^ss (8), and
∇f = (D + Q)∇Φ − T∇·(D + Q) (19) with Q antisymmetric, so that J^ss = T ∇·(Qρ^ss). The drift
b stands for −∇f throughout. Derivatives are central differences, of second order; next to a side
without flux they are one-sided, of second order too.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import entr

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.fokker_planck.generator import SINGULAR, Generator
from limitcycles.theory.fokker_planck.grid import Grid

SERIES = 1e-2  # |r| below which (1 + r) log(1 + r) − r is summed as a series
NET_FLUX = 1e-8  # through a periodic axis, relative to the mean of |J|, that counts as none
STATIONARY = 1e-8  # total variation that may change per unit of traffic for ψ to be defined


class AnalysisError(LimitcyclesError):
    """A quantity that is not defined for this density."""


def potential(density: np.ndarray, temperature: float) -> np.ndarray:
    """Φ = −T log ρ, in the shape of the density; +∞ where ρ = 0 (it has underflowed)."""
    with np.errstate(divide="ignore"):
        return -temperature * np.log(density)


def derivative(grid: Grid, values: np.ndarray, axis: int) -> np.ndarray:
    """∂/∂x_axis of values over the grid, shape (*grid.shape, ...), second order."""
    h = grid.spacing[axis]
    if grid.periodic[axis]:
        return (np.roll(values, -1, axis) - np.roll(values, 1, axis)) / (2 * h)
    return np.gradient(values, h, axis=axis, edge_order=2)


def gradient(grid: Grid, values: np.ndarray) -> np.ndarray:
    """∇ of a scalar over the grid, shape (*shape, d); not finite next to values that are not."""
    with np.errstate(invalid="ignore"):
        return np.stack([derivative(grid, values, k) for k in range(grid.dimension)], axis=-1)


def divergence(grid: Grid, values: np.ndarray) -> np.ndarray:
    """∇· of a vector field (*shape, d), or of a tensor field (*shape, d, d) column by column.

    For tensors (∇·A)_i = Σ_k ∂A_ik/∂x_k.
    """
    with np.errstate(invalid="ignore"):
        return sum(derivative(grid, values[..., k], k) for k in range(grid.dimension))


def force(generator: Generator, density: np.ndarray) -> np.ndarray:
    """j = b + D∇Φ − T∇·D at the centres, shape (*shape, d), with Φ = −T log ρ (8).

    Not finite next to cells where ρ has underflowed to zero. Independent of the fluxes of the
    scheme; `force_from_current` is the other way, and the two differ by O(h²).
    """
    grid, T = generator.grid, generator.temperature
    slope = gradient(grid, potential(density, T))
    pushed = np.einsum("...ij,...j->...i", generator.diffusion, slope)
    return generator.drift + pushed - T * divergence(grid, generator.diffusion)


def force_from_current(generator: Generator, density: np.ndarray) -> np.ndarray:
    """j = J/ρ from the fluxes of the scheme, shape (*shape, d); NaN where ρ = 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return generator.current(density) / density[..., None]


def mean(grid: Grid, density: np.ndarray, values: np.ndarray) -> float:
    """E_ρ[values], over the cells with ρ > 0 (values may be infinite elsewhere)."""
    inside = density > 0
    return float(np.sum(density[inside] * values[inside]) * grid.volume)


def entropy(grid: Grid, density: np.ndarray) -> float:
    """H(ρ) = −∫ρ log ρ, with 0 log 0 = 0."""
    return float(entr(density).sum() * grid.volume)


def kl(grid: Grid, density: np.ndarray, reference: np.ndarray) -> float:
    """KL(ρ‖σ) = ∫(ρ log(ρ/σ) − ρ + σ) ≥ 0, for masses that are equal; +∞ where σ = 0 < ρ.

    Summed over terms that are non-negative each, and without cancellation where ρ ≈ σ.
    """
    density, reference = np.asarray(density, float), np.asarray(reference, float)
    if (density[reference == 0] > 0).any():
        return float("inf")
    inside = reference > 0
    r = (density[inside] - reference[inside]) / reference[inside]
    small = np.abs(r) < SERIES
    terms = np.empty_like(r)
    s = r[small]
    terms[small] = s**2 * sum((-s) ** (k - 2) / (k * (k - 1)) for k in range(2, 10))
    r = r[~small]
    terms[~small] = -entr(1 + r) - r
    return float((terms * reference[inside]).sum() * grid.volume)


def free_energy(generator: Generator, density: np.ndarray, steady: np.ndarray) -> float:
    """F(ρ) = T · KL(ρ‖ρ^ss), equal to energy − T · entropy (11) as Φ = −T log ρ^ss."""
    return generator.temperature * kl(generator.grid, density, steady)


def energy(generator: Generator, density: np.ndarray, steady: np.ndarray) -> float:
    """E_ρ[Φ] with Φ = −T log ρ^ss."""
    return mean(generator.grid, density, potential(steady, generator.temperature))


def total_variation(grid: Grid, density: np.ndarray, reference: np.ndarray) -> float:
    """½∫|ρ − σ|, between 0 and 1."""
    return float(np.abs(density - reference).sum() * grid.volume / 2)


def entropy_production(generator: Generator, density: np.ndarray) -> float:
    """∫ J·D⁻¹J/(Tρ) ≥ 0, per unit time; zero in equilibrium.

    For a singular D it is finite only if J stays in the range of D; +∞ is returned if more than
    rounding leaves it, in which case area rates are what can be measured.
    """
    d = generator.grid.dimension
    inside = density.ravel() > 0
    J = generator.current(density).reshape(-1, d)[inside]
    D = generator.diffusion.reshape(-1, d, d)[inside]
    rho = density.ravel()[inside]
    values, vectors = np.linalg.eigh(D)
    along = np.einsum("nji,nj->ni", vectors, J)
    regular = values > SINGULAR * np.maximum(values[:, -1:], 0)
    outside = np.abs(np.where(regular, 0, along)).sum()
    if outside > SINGULAR * np.abs(along).sum():
        return float("inf")
    rates = np.where(regular, along**2 / np.where(regular, values, 1), 0).sum(1)
    return float((rates / rho).sum() * generator.grid.volume / generator.temperature)


def area_rate(generator: Generator, density: np.ndarray) -> float:
    """½∫(x J_y − y J_x), the area swept per unit time; in the steady state the origin is arbitrary.

    Raises AnalysisError: one dimension, or a periodic axis, along which x is not a function.
    """
    grid = generator.grid
    if grid.dimension != 2 or any(grid.periodic):
        raise AnalysisError("the area rate needs two axes that are not periodic")
    J = generator.current(density)
    x, y = np.meshgrid(*grid.axes, indexing="ij")
    return float((x * J[..., 1] - y * J[..., 0]).sum() * grid.volume / 2)


def modes(grid: Grid, density: np.ndarray, least: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Positions (k, d) and heights (k,) of the maxima of a density, the highest first.

    A maximum is a cell not lower than its neighbours (diagonal ones included) and above `least`
    times the highest; it is refined with the parabola through log ρ at these cells, to O(h²) for
    a smooth density. Cells at a side without flux are refined along the other axis only. Of
    equal neighbours one is counted, so that a shoulder of equal cells may count as a maximum.
    """
    logs = -potential(density, 1.0)
    padded = np.pad(logs, 1, constant_values=-np.inf)
    for axis, periodic in enumerate(grid.periodic):
        if periodic:
            core = np.take(padded, np.arange(1, grid.shape[axis] + 1), axis)
            padded = np.concatenate(
                [np.take(core, [-1], axis), core, np.take(core, [0], axis)], axis=axis
            )
    best = logs > logs.max() + np.log(least)
    around = {}
    for shift in itertools.product((-1, 0, 1), repeat=grid.dimension):
        window = tuple(slice(1 + s, 1 + s + n) for s, n in zip(shift, grid.shape, strict=True))
        around[shift] = padded[window]
        if any(shift):
            # Of equal neighbours the first in C order is the maximum.
            best &= logs > around[shift] if shift < (0,) * len(shift) else logs >= around[shift]
    found = []
    for cell in zip(*np.nonzero(best), strict=True):
        local = {shift: values[cell] for shift, values in around.items()}
        step, rise = _vertex(local, grid.dimension)
        centre = np.array([axis[k] for axis, k in zip(grid.axes, cell, strict=True)])
        found.append((logs[cell] + rise, grid.wrap(centre + step * grid.spacing)))
    found.sort(key=lambda pair: -pair[0])
    return np.array([x for _, x in found]), np.exp([height for height, _ in found])


def _vertex(local: dict, d: int) -> tuple[np.ndarray, float]:
    """Where the parabola through 3^d values is highest, in cells, and by how much."""
    unit = np.eye(d, dtype=int)
    middle = local[(0,) * d]
    slope, curvature = np.zeros(d), np.zeros((d, d))
    for k in range(d):
        up, down = local[tuple(unit[k])], local[tuple(-unit[k])]
        if np.isfinite(up) and np.isfinite(down):
            slope[k], curvature[k, k] = (up - down) / 2, up - 2 * middle + down
    if d == 2 and np.isfinite(list(local.values())).all():
        mixed = local[1, 1] + local[-1, -1] - local[1, -1] - local[-1, 1]
        curvature[0, 1] = curvature[1, 0] = mixed / 4
    if not (curvature.diagonal() < 0).all() or np.linalg.det(-curvature) <= 0:
        curvature = np.diag(np.minimum(curvature.diagonal(), -np.abs(slope)))
        curvature[curvature.diagonal() == 0] = -1.0 * unit[curvature.diagonal() == 0]
    step = np.clip(np.linalg.solve(-curvature, slope), -1, 1)
    return step, float(slope @ step + step @ curvature @ step / 2)


def face_fluxes(generator: Generator, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Currents through the faces of the cells, whose discrete divergence is −dρ/dt to rounding.

    Returns J_x, J_y of the grid's shape: entry [i, j] is the mean current density through the upper
    face of cell (i, j) along x or y. The flux over an oblique edge goes along the axes, half of it
    first along x and half first along y.
    """
    grid = generator.grid
    if grid.dimension != 2:
        raise AnalysisError("fluxes through faces are implemented in two dimensions")
    flux = generator.fluxes(density)
    faces = [np.zeros(grid.shape), np.zeros(grid.shape)]
    offsets, group = np.unique(generator.offset, axis=0, return_inverse=True)
    for k, offset in enumerate(offsets):
        member = group.ravel() == k
        position = np.stack(np.unravel_index(generator.tail[member], grid.shape))
        for first in (0, 1) if offset.all() else (int(offset[1] != 0),):
            part = flux[member] / (2 if offset.all() else 1)
            here = position.copy()
            for axis in (first, 1 - first):
                sign = int(np.sign(offset[axis]))
                for _ in range(abs(offset[axis])):
                    there = here.copy()
                    there[axis] = (here[axis] + sign) % grid.shape[axis]
                    crossed = here if sign > 0 else there
                    np.add.at(faces[axis], tuple(crossed), sign * part * grid.spacing[axis])
                    here = there
    return faces[0], faces[1]


def stream_function(generator: Generator, density: np.ndarray) -> np.ndarray:
    """ψ at the centres, shape (*shape), with J = (∂ψ/∂y, −∂ψ/∂x), for a steady density.

    The mean of ψ at the corners of the cell, where it follows from the fluxes through faces.

    Summed from the fluxes through faces, which are free of divergence to rounding, from whichever
    side has less current on the way; zero on a side without flux if both axes have such sides.

    Raises AnalysisError: not two dimensions, a density that is not steady, or a periodic box with a
    net current through it, for which no periodic ψ exists.
    """
    return _corner_mean(stream_corners(generator, density))


def stream_corners(generator: Generator, density: np.ndarray) -> np.ndarray:
    """ψ at the corners of the cells, shape (n_x + 1, n_y + 1); see `stream_function`."""
    grid = generator.grid
    traffic = np.abs(generator.matrix.diagonal()) @ np.ravel(density)
    change = np.abs(generator.apply(density)).sum() / traffic
    if change > STATIONARY:
        raise AnalysisError(
            f"the density changes by {change:.3g} of its traffic: a stream function needs a "
            "steady one, as steady_state gives"
        )
    through_x, through_y = face_fluxes(generator, density)
    h_x, h_y = grid.spacing
    if grid.periodic[1] and not grid.periodic[0]:  # sum along the axis that has an end
        return -_stream(through_y.T, through_x.T, h_y, h_x, (True, False)).T
    if all(grid.periodic):
        net = max(abs(through_x.mean()), abs(through_y.mean()))
        size = max(np.abs(through_x).mean(), np.abs(through_y).mean())
        if net > NET_FLUX * size:
            raise AnalysisError(
                f"a net current of {net:.3g} flows through the periodic box: it has no periodic "
                "stream function"
            )
    return _stream(through_x, through_y, h_x, h_y, grid.periodic)


def _corner_mean(corner: np.ndarray) -> np.ndarray:
    return (corner[1:, 1:] + corner[1:, :-1] + corner[:-1, 1:] + corner[:-1, :-1]) / 4


def _stream(through_x, through_y, h_x, h_y, periodic) -> np.ndarray:
    """ψ at the corners; the second axis is summed along."""
    nx, ny = through_x.shape
    corner = np.zeros((nx, ny + 1))  # [i, j]: upper x side of cell i, lower y side of cell j
    steps = through_x * h_y
    if periodic[1]:
        corner[:, 0] = -np.cumsum(through_y[:, -1]) * h_x
        corner[:, 1:] = corner[:, :1] + np.cumsum(steps, axis=1)
    else:
        below = np.concatenate([np.zeros((nx, 1)), np.cumsum(steps, axis=1)], axis=1)
        # The same for all i in a steady state; zero between two sides without flux, exactly, as
        # rounding here would be divided by the smallest densities in Q.
        total = below[:, -1].mean() if periodic[0] else 0.0
        above = np.concatenate([np.cumsum(steps[:, ::-1], axis=1)[:, ::-1], np.zeros((nx, 1))], 1)
        path = np.concatenate([np.zeros((nx, 1)), np.cumsum(np.abs(steps), axis=1)], axis=1)
        corner = np.where(path <= path[:, -1:] - path, below, total - above)
    if all(periodic):
        corner -= corner[:, 1:].mean()
    # The corners before the first cell: a side without flux, on which ψ = 0, or the last ones.
    first = corner[-1:] if periodic[0] else np.zeros((1, ny + 1))
    return np.concatenate([first, corner])


def antisymmetric_part(generator: Generator, steady: np.ndarray) -> np.ndarray:
    """Q(x) of (18) and (19), shape (*shape, 2, 2), from J^ss = T ∇·(Qρ^ss) in two dimensions.

    Q = q ((0, 1), (−1, 0)) with q = ψ/(T ρ^ss). On a box without flux ψ vanishes at the sides,
    which fixes Q; elsewhere it is fixed up to a constant over ρ^ss. Raises AnalysisError as
    `stream_function`; not finite next to cells where ρ^ss = 0.
    """
    psi = stream_corners(generator, steady)
    logs = -potential(steady, 1.0)
    for axis, periodic in enumerate(generator.grid.periodic):
        ends = [(0, 0), (0, 0)]
        ends[axis] = (1, 1)
        logs = np.pad(logs, ends, mode="wrap" if periodic else "edge")
    # The mean of log ρ keeps q second order in far tails, where ρ changes much within a cell.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        q = _corner_mean(psi * np.exp(-_corner_mean(logs)) / generator.temperature)
    return q[..., None, None] * np.array([[0.0, 1.0], [-1.0, 0.0]])


def residual_of_19(generator: Generator, steady: np.ndarray) -> tuple[np.ndarray, float]:
    """(r, size): r = b + (D + Q)∇Φ − T∇·(D + Q), shape (*shape, 2), and √(E|r|²/E|b|²).

    The means are over ρ^ss, over the cells where r is finite. It is O(h²) if (19) holds.
    """
    grid, T = generator.grid, generator.temperature
    tensor = generator.diffusion + antisymmetric_part(generator, steady)
    slope = gradient(grid, potential(steady, T))
    r = generator.drift + np.einsum("...ij,...j->...i", tensor, slope)
    r -= T * divergence(grid, tensor)
    square = (r**2).sum(-1)
    inside = np.where(np.isfinite(square), steady, 0)
    size = mean(grid, inside, square) / mean(grid, inside, (generator.drift**2).sum(-1))
    return r, float(np.sqrt(size))
