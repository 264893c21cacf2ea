"""JKO steps (Cor. 8) against the solution of (FP), for D = I and steps that are halved.

The steps minimise free energy plus Wasserstein distance and know nothing of (FP); the solver knows
nothing of either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.runtime.progress import track
from limitcycles.theory import systems
from limitcycles.theory.fokker_planck import Grid, evolve, generator
from limitcycles.theory.jko import Quantiles, jko_flow_1d, jko_flow_2d

READS = ("theory.cells",)

TIMES = (0.16, 0.48)  # intervals are multiples of the longest step
STEPS = (0.16, 0.08, 0.04, 0.16 / 6, 0.01)
PLANE_STEPS = 4  # of them: cells for the last would need plans of more than 128 MiB
PLANE_DOUBLED = 3  # of them with twice the temperature
TEMPERATURE = 0.5
TOLERANCE = 1e-6  # of a step of the solver, in total variation
START, DEVIATION = (0.5, -0.4), 0.5  # of the Gaussian at time 0, the same along all axes

LINE, BINS = (-5.0, 5.0), 128  # where masses on the line are compared
REACH = 7.5  # deviations from the centre of the start to its first and last quantile

PLANE = ((-2.4, 2.4), (-2.7, 2.7))  # walls for the steps and for the solver
WALL = 1e-3  # mass in the outermost cells, which real walls may have
PLANE_CELLS = (38, 44)  # as many as the shortest of these steps needs
FINER = 4  # cells of the solver along each side of one of these
ENTROPIC = 0.6
COMPARED = 0  # of the steps, the one at which coarser cells and more blur are tried


@dataclass(frozen=True)
class Well:
    """f, f' and f'' on the line."""

    loss: Callable
    gradient: Callable
    curvature: Callable


LINES = {
    "line-quadratic": Well(lambda x: x**2 / 2, lambda x: x, np.ones_like),
    "line-wells": Well(lambda x: (x**2 - 1) ** 2 / 4, lambda x: x**3 - x, lambda x: 3 * x**2 - 1),
}
FREE = Well(np.zeros_like, np.zeros_like, np.zeros_like)


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """JKO flows of the arms, from one Gaussian; on the line 2 `settings.cells` quantiles.

    Part `flows`, by (arm, step, time), step and time without unit: `distance`, the L1 distance
    Σ|mass − mass| of the cells' masses between JKO steps and (FP), and `doubled`, the same for JKO
    steps with twice the temperature. By arm, changes of the distance (largest over time):
    `grid_change` with half as many quantiles or cells a side, at the smallest step on the line
    and at the longest in the plane, and `entropic_change` with twice the entropic blur at that
    step. NaN where a step is too short for the plane, or there is no blur.

    Part `free`, by (step, time): `distance` of free diffusion on the line (f = 0) from its closed
    form, and `doubled`.
    """
    arms = [*LINES, "plane-wells"]
    shape = (len(arms), len(STEPS), len(TIMES))
    found = {name: np.full(shape, np.nan) for name in ("distance", "doubled")}
    changes = {name: np.full(len(arms), np.nan) for name in ("grid_change", "entropic_change")}
    factors = {"distance": 1, "doubled": 2}
    quantiles = 2 * settings["cells"]
    with track(total=2 * (len(arms) + 1), unit="flow", what="JKO flows") as bar:
        for i, well in enumerate(LINES.values()):
            exact = _solved_line(well, settings["cells"])
            for key, factor in factors.items():
                for k, step in enumerate(STEPS):
                    found[key][i, k] = _line(well, step, factor, quantiles, exact)
                bar.update()
            halved = _line(well, STEPS[-1], 1, quantiles // 2, exact)
            changes["grid_change"][i] = np.abs(halved - found["distance"][i, -1]).max()
        fine = _solved_plane()
        for key, factor in factors.items():
            for k, step in enumerate(STEPS[: PLANE_STEPS if factor == 1 else PLANE_DOUBLED]):
                found[key][-1, k] = _plane(step, factor, fine)
            bar.update()
        reference = found["distance"][-1, COMPARED]
        for key, options in (
            ("grid_change", {"coarser": 2}),
            ("entropic_change", {"entropic": 2 * ENTROPIC}),
        ):
            changed = _plane(STEPS[COMPARED], 1, fine, **options)
            changes[key][-1] = np.abs(changed - reference).max()
        free = {}
        for key, factor in factors.items():
            exact = _free_masses()
            flows = [_line(FREE, step, factor, quantiles, exact) for step in STEPS]
            free[key] = (("step", "time"), np.stack(flows))
            bar.update()
    coords = {"step": list(STEPS), "time": list(TIMES)}
    variables = {name: (("arm", "step", "time"), values) for name, values in found.items()}
    variables |= {name: ("arm", values) for name, values in changes.items()}
    attrs = {"entropic": ENTROPIC, "compared_step": STEPS[COMPARED], "temperature": TEMPERATURE}
    return {
        "flows": xr.Dataset(variables, {"arm": arms} | coords, attrs),
        "free": xr.Dataset(free, coords, attrs),
    }


# ---------------------------------------------------------------- the line


def _line(well: Well, step: float, factor: float, quantiles: int, exact: np.ndarray) -> np.ndarray:
    """L1 distance at TIMES of JKO steps to masses between the edges of the bins."""
    edges = np.linspace(-REACH, REACH, quantiles + 1)
    start = Quantiles.from_cells(START[0] + DEVIATION * edges, _normal_masses(edges))
    flow = jko_flow_1d(
        start,
        well.loss,
        well.gradient,
        TIMES,
        step=step,
        temperature=factor * TEMPERATURE,
        curvature=well.curvature,
    )
    bins = np.linspace(*LINE, BINS + 1)
    return np.array(
        [
            np.abs(density.cell_masses(bins) - masses).sum()
            for density, masses in zip(flow, exact, strict=True)
        ]
    )


def _normal_masses(edges: np.ndarray) -> np.ndarray:
    """Masses between edges of a standard normal; by symmetry none is lost to rounding near 1."""
    below, above = stats.norm.cdf(edges), stats.norm.sf(edges)
    return np.where(edges[1:] <= 0, np.diff(below), -np.diff(above))


def _solved_line(well: Well, cells: int) -> np.ndarray:
    """Masses of the bins from (FP), shape (times, bins)."""
    grid = Grid(*LINE, BINS * max(1, cells // 16))
    made = generator(grid, lambda x: -well.gradient(x), 1.0, TEMPERATURE)
    edges = np.append(grid.axes[0] - grid.spacing[0] / 2, LINE[1])
    start = _normal_masses((edges - START[0]) / DEVIATION) / grid.volume
    solved = evolve(made, grid.normalise(start), [0.0, *TIMES], tolerance=TOLERANCE)
    return (solved.densities[1:] * grid.volume).reshape(len(TIMES), BINS, -1).sum(-1)


def _free_masses() -> np.ndarray:
    """Masses of the bins of a Gaussian whose variance grows by 2 T t."""
    bins = np.linspace(*LINE, BINS + 1)
    return np.stack(
        [
            _normal_masses((bins - START[0]) / np.sqrt(DEVIATION**2 + 2 * TEMPERATURE * time))
            for time in TIMES
        ]
    )


# ---------------------------------------------------------------- the plane


@dataclass(frozen=True)
class _Fine:
    """The grid of the solver, its masses at time 0 and at TIMES, shape (1 + times, nx, ny)."""

    grid: Grid
    masses: np.ndarray

    def merged(self, cells: tuple[int, int]) -> np.ndarray:
        """Masses of coarser cells, (1 + times, *cells)."""
        (nx, ny), (x, y) = self.grid.shape, cells
        return self.masses.reshape(-1, x, nx // x, y, ny // y).sum((2, 4))


def _solved_plane() -> _Fine:
    system = systems.gradient_double_well("isotropic", temperature=TEMPERATURE)
    grid = Grid(*zip(*PLANE, strict=True), tuple(FINER * n for n in PLANE_CELLS))
    made = generator(grid, system.drift, 1.0, TEMPERATURE)
    away = (grid.centres - START) / DEVIATION
    start = grid.normalise(np.exp(-(away**2).sum(1) / 2).reshape(grid.shape))
    times = [0.0, *TIMES]
    solved = evolve(made, start, times, tolerance=TOLERANCE, edge_tolerance=WALL)
    return _Fine(grid, solved.densities * grid.volume)


def _plane(
    step: float, factor: float, fine: _Fine, *, coarser: int = 1, entropic: float = ENTROPIC
) -> np.ndarray:
    """L1 distance at TIMES of entropic JKO steps to the masses of (FP)."""
    cells = tuple(n // coarser for n in PLANE_CELLS)
    grid = Grid(*zip(*PLANE, strict=True), cells)
    start, *exact = fine.merged(cells)
    loss = systems.gradient_double_well("isotropic").loss(grid.centres).reshape(cells)
    flow = jko_flow_2d(
        start,
        grid.axes,
        loss,
        TIMES,
        step=step,
        temperature=factor * TEMPERATURE,
        entropic=entropic,
    )
    return np.abs(flow - np.stack(exact)).sum((1, 2))
