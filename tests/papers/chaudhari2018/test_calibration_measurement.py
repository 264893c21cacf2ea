"""The calibration with few runs: what its tables hold, and its closed forms."""

import numpy as np
import pytest
from helpers import settings_read
from scipy import stats

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.calibration import measure
from limitcycles.papers.chaudhari2018.calibration import processes as calibration
from limitcycles.statistics import currents
from limitcycles.statistics.intervals import exact_binomial
from limitcycles.theory import linear_theory

SETTINGS = settings_read("calibration", calibration_runs=20)
RULE = {key: SETTINGS[key] for key in ("level", "shift", "ratio")}


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("calibration", SETTINGS)


def test_every_process_and_every_share(parts):
    rates = parts["rates"]
    assert rates["process"].values.tolist() == [*calibration.NULLS, "driven OU"]
    assert rates["current"].values.tolist() == [False] * 5 + [True]
    assert (rates.attrs["runs"], rates.attrs["steps"]) == (20, calibration.STEPS)
    walk = rates.sel(process="random walk")
    assert float(walk["stationary"]) == 0
    assert np.isnan(walk["gated"])
    others = rates.drop_sel(process="random walk")
    for kind in ("stationary", "ungated", "found", "gated", "confirmed"):
        share = others[kind].values
        assert (others[f"{kind}_low"].values <= share).all()
        assert (share <= others[f"{kind}_high"].values).all()
    assert (others["confirmed"] <= others["gated"]).all()
    assert float(rates["gated"].sel(process="driven OU")) > 0.7
    np.testing.assert_allclose(others["gated"], others["found"] / others["stationary"])


def test_shares_are_those_of_the_detector_run_by_run(parts):
    seed = measure.stream(0, "calibration: white noise")
    found = [
        measure.detected(calibration.white_noise(rng, calibration.STEPS), RULE)[1]
        for rng in np.random.default_rng(seed).spawn(20)
    ]
    first = parts["rates"].sel(process="white noise")
    assert float(first["ungated"]) == np.mean(found)
    assert float(first["ungated_high"]) == exact_binomial(sum(found), 20)[1]


def test_power_rises_with_the_strength(parts):
    power = parts["power"]
    assert power["strength"].values[[0, -1]].tolist() == [0, 2 * calibration.STRENGTH]
    assert calibration.STRENGTH in power["strength"]
    assert power.attrs["runs"] == 20
    assert float(power["found"][0]) < 0.4 < 0.7 < float(power["found"][-1])
    inside = (power["ungated_low"] - 0.1 < power["predicted"]) & (
        power["predicted"] < power["ungated_high"] + 0.1
    )
    assert inside.all()


def test_deviations_are_those_of_the_linear_process(parts):
    for strength, expected in zip(
        parts["power"]["strength"].values[1:], parts["power"]["deviations"].values[1:], strict=True
    ):
        F = np.array([[1, strength], [-strength, 1]]) / calibration.RELAXATION
        A, _ = linear_theory.transition(F, np.eye(2), 1.0, 1.0)
        sigma = linear_theory.stationary_covariance(F, np.eye(2), 1.0)
        rate = currents.linear_area_rate(A, sigma, np.eye(2))
        error = np.sqrt(currents.linear_area_variance(A, sigma, np.eye(2)) / calibration.STEPS)
        assert expected == pytest.approx(rate / error, rel=0.05)  # but for steps of length 1


def test_predicted_power_by_simulation():
    draws = np.random.default_rng(0).standard_normal((40_000, 30))
    for deviations in (0.0, 1.5, 3.0):
        shifted = draws + deviations / np.sqrt(30)
        share = (stats.ttest_1samp(shifted, 0, axis=1).pvalue < 0.05).mean()
        assert measure.predicted_power(deviations, 0.95) == pytest.approx(share, abs=0.01)


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    one, two, other = (
        measure.rates(calibration.reversible, RULE, replications=20, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("changes", [{"level": 0.5}, {"shift": 0.05}, {"ratio": 1.05}])
def test_the_detector_is_that_of_the_rule(changes):
    one, other = (
        measure.rates(calibration.white_noise, rule, replications=20, seed=0, steps=2000)
        for rule in (RULE, RULE | changes)
    )
    assert one["stationary"].rate > 0.9
    if "level" in changes:
        assert other["ungated"].rate > one["ungated"].rate + 0.2
    else:
        assert other["stationary"].rate < 0.1
