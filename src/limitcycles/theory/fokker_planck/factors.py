"""Sparse LU factors of matrices on a grid, with nested dissection (George 1973) for their order.

The matrices here are M-matrices with dominant columns: LU without pivoting is stable for them, and
their triangular solves only add non-negative numbers if the right-hand side is non-negative, so
that even the smallest entries of the result keep their digits.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from limitcycles.theory.fokker_planck.grid import Grid

LEAF = 16  # cells in a block that is not cut further
PANEL = 4  # columns that SuperLU eliminates at once: its default of 20 is slower by a fifth here


def dissection(grid: Grid, reach) -> np.ndarray:
    """Flat indices of the cells in elimination order; `reach` is the longest edge along each axis.

    Each block is cut in two by a separator that no edge crosses, which comes last. A periodic axis
    is cut open first.
    """
    index = np.arange(grid.size).reshape(grid.shape)
    order: list[np.ndarray] = []
    width = np.maximum(reach, 1).tolist()
    inner = index
    ends = []
    for axis, periodic in enumerate(grid.periodic):
        if periodic and inner.shape[axis] > 2 * width[axis]:
            ends.append(np.take(inner, np.arange(width[axis]), axis).ravel())
            inner = np.take(inner, np.arange(width[axis], inner.shape[axis]), axis)
    _cut(inner, width, order)
    return np.concatenate([*order, *reversed(ends)])


def _cut(block: np.ndarray, width: list[int], order: list[np.ndarray]) -> None:
    axis = max(range(block.ndim), key=lambda k: block.shape[k] / width[k])
    size, cut = block.shape[axis], width[axis]
    if block.size <= LEAF or size < 2 * cut + 1:
        order.append(block.ravel())
        return
    start = (size - cut) // 2
    along = (slice(None),) * axis
    _cut(block[(*along, slice(start))], width, order)
    _cut(block[(*along, slice(start + cut, None))], width, order)
    order.append(block[(*along, slice(start, start + cut))].ravel())


class Factors:
    """LU of a sparse (n, n) matrix over the cells of a grid, its order computed beforehand."""

    def __init__(self, matrix, order: np.ndarray):
        self.order = order
        permuted = scipy.sparse.csc_array(matrix)[order][:, order].tocsc()
        self.lu = scipy.sparse.linalg.splu(
            permuted,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            panel_size=PANEL,
            options={"SymmetricMode": True, "Equil": False},
        )

    def solve(self, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        """x with A x = right (Aᵀ x = right), both of shape (n,)."""
        result = np.empty_like(right)
        result[self.order] = self.lu.solve(right[self.order], "T" if transposed else "N")
        return result
