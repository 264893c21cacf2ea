"""Slopes of power laws that are known."""

import numpy as np
import pytest

from limitcycles.statistics.convergence import ConvergenceError, log_log_slope


@pytest.mark.parametrize("order", [-1, 0.5, 2])
def test_a_power_law_gives_its_order(order):
    steps = np.array([0.4, 0.2, 0.1, 0.05])
    found = log_log_slope(steps, -3 * steps**order)
    assert found.slope == pytest.approx(order)
    assert found.interval == pytest.approx((order, order), abs=1e-7)
    assert found.intercept == pytest.approx(np.log(3))


def test_three_points_by_hand():
    # On logs (−1, 0), (0, 0), (1, 3): slope 3/2, residuals (½, −1, ½), standard error √(1.5/1/2);
    # t(0.975, 1 degree of freedom) = 12.7062 from the table.
    found = log_log_slope(np.exp([-1, 0, 1]), np.exp([0, 0, 3]))
    half = 12.7062 * (1.5 / 2) ** 0.5
    assert found.slope == pytest.approx(1.5)
    assert found.interval == pytest.approx((1.5 - half, 1.5 + half), rel=1e-5)


def test_two_points_have_no_interval():
    found = log_log_slope([1, 2], [1, 4])
    assert (found.slope, found.interval) == (pytest.approx(2), None)


def test_the_slope_is_covered_as_often_as_said():
    rng = np.random.default_rng(0)
    steps = 2.0 ** -np.arange(5)
    trials, hits = 1000, 0
    for noise in rng.normal(0, 0.1, (trials, 5)):
        low, high = log_log_slope(steps, steps * np.exp(noise), 0.9).interval
        hits += low <= 1 <= high
    assert abs(hits / trials - 0.9) < 4 * (0.09 / trials) ** 0.5


@pytest.mark.parametrize(
    ("steps", "errors", "message"),
    [
        ([1], [1], "two different steps"),
        ([1, 1], [1, 2], "two different steps"),
        ([1, 2], [1, 2, 3], r"\(2,\) and errors of shape \(3,\)"),
        ([1, 2], [1, 0], "error 0 has no logarithm"),
        ([1, 2], [1, np.nan], "error nan has no logarithm"),
        ([0, 2], [1, 1], "step 0 has no logarithm"),
    ],
)
def test_errors_without_a_slope(steps, errors, message):
    with pytest.raises(ConvergenceError, match=message):
        log_log_slope(steps, errors)
