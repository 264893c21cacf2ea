"""The verdict on Example 19 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("double-well")
decide = CLAIM.judge
LAMBDAS = [0.0, 0.5, 1.5]
SYSTEMS = ["lambda-0", "lambda-0.5", "lambda-1.5", "hopf_ring", "van_der_pol"]


def example(**changes) -> dict[str, xr.Dataset]:
    """What the paper says would be true; `changes` are {part: {name: {place: value}}}."""
    rate = np.array([0.0, 0.2, 0.6])
    steady = xr.Dataset(
        {
            "l1": (("lam", "grid"), np.full((3, 2), 1e-3)),
            "rate_grid": (("lam", "grid"), np.stack([rate, rate], -1)),
            "l1_extrapolated": ("lam", np.full(3, 1e-5)),
            "rate": ("lam", rate),
            "rate_low": ("lam", rate - 0.01),
            "rate_high": ("lam", rate + 0.01),
            "rate_exact": ("lam", rate),
            "shift": ("lam", [0.0, 0.4, 1.0]),
        },
        coords={"lam": LAMBDAS, "grid": [48, 96]},
        attrs={"paths": 1000, "level": 0.95},
    )
    nan = np.nan
    columns = {
        "starts": [100] * 5,
        "on_closed": [0.0, 0.0, 1.0, 1.0, 1.0],
        "undecided": [0.0] * 5,
        "cycles": [0, 0, 1, 1, 1],
        "bands": [0] * 5,
        "complete": [True] * 5,
        "closest": [np.inf, np.inf, 0.1, 0.1, 0.1],
        "period": [nan, nan, 3.0, 2 * np.pi, 6.663],
        "known_period": [nan, nan, nan, 2 * np.pi, 6.663],
        "dulac": [0] * 5,
        "settled": [nan, nan, 1.0, 1.0, 1.0],
        "l1": [nan, nan, nan, 1e-4, nan],
        "rate": [nan, nan, nan, 0.8, nan],
        "rate_low": [nan, nan, nan, 0.79, nan],
        "rate_high": [nan, nan, nan, 0.81, nan],
        "rate_grid": [nan, nan, nan, 0.8, nan],
        "rate_exact": [nan, nan, nan, 0.8, nan],
    }
    orbits = xr.Dataset(
        {name: ("system", values) for name, values in columns.items()},
        coords={"system": SYSTEMS},
        attrs={"dulac_expression": "-x1**2", "lyapunov_coefficient": -0.1, "pitchfork": 0.7788},
    )
    flat = np.full((3, 2), 0.1)
    noise = xr.Dataset(
        dict.fromkeys(("l1", "from_wells", "from_attractors"), (("lam", "temperature"), flat))
        | {
            name: (("lam", "temperature", "mode"), np.full((3, 2, 1), 0.5))
            for name in ("mode1", "mode2")
        },
        coords={"lam": LAMBDAS, "temperature": [1.0, 0.2]},
    )
    sweep = [0.0, 0.5, 1.5]
    kinds = [["stable node", "saddle"], ["stable focus", "saddle"], ["centre", ""]]
    points = xr.Dataset(
        {
            "x1": (("sweep", "point"), [[-1.0, 0.0], [-0.9, 0.0], [0.0, nan]]),
            "x2": (("sweep", "point"), [[0.0, 0.0], [-0.4, 0.0], [0.0, nan]]),
            "kind": (("sweep", "point"), kinds),
        },
        coords={"sweep": sweep},
        attrs={"changes": [0.511, 0.7788]},
    )
    turns = xr.Dataset(
        {
            "s": (("flow", "sample"), [[0.5, 1.0, 2.0]] * 2),
            "relative": (("flow", "sample"), [[-0.1, -0.2, -0.3], [0.5, 0.1, -0.4]]),
        },
        coords={"flow": ["lambda-1.5", "hopf_ring"]},
    )
    line = [-0.5, 0.5]
    pictures = xr.Dataset(
        {
            "log_density": (("lam", "shown", "u", "v"), np.full((3, 2, 2, 2), -1.0)),
            "drift1": (("lam", "arrow1", "arrow2"), np.ones((3, 2, 2))),
            "drift2": (("lam", "arrow1", "arrow2"), np.ones((3, 2, 2))),
            "orbit1": (("orbit_lam", "start", "step"), np.ones((2, 2, 3))),
            "orbit2": (("orbit_lam", "start", "step"), np.ones((2, 2, 3))),
        },
        coords={
            "lam": LAMBDAS,
            "shown": [1.0, 0.2],
            "u": line,
            "v": line,
            "arrow1": line,
            "arrow2": line,
            "orbit_lam": [0.0, 1.5],
        },
        attrs={"half": 1.0, "time": 25.0},
    )
    parts = {
        "steady": steady,
        "orbits": orbits,
        "noise": noise,
        "points": points,
        "turns": turns,
        "pictures": pictures,
    }
    for part, variables in changes.items():
        for name, places in variables.items():
            for place, value in places.items():
                parts[part][name].values[place] = value
    return parts


def no_orbit(**more) -> dict[str, xr.Dataset]:
    """As it is: no path at λ = 1.5 ends on a closed orbit, and none can."""
    orbits = {"on_closed": {2: 0.0}, "cycles": {2: 0}, "dulac": {2: -1}, "settled": {2: 0.0}}
    for name, places in more.items():
        orbits[name] = orbits.get(name, {}) | places
    return example(orbits=orbits)


def test_as_the_paper_says():
    result = decide(example())
    assert [a["agrees"] for a in result["arms"]] == [True] * 3
    assert result["verdict"] == Verdict.WITH_CAVEAT  # e^{−Φ/T} at T = 1 only
    assert "fails" not in result["caveat"]
    assert result["statistic"]["value"] == 100
    assert all(c["passed"] for c in result["controls"])


@pytest.mark.parametrize(
    ("changes", "arm", "said"),
    [
        ({"l1_extrapolated": {1: 0.011}}, 1, "the steady density"),
        ({"shift": {0: 2e-6}}, 0, "no shift at λ = 0"),
        ({"shift": {1: 0.04}}, 1, "shift at λ = 0.5"),
        ({"rate_low": {2: -0.01}}, 2, "area rate at λ = 1.5"),
        ({"rate_grid": {(2, 0): 1e-7}}, 2, "area rate at λ = 1.5"),
    ],
)
def test_one_part_that_fails_is_a_caveat(changes, arm, said):
    result = decide(example(steady=changes))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert said in result["caveat"]
    assert not result["arms"][arm]["agrees"]


def test_two_parts_that_fail():
    parts = example(steady={"shift": {1: 0.0}}, orbits={"on_closed": {2: 0.5}})
    assert decide(parts)["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_needs_all_three_methods():
    result = decide(no_orbit())
    assert result["verdict"] == Verdict.CONTRADICTED
    assert result["statistic"]["interval"][0] == 0
    assert result["statistic"]["interval"][1] == pytest.approx(100 * (1 - 0.025**0.01))
    assert decide(no_orbit(on_closed={2: 0.1}))["verdict"] == Verdict.CONTRADICTED
    assert decide(no_orbit(on_closed={2: 0.11}))["verdict"] == Verdict.WITH_CAVEAT
    for room in (
        {"dulac": {2: 0}},
        {"cycles": {2: 1}},
        {"bands": {2: 1}},
        {"complete": {2: False}},
    ):
        result = decide(no_orbit(**room))
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert "leave room" in result["caveat"]


@pytest.mark.parametrize(
    ("part", "name", "place", "value"),
    [
        ("orbits", "on_closed", 3, 0.8),  # the ring's paths
        ("orbits", "period", 3, 6.2),
        ("orbits", "rate_grid", 3, 0.7),
        ("orbits", "rate_low", 3, -0.1),
        ("orbits", "dulac", 3, -1),
        ("orbits", "period", 4, 6.6),
        ("orbits", "on_closed", 0, 1.0),  # λ = 0 passes what it must fail
        ("steady", "shift", 0, 0.1),
    ],
)
def test_controls_that_misbehave_decide(part, name, place, value):
    parts = no_orbit()
    if name == "dulac":  # a proof against the known cycle, and a search that does not see it
        parts["orbits"]["cycles"].values[place] = 0
    parts[part][name].values[place] = value
    assert misbehaved(decide(parts))


def test_chance_does_not_make_a_rotation():
    """An interval that misses 0 at λ = 0 by chance: the grids know better."""
    parts = no_orbit()
    parts["steady"]["rate_low"].values[0] = 0.001
    assert decide(parts)["verdict"] == Verdict.CONTRADICTED
    parts["steady"]["rate_grid"].values[0] = 0.01
    assert decide(parts)["verdict"] == Verdict.NOT_REPRODUCED


def test_charts_are_drawn_from_the_study():
    slider = CLAIM.charts(no_orbit())["orbits"]["params"]
    assert any(p.get("bind", {}).get("input") == "range" for p in slider)
