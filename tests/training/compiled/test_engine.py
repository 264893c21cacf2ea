"""The compiled loops against PyTorch, to float32 rounding, for every option."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from compiled_problem import CLOSE, EXAMPLES, problem
from helpers import one_thread, row_by_row  # noqa: F401
from numba import njit
from scipy import stats
from torch import nn

from limitcycles.training import networks
from limitcycles.training.compiled import kernels, simd
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.layers import CompiledError, Layers
from limitcycles.training.optimisers import sgd
from limitcycles.training.samplers import gaussian_weights


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
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("widths", [(49, 16, 5), (7, 3, 2), (10, 5, 9, 4), (6, 3)])
@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize(
    "momentum", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_an_epoch_is_pytorchs(widths, norm, momentum, decay):
    network, images, labels = problem(widths, norm != "none")
    engine = Engine(network, images, labels, 32, sgd.Optimiser(**momentum, weight_decay=decay))
    order = np.random.default_rng(1).integers(0, EXAMPLES, EXAMPLES)
    losses, path = engine.epoch(order, 0.05, frozen=norm == "frozen", keep=2)
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


def torch_descent(network, images, labels, shares, rate, momentum, decay, frozen):
    """Steps on Σ w_n f_n over all examples; returns the equally weighted means before them."""
    network.train(not frozen)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay, **momentum)
    means = []
    for share in torch.from_numpy(shares):
        optimizer.zero_grad()
        losses = F.cross_entropy(
            network(torch.from_numpy(images)), torch.from_numpy(labels), reduction="none"
        )
        (share * losses).sum().backward()
        optimizer.step()
        means.append(float(losses.detach().mean()))
    return means


@pytest.mark.parametrize("widths", [(49, 16, 5), (10, 5, 9, 4), (6, 3)])
@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize(
    "momentum", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
@pytest.mark.parametrize("weighted", [True, False])
def test_steps_over_all_examples_are_pytorchs(widths, norm, momentum, weighted):
    network, images, labels = problem(widths, norm != "none")
    engine = Engine(network, images, labels, 8, sgd.Optimiser(**momentum, weight_decay=0.01))
    steps = engine.steps(EXAMPLES)
    rng = np.random.default_rng(2)
    shares = rng.normal(1, 2, (steps, EXAMPLES)).astype(np.float32) / EXAMPLES  # negative ones too
    if not weighted:
        shares[:] = 1 / EXAMPLES
    losses, path = engine.descend_all(
        steps, 0.05, shares=shares if weighted else None, frozen=norm == "frozen", keep=3
    )
    first = copy.deepcopy(network)
    expected = torch_descent(
        first, images, labels, shares[:1], 0.05, momentum, 0.01, norm == "frozen"
    )
    np.testing.assert_allclose(losses[:1], expected, rtol=1e-6)
    np.testing.assert_allclose(path[0], networks.flatten(first)[0], rtol=1e-5, atol=5e-7)
    expected = torch_descent(
        network, images, labels, shares, 0.05, momentum, 0.01, norm == "frozen"
    )
    np.testing.assert_allclose(losses, expected, **CLOSE)
    np.testing.assert_allclose(engine.weights, networks.flatten(network)[0], **CLOSE)
    assert path.shape == (3, engine.layers.weights)
    norms = [m for m in network if isinstance(m, nn.BatchNorm1d)]
    for mine, theirs in (("mean", "running_mean"), ("variance", "running_var")):
        known = torch.cat([torch.empty(0), *(getattr(m, theirs) for m in norms)])
        np.testing.assert_allclose(engine.state()[mine], known, **CLOSE)


def test_a_step_over_all_examples_is_one_mini_batch_of_all():
    network, images, labels = problem((49, 16, 5))
    heavy = sgd.Optimiser(0.9)
    one, other = (Engine(network, images, labels, size, heavy) for size in (EXAMPLES, 32))
    losses, _ = one.epoch(np.arange(EXAMPLES), 0.1)
    again, _ = other.descend_all(1, 0.1)
    assert losses.tobytes() == again.tobytes()
    for name, values in one.state().items():
        assert values.tobytes() == other.state()[name].tobytes(), name


def test_gaussian_steps_have_the_covariance_of_mini_batches():
    """At fixed weights: mean ∇f and covariance D/b, D from one gradient an example."""
    network, images, labels = problem((7, 4, 3), normed=False)
    engine = Engine(network, images, labels, 32)
    inputs, targets = torch.from_numpy(images).double(), torch.from_numpy(labels)
    rows = row_by_row(network.double(), inputs, targets).numpy()
    full, size = rows.mean(0), 16
    values, vectors = np.linalg.eigh((rows - full).T @ (rows - full) / EXAMPLES / size)
    some = values > 1e-4 * values[-1]  # the others: less than float32 can tell
    draws, rank, source = 4000, int(some.sum()), torch.Generator().manual_seed(0)
    assert rank > 15
    start, gradients = engine.state(), np.empty((draws, engine.layers.weights))
    shares = gaussian_weights(draws, EXAMPLES, size, source).numpy()
    for i in range(draws):
        engine.restore(start)
        engine.descend_all(1, 1.0, shares=shares[i : i + 1])
        gradients[i] = start["weights"] - engine.weights
    # Standard normal, if mean and covariance are right: chi-squared laws of their moments.
    white = (gradients - full) @ vectors[:, some] / np.sqrt(values[some])
    assert 1e-4 < stats.chi2.sf(draws * (white.mean(0) ** 2).sum(), rank) < 1 - 1e-4
    assert 1e-4 < stats.chi2.sf((white**2).sum(), draws * rank) < 1 - 1e-4
    second = white.T @ white / draws - np.eye(rank)
    statistic = draws * (np.triu(second, 1) ** 2).sum() + draws / 2 * (np.diag(second) ** 2).sum()
    assert 1e-4 < stats.chi2.sf(statistic, rank * (rank + 1) // 2) < 1 - 1e-4
    rest = (gradients - full) @ vectors[:, ~some]
    assert rest.var(0).max() < 2e-4 * values[-1]


def test_shares_of_another_shape_and_one_example_are_refused():
    network, images, labels = problem((49, 16, 5))
    engine = Engine(network, images, labels, 32)
    with pytest.raises(CompiledError, match=r"2 steps over 85 examples need \(2, 85\)"):
        engine.descend_all(2, 0.1, shares=np.ones((2, 84), np.float32))
    with pytest.raises(CompiledError, match="no variance"):
        Engine(network, images[:1], labels[:1], 32).descend_all(1, 0.1)


def test_equal_steps_give_equal_bits_and_examples_of_one_are_left_out():
    network, images, labels = problem((49, 16, 5))
    order = np.arange(65)
    one, other = (Engine(network, images, labels, 32, sgd.Optimiser(0.9)) for _ in range(2))
    losses, _ = one.epoch(order, 0.1)
    other.epoch(order[:64], 0.1)
    assert len(losses) == 2
    assert one.weights.tobytes() == other.weights.tobytes()


DIGEST = """
import hashlib
import numpy as np, torch
from limitcycles.training import networks
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.optimisers import sgd
torch.manual_seed(0)
rng = np.random.default_rng(0)
images, labels = rng.random((100, 49), dtype=np.float32), rng.integers(0, 5, 100)
nesterov = sgd.Optimiser(0.9, True)
engine = Engine(networks.fully_connected(49, 16, 5), images, labels, 32, nesterov)
digest = hashlib.sha256(engine.gradient(np.arange(20))[1].tobytes())
for _ in range(5):
    engine.epoch(rng.permutation(100), 0.1)
engine.descend_all(3, 0.1, shares=rng.random((3, 100), dtype=np.float32) / 50)
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
    assert np.isnan(engine.epoch(np.arange(64), 0.1)[0]).all()
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
    with pytest.raises(CompiledError, match=words):
        Engine(networks.fully_connected(49, 16, 5), **given)
