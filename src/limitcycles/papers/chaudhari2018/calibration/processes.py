"""Processes of which it is known whether they have a current.

Each gives the coordinates (step, plane, 2) of one plane. All but `driven` have no current.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from limitcycles.theory import linear_theory
from limitcycles.theory.linear_sgd import LinearSGD, linear_series

STEPS = 20_000  # of a run, if nothing else is said
Process = Callable[[np.random.Generator, int], np.ndarray]


def white_noise(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Independent normal points; the coordinates are correlated, 0.6."""
    points = rng.standard_normal((steps, 2))
    points[:, 1] = 0.6 * points[:, 0] + 0.8 * points[:, 1]
    return points[:, None]


def random_walk(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Sums of white noise: no current, and no stationary state either.

    The area interval alone finds currents too often in it; the gate has to stop it.
    """
    return np.cumsum(white_noise(rng, steps), axis=0)


def reversible(rng: np.random.Generator, steps: int) -> np.ndarray:
    """A reversible OU process, F = DU with D and U that do not commute.

    Relaxation times of 50 and 7 steps; anisotropic noise, correlated coordinates, no current.
    """
    D, U = np.array([[1.0, 0.5], [0.5, 0.6]]), np.array([[0.06, 0.02], [0.02, 0.15]])
    return _ornstein_uhlenbeck(D @ U, D, rng, steps)[:, None]


def underdamped(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Two positions of a reversible underdamped OU process: damped swings, no current.

    Stiffnesses 0.09 and 0.02 on axes turned by 40°, friction 0.1: periods of 21 and 47 steps,
    damped in 20.
    """
    c, s = np.cos(np.radians(40)), np.sin(np.radians(40))
    axes = np.array([[c, -s], [s, c]])
    zero, one = np.zeros((2, 2)), np.eye(2)
    F = np.block([[zero, -one], [axes @ np.diag([0.09, 0.02]) @ axes.T, 0.1 * one]])
    D = scipy.linalg.block_diag(zero, 0.1 * one)
    return _ornstein_uhlenbeck(F, D, rng, steps)[:, None, :2]


def sgd_without_replacement(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Ends of epochs of SGD on a quadratic whose H and D commute, 64 examples in batches of 8.

    Shuffled anew each epoch; relaxation times of 12.5 and 5 epochs. A step is an epoch.
    """
    examples = rng.standard_normal((64, 2))
    examples = np.linalg.qr(examples - examples.mean(0))[0] * [8.0, 16.0]  # D = diag(1, 4)
    model = LinearSGD(np.diag([0.1, 0.25]), np.diag([1.0, 4.0]), 0.1, 8)
    warm = 200
    states = model.simulate_epochs(
        examples, steps + warm, int(rng.integers(2**63)), replacement=False
    )
    return states[warm:, None]


STRENGTH = 0.12  # radians turned in one relaxation time
RELAXATION = 20.0  # steps


def driven(rng: np.random.Generator, steps: int, *, strength: float = STRENGTH) -> np.ndarray:
    """A rotational OU process, dx = −(1 + sJ)x dt/τ + dW: it turns `strength` s radians in τ steps.

    τ = `RELAXATION`. In n steps the area rate is s/√(1 + s²) · √(n/τ) standard deviations from 0:
    3.8 for the default of s and 20,000 steps.
    """
    F = np.array([[1.0, strength], [-strength, 1.0]]) / RELAXATION
    return _ornstein_uhlenbeck(F, np.eye(2), rng, steps)[:, None]


NULLS: dict[str, Process] = {
    "white noise": white_noise,
    "random walk": random_walk,
    "reversible OU": reversible,
    "reversible underdamped OU": underdamped,
    "SGD without replacement": sgd_without_replacement,
}


def _ornstein_uhlenbeck(F, D, rng, steps) -> np.ndarray:
    """Stationary points of dx = −Fx dt + sqrt(2D) dW at whole times; no time step."""
    A, C = linear_theory.transition(F, D, 1.0, 1.0)
    sigma = linear_theory.stationary_covariance(F, D, 1.0)
    start = np.linalg.cholesky(sigma) @ rng.standard_normal(len(A))
    noise = rng.standard_normal((steps, len(A))) @ np.linalg.cholesky(C).T
    return linear_series(A, noise, start)
