"""Spectra of increments against discrete Fourier sums and closed densities."""

import numpy as np
import pytest
from scipy import integrate

from limitcycles.statistics import nulls, spectra
from limitcycles.statistics.blocks import SeriesError, per_weight


def walk(epochs, weights, seed=0):
    return np.cumsum(np.random.default_rng(seed).standard_normal((epochs, weights)), axis=0)


def test_amplitudes_are_those_of_the_fourier_sum():
    weights = walk(40, 3)
    y = np.diff(weights, axis=0)
    k = np.arange(39)
    result = spectra.increment_amplitudes(weights, frequencies=7)
    for j in range(7):
        each = np.abs((y * np.exp(-2j * np.pi * j * k / 39)[:, None]).sum(0))
        half = 1.959964 * each.std(ddof=1) / np.sqrt(3)
        assert result.frequency[j] == pytest.approx(j / 39)
        assert result.mean[j] == pytest.approx(each.mean())
        assert (result.low[j], result.high[j]) == pytest.approx(
            (each.mean() - half, each.mean() + half)
        )


def test_amplitudes_of_a_walk_are_flat():
    # |Y|² is n·χ²₂/2 for f > 0: |Y| is Rayleigh, of mean √(πn)/2 and variance n(1 − π/4).
    result = spectra.increment_amplitudes(walk(5001, 150), frequencies=1000)
    error = np.sqrt(5000 * (1 - np.pi / 4) / 150)
    z = (result.mean[1:] - np.sqrt(np.pi * 5000) / 2) / error
    assert abs(z.mean()) < 4 / np.sqrt(999)
    assert np.abs(z).max() < 5
    assert result.frequency[-1] == pytest.approx(999 / 5000)


def test_no_more_frequencies_than_there_are():
    assert len(spectra.increment_amplitudes(walk(101, 2)).mean) == 51


ESTIMATES = [
    lambda w: spectra.welch(w, segment=256),
    lambda w: spectra.multitaper(w, bins=100),
]


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_density_integrates_to_the_variance_of_increments(estimate):
    weights = walk(8193, 40)
    result = estimate(weights)
    density = result.density.mean(0)
    inner = integrate.trapezoid(density, result.frequency)
    outer = density[0] * result.frequency[0] + density[-1] * (0.5 - result.frequency[-1])
    assert inner + outer == pytest.approx(np.diff(weights, axis=0).var(), rel=0.01)


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize(("phi", "theta"), [(0.9, 0.0), (0.99, -0.9), (0.0, 0.8)])
def test_density_of_known_processes(estimate, phi, theta):
    weights = nulls.simulate("epoch-noise", (60, 8193), 5, phi=phi, theta=theta).T
    result = estimate(weights)
    z = np.exp(-2j * np.pi * result.frequency)
    exact = 2 * np.abs((1 - z) * (1 + theta * z) / (1 - phi * z)) ** 2
    ratio = result.density.mean(0) / exact
    smooth = result.frequency > 6 / 256  # below, a Hann window of 256 smears the slope
    smooth &= result.frequency < 0.48
    assert np.abs(ratio[smooth] - 1).max() < 6 * np.sqrt(2 / result.freedom.min() / 60)


def test_tapers_resolve_what_is_slower_than_a_segment():
    weights = nulls.simulate("ornstein-uhlenbeck", (60, 8193), 5, phi=0.999).T
    result = spectra.multitaper(weights)
    assert result.frequency[0] == pytest.approx(4 / 8192)
    slow = result.frequency < 1 / 256
    z = np.exp(-2j * np.pi * result.frequency[slow])
    ratio = result.density[:, slow].mean(0) / (2 * np.abs((1 - z) / (1 - 0.999 * z)) ** 2)
    # Seven tapers and 60 weights; the density bends within the bandwidth of the lowest.
    assert np.abs(ratio[1:] - 1).max() < 5 * np.sqrt(1 / 7 / 60)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_scatter_is_that_of_the_degrees_of_freedom(estimate):
    result = estimate(walk(4097, 400))
    relative = result.density.var(0) / result.density.mean(0) ** 2
    expected = 2 / result.freedom
    inside = slice(3, -3)
    assert np.median(relative[inside] / expected[inside]) == pytest.approx(1, abs=0.12)


def test_summary_by_hand():
    density = np.array([[1.0], [2.0], [3.0]])
    summary = spectra.Spectra(np.array([0.1]), density, np.array([2.0])).summary(quantiles=[0.5, 1])
    assert summary.mean == pytest.approx([2])
    factor = np.exp(4.302653 / np.sqrt(3) / 2)  # on the log scale: a power is not negative
    assert summary.high == pytest.approx([2 * factor], rel=1e-6)
    assert summary.low == pytest.approx([2 / factor], rel=1e-6)
    np.testing.assert_allclose(summary.quantiles, [[2], [3]])


def test_ratios_by_hand():
    # 200 increments: 100 frequencies, of which 2 are low and 10 high. Three planted tones.
    k = np.arange(200)
    y = sum(a * np.cos(2 * np.pi * j * k / 200) for j, a in ((1, 2.0), (50, 1.0), (95, 3.0)))
    series = np.concatenate([[0], np.cumsum(y)])[None]
    # A tone of amplitude a has the power (100 a)²; it is shared by 2, 88 and 10 frequencies.
    low, high = spectra.power_ratios(series)[0]
    assert low == pytest.approx(np.log((4 / 2) / (1 / 88)))
    assert high == pytest.approx(np.log((9 / 10) / (1 / 88)))


def test_ratios_of_a_walk_and_of_white_noise():
    steps = walk(5001, 200)
    ratios = per_weight(steps, spectra.power_ratios)
    deviation = np.sqrt(1 / 50 + 1 / 2200)
    assert ratios[:, 0].mean() == pytest.approx(-0.5 / 50, abs=4 * deviation / np.sqrt(200))
    assert ratios[:, 0].std() == pytest.approx(deviation, rel=0.2)
    white = spectra.power_ratios(np.random.default_rng(1).standard_normal((50, 5001)))
    assert (white[:, 0] < -3).all()
    # The means of sin²(πf) over the highest 10 % of frequencies and over the middle.
    top, middle = (
        integrate.quad(lambda f: np.sin(np.pi * f) ** 2, a, b)[0] / (b - a)
        for a, b in ((0.45, 0.5), (0.01, 0.45))
    )
    assert white[:, 1].mean() == pytest.approx(np.log(top / middle), abs=0.03)


def test_ratios_do_not_change_with_shift_and_scale():
    series = walk(400, 5).T
    np.testing.assert_allclose(
        spectra.power_ratios(series), spectra.power_ratios(7 - 1e-3 * series), rtol=1e-9
    )


def test_exceptions():
    with pytest.raises(SeriesError, match="never moves"):
        spectra.power_ratios(np.ones((2, 200)))
    with pytest.raises(SeriesError, match="middle"):
        spectra.power_ratios(walk(300, 2).T, low_percent=60, high_percent=50)
    with pytest.raises(SeriesError, match="segment"):
        spectra.welch(walk(100, 2), segment=1024)
    with pytest.raises(SeriesError, match="bandwidth"):
        spectra.multitaper(walk(60, 2))
    with pytest.raises(SeriesError, match="two weights"):
        spectra.increment_amplitudes(walk(60, 1))
    with pytest.raises(SeriesError, match="level"):
        spectra.increment_amplitudes(walk(60, 2), level=95)


def test_bins_hold_every_frequency_once():
    index, start = spectra.log_bins(4, 5000, 200)
    assert (index[0], index[-1], start[0]) == (4, 5000, 0)
    assert (np.diff(start) > 0).all()
    assert len(start) <= 200
    widths = np.diff(np.append(start, len(index)))
    assert widths[-1] == pytest.approx(5001 - 5001 * (4 / 5001) ** (1 / 200), abs=1.5)
