"""Every kind of network in training and at a constant rate, against loops by hand in float64."""

import copy
from pathlib import Path

import network_zoo as zoo
import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
import xarray as xr
from helpers import one_thread  # noqa: F401
from torch import Tensor, nn

from limitcycles.diffusion import gradients, spectrum
from limitcycles.training import constant_rate, networks, sgd

DECAY, BATCH = 0.01, 5


def settings(name: str, **changes) -> dict:
    return zoo.run(name, batch_size=BATCH, weight_decay=DECAY, **changes)


def at_start(name: str, result: xr.Dataset) -> nn.Module:
    """The network before training, in training mode."""
    first = result.isel(snapshot=0)
    return networks.restore(zoo.build(name), first["weights"].values, first["buffers"].values)


def draws(network: nn.Module, inputs: Tensor) -> bool:
    """Whether its outputs in training mode are drawn at random."""
    one, two = (copy.deepcopy(network).train()(inputs) for _ in range(2))
    return not torch.equal(one, two)


def precise(network: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    inputs = inputs.double() if inputs.is_floating_point() else inputs  # tokens stay whole
    return network.double().train(), inputs


def by_hand(network: nn.Module, inputs, labels, batches, rate, decay=0.0, momentum=0.0):
    """SGD over the batches; the weights (steps, d) after each, and the gradients."""
    network, inputs = precise(network, inputs)
    weights = [p for p in network.parameters() if p.requires_grad]
    velocity, path, gradients = [None] * len(weights), [], []
    for index in batches:
        network.zero_grad()
        F.cross_entropy(network(inputs[index]), labels[index]).backward()
        found = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]
        gradients.append(torch.cat([g.ravel() for g in found]).numpy())
        with torch.no_grad():
            for i, (w, g) in enumerate(zip(weights, found, strict=True)):
                if w.grad is None:  # no weight decay either
                    continue
                g = g + decay * w
                velocity[i] = g if velocity[i] is None else momentum * velocity[i] + g
                w -= rate * velocity[i]
            path.append(torch.cat([w.ravel() for w in weights]).numpy())
    return np.array(path), np.array(gradients)


@pytest.mark.parametrize("name", zoo.RIGHT)
def test_training_and_going_on_at_a_constant_rate(name, plans, tmp_path: Path):
    torch.manual_seed(0)
    inputs, labels = zoo.data(name)
    result = sgd.train(zoo.dataset(name), settings(name), 0, tmp_path / "whole")
    order = [index for plan in plans for index in plan]

    parts = settings(name, checkpoint_seconds=0)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            sgd.train(zoo.dataset(name), parts, 0, tmp_path / "parts", limit_seconds=0)
    parts["training"]["checkpoint_seconds"] = 1e9
    again = sgd.train(zoo.dataset(name), parts, 0, tmp_path / "parts")
    for key in ("weights", "buffers", "train_loss", "test_loss"):
        np.testing.assert_array_equal(again[key], result[key])

    index = torch.randint(len(labels), (9, BATCH), generator=torch.Generator().manual_seed(0))
    walker, exact = precise(at_start(name, result), inputs)
    found = constant_rate.descend(walker, exact, labels, index, zoo.RATE)
    if draws(at_start(name, result), inputs):
        return
    path, _ = by_hand(at_start(name, result), inputs, labels, order, zoo.RATE, DECAY, zoo.MOMENTUM)
    np.testing.assert_allclose(result["weights"].values[-1], path[-1], rtol=0, atol=2e-6)
    path, gradients = by_hand(at_start(name, result), inputs, labels, index, zoo.RATE)
    variance = path[4:].var(0, ddof=1).mean()
    assert found["variance"] == pytest.approx(variance, rel=1e-7)
    noise = gradients[4:].var(0, ddof=1).mean()
    assert found["late_gradient_variance"] == pytest.approx(noise, rel=1e-7)


def test_from_training_to_the_spectrum_of_what_sgd_moves(tmp_path: Path):
    """Softmax regression on what a frozen layer gives: D from its formula, in float64."""
    data = small_runs.digits()
    spec = {"builder": "small_runs:partly_frozen", "weights": 650}
    run = sgd.train(data, small_runs.run(spec, optimiser=small_runs.sgd()), 0, tmp_path)
    gradients.write(run, data, 100, tmp_path / "rows.zarr", precision="float64", device="cpu")
    options = {"exact_up_to": 1000, "leading": 400, "tolerance": 1e-4, "seed": 0}
    found = spectrum.of_gradients(tmp_path / "rows.zarr", options | {"memory_mib": 1024}, "cpu")

    network = gradients.snapshot_network(run, 100, "float64")
    images, labels = sgd.tensors(data, "train", "cpu")
    with torch.no_grad():
        hidden = network.a(images.double().flatten(1)).relu()
        rest = network.b(hidden).softmax(1) - F.one_hot(labels, 10)
    rows = torch.cat([(rest[:, :, None] * hidden[:, None]).flatten(1), rest], 1)
    exact = torch.linalg.svdvals((rows - rows.mean(0)) / len(rows) ** 0.5).square()
    assert found.attrs["weights"] == 650
    assert found.attrs["trace"] == pytest.approx(float(exact.sum()), rel=1e-10)
    leading = found["eigenvalue"].values[:100]
    np.testing.assert_allclose(leading, exact[:100], rtol=1e-8)
    assert found.attrs["rank_float32"] == int((exact > 650 * 2.0**-23 * exact[0]).sum())
