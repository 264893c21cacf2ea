"""Networks: counts, flat weights, and the directions in which no gradient has a component."""

import numpy as np
import pytest
import torch
from helpers import examples, one_thread, settle  # noqa: F401
from torch import nn

from limitcycles.diffusion.matrix import Rows, singular
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.training import networks
from limitcycles.training.networks import NetworkError

SMALL_FC = {"inputs": 49, "hidden": 64, "classes": 10}


def my_network(width):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


def failing(width):
    return nn.Linear(49 // width, 10)


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def not_a_network():
    return {"weights": 3}


class TestBuild:
    @pytest.mark.parametrize(
        ("builder", "options", "weights"),
        [
            ("small-lenet", {}, 13338),
            ("small-lenet", {"dropout": 0.1}, 13338),
            ("fc", SMALL_FC, 3978),
            ("fc", {"inputs": 49, "hidden": 16, "classes": 5}, 917),
            ("allcnn", {}, 26982),
            ("allcnn", {"classes": 100}, 29412),
        ],
    )
    def test_the_papers_counts(self, builder, options, weights):
        spec = {"builder": builder, "options": options, "weights": weights}
        network = networks.build(spec)
        assert networks.count_weights(network) == weights
        assert networks.flatten(network)[0].shape == (weights,)

    def test_shapes(self):
        lenet, fc = networks.small_lenet(), networks.fully_connected(**SMALL_FC)
        assert lenet(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        assert fc(torch.zeros(2, 1, 7, 7)).shape == (2, 10)
        assert networks.small_lenet(classes=3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)

    @pytest.mark.parametrize(("side", "after"), [(32, 8), (16, 4), (8, 2), (7, 2)])
    def test_allcnn_takes_images_of_any_size(self, side, after):
        network = networks.allcnn(classes=7, channels=2)
        images = torch.randn(2, 2, side, side, generator=torch.Generator().manual_seed(0))
        before = network[:-2](images)  # as it enters the mean over positions
        assert before.shape == (2, 7, after, after)
        assert (before >= 0).all()  # ReLU is the last of the layers
        torch.testing.assert_close(network(images), before.mean((2, 3)))
        if side == 32:  # the paper's pool
            torch.testing.assert_close(network(images), nn.AvgPool2d(8)(before).flatten(1))

    @pytest.mark.parametrize(
        ("options", "convolutions"),
        [
            # (inputs, outputs, kernel, stride) of each
            ({}, [(3, 12, 3, 1), (12, 12, 3, 1), (12, 12, 3, 2), (12, 24, 3, 1), (24, 24, 3, 1),
                  (24, 24, 3, 2), (24, 24, 3, 1), (24, 24, 3, 1), (24, 10, 1, 1)]),
            ({"widths": [4, 5], "depth": 1, "channels": 1, "classes": 3},
             [(1, 4, 3, 1), (4, 4, 3, 2), (4, 5, 3, 1), (5, 5, 3, 2), (5, 5, 3, 1), (5, 3, 1, 1)]),
        ],
    )  # fmt: skip
    def test_allcnn_layer_by_layer(self, options, convolutions):
        kinds = [type(m) for m in networks.allcnn(**options)]
        each = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert kinds == each * len(convolutions) + [nn.AdaptiveAvgPool2d, nn.Flatten]
        plain = networks.allcnn(**options, norm=False)
        assert nn.BatchNorm2d not in [type(m) for m in plain]
        for network in (networks.allcnn(**options), plain):
            layers = [m for m in network if isinstance(m, nn.Conv2d)]
            assert convolutions == [
                (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers
            ]
            assert all(m.bias is not None for m in layers)

    def test_dropout_is_that_of_the_options(self):
        rates = [m.p for m in networks.small_lenet(dropout=0.25) if isinstance(m, nn.Dropout)]
        assert rates == [0.25, 0.25, 0.25]

    def test_torchs_generator_decides_the_weights(self):
        flat = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            flat.append(networks.flatten(networks.build({"builder": "small-lenet"}))[0])
        assert torch.equal(flat[0], flat[1])
        assert not torch.equal(flat[0], flat[2])

    def test_a_network_of_ones_own(self):
        spec = {"builder": f"{__name__}:my_network", "options": {"width": 5}, "weights": 43}
        network = networks.build(spec)
        assert isinstance(network, nn.Sequential)
        assert networks.count_weights(network) == 43

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"builder": "small-lennet"}, "'small-lennet'.*did you mean 'small-lenet'.*function"),
            ({"builder": "transformer"}, "'transformer'.*known: small-lenet, fc, allcnn"),
            ({"builder": "small-lenet", "weights": 13339}, "13,338 weights.*13,339"),
            ({"builder": "fc", "options": {"inputs": 49}}, "'fc'.*hidden"),
            ({"builder": "fc", "options": SMALL_FC | {"depth": 2}}, "'fc'.*depth"),
            (
                {"builder": f"{__name__}:failing", "options": {"width": 0}},
                r"failing' with options {'width': 0} fails: ZeroDivisionError: ",
            ),
            ({"builder": f"{__name__}:lazy"}, r"1\.weight has no size yet: write LazyLinear with"),
            ({"builder": f"{__name__}:not_a_network"}, r"returned dict, not a torch\.nn\.Module"),
        ],
    )
    def test_errors_name_what_is_wrong(self, spec, words):
        with pytest.raises(NetworkError, match=words):
            networks.build(spec)


class TestFlatten:
    def trained(self):
        network = networks.small_lenet().train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for seed in range(2):
            inputs, targets = examples(16, 1, 28, 28, classes=10, seed=seed)
            nn.functional.cross_entropy(network(inputs.float()), targets).backward()
            optimizer.step()
        return network

    def test_round_trip_is_bit_for_bit(self):
        network = self.trained()
        weights, buffers = networks.flatten(network)
        other = networks.restore(networks.small_lenet(), weights.numpy(), buffers.numpy())
        one, two = network.state_dict(), other.state_dict()
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert int(two["1.num_batches_tracked"]) == 2
        inputs, _ = examples(3, 1, 28, 28, classes=10)
        assert torch.equal(network.eval()(inputs.float()), other.eval()(inputs.float()))

    def test_order_is_that_of_the_named_parameters(self):
        network = self.trained()
        weights, buffers = networks.flatten(network)
        assert weights.dtype == torch.float32
        assert buffers.dtype == torch.float64
        start = 0
        for _, parameter in network.named_parameters():
            part = weights[start : start + parameter.numel()].reshape(parameter.shape)
            assert torch.equal(part, parameter.detach())
            start += parameter.numel()
        assert start == len(weights)
        assert buffers.shape == (2 * (8 + 16 + 128) + 3,)

    def test_later_training_does_not_reach_the_flat_weights(self):
        network = self.trained()
        weights, buffers = networks.flatten(network)
        before = weights.clone(), buffers.clone()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.zero_()
        assert torch.equal(weights, before[0])
        assert torch.equal(buffers, before[1])

    def test_a_network_without_buffers(self):
        weights, buffers = networks.flatten(my_network(5))
        assert weights.shape == (43,)
        assert buffers.shape == (0,)
        networks.restore(my_network(5), weights.numpy(), buffers.numpy())

    def test_frozen_parameters_are_kept_with_the_buffers(self):
        network = self.trained()
        for frozen in (network[1].weight, network[5].weight):
            frozen.requires_grad_(False)
        moved = [p for p in network.parameters() if p.requires_grad]
        weights, buffers = networks.flatten(network)
        assert torch.equal(weights, torch.cat([p.detach().ravel() for p in moved]))
        assert len(weights) == networks.count_weights(network) == 13338 - 8 - 3200
        expected = [network[1].weight, network[5].weight, *network.buffers()]
        assert torch.equal(buffers, torch.cat([b.detach().double().ravel() for b in expected]))
        other = networks.small_lenet()
        for frozen in (other[1].weight, other[5].weight):
            frozen.requires_grad_(False)
        networks.restore(other, weights.numpy(), buffers.numpy())
        one, two = network.state_dict(), other.state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one)

    def test_all_frozen(self):
        network = my_network(5).requires_grad_(False)
        weights, buffers = networks.flatten(network)
        assert weights.shape == (0,)
        assert buffers.shape == (43,)
        networks.restore(network, weights.numpy(), buffers.numpy())

    @pytest.mark.parametrize(("kind", "more"), [("weights", 1), ("weights", -1), ("buffers", 1)])
    def test_wrong_lengths(self, kind, more):
        flat = dict(
            zip(("weights", "buffers"), map(np.asarray, networks.flatten(self.trained())),
                strict=True)
        )  # fmt: skip
        length = len(flat[kind]) + more
        flat[kind] = np.zeros(length)
        with pytest.raises(NetworkError, match=f"{length} {kind} given to a network with"):
            networks.restore(networks.small_lenet(), **flat)


# ------------------------------------------------------------------------------ symmetries


def mlp(*, bias=True):
    return nn.Sequential(
        nn.Linear(6, 5, bias=bias), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(5, 4, bias=bias), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 3, bias=bias),
    )  # fmt: skip


def small_convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(2, 3, 2, bias=False), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(3, 4),
    )  # fmt: skip


def alive(network):
    """The network with weights for which no unit is always off, which would be more zeros."""
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.orthogonal_(module.weight.data.flatten(1), gain=2.0)
            module.bias.data.fill_(0.3)
    return network


SYMMETRIC = {
    # 4 H + 1: two a unit from the normalisation, one from ReLU, and H + 1 from the softmax.
    "small-fc": (lambda: networks.fully_connected(49, 64, 10), (1, 7, 7), 10, 4090, 257),
    "tiny-fc": (lambda: networks.fully_connected(49, 16, 5), (1, 7, 7), 5, 1500, 65),
    # 5 ReLU, (2 + 1) 4, 4 + 1
    "two hidden layers": (mlp, (6,), 3, 400, 22),
    # 5 ReLU, (1 + 1) 4, 4
    "without biases": (lambda: mlp(bias=False), (6,), 3, 400, 17),
    # (2 + 1) 2, (1 + 1) 3, 3 + 1
    "convolutional": (small_convolutional, (1, 7, 7), 4, 500, 16),
    # 5 ReLU, 2 · 3, 5 + 1
    "normalised logits": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3), nn.BatchNorm1d(3)
        ),
        (6,), 3, 400, 17,
    ),
    # 5 ReLU, 3, 5 + 1 (the shift β takes the place of the bias)
    "normalised logits without bias": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3)
        ),
        (6,), 3, 400, 14,
    ),
    # (2 + 1) (3 · 2 + 2 · 2 + 2) for the hidden units, 2 · 3 for the logits; none from the softmax
    "all-convolutional": (
        lambda: networks.allcnn(3, channels=1, widths=(2, 2), depth=1), (1, 8, 8), 3, 400, 36,
    ),
    # 5 · 2 units
    "all-convolutional without normalisation": (
        lambda: alive(networks.allcnn(3, channels=1, widths=(2, 2), depth=1, norm=False)),
        (1, 8, 8), 3, 400, 10,
    ),
    "softmax regression": (lambda: nn.Sequential(nn.Linear(6, 3)), (6,), 3, 100, 7),
}  # fmt: skip


@pytest.mark.parametrize("name", SYMMETRIC)
def test_zero_singular_values_are_as_many_as_symmetries(name):
    build, shape, classes, samples, expected = SYMMETRIC[name]
    torch.manual_seed(0)
    inputs, targets = examples(samples, *shape, classes=classes)
    network = settle(build(), inputs)
    rows = PerSampleGradients(network, inputs, targets)(inputs, targets)
    assert samples > rows.shape[1]
    values = singular(Rows(rows))
    zeros = int(np.sum(values < 1e-10 * values[0]))
    assert zeros == expected
    # A gap of many decades on both sides: the count does not depend on where the line is drawn.
    assert values[-zeros] < 1e-13 * values[0]
    assert values[-zeros - 1] > 1e-5 * values[0]


def lenet_directions(network):
    """The symmetries of small-lenet, one a row, written down one by one."""
    names = [name for name, _ in network.named_parameters()]
    state = {name: p.detach() for name, p in network.named_parameters()}
    rows = []

    def add(changes):
        full = {name: changes.get(name, torch.zeros_like(state[name])) for name in names}
        rows.append(torch.cat([full[name].reshape(-1) for name in names]))

    def only(tensor, index, value=None):
        result = torch.zeros_like(tensor)
        result[index] = tensor[index] if value is None else value
        return result

    # (layer, its normalisation, the next layer, columns of the next that one unit feeds)
    for layer, norm, after, columns in (("0", 1, "5", 1), ("5", 6, "11", 4), ("11", 12, "15", 1)):
        w, b = state[f"{layer}.weight"], state[f"{layer}.bias"]
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        mean = network[norm].running_mean
        deviation = torch.sqrt(network[norm].running_var + network[norm].eps)
        for u in range(len(w)):
            slope = scale[u] / deviation[u]
            add({f"{layer}.bias": only(b, u, 1.0), f"{norm}.bias": only(shift, u, -slope)})
            add(
                {
                    f"{layer}.weight": only(w, u),
                    f"{norm}.weight": -only(scale, u),
                    f"{norm}.bias": only(shift, u, slope * (b[u] - mean[u])),
                }
            )
            fed = (slice(None), slice(u * columns, (u + 1) * columns))
            add(
                {
                    f"{norm}.weight": only(scale, u),
                    f"{norm}.bias": only(shift, u),
                    f"{after}.weight": -only(state[f"{after}.weight"], fed),
                }
            )
    last = state["15.weight"]
    for column in range(last.shape[1]):
        add({"15.weight": only(last, (slice(None), column), 1.0)})
    add({"15.bias": torch.ones_like(state["15.bias"])})
    return torch.stack(rows)


def test_symmetries_of_small_lenet_one_by_one():
    torch.manual_seed(0)
    inputs, targets = examples(150, 1, 28, 28, classes=10)
    network = settle(networks.small_lenet(dropout=0.1), inputs)

    directions = lenet_directions(network)
    assert directions.shape == ((2 + 1) * (8 + 16 + 128) + 128 + 1, 13338) == (585, 13338)
    directions /= torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    # Independent, so that their rank is 585: squared singular values well above rounding.
    assert torch.linalg.eigvalsh(directions @ directions.T)[0] > 1e-6

    rows = PerSampleGradients(network, inputs, targets)(inputs, targets)
    rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    assert (rows @ directions.T).abs().max() < 1e-13
    # The same test on directions that are none: it can fail.
    other = torch.randn(585, 13338, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other /= torch.linalg.vector_norm(other, dim=1, keepdim=True)
    assert (rows @ other.T).abs().max() > 1e-3
