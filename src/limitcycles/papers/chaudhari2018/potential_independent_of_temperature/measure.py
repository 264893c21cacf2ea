"""Potentials at several temperatures, and how far modes lie from critical points as T grows."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline

from limitcycles.runtime.progress import track
from limitcycles.theory import refinement, systems
from limitcycles.theory.fokker_planck import analysis, extrapolated_steady_state
from limitcycles.theory.linear_theory import stationary_covariance
from limitcycles.theory.small_noise import expand

READS = ("theory.cells",)

WELLS = systems.gradient_double_well
TEMPERATURES = np.geomspace(0.05, 5, 5)  # two decades; every other one is a decade apart
LEAST_CELLS = 96
DECADE = 2  # places in TEMPERATURES
RESOLVED = 1e-4  # of the largest density: the cells on which potentials are compared
PROFILE = np.linspace(-2, 2, 81)  # x₁, at x₂ = 0

POTENTIALS = {
    "linear": lambda T: systems.linear_non_commuting(temperature=T),
    "rotational": lambda T: systems.rotating_wells(temperature=T),
    "constant-tensor": lambda T: WELLS("tensor", temperature=T),
    "varying-scalar": lambda T: WELLS("varying isotropic", temperature=T),
    "varying-tensor": lambda T: WELLS("varying tensor", temperature=T),
    "example-19": lambda T: systems.double_well(0.5, temperature=T),
    "control": lambda T: systems.isotropic_from_loss(temperature=T),
}

SHIFT_TEMPERATURES = np.geomspace(0.03, 0.3, 5)  # a decade, to which the rule is applied
WIDE_TEMPERATURES = np.geomspace(0.02, 2, 5)  # two; lower, rounding may move mass between wells
LEAST_ERROR = 1e-3  # spacings: no mode is taken to be known better than this
SLOPE, CURVATURE = 0.5, 0.1  # of the one-dimensional D = 1 + 0.5 x + 0.1 x²
SHIFTS = {
    "constant": lambda T: WELLS("tensor", temperature=T),
    "varying-scalar": lambda T: WELLS("varying isotropic", strength=0.5, temperature=T),
    "varying-tensor": lambda T: WELLS("varying tensor", temperature=T),
    "line": lambda T: systems.multiplicative_noise(SLOPE, CURVATURE, temperature=T),
    "still": lambda T: WELLS("isotropic", temperature=T),
}


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Steady states by (system, temperature), on grids fitted to each density.

    Half of `settings.cells` cells a side, but at least 96 or all of them, in multiples of four:
    densities are extrapolated to fourth order, and every error is the difference from the same on
    a grid half as fine.

    Part `potentials`, five temperatures from 0.05 to 5. By (system, pair), `colder` T of a pair a
    decade apart: `difference`, the root mean square of Φ(T) − Φ(10T), each up to a constant,
    relative to the standard deviation of Φ(T), over the cells of the colder grid with at least 1e-4
    of its largest density (all cells count alike; the hotter density, wider, is interpolated and
    larger there), and its `error`. `profile`, by (system, temperature, x): Φ along x₂ = 0, least
    value zero, NaN where the density is below 1e-4 of the largest. By sympy, by system (1, 0 or
    −1): `constant` (D), `divergence_free` (j, at T = 1). `closed_difference`, by pair: that of the
    control, D = I/(1 + f), from its Φ = f + f²/2 − T log(1 + f). `linear_difference`: the largest
    entry of U(T) − U(10T), relative to U, of the linear system from the Lyapunov equation.

    Part `shifts`, five temperatures from 0.03 to 0.3. By (system, temperature): `distance`, the
    largest distance of a mode from the nearest sink of the drift (units of x), its `error`, at
    least a thousandth of the spacing, and `predicted`, to first order in T (`small_noise`), for the
    one-dimensional "line" the closed form αT/(1 + 2κT), for "still" zero; `force`, √(E|j|²/E|b|²).

    Part `wide_shifts`: the same at five temperatures from 0.02 to 2.
    """
    cells = min(settings["cells"], max(LEAST_CELLS, settings["cells"] // 2))
    cells -= cells % 4
    return {
        "potentials": _potentials(cells),
        "shifts": _shifts(cells, SHIFT_TEMPERATURES),
        "wide_shifts": _shifts(cells, WIDE_TEMPERATURES),
    }


def start_box(temperature: float) -> refinement.Box:
    """A box that is certainly wide enough for the two-dimensional systems; see `_grids.fitted`."""
    wide = 1.5 * np.sqrt(1 + np.sqrt(64 * temperature))
    high = 0.8 + 2.2 * np.sqrt(32 * temperature)
    return ((-wide, wide), (-high, high))


def extrapolated(system: systems.System, cells: int, box: refinement.Box) -> refinement.Steady:
    """The steady state to fourth order."""
    made = refinement.made(system, cells, box)
    return refinement.Steady(made, extrapolated_steady_state(made))


def _both(system: systems.System, cells: int) -> tuple[refinement.Steady, refinement.Steady]:
    start = start_box(system.temperature)
    if system.name == "linear_non_commuting":
        start = system.box
    elif system.dimension == 1:
        start = ((-8 * np.sqrt(system.temperature), 8 * np.sqrt(system.temperature)),)
    box = refinement.fitted(system, start)
    with refinement.quiet():
        coarse = extrapolated(system, cells // 2, box)
    return extrapolated(system, cells, box), coarse


# -------------------------------------------------------------------------------- potentials


def _potentials(cells: int) -> xr.Dataset:
    names, pairs = list(POTENTIALS), len(TEMPERATURES) - DECADE
    difference, error = np.zeros((2, len(names), pairs))
    profile = np.full((len(names), len(TEMPERATURES), len(PROFILE)), np.nan)
    facts = {"constant": [], "divergence_free": []}
    total = len(names) * len(TEMPERATURES)
    bar = track(total=total, unit="temperature", what="potentials")
    for i, build in enumerate(POTENTIALS.values()):
        found = []
        for T in TEMPERATURES:
            found.append(_both(build(float(T)), cells))
            profile[i, len(found) - 1] = along(found[-1][0])
            bar.update()
        for k in range(pairs):
            values = [
                relative_difference(found[k][grid], found[k + DECADE][grid]) for grid in (0, 1)
            ]
            difference[i, k], error[i, k] = values[0], refinement.error(*values)
        plain = build(1)
        facts["constant"].append(int(bool(plain.constant_diffusion)))
        free = plain.divergence_free
        facts["divergence_free"].append(
            -1 if free is None or free.holds is None else int(free.holds)
        )
    bar.close()
    return xr.Dataset(
        {
            "difference": (("system", "pair"), difference),
            "error": (("system", "pair"), error),
            "profile": (("system", "temperature", "x"), profile),
            "closed_difference": ("pair", [_closed(T, cells) for T in TEMPERATURES[:pairs]]),
            "linear_difference": ("pair", [_linear(T) for T in TEMPERATURES[:pairs]]),
            **{key: ("system", values) for key, values in facts.items()},
        },
        coords={
            "system": names,
            "temperature": TEMPERATURES,
            "colder": ("pair", TEMPERATURES[:pairs]),
            "x": PROFILE,
        },
        attrs={"cells": cells},
    )


def relative_difference(cold: refinement.Steady, hot: refinement.Steady) -> float:
    """√Var(Φ_hot − Φ_cold)/√Var(Φ_cold) over the cells where the colder density is resolved."""
    inside = cold.density >= RESOLVED * cold.density.max()
    phi = analysis.potential(cold.density, cold.generator.temperature)[inside]
    wide = analysis.potential(np.maximum(hot.density, 1e-300), hot.generator.temperature)
    other = RectBivariateSpline(*hot.grid.axes, wide, kx=3, ky=3).ev(*cold.points[inside].T)
    return float(np.std(other - phi) / np.std(phi))


def along(found: refinement.Steady) -> np.ndarray:
    """Φ at (x₁, 0) for the x₁ of PROFILE, least value zero, NaN where it is not resolved."""
    top = found.density.max()
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(found.density, 1e-300) / top)
    line = RectBivariateSpline(*found.grid.axes, logs, kx=3, ky=3).ev(PROFILE, 0.0)
    low, high = found.grid.low[0], found.grid.high[0]
    inside = (np.abs(PROFILE - (low + high) / 2) < (high - low) / 2) & (line >= np.log(RESOLVED))
    return np.where(inside, -found.generator.temperature * line, np.nan)


def _closed(temperature: float, cells: int) -> float:
    """The difference of the control from its closed form, over the cells of a fitted grid."""
    cold, hot = (
        systems.isotropic_from_loss(temperature=float(t)) for t in (temperature, 10 * temperature)
    )
    box = refinement.fitted(cold, start_box(temperature))
    axes = [low + (np.arange(cells) + 0.5) * (high - low) / cells for low, high in box]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    phi = cold.potential(points)
    inside = phi - phi.min() <= -temperature * np.log(RESOLVED)
    return float(np.std((hot.potential(points) - phi)[inside]) / np.std(phi[inside]))


def _linear(temperature: float) -> float:
    F, D = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 3.0])
    cold, hot = (
        t * np.linalg.inv(stationary_covariance(F, D, t)) for t in (temperature, 10 * temperature)
    )
    return float(np.abs(cold - hot).max() / np.abs(cold).max())


# ------------------------------------------------------------------------------------ shifts


def _shifts(cells: int, temperatures: np.ndarray) -> xr.Dataset:
    names = list(SHIFTS)
    values = {
        key: np.zeros((len(names), len(temperatures)))
        for key in ("distance", "error", "predicted", "force")
    }
    bar = track(total=values["error"].size, unit="temperature", what="shifts")
    for i, (name, build) in enumerate(SHIFTS.items()):
        sinks = np.array([[0.0]]) if name == "line" else np.array([[-1.0, 0.0], [1.0, 0.0]])
        for k, T in enumerate(temperatures):
            system = build(float(T))
            fine, coarse = _both(system, cells)
            near, rough = (distance(found, sinks) for found in (fine, coarse))
            values["distance"][i, k] = near
            least = LEAST_ERROR * fine.grid.spacing.max()
            values["error"][i, k] = max(float(refinement.error(near, rough)), least)
            values["predicted"][i, k] = _predicted(name, system, sinks)
            values["force"][i, k] = force(fine)
            bar.update()
    bar.close()
    return xr.Dataset(
        {key: (("system", "temperature"), v) for key, v in values.items()},
        coords={"system": names, "temperature": temperatures},
        attrs={"cells": cells},
    )


def distance(found: refinement.Steady, sinks: np.ndarray) -> float:
    """The largest distance of a mode from the nearest of the points `sinks` (n, d)."""
    modes, _ = analysis.modes(found.grid, found.density, least=1e-2)
    sharp = [refinement.sharpened(found.grid, found.density, mode) for mode in modes]
    return max(float(np.linalg.norm(sinks - mode, axis=1).min()) for mode in sharp)


def force(found: refinement.Steady) -> float:
    """√(E|j|²/E|b|²) with j = b + D∇Φ − T∇·D."""
    j = analysis.force(found.generator, found.density)
    inside = np.isfinite(j).all(-1)
    squares = [
        np.sum(found.weights[inside] * (v[inside] ** 2).sum(-1)) for v in (j, found.generator.drift)
    ]
    return float(np.sqrt(squares[0] / squares[1]))


def _predicted(name: str, system: systems.System, sinks: np.ndarray) -> float:
    T = system.temperature
    if name == "line":
        return -systems.multiplicative_mode(SLOPE, CURVATURE, T)
    return max(T * float(np.linalg.norm(expand(system, sink).shift)) for sink in sinks)
