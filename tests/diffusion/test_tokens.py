"""A dataset of tokens, from the user's function to the gradients of an embedding."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from limitcycles import datasets
from limitcycles.diffusion import gradient_store, gradients
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage import store
from limitcycles.training import sgd
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.layers import CompiledError

WORDS, LENGTH = 1000, 6  # more than float16 or bfloat16 could tell apart


def reader(words=WORDS):
    return nn.Sequential(nn.Embedding(words, 3), nn.Flatten(), nn.Linear(3 * LENGTH, 2))


def load(examples=40):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, WORDS, (examples, LENGTH))
    return tokens, tokens[:, 0] % 2, tokens[:8], tokens[:8, 0] % 2


@pytest.fixture
def dataset(monkeypatch):
    module = types.ModuleType("made_up")
    module.load, module.reader = load, reader
    monkeypatch.setitem(sys.modules, "made_up", module)
    return datasets.build({"source": "made_up:load"}, log=lambda _: None)


def run(**changes):
    plain = {
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": {"start": 0.1, "factor": 0.2, "at": [0.5]},
        "optimiser": {"kind": "sgd"},
        "weight_decay": 0.0,
        "augmentation": None,
        "sampler": "without-replacement",
        "snapshots": [0, 100],
        "checkpoint_seconds": 20,
    }
    return {
        "run": "words",
        "network": {"builder": "made_up:reader", "options": {}, "weights": None},
        "dataset": {"source": "made_up:load"},
        "training": plain | changes,
    }


def test_tokens_stay_whole(dataset, tmp_path):
    assert dataset["train_image"].dims == ("train", "position")
    assert dataset["train_image"].attrs["units"] == "token"
    store.save(dataset, tmp_path / "words.zarr.zip")
    tokens, labels = sgd.tensors(store.load(tmp_path / "words.zarr.zip"), "train", "cpu")
    assert tokens.dtype == labels.dtype == torch.int64
    np.testing.assert_array_equal(tokens.numpy(), load()[0])


def test_an_embedding_is_trained_and_its_gradients_are_those_of_a_loop(dataset, tmp_path):
    trained = sgd.train(dataset, run(), 0, tmp_path / "state")
    assert trained["train_loss"].values[-1] < trained["train_loss"].values[0]
    gradients.write(trained, dataset, 100, tmp_path / "g.zarr", precision="float64")
    rows = gradient_store.open_store(tmp_path / "g.zarr")["gradient"][:]
    network = gradients.snapshot_network(trained, 100, "float64")
    tokens, labels = sgd.tensors(dataset, "train", "cpu")
    for row, token, label in zip(rows, tokens, labels, strict=True):
        network.zero_grad()
        nn.functional.cross_entropy(network(token[None]), label[None]).backward()
        one = torch.cat([p.grad.reshape(-1) for p in network.parameters()]).numpy()
        np.testing.assert_allclose(row, one, atol=1e-12)


def test_only_images_are_augmented(dataset, tmp_path):
    shifts = run(augmentation={"flip": True, "pad": 1})
    with pytest.raises(LimitcyclesError, match=r"training\.augmentation of words: .* has tokens"):
        sgd.train(dataset, shifts, 0, tmp_path / "state", name="words")
    assert not (tmp_path / "state").exists()


def test_a_trajectory_takes_images_only(dataset):
    network = nn.Sequential(nn.Linear(LENGTH, 2))
    with pytest.raises(CompiledError, match="the inputs are int64, tokens for an embedding"):
        Engine(network, dataset["train_image"].values, dataset["train_label"].values, 8)


def test_an_embedding_with_too_few_rows_is_refused_before_training(dataset, tmp_path):
    small = run()
    small["network"] = small["network"] | {"options": {"words": int(dataset["train_image"].max())}}
    with pytest.raises(LimitcyclesError, match="index out of range"):
        sgd.train(dataset, small, 0, tmp_path / "state")
    assert not (tmp_path / "state").exists()
