"""The steady state ρ^ss of a generator: L ρ = 0, ρ ≥ 0, Σρ·volume = 1, by a sparse direct solve."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.fokker_planck.extrapolation import LEAST, extrapolated, half
from limitcycles.theory.fokker_planck.factors import Factors, dissection
from limitcycles.theory.fokker_planck.generator import Generator
from limitcycles.theory.fokker_planck.generator import generator as make_generator
from limitcycles.theory.fokker_planck.grid import EDGE_TOLERANCE

COARSE_CELLS = 48  # along each axis, of the chain in which the mode is looked for
SHIFT = 1e-12  # of the inverse iteration on that chain, relative to its largest rate
FAR_FROM_MODE = 1e3  # ρ_max/ρ at the cell that was pinned, above which another one is
RESIDUAL = 1e-10  # ‖Lρ‖₁ relative to the probability that changes cells per time
LATER = 1e-9  # rate at which the look for an attractor ends, relative to the largest rate
WEIGHTS = 1e-3  # bound of the relative error through rounding above which ρ is not trusted


class SteadyStateError(LimitcyclesError):
    """A generator without a steady state that is unique, or not to rounding."""


def steady_state(generator: Generator, *, edge_tolerance: float = EDGE_TOLERANCE) -> np.ndarray:
    """ρ^ss with L ρ^ss = 0, an array of the shape of the grid, ≥ 0 and of mass 1 to rounding.

    The density is pinned at one cell near the mode, which leaves a regular M-matrix; its LU
    factors contain no cancellation outside the diagonal, so that far tails keep their digits down
    to where they underflow (the potential is +∞ there). In two dimensions time grows as n^1.5 and
    memory as n log n for large n; 1024² cells take about 8 s and 2 GiB.

    Cells that are left for ever hold exactly nothing: where D = 0, or T is so small that rates
    against the drift underflow, all mass is in the cell of a stable point (in those beside it).

    Raises SteadyStateError: two or more sets of cells that are never left, wells with a barrier so
    high that their weights are lost in rounding, or a residual that is too large. Warns
    EdgeMassWarning: more than `edge_tolerance` of the mass in the outermost cells at a side without
    flux; GridWarning: a mean cell Péclet number above 1.
    """
    grid = generator.grid
    flat = np.zeros(grid.size)
    cells = _closed_class(generator)
    flat[cells] = _Chain(generator, cells).steady() if len(cells) > 1 else 1.0
    flat /= flat.sum() * grid.volume
    residual = np.abs(generator.matrix @ flat).sum()
    traffic = -generator.matrix.diagonal() @ flat
    if not residual <= RESIDUAL * traffic:
        raise SteadyStateError(
            f"the relative residual of the steady state is {residual / traffic:.3g} (at most "
            f"{RESIDUAL:g}): rates differ too much over the grid; use a smaller domain"
        )
    density = flat.reshape(grid.shape)
    grid.warn_about_edge(density, edge_tolerance)
    generator.warn_if_coarse(density)
    return density


class _Chain:
    """The chain within its closed class, cells `cells` (n,) of the grid, n ≥ 2."""

    def __init__(self, generator: Generator, cells: np.ndarray):
        self.generator, self.cells = generator, cells
        grid = generator.grid
        order = dissection(grid, np.abs(generator.offset).max(axis=0, initial=1))
        self.matrix = generator.matrix
        if len(cells) < grid.size:
            place = np.full(grid.size, -1)
            place[cells] = np.arange(len(cells))
            order = place[order]
            order = order[order >= 0]
            self.matrix = self.matrix[cells][:, cells]
        self.order = order
        self.rates = -self.matrix.diagonal()

    def steady(self) -> np.ndarray:
        """ρ^ss (n,) but for its scale. Raises SteadyStateError: rounding decides it."""
        try:
            start = np.searchsorted(self.cells, _near_mode(self.generator))
            flat, error, reason = self.pinned(min(start, len(self.cells) - 1))
        except RuntimeError:  # singular or overflowing in floats: it is pinned far from the mode
            error = np.inf
        if not error < WEIGHTS:
            try:
                flat, error, reason = self.pinned(self.attractor())
            except RuntimeError as cause:
                raise SteadyStateError(
                    "rates differ so much that the steady state is lost in rounding: raise the "
                    "temperature, or use a smaller domain"
                ) from cause
        if not error < WEIGHTS:
            raise SteadyStateError(
                f"{reason}: rounding may change their weights by {error:.1g}; raise the "
                "temperature, or give each its own domain"
            )
        return flat

    def attractor(self) -> int:
        """Where most of a uniform density is after a time that is long beside most rates."""
        shift = LATER * self.rates.max()
        shifted = shift * scipy.sparse.eye_array(len(self.cells)) - self.matrix
        return int(Factors(shifted, self.order).solve(np.ones(len(self.cells))).argmax())

    def pinned(self, cell: int) -> tuple[np.ndarray, float, str]:
        """ρ^ss from its value at one cell near the mode, bound of its error, and what makes it."""
        for _ in range(4):
            killing = np.zeros(len(self.cells))
            killing[cell] = self.rates[cell]
            factors = Factors(scipy.sparse.diags_array(killing) - self.matrix, self.order)
            flat = np.maximum(factors.solve(killing), 0)
            mode = int(flat.argmax())
            if flat[mode] <= FAR_FROM_MODE * flat[cell]:
                break
            cell = mode
        else:
            raise RuntimeError("no cell is near the mode of the chain that is pinned there")
        # Rounding of a diagonal acts as a spurious loss at eps times its rate: eps at each jump of
        # the process on its way back to the pinned cell.
        jumps = np.abs(factors.solve(self.rates, transposed=True))
        farthest = int(jumps.argmax())
        error = np.finfo(np.float64).eps * jumps[farthest]
        error = max(error, abs(1 - flat[cell]))  # what comes back is what was sent out
        centres = self.generator.grid.centres[self.cells]
        return (
            flat,
            float(error),
            f"from {centres[farthest]} it takes {jumps[farthest]:.3g} jumps between cells to reach "
            f"the mode at {centres[cell]}",
        )


def extrapolated_steady_state(
    generator: Generator, *, edge_tolerance: float = EDGE_TOLERANCE
) -> np.ndarray:
    """The steady density to fourth order: log ρ extrapolated from this grid and one half as fine.

    log ρ = (4 log ρ_h − log ρ_2h)/3 (Richardson), where log ρ_2h is interpolated to the finer
    centres by polynomials of degree five, then normalised: positive, closer to the continuum than
    `steady_state` by orders where both grids resolve ρ, but not the null vector of `generator`. In
    far tails, where the two differ by more than a factor e, it is ρ_h times at most e^{1/3}.
    Fields that are not smooth, or singular (upwind fluxes), gain nothing. Costs a quarter more.

    Raises SteadyStateError: an odd number of cells or fewer than twelve along an axis; errors and
    warnings as `steady_state`.
    """
    grid = generator.grid
    coarser = half(grid)
    if coarser is None:
        raise SteadyStateError(
            f"the extrapolation needs an even number of cells, at least {LEAST}, not {grid.cells}"
        )
    fine = steady_state(generator, edge_tolerance=edge_tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the finer grid is the one that matters
        coarse = steady_state(make_generator(coarser, *generator.fields, generator.temperature))
    return extrapolated(grid, fine, coarse)


def _closed_class(generator: Generator) -> np.ndarray:
    """The cells that are visited for ever, rising: all others hold nothing in the steady state.

    Raises SteadyStateError where more than one set of cells is never left.
    """
    count, label = connected_components(generator.matrix.T, directed=True, connection="strong")
    if count == 1:
        return np.arange(generator.grid.size)
    closed = np.ones(count, dtype=bool)
    for start, end, rate in (
        (generator.tail, generator.head, generator.forward),
        (generator.head, generator.tail, generator.backward),
    ):
        leaves = (label[start] != label[end]) & (rate > 0)
        closed[label[start[leaves]]] = False
    if closed.sum() > 1:
        examples = [generator.grid.centres[np.argmax(label == c)] for c in np.flatnonzero(closed)]
        raise SteadyStateError(
            f"{closed.sum()} parts of the domain are never left, for example those with the cells "
            f"at {examples[0]} and {examples[1]}: the steady state is not unique; raise the "
            "temperature, or give each part its own domain"
        )
    return np.flatnonzero(label == np.argmax(closed))


def _near_mode(generator: Generator) -> int:
    """A cell with much probability: the mode of the chain lumped into blocks of cells."""
    grid = generator.grid
    factor = np.maximum(-(-np.array(grid.shape) // COARSE_CELLS), 2)
    coarse_shape = -(-np.array(grid.shape) // factor)
    block = np.zeros(grid.shape, dtype=np.int64)
    for axis, f in enumerate(factor):
        along = np.arange(grid.shape[axis]) // f
        block = block * coarse_shape[axis] + np.expand_dims(
            along, tuple(range(axis + 1, block.ndim))
        )
    block = block.ravel()
    n = int(np.prod(coarse_shape))
    lump = scipy.sparse.csr_array(
        (np.ones(grid.size), (block, np.arange(grid.size))), (n, grid.size)
    )
    share = 1 / np.asarray(lump.sum(axis=1)).ravel()
    chain = lump @ generator.matrix @ (lump.T * share)
    shift = SHIFT * -chain.diagonal().min()
    shifted = scipy.sparse.csc_array(shift * scipy.sparse.eye_array(n) - chain)
    lu = scipy.sparse.linalg.splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0)
    density = np.full(n, 1 / n)
    for _ in range(3):
        density = np.abs(lu.solve(density))
        density /= density.sum()
    inside = np.flatnonzero(block == np.argmax(density * share))
    return int(inside[len(inside) // 2])
