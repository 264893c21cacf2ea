"""Per-sample gradients layer by layer: one forward and one backward pass for a block of examples.

What enters each layer and the gradient at what leaves it are kept, and their products are the rows
(Goodfellow 2015, arXiv 1510.01799; BackPACK, Dangel et al. 2020). A batch normalisation that
follows a layer is first folded into it, so that its own passes disappear; the chain rule then gives
the gradient of all four parameters from that of the folded two.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

CACHED = 2**19  # bytes of an unfolded input that stay in a processor's cache until they are used


class LayerProducts:
    """The fast method: a folded copy of the network and the layers whose products give the rows."""

    def __init__(self, network: nn.Module, entries: list[tuple]):
        self.network = network.to(memory_format=torch.channels_last)
        self.entries = entries  # (layer of the folded network, its rule, destination slices)

    @classmethod
    def of(cls, model: nn.Module) -> LayerProducts | None:
        """None where a parameter belongs to a layer without a rule."""
        slices, start = {}, 0
        for name, parameter in model.named_parameters():
            slices[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        names = dict(model.named_modules())
        network, folded = _fold(copy.deepcopy(model))
        used = dict(network.named_modules())
        entries, covered = [], set()
        for path, module in names.items():
            own = {k: f"{path}.{k}" for k, _ in module.named_parameters(recurse=False)}
            if not own or path in folded.values():
                continue
            if not path or path not in used:  # the network itself, or a layer that is never called
                return None
            rule = _RULES.get(type(module))
            if rule is None or (isinstance(module, nn.Conv2d) and module.groups != 1):
                return None
            if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
                return None
            norm = names[folded[path]] if path in folded else None
            if norm is not None:
                own |= {
                    f"norm_{k}": f"{folded[path]}.{k}"
                    for k, _ in norm.named_parameters(recurse=False)
                }
            if not slices.keys() >= set(own.values()):  # a weight that is shared
                return None
            covered |= set(own.values())
            entries.append(
                (
                    network.get_submodule(path),
                    rule,
                    {k: slices[name] for k, name in own.items()},
                    _Fold(module, norm) if norm is not None else None,
                )
            )
        return cls(network, entries) if covered == set(slices) else None

    def fill(self, inputs: Tensor, targets: Tensor, out: Tensor) -> bool:
        """Write the rows into `out`; False where a layer ran more or less than once."""
        if inputs.ndim == 4:  # pooling and the products below are several times faster so
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        taps: dict[nn.Module, list] = {}
        anchor = torch.zeros((), requires_grad=True)  # the first output needs a gradient, too
        calls = 0

        def tap(module, arguments, output):
            nonlocal calls
            calls += 1
            entry = taps[module] = [arguments[0].detach() if arguments else None, None]
            return _Tap.apply(output, anchor, entry)

        hooks = [entry[0].register_forward_hook(tap) for entry in self.entries]
        try:
            with torch.enable_grad():
                F.cross_entropy(self.network(inputs), targets, reduction="sum").backward()
        finally:
            for hook in hooks:
                hook.remove()
        if not calls == len(taps) == len(self.entries) or any(
            part is None for pair in taps.values() for part in pair
        ):
            return False
        for layer, rule, where, fold in self.entries:
            entered, gradient = taps[layer]
            columns = {key: out[:, span] for key, span in where.items()}
            rule(layer, entered, gradient, columns, fold)
        return True


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


def _fold(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """Fold each affine batch normalisation into the layer before it.

    Returns the folded network and {path of the layer: path of the normalisation}. A network that
    `torch.fx` cannot trace is returned as it is, with nothing folded.
    """
    try:
        graph = fx.symbolic_trace(model)
    except Exception:  # tracing runs arbitrary code of the user's module
        return model, {}
    modules = dict(graph.named_modules())
    uses: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            uses[node.target] = uses.get(node.target, 0) + 1
    fuse = {nn.Conv2d: fuse_conv_bn_eval, nn.Linear: fuse_linear_bn_eval}
    folded = {}
    for node in graph.graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) not in (
            nn.BatchNorm1d,
            nn.BatchNorm2d,
        ):
            continue
        if not node.args:  # called as norm(input=...)
            continue
        before = node.args[0]
        norm = modules[node.target]
        if (
            before.op == "call_module"
            and type(modules[before.target]) in fuse
            and modules[before.target].bias is not None
            and norm.affine
            and norm.num_features == len(modules[before.target].weight)
            and len(before.users) == 1
            and uses[before.target] == uses[node.target] == 1
        ):
            layer = modules[before.target]
            graph.set_submodule(before.target, fuse[type(layer)](layer, norm))
            graph.set_submodule(node.target, nn.Identity())
            folded[before.target] = node.target
    return graph.requires_grad_(False), folded


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
