"""Is the force j free of divergence, orthogonal to ∇Φ, and without effect on F? (Assumption 4)

Stationarity of ρ^ss = e^{−Φ/T} means ∇·(jρ^ss) = 0, that is ∇·j = j·∇Φ/T: the two halves of
Assumption 4 are one. And j leaves F = T KL(ρ‖ρ^ss) alone in any case, T ∫ρ^ss j·∇(ρ/ρ^ss) = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import refinement, systems
from limitcycles.theory.fokker_planck import analysis

READS = ("theory.seed", "theory.cells")

SIDE = {3: 48, 4: 26}  # points a side of the sums over known fields; d = 2: `cells`
BOX = {  # of its own box, as long as the density needs
    "coupled_oscillators": 0.75,
    "two_rotations": 0.85,
    "gradient_double_well_varying_isotropic": 1.25,
    "gradient_double_well_varying_tensor": 1.1,
    "van_der_pol": 1.3,
}
UNRESOLVED = ("slow_spiral",)  # turns a hundred times before it relaxes: no grid here follows
WAVES = 6  # densities ρ = ρ^ss (1 + ½ sin(k·x + φ)) at which dF/dt is taken
NO_FORCE = 1e-9  # ‖j‖/‖b‖ below which j = 0 but for rounding
RADIAL = 0.5  # of the control: j = (−x₂, x₁) + RADIAL x
NUMBERS = ("divergence", "cosine", "share", "energy_share")

SYSTEMS = {
    "paper": ("double_well λ=0.5", "double_well λ=1.5"),
    "linear": (
        "linear_non_commuting",
        "rotational_ou",
        "slow_spiral",
        "rotational_ou_3d",
        "two_rotations",
    ),
    "built": ("rotating_wells", "hopf_ring", "coupled_oscillators", "torus_flow", "sphere_flow"),
    "equilibrium": (
        "linear_isotropic",
        "linear_commuting",
        "gradient_double_well_isotropic",
        "gradient_double_well_diagonal",
        "gradient_double_well_varying_diagonal",
        "isotropic_from_loss",
        "rotationally_invariant",
        "anisotropic_equilibrium",
        "varying_from_potential",
        "multiplicative_noise",
        "sharp_and_wide",
    ),
    "general": (
        "gradient_double_well_tensor",
        "gradient_double_well_varying_isotropic",
        "gradient_double_well_varying_tensor",
        "rotation_varying",
        "van_der_pol",
    ),
}


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Four numbers for every system with a steady state, weighted with ρ^ss.

    Part `systems`, by system, with its `family`. `divergence` √(E(∇·j)²/E‖∂j‖²), `cosine`
    E|cos(j, ∇Φ)|, `share` of dF/dt that comes from j, and `energy_share`, what j does to E[Φ] alone
    relative to dF/dt, each the largest over densities ρ = ρ^ss (1 + ½ sin(k·x + φ)). Pure numbers;
    0 where j = 0. In closed form where Φ is known (by sums over points, which leave up to 0.003 of
    `share` in four dimensions), else on the grid.
    `*_grid` are these from the steady state on `settings.cells` cells a side, j = J/ρ, and
    `*_error` the difference from a grid half as fine; NaN where j = 0,
    beyond d = 2, and for slow_spiral, which no grid here resolves.
    `force` is √(E|j|²/E|b|²). By sympy (1, 0, −1: not known): `divergence_free`, `orthogonal`,
    `stationary` (∇·j = j·∇Φ/T), `gradient` (the drift is one), `assumption_4`; `dimension` d.

    Part `controls`, by control ("rotation", "with a radial part"): the same four for
    j = (−x₂, x₁) + r x, r = 0 and 0.5, with Φ = |x|²/2 and T = 1 in closed form.
    """
    rows, names = [], [(name, family) for family, members in SYSTEMS.items() for name in members]
    for name, family in track(names, unit="system", what="forces"):
        rows.append({"family": family} | _one(build(name), settings, name))
    variables = {key: ("system", [row[key] for row in rows]) for key in rows[0]}
    coords = {"system": [name for name, _ in names]}
    return {
        "systems": xr.Dataset(variables, coords=coords, attrs={"cells": settings["cells"]}),
        "controls": _controls(settings),
    }


def build(name: str) -> systems.System:
    """The system of that name; "double_well λ=0.5" sets the strength of Example 19."""
    name, _, strength = name.partition(" λ=")
    return systems.system(name, **({"lam": float(strength)} if strength else {}))


@dataclass(frozen=True)
class Fields:
    """At points (n, d): j and ∇Φ (n, d), ∂j_i/∂x_k and D (n, d, d), and the probabilities (n,)."""

    points: np.ndarray
    force: np.ndarray
    derivatives: np.ndarray
    slope: np.ndarray
    diffusion: np.ndarray
    weights: np.ndarray
    temperature: float


def numbers_of(fields: Fields, rng: np.random.Generator) -> dict[str, float]:
    """The four numbers of `measure` for one force; random are the wave vectors k and phases."""
    w, j, T = fields.weights, fields.force, fields.temperature
    spill = np.trace(fields.derivatives, axis1=-2, axis2=-1)
    size = np.sum(w * (fields.derivatives**2).sum((-2, -1)))
    power = (j * fields.slope).sum(-1)
    lengths = np.linalg.norm(j, axis=-1) * np.linalg.norm(fields.slope, axis=-1)
    cosine = np.abs(power) / np.where(lengths > 0, lengths, 1)
    middle = w @ fields.points
    spread = np.sqrt(w @ (fields.points - middle) ** 2)
    shares = []
    for _ in range(WAVES):
        k = rng.standard_normal(len(middle)) / spread
        phase = (fields.points - middle) @ k + rng.uniform(0, 2 * np.pi)
        ratio, change = 1 + np.sin(phase) / 2, np.cos(phase)[:, None] * k / 2  # ρ/ρ^ss, its ∇
        heat = np.einsum("ni,nij,nj->n", change, fields.diffusion, change) / ratio
        fall = T**2 * np.sum(w * heat)  # dF/dt = −fall + through
        through = T * np.sum(w * (j * change).sum(-1))
        total = abs(through - fall)
        shares.append((abs(through) / total, abs(np.sum(w * ratio * power)) / total))
    share, energy = np.max(shares, axis=0)
    return {
        "divergence": float(np.sqrt(np.sum(w * spill**2) / size)),
        "cosine": float(np.sum(w * cosine)),
        "share": float(share),
        "energy_share": float(energy),
    }


def known_fields(system: systems.System, side: int, box: refinement.Box) -> Fields:
    """From the closed form of Φ, on `side` points along each axis of the box."""
    axes = [low + (np.arange(side) + 0.5) * (high - low) / side for low, high in box]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, system.dimension)
    phi = system.potential(points)
    weights = np.exp(-(phi - phi.min()) / system.temperature)
    inside = weights > 1e-16
    points, weights = points[inside], weights[inside]
    symbol = system.force_symbol
    return Fields(
        points,
        system.force(points),
        _matrix(system, symbol.jacobian(list(system.symbols.x)), points),
        system.compile(system.potential_gradient_symbol)(points),
        system.diffusion(points),
        weights / weights.sum(),
        system.temperature,
    )


def _matrix(system: systems.System, symbol, points: np.ndarray) -> np.ndarray:
    d = system.dimension
    return system.compile(symbol)(points).reshape(len(points), d, d)


def grid_fields(system: systems.System, found: refinement.Steady) -> Fields:
    """From the steady state on a grid; j = J/ρ, derivatives by central differences."""
    grid = found.grid
    force = analysis.force_from_current(found.generator, found.density)
    phi = analysis.potential(found.density, system.temperature)
    slope = analysis.gradient(grid, phi)
    with np.errstate(invalid="ignore"):
        derivatives = np.stack([analysis.derivative(grid, force, k) for k in (0, 1)], axis=-1)
    inside = np.isfinite(derivatives).all((-2, -1)) & np.isfinite(slope).all(-1)
    weights = found.weights[inside]
    return Fields(
        found.points[inside],
        force[inside],
        derivatives[inside],
        slope[inside],
        found.generator.diffusion[inside],
        weights / weights.sum(),
        system.temperature,
    )


def _one(system: systems.System, settings: dict, name: str) -> dict:
    d, cells = system.dimension, settings["cells"]
    seed = stream(settings["seed"], f"waves for {name}")
    still = bool(system.force_vanishes)
    row = {"dimension": d}
    box = refinement.widened(system.box, BOX.get(name, 1.0))
    known = system.potential is not None
    missing = dict.fromkeys(NUMBERS, np.nan)
    fine = coarse = missing
    if d == 2 and not still and name not in UNRESOLVED:
        fields = [grid_fields(system, found) for found in refinement.pair(system, cells, box)]
        fine, coarse = (numbers_of(f, np.random.default_rng(seed)) for f in fields)
    if still:
        numbers, force = dict.fromkeys(NUMBERS, 0.0), 0.0
    else:
        used = known_fields(system, SIDE.get(d, cells), box) if known else fields[0]
        numbers, force = numbers_of(used, np.random.default_rng(seed)), _size(system, used)
        if force < NO_FORCE:
            numbers = dict.fromkeys(NUMBERS, 0.0)
    row["force"] = force
    for key in NUMBERS:
        row |= {
            key: numbers[key],
            f"{key}_grid": fine[key],
            f"{key}_error": float(refinement.error(fine[key], coarse[key])),
        }
    row["divergence_free"] = _held(system.divergence_free)
    row["orthogonal"] = _held(system.orthogonal)
    row["stationary"] = _held(system.stationary)
    row["gradient"] = _held(system.drift_is_gradient)
    meets = system.meets_assumption_4
    row["assumption_4"] = -1 if meets is None else int(meets)
    return row


def _size(system: systems.System, fields: Fields) -> float:
    squares = [(v**2).sum(-1) @ fields.weights for v in (fields.force, system.drift(fields.points))]
    return float(np.sqrt(squares[0] / squares[1]))


def _held(finding: systems.Finding | None) -> int:
    return -1 if finding is None or finding.holds is None else int(finding.holds)


def _controls(settings: dict) -> xr.Dataset:
    system = systems.rotational_ou()
    fields = known_fields(system, settings["cells"], system.box)
    radial = Fields(
        fields.points,
        fields.force + RADIAL * fields.points,
        fields.derivatives + RADIAL * np.eye(2),
        fields.slope,
        fields.diffusion,
        fields.weights,
        fields.temperature,
    )
    seed = stream(settings["seed"], "waves of the controls")
    rows = [numbers_of(f, np.random.default_rng(seed)) for f in (fields, radial)]
    return xr.Dataset(
        {key: ("control", [row[key] for row in rows]) for key in NUMBERS},
        coords={"control": ["rotation", "with a radial part"]},
    )
