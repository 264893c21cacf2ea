"""Theorem 22 on the grid: the residual of (19), and how far modes lie from critical points of f.

In (19) −∇f is the drift b, even where b is no gradient, as in Example 19.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import root

from limitcycles.runtime.progress import track
from limitcycles.theory import refinement, systems
from limitcycles.theory.flows import fixed_points
from limitcycles.theory.fokker_planck import analysis
from limitcycles.theory.linear_theory import LinearTheoryError
from limitcycles.theory.small_noise import SmallNoiseError, expand

READS = ("theory.cells",)

LEAST_CELLS = 256  # the rule asks for shifts of ten spacings; box and T are chosen for that
LEAST_HEIGHT = 1e-2  # of the highest mode: lower maxima are not counted
MODES, CRITICAL = 3, 9  # places in the arrays
STARTS = 9  # of Newton's method along each axis, for the zeros of the drift and of ∇Φ
MAP = 44  # cells a side of the stored picture of the density

WELLS = systems.gradient_double_well
SYSTEMS = {
    "example-19": (lambda: systems.double_well(0.5), ((-2.6, 2.6), (-4.2, 4.2))),
    "example-19-strong": (lambda: systems.double_well(1.5), ((-2.6, 2.6), (-4.2, 4.2))),
    "constant-tensor": (
        lambda: WELLS("tensor", strength=1.3, temperature=0.4),
        ((-2.1, 2.1), (-3.0, 3.0)),
    ),
    "varying-scalar": (
        lambda: WELLS("varying isotropic", temperature=0.3),
        ((-2.1, 2.7), (-3.3, 3.3)),
    ),
    "varying-diagonal": (
        lambda: WELLS("varying diagonal", strength=0.5, temperature=0.8),
        ((-2.9, 2.9), (-4.2, 4.2)),
    ),
    "varying-tensor": (
        lambda: WELLS("varying tensor", temperature=0.25),
        ((-2.3, 2.3), (-2.7, 3.3)),
    ),
    "from-potential": (systems.varying_from_potential, ((-2.5, 2.5), (-4.2, 4.2))),
    "rotation-varying": (systems.rotation_varying, ((-2.7, 2.7), (-4.6, 4.6))),
    "rotation-constant": (systems.rotating_wells, ((-2.7, 2.7), (-4.6, 4.6))),
    "commuting": (lambda: WELLS("diagonal"), ((-2.7, 2.7), (-6.0, 6.0))),
    "control": (lambda: WELLS("isotropic"), ((-2.7, 2.7), (-4.6, 4.6))),
}
DRAWN = ("example-19", "example-19-strong", "constant-tensor", "varying-tensor")


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Ten systems, and a control without any shift, on `settings.cells` cells a side, at least 256.

    Part `systems`, by system: `residual` √(E|r|²/E|b|²) of (19), r = b + (D + Q)∇Φ − T ∇·(D + Q), Q
    from the stream function; `force` √(E|j|²/E|b|²); `known` (1, 0), is Φ known in closed form,
    and `gradient` (1, 0), is b a gradient, by sympy.
    `critical`, by (system, point, axis), all zeros of the drift, NaN beyond their number.

    By (system, mode), a predicted mode each, NaN beyond their number: `distance` of the mode on
    the grid from the nearest zero of the drift and `spacings`, the same in grid spacings (the root
    of the sum of squares over both axes); `predicted_distance` and `predicted_spacings` of the
    prediction. By (…, axis): `mode`, the mode nearest to the prediction, and `predicted`:
    the minimum of the known Φ, else the zero of b − T ∇·(D + Q) that Newton's method reaches from a
    sink of b, with Q of the grid half as fine (∇Φ = 0 in (19)); no maximum of a density enters
    either. `small_noise`, the same to first order in T, NaN where b contains T or Φ has no
    expansion there. `*_error` are differences from the grid half as fine. Lengths are in units
    of x.

    Part `maps`, by (drawn, i, k), for charts: `density` at `x` and `y`, means over blocks of cells.
    """
    cells = max(settings["cells"], LEAST_CELLS)
    rows, pictures = [], []
    for name, (build, box) in track(SYSTEMS.items(), unit="system", what="modes"):
        system = build()
        fine, coarse = refinement.pair(system, cells, box)
        rows.append(locate(system, box, fine, coarse))
        if name in DRAWN:
            pictures.append(_picture(fine))
    dims = {
        "mode": ("which", "axis"),
        "predicted": ("which", "axis"),
        "critical": ("point", "axis"),
    }
    dims["small_noise"] = ("which", "axis")
    variables = {}
    for key in rows[0]:
        values = np.stack([row[key] for row in rows])
        own = dims.get(key, ("which",) * (values.ndim - 1))
        variables[key] = (("system", *own), values)
    spacing = {"cells": cells}
    return {
        "systems": xr.Dataset(variables, coords={"system": list(SYSTEMS)}, attrs=spacing),
        "maps": xr.Dataset(
            {
                "density": (("drawn", "i", "k"), np.stack([p[0] for p in pictures])),
                "x": (("drawn", "i"), np.stack([p[1] for p in pictures])),
                "y": (("drawn", "k"), np.stack([p[2] for p in pictures])),
            },
            coords={"drawn": list(DRAWN)},
        ),
    }


def locate(
    system: systems.System, box: refinement.Box, fine: refinement.Steady, coarse: refinement.Steady
) -> dict[str, np.ndarray]:
    """All numbers of one system; see `measure`."""
    zeros = fixed_points(system.drift, box, jacobian=system.jacobian, starts=STARTS)
    critical = np.array([zero.position for zero in zeros])
    sinks = [zero.position for zero in zeros if zero.is_sink]
    if system.potential is not None:
        predicted = minima(system, box)
    else:
        predicted = zeros_of_19(system, coarse, sinks)
    found, rougher = (
        analysis.modes(s.grid, s.density, least=LEAST_HEIGHT)[0] for s in (fine, coarse)
    )
    residuals = [analysis.residual_of_19(s.generator, s.density)[1] for s in (fine, coarse)]
    row = {
        "residual": np.array(residuals[0]),
        "residual_error": refinement.error(*residuals),
        "force": np.array(_force(fine)),
        "known": np.array(int(system.potential is not None)),
        "gradient": np.array(int(bool(system.drift_is_gradient))),
        "critical": np.full((CRITICAL, 2), np.nan),
        **{key: np.full((MODES, 2), np.nan) for key in ("mode", "predicted", "small_noise")},
        **{
            key: np.full(MODES, np.nan)
            for key in (
                "distance",
                "distance_error",
                "spacings",
                "predicted_distance",
                "predicted_spacings",
            )
        },
    }
    row["critical"][: len(critical)] = critical
    first_order = _small_noise(system, sinks)
    for k, point in enumerate(predicted):
        mode, rough = _nearest(found, point), _nearest(rougher, point)
        row["predicted"][k], row["mode"][k] = point, mode
        row["distance"][k], row["spacings"][k] = _apart(mode, critical, fine)
        row["distance_error"][k] = refinement.error(
            row["distance"][k], _apart(rough, critical, fine)[0]
        )
        expected = _apart(point, critical, fine)
        row["predicted_distance"][k], row["predicted_spacings"][k] = expected
        if len(first_order):
            row["small_noise"][k] = _nearest(first_order, point)
    return row


def minima(system: systems.System, box: refinement.Box) -> np.ndarray:
    """Minima (n, d) of the known Φ."""
    slope = system.potential_gradient_symbol
    d = system.dimension
    hessian = system.compile(slope.jacobian(list(system.symbols.x)))
    downhill = fixed_points(
        system.compile(-slope),
        box,
        jacobian=lambda x: -hessian(x).reshape(*np.shape(x)[:-1], d, d),
        starts=STARTS,
    )
    return np.array([zero.position for zero in downhill if zero.is_sink])


def zeros_of_19(
    system: systems.System, found: refinement.Steady, starts: list[np.ndarray]
) -> np.ndarray:
    """Zeros (n, 2) of b − T ∇·(D + Q), where (19) has ∇Φ = 0, that are reached from `starts`."""
    q = analysis.antisymmetric_part(found.generator, found.density)[..., 0, 1]
    spline = RectBivariateSpline(*found.grid.axes, np.nan_to_num(q, posinf=0, neginf=0), kx=5, ky=5)
    spread = system.compile(systems.tensor_divergence(system.symbols.diffusion, system.symbols.x))

    def field(x):
        turn = np.array([spline.ev(*x, dy=1), -spline.ev(*x, dx=1)])
        return system.drift(x) - system.temperature * (spread(x) + turn)

    answers = [root(field, start) for start in starts]
    return np.array([a.x for a in answers if a.success]).reshape(-1, 2)


def _small_noise(system: systems.System, sinks: list[np.ndarray]) -> np.ndarray:
    """Modes to first order in T; none where the drift contains T, which `from_potential` makes."""
    if system.name in ("rotation_varying", "varying_from_potential", "double_well"):
        return np.empty((0, 2))
    try:
        return np.array([x + system.temperature * expand(system, x).shift for x in sinks])
    except (SmallNoiseError, LinearTheoryError):
        return np.empty((0, 2))


def _nearest(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    return points[np.argmin(np.linalg.norm(points - place, axis=1))]


def _apart(
    point: np.ndarray, critical: np.ndarray, found: refinement.Steady
) -> tuple[float, float]:
    """Distance of a point from the nearest critical point, in units of x and in spacings."""
    away = point - _nearest(critical, point)
    return float(np.linalg.norm(away)), float(np.linalg.norm(away / found.grid.spacing))


def _force(found: refinement.Steady) -> float:
    force = analysis.force_from_current(found.generator, found.density)
    squares = [(v**2).sum(-1) for v in (force, found.generator.drift)]
    return float(
        np.sqrt(np.nansum(found.weights * squares[0]) / np.sum(found.weights * squares[1]))
    )


def _picture(found: refinement.Steady) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The density as means over MAP × MAP blocks, and the middles of the blocks."""
    blocks = [np.array_split(np.arange(n), MAP) for n in found.grid.shape]
    density = np.array([[found.density[np.ix_(i, k)].mean() for k in blocks[1]] for i in blocks[0]])
    middles = [
        np.array([axis[b].mean() for b in block])
        for axis, block in zip(found.grid.axes, blocks, strict=True)
    ]
    return density, *middles
