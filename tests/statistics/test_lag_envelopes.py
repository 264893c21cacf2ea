"""Envelopes with shared paths against envelopes of simulations with a weight's own parameters."""

import numpy as np
import pytest

from limitcycles.statistics import lag_envelopes, nulls
from limitcycles.statistics.autocorrelation import lag_profile
from limitcycles.statistics.blocks import SeriesError

LENGTH = 1000
CASES = [  # φ, θ: near white noise, short, of the order of the lags, long, longest, walks
    (0.0, 0.0),
    (0.5, 0.0),
    (-0.6, 0.0),
    (0.93, 0.0),
    (0.99, 0.0),
    (0.9985, 0.0),
    (0.98, -0.9),
    (0.997, -0.97),
    (0.95, 0.6),
    (0.3, -0.7),
    (-0.5, 0.2),
    (1.0, 0.0),
    (1.0, -0.9),
    (1.0, 0.5),
]


def fit_of(parameters, null="epoch-noise", length=LENGTH) -> nulls.Fit:
    phi, theta = np.array(parameters, dtype=float).T
    return nulls.Fit(null, 0 * phi, phi, theta, 0 * phi + 1, length)


@pytest.fixture(scope="module")
def shared():
    """Of all cases at once: paths are drawn once."""
    return lag_envelopes.bounds([fit_of(CASES)], level=0.95, seed=1, replicates=3999)[0]


@pytest.mark.parametrize("case", range(len(CASES)), ids=str)
def test_envelopes_are_those_of_the_weights_own_parameters(shared, case):
    own = nulls.envelope(
        lag_profile,
        fit_of(CASES[case : case + 1]),
        level=0.95,
        seed=2,
        replicates=3999,
        shared=False,
    )
    width = (own.high - own.low)[0] / 2
    # The noise of two quantiles and of deviations over 3,999 replicates is some 3 %.
    np.testing.assert_allclose(shared.width[case] / width, 1, atol=0.11)
    assert np.abs((shared.centre[case] - own.low[0] - width) / width).max() < 0.12


@pytest.mark.parametrize("case", range(len(CASES)), ids=str)
def test_envelopes_hold_the_share_they_say(shared, case):
    phi, theta = CASES[case]
    series = nulls.simulate("epoch-noise", (2500, LENGTH), 3, phi=phi, theta=theta)
    profile = lag_profile(series)
    one = lag_envelopes.Bounds(
        *(
            getattr(shared, name)[case : case + 1]
            for name in ("centre", "width", "sum_centre", "sum_width", "doubt")
        )
    )
    error = np.sqrt(0.05 * 0.95 * (1 / 2500 + 1 / 3999))
    for outside in (one.reach(profile) > 1, one.sum_reach(profile) > 1):
        assert abs(outside.mean() - 0.05) < 4 * error


def test_share_of_the_slow_part():
    # γ_0, γ_1 of an ARMA(1, 1) process from its expansion in past noise: 1, φ + θ, φ(φ + θ), …
    phi, theta = 0.8, -0.5
    weights = np.concatenate([[1.0], (phi + theta) * phi ** np.arange(400)])
    first = (weights[:-1] @ weights[1:]) / (weights @ weights)
    assert lag_envelopes.slow_share(phi, theta) == pytest.approx(first / phi)
    assert lag_envelopes.slow_share(0.7, 0.0) == pytest.approx(1)


def test_walks_seen_at_fewer_epochs_have_the_same_autocorrelation():
    series = nulls.simulate("random-walk", (20, 100000), 4)
    step = 100000 // (100 * lag_envelopes.WALK_POINTS)
    fewer = lag_profile(np.ascontiguousarray(series[:, ::step]))
    walk = lag_envelopes.bounds(
        [fit_of([(1, 0)], length=100000)], level=0.95, seed=5, replicates=199
    )[0]
    assert (np.abs(fewer - lag_profile(series)) / walk.width).max() < 0.01


def test_nulls_of_one_call_share_paths_and_seeds_fix_them():
    relaxing, noise = fit_of([(0.9, 0.0)]), fit_of([(0.9, 0.0), (0.9, -0.5)])
    arguments = {"level": 0.9, "replicates": 99}
    first, second = lag_envelopes.bounds([relaxing, noise], seed=1, **arguments)
    np.testing.assert_array_equal(first.width[0], second.width[0])
    assert (second.width[1] != second.width[0]).all()
    again = lag_envelopes.bounds([relaxing, noise], seed=1, **arguments)[1]
    np.testing.assert_array_equal(second.width, again.width)
    other = lag_envelopes.bounds([relaxing, noise], seed=2, **arguments)[1]
    assert (second.width != other.width).all()


def test_the_doubt_is_that_of_a_quantile():
    # 40 envelopes of 199 replicates: their widths scatter as `doubt` says.
    fits = [fit_of([(1, 0)], length=300)]
    found = [
        lag_envelopes.bounds(fits, level=0.9, seed=seed, replicates=199)[0] for seed in range(40)
    ]
    relative = np.array([b.width[0, 50] for b in found])
    scatter = 4 * relative.std() / relative.mean()
    said = np.median([np.ptp(b.doubt[0]) for b in found])
    assert 0.5 < scatter / said < 2
    assert all(b.doubt[0, 0] <= 1 <= b.doubt[0, 1] for b in found)


def test_exceptions():
    with pytest.raises(SeriesError, match="999 replicates"):
        lag_envelopes.bounds([fit_of([(1, 0)])], level=0.99, seed=0, replicates=500)
    with pytest.raises(SeriesError, match="one length"):
        lag_envelopes.bounds(
            [fit_of([(1, 0)]), fit_of([(1, 0)], length=500)], level=0.9, seed=0, replicates=99
        )
