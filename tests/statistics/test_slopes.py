"""The slope of measured on predicted rates, by hand and where the truth is known."""

import numpy as np
import pytest
from scipy import stats

from limitcycles.statistics import currents
from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.long_run import batches_of
from limitcycles.statistics.slopes import prediction_slope
from limitcycles.theory.linear_sgd import LinearSGD

H = np.array([[1.0, 0.3, 0.0], [0.3, 0.6, 0.2], [0.0, 0.2, 0.4]])
ROOT = np.array([[0.5, 0.0, 0.0], [1.0, 0.3, 0.0], [-1.0, 0.4, 1.2]])


def test_slope_by_hand():
    # Two batches, errors 1 and 2, weights 1 and ¼: Σwp² = 1 + ¼·16 = 5.
    measured = np.array([[1.0, 2.0], [3.0, 6.0]])
    found = prediction_slope([1.0, 4.0], measured)
    np.testing.assert_allclose(found.batches, [(1 + 2) / 5, (3 + 6) / 5])
    assert found.slope == pytest.approx(1.2)
    half = stats.t.ppf(0.975, 1) * 0.6
    assert (found.low, found.high) == pytest.approx((1.2 - half, 1.2 + half))
    assert found.chi_square == pytest.approx(0.8**2 + (0.8 / 2) ** 2)
    assert found.freedom == 1


def test_planes_of_one_run_lie_on_the_prediction():
    # 40 runs, three planes that share directions: about 95 % of the intervals hold 1.
    model = LinearSGD(H, ROOT @ ROOT.T, 0.2, 4)
    planes = np.eye(3)[[[0, 1], [0, 2], [1, 2]]]
    epoch = model.epoch(12)
    predicted = [epoch.area_rate(plane) for plane in planes]
    held, widths = 0, []
    for seed in range(40):
        x = model.simulate(12000, seed)[0][::3]
        areas = currents.areas(currents.project(x, planes))
        found = prediction_slope(predicted, batches_of(areas, 30).mean(1))
        held += found.low < 1 < found.high
        widths.append(found.high - found.low)
        # The same plane three times tells nothing new.
        thrice = prediction_slope(predicted[:1] * 3, batches_of(areas[:, [0] * 3], 30).mean(1))
        once = prediction_slope(predicted[:1], batches_of(areas[:, :1], 30).mean(1))
        assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert held >= 34  # 38 on average; fewer than 34 with probability 0.01
    assert np.mean(widths) < 0.7


def test_exceptions():
    two = np.array([[1.0, 2.0], [2.0, 1.0]])
    for predicted, measured, match in (
        ([1.0], two, "needed"),
        ([1.0, 1.0], two[:1], "needed"),
        ([0.0, 0.0], two, "positive"),
        ([1.0, 1.0], np.ones((2, 2)), "positive"),
    ):
        with pytest.raises(SeriesError, match=match):
            prediction_slope(predicted, measured)
