"""What can be proved about closed orbits: Dulac's criterion, and the first Lyapunov coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from limitcycles.theory.flows.field import DynamicsError
from limitcycles.theory.flows.points import kind_of
from limitcycles.theory.systems import System, gradient, vector_divergence


@dataclass(frozen=True)
class Dulac:
    """∇·(Bb)/B, and whether its sign excludes closed orbits (Bendixson–Dulac).

    `sign` is −1 or +1 where every term of the polynomial ∇·(Bb)/B has even powers and that sign:
    it then vanishes on a set without area, and no closed orbit, homoclinic loop or closed chain of
    separatrices can exist in the plane. Where this cannot be seen `sign` is None, which proves
    nothing.
    """

    expression: sp.Expr
    sign: int | None


def dulac(system: System, multiplier: sp.Expr | int = 1) -> Dulac:
    """The Bendixson–Dulac criterion with the function B = `multiplier`, symbolically.

    ∬∇·(Bb) dx over the inside of a closed orbit is the flux of Bb across it, which is 0: there
    can be none where ∇·(Bb) has one sign. Parameters that are still symbols may appear in the
    system; the sign must then not depend on them. Raises DynamicsError: another dimension than 2,
    or a B that sympy does not know to be positive.
    """
    x = system.symbols.x
    weight = sp.sympify(multiplier)
    if len(x) != 2 or not weight.is_positive:
        raise DynamicsError(
            f"Dulac's criterion needs two variables and a positive multiplier, not {len(x)} and "
            f"{weight}; write the multiplier as exp(...)."
        )
    log_slope = gradient(sp.expand_log(sp.log(weight), force=True), x)
    change = sp.simplify(
        vector_divergence(system.symbols.drift, x) + log_slope.dot(system.symbols.drift)
    )
    return Dulac(change, _sign(change, x))


def _sign(expression: sp.Expr, x: Sequence[sp.Symbol]) -> int | None:
    if expression == 0 or not expression.is_polynomial(*x):
        return None
    terms = sp.Poly(expression, *x).terms()
    if any(power % 2 for powers, _ in terms for power in powers):
        return None
    coefficients = [coefficient for _, coefficient in terms]
    if all(c.is_negative for c in coefficients):
        return -1
    return 1 if all(c.is_positive for c in coefficients) else None


def lyapunov_coefficient(system: System, point: np.ndarray) -> float:
    """First Lyapunov coefficient a of a centre-like fixed point: ṙ = a r³ + …, weakly.

    Negative: a weak focus that attracts, like t^{−1/2}; positive: one that repels. Guckenheimer &
    Holmes (1983), Eq. (3.4.11), in coordinates of the same area in which the linear part is a
    rotation; the third derivatives are sympy's. Raises DynamicsError for a point whose
    eigenvalues are not ±iω.
    """
    point = np.asarray(point, dtype=float)
    matrix = system.jacobian(point)
    values, vectors = np.linalg.eig(matrix)
    if matrix.shape != (2, 2) or kind_of(values) != "centre":
        raise DynamicsError(f"{system.name}: the eigenvalues {values} at {point} are not ±iω.")
    first = int(np.argmax(values.imag))
    omega = values[first].imag
    basis = np.column_stack([vectors[:, first].real, -vectors[:, first].imag])
    basis /= np.sqrt(abs(np.linalg.det(basis)))
    x, at = system.symbols.x, dict(zip(system.symbols.x, point.tolist(), strict=True))
    inverse = np.linalg.inv(basis)

    def derivatives(order: int) -> np.ndarray:
        shape = (2,) * (order + 1)
        values = np.empty(shape)
        for i, *along in np.ndindex(shape):
            ordered = sorted(along)
            values[i, *along] = float(
                sp.diff(system.symbols.drift[i], *(x[k] for k in ordered)).subs(at)
            )
        return values

    second = np.einsum("ai,ijk,jb,kc->abc", inverse, derivatives(2), basis, basis)
    third = np.einsum("ai,ijkl,jb,kc,ld->abcd", inverse, derivatives(3), basis, basis, basis)
    (f, g), (f3, g3) = second, third
    cubic = f3[0, 0, 0] + f3[0, 1, 1] + g3[0, 0, 1] + g3[1, 1, 1]
    square = f[0, 1] * np.trace(f) - g[0, 1] * np.trace(g) - f[0, 0] * g[0, 0] + f[1, 1] * g[1, 1]
    return float(cubic + square / omega) / 16
