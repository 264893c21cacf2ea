"""Closed orbits in any dimension: does a trajectory of a field come back to its start?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp

from limitcycles.runtime import arguments
from limitcycles.theory.flows.field import DynamicsError, Field, bounds_of, evaluated
from limitcycles.theory.functions import pure


@dataclass(frozen=True)
class Orbit:
    """Whether the trajectory from `start` (d,) came back.

    Of all returns to the plane through the start across the field, this is the one that came
    nearest in relation to the length run until then: its `distance` from the start, that
    `length`, its `time` (the period, if `closed`), and its number. Without any return the
    distance is inf, and length and time are those of the whole trajectory. `profile` (n, 3) has
    time, length and distance of every return.
    """

    start: np.ndarray
    closed: bool
    distance: float
    length: float
    time: float
    returns: int
    profile: np.ndarray = field(repr=False)

    @property
    def relative(self) -> float:
        """distance / length."""
        return self.distance / self.length if self.length > 0 else np.inf


def closes(
    drift: Field,
    start: np.ndarray,
    max_time: float,
    tolerance: float = 1e-3,
    *,
    max_returns: int | None = None,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> Orbit:
    """Does ẋ = b(x) from `start` come back to within `tolerance` × the length run until then?

    Parameters
    ----------
    drift, start
        A field in any dimension, and a point (d,).
    max_time, max_returns
        When to give up. They matter: a trajectory that fills a torus comes back, by recurrence,
        to any share of its growing length. A closed orbit comes back to within the error of the
        integration, some 1e-9; see `Orbit.profile`, and use a small tolerance for the strict test.
    tolerance
        Distance over length, 1e-3 for "0.1 %". With 0 it goes on to the end and finds all returns.

    A start at which the field vanishes is closed, with length 0. A trajectory that blows up is
    not. Raises DynamicsError for a field of the wrong shape.
    """
    start = arguments.points("start", start, DynamicsError)
    max_time = arguments.number("max_time", max_time, DynamicsError)
    tolerance = arguments.number("tolerance", tolerance, DynamicsError, zero=True)
    drift = pure(drift, "field")
    first = evaluated(drift, start)
    speed = np.linalg.norm(first)
    if speed == 0:
        return Orbit(start, True, 0.0, 0.0, 0.0, 0, np.zeros((0, 3)))
    normal = first / speed

    def velocity(_, state):
        v = drift(state[:-1])
        return np.append(v, np.linalg.norm(v))

    profile: list[tuple[float, float, float]] = []
    time, state = 0.0, np.append(start, 0.0)
    tiny = np.finfo(float).tiny
    while time < max_time and (max_returns is None or len(profile) < max_returns):

        def across(t, now, leaving=time):
            # On the plane itself the sign is rounding: say that the path has left it forwards
            return tiny if t == leaving else normal @ (now[:-1] - start)

        across.terminal, across.direction = True, 1
        with np.errstate(all="ignore"):
            leg = solve_ivp(
                velocity,
                (time, max_time),
                state,
                method="DOP853",
                events=across,
                rtol=rtol,
                atol=atol,
            )
        time, state = float(leg.t[-1]), leg.y[:, -1]
        if leg.status != 1:
            break
        time, state = float(leg.t_events[0][0]), leg.y_events[0][0]
        profile.append((time, float(state[-1]), float(np.linalg.norm(state[:-1] - start))))
        if profile[-1][2] <= tolerance * profile[-1][1]:
            break
    table = np.array(profile).reshape(-1, 3)
    if not profile:
        return Orbit(start, False, np.inf, float(state[-1]), time, 0, table)
    best = int(np.argmin(table[:, 2] / table[:, 1]))
    period, length, distance = (float(value) for value in table[best])
    closed = distance <= tolerance * length
    return Orbit(start, closed, distance, length, period, best + 1, table)


def random_starts(box: Sequence[Sequence[float]], count: int, seed: int) -> np.ndarray:
    """Points spread evenly over a box, (count, d), float64, by NumPy's generator from `seed`."""
    low, high = bounds_of(box)
    count = arguments.whole("count", count, DynamicsError)
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


def closed_orbits(
    drift: Field,
    starts: np.ndarray,
    max_time: float,
    tolerance: float = 1e-3,
    *,
    max_returns: int | None = None,
    rtol: float = 1e-10,
) -> tuple[float, list[Orbit]]:
    """The share (0..1) of trajectories from `starts` (n, d) that close, and each of them."""
    orbits = [
        closes(drift, start, max_time, tolerance, max_returns=max_returns, rtol=rtol)
        for start in np.atleast_2d(starts)
    ]
    return sum(orbit.closed for orbit in orbits) / len(orbits), orbits
