"""Lemma 6: is Φ the loss, and is there no force j, just where D = cI? A search for exceptions."""

from __future__ import annotations

import numpy as np
import sympy as sp
import xarray as xr

from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import linear_theory, refinement, systems
from limitcycles.theory.fokker_planck import analysis

READS = ("theory.seed", "theory.cells", "theory.systems")

DIMENSIONS = (2, 4, 8)
FAMILIES = ("isotropic", "commuting", "non-commuting")
FLOOR = 0.1  # smallest eigenvalue of the random F and D
NAMED = {
    "linear_isotropic": "isotropic",
    "gradient_double_well_isotropic": "isotropic",
    "linear_commuting": "commuting",
    "gradient_double_well_diagonal": "commuting",
    "linear_non_commuting": "non-commuting",
    "gradient_double_well_tensor": "non-commuting",
    "gradient_double_well_varying_isotropic": "varying",
    "gradient_double_well_varying_diagonal": "varying",
    "gradient_double_well_varying_tensor": "varying",
    "isotropic_from_loss": "exact-cases",
    "rotationally_invariant": "exact-cases",
    "anisotropic_equilibrium": "exact-cases",
}
WIDER = 1.25  # of the box: with D growing outwards the tails are longer


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Random linear systems in closed form, and named systems in closed form and on grids.

    Two numbers of each: `residual`, of Φ after the best affine fit on f, √(min E(Φ − af − c)² /
    Var Φ), and `force`, √(E|j|²/E|∇f|²); means are over ρ^ss. Both are pure numbers.

    Part `random`, by (family, dimension, system), `settings.systems` of each: these two from
    F = (D + Q)U (Lemma 20), the relative `commutator` ‖FD − DF‖/(2‖FD‖) and the `anisotropy`
    ‖D − (tr D/d)I‖/‖D‖. F is symmetric, the Hessian of f.

    Part `named`, by system: `family`; `residual` and `force`, in closed form where Φ is known and
    else on the grid; with suffix `_exact` the closed form (NaN where there is none), `_grid` the
    numbers from the steady state on `settings.cells` cells a side and the fluxes of the scheme, and
    `_error` their discretisation error, from a grid half as fine. By sympy: `proportional`, is
    Φ = af + c, and `no_force`, is j = 0 (1, 0, or −1: not known).

    Part `controls`: `shuffled_residual` of linear_isotropic with Φ shuffled over the cells,
    `known_residual` and `known_force`, what the linear theory says of linear_non_commuting. By
    sympy (1 or 0): `proof`, for any f(x₁, x₂) e^{−f/(cT)} is stationary without a force where
    D = cI; `no_gradient`, Example 19 with λ = 0.5 has D = I and j ≠ 0, its drift being no gradient.
    """
    return {
        "random": _random(settings),
        "named": _named(settings["cells"]),
        "controls": _controls(settings),
    }


def affine_residual(potential: np.ndarray, loss: np.ndarray, weights: np.ndarray) -> float:
    """√(min over a, c of E(Φ − af − c)² / Var Φ); arrays of one shape, weights that sum to 1."""
    inside = weights > 0
    weights = weights[inside] / weights[inside].sum()
    phi, f = (v[inside] - np.sum(weights * v[inside]) for v in (potential, loss))
    left = phi - f * np.sum(weights * phi * f) / np.sum(weights * f**2)
    return float(np.sqrt(np.sum(weights * left**2) / np.sum(weights * phi**2)))


def linear_numbers(F: np.ndarray, D: np.ndarray) -> dict[str, float]:
    """`residual` and `force` of f = ½xᵀFx under the Gaussian ρ^ss, whose covariance is TU⁻¹.

    With L Lᵀ = U⁻¹, Φ and f are the quadratic forms of I and M = LᵀFL in standard normal
    variables, whose covariances are ½ tr of products. The temperature drops out.
    """
    parts = linear_theory.decompose(F, D)
    root = np.linalg.cholesky(parts.covariance(1.0))
    M, one = root.T @ F @ root, np.eye(len(F))
    left = one - M * np.trace(M) / np.sum(M**2)
    force = np.linalg.norm(parts.force_matrix @ root) / np.linalg.norm(F @ root)
    return {"residual": float(np.linalg.norm(left) / np.sqrt(len(F))), "force": float(force)}


def random_pair(family: str, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """F and D of one random system of a family, both (d, d), symmetric and positive definite."""
    F = _positive(d, rng)
    if family == "isotropic":
        return F, rng.uniform(FLOOR, 2) * np.eye(d)
    if family == "commuting":
        axes = np.linalg.eigh(F)[1]
        D = (axes * rng.uniform(FLOOR, 2, d)) @ axes.T
        return F, (D + D.T) / 2
    return F, _positive(d, rng)


def _positive(d: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.standard_normal((d, d)) / np.sqrt(d)
    return root @ root.T + FLOOR * np.eye(d)


def _random(settings: dict) -> xr.Dataset:
    count = settings["systems"]
    shape = (len(FAMILIES), len(DIMENSIONS), count)
    names = ("residual", "force", "commutator", "anisotropy")
    found = {name: np.full(shape, np.nan) for name in names}
    for i, family in enumerate(FAMILIES):
        for k, d in enumerate(DIMENSIONS):
            seed = stream(settings["seed"], f"{family} linear systems of {d}")
            rng = np.random.default_rng(seed)
            for n in range(count):
                F, D = random_pair(family, d, rng)
                values = linear_numbers(F, D) | {
                    "commutator": linear_theory.commutator(F, D, relative=True),
                    "anisotropy": np.linalg.norm(D - np.trace(D) / d * np.eye(d))
                    / np.linalg.norm(D),
                }
                for name in names:
                    found[name][i, k, n] = values[name]
    dims = ("family", "dimension", "system")
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()},
        coords={
            "family": list(FAMILIES),
            "dimension": list(DIMENSIONS),
            "system": np.arange(count),
        },
    )


def _named(cells: int) -> xr.Dataset:
    rows = []
    for name, family in track(NAMED.items(), unit="system", what="potentials and losses"):
        system = systems.system(name)
        box = refinement.widened(system.box, WIDER if family == "varying" else 1.0)
        fine, coarse = (
            grid_numbers(system, found) for found in refinement.pair(system, cells, box)
        )
        exact = exact_numbers(system, cells, box)
        row = {"family": family}
        for key in ("residual", "force"):
            row |= {
                f"{key}_grid": fine[key],
                f"{key}_error": float(refinement.error(fine[key], coarse[key])),
                f"{key}_exact": exact[key] if exact else np.nan,
                key: exact[key] if exact else fine[key],
            }
        row["proportional"] = _held(system.potential_proportional_to_loss)
        row["no_force"] = _held(system.force_vanishes)
        rows.append(row)
    variables = {key: ("system", [row[key] for row in rows]) for key in rows[0]}
    return xr.Dataset(variables, coords={"system": list(NAMED)}, attrs={"cells": cells})


def grid_numbers(system: systems.System, found: refinement.Steady) -> dict[str, float]:
    """`residual` and `force` from the steady state on a grid; j = J/ρ by the fluxes."""
    phi = analysis.potential(found.density, system.temperature)
    force = analysis.force_from_current(found.generator, found.density)
    return _numbers(phi, system.loss(found.points), force, found.generator.drift, found.weights)


def exact_numbers(
    system: systems.System, cells: int, box: refinement.Box
) -> dict[str, float] | None:
    """The same from the known Φ and j, by sums over the centres; None without a known Φ."""
    if system.potential is None:
        return None
    axes = [low + (np.arange(cells) + 0.5) * (high - low) / cells for low, high in box]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    phi = system.potential(points)
    weights = np.exp(-(phi - phi.min()) / system.temperature)
    weights /= weights.sum()
    force, drift = system.force(points), system.drift(points)
    return _numbers(phi, system.loss(points), force, drift, weights)


def _numbers(phi, loss, force, drift, weights) -> dict[str, float]:
    inside = weights > 0
    squares = [np.sum(weights[inside] * (v[inside] ** 2).sum(-1)) for v in (force, drift)]
    return {
        "residual": affine_residual(phi, loss, weights),
        "force": float(np.sqrt(squares[0] / squares[1])),
    }


def _held(finding: systems.Finding | None) -> int:
    return -1 if finding is None or finding.holds is None else int(finding.holds)


def _controls(settings: dict) -> xr.Dataset:
    system = systems.linear_isotropic()
    found = refinement.steady(system, settings["cells"] // 2)
    phi = analysis.potential(found.density, system.temperature)
    rng = np.random.default_rng(stream(settings["seed"], "shuffled potential"))
    shuffled = rng.permutation(phi.ravel()).reshape(phi.shape)
    known = linear_numbers(np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 3.0]))
    values = {
        "shuffled_residual": affine_residual(shuffled, system.loss(found.points), found.weights),
        "known_residual": known["residual"],
        "known_force": known["force"],
        "proof": int(isotropic_proof()),
        "no_gradient": int(_example_19()),
    }
    return xr.Dataset({name: ((), value) for name, value in values.items()})


def _example_19() -> bool:
    system = systems.double_well(0.5)
    constant = bool(system.isotropic) and bool(system.constant_diffusion)
    return constant and not system.force_vanishes and not system.drift_is_gradient


def isotropic_proof() -> bool:
    """For any f(x₁, x₂) and c: is e^{−f/(cT)} stationary with j = 0 where b = −∇f, D = cI?"""
    x = systems.variables(2)
    c, heat = sp.symbols("c T", positive=True)
    loss = sp.Function("f", real=True)(*x)
    system = systems.make(
        "any loss",
        x=x,
        box=[(-1, 1)] * 2,
        loss=loss,
        diffusion=c * sp.eye(2),
        potential=loss / c,
        temperature=heat,
    )
    return bool(system.force_vanishes) and bool(system.stationary)
