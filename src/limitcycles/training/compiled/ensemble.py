"""Many networks of one shape trained at once with PyTorch, for a GPU.

A step is some forty operations on all members together, about as long for one member as for many
as long as the device is not full; on CUDA they are captured once and replayed as a graph. No
operation depends on the order in which threads finish, and none is tuned by trial, so that equal
steps give equal bits on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limitcycles.runtime.subnormals import flushed
from limitcycles.training.compiled import steps
from limitcycles.training.compiled.engine import BATCH, FROZEN, TRACKED, Engine, _flat
from limitcycles.training.compiled.first_step import States, check_first_step
from limitcycles.training.compiled.layers import CompiledError, Layers
from limitcycles.training.networks import trainable
from limitcycles.training.optimisers import Optimiser, sgd

FULL_BATCH = 1024  # examples at a time where nothing depends on the batch


class Ensemble:
    """`Engine` with a leading dimension of members, on any device of PyTorch.

    Parameters
    ----------
    networks: one for each member, of one shape (see `Layers.of`), each with its own weights and
        running moments to start from.
    images, labels, batch, optimiser: as for `Engine`, the same for all members.
    device: where the members live, "cpu" or "cuda".

    A member's step is that of `Engine` to float32 rounding. Its bits may depend on the number of
    members, on the device and on the version of PyTorch, and on nothing else.

    Raises CompiledError: as `Engine`, or networks of different shapes.
    """

    steps = Engine.steps

    def __init__(
        self,
        networks: Sequence[nn.Module],
        images: np.ndarray,
        labels: np.ndarray,
        batch: int,
        optimiser: Optimiser | None = None,
        *,
        device: str | torch.device = "cpu",
    ):
        self._optimiser = steps.elementwise(optimiser or sgd.Optimiser())
        every = [Layers.of(network) for network in networks]
        self.layers = layers = every[0]
        if any(str(network) != str(networks[0]) for network in networks):
            raise CompiledError("the members of an ensemble are networks of one shape")
        given, images = images, layers.checked(images, labels, batch)
        self.members, self.examples, self.batch = len(networks), len(images), batch
        self._device = torch.device(device)
        self._images = torch.from_numpy(images).to(self._device)
        self._labels = torch.from_numpy(np.asarray(labels, np.int64)).to(self._device)
        self._targets = nn.functional.one_hot(self._labels, int(layers.units[-1])).float()
        self._weights, self._gradient = (self._zeros(layers.weights) for _ in range(2))
        self._vectors = self._zeros(len(self._optimiser.vectors), layers.weights)
        self._mean, self._variance = self._zeros(layers.moments), self._zeros(layers.moments)
        self._done = 0
        self._numbers = torch.from_numpy(steps.table(self._optimiser, 0.0, 0, 1)[0]).to(
            self._device
        )
        # All of these stay where they are, as captured graphs know their addresses.
        self._parts = _parts(layers, self._weights, self._mean, self._variance)
        self._gradients = _parts(layers, self._gradient, self._mean, self._variance)
        self._captures = self._device.type == "cuda"
        self._captured: dict[tuple, _Captured] = {}
        norms = [[m for m in network if isinstance(m, nn.BatchNorm1d)] for network in networks]
        self.restore(
            self.state()
            | {
                "weights": np.stack([_flat(trainable(one).values()) for one in networks]),
                "mean": np.stack([_flat(m.running_mean for m in own) for own in norms]),
                "variance": np.stack([_flat(m.running_var for m in own) for own in norms]),
            }
        )
        self._check(networks, given[:batch], labels[:batch])

    def _check(self, networks: Sequence[nn.Module], images: np.ndarray, labels: np.ndarray) -> None:
        start = self.state()

        def step(states: States) -> States:
            self.restore(states)
            every = torch.arange(len(images), device=self._device).expand(self.members, -1)
            with torch.no_grad():
                self._loss_and_gradient(every, TRACKED)
            return self.state() | {"gradient": _array(self._gradient)}

        if self.steps(len(images)):
            check_first_step(networks, images, labels, start, step)
            self.restore(start)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(self.members, *shape, device=self._device)

    def _state(self) -> dict[str, Tensor]:
        return {
            "weights": self._weights,
            "vectors": self._vectors,
            "mean": self._mean,
            "variance": self._variance,
        }

    @property
    def weights(self) -> np.ndarray:
        """A copy of the weights, (members, d) float32, in the order of `networks.flatten`."""
        return _array(self._weights)

    def state(self) -> dict[str, np.ndarray]:
        """As `Engine.state`, each (members, ...)."""
        found = {name: _array(tensor) for name, tensor in self._state().items()}
        return found | {"steps": np.full(self.members, self._done, np.int64)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take a state as `state` gives it."""
        for name, tensor in self._state().items():
            tensor.copy_(torch.from_numpy(np.asarray(state[name])))
        self._done = int(state["steps"][0])

    @flushed()
    @torch.no_grad()
    def epoch(
        self, orders: ArrayLike, rate: float, *, frozen=False, keep: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step of each member for each mini-batch of its row of `orders`.

        As `Engine.epoch`, with orders (members, examples), losses (members, steps) float64 and
        weights (members, keep, d) float32.
        """
        mode = FROZEN if frozen else TRACKED
        places = torch.from_numpy(np.asarray(orders)).to(self._device)
        count = self.steps(places.shape[1])
        numbers = steps.table(self._optimiser, rate, self._done, count)
        numbers = torch.from_numpy(numbers).to(self._device)
        self._done += count
        losses = torch.empty(count, self.members, dtype=torch.float64, device=self._device)
        path = torch.empty(min(keep, count), *self._weights.shape, device=self._device)
        for step in range(count):
            index = places[:, step * self.batch : (step + 1) * self.batch]
            self._numbers.copy_(numbers[step])
            losses[step] = self._replayed(self._step, index, mode)
            if step < len(path):
                path[step] = self._weights
        return _array(losses.T), _array(path.transpose(0, 1))

    @flushed()
    @torch.no_grad()
    def gradient(self, index: np.ndarray, *, frozen=False) -> tuple[np.ndarray, np.ndarray]:
        """Losses (members,) in nats and gradients (members, d) float32, as `Engine.gradient`.

        `index`: (members, examples), a mini-batch for each member.
        """
        places = torch.from_numpy(index).to(self._device)
        loss, _ = self._loss_and_gradient(places, FROZEN if frozen else BATCH)
        return _array(loss), _array(self._gradient)

    @flushed()
    @torch.no_grad()
    def full_gradient(self, *, frozen=True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, errors (members,) and gradients (members, d) float64: `Engine.full_gradient`."""
        mode, batch = (FROZEN, FULL_BATCH) if frozen else (BATCH, self.batch)
        count = -(-self.examples // batch) if frozen else self.steps(self.examples)
        seen = min(count * batch, self.examples)
        loss, wrong = (torch.zeros(self.members, device=self._device).double() for _ in range(2))
        whole = torch.zeros_like(self._gradient, dtype=torch.float64)
        for part in torch.arange(seen, device=self._device).split(batch):
            index = part.expand(self.members, -1)
            mean, logits = self._replayed(self._loss_and_gradient, index, mode)
            loss += len(part) * mean
            wrong += (logits.argmax(2) != self._labels[part]).sum(1)
            whole += len(part) * self._gradient
        return _array(loss / seen), _array(100 * wrong / seen), _array(whole / seen)

    def _loss_and_gradient(self, index: Tensor, mode: int) -> tuple[Tensor, Tensor]:
        """Losses (members,) float64 and logits of the mini-batches `index` (members, n).

        The gradients go to `self._gradient`.
        """
        layers, n = self._parts, index.shape[1]
        inputs, normed = [self._images[index]], []  # what the backward pass needs, layer by layer
        for layer in layers:
            z = torch.baddbmm(layer.bias, inputs[-1], layer.weight.mT)
            if layer.scale is not None:
                mean, variance = layer.mean, layer.variance
                if mode != FROZEN:
                    variance, mean = torch.var_mean(z, 1, correction=0, keepdim=True)
                if mode == TRACKED:
                    layer.mean.lerp_(mean, self.layers.momentum)
                    layer.variance.lerp_(variance * (n / (n - 1)), self.layers.momentum)
                inverse = torch.rsqrt(variance + self.layers.eps)
                standard = (z - mean) * inverse
                z = torch.addcmul(layer.shift, standard, layer.scale)
                normed.append((standard, inverse))
            inputs.append(z.relu() if layer is not layers[-1] else z)
        logits = inputs.pop()
        target = self._targets[index]
        logarithm = logits.log_softmax(2)
        loss = (logarithm * target).sum((1, 2), dtype=torch.float64) / -n
        delta = (logarithm.exp() - target) / n  # gradient by the output of the layer
        for i in range(len(layers) - 1, -1, -1):
            layer, gradient = layers[i], self._gradients[i]
            if layer is not layers[-1]:
                delta = delta * (inputs[i + 1] > 0)
            if layer.scale is not None:
                standard, inverse = normed.pop()
                torch.sum(delta * standard, 1, keepdim=True, out=gradient.scale)
                torch.sum(delta, 1, keepdim=True, out=gradient.shift)
                if mode != FROZEN:
                    delta = delta - (gradient.shift + standard * gradient.scale) / n
                delta = delta * (layer.scale * inverse)
            torch.sum(delta, 1, keepdim=True, out=gradient.bias)
            torch.bmm(delta.mT, inputs[i], out=gradient.weight)
            if i > 0:
                delta = torch.bmm(delta, layer.weight)
        return loss, logits

    def _step(self, index: Tensor, mode: int) -> Tensor:
        """One step of the optimiser. Losses (members,)."""
        loss, _ = self._loss_and_gradient(index, mode)
        own = self._vectors.unbind(1)
        found = self._optimiser.moved(self._weights, self._gradient, *own, *self._numbers)
        for kept, new in zip((self._weights, *own), found, strict=True):
            kept.copy_(new)
        return loss

    def _replayed(self, function: Callable, index: Tensor, *options):
        """`function(index, *options)`, from a graph on CUDA. The next call writes over it."""
        if not self._captures:
            return function(index, *options)
        key = (function, index.shape[1], *options)
        if key not in self._captured:
            kept = tuple(self._state().values())
            self._captured[key] = _Captured(lambda i: function(i, *options), index, kept)
        return self._captured[key](index)


@dataclass(frozen=True)
class _Layer:
    """Views of one layer in the arrays of all members; norms are None where there is none."""

    weight: Tensor  # (members, outputs, inputs)
    bias: Tensor  # this and all below (members, 1, outputs)
    scale: Tensor | None = None
    shift: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None


def _parts(layers: Layers, flat: Tensor, mean: Tensor, variance: Tensor) -> list[_Layer]:
    """Views of the layers in `flat` (members, d) and in the running moments (members, units)."""
    found, at, unit = [], 0, 0

    def row(of: Tensor, start: int) -> Tensor:
        return of[:, None, start : start + outputs]

    for inputs, outputs, normed in zip(
        layers.units[:-1].tolist(), layers.units[1:].tolist(), layers.normed, strict=True
    ):
        weight = flat[:, at : at + outputs * inputs].unflatten(1, (outputs, inputs))
        at += outputs * inputs
        rows = [row(flat, at + i * outputs) for i in range(1 + 2 * normed)]
        at += len(rows) * outputs
        if normed:
            rows += [row(mean, unit), row(variance, unit)]
            unit += outputs
        found.append(_Layer(weight, *rows))
    return found


class _Captured:
    """A function of an index, its operations captured in a CUDA graph.

    `kept`: what the function changes; the runs that have to go before a capture are undone.
    """

    def __init__(self, function: Callable[[Tensor], object], index: Tensor, kept: tuple):
        self.index = index.clone()
        before = [tensor.clone() for tensor in kept]
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(3):
                function(self.index)
        main.wait_stream(side)
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = function(self.index)

    def __call__(self, index: Tensor):
        self.index.copy_(index)
        self.graph.replay()
        return self.result


def _array(tensor: Tensor) -> np.ndarray:
    """A copy as a NumPy array that no later step changes."""
    return tensor.detach().to("cpu", copy=True).contiguous().numpy()
