"""Networks that the compiled loops and ensembles take or refuse, and their first step."""

import copy
import dataclasses
import types

import network_zoo as zoo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from compiled_problem import problem
from helpers import one_thread  # noqa: F401
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from limitcycles.training import networks
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.ensemble import Ensemble
from limitcycles.training.compiled.layers import CompiledError, Layers

MACHINES = {
    "compiled": Engine,
    "ensemble": lambda network, *data: Ensemble([network, network], *data),
}
BATCH = 6


def test_shape_of_the_papers_network():
    layers = Layers.of(networks.fully_connected(49, 16, 5))
    assert (layers.weights, layers.moments) == (917, 16)


def by_autograd(network, images, labels):
    """Gradient (d,) of the mean loss in training mode, in float64."""
    network = copy.deepcopy(network).double().train()
    F.cross_entropy(network(images.double()), labels).backward()
    return torch.cat([p.grad.ravel() for p in network.parameters()])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_network_of_the_zoo_is_right_or_refused(name, machine):
    torch.manual_seed(0)
    network, (images, labels) = zoo.build(name), zoo.data(name)
    batch = zoo.batch_size(name)
    data = images.numpy(), labels.numpy(), batch
    made, sentence = None, ""
    try:
        made = MACHINES[machine](network, *data)
    except CompiledError as error:
        sentence = str(error)
    assert len(sentence.splitlines()) == (made is None)
    if made is None:
        assert name not in zoo.COMPILED
        return
    assert name in zoo.RIGHT
    index = np.random.default_rng(0).permutation(len(images))[:batch]
    expected = by_autograd(network, images[index], labels[index])
    _, gradient = made.gradient(index if machine == "compiled" else np.tile(index, (2, 1)))
    for found in np.atleast_2d(gradient):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


# ----------------------------------------------------------------------- not as torch made it


def sequence(*between, first=None):
    return nn.Sequential(first or nn.Linear(7, 3), *between, nn.ReLU(), nn.Linear(3, 2))


def normed(**options):
    return sequence(nn.BatchNorm1d(3, **options))


def own_forward(network):
    half = types.MethodType(lambda self, x: 0.5 * F.linear(x, self.weight), network[0])
    network[0].forward = half


def other_shape(network):
    network[0].weight = nn.Parameter(torch.zeros(4, 7))


def bias_for_all(network):
    network[0].bias = nn.Parameter(torch.zeros(1))


def own_kind(network):
    class Mine(nn.Parameter):
        pass

    network[0].weight = Mine(torch.zeros(3, 7))


def two_momenta(network):
    network.extend([nn.ReLU(), nn.Linear(2, 2)])
    network.insert(4, nn.BatchNorm1d(2, momentum=0.2))


def extra(network):
    network[0].extra = nn.Linear(2, 2)


CHANGES = {
    "forward of its own": (own_forward, r"layer 0 \(Linear\) has a forward of its own"),
    "forward hook": (lambda n: n[2].register_forward_hook(lambda m, i, o: 2 * o),
        r"layer 2 \(ReLU\) has a hook"),
    "hook before": (lambda n: n[1].register_forward_pre_hook(lambda m, i: None),
        r"layer 1 \(Batch.* has a hook"),
    "backward hook": (lambda n: n[0].register_full_backward_hook(lambda m, i, o: None),
        "layer 0.* has a hook"),
    "hook before going back": (
        lambda n: n[0].register_full_backward_pre_hook(lambda m, o: None), "layer 0.* has a hook"),
    "hook of the sequence": (
        lambda n: n.register_forward_hook(lambda m, i, o: 2 * o), "the sequence has a hook"),
    "hook of a weight": (
        lambda n: n[0].weight.register_hook(lambda g: 2 * g), r"0\.weight has a hook"),
    "hook after the gradient": (
        lambda n: n[3].bias.register_post_accumulate_grad_hook(lambda p: None),
        r"3\.bias has a hook"),
    "weights of its own": (
        lambda n: n.register_parameter("scale", nn.Parameter(torch.ones(1))),
        "the sequence has parameters that"),
    "more weights": (lambda n: n[2].register_parameter("scale", nn.Parameter(torch.ones(1))),
        r"layer 2 \(ReLU\) has parameters that"),
    "a layer in a layer": (extra, r"layer 0 \(Linear\) has layers of its own"),
    "a kind of parameter": (own_kind, r"0\.weight is a Mine"),
    "frozen": (lambda n: n[1].bias.requires_grad_(False), r"1\.bias is frozen"),
    "double precision": (lambda n: n[3].double(), "float64, not float32"),
    "moments in double precision": (
        lambda n: setattr(n[1], "running_var", torch.ones(3).double()),
        "running_var of torch.float64"),
    "another shape": (other_shape, r"outputs and a bias of shape \(3,\)"),
    "one bias for all": (bias_for_all, r"3 outputs and a bias of shape \(1,\)"),
    "moments not heeded": (
        lambda n: setattr(n[1], "track_running_stats", False), "track_running_stats=True"),
    "two momenta": (two_momenta, r"layer 4.*other eps and momentum than the first, \(1e-05"),
}  # fmt: skip
NETWORKS = {
    "no sequence": (nn.Linear(3, 2), r"a torch\.nn\.modules\.linear\.Linear is not"),
    "empty": (nn.Sequential(), "no layers"),
    "no linear layer": (nn.Sequential(nn.Flatten()), "ends with nothing"),
    "convolution": (nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(4, 2)), r"layer 0 \(Conv2d\)"),
    "tanh": (sequence(nn.Tanh()), r"layer 1 \(Tanh\) is none of Flatten, Linear"),
    "ends with ReLU": (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "ends with ReLU"),
    "no bias": (nn.Sequential(nn.Linear(3, 2, bias=False)), r"layer 0 \(Linear\) has no bias"),
    "normalised late": (sequence(nn.ReLU(), nn.BatchNorm1d(3)), r"layer 2.*where Linear would"),
    "two linear layers": (sequence(nn.Linear(3, 3)), r"layer 1.*where BatchNorm1d or ReLU would"),
    "sizes that do not fit": (sequence(first=nn.Linear(7, 4)), "takes 3 numbers and gets 4"),
    "moments that do not fit": (sequence(nn.BatchNorm1d(2)), "takes 2 numbers and gets 3"),
    "plain means": (normed(momentum=None), "momentum=None"),
    "no momentum": (normed(momentum=0.0), r"momentum=0\.0"),
    "no scale": (normed(affine=False), "affine=True"),
    "no moments": (normed(track_running_stats=False), "track_running_stats=True"),
    "half a Flatten": (sequence(first=nn.Flatten(2)), r"\(2, -1\), not \(1, -1\)"),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", [*CHANGES, *NETWORKS])
def test_what_is_refused(name, machine):
    if name in NETWORKS:
        network, words = NETWORKS[name]
    else:
        network = normed()
        change, words = CHANGES[name]
        change(network)
    data = np.zeros((4, 7), np.float32), np.arange(4) % 2, 2
    with pytest.raises(CompiledError, match=f"compiled loops take.*{words}.*as a run"):
        MACHINES[machine](network, *data)


def test_a_second_member_is_looked_at_as_well():
    first, second = normed(), normed()
    second[0].weight.requires_grad_(False)
    with pytest.raises(CompiledError, match=r"0\.weight is frozen"):
        Ensemble([first, second], np.zeros((4, 7), np.float32), np.arange(4) % 2, 2)


# ------------------------------------------------------------------------------- first step


@pytest.fixture(params=MACHINES)
def make(request):
    """A machine on a small problem, its network untouched so far."""
    network, images, labels = problem((7, 5, 3))
    return lambda: MACHINES[request.param](network, images, labels, 32)


def leaky(self, x):
    return F.leaky_relu(x, 0.2)


def test_a_class_that_was_changed(make, monkeypatch):
    make()
    monkeypatch.setattr(nn.ReLU, "forward", leaky)
    with pytest.raises(CompiledError, match=r"another network.*of its gradient.*on 32 examples"):
        make()


def test_a_hook_on_all_modules(make):
    hook = register_module_forward_hook(
        lambda m, i, o: 0.5 * o if isinstance(m, nn.Linear) else None
    )
    try:
        with pytest.raises(CompiledError, match=r"another network.*of its gradient"):
            make()
    finally:
        hook.remove()


@pytest.mark.parametrize(("option", "part"), [("eps", "gradient"), ("momentum", "running mean")])
def test_a_layer_that_was_misread(option, part, make, monkeypatch):
    def misread(network):
        return dataclasses.replace(known(network), **{option: 0.3})

    known = Layers.of
    monkeypatch.setattr(Layers, "of", misread)
    with pytest.raises(CompiledError, match=f"another network.*of its {part}"):
        make()


def test_the_state_is_left_as_it_was(make):
    network, *_ = problem((7, 5, 3))
    state = make().state()
    rows = {name: np.atleast_2d(values)[-1] for name, values in state.items()}
    np.testing.assert_array_equal(rows["weights"], networks.flatten(network)[0])
    np.testing.assert_array_equal(rows["mean"], network[2].running_mean)
    np.testing.assert_array_equal(rows["variance"], network[2].running_var)
    assert not rows["vectors"].any()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("machine", MACHINES)
def test_rounding_at_a_kink_is_no_error(seed, machine):
    """All units of the first layer get the same from every example: only rounding is left."""
    torch.manual_seed(seed)
    network = networks.fully_connected(7, 5, 3)
    images = np.random.default_rng(seed).standard_normal((1, 7)).repeat(8, 0).astype(np.float32)
    MACHINES[machine](network, 100 * images, np.arange(8) % 3, 8)


@pytest.mark.parametrize("machine", MACHINES)
def test_images_that_were_not_flattened(machine):
    network = nn.Sequential(nn.Linear(49, 3))
    images = np.zeros((4, 1, 7, 7), np.float32)
    with pytest.raises(CompiledError, match=r"\(1, 7, 7\).*begins with torch\.nn\.Flatten\(\)"):
        MACHINES[machine](network, images, np.arange(4) % 3, 2)


@pytest.mark.parametrize("machine", MACHINES)
def test_weights_that_are_not_numbers(machine):
    network = normed()
    with torch.no_grad():
        network[3].bias[1] = torch.nan
    with pytest.raises(CompiledError, match="NaN or infinite before any training"):
        MACHINES[machine](network, np.ones((4, 7), np.float32), np.arange(4) % 2, 2)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("factor", [1e15, 1e20, 1e25])
@pytest.mark.filterwarnings("error")
def test_weights_beyond_the_range_of_a_step_are_left_to_training(factor, machine):
    """Not finite in PyTorch's own float32 step: it is no other network that the loops train."""
    network, images, labels = problem((49, 8, 5), normed=False)
    with torch.no_grad():
        for p in network.parameters():
            p *= factor
    MACHINES[machine](network, images, labels, BATCH)
