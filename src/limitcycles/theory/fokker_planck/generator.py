"""The Fokker–Planck operator on a grid as the generator of a Markov chain.

dx = b(x) dt + √(2 T D(x)) dW in the Itô sense has ∂ρ/∂t = −∇·J, J = bρ − T ∇·(Dρ), the divergence
of Dρ column by column. With D = Σ_e λ_e(x) v_e v_eᵀ, where v_e is e cells long (`selling`), the
flux over the edge from x to x + v_e is that of Scharfetter & Gummel (1969) in Itô form,

    F_e = T [B(−P) λ_e(x) ρ(x) − B(P) λ_e(x + v_e) ρ(x + v_e)],   B(z) = z/(eᶻ − 1),

with P the mean of v_eᵀ D⁻¹ b / T along the edge. Both rates are non-negative, so that ρ ≥ 0 and the
mass are kept by construction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.fokker_planck.grid import Grid
from limitcycles.theory.fokker_planck.selling import decompose
from limitcycles.theory.functions import pure

SYMMETRY = 1e-10  # |D − Dᵀ| and negative eigenvalues, relative to the largest entry, let through
SINGULAR = 1e-9  # an eigenvalue of D, relative to the largest at that point, that counts as zero
NOTHING = 1e-290  # an eigenvalue of D, relative to b, that counts as zero
CORNER = 1e-2  # of the oblique diffusion is added along the axes where such edges are dropped
REACH = 8  # no edge is longer than 1/REACH of the domain, but it may always be three cells long
COARSE = 10.0  # Péclet number of the median cell that is certainly too large
RESOLVED = 1.0  # Péclet number in the mean over the density above which it is not resolved


class GeneratorError(LimitcyclesError):
    """A drift or diffusion that has no Fokker–Planck equation on this grid."""


class GridWarning(UserWarning):
    """A grid too coarse for the drift or for the anisotropy of the diffusion."""


@dataclass(frozen=True, eq=False)
class Generator:
    """dρ/dt = `matrix` @ ρ for the flattened density ρ; see `generator`.

    `matrix`: sparse CSC, (n, n), off-diagonal ≥ 0, columns sum to zero to rounding. `drift`
    (*shape, d) and `diffusion` (*shape, d, d) are b and D at the centres, and `peclet`, shape
    (*shape), the largest |P| over the edges of a cell. Edge k goes from cell `tail[k]` to
    `head[k]`, `offset[k]` cells further (integers, (m, d)), with the rate `forward[k]`, and back
    with `backward[k]`. `fields` are the functions (drift, diffusion) that were given.
    """

    grid: Grid
    temperature: float
    matrix: scipy.sparse.csc_array
    drift: np.ndarray
    diffusion: np.ndarray
    peclet: np.ndarray
    tail: np.ndarray
    head: np.ndarray
    offset: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    fields: tuple = field(repr=False)

    def apply(self, density: np.ndarray) -> np.ndarray:
        """dρ/dt, in the shape of the grid."""
        return (self.matrix @ np.ravel(density)).reshape(self.grid.shape)

    def fluxes(self, density: np.ndarray) -> np.ndarray:
        """F_e over each edge, tail to head, shape (m,), per volume and time; J = Σ_e v_e F_e."""
        flat = np.ravel(density)
        return self.forward * flat[self.tail] - self.backward * flat[self.head]

    def current(self, density: np.ndarray) -> np.ndarray:
        """J = bρ − T ∇·(Dρ) at the centres, shape (*shape, d), second order.

        Each edge gives half of its flux to either end. Next to a side without flux a current along
        an edge that crosses the side is missing: there it is of first order only.
        """
        flux = self.fluxes(density)
        columns = []
        for axis, h in enumerate(self.grid.spacing):
            part = flux * self.offset[:, axis]
            both = np.bincount(self.tail, part, self.grid.size)
            both += np.bincount(self.head, part, self.grid.size)
            columns.append(both * (h / 2))
        return np.stack(columns, axis=-1).reshape(*self.grid.shape, -1)

    def warn_if_coarse(self, density: np.ndarray) -> None:
        """GridWarning where ρ changes by more than about e from one cell to the next."""
        there = density > 0  # elsewhere it may be infinite
        mean = float((density[there] * self.peclet[there]).sum() / density.sum())
        if mean > RESOLVED:
            warnings.warn(
                f"the cell Péclet number is {mean:.3g} in the mean over the density (at most "
                f"{RESOLVED:g}): the grid of {self.grid.shape} cells is too coarse for the drift; "
                "use more cells or a smaller domain",
                GridWarning,
                stacklevel=3,
            )


def generator(
    grid: Grid,
    drift: Callable[[np.ndarray], np.ndarray],
    diffusion: Callable[[np.ndarray], np.ndarray] | float | np.ndarray = 1.0,
    temperature: float = 1.0,
) -> Generator:
    """The generator of dx = drift(x) dt + √(2 · temperature · diffusion(x)) dW (Itô) on `grid`.

    `drift` maps points (n, d) to (n, d). `diffusion` maps them to scalars (n,), diagonals (n, d) or
    tensors (n, d, d), or is a constant of shape (), (d,) or (d, d). They are evaluated at the
    centres and in the middle of the edges; along periodic axes they must be periodic themselves.

    Second order for smooth fields and D > 0, away from no-flux sides that a full tensor does not
    respect (first order there). With D constant and b = −D∇Φ the steady state is e^{−Φ/T} at the
    centres to the error of Simpson's rule along an edge, which is zero for a quartic Φ. The part
    of b outside the range of a singular D goes by upwind fluxes along the axes: first order,
    with a numerical diffusion of h|b|/2. So does all of b where the Péclet number is large.
    Edges that would leave through a side without flux are dropped; where these are oblique a
    hundredth of their diffusion is added along the axes, with the drift to match, so that no
    corner is cut off. A tensor so anisotropic that its edges would be longer than an eighth of the
    domain is made rounder, which a GridWarning states.

    Raises GeneratorError: wrong shape, not finite, not symmetric, not positive semi-definite, or
    temperature ≤ 0. Warns GridWarning: the median cell Péclet number is above 10.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise GeneratorError(
            f"temperature {temperature} must be positive; use diffusion = 0 for pure advection"
        )
    fields = _Fields(grid, drift, diffusion, temperature)
    n, d, h = grid.size, grid.dimension, grid.spacing
    centres = grid.centres
    b, tensors = fields.at(centres)
    offsets, weights = _edges(fields, tensors)
    force, rest = fields.split(b, tensors + fields.added)

    parts = []
    peclet = np.zeros(n)
    reach = int(np.abs(offsets).max(initial=0)) + 1
    base = np.array([4 * reach, 1])[-d:]
    code = offsets @ base
    oblique = (offsets != 0).sum(-1) > 1
    least = CORNER * np.where(_lacks(grid, offsets, oblique), weights, 0).sum(1)
    left_over = bool(rest.any())
    for key in np.unique(np.append(code[weights > 0], base if least.any() else [])).astype(int):
        member = (code == key) & (weights > 0)
        strength = np.where(member, weights, 0).sum(1)
        offset = (base == key).astype(int) if key in base else offsets[member][0]
        tail, head = grid.neighbours(offset)
        both = np.maximum(least[tail], least[head]) * (key in base)
        used = (strength[tail] > 0) | (strength[head] > 0) | (both > 0)
        tail, head, both = tail[used], head[used], both[used]
        middle = fields.halfway(tail, offset)
        left_over = left_over or bool(middle[1].any())
        pull = (force[tail] + 4 * middle[0] + force[head]) @ (offset * h) / 6  # T P
        with np.errstate(over="ignore"):
            size = np.abs(pull) / temperature
        peclet[tail] = np.maximum(peclet[tail], size)
        peclet[head] = np.maximum(peclet[head], size)
        forward = (strength[tail] + both) * bernoulli(-pull, temperature)
        backward = (strength[head] + both) * bernoulli(pull, temperature)
        parts.append((tail, head, offset, forward, backward))
    for axis in range(d) if left_over else ():
        offset = np.eye(d, dtype=int)[axis]
        tail, head = grid.neighbours(offset)
        speeds = [rest[tail], 4 * fields.halfway(tail, offset)[1], rest[head]]
        # Each way by itself (Engquist & Osher 1981): where the drift turns over within an edge, as
        # at a stable point between two cells, they would else be cut off from each other.
        forward, backward = (
            sum(np.maximum(sign * speed[:, axis], 0) for speed in speeds) / (6 * h[axis])
            for sign in (1, -1)
        )
        parts.append((tail, head, offset, forward, backward))

    median = float(np.median(peclet))
    if median > COARSE:
        warnings.warn(
            f"the cell Péclet number is {median:.3g} in the median cell (at most {COARSE:g}): the "
            f"grid of {grid.shape} cells is too coarse for the drift; use more cells, a smaller "
            "domain or a higher temperature",
            GridWarning,
            stacklevel=2,
        )
    tail, head, forward, backward = (
        np.concatenate([part[k] for part in parts] or [np.zeros(0)]) for k in (0, 1, 3, 4)
    )
    for rates in (forward, backward):
        rates[rates < np.finfo(np.float64).tiny] = 0  # they have lost their digits
    tail, head = tail.astype(np.int32), head.astype(np.int32)
    offset = [np.broadcast_to(part[2], (len(part[0]), d)).astype(np.int32) for part in parts]
    return Generator(
        grid=grid,
        temperature=float(temperature),
        matrix=_matrix(n, tail, head, forward, backward),
        drift=b.reshape(*grid.shape, d),
        diffusion=tensors.reshape(*grid.shape, d, d),
        peclet=peclet.reshape(grid.shape),
        tail=tail,
        head=head,
        offset=np.concatenate(offset or [np.zeros((0, d), dtype=np.int32)]),
        forward=forward,
        backward=backward,
        fields=(drift, diffusion),
    )


def bernoulli(pull: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T B(pull/T), B(z) = z/(eᶻ − 1): T at 0, 0 where eᶻ overflows, −pull where eᶻ vanishes."""
    pull = np.asarray(pull, dtype=np.float64)
    with np.errstate(over="ignore"):
        z = pull / temperature
        return np.where(z == 0, temperature, pull / np.expm1(np.where(z == 0, 1.0, z)))


def _matrix(n, tail, head, forward, backward) -> scipy.sparse.csc_array:
    leaving = np.bincount(tail, forward, n) + np.bincount(head, backward, n)
    diagonal = np.arange(n, dtype=np.int32)
    rows = np.concatenate([head, tail, diagonal])
    columns = np.concatenate([tail, head, diagonal])
    values = np.concatenate([forward, backward, -leaving])
    matrix = scipy.sparse.coo_array((values, (rows, columns)), shape=(n, n)).tocsc()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()  # no edge goes where the rate has underflowed
    return matrix


def _lacks(grid: Grid, offsets: np.ndarray, oblique: np.ndarray) -> np.ndarray:
    """Which oblique edges, shape (n, k), leave the grid on at least one side of their cell.

    Without them a cell in a corner could have no edge at all, so that it needs some on the axes.
    """
    lacks = np.zeros(oblique.shape, dtype=bool)
    if not oblique.any():
        return lacks
    position = np.stack(np.unravel_index(np.arange(grid.size), grid.shape), axis=-1)[:, None]
    for axis, (size, periodic) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        if not periodic:
            step = np.abs(offsets[..., axis])
            room = np.minimum(position[..., axis], size - 1 - position[..., axis])
            lacks |= oblique & (step > room)
    return lacks


def _edges(fields: _Fields, tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Selling's offsets and weights in units of cells, none longer than the grid allows.

    Where they would be, a share of the largest eigenvalue is added to D as `fields.added`: the
    smallest of a geometric sequence that makes all edges short enough.
    """
    grid = fields.grid
    h = grid.spacing
    scaled = tensors / np.multiply.outer(h, h)
    if (scaled == scaled[:1]).all():
        scaled = scaled[:1]  # decomposed once for all cells
    longest = max(3, min(grid.cells) // REACH)
    largest = float(np.trace(scaled, axis1=1, axis2=2).max())
    share = 0.0
    while True:
        offsets, weights, complete = decompose(scaled + share * largest * np.eye(len(h)), longest)
        if complete.all():
            break
        share = max(4 * share, 1e-6)
    if share:
        fields.added = share * largest * np.diag(h**2)
        warnings.warn(
            f"the diffusion is too anisotropic for a grid of {grid.shape} cells: "
            f"{share:.2g} of its largest eigenvalue was added in all directions (in units of "
            "cells); use more cells, or axes along its eigenvectors",
            GridWarning,
            stacklevel=3,
        )
    shape = (grid.size, *weights.shape[1:])
    offsets = np.broadcast_to(offsets, (*shape, grid.dimension))
    return offsets, np.broadcast_to(weights, shape)


class _Fields:
    """Drift and diffusion, checked wherever they are evaluated."""

    def __init__(self, grid: Grid, drift, diffusion, temperature: float):
        self.grid, self.drift = grid, pure(drift, "drift")
        self.diffusion = pure(diffusion, "diffusion") if callable(diffusion) else diffusion
        self.temperature = temperature
        self.added = np.zeros((grid.dimension, grid.dimension))

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """b, shape (n, d), and D, (n, d, d)."""
        n, d = points.shape
        b = self.drift(points)
        if b.shape != (n, d):
            raise GeneratorError(
                f"the drift has shape {b.shape} at points of shape {(n, d)}; it must be the same"
            )
        _finite(b, points, "drift")
        return b, self._tensors(points)

    def _tensors(self, points: np.ndarray) -> np.ndarray:
        n, d = points.shape
        if callable(self.diffusion):
            value = self.diffusion(points)
            allowed = [(n,), (n, d), (n, d, d)]
        else:
            value = arguments.points("the diffusion", self.diffusion, GeneratorError)
            allowed = [(), (d,), (d, d)]
        if value.shape not in allowed:
            raise GeneratorError(
                f"the diffusion has shape {value.shape} at points of shape {(n, d)}; it must be "
                f"one of {allowed} (scalar, diagonal, tensor)"
            )
        kind = allowed.index(value.shape)
        if not callable(self.diffusion):
            value = np.broadcast_to(value, (n, *value.shape))
        _finite(value, points, "diffusion")
        if kind == 0:
            value = value[:, None, None] * np.eye(d)
        elif kind == 1:
            value = value[:, :, None] * np.eye(d)
        scale = np.abs(value).max()
        skew = np.abs(value - value.swapaxes(1, 2)).max(axis=(1, 2))
        if skew.max() > SYMMETRY * scale:
            at = int(skew.argmax())
            raise GeneratorError(
                f"the diffusion is not symmetric at {points[at]}: it differs from its transpose "
                f"by {skew[at]:.3g}"
            )
        smallest = _eigenvalues(value)[0]
        if smallest.min() < -SYMMETRY * scale:
            at = int(smallest.argmin())
            raise GeneratorError(
                f"the diffusion is not positive semi-definite at {points[at]}: it has the "
                f"eigenvalue {smallest[at]:.6g}"
            )
        return value

    def halfway(self, tail: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`split` in the middle of the edges that leave the cells `tail` by `offset`."""
        points = self.grid.wrap(self.grid.centres[tail] + offset * self.grid.spacing / 2)
        b, tensors = self.at(points)
        return self.split(b, tensors + self.added)

    def split(self, b: np.ndarray, tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(g, r) with b = D g + r: r = 0 where D is regular, else g = D⁺ b."""
        d = b.shape[1]
        small, large = _eigenvalues(tensors)
        nothing = large <= NOTHING * np.abs(b).max(1)  # b/D would overflow
        if nothing.any():
            small, large = np.where(nothing, 0, small), np.where(nothing, 0, large)
            tensors = np.where(nothing[:, None, None], 0, tensors)
        singular = small <= SINGULAR * large
        if d == 1:
            g = np.where(singular[:, None], 0, b / np.where(singular, 1, large)[:, None])
            return g, np.where(singular[:, None], b, 0)
        # Relative to the largest eigenvalue, so that the determinant of a tiny D does not vanish.
        size = np.where(singular, 1, large)
        xx, xy, yy = (tensors[:, i, k] / size for i, k in ((0, 0), (0, 1), (1, 1)))
        det = np.where(singular, 1, xx * yy - xy**2)
        g = np.stack([yy * b[:, 0] - xy * b[:, 1], xx * b[:, 1] - xy * b[:, 0]], axis=1)
        g /= det[:, None] * size[:, None]
        r = np.zeros_like(b)
        if singular.any():
            # A rank-one D = λ u uᵀ has D⁺ = D/λ²; what is left is the part of b across u.
            top = np.where(large > 0, large, 1)[singular]
            inside = np.einsum("nij,nj->ni", tensors[singular], b[singular]) / top[:, None]
            g[singular] = inside / top[:, None]
            r[singular] = b[singular] - inside
            r[np.abs(r) <= 1e-14 * np.abs(b).max()] = 0
        return g, r


def _eigenvalues(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest eigenvalue of symmetric tensors (n, d, d), d = 1 or 2."""
    if tensors.shape[1] == 1:
        return tensors[:, 0, 0], tensors[:, 0, 0]
    half = (tensors[:, 0, 0] + tensors[:, 1, 1]) / 2
    radius = np.hypot((tensors[:, 0, 0] - tensors[:, 1, 1]) / 2, tensors[:, 0, 1])
    return half - radius, half + radius


def _finite(values: np.ndarray, points: np.ndarray, what: str) -> None:
    good = np.isfinite(values).reshape(len(values), -1).all(1)
    if not good.all():
        at = int(good.argmin())
        raise GeneratorError(f"the {what} is {values[at]} at {points[at]}; it must be finite")
