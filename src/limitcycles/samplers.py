"""The order in which SGD sees the examples: one epoch of indices at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def without_replacement(examples: int, generator: Generator) -> Tensor:
    """A fresh permutation each epoch (App. A.2): every example exactly once."""
    return torch.randperm(examples, generator=generator)


def with_replacement(examples: int, generator: Generator) -> Tensor:
    """Independent uniform draws (App. A.1), as many as there are examples."""
    return torch.randint(examples, (examples,), generator=generator)


def index_list(examples: int, generator: Generator) -> Tensor:
    """The authors' later code: a list of 2^20 indices modulo N, shuffled anew each epoch.

    An epoch takes its first N entries, which is almost a draw with replacement.
    """
    return torch.randperm(2**20, generator=generator)[:examples] % examples


SAMPLERS: dict[str, Callable[[int, Generator], Tensor]] = {
    "without-replacement": without_replacement,
    "with-replacement": with_replacement,
    "index-list": index_list,
}


def batches(sampler: str, examples: int, batch_size: int, generator: Generator) -> list[Tensor]:
    """Index tensors (int64) of one epoch's mini-batches; the last may be smaller.

    A last batch of a single example is left out: batch normalisation has no variance for it.
    """
    parts = SAMPLERS[sampler](examples, generator).split(batch_size)
    return [p for p in parts if len(p) > 1 or batch_size == 1]
