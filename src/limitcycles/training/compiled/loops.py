"""Loops over mini-batches and examples, in compiled code; `engine.Engine` calls them.

`shape`: units, whether normalised, eps and momentum of batch normalisation (see `Layers`);
`moments`: running means and variances; `room`: working memory, see `room_for`.
"""

from __future__ import annotations

import numpy as np

from limitcycles.training.compiled import kernels
from limitcycles.training.compiled.compiling import compiled
from limitcycles.training.compiled.kernels import ONE
from limitcycles.training.compiled.layers import Layers, padded
from limitcycles.training.compiled.pointers import step_at

FROZEN, BATCH, TRACKED = 0, 1, 2  # batch normalisation: running moments; the batch's; and note them


@compiled
def gradient(shape, weights, moments, mode, images, labels, index, share, room, result):
    """Mean loss of the examples `index`; the gradient of Σ share · loss goes to `result`.

    An empty `share` stands for equal weights: the gradient of the mean. Activations stay in `room`.
    The activations of layer i start at i · size in the arrays of `room`.
    """
    units, normed, eps, rate = shape
    running_mean, running_variance = moments
    a, d, standard, mean, variance, turned, rows, label, equal = room
    n, depth = index.shape[0], normed.shape[0]
    size = a.shape[0] // depth
    for s in range(n):
        rows[s] = index[s] * units[0]
        label[s] = labels[index[s]]
    if share.shape[0] == 0:
        share = equal[:n]
        share[:] = ONE / np.float32(n)
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
    loss = kernels.cross_entropy(x, width, n, units[depth], label, share, d[(depth - 1) * size :])
    for i in range(depth - 1, -1, -1):
        width = padded(units[i + 1])
        z, dz = a[i * size : (i + 1) * size], d[i * size : (i + 1) * size]
        if i + 1 < depth:
            kernels.relu_gradient(z, dz, width, n)
        if normed[i]:
            at -= 2 * width
            unit -= width
            h, v = standard[i * size : (i + 1) * size], variance[unit : unit + width]
            kernels.normalise_gradient(dz, width, n, h, v, eps, weights, at, mode != FROZEN, result)
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
        kernels.linear_gradient(x, rows, n, units[i], dz, width, result, at)
    return loss


@compiled
def epoch(
    shape, weights, vectors, moments, mode, images, labels, order, batch, address, numbers, room,
    part, losses, place, path,
):  # fmt: skip
    """One step for each batch of `order`; `path` (steps, d) takes the weights after each.

    `address`: of a step of the optimiser (`steps.compiled_step`), with `numbers` (steps, number).
    """
    take, equal = step_at(address), room[8][:0]
    for step in range(losses.shape[0]):
        index = order[step * batch : (step + 1) * batch]
        losses[step] = gradient(
            shape, weights, moments, mode, images, labels, index, equal, room, part
        )
        take(weights, part, vectors, numbers[step])
        if step < path.shape[0]:
            for i in range(place.shape[0]):
                path[step, i] = weights[place[i]]


@compiled
def epoch_of_all(
    shape, weights, vectors, moments, mode, images, labels, shares, address, numbers, room,
    part, losses, place, path,
):  # fmt: skip
    """The same, but every step takes all examples, with the weights of its row of `shares`.

    `shares` (steps, examples); (0, examples) for equal weights in every step.
    """
    take, everything = step_at(address), np.arange(labels.shape[0])
    for step in range(losses.shape[0]):
        share = shares[step] if shares.shape[0] else room[8][:0]
        losses[step] = gradient(
            shape, weights, moments, mode, images, labels, everything, share, room, part
        )
        take(weights, part, vectors, numbers[step])
        if step < path.shape[0]:
            for i in range(place.shape[0]):
                path[step, i] = weights[place[i]]


@compiled
def full(shape, weights, moments, mode, images, labels, batch, steps, room, part, whole):
    """Loss and error over all batches; `whole` takes the gradient, float64."""
    whole[:] = 0
    loss, wrong, seen = 0.0, 0, 0
    units, depth = shape[0], shape[1].shape[0]
    a, label, equal = room[0], room[7], room[8][:0]
    logits = a[a.shape[0] // depth * (depth - 1) :]
    for step in range(steps):
        index = np.arange(step * batch, min((step + 1) * batch, labels.shape[0]))
        n = index.shape[0]
        loss += n * gradient(
            shape, weights, moments, mode, images, labels, index, equal, room, part
        )
        wrong += kernels.mistakes(logits, padded(units[depth]), n, units[depth], label)
        for i in range(whole.shape[0]):
            whole[i] += n * np.float64(part[i])
        seen += n
    for i in range(whole.shape[0]):
        whole[i] /= seen
    return loss / seen, 100.0 * wrong / seen


def room_for(layers: Layers, examples: int, moments: int) -> tuple[np.ndarray, ...]:
    """Working memory for up to that many examples."""
    widest = int(max(padded(u) for u in layers.units[1:]))
    size = len(layers.normed) * examples * widest
    a, d, standard = (np.zeros(size, np.float32) for _ in range(3))
    mean, variance = np.zeros(moments, np.float32), np.ones(moments, np.float32)
    turned = np.zeros(widest * widest, np.float32)
    rows, label = np.zeros(examples, np.int64), np.zeros(examples, np.int64)
    return a, d, standard, mean, variance, turned, rows, label, np.zeros(examples, np.float32)
