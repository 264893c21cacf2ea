"""Numbers below the smallest normal one (1.2e-38 in float32), taken as zero while loops run.

Weights of units that are always off fall to them under weight decay; x86 processors then take some
hundred cycles for each operation (Intel 64 and IA-32 Optimization Reference Manual, "Flush-to-Zero
and Denormals-Are-Zero Modes").
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import warnings
from collections.abc import Iterator

import torch

SOFT = 1  # omp_pause_soft of OpenMP 5.0: threads end, what they share stays


class SubnormalWarning(RuntimeWarning):
    """This processor cannot flush subnormal numbers."""


def are_flushed() -> bool:
    """Whether this thread takes results below the smallest normal number as zero."""
    return sys.float_info.min / 2 == 0


@contextlib.contextmanager
def flushed(torch_threads: bool = True) -> Iterator[None]:
    """Flush subnormal numbers, operands and results, on this thread; afterwards as before.

    A processor keeps this mode for each thread, a new thread has that of the one that starts it.
    With `torch_threads`, those that share PyTorch's operations are therefore started anew inside
    and after it. They were there or not, with either mode, and bits would depend on what ran
    before. False is for loops that leave PyTorch's threads alone. Other threads are not touched.

    Also a decorator. Results are the same as without but for numbers that are, or come from,
    subnormal ones. Where the processor has no such mode a SubnormalWarning says so, once.
    """
    before = are_flushed()
    if not before and not torch.set_flush_denormal(True):
        warnings.warn(
            "this processor cannot take subnormal numbers as zero: training may become slow where "
            "weights vanish, and its bits are those of other processors no more",
            SubnormalWarning,
            stacklevel=3,
        )
    try:
        if torch_threads:
            _start_anew()
        yield
    finally:
        if not before:
            torch.set_flush_denormal(False)
            if torch_threads:
                _start_anew()


def _start_anew() -> None:
    """End this thread's OpenMP workers; its next parallel operation starts others."""
    if torch.get_num_threads() > 1 and (pause := _pause()) is not None:
        pause(SOFT)


@functools.cache
def _pause():
    """`omp_pause_resource_all` of the OpenMP library that PyTorch has loaded, GNU's on Linux.

    None where there is none. LLVM's and Intel's give workers the mode of their master anyway.
    """
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(torch._C.__file__).omp_pause_resource_all
    return None
