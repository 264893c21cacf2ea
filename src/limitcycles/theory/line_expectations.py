"""Expectations of SGD and of its equation (3) in one dimension, without sampling noise.

For f_k with any gradients, not only quadratic ones. With u_0 = φ and
u_{n+1}(x) = E u_n(x − η ∇f_b(x)) over mini-batches drawn with replacement, u_n(x) = E φ(x_n) from
x_0 = x. For (3), ∂u/∂t = −f' u' + T D u'', the backward equation. Both act on polynomials through
Chebyshev points of an interval that paths leave with negligible probability only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.functions import pure


@dataclass(frozen=True)
class LineSum:
    """f = Σ_k p_k f_k: `gradients(x)` gives f_k'(x), shape (K, *x.shape); `chances` p_k, (K,)."""

    gradients: Callable[[np.ndarray], np.ndarray]
    chances: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "gradients", pure(self.gradients, "gradients"))
        chances = arguments.points("chances", self.chances, LimitcyclesError)
        if chances.ndim != 1 or (chances < 0).any() or abs(chances.sum() - 1) > 1e-9:
            raise LimitcyclesError(
                f"chances must not be negative and sum to 1, not {chances.tolist()}"
            )
        object.__setattr__(self, "chances", chances)

    def drift(self, x) -> np.ndarray:
        """−f'(x)."""
        return -np.tensordot(self.chances, self.gradients(x), 1)

    def diffusion(self, x) -> np.ndarray:
        """D(x), the variance of f_k'(x) over k."""
        return np.tensordot(self.chances, (self.gradients(x) + self.drift(x)) ** 2, 1)


@dataclass(frozen=True)
class Interval:
    """`nodes` Chebyshev points from `high` down to `low`, both included."""

    low: float
    high: float
    nodes: int

    @cached_property
    def points(self) -> np.ndarray:
        unit = np.cos(np.pi * np.arange(self.nodes) / (self.nodes - 1))
        return (self.low + self.high) / 2 + (self.high - self.low) / 2 * unit

    @cached_property
    def _weights(self) -> np.ndarray:
        weights = (-1.0) ** np.arange(self.nodes)
        weights[[0, -1]] /= 2
        return weights

    def interpolation(self, x) -> np.ndarray:
        """Matrix (len(x), nodes) from values at the points to values at x (clipped to the ends)."""
        gaps = np.clip(x, self.low, self.high)[:, None] - self.points
        hit = gaps == 0
        gaps[hit] = 1
        terms = self._weights / gaps
        on_node = hit.any(1)
        terms[on_node] = hit[on_node]
        return terms / terms.sum(1, keepdims=True)

    @cached_property
    def derivative(self) -> np.ndarray:
        """Matrix (nodes, nodes) of the derivative at the points."""
        gaps = self.points[:, None] - self.points + np.eye(self.nodes)
        matrix = self._weights / self._weights[:, None] / gaps
        np.fill_diagonal(matrix, 0)
        np.fill_diagonal(matrix, -matrix.sum(1))
        return matrix


def sgd_expectations(
    problem: LineSum, interval: Interval, functions, start: float, steps: int, *, rate, batch: int
) -> np.ndarray:
    """E φ(x_n) of SGD with replacement after `steps` steps from `start`; `functions` φ, (F,)."""
    steps = arguments.whole("steps", steps, LimitcyclesError, least=0)
    batch = arguments.whole("batch", batch, LimitcyclesError)
    gradients = problem.gradients(interval.points)
    operator = np.zeros((interval.nodes, interval.nodes))
    for counts, chance in _multisets(problem.chances, batch):
        moved = interval.points - rate / batch * (counts @ gradients)
        operator += chance * interval.interpolation(moved)
    values = _at(interval.points, functions)
    for _ in range(steps):
        values = operator @ values
    return (interval.interpolation(np.array([start])) @ values)[0]


def sde_expectations(
    problem: LineSum, interval: Interval, functions, start: float, time: float, *, temperature
) -> np.ndarray:
    """E φ(x) of (3), Itô, after `time` from `start`; `functions` φ, shape (F,).

    The ends reflect (u' = 0 there): choose them where the density vanishes. Raises
    LimitcyclesError: D vanishes somewhere, and the equation is none of second order there.
    """
    time = arguments.number("time", time, LimitcyclesError, zero=True)
    temperature = arguments.number("temperature", temperature, LimitcyclesError)
    x, first = interval.points, interval.derivative
    noise = temperature * problem.diffusion(x)
    if not (noise > 0).all():
        raise LimitcyclesError(f"D vanishes at x = {x[np.argmin(noise)]:g}: use a wider spread")
    generator = problem.drift(x)[:, None] * first + noise[:, None] * (first @ first)
    ends, inner = [0, -1], slice(1, -1)
    to_ends = -np.linalg.solve(first[np.ix_(ends, ends)], first[ends, inner])
    reduced = generator[inner, inner] + generator[inner][:, ends] @ to_ends
    values = _at(x[inner], functions)
    values = scipy.linalg.expm(time * reduced) @ values
    full = np.concatenate([to_ends[:1] @ values, values, to_ends[1:] @ values])
    return (interval.interpolation(np.array([start])) @ full)[0]


def _at(points: np.ndarray, functions) -> np.ndarray:
    """Values of the test functions, shape (points, functions)."""
    return np.stack([pure(f, "test function")(points) for f in functions], axis=1)


def _multisets(chances, batch: int) -> Iterator[tuple[np.ndarray, float]]:
    """How often each f_k is in a mini-batch of b, and the chance of that."""

    def split(left: int, kinds: int) -> Iterator[tuple[int, ...]]:
        if kinds == 1:
            yield (left,)
            return
        for count in range(left + 1):
            for rest in split(left - count, kinds - 1):
                yield (count, *rest)

    for counts in split(batch, len(chances)):
        orders = math.factorial(batch) / math.prod(math.factorial(c) for c in counts)
        yield np.array(counts), orders * float(np.prod(np.power(chances, counts)))
