"""Per-sample gradients layer by layer: one forward and one backward pass for a block of examples.

What enters each layer and the gradient at what leaves it are kept, and their products are the rows
(Goodfellow 2015, arXiv 1510.01799; BackPACK, Dangel et al. 2020). A batch normalisation that
follows a layer is first folded into it, so that its own passes disappear; the chain rule then gives
the gradient of all four parameters from that of the folded two.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from limitcycles.training.networks import channels_last, trainable
from limitcycles.training.plain import added

Loss = Callable[[Tensor, Tensor], Tensor]
CACHED = 2**19  # bytes of an unfolded input that stay in a processor's cache until they are used


class LayerProducts:
    """The fast method: a folded copy of the network and the layers whose products give the rows.

    It runs what `torch.fx` traced, which does the same operations for every example and calls each
    of these layers exactly once: no row can depend on a branch that was not seen.
    """

    def __init__(self, network: nn.Module, entries: list[tuple]):
        self.network = channels_last(network)
        self.entries = entries  # (layer of the folded network, its rule, destination slices, fold)

    @classmethod
    def of(cls, model: nn.Module) -> LayerProducts | None:
        """For a network in evaluation mode; None where

        - `torch.fx` cannot trace it, or a module has hooks or another `forward` than its class;
        - a weight is shared, or used other than by its own layer, called once;
        - a weight belongs to a layer without a rule.
        """
        weights, start = {}, 0
        for parameter in trainable(model).values():
            weights[id(parameter)] = slice(start, start + parameter.numel())
            start += parameter.numel()
        names = dict(model.named_modules())
        owners = Counter(id(p) for m in names.values() for p in m._parameters.values())
        if any(map(added, names.values())) or any(owners[p] > 1 for p in weights):
            return None
        graph = _traced(model)
        if graph is None:
            return None
        calls = _calls(graph)
        folded = _fold(graph, calls)
        entries, covered = [], set()
        for path, module in names.items():
            own = dict(module._parameters)
            norm = names[folded[path]] if path in folded else None
            if norm is not None:
                own |= {f"norm_{key}": p for key, p in norm._parameters.items()}
            own = {key: p for key, p in own.items() if p is not None}
            if path in folded.values() or not any(id(p) in weights for p in own.values()):
                continue
            if not _has_rule(module) or calls[path] != 1:
                return None
            covered |= {id(p) for p in own.values()}
            where = {key: weights.get(id(p), p.numel()) for key, p in own.items()}
            fold = None if norm is None else _Fold(module, norm)
            entries.append((graph.get_submodule(path), _RULES[type(module)], where, fold))
        return cls(graph, entries) if covered >= weights.keys() else None

    def fill(self, inputs: Tensor, targets: Tensor, loss: Loss, out: Tensor) -> None:
        """Write the rows of `loss`, a sum over examples of loss(logits, targets), into `out`."""
        if inputs.ndim == 4:  # pooling and the products below are several times faster so
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        taps: dict[nn.Module, list] = {}
        # The first output needs a gradient, too.
        anchor = torch.zeros((), requires_grad=True, device=out.device)

        def tap(module, arguments, output):
            entry = taps[module] = [arguments[0].detach(), None]
            return _Tap.apply(output, anchor, entry)

        hooks = [entry[0].register_forward_hook(tap) for entry in self.entries]
        try:
            with torch.enable_grad():
                loss(self.network(inputs), targets).backward()
        finally:
            for hook in hooks:
                hook.remove()
        for layer, rule, where, fold in self.entries:
            # Of a frozen weight beside a trained one the numbers go nowhere.
            columns = {
                key: out[:, at] if isinstance(at, slice) else out.new_empty(len(out), at)
                for key, at in where.items()
            }
            entered, gradient = taps[layer]
            if gradient is None:  # the loss does not depend on what leaves the layer
                for column in columns.values():
                    column.zero_()
            else:
                rule(layer, entered, gradient, columns, fold)


class _Tap(torch.autograd.Function):
    """Identity that keeps the gradient which passes. Later layers may still work in place."""

    @staticmethod
    def forward(ctx, output, anchor, entry):
        ctx.entry = entry
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx, gradient):
        ctx.entry[1] = gradient
        return gradient, None, None


def _has_rule(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros"):
        return False
    return type(module) in _RULES  # a subclass may do anything


def _traced(model: nn.Module) -> fx.GraphModule | None:
    """The operations on a copy of `model`; None where they may depend on the example."""
    try:
        graph = fx.symbolic_trace(copy.deepcopy(model))
    except Exception:  # tracing runs arbitrary code of the user's module
        return None
    return graph.requires_grad_(False)


def _calls(graph: fx.GraphModule) -> Counter[str]:
    """How often each layer is called with one input and nothing else; a weight that is used by
    itself counts as two calls of its layer."""
    found: Counter[str] = Counter()
    for node in graph.graph.nodes:
        if node.op == "call_module":
            found[node.target] += 1 if len(node.args) == 1 and not node.kwargs else 2
        elif node.op == "get_attr":
            found[node.target.rpartition(".")[0]] += 2
    return found


def _fold(graph: fx.GraphModule, calls: Counter[str]) -> dict[str, str]:
    """Fold each affine batch normalisation of `graph` into the layer before it, in place.

    Returns {path of the layer: path of the normalisation}.
    """
    modules = dict(graph.named_modules())
    fuse = {nn.Conv2d: fuse_conv_bn_eval, nn.Linear: fuse_linear_bn_eval}
    norms = nn.BatchNorm1d, nn.BatchNorm2d
    folded = {}
    for node in graph.graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) not in norms:
            continue
        if calls[node.target] != 1:
            continue
        before = node.args[0]
        norm = modules[node.target]
        if (
            before.op == "call_module"
            and calls[before.target] == 1
            and type(modules[before.target]) in fuse
            and modules[before.target].bias is not None
            and norm.affine
            and norm.num_features == len(modules[before.target].weight)
            and len(before.users) == 1
        ):
            layer = modules[before.target]
            graph.set_submodule(before.target, fuse[type(layer)](layer, norm))
            graph.set_submodule(node.target, nn.Identity())
            folded[before.target] = node.target
    graph.requires_grad_(False)
    return folded


class _Fold:
    """Chain rule of y = γ (Wx + b − m)/s + β = W'x + c with W' = γW/s, c = γ(b − m)/s + β.

    With G the gradient of W' and e that of c: ∂W = (γ/s) G, ∂b = (γ/s) e, ∂β = e and
    ∂γ = ⟨G, W⟩/s + e (b − m)/s.
    """

    def __init__(self, layer: nn.Module, norm: nn.Module):
        deviation = torch.sqrt(norm.running_var + norm.eps)
        self.weight = layer.weight.detach().flatten(1) / deviation[:, None]
        self.scale = (norm.weight / deviation).detach()
        self.offset = ((layer.bias - norm.running_mean) / deviation).detach()

    def write(self, inner: Tensor, bias: Tensor, columns: dict[str, Tensor]) -> None:
        """Write the columns of b, γ and β from ⟨G, W⟩/s and e, both of shape (n, units)."""
        torch.addcmul(inner, bias, self.offset, out=columns["norm_weight"])
        columns["norm_bias"].copy_(bias)
        torch.mul(bias, self.scale, out=columns["bias"])


def _linear(
    layer: nn.Linear, x: Tensor, g: Tensor, columns: dict[str, Tensor], fold: _Fold | None
) -> None:
    """∂/∂W = Σ_t g_t x_tᵀ, ∂/∂b = Σ_t g_t; t runs over extra dimensions, if there are any."""
    weight = columns["weight"].unflatten(1, layer.weight.shape)
    x, g = (t.reshape(len(t), -1, t.shape[-1]) for t in (x, g))
    bias = g.sum(1)
    if fold is not None:
        # ⟨Σ_t g_t x_tᵀ, W⟩ by unit is Σ_t g_t (W x_t): no second pass over the rows.
        fold.write((g * (x @ fold.weight.T)).sum(1), bias, columns)
        g = g * fold.scale
    elif layer.bias is not None:
        columns["bias"].copy_(bias)
    if x.shape[1] == 1:
        torch.mul(g.mT, x, out=weight)
    else:
        weight.copy_(torch.bmm(g.mT, x))


def _conv(
    layer: nn.Conv2d, x: Tensor, g: Tensor, columns: dict[str, Tensor], fold: _Fold | None
) -> None:
    """∂/∂W[o, i, k, l] = Σ_p g[o, p] x[i, s p + δ (k, l)]: one matrix product an example."""
    n = len(x)
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    if layer.padding in ("same", "valid"):
        padding = layer._reversed_padding_repeated_twice if layer.padding == "same" else [0] * 4
    else:
        padding = [layer.padding[1]] * 2 + [layer.padding[0]] * 2
    x = F.pad(x, padding) if any(padding) else x
    height, width = g.shape[2:]
    a, b, c, d = x.stride()
    strides = {"n": a, "i": b, "k": c * dh, "l": d * dw, "y": c * sh, "x": d * sw}
    sizes = {"n": n, "i": x.shape[1], "k": kh, "l": kw, "y": height, "x": width}

    # Unfolded by as many examples at a time as the cache holds. A block at once would also be more
    # than glibc keeps for a thread (64 MiB), so that each of its pages would be faulted in anew.
    channels, positions = x.shape[1], height * width
    part = min(n, max(1, CACHED // (kh * kw * channels * positions * x.itemsize)))
    if channels == 1:
        view = x.as_strided([sizes[o] for o in "niklyx"], [strides[o] for o in "niklyx"])
        buffer = g.new_ones(part, kh * kw + 1, positions)  # the last row: the bias
        unfolded, matrix = buffer[:, :-1].view(-1, *view.shape[1:]), buffer.mT
        left = g.contiguous().flatten(2)
    else:  # channels last: the copy moves whole runs of channels
        view = x.as_strided([sizes[o] for o in "nyxkli"], [strides[o] for o in "nyxkli"])
        unfolded = g.new_empty(part, *view.shape[1:])
        matrix = unfolded.view(part, positions, -1)
        left = g.permute(0, 2, 3, 1).reshape(n, positions, -1).mT
    product = g.new_empty(n, g.shape[1], matrix.shape[2])
    for start in range(0, n, part):
        some = slice(start, min(start + part, n))
        size = some.stop - start
        unfolded[:size] = view[some]
        torch.bmm(left[some], matrix[:size], out=product[some])
    if channels == 1:
        product, bias = product[..., :-1], product[..., -1]
    else:
        bias = g.sum((2, 3))
    # `product` is (n, output, kernel · input channel); the weights have the channel first.
    product = product.unflatten(2, (kh * kw, -1))
    weight = columns["weight"].unflatten(1, (len(layer.weight), -1, kh * kw)).mT
    if fold is not None:
        matrix = fold.weight.unflatten(1, (-1, kh * kw)).mT.flatten(1)
        fold.write(torch.linalg.vecdot(product.flatten(2), matrix), bias, columns)
        torch.mul(product, fold.scale[:, None, None], out=weight)
    else:
        weight.copy_(product)
        if layer.bias is not None:
            columns["bias"].copy_(bias)


def _batch_norm(
    layer: nn.Module, x: Tensor, g: Tensor, columns: dict[str, Tensor], fold: None
) -> None:
    """A normalisation that could not be folded: ∂/∂γ = Σ g (x − m)/s, ∂/∂β = Σ g."""
    x, g = (t.reshape(*t.shape[:2], -1) for t in (x, g))
    total = g.sum(2)
    deviation = torch.sqrt(layer.running_var + layer.eps)
    product = torch.einsum("ncp,ncp->nc", g, x)
    columns["weight"].copy_((product - layer.running_mean * total) / deviation)
    columns["bias"].copy_(total)


_RULES = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
}
