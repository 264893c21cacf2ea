"""Mini-batch noise by counting every ordered draw, in exact fractions, and by simulation."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from limitcycles.theory import batch_noise as noise
from limitcycles.theory.batch_noise import BatchNoiseError, batch_covariance_by_enumeration

WHOLE = np.array([[3, 0], [-1, 2], [0, 5], [7, -4]])


def ordered_covariance(gradients, batch, sampling):
    """Over all ordered draws, in fractions."""
    draws = (
        itertools.product(gradients, repeat=batch)
        if sampling == "with-replacement"
        else itertools.permutations(gradients, batch)
    )
    means = [[sum(Fraction(g[i]) for g in draw) / batch for i in range(2)] for draw in draws]
    n = len(means)
    mean = [sum(m[i] for m in means) / n for i in range(2)]
    return np.array(
        [
            [float(sum(m[i] * m[j] for m in means) / n - mean[i] * mean[j]) for j in range(2)]
            for i in range(2)
        ]
    )


@pytest.mark.parametrize("sampling", noise.SAMPLINGS)
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_enumeration_and_formula_against_ordered_draws(sampling, batch):
    expected = ordered_covariance(WHOLE.tolist(), batch, sampling)
    found = batch_covariance_by_enumeration(WHOLE, batch, sampling)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
    predicted = noise.predicted_covariance(WHOLE, batch, sampling)
    np.testing.assert_allclose(predicted, expected, rtol=1e-13, atol=1e-13)


def test_variances_by_hand():
    """Gradients 0 and 2: D = 1, D' = 2."""
    two = [[0.0], [2.0]]
    assert batch_covariance_by_enumeration(two, 1, "with-replacement") == pytest.approx(1)
    assert batch_covariance_by_enumeration(two, 5, "with-replacement") == pytest.approx(1 / 5)
    assert batch_covariance_by_enumeration(two, 1, "without-replacement") == pytest.approx(1)
    assert batch_covariance_by_enumeration(two, 2, "without-replacement") == 0


@pytest.mark.parametrize("sampling", noise.SAMPLINGS)
def test_enumeration_of_many_batches(sampling):
    rng = np.random.default_rng(0)
    gradients = rng.normal(5, 1, size=(9, 3))
    np.testing.assert_allclose(
        batch_covariance_by_enumeration(gradients, 6, sampling),
        noise.predicted_covariance(gradients, 6, sampling),
        rtol=1e-11,
    )


@pytest.fixture(scope="module")
def gradients():
    """Heavy tails, correlated, more weights than examples."""
    rng = np.random.default_rng(1)
    return rng.standard_t(4, size=(64, 100)) @ rng.normal(size=(100, 100)) + 3


@pytest.mark.parametrize("claim", noise.SAMPLINGS)
@pytest.mark.parametrize("batch", [1, 8, 32, 64])
def test_draws_agree_with_their_claim(gradients, claim, batch):
    found = noise.batch_noise(
        gradients, batch, draws=2000, claim=claim, seed=batch, replications=40, level=0.999
    )
    if claim == "without-replacement" and batch == 64:
        assert found.ratio is found.interval is found.distance is found.envelope is None
        assert found.full_batch_ratio < 1e-20
        return
    assert found.interval[0] < 1 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.2
    assert found.envelope[0] * 0.7 <= found.distance <= found.envelope[1] * 1.3
    assert 2 / 41 <= found.p_value <= 1
    scale = np.trace(noise.predicted_covariance(gradients, batch, claim)) / (
        np.trace(noise.predicted_covariance(gradients, 1, "with-replacement")) * 64 / 63
    )
    assert found.full_batch_ratio == pytest.approx(found.ratio * scale)


@pytest.mark.parametrize(
    ("claim", "other"), [noise.SAMPLINGS, noise.SAMPLINGS[::-1]], ids=["with", "without"]
)
def test_the_other_sampling_fails_at_half_the_examples(gradients, claim, other):
    """The negative controls of both claims."""
    found = noise.batch_noise(
        gradients, 32, draws=2000, claim=claim, sampling=other, seed=0, replications=50
    )
    low, high = found.interval
    assert high < 0.95 or low > 1.05
    assert found.distance > found.envelope[1]
    assert found.p_value == pytest.approx(2 / 51)  # beyond all of 50


@pytest.mark.parametrize("claim", noise.SAMPLINGS)
def test_interval_and_envelope_hold_as_often_as_said(gradients, claim):
    """Of 40 repetitions at 95 % fewer than 33 would be a chance of 1 in 5,000."""
    found = [
        noise.batch_noise(gradients, 2, draws=400, claim=claim, seed=seed, replications=60)
        for seed in range(40)
    ]
    assert sum(f.interval[0] < 1 < f.interval[1] for f in found) >= 33
    assert sum(f.envelope[0] <= f.distance <= f.envelope[1] for f in found) >= 33


def test_statistics_by_brute_force(gradients):
    """The rotation into fewer dimensions and the blocks change nothing."""
    indices = np.random.default_rng(3).integers(64, size=(500, 4))
    found = noise.batch_noise(
        gradients, 4, draws=500, claim="with-replacement", seed=0, indices=indices, replications=2
    )
    means = np.array([gradients[row].mean(0) for row in indices]) - gradients.mean(0)
    covariance = means.T @ means / 500
    predicted = np.cov(gradients.T, bias=True) / 4
    assert found.ratio == pytest.approx(np.trace(covariance) / np.trace(predicted))
    distance = np.linalg.norm(covariance - predicted) / np.linalg.norm(predicted)
    assert found.distance == pytest.approx(distance)


def test_blocks_change_nothing_for_given_indices(gradients, monkeypatch):
    indices = np.random.default_rng(3).integers(64, size=(50, 4))
    kwargs = {"draws": 50, "claim": "with-replacement", "seed": 0, "replications": 3}
    kwargs["indices"] = indices
    whole = noise.batch_noise(gradients, 4, **kwargs)
    monkeypatch.setattr(noise, "BLOCK_BYTES", 8 * 64 * 7)
    parts = noise.batch_noise(gradients, 4, **kwargs)
    assert parts.distance == pytest.approx(whole.distance)
    assert parts.interval == pytest.approx(whole.interval)


def test_the_same_seed_gives_the_same_numbers(gradients):
    a, b, c = (
        noise.batch_noise(
            gradients, 4, draws=40, claim="with-replacement", seed=seed, replications=3
        )
        for seed in (1, 1, 2)
    )
    assert a == b != c


@pytest.mark.parametrize("sampling", noise.SAMPLINGS)
def test_every_batch_is_as_likely(sampling):
    drawn = noise.draw_batches(4, 2, 60_000, sampling, np.random.default_rng(0))
    assert drawn.shape == (60_000, 2)
    pairs, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    once = 1 / 16 if sampling == "with-replacement" else 1 / 12
    expected = np.where(pairs[:, 0] == pairs[:, 1], once, 2 * once) * 60_000
    assert len(pairs) == (10 if sampling == "with-replacement" else 6)
    assert ((counts - expected) ** 2 / expected).sum() < 35


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: batch_covariance_by_enumeration(g, 20, "with-replacement"), "more than 2000000"),
        (lambda g: batch_covariance_by_enumeration(g, 65, "without-replacement"), "b ≤ 64"),
        (lambda g: batch_covariance_by_enumeration(g, 0, "with-replacement"), "≥ 1, not 0"),
        (lambda g: batch_covariance_by_enumeration(g, 2, "bootstrap"), "not 'bootstrap'"),
        (lambda g: batch_covariance_by_enumeration(g[0], 2, "with-replacement"), r"\(100,\)"),
        (lambda g: batch_covariance_by_enumeration(g * np.nan, 1, "with-replacement"), "NaN"),
        (
            lambda g: noise.batch_noise(g * 0 + 1, 2, draws=9, claim="with-replacement", seed=0),
            "all per-sample gradients are equal",
        ),
        (
            lambda g: noise.batch_noise(
                g, 2, draws=2, claim="with-replacement", seed=0, indices=[[0, 64], [1, 2]]
            ),
            "from 0 to 64",
        ),
    ],
)
def test_batches_that_cannot_be(gradients, call, message):
    with pytest.raises(BatchNoiseError, match=message):
        call(gradients)


@pytest.mark.parametrize("sampling", noise.SAMPLINGS)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_simulated_covariances_are_those_of_the_draws(gradients, sampling, batch):
    """Pairs of examples are counted in two ways; 3² < 64 < 20²."""
    centred = gradients - gradients.mean(0)
    found = noise._simulated_covariance(centred, batch, 500, sampling, np.random.default_rng(7))
    drawn = noise.draw_batches(64, batch, 500, sampling, np.random.default_rng(7))
    means = centred[drawn].mean(1)
    np.testing.assert_allclose(found, means.T @ means / 500, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize("batch", [5, 20])
def test_batches_without_replacement_are_uniform_subsets(batch):
    drawn = noise.draw_batches(36, batch, 20_000, "without-replacement", np.random.default_rng(0))
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=36)
    expected = 20_000 * batch / 36
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(expected * (1 - batch / 36))
