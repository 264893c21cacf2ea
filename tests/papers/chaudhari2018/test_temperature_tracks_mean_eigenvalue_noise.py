"""Learning rates, variances over a number of steps, and what theory expects of them."""

import numpy as np
import pytest
import torch
from helpers import one_thread  # noqa: F401

from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    diffusive_variance,
    equal_rate,
    expected_variance,
    matched_rates,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.linear_sgd import LinearSGD, linear_series
from limitcycles.training.constant_rate import Moments


def moments(path) -> Moments:
    found = Moments(len(path))
    for x in path:
        found.add(torch.from_numpy(x))
    return found


class TestRates:
    def test_they_are_inverse_with_the_given_largest(self):
        means = np.array([4.0, 0.5, 2.0])
        rates = matched_rates(means, 0.1)
        assert rates * means == pytest.approx([0.05] * 3)
        assert rates.max() == pytest.approx(0.1)
        assert equal_rate(rates) == pytest.approx(np.prod(rates) ** (1 / 3))

    @pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
    def test_no_rate_without_noise(self, bad):
        with pytest.raises(LimitcyclesError, match="each must be positive"):
            matched_rates([1.0, bad], 0.1)


def pairs(value: float, rate: float, batch: int, points: int) -> float:
    """Variance of a stationary AR(1) over `points` as the mean over all pairs."""
    e = rate * value
    lag = np.arange(1, points)
    semi = rate / (batch * (2 - e)) * (1 - (1 - e) ** lag)
    return float(((points - lag) * semi).sum() / (points * (points - 1) / 2))


class TestExpectedVariance:
    @pytest.mark.parametrize("value", [1e-9, 1e-3, 0.0059, 0.0061, 0.5, 3, 10, 19.9])
    def test_against_the_sum_over_pairs(self, value):
        found = expected_variance([value], 1, value, 0.1, 8, 50)
        assert found == pytest.approx(pairs(value, 0.1, 8, 50), rel=1e-4)

    def test_limits(self):
        at_rest = expected_variance([1.0], 1, 1.0, 0.01, 8, 10**6)
        assert at_rest == pytest.approx(0.01 / (8 * 1.99), rel=1e-3)
        flat = expected_variance([1e-9], 1, 1e-9, 0.01, 8, 100)
        assert flat == pytest.approx(diffusive_variance(1e-9, 0.01, 8, 100), rel=1e-6)

    def test_eigenvalues_that_were_not_computed_share_what_is_left(self):
        all_known = expected_variance([1.0, 0.2, 0.2, 0.2], 4, 1.6, 0.1, 8, 50)
        assert expected_variance([1.0], 4, 1.6, 0.1, 8, 50) == pytest.approx(all_known)

    def test_unstable(self):
        assert expected_variance([20.0], 3, 21.0, 0.1, 8, 50) == np.inf

    def test_against_linear_sgd(self):
        """The Hessian is D, in a rotated basis; half of the weights' directions diffuse."""
        rng = np.random.default_rng(2)
        values = np.array([2.0, 1.0, 0.5, 1e-3, 3e-4, 0.0])
        turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        D = turn @ np.diag(values) @ turn.T
        system = LinearSGD(D, D, 0.05, 4)
        root = turn * np.sqrt(values / 4) * 0.05
        paths = [
            linear_series(system.transition, rng.standard_normal((1200, 6)) @ root.T)[-800:]
            for _ in range(200)
        ]
        measured = moments(np.concatenate(paths, axis=1)).variance.reshape(200, 6).mean(1)
        error = measured.std(ddof=1) / np.sqrt(len(measured))
        expected = expected_variance(values, 6, values.sum(), 0.05, 4, 800)
        assert error < 0.03 * expected
        assert measured.mean() == pytest.approx(expected, abs=3.5 * error)
