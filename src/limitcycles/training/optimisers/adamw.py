"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from limitcycles.training.optimisers import Elementwise, adam


@dataclass(frozen=True)
class Optimiser(Elementwise):
    """x ← x − ηλx − η m̂/(√v̂ + ε), with m̂ and v̂ of the gradient alone as in `adam`.

    Algorithm 2 of the paper with its schedule multiplier in η. λ, `weight_decay`, is in parts of
    the learning rate η, as in `torch.optim.AdamW`; the paper's is ηλ.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    limits: ClassVar = {
        "beta1": (0, 1), "beta2": (0, 1), "eps": (0, None), "weight_decay": (0, None),
    }  # fmt: skip
    vectors: ClassVar = ("mean", "square")
    update = staticmethod(adam.Optimiser.update)

    def numbers(self, rate: float, count: Any) -> tuple:
        return (*adam.moments(self, rate, count), 1 - rate * self.weight_decay, 0.0)

    def torch(self, weights: Iterable[torch.Tensor], rate: float) -> torch.optim.AdamW:
        return torch.optim.AdamW(weights, **adam.options(self, rate))
