"""Sparse LU factors of matrices on a grid, with nested dissection (George 1973) for their order.

The matrices here are M-matrices with dominant columns: LU without pivoting is stable for them, and
their triangular solves only add non-negative numbers if the right-hand side is non-negative, so
that even the smallest entries of the result keep their digits.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from limitcycles.fokker_planck.grid import Grid

LEAF = 32  # cells in a block that is not cut further


def dissection(grid: Grid, reach) -> np.ndarray:
    """Flat indices of the cells in elimination order; `reach` is the longest edge along each axis.

    Each block is cut in two by a separator that no edge crosses, which comes last. A periodic axis
    is cut open first.
    """
    index = np.arange(grid.size).reshape(grid.shape)
    order: list[np.ndarray] = []
    width = np.maximum(reach, 1)
    inner = index
    ends = []
    for axis, periodic in enumerate(grid.periodic):
        if periodic and inner.shape[axis] > 2 * width[axis]:
            ends.append(np.take(inner, np.arange(width[axis]), axis).ravel())
            inner = np.take(inner, np.arange(width[axis], inner.shape[axis]), axis)
    _cut(inner, width, order)
    return np.concatenate([*order, *reversed(ends)])


def _cut(block: np.ndarray, width: np.ndarray, order: list[np.ndarray]) -> None:
    axis = int(np.argmax(np.array(block.shape) / width))
    size, cut = block.shape[axis], int(width[axis])
    if block.size <= LEAF or size < 2 * cut + 1:
        order.append(block.ravel())
        return
    start = (size - cut) // 2
    left, separator, right = np.split(block, [start, start + cut], axis=axis)
    _cut(left, width, order)
    _cut(right, width, order)
    order.append(separator.ravel())


class Factors:
    """LU of a sparse (n, n) matrix over the cells of a grid, its order computed beforehand."""

    def __init__(self, matrix, order: np.ndarray):
        self.order = order
        permuted = scipy.sparse.csc_array(matrix)[order][:, order].tocsc()
        self.lu = scipy.sparse.linalg.splu(
            permuted,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True, "Equil": False},
        )

    def solve(self, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        """x with A x = right (Aᵀ x = right), both of shape (n,)."""
        result = np.empty_like(right)
        result[self.order] = self.lu.solve(right[self.order], "T" if transposed else "N")
        return result
