"""Evolution ∂ρ/∂t = Lρ: implicit, L-stable, adaptive, of fourth order, with ρ ≥ 0 and mass 1.

With y_k = (I − γτL)^{−k} ρ the sum Σ_{k≤5} c_k y_k is e^{τL} ρ to fourth order for any γ; γ = 1/4
is L-stable, and so is the sum of third order over k ≤ 4 that serves for the error (the stability
functions of SDIRK methods, Hairer & Wanner, Solving ODEs II, IV.6). One LU factor per τ.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.theory.fokker_planck.extrapolation import LEAST, extrapolated, half, restricted
from limitcycles.theory.fokker_planck.factors import Factors, dissection
from limitcycles.theory.fokker_planck.generator import Generator
from limitcycles.theory.fokker_planck.generator import generator as make_generator
from limitcycles.theory.fokker_planck.grid import EDGE_TOLERANCE

GAMMA = 0.25
ORDER = 4
KEPT_FACTORS = 3  # LU factors in memory, of the last step sizes
HALVINGS = 60  # of the interval between two times, at most
SAFETY = 0.8
NEGATIVE = 1e-3  # share of the tolerance that may be cut off as negative mass in a step
UNRESOLVED = 1e-3  # mass of a first density in cells where the coarser grid does not resolve it


class EvolutionError(LimitcyclesError):
    """An evolution that cannot be computed as asked."""


@dataclass(frozen=True)
class Evolution:
    """`densities[i]`, shape (*grid.shape), is the density at `times[i]`.

    `error` is the sum of the estimated total-variation errors of all steps (those of third order,
    far above the true error of the densities, which is of fourth), `steps` their number,
    `rejected` that of the attempts thrown away, `factorisations` that of the LU factors computed.
    """

    times: np.ndarray
    densities: np.ndarray
    error: float
    steps: int
    rejected: int
    factorisations: int


def _coefficients(stages: int) -> np.ndarray:
    """c with Σ c_k (1 − γz)^{−k} = e^z + O(z^stages), k = 1 … stages."""
    k = range(1, stages + 1)
    matrix = [[math.comb(j + m - 1, m) * GAMMA**m for j in k] for m in range(stages)]
    return np.linalg.solve(matrix, [1 / math.factorial(m) for m in range(stages)])


HIGH = _coefficients(5)
DIFFERENCE = HIGH - np.append(_coefficients(4), 0)


def evolve(
    generator: Generator,
    density: np.ndarray,
    times,
    *,
    tolerance: float = 1e-6,
    every_step: bool = False,
    edge_tolerance: float = EDGE_TOLERANCE,
) -> Evolution:
    """The density at `times`, which do not decrease, from `density` at `times[0]`.

    A step τ is the interval between two times halved as often as its error demands, so that LU
    factors serve again: equal intervals cost least. The error of a step in total variation, as
    estimated for the solution of third order, is at most `tolerance`; that of the result, of fourth
    order, is smaller, and in the tests so is the error at every time. Values below zero by
    rounding, or by less than a thousandth of the tolerance in sum, are set to zero, else the step
    is halved; then the mass is set to what it was (a factor 1 ± 1e-15 in general). With
    `every_step` the result has the density after every accepted step as well.

    Raises EvolutionError: times that decrease or are not finite, a tolerance that is not in
    (0, 1), or a step that would have to be smaller than 2^−60 of its interval. Raises GridError:
    `density` is not one of mass 1. Warns EdgeMassWarning and GridWarning for the last density, as
    `steady_state` does.
    """
    arguments.check_filled("times", times, EvolutionError)
    times = np.asarray(times, dtype=np.float64)
    if (
        times.ndim != 1
        or len(times) < 1
        or not np.isfinite(times).all()
        or (np.diff(times) < 0).any()
    ):
        raise EvolutionError(f"times must be finite and must not decrease, not {times}")
    if not 0 < tolerance < 1:
        raise EvolutionError(f"tolerance {tolerance} must lie between 0 and 1")
    grid = generator.grid
    run = _Run(generator, tolerance, float(times[-1] - times[0]))
    flat = grid.density(density).ravel()
    kept_times, kept = [times[0]], [flat]
    with track(total=100, unit="%", what="Fokker-Planck evolution", delay=5) as bar:
        bar.bar_format = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        for start, stop in itertools.pairwise(times):
            for done, after in run.interval(flat, start, stop):
                bar.update(100 * (done - times[0]) / run.span - bar.n)
                flat = after
                if every_step and done < stop:
                    kept_times.append(done)
                    kept.append(flat)
            kept_times.append(stop)
            kept.append(flat)
    result = np.stack(kept).reshape(-1, *grid.shape)
    grid.warn_about_edge(result[-1], edge_tolerance)
    generator.warn_if_coarse(result[-1])
    return Evolution(np.array(kept_times), result, run.error, run.steps, run.rejected, run.computed)


def extrapolated_evolve(
    generator: Generator,
    density: np.ndarray,
    times,
    *,
    tolerance: float = 1e-6,
    edge_tolerance: float = EDGE_TOLERANCE,
) -> Evolution:
    """`evolve` to fourth order in the cells too: extrapolated from this grid and one half as fine.

    The extrapolation is that of `extrapolated_steady_state`, at each of `times` but the first; the
    fields must be smooth, and the density at `times[0]` must be so on the grid half as fine. The
    errors in time of both grids come on top: `error` is that of (4ρ_h − ρ_2h)/3, while `steps`,
    `rejected` and `factorisations` count those on both grids. Costs a quarter more.

    Raises EvolutionError: an odd number of cells or fewer than twelve along an axis, or a first
    density that the grid half as fine does not resolve; errors and warnings as `evolve`.
    """
    grid = generator.grid
    coarser = half(grid)
    if coarser is None:
        raise EvolutionError(
            f"the extrapolation needs an even number of cells, at least {LEAST}, not {grid.cells}"
        )
    start = grid.density(density)
    coarse_start, unresolved = restricted(grid, start)
    if unresolved > UNRESOLVED:
        raise EvolutionError(
            f"the grid of {coarser.cells} cells does not resolve {unresolved:.3g} of the mass of "
            "the first density, so that there is nothing to extrapolate: use evolve, or more cells"
        )
    fine = evolve(generator, start, times, tolerance=tolerance, edge_tolerance=edge_tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the finer grid is the one that matters
        made = make_generator(coarser, *generator.fields, generator.temperature)
        coarse = evolve(made, coarse_start, times, tolerance=tolerance)
    densities = [
        start if time == fine.times[0] else extrapolated(grid, *pair)
        for time, *pair in zip(fine.times, fine.densities, coarse.densities, strict=True)
    ]
    return Evolution(
        fine.times,
        np.stack(densities),
        (4 * fine.error + coarse.error) / 3,
        fine.steps + coarse.steps,
        fine.rejected + coarse.rejected,
        fine.factorisations + coarse.factorisations,
    )


class _Run:
    """State of one evolution: the size of the next step, LU factors, counters."""

    def __init__(self, generator: Generator, tolerance: float, span: float):
        self.matrix, self.grid = generator.matrix, generator.grid
        self.tolerance, self.span = tolerance, span or 1.0
        self.order = dissection(self.grid, np.abs(generator.offset).max(axis=0, initial=1))
        self.identity = scipy.sparse.eye_array(self.grid.size, format="csc")
        self.factors: OrderedDict[float, Factors] = OrderedDict()
        self.wish: float | None = None
        self.error = 0.0
        self.steps = self.rejected = self.computed = 0

    def interval(self, flat, start, stop):
        """Yields (time, density) after each step from `start` to `stop`."""
        length = stop - start
        if length == 0:
            return
        if self.wish is None:
            self.wish = self._first(flat)
        position, level = 0, 0  # of the step: position · length / 2^level
        while position < 2**level:
            # A step may be as long as the halvings of the interval allow at this position.
            while length / 2**level > self.wish:
                position, level = 2 * position, level + 1
                if level > HALVINGS:
                    raise EvolutionError(
                        f"at time {start + length * position / 2**level:.6g} the step would be "
                        f"below 2^-{HALVINGS} of the interval; raise tolerance {self.tolerance:g}"
                    )
            while level and position % 2 == 0 and length / 2 ** (level - 1) <= self.wish:
                position, level = position // 2, level - 1
            step = length / 2**level
            new, error = self._try(flat, step)
            allowed = self.tolerance
            if new is None or error > allowed:
                self.rejected += 1
                shrink = (allowed / error) ** (1 / ORDER) if error > allowed else 0.5
                self.wish = step * min(0.5, SAFETY * shrink)
                continue
            self.wish = step * min(16.0, SAFETY * (allowed / max(error, 1e-300)) ** (1 / ORDER))
            if self.wish < 2 * step:
                self.wish = step  # no new factors for less than twice the step
            flat = new
            position += 1
            self.error += error
            self.steps += 1
            yield (start + length * position / 2**level if position < 2**level else stop), flat

    def _first(self, flat) -> float:
        """A step with an error of about the tolerance if the density keeps its speed."""
        speed = float(np.abs(self.matrix @ flat).sum() * self.grid.volume)
        return float(
            self.span if speed == 0 else min(self.span, self.tolerance ** (1 / ORDER) / speed)
        )

    def _try(self, flat, step):
        """(density after `step` or None if it is negative, estimated error in total variation)."""
        factors = self.factors.get(step)
        if factors is None:
            factors = Factors(self.identity - GAMMA * step * self.matrix, self.order)
            self.computed += 1
            self.factors[step] = factors
            if len(self.factors) > KEPT_FACTORS:
                self.factors.popitem(last=False)
        self.factors.move_to_end(step)
        new, difference, stage = np.zeros_like(flat), np.zeros_like(flat), flat
        for high, low in zip(HIGH, DIFFERENCE, strict=True):
            stage = factors.solve(stage)
            new += high * stage
            difference += low * stage
        volume = self.grid.volume
        error = float(np.abs(difference).sum() * volume / 2)
        negative = float(-np.minimum(new, 0).sum() * volume)
        if negative > max(NEGATIVE * self.tolerance, 1e-15):
            return None, error
        np.maximum(new, 0, out=new)
        new *= flat.sum() / new.sum()
        return new, error + negative
