"""Optimisers as a user writes them."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from limitcycles.training.optimisers import (
    Elementwise,
    Optimiser,
    fma,
    larger,
    root,
    sgd,
    sign,
)


@dataclass(frozen=True)
class Wanders(Elementwise):
    """Momentum that rises with the steps, a maximum over steps, and a sign: all that there is."""

    power: float = 0.8
    vectors: ClassVar = ("velocity", "most")
    limits: ClassVar = {"power": (0, 2)}

    def numbers(self, rate, count):
        return rate, (count - 1) / (count + 2), self.power, 1e-3

    @staticmethod
    def update(x, g, velocity, most, rate, momentum, power, eps):
        g = sign(g) * abs(g) ** power
        velocity = fma(momentum, velocity, g)
        most = larger(most, g * g)
        return x - rate * velocity / (root(most) + eps), velocity, most


@dataclass(frozen=True)
class Plain(Elementwise):
    """Without vectors; decay of another kind than the library's."""

    weight_decay: float = 0.0

    def numbers(self, rate, count):
        return rate, self.weight_decay

    @staticmethod
    def update(x, g, rate, decay):
        return x - rate * (g + decay * sign(x))


@dataclass(frozen=True)
class Perturbed(Optimiser):
    """Not elementwise: noise in all directions at once, of a length that the gradient has; and a
    second copy of the weights, their mean over the steps."""

    share: float = 0.1

    def init(self, x):
        return {"steps": 0, "mean": x.clone()}

    def step(self, x, state, gradient, rate):
        count = state["steps"] + 1
        noise = torch.randn_like(x)
        noise *= self.share * gradient.norm() / noise.norm()
        x = x - rate * (gradient + noise)
        return x, {"steps": count, "mean": state["mean"] + (x - state["mean"]) / count}


@dataclass(frozen=True)
class OnVector(sgd.Optimiser):
    """The library's SGD, in a run by its own `update` and not by PyTorch's optimiser."""

    torch = Optimiser.torch


@dataclass(frozen=True)
class Uncompiled(Plain):
    """Good for tensors alone."""

    @staticmethod
    def update(x, g, rate, decay):
        return x - rate * g.clamp(-1, 1)


def nothing() -> str:
    """No optimiser."""
    return "nothing"
