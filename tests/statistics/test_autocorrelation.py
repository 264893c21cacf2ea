"""Autocorrelations against sums over pairs and closed forms."""

import numpy as np
import pytest

from limitcycles.statistics import autocorrelation as ac
from limitcycles.statistics import nulls
from limitcycles.statistics.blocks import SeriesError


def by_sums(series, lag):
    x = series - series.mean()
    return (x[: len(x) - lag] * x[lag:]).sum() / (x * x).sum()


def test_against_sums_over_pairs():
    series = np.random.default_rng(0).normal(3, 2, (4, 57)).cumsum(1)
    lags = np.array([0, 1, 5, 30, 56])
    expected = [[by_sums(s, lag) for lag in lags] for s in series]
    np.testing.assert_allclose(ac.autocorrelation(series, lags), expected, atol=1e-12)


@pytest.mark.parametrize(("length", "count"), [(40, 8), (43, 8), (15, 8), (8, 8)])
def test_products_at_lags_against_sums_over_pairs(length, count):
    x, y = np.random.default_rng(2).normal(size=(2, 3, length))
    step = length // count
    for other in (x, y):
        expected = [
            [
                (
                    (a[: length - j * step] * b[j * step :]).sum()
                    + (b[: length - j * step] * a[j * step :]).sum()
                )
                / 2
                for j in range(count)
            ]
            for a, b in zip(x, other, strict=True)
        ]
        np.testing.assert_allclose(ac.lagged_products(x, other, count), expected, atol=1e-12)


def test_by_hand():
    # x − x̄ = (−1, 0, 1): r(1) = 0, r(2) = −½.
    np.testing.assert_allclose(
        ac.autocorrelation([[4.0, 5, 6]], np.arange(3)), [[1, 0, -0.5]], atol=1e-15
    )


def test_all_lags_sum_to_minus_a_half():
    series = np.random.default_rng(1).normal(size=(3, 200)).cumsum(1)
    sums = ac.autocorrelation(series, np.arange(1, 200)).sum(1)
    np.testing.assert_allclose(sums, -0.5, atol=1e-12)


def test_summed_signed_values_cannot_tell_walks_from_swings():
    k = np.arange(10000)
    walks = nulls.simulate("random-walk", (20, 10000), 2)
    swings = np.cos(2 * np.pi * k / 2000 + np.arange(20)[:, None])
    of_walks, of_swings = ac.summed(walks), ac.summed(swings)
    np.testing.assert_allclose(of_walks[:, 1], -0.5, atol=0.1)
    np.testing.assert_allclose(of_swings[:, 1], -0.5, atol=0.1)
    assert of_swings[:, 0].min() > of_walks[:, 0].min()


def test_autoregression():
    series = nulls.simulate("ornstein-uhlenbeck", (100, 20000), 3, phi=0.95)
    lags = np.array([1, 10, 40])
    found = ac.autocorrelation(series, lags).mean(0)
    np.testing.assert_allclose(found, 0.95**lags, atol=0.01)


def test_paper_estimator():
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((1050, 130))
    weights[:, [0, 70, 129]] = 5.0
    result = ac.paper_autocorrelation(weights.astype(np.float32))
    assert result.lags.tolist() == list(range(0, 1000, 10))
    assert np.flatnonzero(~result.moving).tolist() == [0, 70, 129]
    assert result.values.shape == (127, 100)
    assert result.values[3, 7] == pytest.approx(by_sums(weights[:, 4], 70), abs=1e-6)
    assert result.band == pytest.approx(2.575829 / np.sqrt(1050))
    # White noise: 1 % outside where the estimator is hardly biased, fewer at the longest lags.
    assert 0.002 < result.outside().mean() < 0.01


def test_a_walk_leaves_the_bands_of_white_noise():
    weights = nulls.simulate("random-walk", (30, 5000), 5).T
    assert ac.paper_autocorrelation(weights).outside().mean() > 0.8


def test_profile_is_the_paper_estimator_without_lag_zero():
    series = np.random.default_rng(6).normal(size=(3, 500))
    np.testing.assert_allclose(
        ac.lag_profile(series), ac.paper_autocorrelation(series.T).values[:, 1:]
    )


def test_exceptions():
    with pytest.raises(SeriesError, match="no weight moves"):
        ac.paper_autocorrelation(np.ones((200, 3)))
    with pytest.raises(SeriesError, match="lags"):
        ac.autocorrelation(np.zeros((1, 5)), [5])
    with pytest.raises(SeriesError, match="whole"):
        ac.autocorrelation(np.zeros((1, 5)), [0.5])
    with pytest.raises(SeriesError, match="100 lags"):
        ac.paper_lags(99)
    with pytest.raises(SeriesError, match="100 lags"):
        ac.lag_profile(np.zeros((1, 99)))
    assert np.isnan(ac.autocorrelation(np.ones((1, 5)), [1])).all()
    assert np.isnan(ac.lag_profile(np.ones((1, 200)))).all()
