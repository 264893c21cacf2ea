"""Hessian and noise against autograd loops, per-sample gradients and enumeration."""

import itertools

import numpy as np
import pytest
import torch
from helpers import one_thread, row_by_row  # noqa: F401
from torch import nn

from limitcycles.diffusion import curvature
from limitcycles.theory.linear_sgd import LinearSGD
from limitcycles.training import networks
from limitcycles.training.compiled.engine import Engine

PIXELS, CLASSES = 6, 3


def network(norm: bool, seed=0, hidden=5) -> nn.Sequential:
    torch.manual_seed(seed)
    model = networks.fully_connected(PIXELS, hidden, CLASSES, norm)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.train()


def data(count, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, PIXELS)).astype(np.float32)
    return images, rng.integers(0, CLASSES, count)


def plain_hessian(model, images, labels, batches):
    """By autograd twice, one batch and one row at a time."""
    model = model.double()
    rows = []
    for index in batches:
        x, y = torch.from_numpy(images[index]).double(), torch.from_numpy(labels[index])
        parameters = [p for p in model.parameters() if p.requires_grad]
        loss = nn.functional.cross_entropy(model(x), y)
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in first])
        rows.append(
            torch.stack(
                [
                    torch.cat([
                        g.reshape(-1)
                        for g in torch.autograd.grad(
                            entry, parameters, retain_graph=True, materialize_grads=True
                        )
                    ])
                    for entry in flat
                ]
            )
        )  # fmt: skip
    return torch.stack(rows).mean(0).numpy()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("frozen", [False, True])
def test_hessian_by_autograd(norm, frozen):
    model, (images, labels) = network(norm), data(20)
    model[1].weight.requires_grad_(not frozen)
    before = networks.flatten(model)
    batches = [np.arange(0, 8), np.array([3, 9, 11, 12, 19])]
    whole = curvature.hessian(model, images, labels, batches)
    for kept, now in zip(before, networks.flatten(model), strict=True):
        assert torch.equal(kept, now)
    expected = plain_hessian(model, images, labels, batches)
    np.testing.assert_allclose(whole, expected, atol=1e-12)
    assert np.abs(whole - whole.T).max() < 1e-12
    directions = np.random.default_rng(0).standard_normal((4, len(whole)))
    along = curvature.hessian(model, images, labels, batches, directions)
    np.testing.assert_allclose(along, directions @ expected, atol=1e-12)


def test_hessian_is_the_slope_of_the_engines_gradient():
    # No ReLU near its kink: a step of 1e-3 in a direction, float32 gradients.
    model, (images, labels) = network(True, seed=3), data(64, 3)
    engine = Engine(model, images, labels, 64)
    index = np.arange(64)
    start = engine.weights
    direction = np.random.default_rng(1).standard_normal(len(start))
    direction /= np.linalg.norm(direction)
    ends = []
    for sign in (1, -1):
        weights = (start + sign * 1e-3 * direction).astype(np.float32)
        engine.restore(engine.state() | {"weights": weights})
        ends.append(engine.gradient(index)[1].astype(float))
    slope = (ends[0] - ends[1]) / 2e-3
    exact = curvature.hessian(model, images, labels, [index], direction[None])[0]
    assert np.abs(slope - exact).max() < 0.03 * np.abs(exact).max()


def test_leading_eigenvectors():
    model, (images, labels) = network(True), data(60)
    batches = [np.arange(0, 30), np.arange(30, 60)]
    whole = plain_hessian(network(True), images, labels, batches)
    expected = np.linalg.eigvalsh(whole)[::-1]
    values, vectors = curvature.leading(model, images, labels, batches, 4, coarse=2)
    np.testing.assert_allclose(values, expected[:4], rtol=1e-5)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(vectors @ whole, values[:, None] * vectors, atol=1e-4)
    assert (vectors.max(1) > -vectors.min(1)).all()


def per_sample(model, images, labels):
    return row_by_row(model, torch.from_numpy(images).double(), torch.from_numpy(labels)).numpy()


def test_noise_without_batch_norm_is_that_of_per_sample_gradients():
    model, (images, labels) = network(False), data(42)
    rows = per_sample(model.double(), images, labels)
    D = np.cov(rows.T, ddof=0)
    directions = np.linalg.eigh(D)[1][:, ::-1][:, :3].T.copy()
    D = directions @ D @ directions.T
    engine = Engine(model.float(), images, labels, 8)
    for replacement in (False, True):
        found = curvature.noise(
            engine, directions, np.random.default_rng(0), replacement=replacement,
            batches=20000, passes=2000, last=6000,
        )  # fmt: skip
        size = np.sqrt(np.outer(np.diag(D), np.diag(D)))
        assert np.abs((found.diffusion - D) / size).max() < 0.06
        assert np.abs(found.rest / size).max() < 0.06
        assert found.last is None  # examples alone: the common formula is exact
    exact = curvature.whole_batch_diffusion(model, images, labels, directions)
    np.testing.assert_allclose(exact, D, rtol=1e-9, atol=1e-12)


def test_noise_with_batch_norm_by_all_shuffles():
    # Eight examples in two batches: all 70 passes.
    model, (images, labels) = network(True, seed=1), data(8, 1)
    engine = Engine(model, images, labels, 4)
    directions = np.eye(len(engine.weights))[[0, 7, 40]]
    halves = [np.array(c) for c in itertools.combinations(range(8), 4)]
    ones = np.array([engine.gradient(h)[1] for h in halves]) @ directions.T
    others = ones[::-1]  # the complement: combinations come in that order
    C, P = np.cov(ones.T, ddof=0), np.cov((ones + others).T, ddof=0)
    found = curvature.noise(
        engine, directions, np.random.default_rng(0), replacement=False,
        batches=20000, passes=10000, last=0,
    )  # fmt: skip
    size = np.sqrt(np.outer(np.diag(C), np.diag(C)))
    np.testing.assert_allclose(
        (found.diffusion / 4 * 4 / 7 + found.rest / 4) / size, C / size, atol=0.05
    )
    np.testing.assert_allclose(2 * found.rest / 4 / size, P / size, atol=0.05)
    assert np.diag(P).max() > 0.3 * np.diag(C).max()  # shuffling leaves a lot
    # What the two-part noise gives for a pass is what a pass has.
    one = LinearSGD(np.zeros((3, 3)), curvature._definite(found.diffusion), 1.0, 4)
    step = one.epoch(8, replacement=False, rest=curvature._definite(found.rest))
    np.testing.assert_allclose(step.noise / size, P / size, atol=0.1)


def test_an_epoch_with_a_last_batch_of_its_own():
    H, D, last = np.diag([1.0, 2.0]), np.diag([0.3, 0.1]), np.array([[5.0, 1.0], [1.0, 3.0]])
    noise = curvature.Noise(D, 0.1 * np.eye(2), last)
    own = 3 * H
    found = curvature.epoch_of(H, noise, 10, 4, 0.1, replacement=True, momentum=0.9, last=own)
    A, B = (LinearSGD(h, D, 0.1, 4, 0.9) for h in (H, own))
    np.testing.assert_allclose(
        found.transition, B.transition @ A.transition @ A.transition, atol=1e-14
    )
    alone = curvature.epoch_of(
        H, curvature.Noise(0 * D, 0 * D, last), 10, 4, 0.1, replacement=True, momentum=0.9, last=own
    )
    np.testing.assert_allclose(alone.noise, B.entry @ last @ B.entry.T / 2, atol=1e-14)
    without = curvature.epoch_of(H, curvature.Noise(D, 0 * D, None), 8, 4, 0.1, replacement=True)
    np.testing.assert_allclose(without.noise, LinearSGD(H, D, 0.1, 4).epoch(8).noise)


def test_the_noise_of_a_shuffled_epoch_with_a_last_batch_by_all_orders():
    """The noise of examples alone, its last batch measured: what all 8! shuffles of a pass give."""
    rng = np.random.default_rng(3)
    examples = rng.standard_normal((8, 2))
    examples -= examples.mean(0)
    D = examples.T @ examples / 8
    H, rate, b = np.array([[1.0, 0.3], [0.3, 0.5]]), 0.2, 3
    last = D * (8 - 2) / (8 - 1)  # b' times the covariance of two examples of eight
    noise = curvature.Noise(D, 0 * D, last)
    found = curvature.epoch_of(H, noise, 8, b, rate, replacement=False)
    orders = np.array(list(itertools.permutations(range(8))))
    A, total = np.eye(2) - rate * H, np.zeros((len(orders), 2))
    for start, stop in ((0, 3), (3, 6), (6, 8)):
        total = total @ A.T - rate * examples[orders[:, start:stop]].mean(1)
    np.testing.assert_allclose(found.noise, total.T @ total / len(orders), rtol=1e-9, atol=1e-12)


def test_too_few_examples():
    model, (images, labels) = network(True), data(7)
    engine = Engine(model, images, labels, 4)
    with pytest.raises(curvature.CurvatureError, match="two batches of 4"):
        curvature.noise(
            engine, np.eye(1, len(engine.weights)), np.random.default_rng(0), replacement=False,
            batches=1, passes=1, last=1,
        )  # fmt: skip
