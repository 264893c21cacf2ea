"""Optimisers: what moves weights along their gradients, each in a module of this package.

An optimiser is a value: its options, and what `Optimiser` says. The module `adam` has the class
`Optimiser` that the configuration calls `kind: adam`; nothing else names it. One of a user's own is
`kind: "package.module:Class"`.

Most optimisers move each weight by itself. They are `Elementwise`, with an `update` that is written
once, for plain numbers: PyTorch takes it over tensors, and the compiled loops of trajectories
compile it. It has + − · / ** and abs, and these functions, which both know: `fma`, `root`,
`larger`, `sign`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from limitcycles.configuration import plugins
from limitcycles.configuration.signatures import optimiser_path, outside
from limitcycles.runtime.errors import LimitcyclesError

State = dict[str, Any]  # tensors of the dtype of the weights, and plain numbers


class OptimiserError(LimitcyclesError):
    """An optimiser that cannot be made, or cannot take these weights."""


class Optimiser:
    """The interface: `init` and `step` on the weights as one vector, without state of its own.

    x and the gradient are (d,), of one float dtype and device, in the order of `networks.flatten`.
    Whatever lives from step to step is in the state, which goes into checkpoints: vectors, the
    number of steps for schedules, further copies of the weights (`step` returns the copy whose
    gradient is wanted next). Noise is drawn from PyTorch's global generator, which is kept too.

    A subclass is a frozen dataclass of its options; `limits` says for some of them what is the
    least and, if it is no None, the first that is too much.
    """

    limits: ClassVar[dict[str, tuple[float, float | None]]] = {}

    def __post_init__(self):
        """Raise OptimiserError: an option is outside its limits."""
        for name, text in outside(self.limits, vars(self)):
            raise OptimiserError(f"{name} of the optimiser {type(self).__module__}: {text}")

    def init(self, x: Tensor) -> State:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State, gradient: Tensor, rate: float) -> tuple[Tensor, State]:
        """The weights and the state after a step with the learning rate η; changes no argument."""
        raise NotImplementedError

    def torch(self, weights: Iterable[Tensor], rate: float) -> torch.optim.Optimizer:
        """The same for PyTorch's own training loop. A weight without gradient stays as it is."""
        return OnVector(weights, self, rate)


class Elementwise(Optimiser):
    """An optimiser whose step is the same function of each weight's own numbers.

    `vectors` are the names of the numbers that each weight keeps, 0 at first. `update(x, g,
    *vectors, *numbers)` returns the new x, or (x, *vectors) where there are any.
    """

    vectors: ClassVar[tuple[str, ...]] = ()
    update: Callable[..., Any]

    def numbers(self, rate: float, count: Any) -> tuple:
        """What `update` takes beside what is a weight's own, float64.

        `count`: the number of the step, from 1, as an integer or an array of them; each number is
        one, or an array of that shape.
        """
        raise NotImplementedError

    def init(self, x: Tensor) -> State:
        return {"steps": 0} | {name: torch.zeros_like(x) for name in self.vectors}

    def step(self, x: Tensor, state: State, gradient: Tensor, rate: float) -> tuple[Tensor, State]:
        count = state["steps"] + 1
        own = (state[name] for name in self.vectors)
        x, *own = self.moved(x, gradient, *own, *self.numbers(rate, count))
        return x, {"steps": count} | dict(zip(self.vectors, own, strict=True))

    def moved(self, *given: Any) -> tuple:
        """`update`, always as a tuple."""
        found = self.update(*given)
        return found if self.vectors else (found,)


class OnVector(torch.optim.Optimizer):
    """Any optimiser, in the shape that PyTorch's training has: the weights become one vector."""

    def __init__(self, weights: Iterable[Tensor], optimiser: Optimiser, rate: float):
        super().__init__(weights, {"lr": rate})
        self._optimiser = optimiser

    @torch.no_grad()
    def step(self) -> None:
        (group,) = self.param_groups
        weights = group["params"]
        x = torch.cat([w.reshape(-1) for w in weights])
        moving = [w.grad is not None for w in weights]
        gradient = torch.cat(
            [(torch.zeros_like(w) if w.grad is None else w.grad).reshape(-1) for w in weights]
        )
        before = self.state[weights[0]] or self._optimiser.init(x)
        after, state = self._optimiser.step(x, before, gradient, group["lr"])
        if not all(moving):
            sizes = torch.tensor([w.numel() for w in weights], device=x.device)
            mask = torch.tensor(moving, device=x.device).repeat_interleave(sizes)
            after = torch.where(mask, after, x)
            state = state | {
                name: torch.where(mask, value, before[name])
                for name, value in state.items()
                if isinstance(value, Tensor) and value.shape == x.shape
            }
        self.state[weights[0]] = state
        parts = after.split([w.numel() for w in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.copy_(part.view(weight.shape))


def of(training: dict) -> Optimiser:
    """The optimiser of the section `training` of a run: its `optimiser` and its `weight_decay`.

    Raises OptimiserError: it fails, or is none; PluginError: there is none of that name.
    """
    kind, options = training["optimiser"]["kind"], training["optimiser"].get("options") or {}
    decay = training["weight_decay"]
    options = options | ({"weight_decay": decay} if decay else {})
    made = plugins.resolve(optimiser_path(kind))
    try:
        found = made(**options)
    except OptimiserError:
        raise
    except Exception as error:  # it runs code of the user's
        raise OptimiserError(
            f"the optimiser {kind!r} with options {options} fails: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Optimiser):
        raise OptimiserError(
            f"{kind!r} makes a {type(found).__name__}, not a limitcycles.training.optimisers."
            "Optimiser: let its class be a subclass of that"
        )
    return found


def fma(a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once in compiled loops, twice on tensors."""
    return a * b + c


def root(a: Tensor) -> Tensor:
    """√a."""
    return a.sqrt()


def larger(a: Tensor, b: Tensor) -> Tensor:
    """The larger of each pair."""
    return a.maximum(b)


def sign(a: Tensor) -> Tensor:
    """−1, 0 or 1."""
    return a.sign()
