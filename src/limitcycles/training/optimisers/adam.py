"""Adam (Kingma & Ba 2015, arXiv 1412.6980)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from limitcycles.training.optimisers import Elementwise, fma, root


@dataclass(frozen=True)
class Optimiser(Elementwise):
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², x ← x − η m̂/(√v̂ + ε) in step t, with
    g = ∇f + λx, m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ): Algorithm 1 of the paper.

    λ, `weight_decay`, is an L2 penalty; `adamw` takes it apart from the gradient.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    limits: ClassVar = {
        "beta1": (0, 1), "beta2": (0, 1), "eps": (0, None), "weight_decay": (0, None),
    }  # fmt: skip
    vectors: ClassVar = ("mean", "square")

    def numbers(self, rate: float, count: Any) -> tuple:
        return (*moments(self, rate, count), 1.0, self.weight_decay)

    def torch(self, weights: Iterable[torch.Tensor], rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(weights, **options(self, rate))

    @staticmethod
    def update(x, g, m, v, pace, scale, beta1, less1, beta2, less2, eps, kept, penalty):
        x = kept * x
        g = fma(penalty, x, g)
        m = fma(beta1, m, less1 * g)
        v = fma(beta2, v, less2 * g * g)
        return x - pace * m / (root(v) / scale + eps), m, v


def moments(adam: Any, rate: float, count: Any) -> tuple:
    """The numbers of a step that Adam and AdamW share."""
    pace, scale = rate / (1 - adam.beta1**count), (1 - adam.beta2**count) ** 0.5
    return pace, scale, adam.beta1, 1 - adam.beta1, adam.beta2, 1 - adam.beta2, adam.eps


def options(adam: Any, rate: float) -> dict[str, Any]:
    """Those of `torch.optim.Adam` and `torch.optim.AdamW`."""
    betas = adam.beta1, adam.beta2
    return {
        "lr": rate, "betas": betas, "eps": adam.eps, "weight_decay": adam.weight_decay,
        "foreach": True,
    }  # fmt: skip
