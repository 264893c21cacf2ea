"""Stochastic gradient descent, with momentum or without."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from limitcycles.training.optimisers import Elementwise, fma


@dataclass(frozen=True)
class Optimiser(Elementwise):
    """g ← ∇f + λx, v ← μv + g, x ← x − ηv (heavy ball) or x − η(g + μv) (Nesterov).

    λ is `weight_decay`, μ `momentum`; 0 is none. The form is that of `torch.optim.SGD` (Sutskever
    et al. 2013): the rate η is outside the velocity v.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    limits: ClassVar = {"momentum": (0, 1), "weight_decay": (0, None)}
    vectors: ClassVar = ("velocity",)

    @property
    def update(self) -> Callable[..., Any]:
        return nesterov if self.nesterov else heavy_ball

    def numbers(self, rate: float, count: Any) -> tuple:
        return rate, self.momentum, self.weight_decay

    def torch(self, weights: Iterable[torch.Tensor], rate: float) -> torch.optim.SGD:
        return torch.optim.SGD(
            weights,
            lr=rate,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
            foreach=True,
        )


def heavy_ball(x, g, velocity, rate, momentum, decay):
    velocity = fma(momentum, velocity, fma(decay, x, g))
    return x - rate * velocity, velocity


def nesterov(x, g, velocity, rate, momentum, decay):
    g = fma(decay, x, g)
    velocity = fma(momentum, velocity, g)
    return x - rate * fma(momentum, velocity, g), velocity
