"""Small networks of every kind: right, or refused with a sentence before anything is done."""

import network_zoo as zoo
import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
import xarray as xr
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
EPOCHS, RATE = 2, 0.05
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


def dataset(name) -> xr.Dataset:
    inputs, labels = zoo.data(name)
    axes = ("position",) if inputs.ndim == 2 else ("channel", "height", "width")
    arrays = {}
    for part in ("train", "test"):
        arrays[f"{part}_image"] = ((part, *axes), inputs.numpy())
        arrays[f"{part}_label"] = ((part,), labels.numpy())
    return xr.Dataset(arrays, attrs={"sha256": name})


def run(name) -> dict:
    return {
        "network": {"builder": "network_zoo:build", "options": {"name": name}},
        "dataset": {"source": "made up"},
        "training": {
            "epochs": EPOCHS,
            "batch_size": zoo.ZOO[name].batch_size,
            "learning_rate": {"start": RATE, "factor": 1.0, "at": []},
            "optimiser": {"kind": "sgd", "options": {"momentum": 0.5}},
            "weight_decay": 0.0,
            "augmentation": None,
            "sampler": "without-replacement",
            "snapshots": [0, 100],
            "checkpoint_seconds": 1e9,
        },
    }


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
    settings, data, seed = run(name), dataset(name), 5
    stored = sgd.train(data, settings, seed, tmp_path, device="cpu")
    images, labels = sgd.tensors(data, "train", "cpu")
    # The same by the textbook.
    torch.manual_seed(stream(seed, "initialisation"))
    network = networks.channels_last(zoo.build(name)).train()
    torch.manual_seed(stream(seed, "dropout"))
    weights = [p for p in network.parameters() if p.requires_grad]
    velocity = [torch.zeros_like(p) for p in weights]
    order = torch.Generator().manual_seed(stream(seed, "sampler"))
    for _ in range(EPOCHS):
        for index in batches(
            "without-replacement", len(labels), settings["training"]["batch_size"], order
        ):
            loss = F.cross_entropy(network(images[index]), labels[index])
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            with torch.no_grad():
                for p, v, g in zip(weights, velocity, slopes, strict=True):
                    if g is not None:
                        v.mul_(0.5).add_(g)
                        p.sub_(RATE * v)
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
def test_refused_by_the_first_look(name):
    network, inputs, labels = of(name)
    words = zoo.ZOO[name].refused
    with pytest.raises(LimitcyclesError, match=words) as error:
        look(network, inputs, labels, batch_size=zoo.ZOO[name].batch_size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [n for n in zoo.REFUSED if n not in IN_TRAINING])
def test_refused_by_per_sample_gradients(name):
    with pytest.raises(LimitcyclesError, match=zoo.ZOO[name].refused):
        PerSampleGradients(*of(name))


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_refused_before_any_training(name, tmp_path):
    with small_runs.Steps() as steps, pytest.raises(LimitcyclesError, match=zoo.ZOO[name].refused):
        sgd.train(dataset(name), run(name), 0, tmp_path / "state", device="cpu")
    assert len(steps) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_refused_before_any_trajectory(name, tmp_path):
    with pytest.raises(LimitcyclesError, match=zoo.ZOO[name].refused):
        recording.record(dataset(name), run(name), 0, tmp_path / "state")
    assert not list(tmp_path.iterdir())
