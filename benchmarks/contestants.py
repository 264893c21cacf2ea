"""The ways of computing per-sample gradients that are compared, each at its own idiom.

A contestant is made from a network in evaluation mode and gives a function (images, labels) ->
one tensor (n, ...) for each parameter, in the order of `networks.trainable`: row k is the gradient
of the cross-entropy of example k, not divided by n. Libraries are imported by the contestant that
needs them, so that each process holds one of them only.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from limitcycles.training.networks import trainable

Rows = Callable[[Tensor, Tensor], list[Tensor]]


def torch_func(network: nn.Module, channels_last: bool) -> Rows:
    """`vmap(grad)` of torch.func."""
    from torch.func import functional_call, grad, vmap

    network = _layout(network, channels_last)
    parameters = trainable(network)
    network.requires_grad_(False)

    def loss(parameters, x, y):
        return F.cross_entropy(functional_call(network, parameters, (x[None],)), y[None])

    rows = vmap(grad(loss), in_dims=(None, 0, 0))
    return lambda images, labels: list(rows(parameters, images, labels).values())


def backpack(network: nn.Module, channels_last: bool) -> Rows:
    """BatchGrad of BackPACK, on its extended model and loss."""
    from backpack import backpack as extensions
    from backpack import extend
    from backpack.extensions import BatchGrad

    # BackPACK's hooks fire with gradients at outputs only, as images need none; torch notes that.
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    network = extend(_layout(network, channels_last))
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    parameters = list(trainable(network).values())

    def rows(images, labels):
        network.zero_grad()
        with extensions(BatchGrad()):
            loss(network(images), labels).backward()
        return [p.grad_batch for p in parameters]

    return rows


def opacus(network: nn.Module, channels_last: bool) -> Rows:
    """GradSampleModule of Opacus; it refuses batch normalisation, whatever the mode.

    Its buffers are refused even with `strict=False`. A user who wants these rows writes a layer
    without buffers and registers a rule for it, as is done here.
    """
    from opacus.grad_sample import register_grad_sampler

    @register_grad_sampler(FrozenNorm)
    def _(layer, activations, gradient):
        (x,) = activations
        over = tuple(range(2, x.ndim))
        standard = (x - layer.mean) * layer.inverse
        scale, shift = gradient * standard, gradient
        if over:
            scale, shift = scale.sum(over), shift.sum(over)
        return {layer.weight: scale, layer.bias: shift}

    frozen = nn.Sequential(
        *(FrozenNorm(m) if isinstance(m, _NORMS) else copy.deepcopy(m) for m in network)
    )
    return _grad_sample_module(frozen, channels_last)


def opacus_folded(network: nn.Module, channels_last: bool) -> Rows:
    """Opacus on a network without batch normalisation: less work than the others have.

    The normalisations are folded into the layers before them; the rows are those of the folded
    network, with 304 columns fewer for small-lenet. This favours Opacus.
    """
    return _grad_sample_module(fold(network), channels_last)


def jax(network: nn.Module, channels_last: bool) -> Rows:
    """`jit(vmap(grad))` of JAX with lax.conv_general_dilated, float32."""
    import jax as library
    import jax.numpy as jnp
    from jax import lax

    layers = _jax_layers(network, channels_last)
    parameters = [jnp.asarray(p.detach().numpy()) for p in network.parameters()]
    dimensions = ("NHWC", "OIHW", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW")

    def forward(parameters, x):
        left = iter(parameters)
        x = jnp.transpose(x[None], (0, 2, 3, 1)) if channels_last else x[None]
        for kind, fixed in layers:
            if kind == "conv":
                x = lax.conv_general_dilated(
                    x, next(left), (1, 1), "VALID", dimension_numbers=dimensions
                )
                x = x + _channels(next(left), x.ndim, channels_last)
            elif kind == "norm":
                mean, inverse = (_channels(v, x.ndim, channels_last) for v in fixed)
                scale, shift = (_channels(next(left), x.ndim, channels_last) for _ in "ab")
                x = (x - mean) * inverse * scale + shift
            elif kind == "linear":
                weight, bias = next(left), next(left)
                x = x @ weight.T + bias
            elif kind == "relu":
                x = jnp.maximum(x, 0)
            elif kind == "pool":
                window = (1, fixed, fixed, 1) if channels_last else (1, 1, fixed, fixed)
                x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
            elif kind == "flatten":
                x = jnp.transpose(x, (0, 3, 1, 2)) if channels_last and x.ndim == 4 else x
                x = x.reshape(1, -1)
        return x[0]

    def loss(parameters, x, y):
        return -library.nn.log_softmax(forward(parameters, x))[y]

    gradient = library.jit(library.vmap(library.grad(loss), in_axes=(None, 0, 0)))

    def rows(images, labels):
        parts = library.block_until_ready(gradient(parameters, images.numpy(), labels.numpy()))
        return [torch.from_dlpack(part) for part in parts]

    return rows


CONTESTANTS = {
    "torch.func": torch_func,
    "BackPACK": backpack,
    "Opacus": opacus,
    "Opacus, folded": opacus_folded,
    "JAX": jax,
}
LABELS = {
    "torch.func": "vmap(grad)",
    "BackPACK": "BatchGrad",
    "Opacus": "GradSampleModule; batch normalisation replaced by a layer without buffers and "
    "with a rule of its own, because Opacus refuses batch normalisation in any mode",
    "Opacus, folded": "GradSampleModule on the network with batch normalisation folded away: "
    "less work than the others do, which favours this peer",
    "JAX": "jit(vmap(grad)), lax.conv_general_dilated",
}
PACKAGES = {
    "torch.func": "torch",
    "BackPACK": "backpack-for-pytorch",
    "Opacus": "opacus",
    "Opacus, folded": "opacus",
    "JAX": "jax",
}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class FrozenNorm(nn.Module):
    """Batch normalisation in evaluation mode, its statistics constants and not buffers."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        shape = (-1, 1, 1) if isinstance(norm, nn.BatchNorm2d) else (-1,)
        self.weight = nn.Parameter(norm.weight.detach().clone())
        self.bias = nn.Parameter(norm.bias.detach().clone())
        self.shape = shape
        self.mean = norm.running_mean.reshape(shape)
        self.inverse = (norm.running_var + norm.eps).rsqrt().reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.weight.reshape(self.shape), self.bias.reshape(self.shape)
        return (x - self.mean) * self.inverse * scale + shift


def fold(network: nn.Sequential) -> nn.Sequential:
    """The same function without batch normalisation, which goes into the layer before it."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        elif isinstance(layer, nn.BatchNorm1d):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        else:
            layers.append(copy.deepcopy(layer))
    return nn.Sequential(*layers).eval().requires_grad_(True)


def _layout(network: nn.Module, channels_last: bool) -> nn.Module:
    network = copy.deepcopy(network).eval()
    return network.to(memory_format=torch.channels_last) if channels_last else network


def _grad_sample_module(network: nn.Module, channels_last: bool) -> Rows:
    from opacus.grad_sample import GradSampleModule

    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    # Opacus keeps activations in training mode only; no layer that is left heeds the mode.
    plain = nn.Sequential(*(m for m in network if not isinstance(m, nn.Dropout)))
    module = GradSampleModule(_layout(plain, channels_last).train(), loss_reduction="sum")
    parameters = list(trainable(module).values())

    def rows(images, labels):
        module.zero_grad()
        for parameter in parameters:
            parameter.grad_sample = None
        F.cross_entropy(module(images), labels, reduction="sum").backward()
        return [p.grad_sample for p in parameters]

    return rows


def _channels(vector, ndim: int, channels_last: bool):
    return vector.reshape(-1, 1, 1) if ndim == 4 and not channels_last else vector


def _jax_layers(network: nn.Sequential, channels_last: bool) -> list[tuple]:
    """(kind, what is fixed) of each layer; refuses what `jax` above does not compute."""
    layers: list[tuple] = []
    for layer in network:
        if isinstance(layer, nn.Conv2d) and layer.padding == (0, 0) and layer.stride == (1, 1):
            layers.append(("conv", None))
        elif isinstance(layer, _NORMS):
            inverse = (layer.running_var + layer.eps).rsqrt()
            layers.append(("norm", (layer.running_mean.numpy(), inverse.numpy())))
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(("pool", layer.kernel_size))
        elif isinstance(layer, nn.Linear | nn.ReLU | nn.Flatten):
            layers.append((type(layer).__name__.lower(), None))
        elif not isinstance(layer, nn.Dropout):
            raise NotImplementedError(f"no JAX form of {layer}")
    return layers
