"""SGD on a fully connected network in compiled loops: one core, one trajectory.

A step of tiny-fc takes about as long as its arithmetic, where a loop in PyTorch spends fifty times
that on calling operators. `Engine` takes its network from PyTorch and gives its weights back in
the order of `networks.flatten`; one step agrees with PyTorch's to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from limitcycles.errors import LimitcyclesError
from limitcycles.fused import kernels
from limitcycles.fused.kernels import compiled

FROZEN, BATCH, TRACKED = 0, 1, 2  # batch normalisation: running moments; the batch's; and note them
FULL_BATCH = 256  # examples at a time where nothing depends on the batch: they stay in the cache


class FusedError(LimitcyclesError):
    """A network, data or options that the compiled loops cannot take."""


@dataclass(frozen=True)
class Layers:
    """Shape of a network of linear layers, each but the last followed by [batch norm,] ReLU.

    `widths` (layers + 1,) int64 from the pixels to the classes, `normed` (layers,) int64: 1 where
    batch normalisation follows, `eps` and `momentum` those of all batch normalisations.
    """

    widths: np.ndarray
    normed: np.ndarray
    eps: float
    momentum: float

    @property
    def weights(self) -> int:
        """d, the number of weights: W, b, then scale and shift, layer by layer."""
        outputs = self.widths[1:]
        return int((outputs * (self.widths[:-1] + 1) + 2 * self.normed * outputs).sum())

    @property
    def moments(self) -> int:
        """Numbers of units with batch normalisation: as many running means, and variances."""
        return int((self.normed * self.widths[1:]).sum())

    @classmethod
    def of(cls, network: nn.Module) -> Layers:
        """Read the shape off a `torch.nn.Sequential`. Raises FusedError: other layers, or order."""
        layers = (
            [m for m in network if not isinstance(m, nn.Flatten)]
            if isinstance(network, nn.Sequential)
            else []
        )
        widths, normed, norms = [], [], []
        expected: tuple[type, ...] = (nn.Linear,)
        for layer in layers:
            if not isinstance(layer, expected):
                break
            if isinstance(layer, nn.Linear):
                if layer.bias is None or (widths and layer.in_features != widths[-1]):
                    break
                widths = widths or [layer.in_features]
                widths.append(layer.out_features)
                normed.append(0)
                expected = (nn.BatchNorm1d, nn.ReLU)
            elif isinstance(layer, nn.BatchNorm1d):
                if not (layer.affine and layer.track_running_stats and layer.momentum):
                    break
                normed[-1] = 1
                norms.append((layer.eps, layer.momentum))
                expected = (nn.ReLU,)
            else:
                expected = (nn.Linear,)
        else:
            if layers and isinstance(layers[-1], nn.Linear) and len(set(norms)) <= 1:
                eps, momentum = norms[0] if norms else (0.0, 0.0)
                return cls(np.array(widths), np.array(normed), eps, momentum)
        raise FusedError(
            "the compiled loops take a torch.nn.Sequential of linear layers with bias, each but "
            f"the last followed by BatchNorm1d (or none) and ReLU; this one is {network}"
        )


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
def _gradient(layers, weights, moments, mode, images, labels, index, room, gradient):
    """Loss of one mini-batch; its gradient goes to `gradient`. Activations stay in `room`."""
    widths, normed, eps, rate = layers
    running_mean, running_variance = moments
    a, d, standard, mean, variance, label, top, total = room
    n = index.shape[0]
    kernels.gather(images, index, a)
    for s in range(n):
        label[s] = labels[index[s]]
    depth = normed.shape[0]
    at = row = unit = 0  # in the weights, in `a` and `d`, in the running moments
    for i in range(depth):
        inputs, outputs = widths[i], widths[i + 1]
        x, z = a[row : row + inputs], a[row + inputs : row + inputs + outputs]
        W = weights[at : at + outputs * inputs].reshape(outputs, inputs)
        at += outputs * inputs
        kernels.linear(W, weights[at : at + outputs], x, z, n)
        at += outputs
        row += inputs
        if normed[i]:
            m, v = mean[row : row + outputs], variance[row : row + outputs]
            known_m = running_mean[unit : unit + outputs]
            known_v = running_variance[unit : unit + outputs]
            if mode == FROZEN:
                m[:] = known_m
                v[:] = known_v
            else:
                kernels.batch_moments(z, m, v, n)
            if mode == TRACKED:
                unbiased = np.float32(n) / np.float32(n - 1)
                for j in range(outputs):
                    known_m[j] += rate * (m[j] - known_m[j])
                    known_v[j] += rate * (unbiased * v[j] - known_v[j])
            scale, shift = weights[at : at + outputs], weights[at + outputs : at + 2 * outputs]
            kernels.normalise(z, m, v, eps, scale, shift, standard[row : row + outputs], n)
            at += 2 * outputs
            unit += outputs
        if i + 1 < depth:
            kernels.relu(z, n)
    loss = kernels.cross_entropy(a[row:], label, top, total, d[row:], n)
    for i in range(depth - 1, -1, -1):
        inputs, outputs = widths[i], widths[i + 1]
        dz = d[row : row + outputs]
        if i + 1 < depth:
            kernels.relu_gradient(a[row : row + outputs], dz, n)
        if normed[i]:
            at -= 2 * outputs
            kernels.normalise_gradient(
                dz,
                standard[row : row + outputs],
                variance[row : row + outputs],
                eps,
                weights[at : at + outputs],
                mode != FROZEN,
                gradient[at : at + outputs],
                gradient[at + outputs : at + 2 * outputs],
                n,
            )
        at -= outputs * (inputs + 1)
        row -= inputs
        end = at + outputs * inputs
        kernels.linear_gradient(
            dz,
            a[row : row + inputs],
            gradient[at:end].reshape(outputs, inputs),
            gradient[end : end + outputs],
            n,
        )
        if i > 0:
            W = weights[at:end].reshape(outputs, inputs)
            kernels.input_gradient(W, dz, d[row : row + inputs], n)
    return loss


@compiled
def _epoch(
    layers, weights, velocity, moments, mode, images, labels, order, batch, rate, descent, room,
    gradient, losses, path,
):  # fmt: skip
    """One step for each batch of `order`; `path` (steps, d) takes the weights after each."""
    momentum, nesterov, decay = descent
    for step in range(losses.shape[0]):
        index = order[step * batch : (step + 1) * batch]
        losses[step] = _gradient(
            layers, weights, moments, mode, images, labels, index, room, gradient
        )
        kernels.descend(weights, velocity, gradient, rate, momentum, nesterov, decay)
        if step < path.shape[0]:
            path[step] = weights


@compiled
def _full(layers, weights, moments, mode, images, labels, order, batch, steps, room, part, whole):
    """Loss and number of mistakes over all batches; `whole` (d,) float64 takes the gradient."""
    whole[:] = 0
    loss, wrong, seen = 0.0, 0, 0
    first = layers[0][:-1].sum()
    for step in range(steps):
        index = order[step * batch : (step + 1) * batch]
        n = index.shape[0]
        loss += n * np.float64(
            _gradient(layers, weights, moments, mode, images, labels, index, room, part)
        )
        wrong += kernels.mistakes(room[0][first:], room[5], n)
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

    Attributes
    ----------
    weights: (d,) float32, in the order of `networks.flatten`.
    velocity: (d,) float32, of the momentum.
    mean, variance: (units with batch normalisation,) float32, the running moments.

    Raises FusedError: see `Layers.of`; images of another size, labels that are no classes of the
    network, or a batch of one example with batch normalisation.
    """

    def __init__(self, network: nn.Module, images: np.ndarray, labels: np.ndarray, batch: int):
        self.layers = layers = Layers.of(network)
        self.images = np.ascontiguousarray(images.reshape(len(images), -1), np.float32)
        self.labels = np.ascontiguousarray(labels, np.int64)
        self.batch = batch
        pixels, classes = int(layers.widths[0]), int(layers.widths[-1])
        if self.images.shape[1] != pixels:
            raise FusedError(
                f"the images have {self.images.shape[1]} pixels, the network takes {pixels}"
            )
        if len(self.labels) != len(self.images) or not (
            self.labels.min() >= 0 and self.labels.max() < classes
        ):
            raise FusedError(
                f"{len(self.images)} images need as many labels of 0 to {classes - 1}; there are "
                f"{len(self.labels)}, of {self.labels.min()} to {self.labels.max()}"
            )
        if batch < 1 or (batch == 1 and layers.moments):
            raise FusedError(f"a batch of {batch} has no variance for batch normalisation")
        self.weights = _flat(network.parameters(), layers.weights)
        norms = [m for m in network if isinstance(m, nn.BatchNorm1d)]
        self.mean = _flat((m.running_mean for m in norms), layers.moments)
        self.variance = _flat((m.running_var for m in norms), layers.moments)
        self.velocity = np.zeros_like(self.weights)
        self._shape = (
            layers.widths,
            layers.normed,
            np.float32(layers.eps),
            np.float32(layers.momentum),
        )
        self._room = _room(layers, max(batch, FULL_BATCH))
        self._gradient = np.zeros_like(self.weights)

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
        Losses of the steps (nats), float32; and the weights after them, (keep, d) float32.
        """
        steps = self.steps(len(order))
        losses = np.empty(steps, np.float32)
        path = np.empty((min(keep, steps), len(self.weights)), np.float32)
        options = (
            np.float32(descent.momentum),
            bool(descent.nesterov),
            np.float32(descent.weight_decay),
        )
        _epoch(
            self._shape, self.weights, self.velocity, (self.mean, self.variance),
            FROZEN if frozen else TRACKED, self.images, self.labels, order, self.batch,
            np.float32(rate), options, self._room, self._gradient, losses, path,
        )  # fmt: skip
        return losses, path

    def gradient(self, index: np.ndarray, *, frozen=False) -> tuple[float, np.ndarray]:
        """Loss (nats) and gradient (d,) float32 of one mini-batch; no state changes."""
        loss = _gradient(
            self._shape, self.weights, (self.mean, self.variance), FROZEN if frozen else BATCH,
            self.images, self.labels, index, self._room, self._gradient,
        )  # fmt: skip
        return float(loss), self._gradient.copy()

    def full_gradient(self, *, frozen=True) -> tuple[float, float, np.ndarray]:
        """Loss (nats), error (percent) and gradient (d,) float64 over all examples, in order.

        `frozen`: the gradient of f in evaluation mode. Else the mean of the gradients of the
        mini-batches in training mode, each normalised by its own moments (the authors' "full
        gradient" of Fig. 3c); the running moments are left as they are.
        """
        whole = np.empty(len(self.weights))
        count, batch = len(self.images), FULL_BATCH if frozen else self.batch
        steps = -(-count // batch) if frozen else self.steps(count)
        loss, error = _full(
            self._shape, self.weights, (self.mean, self.variance), FROZEN if frozen else BATCH,
            self.images, self.labels, np.arange(count), batch, steps, self._room,
            self._gradient, whole,
        )  # fmt: skip
        return loss, error, whole


def _flat(tensors, count: int) -> np.ndarray:
    parts = [t.detach().cpu().numpy().astype(np.float32).ravel() for t in tensors]
    flat = np.concatenate([np.empty(0, np.float32), *parts])
    if len(flat) != count:
        raise FusedError(f"the network has {len(flat)} numbers where its layers have {count}")
    return flat


def _room(layers: Layers, examples: int) -> tuple[np.ndarray, ...]:
    """Working memory for up to that many examples."""
    rows = int(layers.widths.sum())
    stride = (
        -(-examples // 16) * 16 + 16
    )  # rows at a power of two would share few places of a cache
    a, d, standard = (np.zeros((rows, stride), np.float32) for _ in range(3))
    mean, variance = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    label = np.zeros(stride, np.int64)
    top, total = np.zeros(stride, np.float32), np.zeros(stride, np.float32)
    return a, d, standard, mean, variance, label, top, total
