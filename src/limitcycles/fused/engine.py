"""SGD on a fully connected network in compiled loops: one core, one trajectory.

A step of tiny-fc takes less than twice its arithmetic at the peak of a core; a loop in PyTorch
takes fifty times that, most of it for calling operators (benchmarks/README.md). `Engine` takes its
network from PyTorch and gives its weights back in the order of `networks.flatten`; one step agrees
with PyTorch's to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from limitcycles.fused import kernels
from limitcycles.fused.kernels import compiled
from limitcycles.fused.layers import FusedError, Layers, padded

FROZEN, BATCH, TRACKED = 0, 1, 2  # batch normalisation: running moments; the batch's; and note them
FULL_BATCH = 256  # examples at a time where nothing depends on the batch: they stay in the cache


@dataclass(frozen=True)
class Descent:
    """Options of SGD: see `limitcycles.training.make_optimizer`."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @classmethod
    def of(cls, training: dict) -> Descent:
        """From the section `training` of a run."""
        kind, coefficient = training["momentum"]["kind"], training["momentum"].get("coefficient")
        return cls(
            0.0 if kind == "none" else coefficient, kind == "nesterov", training["weight_decay"]
        )


@compiled
def _gradient(shape, weights, moments, mode, images, labels, index, room, gradient):
    """Loss of one mini-batch; its gradient goes to `gradient`. Activations stay in `room`.

    The activations of layer i start at i · size in the arrays of `room`.
    """
    units, normed, eps, rate = shape
    running_mean, running_variance = moments
    a, d, standard, mean, variance, turned, rows, label = room
    n, depth = index.shape[0], normed.shape[0]
    size = a.shape[0] // depth
    for s in range(n):
        rows[s] = index[s] * units[0]
        label[s] = labels[index[s]]
    x = images
    at = unit = 0  # places in the weights and in the moments
    for i in range(depth):
        width = padded(units[i + 1])
        z = a[i * size : (i + 1) * size]
        if i > 0:
            for s in range(n):
                rows[s] = s * padded(units[i])
        kernels.linear(x, rows, n, units[i], weights, at, width, z)
        at += (units[i] + 1) * width
        if normed[i]:
            m, v = mean[unit : unit + width], variance[unit : unit + width]
            known_m = running_mean[unit : unit + width]
            known_v = running_variance[unit : unit + width]
            if mode == FROZEN:
                m[:] = known_m
                v[:] = known_v
            else:
                kernels.batch_moments(z, width, n, m, v)
            if mode == TRACKED:
                unbiased = np.float32(n) / np.float32(n - 1)
                for j in range(width):
                    known_m[j] += rate * (m[j] - known_m[j])
                    known_v[j] += rate * (unbiased * v[j] - known_v[j])
            h = standard[i * size : (i + 1) * size]
            kernels.normalise(z, width, n, m, v, eps, weights, at, h)
            at += 2 * width
            unit += width
        if i + 1 < depth:
            kernels.relu(z, width, n)
        x = z
    width = padded(units[depth])
    loss = kernels.cross_entropy(x, width, n, units[depth], label, d[(depth - 1) * size :])
    for i in range(depth - 1, -1, -1):
        width = padded(units[i + 1])
        z, dz = a[i * size : (i + 1) * size], d[i * size : (i + 1) * size]
        if i + 1 < depth:
            kernels.relu_gradient(z, dz, width, n)
        if normed[i]:
            at -= 2 * width
            unit -= width
            h, v = standard[i * size : (i + 1) * size], variance[unit : unit + width]
            kernels.normalise_gradient(
                dz, width, n, h, v, eps, weights, at, mode != FROZEN, gradient
            )
        at -= (units[i] + 1) * width
        if i > 0:
            before = padded(units[i])
            x, dx = a[(i - 1) * size : i * size], d[(i - 1) * size : i * size]
            kernels.input_gradient(
                dz, width, n, weights, at, units[i + 1], units[i], turned, dx, before
            )
            for s in range(n):
                rows[s] = s * before
        else:
            x = images
            for s in range(n):
                rows[s] = index[s] * units[0]
        kernels.linear_gradient(x, rows, n, units[i], dz, width, gradient, at)
    return loss


@compiled
def _epoch(
    shape, weights, velocity, moments, mode, images, labels, order, batch, rate, descent, room,
    gradient, losses, place, path,
):  # fmt: skip
    """One step for each batch of `order`; `path` (steps, d) takes the weights after each."""
    momentum, nesterov, decay = descent
    for step in range(losses.shape[0]):
        index = order[step * batch : (step + 1) * batch]
        losses[step] = _gradient(
            shape, weights, moments, mode, images, labels, index, room, gradient
        )
        kernels.descend(weights, velocity, gradient, rate, momentum, nesterov, decay)
        if step < path.shape[0]:
            for i in range(place.shape[0]):
                path[step, i] = weights[place[i]]


@compiled
def _full(shape, weights, moments, mode, images, labels, batch, steps, room, part, whole):
    """Loss and error over all batches; `whole` takes the gradient, float64."""
    whole[:] = 0
    loss, wrong, seen = 0.0, 0, 0
    units, depth = shape[0], shape[1].shape[0]
    a, label = room[0], room[7]
    logits = a[a.shape[0] // depth * (depth - 1) :]
    for step in range(steps):
        index = np.arange(step * batch, min((step + 1) * batch, labels.shape[0]))
        n = index.shape[0]
        loss += n * _gradient(shape, weights, moments, mode, images, labels, index, room, part)
        wrong += kernels.mistakes(logits, padded(units[depth]), n, units[depth], label)
        for i in range(whole.shape[0]):
            whole[i] += n * np.float64(part[i])
        seen += n
    for i in range(whole.shape[0]):
        whole[i] /= seen
    return loss / seen, 100.0 * wrong / seen


class Engine:
    """A network in training: its state, and the compiled loops over it.

    Parameters
    ----------
    network: see `Layers.of`; its present weights and running moments are where it starts.
    images: (examples, ...) float32, flattened to pixels; labels: (examples,) integers.
    batch: size of the mini-batches.

    Raises FusedError: see `Layers.of`; images of another size, labels that are no classes of the
    network, or a batch of one example with batch normalisation.
    """

    def __init__(self, network: nn.Module, images: np.ndarray, labels: np.ndarray, batch: int):
        self.layers = layers = Layers.of(network)
        images = layers.checked(images, labels, batch)
        self._labels = np.ascontiguousarray(labels, np.int64)
        self.examples, self.batch = len(images), batch
        self._images = images.ravel()
        self._place, self._moment_place, size, moments = layers.places()
        self._weights, self._velocity, self._gradient = (
            np.zeros(size, np.float32) for _ in range(3)
        )
        self._moments = np.zeros(moments, np.float32), np.ones(moments, np.float32)
        norms = [m for m in network if isinstance(m, nn.BatchNorm1d)]
        self.restore(
            {
                "weights": _flat(network.parameters()),
                "velocity": np.zeros(layers.weights, np.float32),
                "mean": _flat(m.running_mean for m in norms),
                "variance": _flat(m.running_var for m in norms),
            }
        )
        self._shape = (
            layers.units,
            layers.normed,
            np.float32(layers.eps),
            np.float32(layers.momentum),
        )
        self._room = _room(layers, max(batch, FULL_BATCH), moments)

    @property
    def weights(self) -> np.ndarray:
        """A copy of the weights, (d,) float32, in the order of `networks.flatten`."""
        return self._weights[self._place]

    def state(self) -> dict[str, np.ndarray]:
        """All that decides what the next step does, float32.

        `weights`, `velocity` (d,) in the order of `networks.flatten`; `mean`, `variance` (units
        with batch normalisation,), the running moments.
        """
        return {
            "weights": self.weights,
            "velocity": self._velocity[self._place],
            "mean": self._moments[0][self._moment_place],
            "variance": self._moments[1][self._moment_place],
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take a state as `state` gives it."""
        self._weights[self._place] = state["weights"]
        self._velocity[self._place] = state["velocity"]
        self._moments[0][self._moment_place] = state["mean"]
        self._moments[1][self._moment_place] = state["variance"]

    def steps(self, examples: int) -> int:
        """Steps for that many examples: a last batch of one is left out, as in `samplers`."""
        whole, rest = divmod(examples, self.batch)
        return whole + (rest > 1)

    def epoch(
        self, order: np.ndarray, rate: float, descent: Descent, *, frozen=False, keep: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step of SGD for each mini-batch of `order`.

        Parameters
        ----------
        order: indices of examples, int64, as a sampler gives them.
        rate: learning rate η.
        frozen: batch normalisation uses the running moments, which stay as they are.
        keep: the weights after each of the first `keep` steps are returned.

        Returns
        -------
        Losses of the steps (nats), float64; and the weights after them, (keep, d) float32.
        """
        steps = self.steps(len(order))
        losses = np.empty(steps)
        path = np.empty((min(keep, steps), len(self._place)), np.float32)
        options = (
            np.float32(descent.momentum),
            bool(descent.nesterov),
            np.float32(descent.weight_decay),
        )
        _epoch(
            self._shape, self._weights, self._velocity, self._moments,
            FROZEN if frozen else TRACKED, self._images, self._labels, order, self.batch,
            np.float32(rate), options, self._room, self._gradient, losses, self._place, path,
        )  # fmt: skip
        return losses, path

    def gradient(self, index: np.ndarray, *, frozen=False) -> tuple[float, np.ndarray]:
        """Loss (nats) and gradient (d,) float32 of one mini-batch; no state changes.

        Raises FusedError: more examples than there is room for.
        """
        if len(index) > (most := max(self.batch, FULL_BATCH)):
            raise FusedError(f"{len(index)} examples at once; there is room for {most}")
        loss = _gradient(
            self._shape, self._weights, self._moments, FROZEN if frozen else BATCH,
            self._images, self._labels, index, self._room, self._gradient,
        )  # fmt: skip
        return loss, self._gradient[self._place]

    def full_gradient(self, *, frozen=True) -> tuple[float, float, np.ndarray]:
        """Loss (nats), error (percent) and gradient (d,) float64 over all examples, in order.

        `frozen`: the gradient of f in evaluation mode. Else the mean of the gradients of the
        mini-batches in training mode, each normalised by its own moments (the authors' "full
        gradient" of Fig. 3c); the running moments are left as they are.
        """
        whole = np.empty(len(self._weights))
        batch = FULL_BATCH if frozen else self.batch
        steps = -(-self.examples // batch) if frozen else self.steps(self.examples)
        loss, error = _full(
            self._shape, self._weights, self._moments, FROZEN if frozen else BATCH,
            self._images, self._labels, batch, steps, self._room, self._gradient, whole,
        )  # fmt: skip
        return loss, error, whole[self._place]


def _flat(tensors) -> np.ndarray:
    parts = [t.detach().cpu().numpy().astype(np.float32).ravel() for t in tensors]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _room(layers: Layers, examples: int, moments: int) -> tuple[np.ndarray, ...]:
    """Working memory for up to that many examples."""
    widest = int(max(padded(u) for u in layers.units))
    size = len(layers.normed) * examples * widest
    a, d, standard = (np.zeros(size, np.float32) for _ in range(3))
    mean, variance = np.zeros(moments, np.float32), np.ones(moments, np.float32)
    turned = np.zeros(widest * widest, np.float32)
    return a, d, standard, mean, variance, turned, np.zeros(examples, np.int64), np.zeros(
        examples, np.int64
    )  # fmt: skip
