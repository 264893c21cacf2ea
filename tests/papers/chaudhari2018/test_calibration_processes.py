"""Rates of a detector on data whose answer is known; more runs are in the calibration itself."""

from functools import partial

import numpy as np
import pytest

from limitcycles.papers.chaudhari2018.calibration import processes as calibration
from limitcycles.statistics import currents
from limitcycles.statistics.autocorrelation import autocorrelation
from limitcycles.statistics.blocks import SeriesError
from limitcycles.theory import linear_theory

STATIONARY = [name for name in calibration.NULLS if name != "random walk"]


def test_clopper_pearson_by_hand():
    # 0 of n: 1 − 0.025^(1/n); n of n: 0.025^(1/n); 5 of 10 from the tables: 0.1871, 0.8129.
    assert calibration.share(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert calibration.share(0, 20).low == 0
    assert calibration.share(20, 20).low == pytest.approx(0.025 ** (1 / 20))
    half = calibration.share(5, 10)
    assert (half.rate, half.low, half.high) == pytest.approx((0.5, 0.1871, 0.8129), abs=1e-4)
    assert np.isnan(calibration.share(0, 0).rate)
    with pytest.raises(SeriesError, match="share"):
        calibration.share(3, 2)


@pytest.mark.parametrize("name", STATIONARY)
def test_false_positives_of_the_interval(name):
    steps = 6000 if name == "SGD without replacement" else calibration.STEPS
    runs = 150 if name == "SGD without replacement" else 400
    rates = calibration.rates(calibration.NULLS[name], replications=runs, seed=2, steps=steps)
    assert rates.gated.total > 0.5 * runs
    assert abs(rates.gated.rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rates.gated.total)
    assert rates.gated.low <= rates.gated.rate <= rates.gated.high


def test_the_gate_stops_random_walks():
    rates = calibration.rates(calibration.random_walk, replications=200, seed=3)
    assert rates.stationary.count <= 1
    assert rates.found.count == 0
    assert rates.ungated.rate > 0.05  # which is why there is a gate


@pytest.mark.parametrize("surrogates", [False, True])
def test_power_on_a_driven_process(surrogates):
    detector = partial(calibration.detect, surrogates=surrogates)
    rates = calibration.rates(calibration.driven, replications=250, seed=4, detector=detector)
    assert rates.found.rate >= 0.9
    backwards = calibration.rates(
        partial(calibration.driven, strength=-calibration.STRENGTH), replications=100, seed=5
    )
    assert backwards.found.rate >= 0.85


def test_surrogates_only_take_away():
    for process in (calibration.reversible, calibration.driven):
        runs = [process(np.random.default_rng(seed), 4000) for seed in range(60)]
        plain = [calibration.detect(r).current for r in runs]
        both = [calibration.detect(r, surrogates=True).current for r in runs]
        assert all(p or not b for p, b in zip(plain, both, strict=True))
    assert sum(both) > 5


def test_strength_is_what_is_stated():
    # F = (1 + sJ)/τ: the area rate over its deviation after n steps is s/√(1 + s²)·√(n/τ).
    s, tau = calibration.STRENGTH, calibration.RELAXATION
    F = np.array([[1.0, s], [-s, 1.0]]) / tau
    A, _ = linear_theory.transition(F, np.eye(2), 1.0, 1.0)
    sigma = linear_theory.stationary_covariance(F, np.eye(2), 1.0)
    rate = currents.linear_area_rate(A, sigma, np.eye(2))
    variance = currents.linear_area_variance(A, sigma, np.eye(2))
    score = rate / np.sqrt(variance / calibration.STEPS)
    expected = s / np.sqrt(1 + s**2) * np.sqrt(calibration.STEPS / tau)
    assert score == pytest.approx(expected, rel=0.05)  # but for steps of length 1
    points = np.concatenate(
        [calibration.driven(np.random.default_rng(k), 50000) for k in range(20)]
    )
    assert currents.area_rates(points).frequency * 2 * np.pi * tau == pytest.approx(s, rel=0.15)


@pytest.mark.parametrize("name", STATIONARY)
def test_no_current_in_any_lag(name):
    points = calibration.NULLS[name](np.random.default_rng(6), 60000)
    x, y = np.moveaxis(points[:, 0], 1, 0)
    limit = 5 * x.std() * y.std() * np.sqrt(100 / 60000)
    lags = np.array([1, 5, 20])
    assert np.abs(currents.lag_asymmetry(points, lags)).max() < limit


def test_runs_are_fixed_by_the_seed():
    found = [
        calibration.rates(calibration.white_noise, replications=40, seed=s, steps=500)
        for s in (1, 1, 2)
    ]
    assert found[0] == found[1]
    one, two = (calibration.reversible(rng, 10) for rng in np.random.default_rng(0).spawn(2))
    assert (one != two).all()


def test_the_underdamped_process_swings():
    x = calibration.underdamped(np.random.default_rng(1), 50000)[:, 0, 0]
    assert autocorrelation(x[None], np.arange(60)).min() < -0.2
