"""Small networks of every kind, each right or refused: what users hand in, and how.

`RIGHT` has those that work, `REFUSED` the others, each with key words of the sentence (a regular
expression). A network comes from `build(name)`, which is a builder for a configuration, too, and
what it is trained on from `data`, `dataset` and `run`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import small_runs
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from limitcycles.training import networks

EXAMPLES, SIDE, CLASSES = 14, 6, 4
PIXELS = SIDE**2
WORDS, LENGTH = 9, 5  # tokens
EPOCHS, RATE, MOMENTUM = 2, 0.05, 0.5
Builder = Callable[[], nn.Module]


def data(name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs (n, ...) and labels (n,) int64 of which each class has some.

    Inputs are images (n, 1, 6, 6) float32 with labels 0 to 3, or as `INPUTS` has it: "large"
    ones, (n, 1, 28, 28) with labels 0 to 9, "tokens", (n, 5) int64, or "fitted", images of which
    the first four pixels are the label, or 0 in the last ones.
    """
    generator = torch.Generator().manual_seed(seed)
    kind = INPUTS.get(name)
    labels = torch.arange(EXAMPLES) % (10 if kind == "large" else CLASSES)
    if kind == "tokens":
        return torch.randint(WORDS, (EXAMPLES, LENGTH), generator=generator), labels
    side = 28 if kind == "large" else SIDE
    images = torch.randn(EXAMPLES, 1, side, side, generator=generator)
    if kind == "fitted":
        images[:, 0, 0, :CLASSES] = F.one_hot(labels, CLASSES)
        images[-5:, 0, 0, :CLASSES] = 0
    return images, labels


def dataset(name: str) -> xr.Dataset:
    """Other examples for the test."""
    parts = {}
    for seed, part in enumerate(("train", "test")):
        inputs, labels = data(name, seed)
        axes = ("position",) if inputs.ndim == 2 else ("channel", "height", "width")
        parts[f"{part}_image"] = ((part, *axes), inputs.numpy())
        parts[f"{part}_label"] = (part, labels.numpy())
    return xr.Dataset(parts, attrs={"sha256": name})


def run(name: str, **training) -> dict:
    """Settings of a short run."""
    options = {
        "epochs": EPOCHS,
        "batch_size": batch_size(name),
        "learning_rate": {"start": RATE, "factor": 1.0, "at": []},
        "optimiser": small_runs.sgd(MOMENTUM),
        "snapshots": [0, 100],
    }
    network = {"builder": "network_zoo:build", "options": {"name": name}}
    return small_runs.run(network, **options | training)


def batch_size(name: str) -> int:
    return BATCH_SIZE.get(name, 4)


def build(name: str) -> nn.Module:
    with warnings.catch_warnings():  # deprecated, and in use
        warnings.simplefilter("ignore")
        return ZOO[name]()


# ------------------------------------------------------------------------------- parts


class Do(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(nn.Module):
    """Modules by name, and what is done with them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.forward_of = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.forward_of(self, x)


def flat(*layers, last=8):
    """Layers on the 36 pixels, from 36 to `last` numbers, and a linear one to the classes."""
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(last, CLASSES))


def convolved(*layers, numbers):
    """Layers on the images, which give `numbers` numbers."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(numbers, CLASSES))


def hidden(*between, hidden=8):
    """A linear layer, what comes `between`, and a linear layer to the classes."""
    return flat(nn.Linear(PIXELS, hidden), *between, last=hidden)


def sequence(x):
    """(n, 1, 6, 6) -> (n, 6, 6): six steps of six numbers."""
    return x.squeeze(1)


def changed(change, path="1"):
    """A network with one layer on which `change` was called."""
    network = hidden(nn.ReLU())
    change(network.get_submodule(path))
    return network


def recurrent(layer, outputs):
    return Net(
        lambda s, x: s.head(s.layer(sequence(x))[0][:, -1]),
        layer=layer,
        head=nn.Linear(outputs, CLASSES),
    )


def stepped(cell):
    def forward(s, x):
        state = None
        for step in sequence(x).unbind(1):
            state = s.cell(step, state)
        return s.head(state[0] if isinstance(state, tuple) else state)

    return Net(forward, cell=cell, head=nn.Linear(8, CLASSES))


def attention(**options):
    return Net(
        lambda s, x: s.head(s.layer(*[sequence(x)] * 3, need_weights=False)[0].mean(1)),
        layer=nn.MultiheadAttention(6, 2, **options),
        head=nn.Linear(6, CLASSES),
    )


def words(layer, numbers=3):
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(numbers, CLASSES))


def settled(network):
    """Scales, shifts and running moments of all normalisations other than 1 and 0."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            normalises = type(module).__name__.endswith(("Norm", "Norm1d", "Norm2d", "Norm3d"))
            if normalises and tensor is not None and tensor.is_floating_point():
                low, high = (-0.4, 0.4) if name in ("bias", "running_mean") else (0.6, 1.6)
                with torch.no_grad():
                    tensor.uniform_(low, high, generator=generator)
    return network


def frozen(network, *names):
    for name in names:
        network.get_parameter(name).requires_grad_(False)
    return network


# ----------------------------------------------------------------- layers of one's own


class HalfLinear(nn.Linear):
    def forward(self, x):
        return 0.5 * super().forward(x)


class LeakyReLU(nn.ReLU):
    def forward(self, x):
        return F.leaky_relu(x, 0.2)


class DoubledNorm(nn.BatchNorm1d):
    def forward(self, x):
        return 2 * super().forward(x)


class SkippingSequential(nn.Sequential):
    def forward(self, x):
        x = x.flatten(1)
        return super().forward(x) + x[:, :CLASSES]


class Scale(nn.Module):
    """A single number, and one that has none."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))
        self.none = nn.Parameter(torch.empty(0))

    def forward(self, x):
        return x * self.factor


class Rounded(torch.autograd.Function):
    """A step whose gradient is taken to be 1."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Running(nn.Module):
    """Subtracts a running mean that moves in evaluation mode as well."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return x - self.mean


class Counter(nn.Module):
    """Counts its calls, which changes no output."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return x


class Uncopied(nn.Module):
    """Holds an iterator, which `copy.deepcopy` refuses."""

    def __init__(self):
        super().__init__()
        self.lines = (line for line in ())

    def forward(self, x):
        return x


class Annealed(nn.Module):
    """A factor that falls with each step of training, and is no buffer."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, x):
        if self.training:
            self.factor *= 0.9
        return x * self.factor


class FreezingInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(PIXELS, CLASSES)

    def forward(self, x):
        self.a.weight.requires_grad_(not self.training)
        return self.a(x.flatten(1))


class ComplexScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("turn", torch.ones(8, dtype=torch.complex64))

    def forward(self, x):
        if self.training:
            self.turn.mul_(1j)
        return (x * self.turn).real + (x * self.turn).imag


class Auxiliary(nn.Module):
    """Two outputs in training mode."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(PIXELS, CLASSES), nn.Linear(PIXELS, CLASSES)

    def forward(self, x):
        x = x.flatten(1)
        return (self.a(x), self.b(x)) if self.training else self.a(x)


class WithLabels(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(PIXELS, CLASSES)

    def forward(self, x, labels):
        return self.a(x.flatten(1))


def some_blocks(s, x):
    """`extra` runs only where an example of the block asks for it."""
    h = F.relu(s.a(x.flatten(1)))
    chosen = x[:, 0, 0, 0] > 0.5
    if chosen.any():
        h = torch.where(chosen[:, None], s.extra(h), h)
    return s.b(h)


def experts(s, x):
    """Each example goes to the expert of its largest gate."""
    x = x.flatten(1)
    gates = s.gate(x)
    out = x.new_zeros(len(x), CLASSES)
    for i, expert in enumerate((s.first, s.second, s.third)):
        mine = gates.argmax(1) == i
        out[mine] = expert(x[mine]) * gates[mine, i, None]
    return out


def dense(s, x):
    for layer in (s.a, s.b):
        x = torch.cat([x, F.relu(layer(x))], 1)
    return s.head(x.flatten(1))


def upside_down(s, x):
    """An example with a positive first pixel takes another way: an ordinary `if`, one at a time."""
    return torch.stack([s.b(s.a(e)) if e[0] > 0 else s.b(-s.a(e)) for e in x.flatten(1)])


def shared(layer):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(PIXELS, 8), layer, nn.ReLU(), layer, nn.Linear(8, CLASSES)
    )


def tied():
    network = Net(
        lambda s, x: s.c(F.relu(s.b(F.relu(s.a(F.relu(s.enter(x.flatten(1)))))))),
        enter=nn.Linear(PIXELS, 8), a=nn.Linear(8, 8), b=nn.Linear(8, 8), c=nn.Linear(8, CLASSES),
    )  # fmt: skip
    network.b.weight = network.a.weight
    return network


def same_memory():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8),
        nn.ReLU(), nn.Linear(8, CLASSES),
    )  # fmt: skip
    network[5].weight = nn.Parameter(network[3].weight.detach())
    return network


def overlapping():
    network = same_memory()
    numbers = torch.randn(80)
    network[3].weight = nn.Parameter(numbers[:64].view(8, 8))
    network[5].weight = nn.Parameter(numbers[16:].view(8, 8))
    return network


def fitted():
    """`a` is used by its layer and once more without it; see `data` for the losses of 0."""
    return Net(
        lambda s, x: (
            s.b(F.relu(F.linear(F.relu(s.a(x.flatten(1))), s.a.weight)))
            + 1e3 * x[:, 0, 0, :CLASSES]
        ),
        a=nn.Linear(PIXELS, PIXELS),
        b=nn.Linear(PIXELS, CLASSES),
    )


def self_holding():
    network = Net(lambda s, x: s.head(s.first(x)), head=nn.Linear(8, CLASSES))
    network.a = nn.Linear(PIXELS, 8)
    network.first = lambda x: F.relu(network.a(x.flatten(1)))
    return network


def transformer_decoder(s, x):
    x = sequence(x)
    return s.head(s.layer(x, 0.5 * x.flip(1)).mean(1))


def checkpointed(reentrant):
    def forward(s, x):
        h = s.a(x.flatten(1))
        return s.c(checkpoint(s.b, h, use_reentrant=reentrant))

    return Net(
        forward,
        a=nn.Linear(PIXELS, 8),
        b=nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
        c=nn.Linear(8, CLASSES),
    )


def mixed_up(dimension):
    """Every example minus its mean along a dimension."""
    return Do(lambda x: x - x.mean(dimension, keepdim=True))


# --------------------------------------------------------------------------------- zoo

RIGHT: dict[str, Builder] = {
    # Fully connected
    "fully connected": lambda: networks.fully_connected(PIXELS, 8, CLASSES),
    "fully connected without normalisation": lambda: networks.fully_connected(
        PIXELS, 8, CLASSES, norm=False),
    "three linear layers": lambda: hidden(nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()),
    "softmax regression": lambda: flat(last=PIXELS),
    "more outputs than labels": lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 7)),
    "momentum and eps of one's own": lambda: hidden(
        nn.BatchNorm1d(8, eps=0.01, momentum=0.3), nn.ReLU()),
    "ReLU in place": lambda: hidden(nn.BatchNorm1d(8), nn.ReLU(inplace=True)),
    "no bias": lambda: flat(nn.Linear(PIXELS, 8, bias=False), nn.ReLU()),
    "dropout": lambda: hidden(nn.Dropout(0.3), nn.ReLU()),
    "bilinear": lambda: Net(
        lambda s, x: s.layer(x[:, 0, 0], x[:, 0, 1]), layer=nn.Bilinear(6, 6, CLASSES)),
    # Convolutions
    "small-lenet": networks.small_lenet,
    "all-convolutional": lambda: networks.allcnn(CLASSES, 1, (3, 4), 1),
    "Conv1d": lambda: nn.Sequential(
        Do(sequence), nn.Conv1d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)),
    "Conv3d": lambda: convolved(
        Do(lambda x: x.reshape(-1, 1, 4, 3, 3)), nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU(),
        numbers=24),
    "stride and dilation": lambda: convolved(
        nn.Conv2d(1, 3, 2, stride=2, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 2, dilation=2),
        numbers=8),
    "grouped convolution": lambda: convolved(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=2), numbers=36),
    "depthwise convolution": lambda: convolved(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=4), numbers=36),
    "circular padding": lambda: convolved(
        nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"), numbers=108),
    "reflected padding": lambda: convolved(
        nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect"), numbers=108),
    "replicated padding": lambda: convolved(
        nn.Conv2d(1, 3, 3, padding=1, padding_mode="replicate"), numbers=108),
    "padding to the same size": lambda: convolved(nn.Conv2d(1, 3, 3, padding="same"), numbers=108),
    "ConvTranspose1d": lambda: nn.Sequential(
        Do(sequence), nn.ConvTranspose1d(6, 2, 2), nn.Flatten(), nn.Linear(14, CLASSES)),
    "ConvTranspose2d": lambda: convolved(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.ConvTranspose2d(2, 2, 2), numbers=50),
    "ConvTranspose3d": lambda: convolved(
        Do(lambda x: x.reshape(-1, 1, 4, 3, 3)), nn.ConvTranspose3d(1, 1, 2), numbers=80),
    "pixel shuffle": lambda: convolved(
        nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.ReLU(), numbers=64),
    "unfold": lambda: convolved(nn.Unfold(3), nn.ReLU(), numbers=144),
    "pooling of several kinds": lambda: convolved(
        nn.Conv2d(1, 3, 2), nn.LPPool2d(2, 2), nn.Upsample(scale_factor=2), nn.AdaptiveMaxPool2d(3),
        numbers=27),
    # Tokens
    "embedding": lambda: words(nn.Embedding(WORDS, 3), 15),
    "embedding with padding": lambda: words(nn.Embedding(WORDS, 3, padding_idx=0), 15),
    "bag of words": lambda: words(nn.EmbeddingBag(WORDS, 3)),
    "bag of words, maximum": lambda: words(nn.EmbeddingBag(WORDS, 3, mode="max")),
    "embedding and LSTM": lambda: nn.Sequential(
        nn.Embedding(WORDS, 3), nn.LSTM(3, 4, batch_first=True), Do(lambda o: o[0][:, -1]),
        nn.Linear(4, CLASSES)),
    "tied embedding": lambda: Net(
        lambda s, x: F.linear(s.words(x).mean(1), s.words.weight), words=nn.Embedding(WORDS, 3)),
    # Recurrent
    "RNN": lambda: recurrent(nn.RNN(6, 8, batch_first=True), 8),
    "GRU": lambda: recurrent(nn.GRU(6, 8, batch_first=True), 8),
    "LSTM": lambda: recurrent(nn.LSTM(6, 8, batch_first=True), 8),
    "LSTM in both directions": lambda: recurrent(
        nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True), 8),
    "LSTM with projection": lambda: recurrent(nn.LSTM(6, 8, proj_size=3, batch_first=True), 3),
    "RNNCell": lambda: stepped(nn.RNNCell(6, 8)),
    "GRUCell": lambda: stepped(nn.GRUCell(6, 8)),
    "LSTMCell": lambda: stepped(nn.LSTMCell(6, 8)),
    # Attention
    "attention": lambda: attention(batch_first=True),
    "transformer encoder": lambda: nn.Sequential(
        Do(sequence), nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        Do(lambda x: x.mean(1)), nn.Linear(6, CLASSES)),
    "transformer decoder": lambda: Net(
        transformer_decoder, layer=nn.TransformerDecoderLayer(6, 2, 8, batch_first=True),
        head=nn.Linear(6, CLASSES)),
    # Normalisations
    "LayerNorm": lambda: settled(hidden(nn.LayerNorm(8), nn.ReLU())),
    "RMSNorm": lambda: settled(hidden(nn.RMSNorm(8), nn.ReLU())),
    "GroupNorm": lambda: settled(
        convolved(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), numbers=64)),
    "InstanceNorm2d": lambda: settled(
        convolved(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, affine=True), nn.ReLU(), numbers=48)),
    "InstanceNorm2d with running moments": lambda: settled(
        convolved(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, track_running_stats=True), nn.ReLU(),
        numbers=48)),
    "local response normalisation": lambda: convolved(
        nn.Conv2d(1, 4, 3), nn.LocalResponseNorm(2), numbers=64),
    "BatchNorm without scale": lambda: settled(hidden(nn.BatchNorm1d(8, affine=False), nn.ReLU())),
    "BatchNorm with plain means": lambda: settled(
        hidden(nn.BatchNorm1d(8, momentum=None), nn.ReLU())),
    "BatchNorm first": lambda: settled(
        convolved(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3), nn.ReLU(), numbers=48)),
    "BatchNorm after ReLU": lambda: settled(
        convolved(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), numbers=48)),
    "BatchNorm without shift": lambda: frozen(
        settled(hidden(nn.BatchNorm1d(8), nn.ReLU())), "2.bias"),
    "BatchNorm across rows": lambda: settled(
        nn.Sequential(Do(sequence), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Flatten(),
        nn.Linear(PIXELS, CLASSES))),
    # Activations
    "PReLU": lambda: hidden(nn.PReLU()),
    "PReLU of each unit": lambda: hidden(nn.PReLU(8)),
    "RReLU": lambda: hidden(nn.RReLU()),
    "GLU": lambda: flat(nn.Linear(PIXELS, 16), nn.GLU()),
    "GELU, SiLU, softplus": lambda: hidden(nn.GELU(), nn.SiLU(), nn.Softplus()),
    "maxout": lambda: flat(nn.Linear(PIXELS, 16), nn.Unflatten(1, (8, 2)), Do(lambda x: x.amax(2))),
    "straight-through rounding": lambda: hidden(Do(Rounded.apply)),
    # Weights in uncommon places
    "tied weights": tied,
    "layer used twice": lambda: shared(nn.Linear(8, 8)),
    "BatchNorm used twice": lambda: shared(settled(nn.BatchNorm1d(8))),
    "weight used outside its layer": fitted,
    "weight used outside its layer, fitted": fitted,
    "residual": lambda: settled(
        Net(lambda s, x: s.c((h := s.a(x.flatten(1))) + F.relu(s.n(s.b(h)))),
        a=nn.Linear(PIXELS, 8), b=nn.Linear(8, 8), n=nn.BatchNorm1d(8), c=nn.Linear(8, CLASSES))),
    "dense connections": lambda: Net(
        dense, a=nn.Conv2d(1, 2, 3, padding=1), b=nn.Conv2d(3, 2, 3, padding=1),
        head=nn.Linear(5 * PIXELS, CLASSES)),
    "a convolution to the classes": lambda: Net(
        lambda s, x: s.layer(x).flatten(1), layer=nn.Conv2d(1, CLASSES, SIDE)),
    "single numbers": lambda: hidden(Scale(), nn.ReLU()),
    "list of parameters": lambda: Net(
        lambda s, x: x.flatten(1) @ s.all[0] + s.all[1],
        all=nn.ParameterList([torch.randn(PIXELS, CLASSES) / 6, torch.zeros(CLASSES)])),
    "weight normalisation": lambda: changed(parametrizations.weight_norm),
    "spectral normalisation": lambda: changed(parametrizations.spectral_norm),
    "orthogonal weights": lambda: changed(parametrizations.orthogonal),
    "frozen layer": lambda: frozen(
        settled(hidden(nn.BatchNorm1d(8), nn.ReLU())),
        *("1.weight", "1.bias", "2.weight", "2.bias")),
    "frozen bias": lambda: frozen(hidden(nn.ReLU()), "1.bias"),
    "frozen last layer": lambda: frozen(hidden(nn.ReLU()), "3.weight", "3.bias"),
    "layer never called": lambda: Net(
        lambda s, x: s.b(F.relu(s.a(x.flatten(1)))), a=nn.Linear(PIXELS, 8), never=nn.Linear(3, 3),
        b=nn.Linear(8, CLASSES)),
    "detached branch": lambda: Net(
        lambda s, x: s.a(x.flatten(1)) + s.b(x.flatten(1)).detach(), a=nn.Linear(PIXELS, CLASSES),
        b=nn.Linear(PIXELS, CLASSES)),
    # Changed layers
    "subclass of Linear": lambda: nn.Sequential(
        nn.Flatten(), HalfLinear(PIXELS, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
    "subclass of ReLU": lambda: hidden(LeakyReLU()),
    "subclass of BatchNorm1d": lambda: settled(hidden(DoubledNorm(8), nn.ReLU())),
    "subclass of Sequential": lambda: SkippingSequential(
        nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
    "forward hook": lambda: changed(
        lambda layer: layer.register_forward_hook(lambda m, i, o: 0.5 * o)),
    "forward pre-hook": lambda: changed(
        lambda layer: layer.register_forward_pre_hook(lambda m, i: (2 * i[0],))),
    "forward hook of the whole network": lambda: changed(
        lambda layer: layer.register_forward_hook(lambda m, i, o: 0.5 * o), ""),
    "backward hook": lambda: changed(
        lambda layer: layer.register_full_backward_hook(lambda m, i, o: (3 * i[0],)), "3"),
    "graph of torch.fx": lambda: fx.symbolic_trace(hidden(nn.BatchNorm1d(8), nn.ReLU())),
    # Ways that depend on the example
    "layer that some blocks call": lambda: Net(
        some_blocks, a=nn.Linear(PIXELS, 8), extra=nn.Linear(8, 8), b=nn.Linear(8, CLASSES)),
    "hard mixture of experts": lambda: Net(
        experts, gate=nn.Linear(PIXELS, 3),
        **{name: nn.Linear(PIXELS, CLASSES) for name in ("first", "second", "third")}),
    "if on each example": lambda: Net(upside_down, a=nn.Linear(PIXELS, 8), b=nn.Linear(8, CLASSES)),
    # Memory and state
    "checkpointing": lambda: checkpointed(False),
    "sum in place": lambda: Net(
        lambda s, x: s.b(F.relu(s.a(x.flatten(1)).add_(1).mul_(0.5))), a=nn.Linear(PIXELS, 8),
        b=nn.Linear(8, CLASSES)),
    "counter of calls": lambda: hidden(Counter(), nn.ReLU()),
    "sequence inside a sequence": lambda: nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(PIXELS, 8), nn.ReLU()), nn.Linear(8, CLASSES)),
}  # fmt: skip

REFUSED: dict[str, tuple[Builder, str]] = {
    "old weight_norm": (lambda: changed(nn.utils.weight_norm),
        r"1\.weight.*parametrizations\.weight_norm"),
    "old spectral_norm": (
        lambda: changed(nn.utils.spectral_norm), r"1\.weight.*parametrizations\.spectral_norm"),
    "pruning": (lambda: changed(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
        r"1\.weight.*prune\.remove"),
    "lazy layer": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)),
        r"1\.weight.*no size yet"),
    "weights without values": (lambda: changed(lambda layer: layer.to("meta")), r"1\.weight.*meta"),
    "double precision": (lambda: hidden(nn.ReLU()).double(), "float64.*float32"),
    "half precision": (lambda: hidden(nn.ReLU()).bfloat16(), "bfloat16.*float32"),
    "one layer in double precision": (
        lambda: changed(nn.Module.double, "3"), r"3\.weight.*float64.*float32"),
    "complex weights": (lambda: Net(
        lambda s, x: (x.flatten(1).to(torch.complex64) @ s.all[0]).abs(),
        all=nn.ParameterList([torch.randn(PIXELS, CLASSES, dtype=torch.complex64)])),
        r"all\.0.*complex64"),
    "double precision on tokens": (
        lambda: words(nn.Embedding(WORDS, 3), 15).double(), "float64.*float32"),
    "nothing trainable": (
        lambda: hidden(nn.ReLU()).requires_grad_(False), "nothing.*requires_grad"),
    "no weights": (lambda: nn.Sequential(nn.Flatten(), Do(lambda x: x[:, :CLASSES])), "no weights"),
    "weights that reach no output": (
        lambda: Net(lambda s, x: s.a(x.flatten(1)).detach(), a=nn.Linear(PIXELS, CLASSES)),
        "depends on no weight"),
    "fewer outputs than labels": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 3)), "3 outputs.*labels.*3"),
    "tuple of outputs": (
        lambda: Net(lambda s, x: (s.a(x.flatten(1)), x), a=nn.Linear(PIXELS, CLASSES)), "tuple"),
    "tuple of outputs in training": (Auxiliary, "tuple.*training mode"),
    "mapping of outputs": (
        lambda: Net(lambda s, x: {"logits": s.a(x.flatten(1))}, a=nn.Linear(PIXELS, CLASSES)),
        "dict"),
    "no output": (lambda: nn.Sequential(hidden(), Do(lambda x: None)), "None"),
    "output of whole numbers": (
        lambda: nn.Sequential(hidden(), Do(lambda x: x.argmax(1, keepdim=True).expand(-1, 4))),
        "int64"),
    "squeezed output": (lambda: nn.Sequential(nn.Conv2d(1, CLASSES, SIDE), Do(torch.squeeze)),
        r"\(4,\).*squeeze"),
    "output of images": (lambda: nn.Conv2d(1, CLASSES, 3), r"\(\d+, 4, 4, 4\).*\(batch, classes\)"),
    "NaN": (lambda: changed(lambda layer: layer.weight.data[0, :1].fill_(torch.nan)), "NaN"),
    "infinite output": (lambda: nn.Sequential(hidden(), Do(lambda x: x / 0)), "infinite"),
    "other size of images": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(49, CLASSES)), r"layer 1 \(Linear\)"),
    "forward wants labels": (WithLabels, "labels"),
    "dropout that is always on": (
        lambda: hidden(Do(lambda x: F.dropout(x, 0.5))), r"random.*layer 2 \(Do\).*self\.training"),
    "random pooling": (lambda: convolved(
        nn.Conv2d(1, 2, 2), nn.FractionalMaxPool2d(2, output_size=3), numbers=18),
        r"random.*layer 1 \(FractionalMaxPool2d\)"),
    "running mean that moves in evaluation": (
        lambda: hidden(Running(), nn.ReLU()), "changes.*2.mean"),
    "batch statistics": (
        lambda: hidden(nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU()),
        "batch statistics in 2"),
    "minus the mean of the batch": (
        lambda: hidden(mixed_up(0), nn.ReLU()), r"couples the examples.*layer 2 \(Do\)"),
    "branch on the size of the batch": (
        lambda: Net(lambda s, x: s.b(s.c(s.a(x)) if len(x) > 1 else s.a(x)[:, :3]),
        a=nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8)), c=nn.Linear(8, 3),
        b=nn.Linear(3, CLASSES)), r"couples the examples of a batch.*the network itself"),
    "softmax over the batch": (lambda: hidden(nn.Softmax(0)), r"couples.*2 \(Softmax\)"),
    "attention over the batch": (attention, "couples the examples"),
    "LSTM over the batch": (lambda: recurrent(nn.LSTM(6, 8), 8), "couples the examples"),
    "gradients scaled by frequency": (
        lambda: words(nn.Embedding(WORDS, 3, scale_grad_by_freq=True), 15),
        r"0\.weight.*scale_grad_by_freq"),
    "sparse gradients": (
        lambda: words(nn.Embedding(WORDS, 3, sparse=True), 15), r"0\.weight.*sparse"),
    "embedding that shortens its rows": (
        lambda: words(nn.Embedding(WORDS, 3, max_norm=0.5), 15), r"0 \(Embedding\).*max_norm"),
    "tokens beyond the vocabulary": (
        lambda: words(nn.Embedding(4, 3), 15), r"layer 0 \(Embedding\)"),
    "input changed in place": (
        lambda: nn.Sequential(nn.ReLU(inplace=True), hidden()), "changes its input"),
    "hook on a weight": (
        lambda: changed(lambda layer: layer.weight.register_hook(lambda slope: 2 * slope)),
        r"1\.weight.*hook"),
    "two weights that overlap in memory": (overlapping, r"3\.weight.*5\.weight"),
    "two weights in the same memory": (same_memory, r"3\.weight.*5\.weight"),
    "reentrant checkpointing": (lambda: checkpointed(True), "use_reentrant=False"),
    "function that holds the network": (self_holding, "weights of the original.*lambda"),
    "gradient that is not finite": (
        lambda: hidden(Do(lambda x: x + ((x - x) ** 2).sqrt())), r"gradient of 1\.weight.*NaN"),
    "state that a snapshot would lose": (
        lambda: hidden(Annealed(), nn.ReLU()), "state outside.*register_buffer"),
    "layer that is frozen while it runs": (
        FreezingInTraining, r"requires_grad of a\.weight.*builder"),
    "complex buffer that moves": (
        lambda: hidden(ComplexScale(), nn.ReLU()), "state outside.*real numbers"),
    "BatchNorm and batches of one": (
        lambda: settled(hidden(nn.BatchNorm1d(8), nn.ReLU())),
        r"training mode.*layer 2 \(BatchNorm1d\).*\(1, 1, 6, 6\)"),
    "what cannot be copied": (lambda: hidden(Uncopied(), nn.ReLU()), "copied"),
}  # fmt: skip

ZOO = RIGHT | {name: builder for name, (builder, _) in REFUSED.items()}

TOKENS = (
    "embedding",
    "embedding with padding",
    "bag of words",
    "bag of words, maximum",
    "embedding and LSTM",
    "tied embedding",
    "double precision on tokens",
    "gradients scaled by frequency",
    "sparse gradients",
    "embedding that shortens its rows",
    "tokens beyond the vocabulary",
)
# The compiled loops take these, too.
COMPILED = {
    "fully connected",
    "fully connected without normalisation",
    "three linear layers",
    "softmax regression",
    "more outputs than labels",
    "momentum and eps of one's own",
}
INPUTS = {
    **dict.fromkeys(TOKENS, "tokens"),
    "small-lenet": "large",
    "weight used outside its layer, fitted": "fitted",
}
BATCH_SIZE = {"small-lenet": EXAMPLES, "BatchNorm and batches of one": 1}
