"""Numbers in captions and tables."""

import math

import pytest

from limitcycles.judging import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1.00"),
        (9.999, "10.0"),
        (0.0123456, "0.0123"),
        (0.00211, "2.11·10⁻³"),
        (-3.2e-5, "−3.20·10⁻⁵"),
        (1e-12, "1.00·10⁻¹²"),
        (240.4, "240"),
        (13338, "13,338"),
        (123456, "1.23·10⁵"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_measured_numbers_have_three_significant_digits(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.8, "1.8"),
        (0.75, "0.75"),
        (0.3e-3, "3·10⁻⁴"),
        (2.11e-3, "2.11·10⁻³"),
        (18.5e-3, "0.0185"),
        (17, "17"),
        (100, "100"),
        (1e5, "1·10⁵"),
    ],
)
def test_numbers_of_the_paper_stay_as_given(value, text):
    assert wording.given(value) == text


def test_counts_are_whole():
    assert wording.count(13338.0) == "13,338"
    assert wording.count(math.nan) == "–"


def test_pure_numbers_and_missing_ones_have_no_unit():
    assert wording.with_unit("1.8", "%") == "1.8 %"
    assert wording.with_unit("1.8", "1") == "1.8"
    assert wording.with_unit("–", "%") == "–"


def test_an_estimate_names_value_interval_and_n():
    entry = {"value": 1.62, "unit": "%", "interval": [1.4, 1.9], "n": 3, "kind": "share"}
    assert wording.estimate(entry) == "1.62 % [1.40, 1.90], n = 3"
    assert wording.estimate(entry | {"interval": None, "n": 1}) == "1.62 %, n = 1"
    assert wording.estimate(None) == "–"


@pytest.mark.parametrize("kind", ["mean", "geometric mean"])
def test_an_estimate_says_which_mean_it_is(kind):
    entry = {"value": 1.62, "unit": "%", "interval": [1.4, 1.9], "n": 3, "kind": kind}
    assert wording.estimate(entry) == f"1.62 % [1.40, 1.90], {kind} of 3"
    assert wording.estimate(entry | {"interval": None, "n": 1}) == "1.62 %, n = 1"
