"""Linear systems with and without a planted current, measured as trajectories are."""

from __future__ import annotations

from functools import cache

import numpy as np
import xarray as xr

from limitcycles.papers.chaudhari2018.network_currents.rates import measured
from limitcycles.statistics import currents
from limitcycles.statistics.slopes import Slope, prediction_slope
from limitcycles.theory.linear_sgd import LinearSGD

EPOCHS = 120_000  # 24,000 relaxation times: what turns 0.05 radians in one is seen with them
WARM = 200  # epochs until the start is forgotten
RATE, BATCH, EXAMPLES = 0.05, 8, 64
HESSIAN = np.diag([0.6, 0.45, 0.35])
# Variances like the curvatures, as near minima, and the correlations of noise measured there.
CORRELATION = np.array([[1.0, 0.25, -0.2], [0.25, 1.0, 0.15], [-0.2, 0.15, 1.0]])
PLANES = np.eye(3)[[[0, 1], [0, 2], [1, 2]]]


def model(turning: bool) -> LinearSGD:
    """Three directions; D commutes with H unless `turning`."""
    root = np.sqrt(HESSIAN)
    return LinearSGD(HESSIAN, root @ (CORRELATION if turning else np.eye(3)) @ root, RATE, BATCH)


def strength() -> float:
    """The largest angle, in radians, turned in a relaxation time, over the planes."""
    epoch = model(True).epoch(EXAMPLES)
    sigma = epoch.covariance()
    angles = []
    for plane in PLANES:
        size = np.sqrt(np.linalg.det(plane @ sigma @ plane.T))
        pace = RATE * epoch.steps * np.trace(plane @ HESSIAN @ plane.T) / 2
        angles.append(abs(epoch.area_rate(plane)) / size / pace)
    return max(angles)


@cache
def tables(level: float) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Measured: the one that turns, the one that does not, and phases of the first, independent.

    `level` is that of the gate. Batches drawn with replacement from examples of exactly that D.
    """
    paths = [_path(model(turning), seed) for seed, turning in enumerate((True, False))]
    phases = currents.surrogates(paths[0], phases="independent", seed=2)
    return tuple(xr.Dataset(measured(path, level)) for path in (*paths, phases))


def slope(level: float) -> Slope:
    """Measured on predicted rates of the one that turns, where the theory is exact."""
    epoch = model(True).epoch(EXAMPLES)
    predicted = [epoch.area_rate(plane) for plane in PLANES]
    return prediction_slope(predicted, tables(level)[0]["batch_rate"].values.T, level=level)


def _path(system: LinearSGD, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((EXAMPLES, 3))
    raw = np.linalg.qr(raw - raw.mean(0))[0] * np.sqrt(EXAMPLES)  # covariance 1, sum 0
    examples = raw @ np.linalg.cholesky(system.diffusion).T
    states = system.simulate_epochs(examples, EPOCHS + WARM, seed)
    return currents.project(states[WARM:], PLANES)
