"""Lemma 20 on random stable systems: F = (D + Q)U, and Σ = T U⁻¹ against simulated paths.

The paths follow the exact law of dx = −Fx dt + √(2 T D) dW over one interval after another, from
the matrix exponential: no time step, and nothing of the decomposition enters.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import linear_theory

READS = ("theory.seed", "theory.paths", "theory.systems", "rule.level")

DIMENSIONS = (2, 4, 8)
TEMPERATURE = 0.5
SLOWEST = 0.5  # smallest real part of an eigenvalue of F
INTERVAL, INTERVALS = 2.0, 20  # what was there at the start is then e^{-20} of itself
NOISE_FLOOR = 0.1  # smallest eigenvalue of D


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """`settings.systems` systems of each dimension, `settings.paths` paths of each.

    Part `systems`, by (dimension, system): `residual` ‖F − (D + Q)U‖/‖F‖, `antisymmetry`
    ‖Q + Qᵀ‖/‖Q‖, `commutator` ‖FD − DFᵀ‖/(2‖FD‖), and `planted_error`, that of Q and U of a system
    which was put together from them. By (dimension, system, direction): `ratio`, of simulated to
    predicted variance along each eigenvector of the predicted covariance T U⁻¹, with `low` and
    `high`, an interval at the level of the rule that holds for all of a dimension at once (χ² with
    as many degrees of freedom as paths; Šidák); NaN beyond d directions. `hessian_*` is the same
    with the symmetric part of F in place of U, the Hessian of the loss that the drift
    resembles most.
    """
    count, paths = settings["systems"], settings["paths"]
    single = ("residual", "antisymmetry", "commutator", "planted_error")
    several = [
        f"{prefix}{name}" for prefix in ("", "hessian_") for name in ("ratio", "low", "high")
    ]
    shape = (len(DIMENSIONS), count)
    found = {name: np.full(shape, np.nan) for name in single}
    found |= {name: np.full((*shape, max(DIMENSIONS)), np.nan) for name in several}
    bar = track(total=len(DIMENSIONS) * count, unit="system", what="linear systems")
    for i, d in enumerate(DIMENSIONS):
        rng = np.random.default_rng(stream(settings["seed"], f"linear systems of {d}"))
        for k in range(count):
            level = settings["level"] ** (1 / (count * d))
            for name, value in _one(d, paths, level, rng).items():
                found[name][(i, k, slice(d))[: found[name].ndim]] = value
            bar.update()
    bar.close()
    dims = ("dimension", "system", "direction")
    variables = {name: (dims[: values.ndim], values) for name, values in found.items()}
    return {
        "systems": xr.Dataset(
            variables,
            coords={"dimension": list(DIMENSIONS), "system": np.arange(count)},
            attrs={"paths": paths, "level": settings["level"], "temperature": TEMPERATURE},
        )
    }


def _one(d: int, paths: int, level: float, rng: np.random.Generator) -> dict:
    drift = rng.standard_normal((d, d)) / np.sqrt(d)
    drift += (SLOWEST - np.linalg.eigvals(drift).real.min()) * np.eye(d)
    noise = rng.standard_normal((d, d)) / np.sqrt(d)
    noise = noise @ noise.T + NOISE_FLOOR * np.eye(d)
    parts = linear_theory.decompose(drift, noise)
    covariance = simulated_covariance(drift, noise, paths, rng)
    result = {
        "residual": parts.residual,
        "antisymmetry": parts.antisymmetry,
        "commutator": linear_theory.commutator(drift, noise, relative=True),
        "planted_error": _planted(d, noise, rng),
    }
    for prefix, curvature in (("", parts.U), ("hessian_", (drift + drift.T) / 2)):
        stiffness, directions = np.linalg.eigh(curvature)
        variance = np.einsum("ik,ij,jk->k", directions, covariance, directions)
        ratio = variance * stiffness / TEMPERATURE
        low, high = ratio_interval(ratio, paths, level)
        result |= {f"{prefix}ratio": ratio, f"{prefix}low": low, f"{prefix}high": high}
    return result


def simulated_covariance(
    drift: np.ndarray, noise: np.ndarray, paths: int, rng: np.random.Generator
) -> np.ndarray:
    """Σ of paths of dx = −Fx dt + √(2 T D) dW from the origin, after a long time; (d, d)."""
    propagator, kick = linear_theory.transition(drift, noise, TEMPERATURE, INTERVAL)
    root = np.linalg.cholesky(kick)
    points = np.zeros((paths, len(drift)))
    for _ in range(INTERVALS):
        points = points @ propagator.T + rng.standard_normal(points.shape) @ root.T
    return points.T @ points / paths


def ratio_interval(ratio: np.ndarray, degrees: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the expectation of `ratio`, a mean of `degrees` squares of normal numbers."""
    tails = (1 - level) / 2
    return tuple(degrees * ratio / stats.chi2.ppf(q, degrees) for q in (1 - tails, tails))


def _planted(d: int, noise: np.ndarray, rng: np.random.Generator) -> float:
    """Largest relative error with which the known Q and U of F = (D + Q)U come back."""
    Q = rng.standard_normal((d, d))
    Q -= Q.T
    U = rng.standard_normal((d, d)) / np.sqrt(d)
    U = U @ U.T + NOISE_FLOOR * np.eye(d)
    found = linear_theory.decompose((noise + Q) @ U, noise)
    return max(
        float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in ((found.Q, Q), (found.U, U))
    )
