"""Intervals against tables, by hand and by simulation; their ends lie where the quantity can be."""

import numpy as np
import pytest

from limitcycles.statistics.intervals import (
    CORRELATION,
    EXPECTED,
    FROM_ONE,
    PERCENT,
    POSITIVE,
    REAL,
    SHARE_LOG,
    count_of,
    estimate,
    exact_binomial,
    mean_interval,
)

SCALES = {
    "real": REAL,
    "positive": POSITIVE,
    "expected": EXPECTED,
    "percent": PERCENT,
    "correlation": CORRELATION,
    "count": count_of(20),
}
T2 = 4.302653  # t(0.975, 2 degrees of freedom), from the table


def test_three_values_by_hand():
    mean, (low, high), missing = estimate([1, 2, 3], REAL)
    half = T2 / 3**0.5
    assert (mean, missing) == (2, None)
    assert (low, high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


@pytest.mark.parametrize(
    ("level", "quantile"), [(0.9, 6.313752), (0.95, 12.7062), (0.99, 63.65674)]
)
def test_two_values_by_hand(level, quantile):
    mean, (low, high), _ = estimate([0, 2], REAL, level)
    assert (mean, low, high) == pytest.approx((1, 1 - quantile, 1 + quantile), rel=1e-6)


def test_geometric_mean_by_hand():
    mean, (low, high), _ = estimate([1, 10, 100], POSITIVE)
    assert mean == pytest.approx(10)
    half = T2 / 3**0.5
    assert (low, high) == pytest.approx((10 * 10**-half, 10 * 10**half), rel=1e-5)


def test_ends_that_the_quantity_cannot_have_are_cut():
    """The two participation ratios of small-lenet at the quick scale: symmetric, [−13.3, 21.2]."""
    value, (low, high), _ = estimate([5.278, 2.562], FROM_ONE)
    whole = estimate([5.278, 2.562], POSITIVE)
    assert (value, high) == (whole.value, whole.interval[1])
    assert (low, whole.interval[0] < 0.1) == (1, True)
    assert estimate([1, 30], SHARE_LOG).interval[1] == 100
    assert estimate([1, 1.1, 1.2], SHARE_LOG) == estimate([1, 1.1, 1.2], POSITIVE)


def test_mean_of_positive_numbers_by_hand():
    mean, (low, high), _ = estimate([1, 2, 3], EXPECTED)
    factor = np.exp(T2 / 3**0.5 / 2)
    assert (mean, low, high) == pytest.approx((2, 2 / factor, 2 * factor), rel=1e-6)


def test_errors_in_percent_by_hand():
    """The two test errors of small-lenet at the quick scale: symmetric, [−0.71, 9.88] %."""
    mean, (low, high), _ = estimate([5.0, 4.0 + 1 / 6], PERCENT)
    p, se = 0.0458333, 0.00416667
    half = 12.7062 * se / (p * (1 - p))
    ends = [100 / (1 + np.exp(-(np.log(p / (1 - p)) + s * half))) for s in (-1, 1)]
    assert mean == pytest.approx(100 * p, rel=1e-5)
    assert (low, high) == pytest.approx(ends, rel=1e-4)
    assert (low, high) == pytest.approx((1.41, 13.9), rel=5e-3)


def test_correlation_is_on_the_scale_of_fisher():
    mean, (low, high), _ = estimate([0.9, 0.6, 0.9], CORRELATION)
    half = T2 * 0.1 / (1 - 0.8**2)
    assert mean == pytest.approx(0.8)
    ends = np.tanh(np.arctanh(0.8) - half), np.tanh(np.arctanh(0.8) + half)
    assert (low, high) == pytest.approx(ends, rel=1e-6)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_one_value_has_no_interval_and_says_so(scale):
    assert estimate([0.25], scale) == (0.25, None, "one value")


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("value", [0.2, 0.7])
def test_equal_values_have_an_interval_of_no_width(scale, value):
    mean, (low, high), _ = estimate([value] * 3, scale)
    assert low == mean == high == value


@pytest.mark.parametrize(
    ("scale", "end"), [(PERCENT, 0), (PERCENT, 100), (CORRELATION, -1), (count_of(20), 20)]
)
def test_values_that_all_lie_at_an_end_have_no_interval(scale, end):
    value, interval, missing = estimate([end] * 3, scale)
    assert (value, interval) == (end, None)
    assert missing == f"all values are {end}, an end of the range"


def test_a_seed_without_errors_leaves_an_interval():
    mean, (low, high), _ = estimate([0, 0.5, 1], PERCENT)
    assert mean == pytest.approx(0.5)
    assert 0 < low < 0.5 < high < 100


def test_a_geometric_mean_with_a_zero():
    assert estimate([0, 1], POSITIVE) == (0, None, "a value is 0, and has no logarithm")


def test_an_interval_beyond_floating_point():
    value, interval, missing = estimate([1e-300, 1e300], POSITIVE)
    assert (value, interval) == (pytest.approx(1), None)
    assert "floating-point" in missing


@pytest.mark.parametrize("scale", [POSITIVE, EXPECTED])
def test_log_intervals_keep_their_unit(scale):
    values = [0.3, 0.5, 0.4]
    mean, interval, _ = estimate(values, scale)
    scaled, other, _ = estimate([1000 * v for v in values], scale)
    assert scaled == pytest.approx(1000 * mean)
    assert other == pytest.approx([1000 * v for v in interval])


def test_intervals_of_errors_and_of_hits_are_mirror_images():
    values = np.array([2.0, 3.0, 7.0])
    _, (low, high), _ = estimate(values, PERCENT)
    assert estimate(100 - values, PERCENT).interval == pytest.approx((100 - high, 100 - low))


def drawn(rng, n):
    """Values whose mean on each scale is known, by the name of the scale: (values, truth)."""
    return {
        "real": (rng.normal(5, 2, n), 5),
        "positive": (np.exp(rng.normal(1, 1, n)), np.e),
        "expected": (rng.gamma(4, 0.5, n), 2),
        "percent": (100 * rng.beta(5, 95, n), 5),
        "correlation": (2 * rng.beta(18, 2, n) - 1, 0.8),
        "count": (rng.binomial(20, 0.25, n), 5),
    }


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("name", SCALES)
def test_the_mean_is_covered_about_as_often_as_said(name, n):
    """Within 2.5 percentage points of 95 %, as the delta method is no more than first order."""
    rng, trials, hits = np.random.default_rng(0), 2000, 0
    scale = SCALES[name]
    for _ in range(trials):
        values, truth = drawn(rng, n)[name]
        _, (low, high), _ = estimate(values, scale)
        assert scale.low <= low <= high <= scale.high
        hits += low <= truth <= high
    assert abs(hits / trials - 0.95) < 0.025


def test_a_symmetric_interval_of_small_errors_leaves_its_range():
    """What the scale is for: in such data 4 in 10 symmetric intervals reach below 0."""
    rng = np.random.default_rng(0)
    draws = 100 * rng.beta(1, 99, (500, 3))
    below = [estimate(v, REAL).interval[0] < 0 for v in draws]
    assert np.mean(below) > 0.4
    assert all(estimate(v, PERCENT).interval[0] >= 0 for v in draws)


@pytest.mark.parametrize("name", [name for name in SCALES if name != "real"])
def test_the_ends_hold_the_mean_and_stay_in_the_range(name):
    """Whatever the values: at the ends, next to them, equal, and of very different sizes."""
    rng, scale = np.random.default_rng(0), SCALES[name]
    for _ in range(300):
        shares = rng.choice([0, 1, 1e-17, 1e-9, 1 - 1e-9, 0.2, *rng.random(3)], rng.integers(2, 7))
        check(scale, shares)


def check(scale, shares):
    span = scale.high - scale.low if np.isfinite(scale.high) else 1e6
    values = np.clip(scale.low + span * np.array(shares), scale.low, scale.high)
    value, interval, missing = estimate(values, scale)
    assert scale.low <= value <= scale.high
    assert (interval is None) == (missing is not None)
    if interval:
        assert scale.low <= interval[0] <= value <= interval[1] <= scale.high


def test_many_means_at_once():
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 1, (4, 3, 5))
    error = values.std(0, ddof=1) / 2
    low, high = mean_interval(values.mean(0), error, 3, EXPECTED)
    assert low.shape == (3, 5)
    for i in np.ndindex(3, 5):
        single = estimate(values[(slice(None), *i)], EXPECTED).interval
        assert (low[i], high[i]) == pytest.approx(single)


def test_many_means_of_which_some_lie_at_an_end():
    low, high = mean_interval([0, 50, 100], [0, 1, 0], 9, PERCENT)
    assert (low[0], high[0], low[2], high[2]) == (0, 0, 100, 100)
    assert 0 < low[1] < 50 < high[1] < 100


@pytest.mark.parametrize("values", [[], [1, np.nan], [1, np.inf]])
def test_values_that_have_no_interval(values):
    with pytest.raises(ValueError, match="finite"):
        estimate(values, REAL)


@pytest.mark.parametrize(
    ("scale", "values"),
    [(POSITIVE, [1, -2]), (PERCENT, [50, 101]), (CORRELATION, [0, -1.1]), (count_of(3), [4])],
)
def test_values_outside_the_range(scale, values):
    with pytest.raises(ValueError, match="lie between"):
        estimate(values, scale)
    with pytest.raises(ValueError, match="outside the range"):
        mean_interval(values, np.ones(len(values)), 1, scale)


def test_results_are_plain_numbers():
    for scale in (REAL, POSITIVE, EXPECTED):
        mean, interval, _ = estimate(np.array([1.0, 2.0]), scale)
        assert type(mean) is float
        assert {type(v) for v in interval} == {float}


def test_clopper_pearson_by_hand():
    # 0 of n: 1 − 0.025^(1/n); n of n: 0.025^(1/n); 5 of 10 from the tables: 0.1871, 0.8129.
    assert exact_binomial(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert exact_binomial(20, 20) == pytest.approx((0.025 ** (1 / 20), 1))
    assert exact_binomial(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert np.isnan(exact_binomial(0, 0)).all()
    with pytest.raises(ValueError, match="3 of 2 is no share"):
        exact_binomial(3, 2)
