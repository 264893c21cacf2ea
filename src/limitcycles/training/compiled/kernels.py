"""Arithmetic of one mini-batch of a fully connected network, in compiled code.

Arrays are flat, float32, and hold one example a row. The units of a layer fill up a row to a
multiple of 16, its `width`; what is behind them is zero and stays so. Weights stand transposed,
(inputs + 1) rows of `width`: the last are the biases. Four or eight examples (or inputs) go
together, so that what is loaded serves several products and sums need not wait for each other.
"""

from __future__ import annotations

import math

import numpy as np

from limitcycles.training.compiled.compiling import compiled
from limitcycles.training.compiled.simd import (
    LANES,
    first,
    floor,
    fma,
    larger,
    largest,
    load,
    positive,
    power_of_two,
    root,
    splat,
    spread,
    store,
    total,
)

ZERO, ONE = np.float32(0), np.float32(1)


@compiled
def linear(x, rows, n, inputs, weights, at, width, z):
    """z = x W + b for `n` examples; example s starts at x[rows[s]], W at weights[at]."""
    for tile in range(0, width, LANES):
        column, out = at + tile, tile
        bias = load(weights, column + inputs * width)
        s = 0
        while s + 8 <= n:
            r0, r1, r2, r3 = rows[s], rows[s + 1], rows[s + 2], rows[s + 3]
            r4, r5, r6, r7 = rows[s + 4], rows[s + 5], rows[s + 6], rows[s + 7]
            z0 = z1 = z2 = z3 = z4 = z5 = z6 = z7 = bias
            for k in range(inputs):
                w = load(weights, column + k * width)
                z0 = fma(spread(x, r0 + k), w, z0)
                z1 = fma(spread(x, r1 + k), w, z1)
                z2 = fma(spread(x, r2 + k), w, z2)
                z3 = fma(spread(x, r3 + k), w, z3)
                z4 = fma(spread(x, r4 + k), w, z4)
                z5 = fma(spread(x, r5 + k), w, z5)
                z6 = fma(spread(x, r6 + k), w, z6)
                z7 = fma(spread(x, r7 + k), w, z7)
            out = s * width + tile
            store(z, out, z0)
            store(z, out + width, z1)
            store(z, out + 2 * width, z2)
            store(z, out + 3 * width, z3)
            store(z, out + 4 * width, z4)
            store(z, out + 5 * width, z5)
            store(z, out + 6 * width, z6)
            store(z, out + 7 * width, z7)
            s += 8
        while s < n:
            z0 = bias
            for k in range(inputs):
                z0 = fma(spread(x, rows[s] + k), load(weights, column + k * width), z0)
            store(z, s * width + tile, z0)
            s += 1


@compiled
def linear_gradient(x, rows, n, inputs, dz, width, gradient, at):
    """∂L/∂W = xᵀ dz and, behind it, ∂L/∂b = Σ dz; dz (n, width), x as in `linear`."""
    for tile in range(0, width, LANES):
        k = 0
        while k + 8 <= inputs:
            g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = splat(ZERO)
            for s in range(n):
                place = rows[s] + k
                d = load(dz, s * width + tile)
                g0 = fma(spread(x, place), d, g0)
                g1 = fma(spread(x, place + 1), d, g1)
                g2 = fma(spread(x, place + 2), d, g2)
                g3 = fma(spread(x, place + 3), d, g3)
                g4 = fma(spread(x, place + 4), d, g4)
                g5 = fma(spread(x, place + 5), d, g5)
                g6 = fma(spread(x, place + 6), d, g6)
                g7 = fma(spread(x, place + 7), d, g7)
            out = at + k * width + tile
            store(gradient, out, g0)
            store(gradient, out + width, g1)
            store(gradient, out + 2 * width, g2)
            store(gradient, out + 3 * width, g3)
            store(gradient, out + 4 * width, g4)
            store(gradient, out + 5 * width, g5)
            store(gradient, out + 6 * width, g6)
            store(gradient, out + 7 * width, g7)
            k += 8
        while k < inputs:
            g0 = g1 = g2 = g3 = splat(ZERO)
            for s in range(0, n - 3, 4):
                here = s * width + tile
                g0 = fma(spread(x, rows[s] + k), load(dz, here), g0)
                g1 = fma(spread(x, rows[s + 1] + k), load(dz, here + width), g1)
                g2 = fma(spread(x, rows[s + 2] + k), load(dz, here + 2 * width), g2)
                g3 = fma(spread(x, rows[s + 3] + k), load(dz, here + 3 * width), g3)
            for s in range(n - n % 4, n):
                g0 = fma(spread(x, rows[s] + k), load(dz, s * width + tile), g0)
            store(gradient, at + k * width + tile, (g0 + g1) + (g2 + g3))
            k += 1
        store(gradient, at + inputs * width + tile, column_total(dz, tile, width, n))


@compiled
def column_total(values, tile, width, n):
    """Σ over the examples of 16 neighbouring units."""
    t0 = t1 = t2 = t3 = splat(ZERO)
    for s in range(0, n - 3, 4):
        here = s * width + tile
        t0 = t0 + load(values, here)
        t1 = t1 + load(values, here + width)
        t2 = t2 + load(values, here + 2 * width)
        t3 = t3 + load(values, here + 3 * width)
    for s in range(n - n % 4, n):
        t0 = t0 + load(values, s * width + tile)
    return (t0 + t1) + (t2 + t3)


@compiled
def input_gradient(dz, width, n, weights, at, units, inputs, turned, dx, input_width):
    """∂L/∂x = dz Wᵀ; dz (n, width), dx (n, input_width); `turned` takes Wᵀ, a row a unit."""
    for j in range(units):
        for k in range(input_width):
            turned[j * input_width + k] = weights[at + k * width + j] if k < inputs else ZERO
    for tile in range(0, input_width, LANES):
        for s in range(0, n - 3, 4):
            here = s * width
            d0 = d1 = d2 = d3 = splat(ZERO)
            for j in range(units):
                w = load(turned, j * input_width + tile)
                d0 = fma(spread(dz, here + j), w, d0)
                d1 = fma(spread(dz, here + width + j), w, d1)
                d2 = fma(spread(dz, here + 2 * width + j), w, d2)
                d3 = fma(spread(dz, here + 3 * width + j), w, d3)
            out = s * input_width + tile
            store(dx, out, d0)
            store(dx, out + input_width, d1)
            store(dx, out + 2 * input_width, d2)
            store(dx, out + 3 * input_width, d3)
        for s in range(n - n % 4, n):
            d0 = splat(ZERO)
            for j in range(units):
                d0 = fma(spread(dz, s * width + j), load(turned, j * input_width + tile), d0)
            store(dx, s * input_width + tile, d0)


@compiled
def relu(z, width, n):
    """z ← max(z, 0), in place; NaN stays NaN."""
    for at in range(0, n * width, LANES):
        value = load(z, at)
        store(z, at, positive(value, value))


@compiled
def relu_gradient(a, d, width, n):
    """d ← d where a > 0, else 0, in place; a is what `relu` left."""
    for at in range(0, n * width, LANES):
        store(d, at, positive(load(d, at), load(a, at)))


@compiled
def batch_moments(z, width, n, mean, variance):
    """Mean and biased variance of each unit over the examples, (width,)."""
    share = splat(ONE / np.float32(n))
    for tile in range(0, width, LANES):
        m = column_total(z, tile, width, n) * share
        t0 = t1 = splat(ZERO)
        for s in range(0, n - 1, 2):
            here = s * width + tile
            e0 = load(z, here) - m
            e1 = load(z, here + width) - m
            t0 = fma(e0, e0, t0)
            t1 = fma(e1, e1, t1)
        if n % 2:
            e0 = load(z, (n - 1) * width + tile) - m
            t0 = fma(e0, e0, t0)
        store(mean, tile, m)
        store(variance, tile, (t0 + t1) * share)


@compiled
def normalise(z, width, n, mean, variance, eps, weights, at, standard):
    """standard = (z − mean)/√(variance + eps); z ← scale · standard + shift.

    Scale and shift stand at weights[at], one after the other.
    """
    for tile in range(0, width, LANES):
        m = load(mean, tile)
        inverse = splat(ONE) / root(load(variance, tile) + splat(eps))
        scale, shift = load(weights, at + tile), load(weights, at + width + tile)
        for s in range(n):
            here = s * width + tile
            h = (load(z, here) - m) * inverse
            store(standard, here, h)
            store(z, here, fma(scale, h, shift))


@compiled
def normalise_gradient(d, width, n, standard, variance, eps, weights, at, of_batch, gradient):
    """From ∂L/∂(output) in `d` to ∂L/∂(input), in place; scale and shift get theirs.

    `of_batch`: mean and variance were those of the batch and depend on the input.
    """
    share = splat(ONE / np.float32(n) if of_batch else ZERO)
    for tile in range(0, width, LANES):
        t0 = t1 = p0 = p1 = splat(ZERO)
        for s in range(0, n - 1, 2):
            here = s * width + tile
            d0, d1 = load(d, here), load(d, here + width)
            t0, t1 = t0 + d0, t1 + d1
            p0 = fma(d0, load(standard, here), p0)
            p1 = fma(d1, load(standard, here + width), p1)
        if n % 2:
            here = (n - 1) * width + tile
            t0 = t0 + load(d, here)
            p0 = fma(load(d, here), load(standard, here), p0)
        t0, p0 = t0 + t1, p0 + p1
        store(gradient, at + tile, p0)
        store(gradient, at + width + tile, t0)
        factor = load(weights, at + tile) / root(load(variance, tile) + splat(eps))
        t0, p0 = t0 * share, p0 * share
        for s in range(n):
            here = s * width + tile
            h = load(standard, here)
            store(d, here, factor * ((load(d, here) - t0) - h * p0))


@compiled
def exponential(x):
    """e^x to 2 units in the last place for x ≤ 0: e^x = 2^k e^r, |r| ≤ ½ log 2, Taylor's series."""
    x = larger(x, splat(np.float32(-87)))
    k = floor(fma(x, splat(np.float32(1.44269504)), splat(np.float32(0.5))))
    r = fma(k, splat(np.float32(-0.693359375)), x)  # log 2 in two parts: the first has few digits
    r = fma(k, splat(np.float32(2.12194440e-4)), r)
    p = splat(np.float32(1 / 5040))
    p = fma(p, r, splat(np.float32(1 / 720)))
    p = fma(p, r, splat(np.float32(1 / 120)))
    p = fma(p, r, splat(np.float32(1 / 24)))
    p = fma(p, r, splat(np.float32(1 / 6)))
    p = fma(p, r, splat(np.float32(0.5)))
    p = fma(p, r, splat(ONE))
    p = fma(p, r, splat(ONE))
    return p * power_of_two(k)


@compiled
def cross_entropy(logits, width, n, classes, label, share, d):
    """Mean cross-entropy in nats; in `d`, (n, width), ∂/∂logits of the sum with weights `share`.

    `label` (n,) are the classes, `share` (n,) float32 what each example counts in that sum: 1/n
    for the gradient of the mean. The mean that is returned has equal weights in any case. The
    logarithms of the sums of exponentials are taken of products of 32 of them, in float64: fewer
    calls, and no digit lost (a sum lies in 1 to `classes`).
    """
    low = np.float32(-3e38)
    loss, product = 0.0, 1.0
    for s in range(n):
        row = s * width
        top = low
        for tile in range(0, width, LANES):
            top = max(top, largest(first(load(logits, row + tile), classes - tile, low)))
        whole = ZERO
        for tile in range(0, width, LANES):
            e = exponential(load(logits, row + tile) - splat(top))
            e = first(e, classes - tile, ZERO)
            store(d, row + tile, e)
            whole += total(e)
        factor = splat(share[s] / whole)
        for tile in range(0, width, LANES):
            store(d, row + tile, load(d, row + tile) * factor)
        d[row + label[s]] -= share[s]
        loss += np.float64(top - logits[row + label[s]])
        product *= np.float64(whole)
        if s % 32 == 31:
            loss += math.log(product)
            product = 1.0
    return (loss + math.log(product)) / n


@compiled
def mistakes(logits, width, n, classes, label):
    """How many examples have their largest logit (the first of equals) at another class."""
    count = 0
    for s in range(n):
        row, best = s * width, 0
        for j in range(1, classes):
            if logits[row + j] > logits[row + best]:
                best = j
        count += best != label[s]
    return count
