"""Variance ratios against loops, and their size on random walks."""

import numpy as np
import pytest

from limitcycles.statistics import nulls
from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.variance_ratio import variance_ratio


def test_against_loops():
    x = np.random.default_rng(0).normal(0.2, 1, (2, 41)).cumsum(1)
    ratios, _ = variance_ratio(x, lag=4)
    for series, ratio in zip(x, ratios, strict=True):
        mean = (series[40] - series[0]) / 40
        single = sum((series[k + 1] - series[k] - mean) ** 2 for k in range(40)) / 39
        far = sum((series[k + 4] - series[k] - 4 * mean) ** 2 for k in range(37))
        assert ratio == pytest.approx(far / (4 * 37 * 0.9) / single)


def test_random_walks_with_drift_pass_at_the_level():
    x = nulls.simulate("random-walk", (2000, 3000), 1) + 0.3 * np.arange(3000)
    ratio, z = variance_ratio(x)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert z.std() == pytest.approx(1, abs=0.08)
    assert 0.003 < (np.abs(z) > 2.576).mean() < 0.025


def test_what_turns_back_and_what_goes_on():
    white = nulls.simulate("white-noise", (50, 2000), 2)
    ratio, z = variance_ratio(white)
    np.testing.assert_allclose(ratio.mean(), 0.1, atol=0.01)  # 1/q
    assert z.max() < -5
    smooth = np.cumsum(nulls.simulate("ornstein-uhlenbeck", (50, 2000), 3, phi=0.98), axis=1)
    assert variance_ratio(smooth)[1].min() > 5


@pytest.mark.parametrize("theta", [0.6, -0.2])
def test_correlations_within_a_point_do_not_matter(theta):
    steps = nulls.simulate("epoch-noise", (300, 50000), 4, theta=theta)
    _, z = variance_ratio(np.cumsum(steps, axis=1))
    assert (np.abs(z) > 2.576).mean() < 0.04


def test_still_and_short_series():
    assert np.isnan(variance_ratio(np.ones((1, 50)))[0]).all()
    with pytest.raises(SeriesError, match="30 steps"):
        variance_ratio(np.ones((1, 29)))
