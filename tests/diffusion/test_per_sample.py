"""Per-sample gradients against a loop over single examples, in float64."""

import copy

import network_zoo as zoo
import pytest
import torch
import torch.nn.functional as F
from helpers import examples, row_by_row, unsettle
from torch import nn

from limitcycles.diffusion import layer_products, per_sample
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training import networks
from limitcycles.training.first_look import EXAMPLES, BatchCouplingError, spread

WIDTH, CLASSES = 6, 3


class Unused(nn.Module):
    """One layer is never called."""

    def __init__(self):
        super().__init__()
        self.a, self.never, self.b = nn.Linear(WIDTH, 5), nn.Linear(2, 2), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.b(F.relu(self.a(x)))


class TiedWeights(nn.Module):
    """Two layers share a weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.b.weight = self.a.weight
        self.c = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


class TwiceAndNever(nn.Module):
    """One layer runs twice, another never, and `torch.fx` cannot trace it."""

    def __init__(self):
        super().__init__()
        self.a, self.never = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.b = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        if x.shape[0] > 0:
            x = self.a(F.relu(self.a(x)))
        return self.b(x)


class Functional(nn.Module):
    """A weight is used by its layer and once more without it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.b(F.relu(F.linear(F.relu(self.a(x)), self.a.weight)))


class Keywords(nn.Module):
    """Layers are called with keyword arguments."""

    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)
        self.b = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.b(F.relu(self.n(input=self.a(input=x))))


class Residual(nn.Module):
    """What enters the normalisation is used elsewhere too, and a sum is made in place."""

    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)
        self.b = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        h = self.a(x)
        y = self.n(h)
        y += h
        return self.b(F.relu(y))


def shared_layer(layer):
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(WIDTH, CLASSES))


def shared_norm(norm):
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), norm, nn.ReLU(), nn.Linear(WIDTH, WIDTH), norm,
        nn.Linear(WIDTH, CLASSES),
    )  # fmt: skip


def flat(*layers, last=WIDTH):
    return nn.Sequential(*layers, nn.Linear(last, CLASSES))


def images(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(CLASSES))


def norm_across_rows(features):
    """A normalisation of the channels after a linear layer that works on the last dimension."""
    return nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Linear(3, features), nn.BatchNorm1d(2), nn.Flatten(),
        nn.Linear(2 * features, CLASSES),
    )  # fmt: skip


LAYERS = {
    "small-lenet": (networks.small_lenet, (1, 28, 28)),
    "fc": (lambda: networks.fully_connected(49, 16, CLASSES), (1, 7, 7)),
    "allcnn": (lambda: networks.allcnn(CLASSES, widths=(3, 4)), (3, 9, 8)),
    "allcnn without normalisation": (
        lambda: networks.allcnn(CLASSES, widths=(3, 4), norm=False), (3, 8, 8)),
    "allcnn of one channel": (lambda: networks.allcnn(CLASSES, 1, (3, 4), 1), (1, 8, 8)),
    "one hidden layer": (lambda: flat(nn.Linear(WIDTH, WIDTH), nn.ReLU()), (WIDTH,)),
    "ReLU in place, first": (
        lambda: flat(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True)), (WIDTH,)),
    "ReLU in place": (lambda: flat(
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True),
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True)), (WIDTH,)),
    "normalisation first": (lambda: flat(nn.BatchNorm1d(WIDTH), nn.ReLU()), (WIDTH,)),
    "normalisation of images first": (
        lambda: images(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.ReLU()), (2, 6, 5)),
    "normalisation after ReLU": (
        lambda: images(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 2)),
        (2, 6, 6)),
    "linear without bias, then normalisation": (
        lambda: flat(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        (WIDTH,)),
    "convolution without bias, then normalisation": (
        lambda: images(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 5)),
    "normalisation without weights": (
        lambda: flat(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, affine=False), nn.ReLU()),
        (WIDTH,)),
    "no bias at all": (lambda: nn.Sequential(
        nn.Conv2d(1, 3, 2, bias=False), nn.ReLU(), nn.Flatten(),
        nn.Linear(3 * 5 * 4, CLASSES, bias=False)), (1, 6, 5)),
    "stride, padding and dilation": (
        lambda: images(nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2, stride=2, padding=1, dilation=2)), (2, 11, 9)),
    "one channel with stride, padding and dilation": (
        lambda: images(nn.Conv2d(1, 4, 3, stride=2, padding=2, dilation=2), nn.ReLU()), (1, 9, 10)),
    "padding to the same size": (
        lambda: images(nn.Conv2d(2, 4, (2, 4), padding="same"), nn.ReLU(),
        nn.Conv2d(4, 2, 3, padding="valid")), (2, 6, 7)),
    "linear layer with further dimensions": (
        lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(8, CLASSES)),
        (WIDTH,)),
    "normalisation across rows": (lambda: norm_across_rows(4), (WIDTH,)),
    "residual": (Residual, (WIDTH,)),
}  # fmt: skip

GENERAL = {
    "layer normalisation": (lambda: flat(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)), (WIDTH,)),
    "Conv1d": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, CLASSES)),
        (1, WIDTH),
    ),
    "grouped convolution": (lambda: images(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU()), (2, 5, 5)),
    "circular padding": (
        lambda: images(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
        (2, 5, 5),
    ),
    "weight normalisation": (
        lambda: flat(nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)), nn.ReLU()),
        (WIDTH,),
    ),
    "layer used twice": (lambda: shared_layer(nn.Linear(WIDTH, WIDTH)), (WIDTH,)),
    "normalisation used twice": (lambda: shared_norm(nn.BatchNorm1d(WIDTH)), (WIDTH,)),
    "shared weight": (TiedWeights, (WIDTH,)),
    "weight used outside its layer": (Functional, (WIDTH,)),
    "layer never used": (Unused, (WIDTH,)),
    "layer used twice, another never": (TwiceAndNever, (WIDTH,)),
    "keyword arguments": (Keywords, (WIDTH,)),
    "a bare layer": (lambda: nn.Linear(WIDTH, CLASSES), (WIDTH,)),
    "normalisation across rows that looks like one of features": (
        lambda: norm_across_rows(2),
        (WIDTH,),
    ),
}


def case(build, shape, count=9):
    torch.manual_seed(0)
    network = build()
    classes = 10 if build is networks.small_lenet else CLASSES
    inputs, targets = examples(count, *shape, classes=classes)
    network.eval()(inputs.float())  # a lazy layer takes its size here
    return unsettle(network), inputs, targets


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("name", "method"), [(n, "layers") for n in LAYERS] + [(n, "vmap") for n in GENERAL]
)
def test_rows_are_those_of_a_loop(name, method):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name])
    rows = PerSampleGradients(network, inputs, targets)
    assert rows.method == method
    expected = row_by_row(network, inputs, targets)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(rows(inputs, targets), expected, rtol=1e-10, atol=1e-13)
    # Again, as the first call must leave nothing behind, and by blocks, on copies in threads.
    torch.testing.assert_close(rows(inputs, targets), expected, rtol=1e-10, atol=1e-13)
    blocks = [part.clone() for _, part in rows.blocks(inputs, targets, 5, threads=2, block=2)]
    torch.testing.assert_close(torch.cat(blocks), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["small-lenet", "fc", "layer normalisation"])
def test_single_precision_agrees_with_double(name):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name])
    expected = row_by_row(network, inputs, targets)
    single = PerSampleGradients(copy.deepcopy(network).float(), inputs.float(), targets)
    rows = single(inputs.float(), targets)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(
        rows.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max())
    )


@pytest.mark.parametrize("name", ["small-lenet", "fc", "grouped convolution"])
def test_mean_of_rows_is_the_gradient_of_the_mean_loss(name):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name])
    mean = PerSampleGradients(network, inputs, targets)(inputs, targets).mean(0)
    F.cross_entropy(network.eval()(inputs), targets, reduction="mean").backward()
    expected = torch.cat([p.grad.reshape(-1) for p in network.parameters()])
    torch.testing.assert_close(mean, expected, rtol=1e-10, atol=1e-14)


def test_rows_do_not_depend_on_the_other_examples():
    network, inputs, targets = case(*LAYERS["small-lenet"])
    rows = PerSampleGradients(network, inputs, targets)
    alone = torch.cat([rows(inputs[i : i + 1], targets[i : i + 1]) for i in range(len(inputs))])
    torch.testing.assert_close(rows(inputs, targets), alone, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["small-lenet", "layer normalisation"])
def test_threads_give_the_same_bits_and_blocks_the_same_rows(name):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name], count=23)
    network, inputs = network.float(), inputs.float()
    rows = PerSampleGradients(network, inputs, targets)

    def gather(threads, block, step=10):
        parts, starts = [], []
        for start, part in rows.blocks(inputs, targets, step, threads=threads, block=block):
            starts.append(start)
            parts.append(part.clone())
        assert starts == list(range(0, 23, step))
        assert [len(p) for p in parts] == [min(step, 23 - s) for s in starts]
        return torch.cat(parts)

    one = gather(1, 4)
    assert torch.equal(one, gather(2, 4))
    bound = 1e-5 * float(one.abs().max())
    for block in (1, 7, 64):
        torch.testing.assert_close(gather(1, block), one, rtol=0, atol=bound)


def test_blocks_leave_the_callers_threads_alone():
    network, inputs, targets = case(*LAYERS["fc"])
    before = torch.get_num_threads()
    list(PerSampleGradients(network, inputs, targets).blocks(inputs, targets, 4, threads=2))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["fc", "layer normalisation"])
def test_rows_are_written_into_a_given_tensor(name):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name])
    rows = PerSampleGradients(network, inputs, targets)
    out = torch.full((len(inputs), rows.weights), torch.nan, dtype=torch.float64)
    assert rows(inputs, targets, out) is out
    assert torch.equal(out, rows(inputs, targets))


def test_dropout_is_off():
    network, inputs, targets = case(lambda: networks.small_lenet(dropout=0.5), (1, 28, 28))
    rows = PerSampleGradients(network.train(), inputs, targets)
    expected = row_by_row(network, inputs, targets)
    torch.testing.assert_close(rows(inputs, targets), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["small-lenet", "layer used twice", "shared weight"])
def test_the_network_is_left_as_it_was(name):
    network, inputs, targets = case(*(LAYERS | GENERAL)[name])
    network.train()
    before = copy.deepcopy(network.state_dict())
    kept, labels = inputs.clone(), targets.clone()
    rows = PerSampleGradients(network, inputs, targets)
    rows(inputs, targets)
    list(rows.blocks(inputs, targets, 4))
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(type(p) is nn.Parameter for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(inputs, kept)
    assert torch.equal(targets, labels)


def test_later_changes_of_the_network_do_not_reach_the_rows():
    network, inputs, targets = case(*LAYERS["fc"])
    rows = PerSampleGradients(network, inputs, targets)
    before = rows(inputs, targets)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(rows(inputs, targets), before)


class MinusBatchMean(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.BatchNorm1d(WIDTH, track_running_stats=False), "batch statistics in 1"),
        (MinusBatchMean(), "couples the examples"),
    ],
)
def test_coupled_examples_are_refused(layer, named):
    network = flat(nn.Linear(WIDTH, WIDTH), layer, nn.ReLU())
    inputs, targets = examples(8, WIDTH, classes=CLASSES)
    with pytest.raises(BatchCouplingError, match=named) as error:
        PerSampleGradients(network, inputs.float(), targets)
    assert isinstance(error.value, LimitcyclesError)


def test_statistics_of_one_batch_are_refused_even_for_one_example():
    network = flat(nn.Linear(WIDTH, WIDTH), MinusBatchMean())
    inputs, targets = examples(1, WIDTH, classes=CLASSES)
    with pytest.raises(BatchCouplingError):
        PerSampleGradients(network, inputs.float(), targets)


def test_an_output_without_classes_is_refused():
    inputs, targets = examples(3, 2, WIDTH, classes=CLASSES)
    with pytest.raises(LimitcyclesError, match=r"\(3, 2, 3\).*\(batch, classes\)"):
        PerSampleGradients(nn.Linear(WIDTH, CLASSES), inputs.float(), targets)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_diverged_network_is_named_as_such(value):
    network, inputs, targets = case(*LAYERS["fc"])
    with torch.no_grad():
        network[1].weight[0, 0] = value
    with pytest.raises(LimitcyclesError, match="diverged") as error:
        PerSampleGradients(network, inputs, targets)
    assert not isinstance(error.value, BatchCouplingError)


def test_memory_of_one_example_grows_with_the_network():
    def needed(build, shape):
        network, inputs, targets = case(build, shape)
        rows = PerSampleGradients(network, inputs, targets)
        return rows.bytes_per_example(inputs[0]), rows.weights

    fc, weights = needed(*LAYERS["fc"])
    lenet, more = needed(*LAYERS["small-lenet"])
    assert fc >= 8 * weights  # at least the row itself, in float64
    # The first convolution keeps 8 maps of 24x24 with their gradients, and unfolds its input.
    assert lenet >= 8 * (more + 2 * 8 * 24 * 24 + 25 * 24 * 24)


# ------------------------------------------------------------------ choice of the method


def fitted():
    """Examples whose losses, and with them all their gradients, are 0."""
    network, (inputs, targets) = zoo.build("weight used outside its layer"), zoo.data(FITTED)
    inputs, targets = inputs[:9], targets[:9]
    assert not F.cross_entropy(network(inputs), targets, reduction="none").any()
    return network, inputs, targets


def test_a_wrong_method_is_found_where_all_losses_are_zero(monkeypatch):
    right = layer_products._linear

    def wrong(layer, x, g, columns, fold):
        right(layer, x, g, columns, fold)
        columns["bias"].mul_(1.01)

    network, inputs, targets = fitted()
    network = nn.Sequential(nn.Flatten(), network.a, nn.ReLU(), network.b)
    assert PerSampleGradients(network, inputs, targets).method == "layers"
    monkeypatch.setitem(layer_products._RULES, nn.Linear, wrong)
    assert PerSampleGradients(network, inputs, targets).method == "vmap"


def test_a_wrong_vmap_is_found_where_all_losses_are_zero(monkeypatch):
    right = per_sample.Vmap.fill

    def wrong(self, inputs, targets, loss, out):
        right(self, inputs, targets, loss, out)
        out[:, WIDTH] *= 1.01

    network, inputs, targets = fitted()
    monkeypatch.setattr(per_sample.Vmap, "fill", wrong)
    rows = PerSampleGradients(network, inputs, targets)
    assert rows.method == "loop"
    assert rows.slow == "the rows of vmap are not those of single backward passes"


def test_a_weight_of_small_gradients_counts_as_much_as_the_others(monkeypatch):
    """An error of one weight is found though it is far below the rounding of the others."""
    right = layer_products._linear

    def wrong(layer, x, g, columns, fold):
        right(layer, x, g, columns, fold)
        if layer.in_features == 5:
            columns["weight"].mul_(1.01)

    torch.manual_seed(0)
    inputs, targets = examples(9, WIDTH, classes=CLASSES)
    network = nn.Sequential(nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    inputs = inputs.float()
    with torch.no_grad():
        network[0].weight *= 1e-4
        network[0].bias *= 1e-4
    monkeypatch.setitem(layer_products._RULES, nn.Linear, wrong)
    assert PerSampleGradients(network, inputs, targets).method == "vmap"


ODD = 21  # an example that the look and the choice of the method do not see


def skipping(s, x):
    """A layer that is left out where the first number of an example is larger than 2."""
    h = F.relu(s.a(x))
    return s.b(h if (x[:, 0] > 2).any() else s.extra(h))


def leaking(s, x):
    """A weight that is used outside its layer where that number is so."""
    h = F.relu(s.a(x))
    return s.b(F.linear(h, s.extra.weight) if (x[:, 0] > 2).any() else s.extra(h))


@pytest.mark.parametrize("forward", [skipping, leaking])
def test_a_branch_that_the_examples_at_the_start_do_not_take(forward):
    inputs, targets = examples(40, WIDTH, classes=CLASSES)
    inputs[:, 0].clamp_(max=1)
    inputs[ODD, 0] = 3
    assert ODD not in spread(len(inputs), EXAMPLES)
    torch.manual_seed(0)
    layers = {"a": nn.Linear(WIDTH, 5), "extra": nn.Linear(5, 5), "b": nn.Linear(5, CLASSES)}
    network = zoo.Net(forward, **layers).double()
    rows = PerSampleGradients(network, inputs, targets)
    assert rows.method == "loop"
    assert rows.slow.startswith("vmap fails: RuntimeError: ")
    parts = [part.clone() for _, part in rows.blocks(inputs, targets, 8, block=4)]
    expected = row_by_row(network, inputs, targets)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-10, atol=1e-13)


def test_frozen_parameters_have_no_columns():
    network, inputs, targets = case(*LAYERS["small-lenet"])
    whole = PerSampleGradients(network, inputs, targets)(inputs, targets)
    names = dict(network.named_parameters())
    kept = torch.cat([torch.full((p.numel(),), name not in FROZEN) for name, p in names.items()])
    for name in FROZEN:
        names[name].requires_grad_(False)
    rows = PerSampleGradients(network, inputs, targets)
    assert rows.method == "layers"
    assert rows.weights == int(kept.sum()) < len(kept)
    torch.testing.assert_close(rows(inputs, targets), whole[:, kept], rtol=1e-12, atol=1e-15)


# A folded layer in part, the normalisation of another, a layer and its normalisation, a bias.
FROZEN = (
    "0.weight",
    "6.weight",
    "6.bias",
    "11.weight",
    "11.bias",
    "12.weight",
    "12.bias",
    "15.bias",
)
FITTED = "weight used outside its layer, fitted"
