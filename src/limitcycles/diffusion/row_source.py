"""Per-sample gradients as blocks of rows for PyTorch, whatever array they come in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError

EXACT = 2**53  # whole numbers up to this are floats of 64 bits


class SpectrumError(LimitcyclesError):
    """A spectrum that cannot be computed as asked."""


class Source:
    """`array` (N, d), blocks of whose rows are read: float32 or float64, contiguous, on a device.

    Anything that has a shape and can be sliced by rows (NumPy, torch, Zarr), or rows in a list.
    Half precision and less become float32 and whole numbers float64, both exactly. With a `unit`, a
    power of two that keeps squares within the range of floats, or an `offset` (d,), a mean that is
    far above what the rows differ by, a block is g/unit − offset in float64. `dtype` is that
    without.

    Raises SpectrumError: another shape, no weights, numbers that are not real, masked entries,
    whole numbers beyond 2^53, or a sparse tensor.
    """

    def __init__(self, array, device: str | torch.device = "cpu"):
        try:
            self.array = array if hasattr(array, "shape") else np.asarray(array)
        except (TypeError, ValueError) as error:
            raise SpectrumError(f"gradients are no array of rows ({error})") from error
        if isinstance(array, Tensor) and array.layout != torch.strided:
            raise SpectrumError(f"gradients are {array.layout}: give the array .to_dense()")
        self.device = torch.device(device)
        self.unit, self.offset = 1.0, None
        if len(self.array.shape) != 2 or not self.array.shape[1]:
            raise SpectrumError(
                "gradients have shape (N, d), one row an example and d ≥ 1, not "
                f"{tuple(self.array.shape)}"
            )
        self.shape = tuple(self.array.shape)
        self.dtype = _tensor(self.array[:1]).dtype

    def block(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` − 1."""
        found = _tensor(self.array[start:stop]).to(self.device)
        if self.unit == 1 and self.offset is None:
            return found
        wide = found.double() / self.unit
        return wide if self.offset is None else wide - self.offset

    def blocks(self, rows: int) -> Iterator[Tensor]:
        """All rows, `rows` at a time."""
        for start in range(0, self.shape[0], rows):
            yield self.block(start, start + rows)


def _tensor(block) -> Tensor:
    if not isinstance(block, Tensor):
        arguments.check_filled("the array of gradients", block, SpectrumError)
        block = np.asarray(block)
        kind, size = block.dtype.kind, block.dtype.itemsize
        if kind not in "biuf":
            raise SpectrumError(f"gradients are real numbers, not {block.dtype}")
        if kind in "iu":
            _check_exact(block, block.dtype)
        wanted = np.float32 if kind == "f" and size <= 4 else np.float64
        if any(step < 0 for step in block.strides):  # even where there is one row only
            block = block.copy()
        return torch.from_numpy(np.require(block, wanted, ("C", "W")))
    block = block.detach()
    if block.is_complex():
        raise SpectrumError(f"gradients are real numbers, not {block.dtype}")
    if block.is_floating_point():
        return block.to(torch.float32 if block.itemsize < 4 else block.dtype).contiguous()
    _check_exact(block.cpu().numpy(), block.dtype)
    return block.to(torch.float64).contiguous()


def _check_exact(block: np.ndarray, dtype) -> None:
    """Raise SpectrumError: whole numbers that float64 would round."""
    low, high = (int(block.min()), int(block.max())) if block.size else (0, 0)
    if not -EXACT <= low <= high <= EXACT:
        raise SpectrumError(
            f"gradients of {dtype} run from {low} to {high}, beyond 2^53, where float64 leaves "
            "whole numbers out: take a constant off them, or give floats"
        )
