"""Return maps and limit cycles in the plane.

Why a search on a few rays is a search of the whole box: a closed orbit encloses fixed points whose
Poincaré indices sum to 1, so at least one that is no saddle, and it crosses every ray from that
point. Along it the angle about that point grows by exactly 2π in a period. The map from a start on
the ray to the place where the angle has first changed by 2π therefore has a fixed point on every
closed orbit in the box, and what remains is a search in one dimension.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp, trapezoid
from scipy.optimize import brentq, minimize_scalar

from limitcycles.runtime import arguments
from limitcycles.theory.flows.field import (
    CYCLE_POINTS,
    GUARD,
    SMALL,
    TURN,
    DynamicsError,
    Field,
    bounds_of,
    jacobian_of,
)
from limitcycles.theory.flows.points import FixedPoint, fixed_points, index_of_box
from limitcycles.theory.functions import pure

RAY_ANGLE = 0.37  # radians: off the axes, on which symmetric systems have their separatrices
BISECTIONS = 36  # of a gap: 1e-11 of its width
ABSORBED = 1e-6  # relative to its start: so near the origin of the section the angle is rounding


@dataclass(frozen=True)
class Section:
    """The ray {origin + s · direction, 0 < s ≤ length} in the plane; direction has length 1."""

    origin: np.ndarray
    direction: np.ndarray
    length: float

    def at(self, s: float) -> np.ndarray:
        """The point at distance s, (2,)."""
        return self.origin + s * self.direction


@dataclass(frozen=True)
class ReturnMap:
    """Starts s on a section, where the path from each has gone once around the origin, and when.

    `arrival` and `time` are NaN, and `turn` 0, for a path that does not go around; `turn` is +1
    for anticlockwise, −1 for clockwise. All (n,).
    """

    start: np.ndarray
    arrival: np.ndarray
    time: np.ndarray
    turn: np.ndarray

    @property
    def displacement(self) -> np.ndarray:
        """arrival − start, (n,): zero on closed orbits."""
        return self.arrival - self.start


def ray(box: Sequence[Sequence[float]], origin: np.ndarray, angle: float = RAY_ANGLE) -> Section:
    """The section from `origin` to the edge of the box at `angle` (radians) to the first axis."""
    low, high = bounds_of(box, dimension=2)
    direction = np.array([np.cos(angle), np.sin(angle)])
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(direction > 0, (high - origin) / direction, (low - origin) / direction)
    length = float(np.nanmin(np.where(direction == 0, np.inf, reach)))
    if not length > 0:
        raise DynamicsError(f"the section's origin {origin} is not inside the box {box}.")
    return Section(np.asarray(origin, dtype=float), direction, length)


def return_map(
    drift: Field,
    section: Section,
    starts: np.ndarray,
    *,
    max_time: float = 1e3,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> ReturnMap:
    """Follow ẋ = b(x) from points of a section until the angle about its origin changed by ±2π.

    Parameters
    ----------
    drift
        A field in the plane.
    section, starts
        The ray, and distances s > 0 on it, (n,).
    max_time
        Paths that have not gone around by then are given up, as are those that leave a circle
        GUARD times as large as the section is long or come within ABSORBED × s of its origin.
    rtol, atol
        Of DOP853. The arrival is good to about 10 rtol.

    The angle φ is integrated along, φ̇ = (r × ẋ)/|r|², so that a path that swings back and forth
    across the ray has not returned. Raises DynamicsError for starts that are not positive.
    """
    starts = np.atleast_1d(arguments.points("starts", starts, DynamicsError))
    max_time = arguments.number("max_time", max_time, DynamicsError)
    if not (starts > 0).all():
        raise DynamicsError(f"starts on a section are above 0, not {starts.min()}.")
    rows = [one_turn(drift, section, s, max_time, rtol, atol)[:3] for s in starts]
    arrival, time, turn = (np.array(column) for column in zip(*rows, strict=True))
    return ReturnMap(starts, arrival, time, turn.astype(int))


def one_turn(drift: Field, section: Section, s: float, max_time: float, rtol: float, atol: float):
    """(arrival, time, turn, solution) of one path; NaN, NaN, 0 where it does not go around."""
    drift = pure(drift, "field")
    origin, limit = section.origin, (GUARD * max(section.length, s)) ** 2

    def velocity(_, state):
        # relative to the origin, so that small orbits around it keep their digits
        x, y = state[0], state[1]
        v = drift(origin + state[:2])
        return np.array([v[0], v[1], (x * v[1] - y * v[0]) / (x * x + y * y)])

    def around(_, state):
        return abs(state[2]) - TURN

    def away(_, state):
        return state[0] ** 2 + state[1] ** 2 - limit

    def absorbed(_, state):
        return state[0] ** 2 + state[1] ** 2 - (ABSORBED * s) ** 2

    around.terminal = away.terminal = absorbed.terminal = True
    with np.errstate(all="ignore"):
        solution = solve_ivp(
            velocity,
            (0.0, max_time),
            [*(s * section.direction), 0.0],
            method="DOP853",
            events=(around, away, absorbed),
            rtol=rtol,
            atol=atol * min(1.0, s),
            dense_output=True,
        )
    if solution.status != 1 or not solution.t_events[0].size:
        return np.nan, np.nan, 0, solution
    state = solution.y_events[0][0]
    arrival = float(section.direction @ state[:2])
    return arrival, float(solution.t_events[0][0]), int(np.sign(state[2])), solution


@dataclass(frozen=True)
class Cycle:
    """An isolated closed orbit.

    `start` (2,) lies on it at distance `radius` from the fixed point `centre` that it goes around;
    `points` (n, 2) are equally spaced in time over one `period`; `turn` is +1 for anticlockwise.
    `multiplier` = exp ∮∇·b dt is the slope of the return map: below 1 the cycle attracts.
    `closure` is |x(period) − x(0)|.
    """

    start: np.ndarray
    radius: float
    centre: np.ndarray
    period: float
    multiplier: float
    turn: int
    points: np.ndarray = field(repr=False)
    closure: float

    @property
    def stability(self) -> str:
        """ "stable", "unstable" or "neutral" (the multiplier is 1 within 1e-6)."""
        if abs(self.multiplier - 1) <= 1e-6:
            return "neutral"
        return "stable" if self.multiplier < 1 else "unstable"


@dataclass(frozen=True)
class CycleSearch:
    """What a search for closed orbits in a box found, and what it could not have seen.

    `cycles` are the isolated ones; `bands` are pairs (section number, (s_low, s_high)) in which
    every start comes back to itself, as around a centre. `closest` is the smallest displacement
    of a return map relative to s, apart from both. `smallest` and `spacing` are the resolution: of
    two cycles closer than `spacing` on a section, or one smaller than `smallest`, nothing is said.
    `gaps` are short intervals (section number, (s_low, s_high)) at one end of which paths return
    and at the other not. `index` is the field's index along the box's edge, `index_sum` that of the
    fixed points.
    """

    fixed_points: list[FixedPoint]
    sections: list[Section]
    maps: list[ReturnMap] = field(repr=False)
    cycles: list[Cycle]
    bands: list[tuple[int, tuple[float, float]]]
    gaps: list[tuple[int, tuple[float, float]]]
    closest: float
    smallest: float
    spacing: float
    index: int
    index_sum: int | None

    @property
    def complete(self) -> bool:
        """Every fixed point is accounted for: the indices agree."""
        return self.index_sum is not None and self.index == self.index_sum


def limit_cycles(
    drift: Field,
    box: Sequence[Sequence[float]],
    *,
    jacobian: Field | None = None,
    samples: int = 80,
    smallest: float = 5e-3,
    max_time: float = 500.0,
    rtol: float = 1e-10,
) -> CycleSearch:
    """Search a box in the plane for closed orbits, by return maps on rays from its fixed points.

    Parameters
    ----------
    drift, jacobian
        The field, and its derivative where it is known.
    box
        ((low, high), (low, high)); orbits that lie in it altogether are looked for.
    samples
        Starts on each ray; the accuracy of the search, not of a cycle that it finds.
    smallest
        The first start on a ray, relative to the ray's length.
    max_time, rtol
        See `return_map`.

    A change of sign of the displacement between two starts is refined by Brent's method (cycles
    good to about 1e-10), a minimum of its size by bounded minimisation (a semi-stable cycle). An
    attracting or repelling cycle that is the only one between two starts cannot be missed. Raises
    DynamicsError: another dimension than 2, or the field vanishes on the box's edge.
    """
    low, high = bounds_of(box, dimension=2)
    drift = pure(drift, "field")
    jacobian = None if jacobian is None else pure(jacobian, "jacobian")
    points = fixed_points(drift, box, jacobian=jacobian)
    index = index_of_box(drift, box)
    indices = [point.index for point in points]
    samples = arguments.whole("samples", samples, DynamicsError, least=8)
    slope = jacobian or jacobian_of(drift)
    sections, maps, cycles, bands, gaps = [], [], [], [], []
    closest, spacing = np.inf, 0.0
    for point in points:
        if point.index == -1:  # a closed orbit around saddles alone has no index 1
            continue
        section = ray(box, point.position)
        number = len(sections)
        s = section.length * np.unique(
            np.concatenate(
                [
                    np.geomspace(smallest, 1, samples // 4),
                    np.linspace(smallest, 1, samples - samples // 4),
                ]
            )
        )
        scan = return_map(drift, section, s, max_time=max_time, rtol=rtol)
        sections.append(section)
        maps.append(scan)
        spacing = max(spacing, float(np.diff(s).max()))
        found, flat, open_ends, nearest = _zeros(drift, section, scan, max_time, rtol)
        bands += [(number, pair) for pair in flat]
        gaps += [(number, pair) for pair in open_ends]
        closest = min(closest, nearest)
        for radius in found:
            cycle = _cycle(drift, slope, section, radius, max_time)
            if cycle is not None and not any(_same(cycle, other) for other in cycles):
                cycles.append(cycle)
    return CycleSearch(
        fixed_points=points,
        sections=sections,
        maps=maps,
        cycles=cycles,
        bands=bands,
        gaps=gaps,
        closest=float(closest),
        smallest=smallest * float((high - low).max()),
        spacing=spacing,
        index=index,
        index_sum=None if None in indices else sum(indices),
    )


def _zeros(drift: Field, section: Section, scan: ReturnMap, max_time: float, rtol: float):
    """Zeros of the displacement, bands of zeros, gaps, and the smallest relative displacement."""
    s, relative = scan.start, scan.displacement / scan.start
    back = np.isfinite(relative)
    flat = back & (np.abs(relative) <= max(SMALL, 100 * rtol))

    def displacement(at: float) -> float:
        arrival = one_turn(drift, section, at, max_time, rtol / 10, 1e-13)[0]
        return arrival / at - 1

    bands, zeros, gaps, nearest = [], [], [], np.inf
    for is_flat, run in itertools.groupby(range(len(s)), key=lambda i: flat[i]):
        run = list(run)
        if is_flat and len(run) >= 3:
            bands.append((float(s[run[0]]), float(s[run[-1]])))
        elif is_flat:
            zeros += [float(s[i]) for i in run]
    others = np.abs(relative[back & ~flat])
    nearest = float(others.min()) if others.size else np.inf
    for i, j in itertools.pairwise(range(len(s))):
        if back[i] != back[j]:
            inner, outer = (s[i], s[j]) if back[i] else (s[j], s[i])
            zero, ends = _last_return(displacement, inner, outer)
            zeros += [] if zero is None else [zero]
            gaps.append(ends)
        if not (back[i] and back[j]) or flat[i] or flat[j]:
            continue
        if scan.turn[i] == scan.turn[j] and relative[i] * relative[j] < 0:
            # not through brentq alone: a path inside the bracket may not return at all
            try:
                zeros.append(brentq(displacement, s[i], s[j], xtol=1e-13, rtol=1e-14))
            except (ValueError, RuntimeError):
                gaps.append((float(s[i]), float(s[j])))
    for i in range(1, len(s) - 1):
        three = relative[i - 1 : i + 2]
        if not np.isfinite(three).all() or flat[i - 1 : i + 2].any():
            continue
        size = np.abs(three)
        if len(set(np.sign(three))) == 1 and size[1] < min(size[0], size[2]) and size[1] < 0.05:
            best = minimize_scalar(
                lambda at: abs(displacement(at)),
                bounds=(s[i - 1], s[i + 1]),
                method="bounded",
                options={"xatol": 1e-8 * s[i]},
            )
            nearest = min(nearest, float(best.fun))
            if best.fun <= SMALL:
                zeros.append(float(best.x))
    return zeros, bands, gaps, nearest


def _last_return(displacement: Callable[[float], float], inside: float, outside: float):
    """(zero or None, gap): bisect towards the last start that returns.

    A strongly repelling cycle is found in this way only: but for a very thin strip, the paths on
    its far side escape before they have gone around.
    """
    at_inside = displacement(inside)
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        at_middle = displacement(middle)
        if not np.isfinite(at_middle):
            outside = middle
        elif at_middle * at_inside < 0:
            zero = brentq(displacement, *sorted((inside, middle)), xtol=1e-13, rtol=1e-14)
            return float(zero), (float(min(middle, outside)), float(max(middle, outside)))
        else:
            inside, at_inside = middle, at_middle
    return None, (float(min(inside, outside)), float(max(inside, outside)))


def _cycle(drift: Field, slope: Field, section: Section, radius: float, max_time: float):
    arrival, period, turn, solution = one_turn(drift, section, radius, max_time, 1e-13, 1e-14)
    if not np.isfinite(arrival):
        return None
    times = np.linspace(0, period, CYCLE_POINTS + 1)
    points = section.origin + solution.sol(times)[:2].T
    divergence = np.trace(slope(points), axis1=-2, axis2=-1)
    return Cycle(
        start=section.at(radius),
        radius=float(radius),
        centre=section.origin,
        period=period,
        multiplier=float(np.exp(trapezoid(divergence, times))),
        turn=turn,
        points=points[:-1],
        closure=abs(arrival - radius),
    )


def _same(one: Cycle, other: Cycle) -> bool:
    size = np.ptp(one.points, axis=0).max()
    gap = distance_to_loop(one.start[None], other.points)[0]
    return abs(one.period - other.period) <= 1e-6 * one.period and gap <= 1e-4 * size


def distance_to_loop(points: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """The distance of points (n, 2) from a closed polygon (m, 2), (n,)."""
    step = np.roll(loop, -1, axis=0) - loop
    result = np.full(len(points), np.inf)
    square = np.maximum((step**2).sum(-1), 1e-300)
    for i, point in enumerate(points):
        share = np.clip(((point - loop) * step).sum(-1) / square, 0, 1)
        result[i] = np.linalg.norm(loop + share[:, None] * step - point, axis=-1).min()
    return result
