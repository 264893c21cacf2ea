"""Small networks of every kind: right, or refused with a sentence before anything is done."""

import network_zoo as zoo
import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
from helpers import one_thread, row_by_row  # noqa: F401

from limitcycles.diffusion import gradients
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.seeds import stream
from limitcycles.training import networks, sgd
from limitcycles.training.first_look import look
from limitcycles.training.samplers import batches
from limitcycles.training.trajectories import recording

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths",
    "ignore:LSTM with projections is not supported with oneDNN",
)
LOOP = {
    *("RNN", "GRU", "LSTM with projection", "RNNCell", "GRUCell", "LSTMCell"),
    *("straight-through rounding", "backward hook", "layer that some blocks call"),
    *("hard mixture of experts", "if on each example"),
}
# Found only where it is trained.
IN_TRAINING = {
    *("tuple of outputs in training", "state that a snapshot would lose"),
    *("complex buffer that moves", "BatchNorm and batches of one"),
    *("layer that is frozen while it runs", "double precision on tokens"),
}


def of(name, seed=0):
    torch.manual_seed(seed)
    return zoo.build(name), *zoo.data(name)


def close(rows, expected, tolerance):
    """To `tolerance` of the largest gradient of all weights and examples."""
    assert expected.abs().max() > 0
    assert (rows - expected).abs().max() <= tolerance * expected.abs().max()


def doubled(inputs):
    return inputs.double() if inputs.is_floating_point() else inputs


def test_the_zoo_is_large():
    assert len(zoo.RIGHT) >= 90
    assert len(zoo.REFUSED) >= 40
    assert not zoo.RIGHT.keys() & zoo.REFUSED.keys()


@pytest.mark.parametrize("name", zoo.RIGHT)
def test_per_sample_gradients_are_those_of_a_loop(name):
    network, inputs, labels = of(name)
    rows = PerSampleGradients(network, inputs, labels)
    assert (rows.method == "loop") == (name in LOOP) == (rows.slow is not None)
    assert rows.weights == networks.count_weights(network)
    expected = row_by_row(network.double(), doubled(inputs), labels)
    close(rows(inputs, labels), expected, 2e-5)
    parts = [part.clone() for _, part in rows.blocks(inputs, labels, 5, threads=2, block=3)]
    close(torch.cat(parts), expected, 2e-5)
    double = PerSampleGradients(network, doubled(inputs), labels)
    close(double(doubled(inputs), labels), expected, 1e-10)


@pytest.mark.parametrize("name", zoo.RIGHT)
def test_training_and_the_gradients_of_its_snapshot(name, tmp_path):
    settings, data, seed = zoo.run(name), zoo.dataset(name), 5
    stored = sgd.train(data, settings, seed, tmp_path, device="cpu")
    images, labels = sgd.tensors(data, "train", "cpu")
    # The same by the textbook.
    torch.manual_seed(stream(seed, "initialisation"))
    network = networks.channels_last(zoo.build(name)).train()
    torch.manual_seed(stream(seed, "dropout"))
    weights = [p for p in network.parameters() if p.requires_grad]
    velocity = [torch.zeros_like(p) for p in weights]
    order = torch.Generator().manual_seed(stream(seed, "sampler"))
    for _ in range(zoo.EPOCHS):
        for index in batches("without-replacement", len(labels), zoo.batch_size(name), order):
            loss = F.cross_entropy(network(images[index]), labels[index])
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            with torch.no_grad():
                for p, v, g in zip(weights, velocity, slopes, strict=True):
                    if g is not None:
                        v.mul_(zoo.MOMENTUM).add_(g)
                        p.sub_(zoo.RATE * v)
    expected = torch.cat([p.detach().reshape(-1) for p in weights]).numpy()
    np.testing.assert_allclose(stored["weights"][-1], expected, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(stored["weights"][0], stored["weights"][1])
    # Its snapshot is the whole network.
    restored = gradients.snapshot_network(stored, 100)
    close(restored(images), network.eval()(images), 1e-4)
    expected = row_by_row(restored.double(), doubled(images), labels)
    kept = gradients.write(stored, data, 100, tmp_path / "gradients.zarr", device="cpu")
    close(torch.from_numpy(kept["gradient"].values), expected, 2e-5)


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_refused_in_a_sentence_before_anything_is_done(name, tmp_path):
    (network, inputs, labels), (_, words) = of(name), zoo.REFUSED[name]
    with pytest.raises(LimitcyclesError, match=words) as error:
        look(network, inputs, labels, batch_size=zoo.batch_size(name))
    assert "\n" not in str(error.value)
    if name not in IN_TRAINING:
        with pytest.raises(LimitcyclesError, match=words):
            PerSampleGradients(*of(name))
    made = zoo.dataset(name), zoo.run(name), 0, tmp_path / "state"
    with small_runs.Steps() as steps, pytest.raises(LimitcyclesError, match=words):
        sgd.train(*made, device="cpu")
    assert len(steps) == 0
    with pytest.raises(LimitcyclesError, match=words):
        recording.record(*made)
    assert not list(tmp_path.iterdir())
