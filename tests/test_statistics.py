"""Intervals against tables and by simulation."""

import numpy as np
import pytest

from limitcycles.statistics import log_t_interval, t_interval


def test_three_values_by_hand():
    # Mean 2, standard error 1/√3; t(0.975, 2 degrees of freedom) = 4.302653 from the table.
    mean, (low, high) = t_interval([1, 2, 3])
    assert mean == 2
    half = 4.302653 / 3**0.5
    assert (low, high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


@pytest.mark.parametrize(
    ("level", "quantile"), [(0.9, 6.313752), (0.95, 12.7062), (0.99, 63.65674)]
)
def test_two_values_by_hand(level, quantile):
    mean, (low, high) = t_interval([0, 2], level)
    assert (mean, low, high) == pytest.approx((1, 1 - quantile, 1 + quantile), rel=1e-6)


def test_one_value_has_no_interval():
    assert t_interval([3.5]) == (3.5, None)
    assert log_t_interval([4]) == (pytest.approx(4), None)


def test_equal_values_have_an_interval_of_no_width():
    assert t_interval([2, 2, 2]) == (2, (2, 2))


def test_geometric_mean_by_hand():
    mean, (low, high) = log_t_interval([1, 10, 100])
    assert mean == pytest.approx(10)
    half = 4.302653 / 3**0.5
    assert (low, high) == pytest.approx((10 * 10**-half, 10 * 10**half), rel=1e-5)


def test_log_interval_keeps_its_unit():
    values = [0.3, 0.5, 0.4]
    mean, interval = log_t_interval(values)
    scaled, other = log_t_interval([1000 * v for v in values])
    assert scaled == pytest.approx(1000 * mean)
    assert other == pytest.approx([1000 * v for v in interval])


def test_the_mean_is_covered_as_often_as_said():
    rng = np.random.default_rng(0)
    trials, hits = 4000, 0
    for values in rng.normal(5, 2, (trials, 3)):
        low, high = t_interval(values, 0.9)[1]
        hits += low <= 5 <= high
    error = (0.9 * 0.1 / trials) ** 0.5
    assert abs(hits / trials - 0.9) < 4 * error


@pytest.mark.parametrize("values", [[], [1, np.nan], [1, np.inf]])
def test_values_that_have_no_interval(values):
    with pytest.raises(ValueError, match="finite"):
        t_interval(values)


@pytest.mark.parametrize("values", [[1, 0], [1, -2]])
def test_values_that_have_no_geometric_mean(values):
    with pytest.raises(ValueError, match="positive"):
        log_t_interval(values)


def test_results_are_plain_numbers():
    mean, interval = log_t_interval(np.array([1.0, 2.0]))
    assert type(mean) is float
    assert {type(v) for v in interval} == {float}
    assert {type(v) for v in t_interval(np.array([1.0, 2.0]))[1]} == {float}
