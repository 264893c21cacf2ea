"""Lemma 7: does ẋ = j(x) run on closed loops? In two, three and four dimensions.

Each trajectory is followed for the same time, and every return to the plane through its start is
kept, so that any rule on distance can be applied afterwards. Where trajectories do not close a
second method says so that knows nothing of these returns: the two frequencies of a torus, by
quadrature or exactly, or another integrator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

from limitcycles.papers.chaudhari2018.closed_trajectories import frequencies
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import flows, systems

READS = (
    "theory.seed",
    "theory.systems",
    "rule.time",
    "rule.strict_distance",
    "rule.distance_percent",
)

LONG = 200.0
RTOL = 1e-9
RADIUS_OF_19 = 1.8  # e^Φ makes the j of Example 19 grow beyond all bounds further out
DRAWN = {"sphere-flow": 20.0, "torus-flow": 90.0}  # orbits in three dimensions, and for how long
DRAWN_POINTS = 1100
MOST_TURNS = 100
SHOWN = ("sphere-flow", "torus-flow", "two-rotations", "coupled-oscillators", "slow-spiral")


@dataclass(frozen=True)
class Case:
    """A field to follow: its system, what is followed, where starts lie, and a second method."""

    system: systems.System
    starts: Callable[[np.random.Generator, int], np.ndarray]
    of_drift: bool = False
    second: Callable[[systems.System, np.ndarray, np.ndarray, float], np.ndarray] | None = None

    @property
    def field(self) -> flows.Field:
        """j, or for a control the drift itself."""
        return self.system.drift if self.of_drift else self.system.force


def cases() -> dict[str, Case]:
    """The arms of the claim, a rational counterpart of one of them, and the controls."""
    return {
        "rotational-ou": Case(systems.rotational_ou(), _cloud(2)),
        "linear-non-commuting": Case(systems.linear_non_commuting(), _cloud(2)),
        "rotating-wells": Case(systems.rotating_wells(), _cloud(2)),
        "example-19": Case(systems.double_well(1.5), _disc),
        "rotational-ou-3d": Case(systems.rotational_ou_3d(), _cloud(3)),
        "sphere-flow": Case(systems.sphere_flow(), _cloud(3)),
        "torus-flow": Case(systems.torus_flow(), _ring, second=frequencies.torus),
        "two-rotations": Case(systems.two_rotations(), _cloud(4), second=frequencies.rotations),
        "coupled-oscillators": Case(
            systems.coupled_oscillators(), _cloud(4), second=frequencies.symplectic
        ),
        "two-rotations-3-2": Case(systems.two_rotations(1.5), _cloud(4)),
        "pure-rotation": Case(systems.pure_rotation(), _cloud(2), of_drift=True),
        "slow-spiral": Case(systems.slow_spiral(), _cloud(2), of_drift=True),
    }


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """`systems`/2 trajectories of each field from random starts, for the time of the rule.

    Part `trajectories`, by `system`: `dimension`, `meets` (Assumption 4 and e^{−Φ/T} stationary,
    symbolically: 1 yes, 0 no, −1 unknown), and by start: `strict` and `loose`, the smallest
    distance/length over all returns to the start's plane (each until it is at most
    that of the rule), `time` and `length` at the strict one, and `second`, the same
    number by a second method (NaN where there is none). ∞ stands for no return at all.
    Part `returns`, by (system, turn): `time` and `relative` distance of the returns of one
    trajectory over a time of 200 (NaN beyond the last), also for a closed one.
    Part `orbits`, by (system, step): `x1`, `x2`, `x3` along an orbit in three dimensions.
    `winding` in the attributes is the ratio of the torus' two frequencies over the starts, [least,
    largest].

    Raises LimitcyclesError: fewer than 4 systems.
    """
    count = settings["systems"] // 2
    if count < 2:
        raise LimitcyclesError(
            f"the claim closed-trajectories needs theory.systems of at least 4, not "
            f"{settings['systems']}; change `theory`."
        )
    every = cases()
    duration, strict = float(settings["time"]), settings["strict_distance"]
    loose = settings["distance_percent"] / 100
    names = ("strict", "loose", "time", "length", "second")
    found = {name: np.full((len(every), count), np.nan) for name in names}
    meets, first = [], {}
    for i, (name, case) in enumerate(
        track(every.items(), total=len(every), unit="field", what="closed trajectories")
    ):
        rng = np.random.default_rng(stream(settings["seed"], f"trajectories {name}"))
        starts = case.starts(rng, count)
        first[name] = starts[0]
        orbits = [flows.closes(case.field, s, duration, strict, rtol=RTOL) for s in starts]
        for k, orbit in enumerate(orbits):
            found["strict"][i, k] = orbit.relative
            found["loose"][i, k] = first_within(orbit.profile, loose)
            found["time"][i, k], found["length"][i, k] = orbit.time, orbit.length
        if case.second is not None:
            speed = np.array([_speed(orbit) for orbit in orbits])
            found["second"][i] = case.second(case.system, starts, speed, duration)
        meets.append({True: 1, False: 0, None: -1}[case.system.meets_assumption_4])
        if name == "torus-flow":
            ratios = frequencies.torus_periods(case.system, starts) / (2 * np.pi)
    trajectories = xr.Dataset(
        {name: (("system", "start"), values) for name, values in found.items()}
        | {
            "meets": ("system", meets),
            "dimension": ("system", [case.system.dimension for case in every.values()]),
        },
        coords={"system": list(every)},
        attrs={
            "time": duration,
            "strict": strict,
            "loose": loose,
            "winding": [float(ratios.min()), float(ratios.max())],
        },
    )
    return {
        "trajectories": trajectories,
        "returns": _returns({name: (every[name].field, first[name]) for name in SHOWN}),
        "orbits": _orbits({name: (every[name].field, first[name]) for name in DRAWN}),
    }


def first_within(profile: np.ndarray, tolerance: float) -> float:
    """distance/length of the first return within `tolerance`, else the smallest; ∞ without any."""
    if not len(profile):
        return np.inf
    relative = profile[:, 2] / profile[:, 1]
    close = np.flatnonzero(relative <= tolerance)
    return float(relative[close[0]] if close.size else relative.min())


def _speed(orbit: flows.Orbit) -> float:
    """Mean speed, length over time; NaN without a return."""
    return orbit.length / orbit.time if orbit.time > 0 else np.nan


def _cloud(dimension: int):
    return lambda rng, count: rng.standard_normal((count, dimension))


def _disc(rng: np.random.Generator, count: int) -> np.ndarray:
    radius, angle = RADIUS_OF_19 * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


def _ring(rng: np.random.Generator, count: int) -> np.ndarray:
    """Near the bottom of the torus flow's potential, a circle of radius 1, but not on it."""
    radius, angle = rng.uniform(0.6, 1.4, count), rng.uniform(0, 2 * np.pi, count)
    height = rng.uniform(0.2, 1.0, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1)


def _returns(fields: dict) -> xr.Dataset:
    profiles = {
        name: flows.closes(field, start, LONG, 0.0, rtol=RTOL, max_returns=MOST_TURNS).profile
        for name, (field, start) in fields.items()
    }
    most = max(len(profile) for profile in profiles.values())
    time, relative = (np.full((len(profiles), most), np.nan) for _ in range(2))
    for i, profile in enumerate(profiles.values()):
        time[i, : len(profile)] = profile[:, 0]
        relative[i, : len(profile)] = profile[:, 2] / profile[:, 1]
    return xr.Dataset(
        {"time": (("system", "turn"), time), "relative": (("system", "turn"), relative)},
        coords={"system": list(profiles)},
        attrs={"time": LONG},
    )


def _orbits(fields: dict) -> xr.Dataset:
    rows = []
    for name, (field, start) in fields.items():
        times = np.linspace(0, DRAWN[name], DRAWN_POINTS)
        path = solve_ivp(
            lambda _, x, field=field: field(x),
            (0, times[-1]),
            start,
            method="DOP853",
            t_eval=times,
            rtol=1e-9,
            atol=1e-10,
        )
        rows.append(path.y)
    values = np.array(rows)
    return xr.Dataset(
        {f"x{k + 1}": (("system", "step"), values[:, k]) for k in range(3)},
        coords={"system": list(fields)},
        attrs={"times": [DRAWN[name] for name in fields]},
    )
