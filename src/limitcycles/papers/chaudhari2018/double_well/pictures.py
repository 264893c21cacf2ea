"""What the charts of Example 19 show: maps of the density, arrows of the drift, and orbits."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.interpolate import RegularGridInterpolator

from limitcycles.theory import systems

HALF = 2.0  # of the square that is drawn
PIXELS, ARROWS = 32, 13
SHOWN = (1.0, 0.2)  # temperatures
ORBIT_LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
STARTS = 6
TIME = 25.0
ORBIT_POINTS, SPACING = 140, 0.06  # at most so many, at least so far apart


def pictures(lambdas, densities: dict) -> xr.Dataset:
    """`densities` are {(λ, T): (grid, ρ)}, with those of SHOWN among them.

    `log_density` (lam, shown, u, v): log ρ relative to its maximum, at points of a square;
    `drift1`, `drift2` (lam, arrow1, arrow2): b; `orbit1`, `orbit2` (orbit_lam, start, step):
    points along the paths of ẋ = b(x), equally far apart along each; NaN after the end.
    """
    line = (np.arange(PIXELS) + 0.5) / PIXELS * 2 * HALF - HALF
    arrows = np.linspace(-HALF, HALF, ARROWS + 2)[1:-1]
    points = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    roots = np.stack(np.meshgrid(arrows, arrows, indexing="ij"), -1)
    logs = np.stack([[_relative(*densities[lam, t], points) for t in SHOWN] for lam in lambdas])
    drift = np.stack([systems.double_well(lam).drift(roots) for lam in lambdas])
    orbits = np.full((len(ORBIT_LAMBDAS), STARTS, ORBIT_POINTS, 2), np.nan)
    angle = 2 * np.pi * (np.arange(STARTS) + 0.25) / STARTS
    starts = 1.9 * np.stack([np.cos(angle), np.sin(angle)], -1)
    for i, lam in enumerate(ORBIT_LAMBDAS):
        field = systems.double_well(lam).drift
        for k, start in enumerate(starts):
            found = _orbit(field, start)
            orbits[i, k, : len(found)] = found
    return xr.Dataset(
        {
            "log_density": (("lam", "shown", "u", "v"), logs),
            "drift1": (("lam", "arrow1", "arrow2"), drift[..., 0]),
            "drift2": (("lam", "arrow1", "arrow2"), drift[..., 1]),
            "orbit1": (("orbit_lam", "start", "step"), orbits[..., 0]),
            "orbit2": (("orbit_lam", "start", "step"), orbits[..., 1]),
        },
        coords={
            "lam": list(lambdas),
            "shown": list(SHOWN),
            "u": line,
            "v": line,
            "arrow1": arrows,
            "arrow2": arrows,
            "orbit_lam": list(ORBIT_LAMBDAS),
        },
        attrs={"half": HALF, "time": TIME},
    )


def _relative(grid, density: np.ndarray, points: np.ndarray) -> np.ndarray:
    """log(ρ/max ρ) at points (..., 2) inside the grid."""
    with np.errstate(divide="ignore"):
        logs = np.log(density / density.max())
    return RegularGridInterpolator(
        grid.axes, np.maximum(logs, -700), bounds_error=False, fill_value=-700
    )(points)


def _orbit(field, start: np.ndarray) -> np.ndarray:
    """Points of the path from `start`, equally far apart along it; (n, 2)."""
    times = np.linspace(0, TIME, 2501)
    path = solve_ivp(
        lambda _, x: field(x), (0, TIME), start, method="DOP853", t_eval=times, rtol=1e-8, atol=1e-9
    ).y.T
    length = np.append(0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=-1)))
    count = int(np.clip(length[-1] / SPACING, 2, ORBIT_POINTS))
    places = np.linspace(0, length[-1], count)
    return np.stack([np.interp(places, length, path[:, k]) for k in (0, 1)], -1)
