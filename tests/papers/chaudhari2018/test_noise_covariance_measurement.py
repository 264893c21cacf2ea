"""The noise of mini-batches: the measurement against what is known by hand and from other draws."""

import numpy as np
import pytest
import torch
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.noise_covariance import measure
from limitcycles.theory import batch_noise

SETTINGS = settings_read("noise-covariance", seed=3, paths=1000)


@pytest.fixture(scope="module")
def parts():
    return measuring.of_theory("noise-covariance", SETTINGS)


def test_every_batch_size_has_its_numbers(parts):
    network = parts["network"]
    assert network["batch"].sel(sampling="with-replacement").values.tolist() == [1, 8, 32, 128, 200]
    assert network["batch"].sel(sampling="without-replacement").values.tolist()[-1] == 100
    for name, values in network.items():
        assert np.isfinite(values).all(), name
    assert (network["low"] < network["ratio"]).all()
    assert (network["envelope_low"] < network["envelope_high"]).all()
    assert network["control_batch"].values.tolist() == [100, 100]
    assert (network.attrs["samples"], network.attrs["weights"]) == (200, 917)
    assert network.attrs["train_error"] < 30  # trained, not at its start


def test_the_claims_hold_and_the_other_sampler_does_not(parts):
    network = parts["network"]
    spread = (network["high"] - network["low"]) / 4  # about a standard error
    assert (abs(network["ratio"] - 1) < 4 * spread).all()
    # N/2 of N without replacement have half the variance, but for N/(N − 1).
    expected = {"with-replacement": 0.5 * 200 / 199, "without-replacement": 2 * 199 / 200}
    for sampling, ratio in expected.items():
        assert network["control_ratio"].sel(sampling=sampling) == pytest.approx(ratio, rel=0.15)
    assert network["full_batch_ratio"] < 1e-20


def test_half_widths_are_what_the_draws_were_counted_for(parts):
    half = (parts["network"]["high"] - parts["network"]["low"]) / 2
    np.testing.assert_allclose(half, measure.AIM * 20**0.25, rtol=0.3)


def test_enumeration_agrees_with_its_own_formula_alone(parts):
    enumeration = parts["enumeration"]
    assert (enumeration["error"] < 1e-14).all()
    # By hand: D'(N − b)/(N b) differs from D/b by (b − 1)/(N − 1) of it.
    expected = (enumeration["batch"] - 1) / 5
    np.testing.assert_allclose(
        enumeration["other"].transpose("batch", ...), np.stack([expected] * 2, 1), atol=1e-12
    )


def test_the_known_matrix_comes_back(parts):
    closed = parts["closed_form"]
    assert (closed["formula_error"] < 1e-14).all()
    inside = (closed["low"] <= 1) & (closed["high"] >= 1)
    assert (inside.mean("repetition") > 0.7).all()


def test_draws_needed_by_a_simulated_variance():
    rng = np.random.default_rng(0)
    rows = rng.standard_t(5, size=(50, 4)) * [1, 2, 3, 4]
    centred = rows - rows.mean(0)
    for batch in (1, 5):
        drawn = centred[rng.integers(50, size=(200_000, batch))].mean(1)
        squares = (drawn**2).sum(1)
        expected = (1.96 * squares.std() / squares.mean() / 0.03) ** 2
        assert measure.draws_needed(rows, batch, 0.03, 0.95) == pytest.approx(expected, rel=0.05)


def test_batches_are_those_of_training():
    def drawn(sampling):
        return measure.first_batches(sampling, 20, 15, 400, torch.Generator().manual_seed(0))

    distinct = [len(set(row)) for row in drawn("without-replacement").tolist()]
    assert set(distinct) == {15}
    distinct = [len(set(row)) for row in drawn("with-replacement").tolist()]
    assert np.mean(distinct) == pytest.approx(20 * (1 - 0.95**15), rel=0.05)


def test_equal_seeds_give_equal_gradients_and_others_do_not():
    rows, attrs = measure.network_gradients(3)
    again, _ = measure.network_gradients(3)
    other, _ = measure.network_gradients(4)
    np.testing.assert_array_equal(rows, again)
    assert np.abs(rows - other).max() > 1e-3
    D = batch_noise.predicted_covariance(rows, 1, "with-replacement")
    assert attrs["directions"] == pytest.approx(np.trace(D) ** 2 / (D**2).sum())
