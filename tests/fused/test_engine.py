"""The compiled loops against PyTorch, to float32 rounding, for every option."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fused_problem import CLOSE, EXAMPLES, problem
from helpers import one_thread  # noqa: F401
from numba import njit
from torch import nn

from limitcycles import networks
from limitcycles.fused import kernels, simd
from limitcycles.fused.engine import Descent, Engine
from limitcycles.fused.layers import FusedError, Layers


def torch_epoch(network, images, labels, order, batch, rate, momentum, decay, frozen):
    network.train(not frozen)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay, **momentum)
    losses = []
    for index in torch.from_numpy(order).split(batch):
        optimizer.zero_grad()
        loss = F.cross_entropy(
            network(torch.from_numpy(images)[index]), torch.from_numpy(labels)[index]
        )
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("widths", [(49, 16, 5), (7, 3, 2), (10, 5, 9, 4), (6, 3)])
@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize(
    "momentum", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_an_epoch_is_pytorchs(widths, norm, momentum, decay):
    network, images, labels = problem(widths, norm != "none")
    engine = Engine(network, images, labels, 32)
    order = np.random.default_rng(1).integers(0, EXAMPLES, EXAMPLES)
    descent = Descent(momentum.get("momentum", 0.0), "nesterov" in momentum, decay)
    losses, path = engine.epoch(order, 0.05, descent, frozen=norm == "frozen", keep=2)
    expected = torch_epoch(
        network, images, labels, order, 32, 0.05, momentum, decay, norm == "frozen"
    )
    weights, _ = networks.flatten(network)
    np.testing.assert_allclose(losses, expected, **CLOSE)
    np.testing.assert_allclose(engine.weights, weights, **CLOSE)
    assert path.shape == (2, len(weights))
    assert np.abs(path[1] - path[0]).max() > 1e-4
    norms = [m for m in network if isinstance(m, nn.BatchNorm1d)]
    for mine, theirs in (("mean", "running_mean"), ("variance", "running_var")):
        known = torch.cat([torch.empty(0), *(getattr(m, theirs) for m in norms)])
        np.testing.assert_allclose(engine.state()[mine], known, **CLOSE)


@pytest.mark.parametrize("frozen", [True, False])
def test_full_gradient(frozen):
    network, images, labels = problem((49, 16, 5))
    engine = Engine(network, images, labels, 32)
    before = engine.state()["mean"]
    loss, error, gradient = engine.full_gradient(frozen=frozen)
    network.double().train(not frozen)
    x, y = torch.from_numpy(images).double(), torch.from_numpy(labels)
    total, wrong = 0.0, 0
    for index in [slice(None)] if frozen else torch.arange(EXAMPLES).split(32):
        logits = network(x[index])
        total = total + F.cross_entropy(logits, y[index], reduction="sum") / EXAMPLES
        wrong += int((logits.argmax(1) != y[index]).sum())
    total.backward()
    expected = torch.cat([p.grad.ravel() for p in network.parameters()])
    assert loss == pytest.approx(float(total.detach()), rel=1e-6)
    assert error == pytest.approx(100 * wrong / EXAMPLES)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(engine.state()["mean"], before)


def test_one_batch_alone():
    network, images, labels = problem((49, 16, 5))
    engine = Engine(network, images, labels, 32)
    index = np.arange(5)
    loss, gradient = engine.gradient(index)
    expected = F.cross_entropy(
        network(torch.from_numpy(images[index])), torch.from_numpy(labels[index])
    )
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    np.testing.assert_allclose(
        gradient, torch.cat([p.grad.ravel() for p in network.parameters()]), **CLOSE
    )
    # A small batch after a large one finds nothing of it.
    engine.gradient(np.arange(32))
    np.testing.assert_array_equal(engine.gradient(index)[1], gradient)


def test_equal_steps_give_equal_bits_and_examples_of_one_are_left_out():
    network, images, labels = problem((49, 16, 5))
    order = np.arange(65)
    one, other = (Engine(network, images, labels, 32) for _ in range(2))
    losses, _ = one.epoch(order, 0.1, Descent(0.9))
    other.epoch(order[:64], 0.1, Descent(0.9))
    assert len(losses) == 2
    assert one.weights.tobytes() == other.weights.tobytes()


DIGEST = """
import hashlib
import numpy as np, torch
from limitcycles import networks
from limitcycles.fused.engine import Descent, Engine
torch.manual_seed(0)
rng = np.random.default_rng(0)
images, labels = rng.random((100, 49), dtype=np.float32), rng.integers(0, 5, 100)
engine = Engine(networks.fully_connected(49, 16, 5), images, labels, 32)
digest = hashlib.sha256(engine.gradient(np.arange(20))[1].tobytes())
for _ in range(5):
    engine.epoch(rng.permutation(100), 0.1, Descent(0.9, True))
digest.update(engine.weights.tobytes())
digest.update(engine.full_gradient()[2].tobytes())
print(digest.hexdigest())
"""


def test_compiled_now_or_before_or_without_optimisation_gives_the_same_bits(tmp_path):
    """A resumed run takes its code from the cache; the run before it may have compiled it."""
    found = []
    for more in ({}, {}, {"NUMBA_OPT": "1", "NUMBA_CACHE_DIR": str(tmp_path / "other")}):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")} | more,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout)
    assert len(set(found)) == 1
    assert list((tmp_path / "cache").rglob("*.nbc"))


def test_a_run_that_diverges_says_so_in_its_losses():
    network, images, labels = problem((49, 16, 5))
    engine = Engine(network, images, labels, 32)
    engine.restore(engine.state() | {"weights": np.full(917, np.nan, np.float32)})
    assert np.isnan(engine.epoch(np.arange(64), 0.1, Descent())[0]).all()
    assert np.isnan(engine.full_gradient()[0])


@njit
def exponentials(values, out):
    for at in range(0, len(values), simd.LANES):
        simd.store(out, at, kernels.exponential(simd.load(values, at)))


def test_exponential_is_that_of_the_library():
    x = np.concatenate([-np.geomspace(1e-6, 87, 4000), np.zeros(16)]).astype(np.float32)
    mine = np.empty_like(x)
    exponentials(x, mine)
    np.testing.assert_allclose(mine, np.exp(x.astype(np.float64)), rtol=2.5e-7)
    assert (mine[-16:] == 1).all()
    strange = np.array([np.nan, -1000, -np.inf, -88] * 4, np.float32)
    exponentials(strange, mine[:16])
    assert np.isnan(mine[:16:4]).all()
    assert (mine[1:16:4] < 1e-37).all()


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(3, 2),
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(3, 2), nn.ReLU()),
        nn.Sequential(nn.Linear(3, 2, bias=False)),
        nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.BatchNorm1d(2), nn.Linear(2, 2)),
        nn.Sequential(),
    ],
)
def test_other_networks_are_refused(network):
    with pytest.raises(FusedError, match="compiled loops take"):
        Layers.of(network)


def test_shape_of_the_papers_network():
    layers = Layers.of(networks.fully_connected(49, 16, 5))
    assert (layers.weights, layers.moments) == (917, 16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((4, 48), np.float32)}, "48 pixels"),
        ({"labels": np.array([0, 1, 2, 5])}, "0 to 4"),
        ({"labels": np.array([0, 1])}, "there are 2"),
        ({"batch": 1}, "no variance"),
    ],
)
def test_wrong_data_are_refused(change, words):
    given = {"images": np.zeros((4, 49), np.float32), "labels": np.arange(4), "batch": 2} | change
    with pytest.raises(FusedError, match=words):
        Engine(networks.fully_connected(49, 16, 5), **given)
