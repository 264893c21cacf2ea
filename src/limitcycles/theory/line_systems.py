"""Finite sums on a line whose SGD is compared with its equation (3): the systems of Lemma 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from limitcycles.theory.line_expectations import LineSum

TEMPERATURE = 0.01  # η/(2b)
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "z": lambda z: z,
    "z²": lambda z: z**2,
    "z³": lambda z: z**3,
    "cos z": np.cos,
    "sin z": np.sin,
}


@dataclass(frozen=True)
class System:
    """f_k'(x) = c_k F(x) − h_k, F(x) = x or x³ − x; z = x/scale. One row an example."""

    curvatures: tuple[float, ...]
    offsets: tuple[float, ...]
    scale: float
    start: float
    ends: tuple[float, float]  # no path of SGD leaves them
    quartic: bool = False

    def gradient(self, x: np.ndarray, k: np.ndarray) -> np.ndarray:
        """f_k'(x) for x (..., 1) and k (...), which broadcast; (..., 1)."""
        force = x**3 - x if self.quartic else x
        c, h = np.array(self.curvatures)[k], np.array(self.offsets)[k]
        return c[..., None] * force - h[..., None]

    def line(self) -> LineSum:
        """Examples that are alike taken together."""
        pairs = list(zip(self.curvatures, self.offsets, strict=True))
        kinds = list(dict.fromkeys(pairs))
        c, h = np.array(kinds).T
        chances = np.array([pairs.count(kind) for kind in kinds]) / len(pairs)

        def gradients(x):
            force = x**3 - x if self.quartic else x
            return np.multiply.outer(c, force) - h.reshape(-1, *[1] * np.ndim(x))

        return LineSum(gradients, chances)

    def functions(self) -> list[Callable[[np.ndarray], np.ndarray]]:
        """The test functions, of x."""
        return [lambda x, f=f: f(x / self.scale) for f in FUNCTIONS.values()]


NOISE = TEMPERATURE**0.5  # stationary standard deviation for f'' = 1 and D = 1
VARYING = ((0.5, 0.5, 1.5, 1.5), (-1.0, 1.0, -1.0, 1.0))
SYSTEMS = {
    "symmetric": System((1.0, 1.0), (-1.0, 1.0), NOISE, NOISE, (-1.05, 1.05)),
    "skewed": System((1.0,) * 5, (2.0, -0.5, -0.5, -0.5, -0.5), NOISE, NOISE, (-0.8, 2.05)),
    "varying": System(*VARYING, NOISE, NOISE, (-2.05, 2.05)),
    "double-well": System(
        VARYING[0], (-2.0, 2.0, -2.0, 2.0), 1 / 3, 0.5, (-2.2, 2.2), quartic=True
    ),
}
