"""Selling's decomposition of positive semi-definite tensors, D = Σ λ_e e eᵀ, λ_e ≥ 0, e integer.

In two dimensions an obtuse superbase (e₀, e₁, e₂), e₀ + e₁ + e₂ = 0, e_iᵀ D e_j ≤ 0, gives
D = −Σ_{i<j} (e_iᵀ D e_j) e_k^⊥ e_k^⊥ᵀ with k the third index (Selling 1874; Conway & Sloane 1992;
for finite differences Fehrenbach & Mirebeau 2014).
"""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-13  # relative to the trace: a product below it is zero
STEPS = 5000  # of the reduction, at most; a tensor of condition number κ takes about √κ


def decompose(
    tensors: np.ndarray, longest: float = np.inf
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integer offsets, shape (n, k, d), and weights, (n, k), of tensors (n, d, d); d is 1 or 2.

    The third result, shape (n,), tells where the decomposition is complete: the search ends early
    at offsets with a component above `longest`.

    Offsets with weight zero are (0, …), the others have a positive first non-zero component. The
    decomposition is exact to rounding; its weights are continuous in D, and a diagonal D
    gives the axes. Offsets grow as the square root of the condition number: a singular tensor
    has finite ones only if its null direction is rational in units of cells, else they stop
    where e_iᵀ D e_j is rounding.
    """
    n, d, _ = tensors.shape
    if d == 1:
        weights = tensors[:, :, 0]
        return (weights[:, :, None] > 0).astype(np.int64), weights, np.ones(n, dtype=bool)
    a, b, c = tensors[:, 0, 0], tensors[:, 0, 1], tensors[:, 1, 1]
    zero = ROUNDING * (a + c)
    base = np.empty((n, 3, 2), dtype=np.int64)
    base[:] = [[1, 0], [0, 1], [-1, -1]]
    active = np.arange(n)
    for _ in range(STEPS):
        products = _products(base[active], a[active], b[active], c[active])
        worst = products.argmax(1)
        acute = products[np.arange(len(active)), worst] > zero[active]
        active, worst = active[acute], worst[acute]
        if not len(active):
            break
        # The pair (i, j) opposite to `worst` is acute: (−e_i, e_j, e_i − e_j) is more obtuse.
        rows = np.arange(len(active))
        old = base[active]
        first, second = old[rows, (worst + 1) % 3], old[rows, (worst + 2) % 3]
        base[active] = np.stack([-first, second, first - second], axis=1)
        active = active[np.abs(first - second).max(axis=1) <= 2 * longest]
    products = _products(base, a, b, c)
    weights = np.maximum(-products, 0)
    weights[weights <= zero[:, None]] = 0
    offsets = np.stack([-base[..., 1], base[..., 0]], axis=-1)
    backward = (offsets[..., 0] < 0) | ((offsets[..., 0] == 0) & (offsets[..., 1] < 0))
    offsets[backward] *= -1
    offsets[weights == 0] = 0
    complete = (products.max(axis=1) <= zero) & (np.abs(offsets) <= longest).all(axis=(1, 2))
    return offsets, weights, complete


def _products(base, a, b, c) -> np.ndarray:
    """e_iᵀ D e_j for the pair opposite to k, shape (n, 3)."""
    first, second = np.roll(base, -1, axis=1), np.roll(base, -2, axis=1)
    x = first[..., 0] * second[..., 0]
    mixed = first[..., 0] * second[..., 1] + first[..., 1] * second[..., 0]
    y = first[..., 1] * second[..., 1]
    return a[:, None] * x + b[:, None] * mixed + c[:, None] * y
