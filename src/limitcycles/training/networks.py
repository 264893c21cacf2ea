"""The paper's networks, and what is known of any network without running it.

Layer orders are those of the authors' code: convolution or linear, batch normalisation, ReLU,
pooling, dropout. With them the numbers of weights are the paper's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from limitcycles.configuration.plugins import resolve
from limitcycles.runtime.errors import LimitcyclesError


class NetworkError(LimitcyclesError):
    """A network that cannot be built, or is not the one that was asked for."""


def small_lenet(classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """LeNet of Fig. 1a for images of shape (1, 28, 28): 13,338 weights with 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3),
        nn.Dropout(dropout),
        nn.Conv2d(8, 16, 5),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, classes),
    )


def fully_connected(inputs: int, hidden: int, classes: int, norm: bool = True) -> nn.Sequential:
    """One hidden layer, with batch normalisation or without, for images with `inputs` pixels.

    small-fc (Fig. 1b) is 49-64-10 with 3,978 weights, tiny-fc (Fig. 3) 49-16-5 with 917.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, hidden),
        *([nn.BatchNorm1d(hidden)] if norm else []),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def allcnn(
    classes: int = 10,
    channels: int = 3,
    widths: Sequence[int] = (12, 24),
    depth: int = 2,
    norm: bool = True,
) -> nn.Sequential:
    """All-convolutional network of Fig. 2 (Springenberg et al. 2015, arXiv 1412.6806).

    Each convolution is followed by batch normalisation (unless `norm` is false) and ReLU, the last
    one too. `depth` 3x3 layers and one more of stride 2 with widths[0] channels, the same with
    widths[1], `depth` 3x3 layers, a 1x1 layer to the classes, and the mean over all positions,
    which is the 8x8 average pool of the paper on images of 32x32. Images of shape
    (channels, height, width) may have any size. small-allcnn, with the defaults: 26,982 weights
    with 10 classes, 29,412 with 100.
    """
    layers: list[nn.Module] = []
    before = channels

    def add(width: int, kernel: int = 3, stride: int = 1):
        nonlocal before
        layers.append(nn.Conv2d(before, width, kernel, stride, padding=kernel // 2))
        layers.extend([nn.BatchNorm2d(width)] if norm else [])
        layers.append(nn.ReLU())
        before = width

    for width in widths:
        for _ in range(depth):
            add(width)
        add(width, stride=2)
    for _ in range(depth):
        add(before)
    add(classes, kernel=1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "small-lenet": small_lenet,
    "fc": fully_connected,
    "allcnn": allcnn,
}


def build(spec: dict) -> nn.Module:
    """Build a network from its entry in the configuration.

    `spec` has `builder` (a name in BUILDERS or "package.module:function"), `options` (keyword
    arguments) and `weights` (the number of weights that the network must have, or None). The
    initial weights come from torch's global generator.

    Raises NetworkError: unknown builder, one that fails, as with options that it does not take,
    layers without a size, another count.
    """
    name = spec["builder"]
    if ":" in name:
        builder = resolve(name)
    elif name in BUILDERS:
        builder = BUILDERS[name]
    else:
        near = difflib.get_close_matches(name, BUILDERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(BUILDERS)};"
        raise NetworkError(
            f"unknown network builder {name!r}: {hint} "
            'A network of your own is named "package.module:function".'
        )
    options = spec.get("options") or {}
    called = f"network builder {name!r} with options {options}"
    try:
        network = builder(**options)
    except (Exception, SystemExit) as error:  # it runs code of the user's
        raise NetworkError(f"{called} fails: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"network builder {name!r} returned {type(network).__name__}, not a torch.nn.Module"
        )
    check_sizes(network)
    count = count_weights(network)
    expected = spec.get("weights")
    if expected is not None and count != expected:
        raise NetworkError(
            f"network builder {name!r} gives {count:,} weights, the configuration says "
            f"{expected:,}: correct `weights`, or the options {options}"
        )
    return network


def check_sizes(network: nn.Module) -> None:
    """Raise NetworkError where a parameter or buffer has no size or no values yet."""
    for path, module in network.named_modules():
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
            name = f"{path}.{key}".lstrip(".")
            if is_lazy(tensor):
                raise NetworkError(
                    f"{name} has no size yet: write {type(module).__name__} with its sizes, or "
                    "call the network once in the builder, on numbers of the shape of its images"
                )
            if tensor is not None and tensor.is_meta:
                raise NetworkError(
                    f"{name} is on the device meta and has no values: build it on the CPU"
                )


def channels_last(network: nn.Module) -> nn.Module:
    """`network` itself, with the weights of convolutions of images in that order: faster pooling.

    Unlike `Module.to(memory_format=...)` it leaves those of volumes, which have no such order.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            # Not .contiguous(), which leaves the strides of a single channel as they are.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return network


def short(dtype: torch.dtype) -> str:
    """float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that SGD moves: parameters with `requires_grad`, by name, in the order of
    `named_parameters`. Their numbers, in C order, are the columns of gradients and trajectories."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def count_weights(network: nn.Module) -> int:
    """d, the number of trainable numbers; frozen ones are none."""
    return sum(p.numel() for p in trainable(network).values())


def flatten(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights, shape (d,), and all else that a network holds, shape (m,), on the CPU.

    The weights are those of `trainable`, in its order. The others, its "buffers", are the frozen
    parameters and after them buffers such as running means, in the order of `named_parameters` and
    `named_buffers`, as float64 (which holds the counter of batches exactly). All in C order.
    """
    weights, buffers = _parts(network)
    return (
        torch.cat([torch.empty(0), *(p.detach().cpu().reshape(-1) for p in weights)]),
        torch.cat([torch.empty(0).double(), *(b.detach().cpu().double().ravel() for b in buffers)]),
    )


def restore(network: nn.Module, weights: np.ndarray, buffers: np.ndarray) -> nn.Module:
    """Put weights and buffers as `flatten` gives them into `network`, and return it.

    Raises NetworkError: the lengths are those of another network.
    """
    for kind, own, given in zip(
        ("weights", "buffers"), _parts(network), (weights, buffers), strict=True
    ):
        expected = sum(t.numel() for t in own)
        if expected != len(given):
            raise NetworkError(f"{len(given)} {kind} given to a network with {expected}")
        start = 0
        with torch.no_grad():
            for tensor in own:
                part = torch.from_numpy(np.asarray(given[start : start + tensor.numel()]))
                tensor.copy_(part.reshape(tensor.shape))
                start += tensor.numel()
    return network


def _parts(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    frozen = [p for p in network.parameters() if not p.requires_grad]
    return list(trainable(network).values()), [*frozen, *network.buffers()]
