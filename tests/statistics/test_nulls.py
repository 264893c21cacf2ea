"""Fits and envelopes on series whose parameters are known."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import xarray as xr

from limitcycles.statistics import autocorrelation, nulls, spectra
from limitcycles.statistics.blocks import SeriesError


def cube(count, epochs, seed, **parameters):
    return nulls.simulate("epoch-noise", (count, epochs), seed, **parameters)


@pytest.mark.parametrize(("phi", "theta"), [(0.0, 0.0), (0.8, -0.5), (-0.6, 0.3), (0.95, 0.0)])
def test_simulated_covariances(phi, theta):
    # γ_0 = (1 + 2φθ + θ²)/(1 − φ²), γ_1 = φγ_0 + θ, γ_2 = φγ_1: over runs, at the first steps too.
    series = cube(200000, 4, 1, phi=phi, theta=theta)
    gamma = [(1 + 2 * phi * theta + theta**2) / (1 - phi**2)]
    gamma += [phi * gamma[0] + theta]
    gamma += [phi * gamma[1], phi**2 * gamma[1]]
    found = series.T @ series / len(series)
    np.testing.assert_allclose(found, scipy.linalg.toeplitz(gamma), atol=0.015 * gamma[0])


def test_walks_start_at_zero_and_spread():
    series = nulls.simulate("random-walk", (20000, 50), 2)
    assert (series[:, 0] == 0).all()
    np.testing.assert_allclose(series.var(0)[1:], np.arange(1, 50), rtol=0.05)


def test_closed_form_fits():
    weights = np.array([[1.0, 5.0]] * 50 + [[3.0, 5.0]] * 50 + [[1.0, 9.0]])
    white = nulls.fit(weights, "white-noise")
    np.testing.assert_allclose(white.mean, weights.mean(0))
    np.testing.assert_allclose(white.noise, weights.std(0))
    walk = nulls.fit(weights, "random-walk")
    np.testing.assert_array_equal(walk.mean, [1, 5])
    np.testing.assert_allclose(walk.noise, [np.sqrt(8 / 100), np.sqrt(16 / 100)])
    assert walk.relaxation.tolist() == [np.inf, np.inf]


def test_ornstein_uhlenbeck_is_least_squares():
    weights = 3 + 2 * cube(3, 400, 3, phi=0.9).T
    result = nulls.fit(weights, "ornstein-uhlenbeck")
    for j, x in enumerate(weights.T):
        design = np.stack([x[:-1], np.ones(399)], axis=1)
        (slope, intercept), (rest,), *_ = np.linalg.lstsq(design, x[1:], rcond=None)
        assert result.phi[j] == pytest.approx(slope)
        assert result.mean[j] == pytest.approx(intercept / (1 - slope))
        assert result.noise[j] == pytest.approx(np.sqrt(rest / 399))


def test_a_growing_series_becomes_a_walk():
    x = 1.02 ** np.arange(150.0)[:, None]
    result = nulls.fit(x, "ornstein-uhlenbeck")
    assert result.phi == [1.0]
    assert result.mean == [1.0]
    assert result.noise == pytest.approx(np.sqrt((np.diff(x[:, 0]) ** 2).mean()))


def test_a_series_without_noise():
    k = np.arange(1801)
    decay = np.stack([np.exp(-k / 50), np.cos(np.pi * k), k % 2], axis=1).astype(np.float32)
    for null in ("ornstein-uhlenbeck", "epoch-noise"):
        result = nulls.fit(decay, null)
        np.testing.assert_allclose(result.phi, [np.exp(-1 / 50), -1, -1], atol=0.002)
        assert (result.noise < 0.02).all()


@pytest.mark.parametrize("null", ["random-walk", "ornstein-uhlenbeck", "epoch-noise"])
def test_a_series_that_moves_at_the_end_only_is_a_walk_of_one_step(null):
    x = np.full((145, 1), 2.0)
    x[-1] = 8.0
    result = nulls.fit(x, null)
    assert (result.mean, result.phi, result.theta) == ([2.0], [1.0], [0.0])
    assert result.noise == pytest.approx(6 / 12)


@pytest.mark.parametrize(
    ("phi", "theta"), [(0.9, -0.5), (0.99, 0.4), (0.998, -0.9), (0.0, -0.7), (-0.5, 0.2)]
)
def test_epoch_noise_is_found(phi, theta):
    # Large-sample variances (Brockwell & Davis 1991, Example 8.8.3).
    n, count = 20000, 40
    weights = 5 + 0.1 * cube(count, n, 4, phi=phi, theta=theta).T
    result = nulls.fit(weights.astype(np.float32), "epoch-noise")
    common = (1 + phi * theta) / (phi + theta) ** 2 / n
    for found, exact, factor in (
        (result.phi, phi, 1 - phi**2),
        (result.theta, theta, 1 - theta**2),
    ):
        deviation = np.sqrt(factor * (1 + phi * theta) * common)
        bias = 10 / n  # near φ = 1 the mean that is removed pulls φ down
        assert abs(found.mean() - exact) < 4 * deviation / np.sqrt(count) + bias
        assert found.std() == pytest.approx(deviation, rel=0.5)
    np.testing.assert_allclose(result.noise, 0.1, rtol=0.04)


def test_epoch_noise_is_least_squares_of_the_noise():
    x = 4 + cube(1, 150, 14, phi=0.8, theta=-0.5)[0]
    found = nulls.fit(x[:, None], "epoch-noise")

    def squares(phi, theta, mean):
        noise, total = 0.0, 0.0
        for before, after in itertools.pairwise(x - mean):
            noise = after - phi * before - theta * noise
            total += noise**2
        return total / 149

    point = np.array([found.phi[0], found.theta[0], found.mean[0]])
    least = squares(*point)
    assert found.noise[0] ** 2 == pytest.approx(least, rel=1e-9)
    for step in 0.05 * np.array(list(itertools.product([-1, 0, 1], repeat=3))):
        assert squares(*(point + step)) >= least


@pytest.mark.parametrize("null", ["ornstein-uhlenbeck", "epoch-noise"])
def test_fitted_envelopes_of_walks_are_not_too_narrow(null):
    # The hardest case for a fit: the truth is at the edge, and its estimate is not normal.
    series = nulls.simulate("random-walk", (150, 1500), 15)
    fitted = nulls.fit(series.T, null)
    for statistic in (autocorrelation.lag_profile, spectra.power_ratios):
        envelope = nulls.envelope(
            statistic, fitted, level=0.95, seed=1, replicates=399, resolution=0.5
        )
        assert envelope.inside(statistic(series)).mean() > 0.88


def test_epoch_noise_of_a_walk_of_anticorrelated_steps():
    weights = cube(20, 10000, 5, phi=1.0, theta=-0.6).T
    result = nulls.fit(weights, "epoch-noise")
    np.testing.assert_allclose(result.theta, -0.6, atol=0.05)
    assert (result.phi > 0.99).all()
    assert (nulls.fit(weights, "ornstein-uhlenbeck").relaxation < 10000).all()


def test_simulations_have_the_units_of_the_weights():
    weights = np.array([10.0, -3.0]) + cube(2, 3000, 6, phi=0.5, theta=0.3).T * [2.0, 0.1]
    fitted = nulls.fit(weights, "epoch-noise")
    again = fitted.simulate(np.random.default_rng(0), 200000)
    np.testing.assert_allclose(again.mean(1), weights.mean(0), atol=0.1)
    np.testing.assert_allclose(again.std(1), weights.std(0), rtol=0.05)
    assert fitted.simulate(np.random.default_rng(0)).shape == (2, 3000)


def test_fits_read_a_lazy_array():
    values = cube(70, 200, 7, phi=0.7).T.astype(np.float32)
    lazy = nulls.fit(xr.DataArray(values, dims=("epoch", "weight")), "ornstein-uhlenbeck")
    np.testing.assert_array_equal(lazy.phi, nulls.fit(values, "ornstein-uhlenbeck").phi)


@pytest.mark.parametrize("null", nulls.NULLS)
@pytest.mark.parametrize("statistic", [autocorrelation.lag_profile, spectra.power_ratios])
def test_envelopes_hold_what_they_say(null, statistic):
    parameters = {
        "white-noise": {},
        "random-walk": {},
        "ornstein-uhlenbeck": {"phi": 0.98},
        "epoch-noise": {"phi": 0.9, "theta": -0.7},
    }[null]
    series = nulls.simulate(null, (300, 1000), 8, **parameters)
    zero = np.zeros(1)
    one = zero + 1
    truth = nulls.Fit(
        null,
        zero,
        zero + (1 if null == "random-walk" else parameters.get("phi", 0)),
        zero + parameters.get("theta", 0),
        one,
        1000,
    )
    envelope = nulls.envelope(statistic, truth, level=0.9, seed=9, replicates=799)
    values = statistic(series)
    error = np.sqrt(0.9 * 0.1 * (1 / 300 + 1 / 799))
    assert abs(envelope.inside(values).mean() - 0.9) < 4 * error
    each = (values >= envelope.pointwise_low) & (values <= envelope.pointwise_high)
    assert abs(each.mean() - 0.9) < 0.05
    assert (envelope.pointwise_low > envelope.low).all()
    assert (envelope.pointwise_high < envelope.high).all()


def test_a_swing_leaves_the_envelopes_of_all_nulls():
    k = np.arange(3000)
    rng = np.random.default_rng(10)
    weights = np.cos(2 * np.pi * k / 700)[:, None] + 0.3 * rng.standard_normal((3000, 4))
    for null in nulls.NULLS:
        fitted = nulls.fit(weights, null)
        envelope = nulls.envelope(
            autocorrelation.lag_profile, fitted, level=0.95, seed=1, replicates=199
        )
        assert not envelope.inside(autocorrelation.lag_profile(weights.T)).any()


def test_shared_and_own_simulations_agree():
    weights = 4 + 3 * cube(3, 600, 11, phi=0.9).T
    fitted = nulls.fit(weights, "ornstein-uhlenbeck")
    arguments = {"level": 0.9, "seed": 3, "replicates": 1999}
    shared = nulls.envelope(spectra.power_ratios, fitted, **arguments)
    own = nulls.envelope(spectra.power_ratios, fitted, shared=False, **arguments)
    width = own.pointwise_high - own.pointwise_low
    assert np.abs((shared.pointwise_high - own.pointwise_high) / width).max() < 0.15
    assert np.abs((shared.pointwise_low - own.pointwise_low) / width).max() < 0.15


def test_statistics_with_units_need_simulations_of_their_own():
    weights = np.array([1.0, 100.0]) * cube(2, 300, 12).T
    fitted = nulls.fit(weights, "white-noise")
    envelope = nulls.envelope(
        lambda s: s.std(1), fitted, level=0.9, seed=3, replicates=199, shared=False
    )
    assert envelope.inside(weights.std(0)).all()
    assert envelope.low[1] > 50 * envelope.high[0]


def test_seeds_fix_everything():
    fitted = nulls.fit(cube(5, 300, 13, phi=0.8).T, "ornstein-uhlenbeck")

    def draw(seed):
        arguments = {"level": 0.9, "seed": seed, "replicates": 99}
        return nulls.envelope(spectra.power_ratios, fitted, **arguments).low

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).all()


def test_exceptions():
    moving = np.random.default_rng(0).normal(size=(200, 70))
    with pytest.raises(SeriesError, match="null is one of"):
        nulls.fit(moving, "pink")
    still = moving.copy()
    still[:, 66] = 1
    with pytest.raises(SeriesError, match="weight 66 never moves"):
        nulls.fit(still, "random-walk")
    with pytest.raises(SeriesError, match="999 replicates"):
        nulls.envelope(spectra.power_ratios, nulls.fit(moving, "random-walk"), level=0.99, seed=0)
    for arguments in ({"null": "white-noise", "phi": 0.5}, {"null": "epoch-noise", "phi": -1}):
        with pytest.raises(SeriesError, match="φ"):
            nulls.simulate(shape=(1, 5), seed=0, **arguments)
