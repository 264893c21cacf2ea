"""What SGD sees of the examples: the order of one epoch, or weights of all of them in each step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from limitcycles.runtime.errors import LimitcyclesError

LIST = 2**20  # entries of the authors' list of indices


def without_replacement(examples: int, generator: Generator) -> Tensor:
    """A fresh permutation each epoch (App. A.2): every example exactly once."""
    return torch.randperm(examples, generator=generator)


def with_replacement(examples: int, generator: Generator) -> Tensor:
    """Independent uniform draws (App. A.1), as many as there are examples."""
    return torch.randint(examples, (examples,), generator=generator)


def index_list(examples: int, generator: Generator) -> Tensor:
    """The authors' later code: a list of 2^20 indices modulo N, shuffled anew each epoch.

    An epoch takes its first N entries (all, where there are fewer), which is almost a draw with
    replacement.
    """
    return distinct(LIST, min(examples, LIST), generator) % examples


def distinct(size: int, count: int, generator: Generator) -> Tensor:
    """The first `count` of a uniform permutation of 0 to size − 1, int64, without permuting all.

    Independent draws without those that came before: each is uniform among the numbers not yet
    taken, which is the law of a permutation's beginning.
    """
    if 4 * count > size:  # too many repetitions
        return torch.randperm(size, generator=generator)[:count]
    found = np.empty(0, np.int64)
    first = np.empty(size, np.int32)  # where each number stands first; only those drawn are read
    while len(found) < count:
        missing = count - len(found)
        draws = missing + missing * count // size + 1  # twice the repetitions to expect
        more = torch.randint(size, (draws,), generator=generator).numpy()
        drawn, place = np.append(found, more), np.arange(len(found) + draws, dtype=np.int32)
        first[drawn[::-1]] = place[::-1]  # the last assignment stays
        found = drawn[first[drawn] == place]
    return torch.from_numpy(found[:count])


SAMPLERS: dict[str, Callable[[int, Generator], Tensor]] = {
    "without-replacement": without_replacement,
    "with-replacement": with_replacement,
    "index-list": index_list,
}


def batches(sampler: str, examples: int, batch_size: int, generator: Generator) -> list[Tensor]:
    """Index tensors (int64) of one epoch's mini-batches; the last may be smaller.

    A last batch of a single example is left out: batch normalisation has no variance for it.
    Raises LimitcyclesError: a sampler without mini-batches (`CONTROLS`).
    """
    if sampler in CONTROLS:
        raise LimitcyclesError(
            f"the sampler {sampler} is for trajectories only; a run takes mini-batches: "
            f"{', '.join(list(SAMPLERS)[:-1])} or {list(SAMPLERS)[-1]} (training.sampler)"
        )
    parts = SAMPLERS[sampler](examples, generator).split(batch_size)
    return [p for p in parts if len(p) > 1 or batch_size == 1]


def equal_weights(steps: int, examples: int, batch_size: int, generator: Generator) -> None:
    """Control without noise: every step takes the mean over all examples. Draws nothing."""


def gaussian_weights(steps: int, examples: int, batch_size: int, generator: Generator) -> Tensor:
    """Control with Gaussian noise: weights w of the examples' losses, (steps, N) float32.

    w_n = 1/N + (z_n − z̄)/√(bN) with z_n standard normal, anew in each step. The gradient of
    Σ w_n f_n is then ∇f + ξ with ξ = (1/√(bN)) Σ z_n (∇f_n − ∇f): normal, of mean 0 and
    covariance D/b, D = (1/N) Σ (∇f_n − ∇f)(∇f_n − ∇f)ᵀ. This is the covariance of a mini-batch of
    b drawn with replacement (Def. 1 of the paper), exactly, without a matrix of d × d numbers.

    With batch normalisation in training mode the moments are those of all examples (see
    `Engine.descend_all`): f_n is the loss of example n as a function of the weights and of these
    moments, and ξ the noise of these losses. The moments of a mini-batch fluctuate too, and that
    noise ξ lacks. It is most of it where losses are small: for tiny-fc on 2,560 digits, b = 128,
    without momentum, the traces of the two covariances were 0.30 and 0.41 after 100 epochs, 0.013
    and 0.20 after 1,000. Without batch normalisation, or with it frozen, they are the same.
    """
    z = torch.randn((steps, examples), generator=generator)
    z -= z.mean(1, keepdim=True)
    return z.mul_((batch_size * examples) ** -0.5).add_(1 / examples)


# Of trajectories only: see `limitcycles.training.compiled`. None stands for equal weights.
CONTROLS: dict[str, Callable[[int, int, int, Generator], Tensor | None]] = {
    "full-batch": equal_weights,
    "gaussian": gaussian_weights,
}
