"""What can be said against a network without running it."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from limitcycles.training import networks
from limitcycles.training.networks import NetworkError
from limitcycles.training.plain import overlapping


def check_parts(network: nn.Module, wanted: torch.dtype | None) -> None:
    """Raise NetworkError where the parameters of a network stand in the way of training it.

    `wanted` is the dtype that its parameters must have; None: that of its first weight.
    """
    networks.check_sizes(network)
    _check_computed(network)
    parameters = dict(network.named_parameters())
    if not parameters:
        raise NetworkError("the network has no weights: there is nothing to train")
    weights = networks.trainable(network)
    if not weights:
        raise NetworkError(
            "nothing in the network can be trained: no parameter has requires_grad; leave out "
            "requires_grad_(False) for the layers that SGD shall move"
        )
    _check_precision(parameters, wanted or next(iter(weights.values())).dtype)
    for name, p in weights.items():
        if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            raise NetworkError(
                f"the weight {name} has a hook on its gradient, which copies of the network lose: "
                "put what it does into `forward`"
            )
    _check_memory(parameters)


def copied(network: nn.Module) -> nn.Module:
    """A deep copy. Raises NetworkError: a part of it cannot be copied."""
    try:
        return copy.deepcopy(network)
    except Exception as error:
        guilty = ""
        for path, module in network.named_modules():
            try:
                copy.deepcopy(module)
            except Exception:
                guilty = path  # the last one is the innermost of its branch
        raise NetworkError(
            f"the network cannot be copied, for {guilty or 'it'} holds what copy.deepcopy refuses "
            f"({type(error).__name__}: {error}): keep such things outside the network"
        ) from error


def _check_computed(network: nn.Module) -> None:
    for path, module in network.named_modules():
        if getattr(module, "max_norm", None) is not None:
            raise NetworkError(
                f"{path or 'the network'} ({type(module).__name__}) has max_norm: it changes its "
                "weights whenever it is called, which no gradient knows of; leave it out"
            )
        for key, tensor in _plain_tensors(module):
            name = f"{path}.{key}".lstrip(".")
            if f"{key}_mask" in module._buffers and f"{key}_orig" in module._parameters:
                raise NetworkError(
                    f"{name} is pruned: such a network cannot be copied. Make the zeros plain "
                    f"numbers with torch.nn.utils.prune.remove(layer, {key!r}), or multiply by a "
                    "mask in `forward`"
                )
            for old, mark in (("weight_norm", "_g"), ("spectral_norm", "_orig")):
                if f"{key}{mark}" in module._parameters:
                    raise NetworkError(
                        f"{name} is made by the old torch.nn.utils.{old}, with which a network "
                        f"cannot be copied: use torch.nn.utils.parametrizations.{old}"
                    )
            if tensor.requires_grad:
                raise NetworkError(
                    f"{name} is a tensor that requires a gradient but no parameter: SGD would not "
                    "move it. Make it an nn.Parameter, or compute it in `forward`"
                )


def _plain_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, value in [*vars(module).items(), *module._buffers.items()]:
        if isinstance(value, Tensor):
            yield key, value


def _check_precision(parameters: dict[str, nn.Parameter], wanted: torch.dtype) -> None:
    for name, p in parameters.items():
        wrong = p.dtype != wanted or p.dtype not in (torch.float32, torch.float64)
        if wrong and (p.is_floating_point() or p.is_complex()):
            raise NetworkError(
                f"{name} is {networks.short(p.dtype)}, the images or the other weights are "
                f"{networks.short(wanted)}: all must be float32, or all float64 where nothing is "
                "trained; leave out .double(), .half() or dtype= in the builder"
            )


def _check_memory(parameters: dict[str, nn.Parameter]) -> None:
    for name, p in parameters.items():
        if any(step == 0 and size > 1 for step, size in zip(p.stride(), p.shape, strict=True)):
            raise NetworkError(f"{name} has one number in many places: give it a .clone() of that")
    if (shared := overlapping(parameters.items())) is not None:
        raise NetworkError(
            f"{shared[0]} and {shared[1]} are two parameters in the same memory: tie weights by "
            "sharing one parameter, as in b.weight = a.weight"
        )
