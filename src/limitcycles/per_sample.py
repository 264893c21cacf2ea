"""Per-sample gradients: the gradient of each example's loss, one row an example.

Rows are g_k = ∇f_k(x), the gradients that the diffusion matrix averages (Eq. 2 of the paper):
not divided by the number of examples. The network is in evaluation mode: with batch statistics
the loss of one example depends on the others, and g_k does not exist.

Two methods give the same rows: products layer by layer (`limitcycles.layer_products`), which is
fast, and `torch.func.vmap(grad)`, which takes any module. The fast one is used where it agrees with
plain backward passes on the first examples seen; the attribute `method` tells which one runs.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limitcycles.errors import LimitcyclesError
from limitcycles.layer_products import LayerProducts

# Rows of one block: enough to hide the cost of each call, few enough for memory and cache. From 32
# on the time a row changes by less than a tenth for small-allcnn; small-lenet needs 128.
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
        candidate = LayerProducts.of(self.model)
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
