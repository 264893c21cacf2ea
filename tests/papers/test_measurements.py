"""Measurements are found by their folders."""

import pytest

from limitcycles.judging import measuring
from limitcycles.runtime.errors import LimitcyclesError


def test_an_unknown_measurement_is_named():
    with pytest.raises(LimitcyclesError, match=r"no measure.py .*/nowhere; .*linear-decomposition"):
        measuring.of_theory("nowhere", {})
