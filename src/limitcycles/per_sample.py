"""Per-sample gradients: the gradient of each example's loss, one row an example.

Rows are g_k = ∇f_k(x), the gradients that the diffusion matrix averages (Eq. 2 of the paper):
not divided by the number of examples. The network is in evaluation mode: with batch statistics
the loss of one example depends on the others, and g_k does not exist.

Two methods give the same rows. The fast one runs one forward and one backward pass for a block
of examples, keeps what enters each layer and the gradient at what leaves it, and forms the
products layer by layer (Goodfellow 2015, arXiv 1510.01799; BackPACK, Dangel et al. 2020). A batch
normalisation that follows a layer is first folded into it, so that its own passes disappear; the
chain rule then gives the gradient of all four parameters from that of the folded two. The general
one is `torch.func.vmap(grad)`. The fast one is used where it agrees with plain backward passes on
the first examples seen; the attribute `method` tells which one runs.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from limitcycles.errors import LimitcyclesError

# Rows of one block: large enough to hide the cost of each call, small enough for the cache.
BLOCK = 128


class BatchCouplingError(LimitcyclesError):
    """The loss of one example depends on the others of its batch."""


class PerSampleGradients:
    """Per-sample gradients of the cross-entropy of `model`, in evaluation mode.

    Parameters
    ----------
    model: any module whose output for one example, shape (batch, classes), does not depend on the
        other examples of the batch. It is copied; the copy is put in evaluation mode.
    inputs, targets: a few examples (at least one), shape (n, ...) and (n,) int64, on which the
        independence is checked and the method is chosen.

    Raises
    ------
    BatchCouplingError: an output changes with the rest of the batch.

    Columns follow `model.named_parameters()`, each flattened in C order.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.weights = sum(p.numel() for p in self.model.parameters())
        self._shared = _shared_names(self.model)
        inputs, targets = inputs[:4], targets[:4]
        _check_independence(self.model, inputs)
        self._layers = None
        self.method = "vmap"
        candidate = _Layers.of(self.model)
        if candidate is not None:
            reference = torch.stack([self._one(x, y) for x, y in zip(inputs, targets, strict=True)])
            rows = torch.empty_like(reference)
            tolerance = 1e3 * torch.finfo(rows.dtype).eps * reference.abs().max()
            if candidate.fill(inputs, targets, rows) and torch.allclose(
                rows, reference, rtol=0, atol=float(tolerance)
            ):
                self._layers, self.method = candidate, "layers"

    def __call__(self, inputs: Tensor, targets: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows for one block of examples: shape (n, weights), dtype and device of the model."""
        if out is None:
            out = torch.empty(len(inputs), self.weights, dtype=self._dtype, device=inputs.device)
        if self._layers is None:
            out.copy_(self._vmap(inputs, targets))
        else:
            self._layers.fill(inputs, targets, out)
        return out

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def _one(self, x: Tensor, y: Tensor) -> Tensor:
        """One row, by one backward pass through the network itself."""
        network = copy.deepcopy(self.model).requires_grad_()
        F.cross_entropy(network(x[None]), y[None]).backward()
        return torch.cat(
            [
                torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                for p in network.parameters()
            ]
        )

    def _vmap(self, inputs: Tensor, targets: Tensor) -> Tensor:
        from torch.func import functional_call, grad, vmap  # loads all of torch's compiler: slow

        parameters = dict(self.model.named_parameters())

        def loss(parameters, x, y):
            every = {name: parameters[first] for name, first in self._shared.items()}
            logits = functional_call(self.model, every, (x[None],), tie_weights=False)
            return F.cross_entropy(logits, y[None])

        rows = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)
        return torch.cat([rows[name].reshape(len(inputs), -1) for name in parameters], dim=1)

    def bytes_per_example(self, example: Tensor) -> int:
        """Working memory of one example in bytes, measured on one forward pass: activations,
        their gradients, the unfolded input of each convolution, and one row."""
        numbers = [self.weights]

        def count(module, arguments, output):
            if isinstance(output, Tensor) and not list(module.children()):
                unfold = 1
                if isinstance(module, nn.Conv2d):
                    kernel = module.kernel_size[0] * module.kernel_size[1]
                    unfold += kernel * module.in_channels / module.out_channels
                numbers.append(output.numel() * (2 + unfold))

        hooks = [m.register_forward_hook(count) for m in self.model.modules()]
        with torch.no_grad():
            self.model(example[None])
        for hook in hooks:
            hook.remove()
        # vmap(grad) of a general module keeps a copy of each operation's result.
        factor = 1 if self.method == "layers" else 3
        return int(sum(numbers) * factor * self._dtype.itemsize)

    def blocks(
        self, inputs: Tensor, targets: Tensor, rows: int, threads: int = 1, block: int = BLOCK
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (first example, rows of shape (≤ rows, weights)) over all examples, in order.

        Each of `threads` workers has a copy of the network and one thread of torch: blocks of
        `block` examples share nothing, so that this beats threads inside each operation. The
        yielded tensor is overwritten by the next one.
        """
        buffer = torch.empty(min(rows, len(inputs)), self.weights, dtype=self._dtype)
        on_gpu = next(self.model.parameters()).device.type != "cpu"
        local = threading.local()

        def prepare():
            torch.set_num_threads(1)
            local.worker = copy.deepcopy(self)

        def work(span):
            start, stop, offset = span
            target = buffer[start - offset : stop - offset]
            local.worker(inputs[start:stop], targets[start:stop], target)

        def one(start, stop):
            spans = [(i, min(i + block, stop), start) for i in range(start, stop, block)]
            if on_gpu:
                for i, j, offset in spans:
                    buffer[i - offset : j - offset] = self(inputs[i:j], targets[i:j]).cpu()
            else:
                list(pool.map(work, spans))
            return start, buffer[: stop - start]

        with ThreadPoolExecutor(max(1, threads), initializer=prepare) as pool:
            for start in range(0, len(inputs), rows):
                yield one(start, min(start + rows, len(inputs)))


def _shared_names(model: nn.Module) -> dict[str, str]:
    """Name of each parameter of each module -> its name in `named_parameters`.

    They differ where two modules share a parameter. A module that is used under two names is
    listed once: `functional_call` would exchange its parameters twice and restore them once.
    """
    first = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{path}.{key}" if path else key: first[id(p)]
        for path, module in model.named_modules()
        for key, p in module._parameters.items()
        if p is not None
    }


def _check_independence(model: nn.Module, inputs: Tensor) -> None:
    guilty = [
        name or "the network itself"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
    ]
    if guilty:  # such a layer may refuse a single example: do not run it
        raise _coupling(f" (batch statistics in {', '.join(guilty)})")
    with torch.no_grad():
        together = model(torch.cat([inputs, inputs.flip(0) * 1.5 + 0.1]))[: len(inputs)]
        alone = torch.cat([model(x[None]) for x in inputs])
    if together.ndim != 2:
        raise LimitcyclesError(
            f"the network's output has shape {tuple(together.shape)}; "
            "per-sample gradients need (batch, classes)"
        )
    if not torch.isfinite(alone).all():
        raise LimitcyclesError(
            "the network's output is NaN or infinite: the run has diverged. Lower "
            "training.learning_rate.start, or look at the pixels of the dataset."
        )
    # Other batch sizes take other kernels, whose rounding differs; coupling is far larger.
    bound = torch.finfo(alone.dtype).eps ** 0.5 * (1 + float(alone.abs().max()))
    if not torch.allclose(together, alone, rtol=0, atol=bound):
        raise _coupling()


def _coupling(where: str = "") -> BatchCouplingError:
    return BatchCouplingError(
        f"the network couples the examples of a batch in evaluation mode{where}: the gradient of a "
        "single example does not exist. Use layers without batch statistics, or batch "
        "normalisation with track_running_stats=True."
    )


class _Layers:
    """The fast method: a folded copy of the network and the layers whose products give the rows."""

    def __init__(self, network: nn.Module, entries: list[tuple]):
        self.network = network.to(memory_format=torch.channels_last)
        self.entries = entries  # (layer of the folded network, its rule, destination slices)

    @classmethod
    def of(cls, model: nn.Module) -> _Layers | None:
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
        calls = 0

        def tap(module, arguments, output):
            nonlocal calls
            calls += 1
            if not output.requires_grad:  # the first layer: nothing before it needs a gradient
                output = output.requires_grad_().clone()  # no leaf, which none may change in place
            entry = taps[module] = [arguments[0].detach() if arguments else None, None]
            # A tensor hook sees the gradient at this point even if a later layer works in place.
            output.register_hook(lambda gradient: entry.__setitem__(1, gradient))
            return output

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

    if x.shape[1] == 1:
        view = x.as_strided([sizes[o] for o in "niklyx"], [strides[o] for o in "niklyx"])
        product = torch.bmm(g.contiguous().flatten(2), view.reshape(n, kh * kw, -1).mT)
    else:  # channels last: the copy moves whole runs of channels
        view = x.as_strided([sizes[o] for o in "nyxkli"], [strides[o] for o in "nyxkli"])
        product = torch.bmm(
            g.permute(0, 2, 3, 1).reshape(n, height * width, -1).mT,
            view.reshape(n, height * width, -1),
        )
        product = product.unflatten(2, (kh * kw, -1)).mT.flatten(2)  # channel, then kernel
    bias = g.sum((2, 3))
    weight = columns["weight"].unflatten(1, product.shape[1:])
    if fold is not None:
        fold.write(torch.linalg.vecdot(product, fold.weight), bias, columns)
        torch.mul(product, fold.scale[:, None], out=weight)
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
