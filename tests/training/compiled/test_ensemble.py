"""Members trained at once against each trained alone by the compiled loops, for every option."""

import numpy as np
import pytest
import torch
from compiled_problem import CLOSE, EXAMPLES, fully_connected, problem
from helpers import one_thread  # noqa: F401

from limitcycles.training import networks
from limitcycles.training.compiled.engines import Engines
from limitcycles.training.compiled.ensemble import Ensemble
from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.optimisers import adam, adamw, sgd

MEMBERS = 3
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]

pytestmark = pytest.mark.parametrize("device", DEVICES)


def both(widths, normed, device, optimiser=None):
    """An ensemble of networks with weights of their own, and the same in compiled engines."""
    _, images, labels = problem(widths)
    given = [fully_connected(widths, normed) for _ in range(MEMBERS)], images, labels, 32, optimiser
    return Ensemble(*given, device=device), Engines(*given)


def orders(seed=1, count=EXAMPLES):
    return np.random.default_rng(seed).integers(0, EXAMPLES, (MEMBERS, count))


def assert_same_state(ensemble, engines):
    mine, theirs = ensemble.state(), engines.state()
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        assert mine[name].dtype == (np.int64 if name == "steps" else np.float32)
        np.testing.assert_allclose(mine[name], values, **CLOSE, err_msg=name)


@pytest.mark.parametrize("widths", [(49, 16, 5), (7, 3, 2), (10, 5, 9, 4), (6, 3)])
@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize(
    "optimiser",
    [
        *(sgd.Optimiser(m, nesterov, decay)
          for m, nesterov in ((0, False), (0.9, False), (0.9, True)) for decay in (0.0, 0.01)),
        adam.Optimiser(weight_decay=0.01, eps=1e-3),
        adamw.Optimiser(0.8, 0.9, 1e-3, weight_decay=0.1),
    ],
    ids=str,
)  # fmt: skip
def test_an_epoch_is_that_of_the_engines(widths, norm, optimiser, device):
    ensemble, engines = both(widths, norm != "none", device, optimiser)
    for rate, seed in ((0.05, 1), (0.01, 2)):  # the second: from a velocity, at another rate
        options = {"frozen": norm == "frozen", "keep": 2}
        losses, path = ensemble.epoch(orders(seed), rate, **options)
        expected, expected_path = engines.epoch(orders(seed), rate, **options)
        assert losses.shape == (MEMBERS, 3)
        assert losses.dtype == np.float64
        np.testing.assert_allclose(losses, expected, **CLOSE)
        np.testing.assert_allclose(path, expected_path, **CLOSE)
        assert_same_state(ensemble, engines)
    assert np.abs(path[:, 1] - path[:, 0]).max() > 1e-5
    assert np.abs(ensemble.weights[1] - ensemble.weights[0]).max() > 0.01


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_are_those_of_the_engines(frozen, device):
    ensemble, engines = both((49, 16, 5), True, device)
    before = ensemble.state()
    for mine, theirs in zip(
        ensemble.full_gradient(frozen=frozen), engines.full_gradient(frozen=frozen), strict=True
    ):
        assert mine.dtype == np.float64
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-7)
    index = orders(count=5)
    loss, gradient = ensemble.gradient(index, frozen=frozen)
    expected, theirs = engines.gradient(index, frozen=frozen)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, theirs, **CLOSE)
    for name, values in ensemble.state().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_full_gradient_in_parts_is_that_of_all(device, monkeypatch):
    ensemble, _ = both((49, 16, 5), True, device)
    whole = ensemble.full_gradient()
    monkeypatch.setattr("limitcycles.training.compiled.ensemble.FULL_BATCH", 32)
    for mine, theirs in zip(ensemble.full_gradient(), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("optimiser", [sgd.Optimiser(0.9, True), adam.Optimiser()], ids=str)
def test_a_restored_ensemble_goes_on_with_the_same_bits(optimiser, device):
    one, _ = both((49, 16, 5), True, device, optimiser)
    other, _ = both((49, 16, 5), True, device, optimiser)
    one.epoch(orders(1), 0.1)
    saved = one.state()
    one.epoch(orders(2), 0.1)
    assert np.abs(saved["weights"] - one.weights).max() > 1e-3  # a copy: no later step changes it
    other.epoch(orders(3), 0.2)
    other.restore(saved)
    other.epoch(orders(2), 0.1)
    for name, values in one.state().items():
        assert values.tobytes() == other.state()[name].tobytes()


def test_examples_of_one_are_left_out(device):
    one, _ = both((49, 16, 5), True, device)
    other, _ = both((49, 16, 5), True, device)
    order = orders(count=65)
    losses, path = one.epoch(order, 0.1, keep=9)
    other.epoch(order[:, :64], 0.1)
    assert losses.shape == (MEMBERS, 2)
    assert path.shape == (MEMBERS, 2, 917)
    assert one.weights.tobytes() == other.weights.tobytes()


class Replayed:
    """What a CUDA graph is to its caller: options and shape are fixed, results are written over."""

    def __init__(self, function, index, kept):
        self.function, self.shape, self.result = function, index.shape, None

    def __call__(self, index):
        assert index.shape == self.shape
        found = self.function(index)
        if self.result is None:
            self.result = found
        alone = isinstance(found, torch.Tensor)
        pairs = [(self.result, found)] if alone else zip(self.result, found, strict=True)
        for mine, new in pairs:
            mine.copy_(new)
        return self.result


@pytest.mark.parametrize(
    "optimiser", [sgd.Optimiser(), sgd.Optimiser(0.9, True, 0.01), adam.Optimiser()], ids=str
)
def test_steps_that_are_replayed_are_those_that_are_computed(optimiser, device, monkeypatch):
    monkeypatch.setattr("limitcycles.training.compiled.ensemble._Captured", Replayed)
    one, _ = both((49, 16, 5), True, device, optimiser)
    other, _ = both((49, 16, 5), True, device, optimiser)
    one._captures, other._captures = False, True
    for frozen in (False, True):
        for rate in (0.1, 0.05):
            options = {"frozen": frozen, "keep": 2}
            mine, theirs = (one.epoch(orders(), rate, **options) for one in (other, one))
            np.testing.assert_array_equal(mine[0], theirs[0])
            np.testing.assert_array_equal(mine[1], theirs[1])
        for mine, theirs in zip(
            other.full_gradient(frozen=frozen), one.full_gradient(frozen=frozen), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    assert len(other._captured) == 2 * 2 + 2 + 1  # steps: two sizes of batches


def test_members_that_diverge_say_so_in_their_losses(device):
    ensemble, _ = both((49, 16, 5), True, device)
    state = ensemble.state()
    state["weights"][1] = np.nan
    ensemble.restore(state)
    finite = np.isfinite(ensemble.epoch(orders(), 0.1)[0])
    assert finite.all(1).tolist() == [True, False, True]
    assert not finite[1].any()


def test_members_of_different_shapes_and_wrong_data_are_refused(device):
    images, labels = np.zeros((4, 49), np.float32), np.arange(4)
    small, large = (networks.fully_connected(49, hidden, 5) for hidden in (8, 16))
    with pytest.raises(CompiledError, match="of one shape"):
        Ensemble([small, large], images, labels, 2, device=device)
    with pytest.raises(CompiledError, match="48 pixels"):
        Ensemble([small], images[:, 1:], labels, 2, device=device)
