"""The detector of currents: each of its three questions by itself, and its correction."""

import numpy as np
import pytest
from scipy import stats

from limitcycles.statistics import currents
from limitcycles.statistics.detection import GATE, corrected, detect, envelope, measure
from limitcycles.statistics.stationarity import halves

RULE = {"level": 0.95, "shift": 0.5, "ratio": 1.5}


def numbers(rate=9.0, deviation=1.0, **gate):
    """Two planes: one with that rate, in errors, one without; 30 batches."""
    ends = {"shift_low": -0.2, "shift_high": 0.2, "log_ratio_low": -0.2, "log_ratio_high": 0.2}
    table = {name: np.array([[end, end]] * 2) for name, end in ends.items()}
    for name, end in gate.items():
        table[name][0, 1] = end
    rates = np.array([rate, 0.0])
    return table | {
        "rate": rates,
        "error": np.ones(2),
        "batch_rate": np.zeros((2, 30)),
        "circular_rate": rates,
        "surrogate_deviation": np.full(2, deviation),
    }


@pytest.mark.parametrize("rate", [9.0, -9.0])
def test_all_three_are_needed(rate):
    found = detect(numbers(rate), planes=2, **RULE)
    assert found.found.tolist() == [True, False]
    for gate in ({"shift_high": 0.6}, {"shift_low": -0.6}, {"log_ratio_high": 0.41}):
        found = detect(numbers(rate, **gate), planes=2, **RULE)
        assert found.stationary.tolist() == [False, True]
        assert found.clear.tolist() == [True, False]
        assert not found.found.any()
    assert detect(numbers(rate, log_ratio_high=0.4), planes=2, **RULE).found[0]  # ln 1.5 = 0.405
    wide = detect(numbers(rate, 9.0), planes=2, **RULE)
    assert (wide.clear[0], wide.outside[0], wide.found[0]) == (True, False, False)


def test_interval_and_envelope_are_corrected_for_all_planes():
    assert corrected(0.95, 1) == 0.95
    assert corrected(0.95, 40) == pytest.approx(0.95 ** (1 / 40))
    for planes in (2, 40):
        one = (1 + 0.95 ** (1 / planes)) / 2
        t, z = stats.t.ppf(one, 29), stats.norm.ppf(one)
        for factor in (0.99, 1.01):
            found = detect(numbers(t * factor, 0.1), planes=planes, **RULE)
            assert found.clear[0] == (factor > 1)
            found = detect(numbers(9.0, 9 / z / factor), planes=planes, **RULE)
            assert found.outside[0] == (factor > 1)


def test_without_an_envelope_gate_and_interval_decide():
    table = numbers(9.0, 9.0)
    some = {name: its for name, its in table.items() if name not in envelope_names()}
    found = detect(some, planes=2, **RULE)
    assert found.outside is None
    assert found.found.tolist() == [True, False]


def envelope_names() -> set[str]:
    return set(envelope(np.random.default_rng(0).standard_normal((9, 1, 2))))


def test_what_is_measured_is_what_the_parts_say():
    points = np.random.default_rng(1).standard_normal((3000, 4, 2)).cumsum(0) % 5
    found, rates = measure(points, level=0.95), currents.area_rates(points, level=0.95)
    np.testing.assert_array_equal(found["rate"], rates.rate)
    np.testing.assert_array_equal(found["error"], rates.error)
    np.testing.assert_allclose(found["batch_rate"].mean(1), rates.rate)
    gate = halves(points.reshape(3000, -1))
    for name in GATE:
        np.testing.assert_array_equal(found[name].ravel(), getattr(gate, name))
    answer = detect(found | envelope(points), planes=4, **RULE)
    np.testing.assert_array_equal(answer.stationary, gate.same.reshape(4, 2).all(1))
    np.testing.assert_array_equal(answer.clear, rates.significant)
