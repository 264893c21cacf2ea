"""Fixed points of a field ẋ = b(x), their kinds, and where along a family the kinds change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import root

from limitcycles.runtime import arguments
from limitcycles.theory.flows.field import (
    SMALL,
    TURN,
    DynamicsError,
    Field,
    bounds_of,
    evaluated,
    jacobian_of,
)
from limitcycles.theory.functions import pure
from limitcycles.theory.systems import System

STARTS = {1: 401, 2: 21, 3: 9}  # Newton starts for each axis; 5 in higher dimensions


@dataclass(frozen=True)
class FixedPoint:
    """A zero of the field: position (d,), eigenvalues of its Jacobian (d,), kind and index.

    `kind` is "stable node", "stable focus", "unstable node", "unstable focus", "saddle", "centre"
    (purely imaginary: the linear part does not tell a centre from a weak focus) or "degenerate"
    (another eigenvalue on the imaginary axis). `index` is the sign of det J, None where it is 0.
    `error` estimates the distance from the true zero, |J⁻¹b|.
    """

    position: np.ndarray
    eigenvalues: np.ndarray
    kind: str
    index: int | None
    error: float

    @property
    def is_sink(self) -> bool:
        """Linearly stable."""
        return self.kind.startswith("stable")


def kind_of(eigenvalues: np.ndarray, tolerance: float = SMALL) -> str:
    """The kind of a fixed point (see `FixedPoint`) from its eigenvalues (d,).

    Parts below `tolerance` times the largest modulus (or `tolerance`) count as zero.
    """
    values = np.asarray(eigenvalues, dtype=complex)
    size = np.abs(values)
    zero = tolerance * max(size.max(), 1e-300)
    if size.min() <= max(zero, tolerance * 1e-2):
        return "degenerate"
    neutral = np.abs(values.real) <= zero
    if neutral.any():
        return "centre" if neutral.all() else "degenerate"
    if (values.real < 0).any() and (values.real > 0).any():
        return "saddle"
    side = "stable" if values.real[0] < 0 else "unstable"
    return f"{side} {'focus' if np.abs(values.imag).max() > zero else 'node'}"


def fixed_points(
    drift: Field,
    box: Sequence[Sequence[float]],
    *,
    jacobian: Field | None = None,
    starts: int | None = None,
    separation: float = 1e-5,
) -> list[FixedPoint]:
    """All zeros of the field that Newton's method finds from a grid of starts, in order.

    Parameters
    ----------
    drift, box
        The field, and ((low, high), ...) within which zeros count.
    jacobian
        ∂b_i/∂x_k, (..., d) -> (..., d, d); numerical (1e-10) where it is not given.
    starts
        Starts along each axis, by default 401, 21, 9 and 5 for d = 1, 2, 3 and more. A zero whose
        basin under Newton's method falls between them is missed: `index_of_box` checks the sum.
    separation
        Zeros closer than this, relative to the widest side of the box, are one.

    Positions are good to 1e-12 where the Jacobian is regular; see `FixedPoint.error`. Raises
    DynamicsError for a field of the wrong shape.
    """
    low, high = bounds_of(box)
    drift = pure(drift, "field")
    jacobian = None if jacobian is None else pure(jacobian, "jacobian")
    d = len(low)
    count = STARTS.get(d, 5) if starts is None else arguments.whole("starts", starts, DynamicsError)
    grid = np.stack(
        np.meshgrid(*(np.linspace(a, b, count) for a, b in zip(low, high, strict=True))), -1
    ).reshape(-1, d)
    speed = np.linalg.norm(evaluated(drift, grid), axis=-1)
    scale = max(float(np.median(speed[np.isfinite(speed)])), 1e-300)
    slope = jacobian or jacobian_of(drift)
    found: list[tuple[np.ndarray, float]] = []
    width = (high - low).max()
    with np.errstate(all="ignore"):
        for start in grid:
            answer = root(drift, start, jac=jacobian, method="hybr", options={"xtol": 1e-13})
            x = answer.x
            if not np.isfinite(x).all() or (x < low).any() or (x > high).any():
                continue
            if not np.linalg.norm(answer.fun) <= 1e-6 * scale:
                continue
            if any(np.linalg.norm(x - y) <= separation * width for y, _ in found):
                continue
            x, error = _polish(drift, slope, x)
            near = any(np.linalg.norm(x - y) <= separation * width for y, _ in found)
            if np.linalg.norm(drift(x)) <= 1e-9 * scale and not near:
                found.append((x, error))
    result = []
    for x, error in sorted(found, key=lambda pair: tuple(np.round(pair[0], 9))):
        matrix = slope(x)
        eigenvalues = np.linalg.eigvals(matrix)
        kind = kind_of(eigenvalues)
        zero = np.abs(eigenvalues).min() <= SMALL * max(np.abs(eigenvalues).max(), 1e-2)
        index = None if zero else int(np.sign(np.linalg.det(matrix)))
        result.append(FixedPoint(x, eigenvalues, kind, index, error))
    return result


def _polish(drift: Field, slope: Field, x: np.ndarray) -> tuple[np.ndarray, float]:
    """A few full Newton steps; the last one's length estimates the error that is left."""
    step = np.inf
    for _ in range(5):
        move = np.linalg.lstsq(slope(x), drift(x), rcond=1e-14)[0]
        if np.linalg.norm(move) >= step:
            break
        x, step = x - move, float(np.linalg.norm(move))
        if step == 0:
            break
    return x, step


def index_of_box(drift: Field, box: Sequence[Sequence[float]], *, samples: int = 400) -> int:
    """Turns of the field along the edge of a box in the plane: the sum of the indices inside.

    The edge is sampled ever more finely until the direction turns by less than 1 radian between
    samples. Raises DynamicsError: a zero on the edge, or another dimension than 2.
    """
    low, high = bounds_of(box, dimension=2)
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]], low])
    while samples <= 2e5:
        share = np.linspace(0, 1, samples, endpoint=False)[:, None]
        edge = np.concatenate([a + share * (b - a) for a, b in itertools.pairwise(corners)])
        vectors = evaluated(drift, edge)
        angle = np.arctan2(vectors[:, 1], vectors[:, 0])
        turn = np.angle(np.exp(1j * np.diff(angle, append=angle[0])))
        if np.abs(turn).max() < 1:
            return round(turn.sum() / TURN)
        samples *= 4
    raise DynamicsError(f"the field vanishes on the edge of the box {box}; widen the box a little.")


@dataclass(frozen=True)
class Change:
    """Where the kinds of the fixed points change: within `error` of `parameter`."""

    parameter: float
    error: float
    before: tuple[str, ...]
    after: tuple[str, ...]


def kind_changes(
    family: Callable[[float], System],
    values: Sequence[float],
    box: Sequence[Sequence[float]],
    *,
    tolerance: float = 1e-6,
    starts: int = 11,
) -> list[Change]:
    """Bifurcations of a family: where the sorted kinds of its fixed points in a box change.

    `values` are increasing parameters between which to look, by bisection down to `tolerance`.
    Two changes that undo each other between neighbouring values go unseen.
    """

    def kinds(value: float) -> tuple[str, ...]:
        system = family(value)
        points = fixed_points(system.drift, box, jacobian=system.jacobian, starts=starts)
        return tuple(sorted(point.kind for point in points))

    def search(a: float, b: float, at_a: tuple, at_b: tuple) -> list[Change]:
        if at_a == at_b:
            return []
        if b - a <= tolerance:
            return [Change((a + b) / 2, (b - a) / 2, at_a, at_b)]
        middle = (a + b) / 2
        at_middle = kinds(middle)
        return search(a, middle, at_a, at_middle) + search(middle, b, at_middle, at_b)

    known = [kinds(value) for value in values]
    pairs = zip(itertools.pairwise(values), itertools.pairwise(known), strict=True)
    return [change for (a, b), (at_a, at_b) in pairs for change in search(a, b, at_a, at_b)]
