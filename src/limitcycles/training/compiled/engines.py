"""Compiled engines one after another, in the shape of an `Ensemble`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from limitcycles.training.compiled.engine import Engine
from limitcycles.training.optimisers import Optimiser


class Engines:
    """An `Engine` for each network, on one core, with the interface of `Ensemble`.

    A member's bits do not depend on the other members.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        images: np.ndarray,
        labels: np.ndarray,
        batch: int,
        optimiser: Optimiser | None = None,
    ):
        given = images, labels, batch, optimiser
        self._engines = [Engine(network, *given) for network in networks]
        self.layers = self._engines[0].layers
        self.examples, self.batch = self._engines[0].examples, batch
        self.steps = self._engines[0].steps

    @property
    def weights(self) -> np.ndarray:
        return np.array([engine.weights for engine in self._engines])

    def state(self) -> dict[str, np.ndarray]:
        states = [engine.state() for engine in self._engines]
        return {name: np.array([state[name] for state in states]) for name in states[0]}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        for member, engine in enumerate(self._engines):
            engine.restore({name: values[member] for name, values in state.items()})

    def epoch(
        self, orders: Sequence[np.ndarray], rate: float, **options
    ) -> tuple[np.ndarray, np.ndarray]:
        found = (e.epoch(o, rate, **options) for e, o in zip(self._engines, orders, strict=True))
        return _stacked(found)

    def descend_all(
        self, steps: int, rate: float, *, shares: Sequence[Tensor | None], **options
    ) -> tuple[np.ndarray, np.ndarray]:
        """`Engine.descend_all`, with the shares of each engine; an `Ensemble` has no such steps."""
        return _stacked(
            e.descend_all(steps, rate, shares=s if s is None else s.numpy(), **options)
            for e, s in zip(self._engines, shares, strict=True)
        )

    def gradient(self, index: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
        found = (e.gradient(i, **options) for e, i in zip(self._engines, index, strict=True))
        return _stacked(found)

    def full_gradient(self, **options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _stacked(engine.full_gradient(**options) for engine in self._engines)


def _stacked(found) -> tuple[np.ndarray, ...]:
    return tuple(np.array(parts) for parts in zip(*found, strict=True))
