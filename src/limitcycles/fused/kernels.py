"""Arithmetic of one mini-batch of a fully connected network, compiled by Numba.

Arrays are float32 and hold one unit a row and one example a column, (units, stride), of which the
first `n` columns are in use: sums over examples and loops over them then run along memory, and
the compiler makes vector instructions of them. Loops are unrolled over units so that what is
loaded serves several products; that, not the number of operations, limits their speed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Sums in any order and fused products; NaN and infinity keep their meaning.
compiled = njit(
    fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy", cache=True, nogil=True
)

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)


@compiled
def gather(images, index, out):
    """out[k, s] = images[index[s], k]; images (examples, pixels)."""
    for s in range(index.shape[0]):
        row = index[s]
        for k in range(images.shape[1]):
            out[k, s] = images[row, k]


@compiled
def linear(weight, bias, x, z, n):
    """z = W x + b; weight (units, inputs), bias (units,), x (inputs, n), z (units, n)."""
    units, inputs = weight.shape
    for j in range(units):
        zj, b = z[j], bias[j]
        for s in range(n):
            zj[s] = b
    k = 0
    while k + 8 <= inputs:
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        j = 0
        while j + 2 <= units:
            v, w = weight[j], weight[j + 1]
            v0, v1, v2, v3 = v[k], v[k + 1], v[k + 2], v[k + 3]
            v4, v5, v6, v7 = v[k + 4], v[k + 5], v[k + 6], v[k + 7]
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            w4, w5, w6, w7 = w[k + 4], w[k + 5], w[k + 6], w[k + 7]
            first, second = z[j], z[j + 1]
            for s in range(n):
                p = (v0 * x0[s] + v1 * x1[s]) + (v2 * x2[s] + v3 * x3[s])
                q = (w0 * x0[s] + w1 * x1[s]) + (w2 * x2[s] + w3 * x3[s])
                p += (v4 * x4[s] + v5 * x5[s]) + (v6 * x6[s] + v7 * x7[s])
                q += (w4 * x4[s] + w5 * x5[s]) + (w6 * x6[s] + w7 * x7[s])
                first[s] += p
                second[s] += q
            j += 2
        while j < units:
            _add_products(weight[j, k : k + 8], x[k : k + 8], z[j], n)
            j += 1
        k += 8
    for j in range(units):
        _add_products(weight[j, k:], x[k:], z[j], n)


@compiled
def _add_products(weight, x, z, n):
    for k in range(weight.shape[0]):
        w, row = weight[k], x[k]
        for s in range(n):
            z[s] += w * row[s]


@compiled
def linear_gradient(dz, x, weight_gradient, bias_gradient, n):
    """∂L/∂W = dz xᵀ and ∂L/∂b = Σ dz; dz (units, n), x (inputs, n)."""
    units, inputs = weight_gradient.shape
    for j in range(units):
        bias_gradient[j] = _total(dz[j], n)
    k = 0
    while k + 4 <= inputs:
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        j = 0
        while j + 2 <= units:
            d, e = dz[j], dz[j + 1]
            p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = ZERO
            for s in range(n):
                p0 += d[s] * x0[s]
                p1 += d[s] * x1[s]
                p2 += d[s] * x2[s]
                p3 += d[s] * x3[s]
                q0 += e[s] * x0[s]
                q1 += e[s] * x1[s]
                q2 += e[s] * x2[s]
                q3 += e[s] * x3[s]
            first, second = weight_gradient[j], weight_gradient[j + 1]
            first[k], first[k + 1], first[k + 2], first[k + 3] = p0, p1, p2, p3
            second[k], second[k + 1], second[k + 2], second[k + 3] = q0, q1, q2, q3
            j += 2
        while j < units:
            for i in range(k, k + 4):
                weight_gradient[j, i] = _product(dz[j], x[i], n)
            j += 1
        k += 4
    while k < inputs:
        for j in range(units):
            weight_gradient[j, k] = _product(dz[j], x[k], n)
        k += 1


@compiled
def _total(values, n):
    total = ZERO
    for s in range(n):
        total += values[s]
    return total


@compiled
def _product(one, other, n):
    total = ZERO
    for s in range(n):
        total += one[s] * other[s]
    return total


@compiled
def input_gradient(weight, dz, dx, n):
    """∂L/∂x = Wᵀ dz; dz (units, n), dx (inputs, n)."""
    units, inputs = weight.shape
    for k in range(inputs):
        row = dx[k]
        for s in range(n):
            row[s] = ZERO
        for j in range(units):
            w, d = weight[j, k], dz[j]
            for s in range(n):
                row[s] += w * d[s]


@compiled
def relu(z, n):
    """z ← max(z, 0), in place; NaN stays NaN."""
    for j in range(z.shape[0]):
        row = z[j]
        for s in range(n):
            row[s] = ZERO if row[s] < ZERO else row[s]


@compiled
def relu_gradient(a, d, n):
    """d ← d where a > 0, else 0, in place; a is what `relu` left."""
    for j in range(a.shape[0]):
        row, out = a[j], d[j]
        for s in range(n):
            out[s] = out[s] if row[s] > ZERO else ZERO


@compiled
def batch_moments(z, mean, variance, n):
    """Mean and biased variance of each unit over the examples."""
    for j in range(z.shape[0]):
        row = z[j]
        m = _total(row, n) / np.float32(n)
        total = ZERO
        for s in range(n):
            total += (row[s] - m) * (row[s] - m)
        mean[j], variance[j] = m, total / np.float32(n)


@compiled
def normalise(z, mean, variance, eps, scale, shift, standard, n):
    """standard = (z − mean)/√(variance + eps); z ← scale · standard + shift."""
    for j in range(z.shape[0]):
        row, h = z[j], standard[j]
        m, inverse, g, b = mean[j], ONE / np.sqrt(variance[j] + eps), scale[j], shift[j]
        for s in range(n):
            h[s] = (row[s] - m) * inverse
            row[s] = g * h[s] + b


@compiled
def normalise_gradient(
    d, standard, variance, eps, scale, of_batch, scale_gradient, shift_gradient, n
):
    """From ∂L/∂(output) in `d` to ∂L/∂(input), in place.

    `of_batch`: mean and variance were those of the batch and depend on the input.
    """
    for j in range(d.shape[0]):
        row, h = d[j], standard[j]
        total, product = _total(row, n), _product(row, h, n)
        shift_gradient[j], scale_gradient[j] = total, product
        c = scale[j] / np.sqrt(variance[j] + eps)
        if not of_batch:
            total = product = ZERO
        total, product = total / np.float32(n), product / np.float32(n)
        for s in range(n):
            row[s] = c * (row[s] - total - h[s] * product)


@compiled
def _exponential(x):
    """e^x to 1 unit in the last place for x ≤ 0: e^x = 2^k e^r, |r| ≤ ½ log 2, and Taylor's series.

    The library's function is a call for each number; this one becomes vector instructions.
    """
    x = x if x > np.float32(-87) else (np.float32(-87) if x <= np.float32(-87) else x)
    k = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - k * np.float32(0.693359375)  # log 2 in two parts: the first has few digits
    r += k * np.float32(2.12194440e-4)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + HALF
    p = p * (r * r) + (r + ONE)
    exponent = (np.int32(k) + np.int32(127)) << np.int32(23)
    return p * np.int32(exponent).view(np.float32)


@compiled
def cross_entropy(logits, label, top, total, d, n):
    """Mean cross-entropy in nats, and its gradient by the logits in `d` (classes, n).

    `label` (n,) are the classes; `top` and `total` (stride,) are working memory.
    """
    classes = logits.shape[0]
    share = ONE / np.float32(n)
    for s in range(n):
        top[s] = logits[0, s]
        total[s] = ZERO
    for j in range(1, classes):
        row = logits[j]
        for s in range(n):
            top[s] = row[s] if row[s] > top[s] else top[s]
    for j in range(classes):
        row, out = logits[j], d[j]
        for s in range(n):
            e = _exponential(row[s] - top[s])
            out[s] = e
            total[s] += e
    loss = ZERO
    for s in range(n):
        loss += top[s] - logits[label[s], s] + np.log(total[s])
    for s in range(n):
        total[s] = share / total[s]
    for j in range(classes):
        out = d[j]
        for s in range(n):
            out[s] *= total[s]
    for s in range(n):
        d[label[s], s] -= share
    return loss * share


@compiled
def mistakes(logits, label, n):
    """How many examples have their largest logit (the first of equals) at another class."""
    count = 0
    for s in range(n):
        best = 0
        for j in range(1, logits.shape[0]):
            if logits[j, s] > logits[best, s]:
                best = j
        count += best != label[s]
    return count


@compiled
def descend(weights, velocity, gradient, rate, momentum, nesterov, decay):
    """One step of SGD as torch.optim.SGD defines it, in place.

    g ← g + decay·x, v ← μv + g, x ← x − η v (heavy ball) or x − η(g + μv) (Nesterov).
    """
    for i in range(weights.shape[0]):
        g = gradient[i] + decay * weights[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        weights[i] -= rate * (g + momentum * v if nesterov else v)
