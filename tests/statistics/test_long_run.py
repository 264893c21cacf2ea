"""Means of correlated series."""

import numpy as np
import pytest
from scipy import signal, stats

from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.long_run import batch_means, batches_of


def test_by_hand():
    # Batches (1, 3), (5, 7): means 2 and 6, deviation √8, error √8/√2 = 2.
    result = batch_means([99.0, 1, 3, 5, 7], batches=2)
    assert (result.mean, result.error, result.variance, result.freedom) == (4, 2, 16, 1)
    low, high = result.interval(0.95)
    assert (low, high) == pytest.approx((4 - 2 * 12.7062, 4 + 2 * 12.7062), rel=1e-5)
    assert result.p_value() == pytest.approx(2 * stats.t.sf(2, 1))


def test_batches_leave_the_first_out():
    np.testing.assert_array_equal(batches_of(np.arange(7), 3), [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("phi", [0.0, 0.9, -0.8])
def test_variance_of_autoregressions(phi):
    # Σ_k Cov(x_0, x_k) = 1/(1 − φ)²; its estimate has variance 2/ν: 200 runs of ν = 29.
    noise = np.random.default_rng(1).standard_normal((20000, 200))
    series = signal.lfilter([1], [1, -phi], noise, axis=0)
    estimate = batch_means(series).variance.mean() * (1 - phi) ** 2
    assert estimate == pytest.approx(1, abs=4 * np.sqrt(2 / 29 / 200) + 0.02)


def test_intervals_cover_as_often_as_said():
    noise = np.random.default_rng(2).standard_normal((8000, 1500))
    series = signal.lfilter([1], [1, -0.9], noise, axis=0)
    low, high = batch_means(series).interval(0.9)
    covered = ((low <= 0) & (high >= 0)).mean()
    assert abs(covered - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 1500)
    naive = 1.645 * series.std(0) / np.sqrt(len(series))
    assert (np.abs(series.mean(0)) < naive).mean() < 0.5  # what batches are for


@pytest.mark.parametrize(("length", "batches"), [(5, 3), (10, 1)])
def test_too_few_values(length, batches):
    with pytest.raises(SeriesError, match="batches"):
        batch_means(np.zeros(length), batches=batches)
