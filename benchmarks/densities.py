"""Fokker-Planck problems in two dimensions with closed forms, for `fokker_planck.py`.

dx = b(x) dt + √(2 T D) dW on a square wide enough that its sides do not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov

START_MEAN, START_COVARIANCE = np.array([1.5, 0.0]), 0.4 * np.eye(2)


@dataclass(frozen=True)
class Problem:
    """`drift` maps coordinates (x, y) to (b_x, b_y); `expressions` are the same as text.

    The domain is the square of side 2 `side` around the origin. `potential` is there where
    b = −∇potential and D = I. `steady` and `at` give log ρ up to a constant: the steady state, and
    the density at a time after the Gaussian with START_MEAN and START_COVARIANCE, where known.
    `mode` is a point with a large steady density.
    """

    what: str
    side: float
    temperature: float
    diffusion: np.ndarray
    drift: Callable
    expressions: tuple[str, str]
    mode: tuple[float, float]
    steady: Callable
    at: Callable | None = None
    potential: Callable | None = None

    @property
    def isotropic(self) -> bool:
        return bool((self.diffusion == np.eye(2)).all())


def log_gaussian(x, y, mean, covariance) -> np.ndarray:
    """log of a Gaussian density up to a constant."""
    a, b, c = np.linalg.inv(covariance)[np.triu_indices(2)]
    u, v = x - mean[0], y - mean[1]
    return -(a * u * u + 2 * b * u * v + c * v * v) / 2


def linear(what: str, F, D, sigmas: float = 6.0) -> Problem:
    """Ornstein-Uhlenbeck: b = −Fx, T = 1; Gaussian with known mean and covariance at all times."""
    F, D = np.array(F, float), np.array(D, float)
    stationary = solve_continuous_lyapunov(F, 2 * D)

    def at(x, y, time):
        decay = expm(-F * time)
        spread = stationary + decay @ (START_COVARIANCE - stationary) @ decay.T
        return log_gaussian(x, y, decay @ START_MEAN, spread)

    return Problem(
        what=what,
        side=sigmas * float(np.sqrt(stationary.diagonal().max())),
        temperature=1.0,
        diffusion=D,
        drift=lambda x, y: tuple(-row[0] * x - row[1] * y for row in F),
        expressions=tuple(f"({-row[0]}*x + {-row[1]}*y)" for row in F),
        mode=(0.0, 0.0),
        steady=lambda x, y: log_gaussian(x, y, (0, 0), stationary),
        at=at,
    )


def wells(what: str, spin: float) -> Problem:
    """Φ = (x² − 1)² + 2y², b = −(I + spin·Q)∇Φ with Q = (0 1; −1 0): steady state e^{−Φ/T}."""

    def potential(x, y):
        return (x**2 - 1) ** 2 + 2 * y**2

    def drift(x, y):
        u, v = 4 * x * (x**2 - 1), 4 * y
        return -u - spin * v, -v + spin * u

    return Problem(
        what=what,
        side=2.2,
        temperature=0.5,
        diffusion=np.eye(2),
        drift=drift,
        expressions=(
            f"(-4*x*(x**2 - 1) - {4 * spin}*y)",
            f"(-4*y + {4 * spin}*x*(x**2 - 1))",
        ),
        mode=(1.0, 0.0),
        steady=lambda x, y: -potential(x, y) / 0.5,
        potential=None if spin else potential,
    )


PROBLEMS = {
    "rotation": linear("Ornstein-Uhlenbeck, rotation 1, D = I", [[1, -1], [1, 1]], np.eye(2)),
    "wells": wells("double well, b = −∇Φ, D = I: detailed balance", 0.0),
    "driven-wells": wells("double well, b = −(I + Q)∇Φ, D = I: currents, not linear", 1.0),
    "tensor": linear(
        "Ornstein-Uhlenbeck, full D: two unequal rates, rotation",
        [[1, -0.5], [0.5, 2]],
        [[2.0, 0.9], [0.9, 1.0]],
    ),
}


def total_variation(density: np.ndarray, log_exact: np.ndarray) -> float:
    """½Σ|p − q| over the centres of a grid; both are normalised."""
    exact = np.exp(log_exact - log_exact.max())
    return float(np.abs(density / density.sum() - exact / exact.sum()).sum() / 2)
