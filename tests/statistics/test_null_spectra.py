"""Spectra of nulls: against sums over lags, integrals of densities, and simulation."""

import numpy as np
import pytest
from scipy import integrate, signal

from limitcycles.statistics import null_spectra, nulls
from limitcycles.statistics.blocks import SeriesError

CASES = [(0.0, 0.0), (0.9, 0.0), (0.99, -0.5), (1.0, 0.3), (-0.3, 0.2)]


def fit(phi, theta, length=2001, noise=1.0):
    phi, theta = np.atleast_1d(phi).astype(float), np.atleast_1d(theta).astype(float)
    one = np.ones(len(phi))
    return nulls.Fit("epoch-noise", 0 * one, phi, theta, noise * one, length)


@pytest.mark.parametrize(("phi", "theta"), CASES)
def test_covariances_are_sums_over_the_responses_of_the_filter(phi, theta):
    # y is a moving average of ε whose coefficients are the filter's response to an impulse.
    impulse = np.eye(1, 20_000)[0]
    response = signal.lfilter(np.convolve([1, -1], [1, theta]), [1, -phi], impulse)
    by_hand = [response[: len(response) - h] @ response[h:] for h in range(6)]
    assert null_spectra.covariances([phi], [theta], 6)[0] == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(("phi", "theta"), CASES)
def test_the_density_integrates_to_the_covariances(phi, theta):
    frequency = np.linspace(1e-9, 0.5, 20_001)
    density = null_spectra.density(fit(phi, theta, noise=3.0), frequency)[0]
    known = 9 * null_spectra.covariances([phi], [theta], 3)[0]
    for lag in range(3):
        found = integrate.simpson(density * np.cos(2 * np.pi * lag * frequency), x=frequency)
        assert found == pytest.approx(known[lag], abs=1e-6)


@pytest.mark.parametrize(("phi", "theta"), CASES)
@pytest.mark.parametrize("length", [202, 203])
def test_expected_ratios_are_those_of_the_double_sum(phi, theta, length):
    n = length - 1
    k = np.arange(n)
    gamma = null_spectra.covariances([phi], [theta], n)[0][np.abs(k[:, None] - k)]
    waves = np.exp(-2j * np.pi * np.outer(np.arange(1, n // 2 + 1), k) / n)
    power = np.einsum("jk,kl,jl->j", waves, gamma, waves.conj()).real
    m = len(power)
    low, high = int(m * 0.02), int(m * 0.1)
    middle = power[low:-high].mean()
    by_hand = np.log([power[:low].mean() / middle, power[-high:].mean() / middle])
    assert null_spectra.expected_ratios([phi], [theta], length)[0] == pytest.approx(by_hand)


def test_a_walk_is_flat():
    assert null_spectra.expected_ratios([1.0], [0.0], 500)[0] == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize(("phi", "theta"), [(0.9, 0.0), (0.99, -0.5), (1.0, 0.3), (0.99995, 0.25)])
def test_a_moved_envelope_is_that_of_the_null_itself(phi, theta):
    # Not of the null that was simulated: its φ and θ lie up to 0.25 away in the logarithm.
    own = nulls.simulate("epoch-noise", (2000, 2001), 5, phi=phi, theta=theta)
    low, high = np.quantile(null_spectra.looks(own), [0.025, 0.975], axis=0)
    found = null_spectra.ratio_envelope(fit(phi, theta), level=0.95, seed=1, replicates=1999)
    for ends, known in zip(found, (low, high), strict=True):
        assert (np.abs(ends[0] - known) < 0.1 * (high - low)).all()


def test_what_is_simulated_once_changes_little_against_the_width():
    # Three within one resolution, moved by what they expect, against each simulated alone.
    phi = np.tanh(np.array([3.8, 4.0, 4.2]) / 2)
    coarse = null_spectra.ratio_envelope(fit(phi, 0 * phi), level=0.95, seed=2, replicates=999)
    fine = null_spectra.ratio_envelope(
        fit(phi, 0 * phi), level=0.95, seed=3, replicates=999, resolution=0.01
    )
    width = fine[1] - fine[0]
    for a, b in zip(coarse, fine, strict=True):
        assert (np.abs(a - b) < 0.12 * width).all()
    # It matters that it is moved: the nulls differ by more than that.
    expected = null_spectra.expected_ratios(phi, 0 * phi, 2001)
    assert expected[2, 0] - expected[0, 0] > 0.25 * width[0, 0, 0]


def test_segments():
    assert [null_spectra.segment(n) for n in (100_000, 8193, 8192, 1801, 101, 20)] == [
        1024, 1024, 512, 128, 8, 8
    ]  # fmt: skip


def test_too_few_replicates_are_refused():
    with pytest.raises(SeriesError, match="at least 199 replicates"):
        null_spectra.ratio_envelope(fit(0.5, 0.0), level=0.95, seed=0, replicates=100)
