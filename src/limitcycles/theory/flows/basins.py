"""Where the paths of a field in the plane end: at a fixed point, on a closed orbit, or outside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

from limitcycles.runtime import arguments
from limitcycles.theory.flows.cycles import (
    CycleSearch,
    Section,
    distance_to_loop,
    limit_cycles,
    one_turn,
)
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
from limitcycles.theory.flows.orbits import random_starts
from limitcycles.theory.flows.points import FixedPoint
from limitcycles.theory.functions import pure


@dataclass(frozen=True)
class Basins:
    """Where paths end: for each start (n, 2) the number of a label, and the share of each label.

    Labels are a fixed point ("stable focus (1.00, 0.30)"), a cycle ("cycle of period 6.283"),
    "left the box" and "undecided". `on_closed_orbit` is the share that ends on a cycle or in a
    band of closed orbits.
    """

    starts: np.ndarray
    end: np.ndarray
    labels: list[str]
    final: np.ndarray = field(repr=False)

    @property
    def shares(self) -> dict[str, float]:
        """The share of the starts, 0..1, under each label."""
        counts = np.bincount(self.end, minlength=len(self.labels)) / len(self.end)
        return dict(zip(self.labels, counts.tolist(), strict=True))

    @property
    def on_closed_orbit(self) -> float:
        """The share that ends on a closed orbit."""
        return sum(v for k, v in self.shares.items() if k.startswith(("cycle", "closed orbits")))


def basin_shares(
    drift: Field,
    box: Sequence[Sequence[float]],
    *,
    search: CycleSearch | None = None,
    starts: np.ndarray | None = None,
    count: int = 400,
    seed: int = 0,
    max_time: float = 200.0,
    capture: float = 1e-3,
    rtol: float = 1e-8,
) -> Basins:
    """Follow paths of ẋ = b(x) in the plane, all at once, until it is known where they end.

    Parameters
    ----------
    search
        What `limit_cycles` found in the box; made here if not given.
    starts, count, seed
        Points (n, 2), or how many to draw evenly from the box.
    max_time, rtol
        How long to follow them, and how accurately (DOP853).
    capture
        A path is on a stable cycle when it is this near, relative to the size of the cycle.

    A path has ended at a fixed point when it is in a region around it that no path leaves and in
    which there is nothing else: for a sink, an ellipse in which the quadratic Lyapunov function
    of its linear part falls (checked at points); for a focus, also a weak one with its slow
    approach, a turn of a spiral from which the return map leads inwards at every sample.
    """
    drift = pure(drift, "field")
    search = limit_cycles(drift, box) if search is None else search
    low, high = bounds_of(box, dimension=2)
    starts = (
        random_starts(box, count, seed)
        if starts is None
        else arguments.points("starts", starts, DynamicsError)
    )
    labels, tests = [], []
    for point in search.fixed_points:
        regions = _regions(drift, point, search, (high - low).max())
        if regions:
            x, y = np.round(point.position, 9) + 0.0  # no minus zero
            labels.append(f"{point.kind} ({x:.3g}, {y:.3g})")
            tests.append(lambda p, regions=regions: np.any([r(p) for r in regions], axis=0))
    for cycle in search.cycles:
        if cycle.stability == "stable":
            labels.append(f"cycle of period {cycle.period:.4g}")
            near = capture * np.ptp(cycle.points, axis=0).max()
            tests.append(
                lambda p, loop=cycle.points, near=near: distance_to_loop(p, loop[::8]) <= 2 * near
            )
    for number, (inner, outer) in search.bands:
        labels.append(f"closed orbits around {np.round(search.sections[number].origin, 3)}")
        tests.append(_band_test(drift, search.sections[number], inner, outer))
    labels += ["left the box", "undecided"]
    middle, half = (low + high) / 2, (high - low) / 2
    tests.append(lambda p: (np.abs(p - middle) > GUARD * half).any(axis=-1))

    def velocity(_, flat):
        points = flat.reshape(-1, 2)
        v = drift(points)
        # Far out the path is followed at bounded speed: the same curve, and no blow-up in time
        outside = np.maximum(np.abs(points - middle) / (GUARD * half) - 1, 0).max(-1)
        return (v / (1 + outside * np.linalg.norm(v, axis=-1))[:, None]).ravel()

    final, end = starts.copy(), np.full(len(starts), len(labels) - 1)
    running = np.arange(len(starts))
    legs = np.unique(np.concatenate([[0], np.geomspace(max_time / 100, max_time, 12)]))
    for begin, stop in itertools.pairwise([*legs]):
        for number, test in enumerate(tests):
            inside = test(final[running])
            end[running[inside]] = number
            running = running[~inside]
            if not running.size:
                return Basins(starts, end, labels, final)
        leg = solve_ivp(
            velocity,
            (begin, stop),
            final[running].ravel(),
            method="DOP853",
            rtol=max(rtol / np.sqrt(len(running)), 1e-13),  # its error is a mean over all paths
            atol=1e-10,
        )
        final[running] = leg.y[:, -1].reshape(-1, 2)
    for number, test in enumerate(tests):
        inside = test(final[running])
        end[running[inside]] = number
        running = running[~inside]
        if not running.size:
            break
    return Basins(starts, end, labels, final)


def _regions(drift: Field, point: FixedPoint, search: CycleSearch, width: float):
    """Tests (n, 2) -> (n,) for regions around a fixed point that draw every path to it."""
    regions = []
    if point.is_sink:
        regions.append(_ellipse(drift, point, width))
    for section, scan in zip(search.sections, search.maps, strict=True):
        if not np.array_equal(section.origin, point.position):
            continue
        inwards = scan.displacement < -SMALL * scan.start
        inwards &= scan.turn == scan.turn[0]
        last = len(inwards) if inwards.all() else int(np.argmin(inwards))
        if last > 1 and point.kind in ("stable focus", "centre"):
            # One sample further in: the outermost turn may lie partly outside the box
            solution = one_turn(drift, section, scan.start[last - 1], 1e4, 1e-9, 1e-12)[3]
            times = np.linspace(0, solution.t_events[0][0], CYCLE_POINTS)
            loop = section.origin + solution.sol(times)[:2].T
            regions.append(lambda p, loop=loop: _inside(p, loop))
    return regions


def _ellipse(drift: Field, point: FixedPoint, width: float):
    """The largest ellipse xᵀPx ≤ c, JᵀP + PJ = −1, in which b·Px < 0 at every point tried."""
    slope = jacobian_of(drift)(point.position)
    form = solve_continuous_lyapunov(slope.T, -np.eye(2))
    angle = np.linspace(0, TURN, 180, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    rim = np.linalg.solve(np.linalg.cholesky(form).T, circle.T).T  # rimᵀ P rim = 1
    radius = width * np.geomspace(1e-4, 0.5, 60) / np.linalg.norm(rim, axis=-1).max()
    offsets = radius[:, None, None] * rim
    falls = np.einsum("ran,nm,ram->ra", drift(point.position + offsets), form, offsets) < 0
    good = falls.all(axis=1)
    reach = radius[len(good) - 1 if good.all() else max(int(np.argmin(good)) - 1, 0)]

    def inside(points: np.ndarray) -> np.ndarray:
        away = points - point.position
        return np.einsum("pn,nm,pm->p", away, form, away) <= reach**2

    return inside


def _band_test(drift: Field, section: Section, inner: float, outer: float):
    loops = []
    for s in (inner, outer):
        solution = one_turn(drift, section, s, 1e4, 1e-9, 1e-12)[3]
        times = np.linspace(0, solution.t_events[0][0], CYCLE_POINTS)
        loops.append(section.origin + solution.sol(times)[:2].T)
    return lambda p: _inside(p, loops[1]) & ~_inside(p, loops[0])


def _inside(points: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Which points (n, 2) a closed polygon (m, 2) goes around, (n,) bool."""
    result = np.zeros(len(points), dtype=bool)
    for i, point in enumerate(points):
        z = (loop - point) @ np.array([1, 1j])
        result[i] = abs(np.angle(np.roll(z, -1) / z).sum()) > np.pi
    return result
