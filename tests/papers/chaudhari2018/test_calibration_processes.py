"""Rates of a detector on data whose answer is known; more runs are in the calibration itself."""

from functools import partial

import numpy as np
import pytest

from limitcycles.papers.chaudhari2018.calibration import processes
from limitcycles.papers.chaudhari2018.calibration.measure import rates
from limitcycles.statistics import currents
from limitcycles.statistics.autocorrelation import autocorrelation
from limitcycles.theory import linear_theory

RULE = {"level": 0.95, "shift": 0.5, "ratio": 1.5}
STATIONARY = [name for name in processes.NULLS if name != "random walk"]


@pytest.mark.parametrize("name", STATIONARY)
def test_false_positives_of_the_interval(name):
    steps = 6000 if name == "SGD without replacement" else processes.STEPS
    runs = 150 if name == "SGD without replacement" else 400
    found = rates(processes.NULLS[name], RULE, replications=runs, seed=2, steps=steps)
    gated, passing = found["gated"], found["stationary"].rate * runs
    assert passing > 0.5 * runs
    assert abs(gated.rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / passing)
    assert gated.low <= gated.rate <= gated.high
    assert found["confirmed"].rate <= gated.rate


def test_the_gate_stops_random_walks():
    found = rates(processes.random_walk, RULE, replications=200, seed=3)
    assert found["stationary"].rate <= 1 / 200
    assert found["found"].rate == 0
    assert found["ungated"].rate > 0.05  # which is why there is a gate


def test_power_on_a_driven_process():
    found = rates(processes.driven, RULE, replications=250, seed=4)
    assert found["found"].rate >= 0.9
    assert found["confirmed"].rate * found["stationary"].rate >= 0.9
    backwards = partial(processes.driven, strength=-processes.STRENGTH)
    assert rates(backwards, RULE, replications=100, seed=5)["found"].rate >= 0.85


def test_strength_is_what_is_stated():
    # F = (1 + sJ)/τ: the area rate over its deviation after n steps is s/√(1 + s²)·√(n/τ).
    s, tau = processes.STRENGTH, processes.RELAXATION
    F = np.array([[1.0, s], [-s, 1.0]]) / tau
    A, _ = linear_theory.transition(F, np.eye(2), 1.0, 1.0)
    sigma = linear_theory.stationary_covariance(F, np.eye(2), 1.0)
    rate = currents.linear_area_rate(A, sigma, np.eye(2))
    variance = currents.linear_area_variance(A, sigma, np.eye(2))
    score = rate / np.sqrt(variance / processes.STEPS)
    expected = s / np.sqrt(1 + s**2) * np.sqrt(processes.STEPS / tau)
    assert score == pytest.approx(expected, rel=0.05)  # but for steps of length 1
    points = np.concatenate([processes.driven(np.random.default_rng(k), 50000) for k in range(20)])
    assert currents.area_rates(points).frequency * 2 * np.pi * tau == pytest.approx(s, rel=0.15)


@pytest.mark.parametrize("name", STATIONARY)
def test_no_current_in_any_lag(name):
    points = processes.NULLS[name](np.random.default_rng(6), 60000)
    x, y = np.moveaxis(points[:, 0] - points[:, 0].mean(0), 1, 0)
    limit = 5 * x.std() * y.std() * np.sqrt(100 / 60000)
    for lag in (1, 5, 20):  # C_xy − C_yx, zero in a process that is the same backwards in time
        asymmetry = (x[:-lag] * y[lag:] - y[:-lag] * x[lag:]).mean()
        assert abs(asymmetry) < limit


def test_runs_are_fixed_by_the_seed():
    found = [
        rates(processes.white_noise, RULE, replications=40, seed=s, steps=500) for s in (1, 1, 2)
    ]
    assert found[0] == found[1]
    one, two = (processes.reversible(rng, 10) for rng in np.random.default_rng(0).spawn(2))
    assert (one != two).all()


def test_the_underdamped_process_swings():
    x = processes.underdamped(np.random.default_rng(1), 50000)[:, 0, 0]
    assert autocorrelation(x[None], np.arange(60)).min() < -0.2
