"""What the first look says and leaves alone; what it refuses is in `network_zoo`."""

import copy

import network_zoo as zoo
import pytest
import small_runs
import torch
import xarray as xr
from torch import nn

from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training import sgd
from limitcycles.training.first_look import EXAMPLES, BatchCouplingError, look, spread
from limitcycles.training.networks import NetworkError


def of(name):
    torch.manual_seed(0)
    return zoo.build(name), *zoo.data(name)


@pytest.mark.parametrize("name", ["dropout", "BatchNorm first", "spectral normalisation", "GRU"])
def test_network_data_and_random_numbers_are_left_alone(name):
    network, inputs, labels = of(name)
    before, kept = copy.deepcopy(network.state_dict()), inputs.clone()
    random = torch.get_rng_state()
    look(network.train(), inputs, labels, batch_size=4)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("count", [1, 2, EXAMPLES, EXAMPLES + 1, 1000])
def test_examples_are_spread_over_all(count):
    at = spread(count, EXAMPLES)
    assert len(at) == len(at.unique()) == min(count, EXAMPLES)
    assert at[0] == 0
    assert at[-1] == count - 1


@pytest.mark.parametrize("name", ["embedding", "fully connected", "LSTM"])
def test_one_example_is_enough(name):
    network, inputs, labels = of(name)
    look(network, inputs[:1], labels[:1], batch_size=4)


def test_examples_that_only_some_pairs_couple():
    """The first examples of the dataset alone would not show it."""

    def forward(s, x):
        x = x.flatten(1)
        return s.a(x) + x[:, :1].clamp_min(0).sum()

    inputs, labels = zoo.data("fully connected")
    inputs[:, 0, 0, 0] = -1
    network = zoo.Net(forward, a=nn.Linear(zoo.PIXELS, zoo.CLASSES))
    look(network, inputs, labels)
    inputs[-1, 0, 0, 0] = 1
    with pytest.raises(BatchCouplingError, match=r"\(the network itself \(Net\)\)"):
        look(network, inputs, labels)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_pixels_that_are_not_finite(value):
    network, inputs, labels = of("fully connected")
    inputs[0, 0, 2, 3] = value
    with pytest.raises(NetworkError, match="pixels that are NaN or infinite"):
        look(network, inputs, labels)


def test_classes_that_only_the_test_set_has(tmp_path):
    digits = small_runs.digits()
    digits = digits.assign(test_label=digits["test_label"] + (digits["test_label"] == 9))
    settings = small_runs.run({"builder": "small_runs:linear"})
    with pytest.raises(NetworkError, match=r"10 outputs.*labels.*up to 10: .* 11 outputs"):
        sgd.train(digits, settings, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_unit_at_its_kink_is_no_coupling():
    """Rounding may put it on either side of 0, and with it the gradient of its example."""
    torch.manual_seed(0)
    network = zoo.hidden(nn.BatchNorm1d(50), nn.ReLU(), hidden=50)
    inputs, labels = zoo.data("fully connected")
    with torch.no_grad():  # the units of the first example are 0 but for rounding
        network[2].running_mean.copy_(network[1](inputs[:1].flatten(1))[0])
    look(network, inputs, labels)
    assert PerSampleGradients(network, inputs, labels).method == "layers"


def test_a_token_that_only_the_test_set_has(tmp_path):
    network = {"builder": "network_zoo:build", "options": {"name": "embedding"}}
    tokens, labels = zoo.data("embedding")
    words = {"train": tokens, "test": tokens.clone()}
    words["test"][5, 2] = zoo.WORDS
    data = xr.Dataset(
        {f"{part}_image": ((part, "position"), its.numpy()) for part, its in words.items()}
        | {f"{part}_label": ((part,), labels.numpy()) for part in words},
        attrs={"sha256": "made up"},
    )
    with pytest.raises(NetworkError, match=r"in layer 0 \(Embedding\).*out of range"):
        sgd.train(data, small_runs.run(network, batch_size=4), 0, tmp_path)
    assert not list(tmp_path.iterdir())


class Failing(nn.Module):
    """Fails on the last batches only in a branch of training mode."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), zoo.Do(self.fails), nn.Linear(zoo.PIXELS, 4))

    def fails(self, x):
        if self.training:
            raise KeyError("no such\nthing")
        return x

    def forward(self, x):
        return self.inner(x)


def test_a_failure_names_mode_layer_and_shape_on_one_line():
    inputs, labels = zoo.data("fully connected")
    look(Failing(), inputs, labels)
    words = (
        r"fails in training mode, in layer inner\.1 \(Do\), on float32 inputs \(batch, \.\.\.\) of "
        r"shape \(3, 1, 6, 6\): KeyError: [^\n]*$"
    )
    with pytest.raises(NetworkError, match=words):
        look(Failing(), inputs, labels, batch_size=3)


def test_every_sentence_of_the_zoo_says_something_else():
    """No refusal stands for another one: a look that refuses all would not pass."""
    found = {}
    for name in zoo.REFUSED:
        network, inputs, labels = of(name)
        with pytest.raises(LimitcyclesError) as error:
            look(network, inputs, labels, batch_size=zoo.batch_size(name))
        found[name] = str(error.value)
    assert len(set(found.values())) >= 35
