"""Gates on series that are stationary, and on series that are not."""

import numpy as np
import pytest

from limitcycles.statistics import nulls, stationarity
from limitcycles.statistics.blocks import SeriesError


def test_halves_by_hand():
    # Halves of four values, two batches each: means (0, 2) and (3, 5); see `batch_means`.
    series = np.array([[-1.0], [1], [1], [3], [2], [4], [4], [6]])
    result = stationarity.halves(series, batches=4, shift=10, ratio=100)
    deviation = series.std()
    assert result.shift == pytest.approx((4 - 1) / deviation)
    half = 6.313752 * np.sqrt(1 + 1) / deviation  # t(0.95, 1); errors √2/√2 = 1
    assert result.shift_high - result.shift == pytest.approx(half)
    assert result.log_ratio == pytest.approx(0)
    np.testing.assert_allclose(result.log_ratio_high, 0, atol=1e-12)  # (x − m)² batches are equal


def test_stationary_series_pass_and_others_do_not():
    ou = nulls.simulate("ornstein-uhlenbeck", (40, 20000), 0, phi=0.95).T
    assert stationarity.halves(ou).same.mean() > 0.9
    trend = np.linspace(0, 1.5, 20000)[:, None] * ou.std()
    assert not stationarity.halves(ou + trend).same.any()
    louder = ou * np.where(np.arange(20000) < 10000, 1, 1.4)[:, None]
    result = stationarity.halves(louder)
    assert not result.same.any()
    assert np.exp(result.log_ratio.mean()) == pytest.approx(1.96, rel=0.1)
    assert not stationarity.halves(np.concatenate([ou[:, :1], louder[:, :1]], axis=1)).passed


def test_random_walks_do_not_pass():
    walks = nulls.simulate("random-walk", (400, 5000), 1).T
    assert stationarity.halves(walks).same.mean() < 0.02


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_a_deviation_at_the_tolerance_passes_as_seldom_as_said(shift):
    points = np.random.default_rng(2).standard_normal((2000, 2000))
    points[1000:] += shift / np.sqrt(1 - shift**2 / 4)  # half a deviation of the whole run
    passed = stationarity.halves(points, batches=30).same.mean()
    assert abs(passed - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_too_short_a_run_does_not_pass():
    short = nulls.simulate("ornstein-uhlenbeck", (200, 400), 3, phi=0.95).T
    assert stationarity.halves(short).same.mean() < 0.2


def test_exceptions():
    with pytest.raises(SeriesError, match="shift"):
        stationarity.halves(np.zeros((100, 1)), ratio=0.5)
    with pytest.raises(SeriesError, match="batches"):
        stationarity.halves(np.zeros((20, 1)))
    with pytest.raises(SeriesError, match="direction"):
        stationarity.halves(np.zeros(100))


def test_still_series_do_not_pass():
    assert not stationarity.halves(np.ones((100, 1))).passed
