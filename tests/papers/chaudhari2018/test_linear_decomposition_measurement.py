"""Lemma 20 on a few systems: what is simulated knows nothing of the decomposition."""

import numpy as np
import pytest
import scipy.linalg
from helpers import one_thread, settings_read  # noqa: F401
from scipy import stats

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.linear_decomposition import measure

SETTINGS = settings_read("linear-decomposition", seed=3, systems=3, paths=4000)


@pytest.fixture(scope="module")
def systems():
    return measuring.of_theory("linear-decomposition", SETTINGS)["systems"]


def test_every_system_has_its_numbers(systems):
    assert dict(systems.sizes) == {"dimension": 3, "system": 3, "direction": 8}
    for d in measure.DIMENSIONS:
        mine = systems.sel(dimension=d)
        for name in ("ratio", "low", "high"):
            assert np.isfinite(mine[name].values[:, :d]).all()
            assert np.isnan(mine[name].values[:, d:]).all()
        assert (mine["low"] < mine["ratio"]).values[:, :d].all()
    for name in ("residual", "antisymmetry", "planted_error"):
        assert (systems[name] < 1e-10).all()
    assert (systems["commutator"] > 0.01).all()


def test_the_theory_holds_and_the_hessian_does_not(systems):
    inside = (systems["low"] <= 1) & (systems["high"] >= 1)
    assert (inside | systems["low"].isnull()).all()
    hessian = (systems["hessian_low"] <= 1) & (systems["hessian_high"] >= 1)
    assert not (hessian | systems["hessian_low"].isnull()).all("direction").any()


def test_equal_settings_give_equal_numbers(systems):
    again = measure.measure(SETTINGS)["systems"]
    other = measure.measure(SETTINGS | {"seed": 4})["systems"]
    assert again.identical(systems)
    assert not np.array_equal(other["residual"], systems["residual"])


def test_the_level_of_the_rule_decides_the_width(systems):
    wider = measure.measure(SETTINGS | {"level": 0.999})["systems"]
    assert wider.attrs["level"] == 0.999
    assert (wider["low"] < systems["low"]).values[0, :, :2].all()


def test_paths_have_the_covariance_of_the_lyapunov_equation():
    rng = np.random.default_rng(0)
    drift = np.array([[1.0, 2.0], [-1.5, 0.7]])
    noise = np.array([[1.0, 0.3], [0.3, 0.4]])
    found = measure.simulated_covariance(drift, noise, 200_000, rng)
    expected = scipy.linalg.solve_continuous_lyapunov(drift, 2 * measure.TEMPERATURE * noise)
    np.testing.assert_allclose(found, expected, atol=0.01 * np.trace(expected))


def test_intervals_cover_as_often_as_they_say():
    draws = stats.chi2.rvs(50, size=4000, random_state=0) / 50
    low, high = measure.ratio_interval(draws, 50, 0.9)
    assert np.mean((low <= 1) & (high >= 1)) == pytest.approx(0.9, abs=0.015)
