"""Per-sample gradients: the gradient of each example's loss, one row an example.

Rows are g_k = ∇f_k(x), the gradients that the diffusion matrix averages (Eq. 2 of the paper):
not divided by the number of examples. The network is in evaluation mode: with batch statistics
the loss of one example depends on the others, and g_k does not exist.

Three methods give the same rows: "layers", products layer by layer (`diffusion.layer_products`),
which is fast; "vmap", `torch.func.vmap(grad)`, which takes most modules; and "loop", a backward
pass for each example, which takes all. The first one that agrees with the last on some of the
examples is taken; the attribute `method` tells which.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limitcycles.diffusion.layer_products import LayerProducts, Loss
from limitcycles.training.first_look import EXAMPLES, look, spread
from limitcycles.training.networks import trainable

# Rows of one block: enough to hide the cost of each call, few enough for memory and cache. From 32
# on the time a row changes by less than a tenth for small-allcnn; small-lenet needs 128.
BLOCK = 128


class PerSampleGradients:
    """Per-sample gradients of the cross-entropy of `model`, in evaluation mode.

    Parameters
    ----------
    model: any module whose output for one example, shape (batch, classes), does not depend on the
        other examples of the batch. It is copied; the copy is put in evaluation mode.
    inputs, targets: examples (at least one), shape (n, ...) and (n,) int64; on a few of them the
        network is looked at and the method chosen. Integers, as of words, stay integers.

    Raises
    ------
    BatchCouplingError: an output changes with the rest of the batch.
    NetworkError: the network cannot be worked with (`limitcycles.training.first_look`).

    Columns are the trainable weights (`networks.trainable`), each flattened in C order; a weight
    without effect on the loss has zeros. `method` is "layers", "vmap" or "loop", and `slow` says
    why it is the last, if it is.

    >>> import torch
    >>> from limitcycles import PerSampleGradients
    >>> network = torch.nn.Linear(3, 2)
    >>> images, labels = torch.randn(50, 3), torch.randint(2, (50,))
    >>> gradients = PerSampleGradients(network, images, labels)
    >>> gradients(images, labels).shape
    torch.Size([50, 8])
    """

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor):
        look(model, inputs, targets)
        self.model = copy.deepcopy(model).eval()
        parameters = trainable(self.model)
        self.weights = sum(p.numel() for p in parameters.values())
        self.dtype = next(iter(parameters.values())).dtype
        self.slow: str | None = None
        self.method, self._rows = self._chosen(
            inputs[spread(len(inputs), EXAMPLES).to(inputs.device)]
        )

    def __call__(self, inputs: Tensor, targets: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows for one block of examples: shape (n, weights), dtype and device of the model."""
        if out is None:
            out = torch.empty(len(inputs), self.weights, dtype=self.dtype, device=inputs.device)
        self._rows.fill(inputs, targets, _cross_entropy, out)
        return out

    def _chosen(self, examples: Tensor) -> tuple[str, _Method]:
        """The fastest method that is right for these examples, and its name."""
        reasons = []
        for name, kind in (("layers", LayerProducts), ("vmap", Vmap)):
            method = kind.of(self.model)
            if method is None:
                continue
            try:
                if _is_right(kind, self.model, examples):
                    return name, method
                reasons.append(f"the rows of {name} are not those of single backward passes")
            except Exception as error:  # many operations have no rule for vmap, or a wrong one
                said = " ".join(str(error).split())[:200]
                reasons.append(f"{name} fails: {type(error).__name__}: {said}")
        self.slow = reasons[-1]
        return "loop", Loop.of(self.model)

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
        # Autograd through a general module keeps a copy of each operation's result.
        factor = 1 if self.method == "layers" else 3
        return int(sum(numbers) * factor * self.dtype.itemsize)

    def blocks(
        self, inputs: Tensor, targets: Tensor, rows: int, threads: int = 1, block: int = BLOCK
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (first example, rows of shape (≤ rows, weights)) over all examples, in order.

        Each of `threads` workers has a copy of the network and one thread of torch: blocks of
        `block` examples share nothing, so that this beats threads inside each operation. The
        yielded tensor is overwritten by the next one.
        """
        buffer = torch.empty(min(rows, len(inputs)), self.weights, dtype=self.dtype)
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


class Loop:
    """One backward pass an example, through the network itself."""

    def __init__(self, model: nn.Module):
        self.model = model

    @classmethod
    def of(cls, model: nn.Module) -> Loop:
        return cls(model)

    def fill(self, inputs: Tensor, targets: Tensor, loss: Loss, out: Tensor) -> None:
        """As `LayerProducts.fill`."""
        parameters = list(trainable(self.model).values())
        with torch.enable_grad():
            for x, y, row in zip(inputs, targets, out, strict=True):
                value = loss(self.model(x[None]), y[None])
                if not value.requires_grad:
                    row.zero_()
                    continue
                parts = torch.autograd.grad(value, parameters, materialize_grads=True)
                torch.cat([part.reshape(-1) for part in parts], out=row)


class Vmap(Loop):
    """The same pass for all examples of a block at once, by `torch.func`."""

    def fill(self, inputs: Tensor, targets: Tensor, loss: Loss, out: Tensor) -> None:
        """As `LayerProducts.fill`. Raises whatever torch raises for what it cannot do."""
        from torch.func import functional_call, grad, vmap  # loads all of torch's compiler: slow

        parameters = {name: p.detach() for name, p in trainable(self.model).items()}
        shared = _shared_names(self.model)

        def one(parameters, x, y):
            every = {name: parameters[first] for name, first in shared.items()}
            logits = functional_call(self.model, every, (x[None],), tie_weights=False)
            return loss(logits, y[None])

        found = vmap(grad(one), in_dims=(None, 0, 0))(parameters, inputs, targets)
        torch.cat([found[name].reshape(len(inputs), -1) for name in parameters], dim=1, out=out)


_Method = LayerProducts | Loop


def _is_right(kind: type[_Method], model: nn.Module, examples: Tensor) -> bool:
    """Whether the rows of a method are those of the loop but for rounding.

    Of a network in float32, float64 decides: there a small weight's error stands out, and no unit
    switches at its kink. Raises whatever the method raises.
    """
    right = _agrees(kind, model, examples)
    if next(iter(trainable(model).values())).dtype == torch.float32:
        doubled = examples.double() if examples.is_floating_point() else examples
        with contextlib.suppress(Exception):  # it may compute in float32 whatever it is given
            right = _agrees(kind, copy.deepcopy(model).double(), doubled)
    return right


def _agrees(kind: type[_Method], model: nn.Module, examples: Tensor) -> bool:
    """In two blocks, and for a random sum of the logits in place of the loss: its gradient does
    not vanish where an example is fitted. Each weight is compared on its own scale."""
    with torch.no_grad():
        logits = model(examples)
    signs = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
    parameters = trainable(model).values()
    sizes = [p.numel() for p in parameters]
    wanted, found = logits.new_full((2, len(examples), sum(sizes)), torch.nan)
    for part in (slice(0, 3), slice(3, None)):
        if len(examples[part]):
            for method, out in ((Loop, wanted), (kind, found)):
                method.of(model).fill(examples[part], signs[part], _weighted_sum, out[part])
    eps = torch.finfo(wanted.dtype).eps
    by_weight = [
        (float(w.abs().max()), float((f - w).abs().max()))
        for w, f in zip(wanted.split(sizes, 1), found.split(sizes, 1), strict=True)
        if w.numel()
    ]
    largest = max(size for size, _ in by_weight)
    # So written, NaN does not agree.
    return all(off <= 1e3 * eps * size + 1e2 * eps * largest for size, off in by_weight)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="sum")


def _weighted_sum(logits: Tensor, signs: Tensor) -> Tensor:
    return (logits * signs).sum()


def _shared_names(model: nn.Module) -> dict[str, str]:
    """Name of each weight in each module -> its name in `networks.trainable`.

    They differ where two modules share a parameter. A module that is used under two names is
    listed once: `functional_call` would exchange its parameters twice and restore them once.
    """
    first = {id(p): name for name, p in trainable(model).items()}
    return {
        f"{path}.{key}" if path else key: first[id(p)]
        for path, module in model.named_modules()
        for key, p in module._parameters.items()
        if id(p) in first
    }
