"""Lemma 7 at small settings; the second methods against direct integration."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401
from scipy.integrate import solve_ivp

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.closed_trajectories import frequencies, measure
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory import systems

SETTINGS = settings_read("closed-trajectories", seed=5, systems=4)
OPEN = ("torus-flow", "two-rotations", "coupled-oscillators")


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("closed-trajectories", SETTINGS)


def test_what_closes_and_what_does_not(parts):
    paths = parts["trajectories"]
    for name in paths["system"].values:
        closed = (paths["strict"].sel(system=name) <= 1e-6).all()
        assert bool(closed) == (name not in (*OPEN, "slow-spiral")), name
        assert not np.isnan(paths["strict"].sel(system=name)).any()
        assert np.isnan(paths["second"].sel(system=name)).any() == (name not in OPEN)
    assert paths["meets"].sel(system="example-19") == 0
    assert (paths["meets"].sel(system=list(OPEN)) == 1).all()
    assert float(paths["loose"].sel(system="two-rotations").max()) <= 1e-3  # recurrence
    np.testing.assert_allclose(paths["strict"].sel(system="slow-spiral"), 0.01, rtol=0.1)


def test_periods_and_lengths_in_closed_form(parts):
    paths = parts["trajectories"]
    np.testing.assert_allclose(paths["time"].sel(system="rotational-ou"), 2 * np.pi, rtol=1e-8)
    # j = −Qx, its frequency the length of the axis (3, 2, 1)
    np.testing.assert_allclose(
        paths["time"].sel(system="rotational-ou-3d"), 2 * np.pi / np.sqrt(14), rtol=1e-7
    )
    np.testing.assert_allclose(paths["time"].sel(system="two-rotations-3-2"), 4 * np.pi, rtol=1e-7)


def test_second_methods_agree_with_the_returns(parts):
    paths = parts["trajectories"]
    exact = paths.sel(system="two-rotations")
    np.testing.assert_allclose(exact["second"], exact["strict"], rtol=1e-3)
    torus = paths.sel(system="torus-flow")
    assert (torus["second"] >= 0.9 * torus["strict"]).all()
    assert (torus["second"] <= 4 * torus["strict"]).all()


def test_the_torus_period_by_integration():
    system = systems.torus_flow()
    start = np.array([1.2, 0.0, 0.5])
    (period,) = frequencies.torus_periods(system, start[None])

    def again(t, x):
        return x[0] ** 2 + x[1] ** 2 - 1.44

    again.direction = -1  # r falls through its first value once in a turn, as x₃ > 0 there
    path = solve_ivp(
        lambda _, x: system.force(x), (0, 30), start, events=again, rtol=1e-10, atol=1e-12
    )
    turns = np.diff(path.t_events[0])
    np.testing.assert_allclose(turns, period, rtol=1e-6)
    small = frequencies.torus_periods(system, np.array([[1.0, 0.0, 1e-3]]))
    assert small[0] == pytest.approx(2 * np.pi / np.sqrt(8), rel=1e-5)  # √V''(½), V'' = 2/s²


def test_the_symplectic_integrator_at_a_normal_mode():
    """On an axis the oscillators do not couple: a circle of period 2π, length 2π."""
    system = systems.coupled_oscillators()
    found = frequencies.symplectic(system, np.array([[1.0, 0, 0, 0]]), np.ones(1), 7.0)
    assert found[0] < 1e-5
    with pytest.raises(ValueError, match="coupling 4"):
        frequencies.symplectic(systems.coupled_oscillators(2), np.ones((1, 4)), np.ones(1), 1.0)


def test_the_first_return_that_is_near_enough_counts():
    profile = np.array([[1, 10, 0.5], [2, 20, 0.018], [3, 30, 0.0003]])
    assert measure.first_within(profile, 1e-3) == pytest.approx(9e-4)
    assert measure.first_within(profile, 1e-4) == pytest.approx(1e-5)
    assert measure.first_within(profile, 1e-7) == pytest.approx(1e-5)
    assert measure.first_within(profile[:0], 1e-3) == np.inf


def test_time_and_distances_are_those_of_the_rule():
    other = {"time": 20, "strict_distance": 1e-3, "distance_percent": 5}
    found = measure.measure(SETTINGS | other)["trajectories"]
    assert [found.attrs[name] for name in ("time", "strict", "loose")] == [20, 1e-3, 0.05]
    assert found["time"].max() <= 20


def test_too_few_are_refused():
    with pytest.raises(LimitcyclesError, match="at least 4"):
        measuring.of_theory("closed-trajectories", {"seed": 0, "systems": 3})
