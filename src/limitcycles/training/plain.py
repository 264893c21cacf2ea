"""Sequences of torch's own layers, of which it is known what they compute."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.utils import parametrize


def why_not_plain(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> str | None:
    """Why `network` may compute something else than its layers, read one by one, say; or None.

    Plain is a `torch.nn.Sequential` of layers of exactly these `kinds`, without hooks and without
    a `forward` of their own, whose parameters are ordinary, all trained, and each used once.
    Only the given objects are looked at: hooks on all modules and changed classes are not seen.
    """
    if type(network) is not nn.Sequential:
        kind = type(network)
        return f"a {kind.__module__}.{kind.__qualname__} is not torch.nn.Sequential itself"
    if not len(network):
        return "it has no layers"
    names = ", ".join(kind.__name__ for kind in kinds)
    named: list[tuple[str, Tensor]] = []
    for path, layer in [("", network), *network._modules.items()]:
        who = f"layer {path} ({type(layer).__name__})" if path else "the sequence"
        if parametrize.is_parametrized(layer):
            return f"{who} has parametrized weights"
        if path and type(layer) not in kinds:
            ancestor = next((kind.__name__ for kind in kinds if isinstance(layer, kind)), None)
            return f"{who} is " + (f"a subclass of {ancestor}" if ancestor else f"none of {names}")
        if (more := added(layer)) is not None:
            return f"{who} has {more}"
        if path and layer._modules:
            return f"{who} has layers of its own"
        if layer._parameters.keys() - ({"weight", "bias"} if path else set()):
            return f"{who} has parameters that such a layer does not use"
        for key, parameter in layer._parameters.items():
            if parameter is None:
                continue
            name = f"{path}.{key}"
            if type(parameter) is not nn.Parameter:
                return f"{name} is a {type(parameter).__name__}, no plain parameter"
            if not parameter.requires_grad:
                return f"{name} is frozen (requires_grad=False)"
            if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
                return f"{name} has a hook"
            if parameter.is_meta:
                return f"{name} has no values (device meta)"
            named.append((name, parameter))
    shared = overlapping(named)
    return shared and f"{shared[0]} and {shared[1]} are the same numbers, or share some"


def overlapping(named: Iterable[tuple[str, Tensor]]) -> tuple[str, str] | None:
    """The names of two tensors that have numbers in common, or None.

    Of tensors with gaps in memory only the first number is looked at.
    """
    spans = []
    for order, (name, tensor) in enumerate(named):
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        if tensor.numel():
            dense = 1 + sum((size - 1) * step for size, step in steps) == tensor.numel()
            length = tensor.itemsize * (tensor.numel() if dense else 1)
            spans.append((tensor.data_ptr(), order, length, name))
    spans.sort()
    for (start, _, length, name), (following, _, _, other) in itertools.pairwise(spans):
        if following < start + length:
            return name, other
    return None


def added(layer: nn.Module) -> str | None:
    """What makes calling `layer` do something else than its class says, say; or None."""
    if "forward" in vars(layer):
        return "a forward of its own"
    hooks = (f"_{when}_hooks" for when in ("forward_pre", "forward", "backward_pre", "backward"))
    return "a hook" if any(getattr(layer, kind) for kind in hooks) else None
