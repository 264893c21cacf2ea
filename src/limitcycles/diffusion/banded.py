"""All eigenvalues of a large symmetric matrix in its own memory, at the speed of matrix products.

The usual reduction to tridiagonal form spends half of its arithmetic in products of the matrix with
one vector, which memory limits. Here the matrix is first reduced to a band, in products with WIDTH
vectors (Bischof, Lang & Sun 2000, "A framework for symmetric band reduction"), and LAPACK does the
rest on the band, which fits into the cache.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from limitcycles.runtime.progress import track

WIDTH = 96  # sub-diagonals of the band: wide enough for products, narrow enough for what follows
PANELS = 16  # the lower triangle is updated in so many parts: 17/32 of the work of the whole


def eigenvalues(matrix: Tensor) -> np.ndarray:
    """Eigenvalues, ascending, shape (n,), of a symmetric float64 matrix, shape (n, n), on the CPU.

    Destroys `matrix`; only its lower triangle and diagonal blocks count. Backward stable: the error
    is a small multiple of √n eps ‖matrix‖. About 1.4 n³ FLOP, and about 100 WIDTH n bytes beyond
    the matrix.
    """
    n = len(matrix)
    width = min(WIDTH, n - 1)
    if n == 1:
        return matrix[0].numpy().copy()
    _reduce(matrix, width)
    band = np.zeros((width + 1, n))
    for i in range(width + 1):
        band[i, : n - i] = matrix.diagonal(-i).numpy()
    return scipy.linalg.eigvals_banded(band, lower=True, overwrite_a_band=True, check_finite=False)


def _reduce(matrix: Tensor, width: int) -> None:
    """QᵀAQ with `width` sub-diagonals in the place of A: its lower triangle."""
    n = len(matrix)
    part = -(-n // PANELS)
    starts = range(0, n - width - 1, width)
    for start in track(starts, unit="panel", what="reduction to a band", delay=10):
        below = start + width
        panel = matrix[below:, start:below]
        factors, tau = torch.geqrf(panel)
        panel.copy_(factors.triu())
        # The reflections as I − Y T Yᵀ, with T⁻¹ + T⁻ᵀ = YᵀY. One with tau = 0 does nothing.
        y = factors.tril(-1)[:, : len(tau)]
        y.diagonal().fill_(1)
        y[:, tau == 0] = 0
        inverse = (y.T @ y).triu(1) + torch.diag(torch.where(tau == 0, 1, 1 / tau))
        t = torch.linalg.solve_triangular(inverse, torch.eye(len(tau), dtype=y.dtype), upper=True)

        rest = matrix[below:, below:]
        # Blocks of the whole matrix, not of `rest`: diagonal blocks then stay whole at each step.
        first = below // part * part
        spans = [(max(c - below, 0), min(c + part, n) - below) for c in range(first, n, part)]
        x = torch.zeros_like(y)  # A Y, then A Y T
        for left, right in spans:
            x[left:].addmm_(rest[left:, left:right], y[left:right])
            x[left:right].addmm_(rest[right:, left:right].T, y[right:])
        x = x @ t
        x -= y @ (t.T @ (y.T @ x)) / 2
        one, other = torch.cat([x, y], 1), torch.cat([y, x], 1).T.contiguous()
        for left, right in spans:  # A ← A − X Yᵀ − Y Xᵀ
            rest[left:, left:right].addmm_(one[left:], other[:, left:right], alpha=-1)
