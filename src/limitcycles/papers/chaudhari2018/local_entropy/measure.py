"""Local entropy f_γ = −log(G_γ * e^{−f}): masses of sharp and wide wells, and the saddle.

G_γ is the Gaussian density of covariance γI. It is applied on a grid as its exact Fourier
multiplier e^{−γ|k|²/2}, on a box with so much empty room around it that nothing comes round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import xarray as xr
from scipy.special import ndtr

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.statistics.convergence import log_log_slope
from limitcycles.theory import systems

READS = ("theory.cells", "rule.level")

RATIOS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # curvature of the sharp well over that of the wide one
GAMMAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
DIMENSIONS = (1, 2)
DISTANCE = 12.0  # between the wells: at γ = 1 a share of 1e-5 lies across the middle
ROOM = 9.0  # of the box beyond the wells
PADDING = 8.0  # in standard deviations of G_γ
TIGHT, WIDE = 1.5, 3.5  # half sides of the boxes in which the saddle is ranked
MEASURED = 12.0  # f_γ above its minimum up to which it is compared with the closed form
SECTION_RATIO = 16.0


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Two Gaussian wells on grids of 4·`cells` (by 2·`cells`), and the Φ of Example 19.

    Part `wells`, by (dimension, gamma, ratio): `mass`, sharp to wide, under e^{−f_γ}, divided half
    way between the wells, `mass_barrier`, divided where f_γ is highest between them; `mass_exact`
    in closed form; `mass_coarse` on half the grid; `depth` f_γ(sharp) − f_γ(wide) at the two
    minima and `depth_exact` = (d/2) log((1 + rγ)/(1 + γ)); `error`, the largest |f_γ − closed form|
    on the grid up to 12 above its minimum. `mass_fixed` is the mass ratio of the same wells with
    the sharp one's weight made equal to the wide one's.
    By (dimension, gamma), for each of the masses (`mass`, `mass_exact`, `mass_fixed`): `slope` of
    log mass against log ratio with its interval `slope_low`, `slope_high`: Student's t, widened by
    `slope_error`, what the grid and the mass across the middle can add (`slope_exact_*`,
    `slope_fixed_*`). `power` and `exponential` are the root mean square deviations of log mass from
    a straight line in log ratio and in ratio, `height_power` and `height_exponential` those of
    −depth.
    Part `saddle`, by gamma: `value` f_γ at the origin, `well` at (1, 0), `lowest` in the box;
    `quantile` of the saddle and `well_quantile` within [−1.5, 1.5]², `wide_quantile` within
    [−3.5, 3.5]², `coarse_quantile` on half the cells; `curvature` ∂²f_γ/∂x₁² at the origin,
    negative while it is a saddle.
    Part `sections`, by (gamma, x): `f` along the line through both wells, d = 1, ratio 16.

    Raises LimitcyclesError: fewer than 48 cells or an odd number of them.
    """
    cells = settings["cells"]
    if cells < 48 or cells % 2:
        raise LimitcyclesError(
            f"the claim local-entropy needs an even number of cells from 48 on, not {cells}; "
            "change `theory`."
        )
    wells, sections = _wells(cells, settings["level"])
    return {"wells": wells, "sections": sections, "saddle": _saddle(cells)}


def smoothed(density: np.ndarray, spacing: Sequence[float], gamma: float) -> np.ndarray:
    """G_γ * density on a grid, same shape; the density counts as 0 outside of it."""
    if gamma == 0:
        return density
    width = np.sqrt(gamma)
    shape = [
        scipy.fft.next_fast_len(n + int(np.ceil(PADDING * width / h)), real=True)
        for n, h in zip(density.shape, spacing, strict=True)
    ]
    spectrum = scipy.fft.rfftn(density, shape)
    for axis, (n, h) in enumerate(zip(shape, spacing, strict=True)):
        last = axis == density.ndim - 1
        frequency = (scipy.fft.rfftfreq if last else scipy.fft.fftfreq)(n, h) * 2 * np.pi
        along = [1] * density.ndim
        along[axis] = -1
        spectrum *= np.exp(-gamma * frequency.reshape(along) ** 2 / 2)
    result = scipy.fft.irfftn(spectrum, shape)
    return np.maximum(result[tuple(slice(n) for n in density.shape)], np.finfo(float).tiny)


def exact_mass(ratio: float, gamma: float, dimension: int) -> float:
    """Mass on the sharp well's side of the middle over that on the other, in closed form.

    A well of precision k has the mass (2π/k)^{d/2} and, smoothed, the variance 1/k + γ.
    """
    across = {k: float(ndtr(-DISTANCE / 2 / np.sqrt(1 / k + gamma))) for k in (1.0, ratio)}
    sharp, wide = ratio ** (-dimension / 2), 1.0
    return (sharp * (1 - across[ratio]) + wide * across[1.0]) / (
        wide * (1 - across[1.0]) + sharp * across[ratio]
    )


def slope_of(masses: np.ndarray, error: float, level: float) -> tuple[float, float, float]:
    """Slope of log mass against log ratio, and its interval at `level` widened by `error`."""
    found = log_log_slope(RATIOS, masses, level)
    low, high = found.interval
    return found.slope, low - error, high + error


def deviations(logs: np.ndarray) -> tuple[float, float]:
    """RMS deviation of `logs` from its best line in log ratio (a power) and in ratio."""
    result = []
    for x in (np.log(RATIOS), np.array(RATIOS)):
        line = np.polyval(np.polyfit(x, logs, 1), x)
        result.append(float(np.sqrt(np.mean((logs - line) ** 2))))
    return result[0], result[1]


def _axes(cells: int, dimension: int) -> list[np.ndarray]:
    """Points of the grid along each axis; the middle between the wells is no point."""
    sides = [(DISTANCE / 2 + ROOM, 4 * cells), (ROOM, 2 * cells)][:dimension]
    return [(np.arange(n) + 0.5) / n * 2 * half - half for half, n in sides]


def _masses(density: np.ndarray, axes: list[np.ndarray]) -> tuple[float, float]:
    """Sharp (left) to wide, divided in the middle and at the lowest density between the wells."""
    first = axes[0]
    along = density.reshape(len(first), -1).sum(1)
    on_axis = density.reshape(len(first), -1).max(1)
    between = np.flatnonzero(np.abs(first) < DISTANCE / 2)
    low = between[int(np.argmin(on_axis[between]))]
    middle = len(first) // 2
    return tuple(float(along[:cut].sum() / along[cut:].sum()) for cut in (middle, low))


def _wells(cells: int, level: float) -> tuple[xr.Dataset, xr.Dataset]:
    shape = (len(DIMENSIONS), len(GAMMAS), len(RATIOS))
    names = ("mass", "mass_barrier", "mass_exact", "mass_coarse", "mass_fixed", "depth",
             "depth_exact", "error")  # fmt: skip
    found = {name: np.full(shape, np.nan) for name in names}
    section = {}
    bar = track(total=len(DIMENSIONS) * len(RATIOS), unit="pair of wells", what="local entropy")
    for i, d in enumerate(DIMENSIONS):
        for k, ratio in enumerate(RATIOS):
            system = systems.sharp_and_wide(ratio, dimension=d, distance=DISTANCE)
            grids = [
                (axes, *_density(system, axes)) for axes in (_axes(cells, d), _axes(cells // 2, d))
            ]
            for j, gamma in enumerate(GAMMAS):
                place = (i, j, k)
                (axes, spacing, points, rho), (half_axes, half_spacing, _, half_rho) = grids
                soft = smoothed(rho, spacing, gamma)
                found["mass"][place], found["mass_barrier"][place] = _masses(soft, axes)
                coarse = smoothed(half_rho, half_spacing, gamma)
                found["mass_coarse"][place] = _masses(coarse, half_axes)[0]
                found["mass_exact"][place] = exact_mass(ratio, gamma, d)
                closed = systems.sharp_and_wide_local_entropy(
                    ratio, gamma, dimension=d, distance=DISTANCE
                )
                target = closed(points)
                near = target < target.min() + MEASURED
                found["error"][place] = np.abs(-np.log(soft) - target)[near].max()
                found["depth"][place] = _depth(soft, axes)
                found["depth_exact"][place] = d / 2 * np.log((1 + ratio * gamma) / (1 + gamma))
                # Left of the middle is the sharp well: weight r^{d/2} gives it the wide one's mass
                left = (points[..., 0] < 0) * (ratio ** (d / 2) - 1) + 1
                found["mass_fixed"][place] = _masses(smoothed(rho * left, spacing, gamma), axes)[0]
                if d == 1 and ratio == SECTION_RATIO:
                    section[gamma] = (axes[0], -np.log(soft))
            bar.update()
    bar.close()
    dims = ("dimension", "gamma", "ratio")
    values = {name: (dims, v) for name, v in found.items()}
    values |= _slopes(found, level)
    wells = xr.Dataset(
        values,
        coords={"dimension": list(DIMENSIONS), "gamma": list(GAMMAS), "ratio": list(RATIOS)},
        attrs={"level": level, "distance": DISTANCE},
    )
    x = next(iter(section.values()))[0]
    lines = xr.Dataset(
        {"f": (("gamma", "x"), [f for _, f in section.values()])},
        coords={"gamma": list(section), "x": x},
        attrs={"ratio": SECTION_RATIO},
    )
    return wells, lines


def _density(system: systems.System, axes: list[np.ndarray]):
    """(spacing, points (..., d), e^{−f}) on a grid."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    # e^{−f} is a sum of two Gaussians; written so, nothing underflows into log 0 far out
    with np.errstate(divide="ignore"):
        return spacing, points, np.exp(-system.loss(points))


def _depth(soft: np.ndarray, axes: list[np.ndarray]) -> float:
    """f_γ at the sharp minimum minus that at the wide one, refined between the points of a grid."""
    middle = len(axes[0]) // 2
    peaks = []
    for side in (soft[:middle], soft[middle:]):
        cell = np.unravel_index(int(np.argmax(side)), side.shape)
        logs, top = np.log(side), 0.0
        for axis in range(side.ndim):
            down, here, up = (
                logs[tuple(c + s if a == axis else c for a, c in enumerate(cell))]
                for s in (-1, 0, 1)
            )
            top += (up - down) ** 2 / (8 * (2 * here - up - down))
        peaks.append(logs[cell] + top)
    return float(peaks[1] - peaks[0])


def _slopes(found: dict[str, np.ndarray], level: float) -> dict:
    shape = found["mass"].shape[:2]
    result = {}

    def put(name, place, value):
        result.setdefault(name, np.full(shape, np.nan))[place] = value

    for place in np.ndindex(shape):
        gamma = GAMMAS[place[1]]
        # A share `across` of the wide well on the wrong side changes log mass by across/mass
        across = float(ndtr(-DISTANCE / 2 / np.sqrt(1 + gamma))) / found["mass"][place].min()
        grid = np.abs(np.log(found["mass"][place] / found["mass_coarse"][place])).max()
        error = 2 * (across + grid) / np.log(RATIOS[-1] / RATIOS[0]) + 1e-9
        put("slope_error", place, error)
        for label, masses in (("", "mass"), ("_exact", "mass_exact"), ("_fixed", "mass_fixed")):
            slope, low, high = slope_of(found[masses][place], error, level)
            put(f"slope{label}", place, slope)
            put(f"slope{label}_low", place, low)
            put(f"slope{label}_high", place, high)
        for prefix, logs in (
            ("", np.log(found["mass"][place])),
            ("height_", -found["depth"][place]),
        ):
            power, exponential = deviations(logs)
            put(f"{prefix}power", place, power)
            put(f"{prefix}exponential", place, exponential)
    return {name: (("dimension", "gamma"), values) for name, values in result.items()}


def _saddle(cells: int) -> xr.Dataset:
    fine, coarse = (_ranked(n) for n in (2 * cells + 1, cells + 1))
    values = {name: ("gamma", [row[name] for row in fine]) for name in fine[0]}
    values["coarse_quantile"] = ("gamma", [row["quantile"] for row in coarse])
    return xr.Dataset(values, coords={"gamma": list(GAMMAS)}, attrs={"tight": TIGHT, "wide": WIDE})


def _ranked(count: int) -> list[dict[str, float]]:
    """f_γ of the double well where it is ranked; `count` is odd, so that the origin is a point."""
    half = 7.0
    axis = np.linspace(-half, half, count)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    rho = np.exp(-systems.double_well(0).loss(points))
    h, centre = axis[1] - axis[0], count // 2
    well = int(np.argmin(np.abs(axis - 1)))
    rows = []
    for gamma in GAMMAS:
        f = -np.log(smoothed(rho, (h, h), gamma))
        boxes = {}
        for name, size in (("tight", TIGHT), ("wide", WIDE)):
            inside = np.abs(axis) <= size
            boxes[name] = f[np.ix_(inside, inside)]
        origin, at_well = f[centre, centre], f[well, centre]
        bend = f[centre + 1, centre] + f[centre - 1, centre] - 2 * origin
        rows.append(
            {
                "value": origin,
                "well": at_well,
                "lowest": boxes["tight"].min(),
                "quantile": float((boxes["tight"] < origin).mean()),
                "well_quantile": float((boxes["tight"] < at_well).mean()),
                "wide_quantile": float((boxes["wide"] < origin).mean()),
                "curvature": bend / h**2,
            }
        )
    return rows
