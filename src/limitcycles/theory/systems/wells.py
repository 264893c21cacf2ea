"""Systems with two wells, Example 19 first, and what noise makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp

from limitcycles.theory.systems.constructors import from_potential, make, variables
from limitcycles.theory.systems.system import Expression, System, SystemsError, exact, gradient

WELLS_BOX = ((-3.5, 3.5), (-6.0, 6.0))


def wells_loss(x: Sequence[sp.Symbol]) -> sp.Expr:
    """(x₁² − 1)²/4 + x₂²/2, the Φ of Example 19."""
    return (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2 / 2


def double_well(lam: Expression = 0.5, *, temperature: Expression = 1) -> System:
    """Example 19: b = −"∇f" = −∇Φ + j, j = λ e^Φ J, J = e^{−(x₁² + x₂²)²/4} (−x₂, x₁), D = I.

    e^{−Φ/T} is the steady state at T = 1 only: elsewhere Φ is not known, and `potential` None. Not
    even at T = 1 is ∇·j = 0 (λ ≠ 0), and −b is a gradient at λ = 0 only.
    """
    x = variables(2)
    strength, heat = exact(lam), exact(temperature)
    potential = wells_loss(x)
    weight = sp.exp(sp.expand(potential - (x[0] ** 2 + x[1] ** 2) ** 2 / 4))
    force = strength * weight * sp.Matrix([-x[1], x[0]])
    gradient_case = strength == 0
    return make(
        "double_well",
        x=x,
        box=WELLS_BOX,
        drift=-gradient(potential, x) + force,
        loss=potential if gradient_case else None,
        potential=potential if gradient_case or heat == 1 else None,
        temperature=heat,
    )


def double_well_dulac() -> sp.Expr:
    """B = exp(−Φ + |x|²/2 + |x|⁴/4): no λ of Example 19 has a closed orbit of ẋ = −"∇f".

    B j = λ exp(|x|²/2)(−x₂, x₁) has no divergence, so that ∇·(Bb)/B does not depend on λ:
    it is −(x₁² + 2x₁⁴ + x₂⁴ + x₁⁴x₂²) ≤ 0, zero at the origin only (`dynamics.dulac`).
    """
    x = variables(2)
    square = x[0] ** 2 + x[1] ** 2
    return sp.exp(sp.expand(-wells_loss(x) + square / 2 + square**2 / 4))


def gradient_double_well(
    noise: str = "isotropic", *, strength: Expression = 1, temperature: Expression = 1
) -> System:
    """b = −∇f with the f of Example 19 and one of these D, with s the `strength`:

    isotropic (s I), diagonal (diag(1, 1 + s)), tensor ([[1, s/2], [s/2, 1]]), varying isotropic
    ((1 + s x₁²/4 + s x₁/2) I), varying diagonal (diag(1 + s x₁²/4 + s x₁/2, 1)) and varying tensor
    (I + s vvᵀ/(1 + |x|²), v = (x₁, x₂ + 1)).

    Φ is known for the isotropic, diagonal (f is a sum) and varying diagonal ones; there j = 0.
    Raises SystemsError for another `noise`.
    """
    x = variables(2)
    s, heat = exact(strength), exact(temperature)
    loss = wells_loss(x)
    uneven = 1 + s * x[0] ** 2 / 4 + s * x[0] / 2
    v = sp.Matrix([x[0], x[1] + 1])
    tensors = {
        "isotropic": s * sp.eye(2),
        "diagonal": sp.diag(1, 1 + s),
        "tensor": sp.Matrix([[1, s / 2], [s / 2, 1]]),
        "varying isotropic": uneven * sp.eye(2),
        "varying diagonal": sp.diag(uneven, 1),
        "varying tensor": sp.eye(2) + s * v * v.T / (1 + x[0] ** 2 + x[1] ** 2),
    }
    if noise not in tensors:
        raise SystemsError(f"there is no noise {noise!r}; give one of {', '.join(tensors)}.")
    along = (x[0] ** 2 - 1) ** 2 / 4
    potentials = {
        "isotropic": loss / s,
        "diagonal": along + x[1] ** 2 / (2 * (1 + s)),
    }
    if noise == "varying diagonal" and s.is_number:
        potentials[noise] = _line_potential(along, uneven, x[0], heat) + x[1] ** 2 / 2
    return make(
        f"gradient_double_well_{noise.replace(' ', '_')}",
        x=x,
        box=WELLS_BOX,
        loss=loss,
        diffusion=tensors[noise],
        potential=potentials.get(noise),
        temperature=heat,
    )


def _line_potential(loss: sp.Expr, noise: sp.Expr, x: sp.Symbol, heat: sp.Expr) -> sp.Expr:
    """Φ = ∫ f'/D dx + T log D, from b ρ = T (Dρ)' (no current in one dimension)."""
    integral = sp.integrate(sp.apart(sp.diff(loss, x) / noise, x), x)
    return integral + heat * sp.log(noise)


def isotropic_from_loss(*, temperature: Expression = 1) -> System:
    """Two wells with D = I/(1 + f): Φ = f + f²/2 − T log(1 + f), j = 0.

    At T > 1 the wells of f are hills of Φ. D is isotropic (not constant), and Φ is not
    proportional to f: Lemma 6 needs a constant.
    """
    x = variables(2)
    loss, heat = wells_loss(x), exact(temperature)
    return make(
        "isotropic_from_loss",
        x=x,
        box=((-3.0, 3.0), (-4.0, 4.0)),
        loss=loss,
        diffusion=sp.eye(2) / (1 + loss),
        potential=loss + loss**2 / 2 - heat * sp.log(1 + loss),
        temperature=heat,
    )


def rotationally_invariant(epsilon: Expression = 0.25, *, temperature: Expression = 1) -> System:
    """f = |x|²/2, D = I + ε(|x|² I − xxᵀ): not isotropic, and yet Φ = (1 − εT) f and j = 0.

    The noise grows along circles only. A counter-example to Lemma 6 in both directions: Φ is
    proportional to f although D is not cI, and D ≠ cI without a force. Needs 0 ≤ ε < 1/T.
    """
    x = variables(2)
    e, heat = exact(epsilon), exact(temperature)
    factor = 1 - e * heat
    if (e.is_number and e < 0) or (factor.is_number and factor <= 0):
        raise SystemsError(f"epsilon is {e}; it must be at least 0 and below 1/T = {1 / heat}.")
    column, square = sp.Matrix(x), x[0] ** 2 + x[1] ** 2
    width = 6 / np.sqrt(float(factor / heat)) if (factor / heat).is_number else 6.0
    return make(
        "rotationally_invariant",
        x=x,
        box=[(-width, width)] * 2,
        loss=square / 2,
        diffusion=sp.eye(2) + e * (square * sp.eye(2) - column * column.T),
        potential=factor * square / 2,
        temperature=heat,
    )


def anisotropic_equilibrium(epsilon: Expression = 0.1, *, temperature: Expression = 1) -> System:
    """Two wells, D = I + ε T² cof(∇∇(ρ²))/ρ with ρ = e^{−f/T}: not isotropic, and yet Φ = f, j = 0.

    A cofactor matrix of a Hessian in two dimensions has no divergence (Airy's stress function), so
    that T ∇·(Dρ) = T ∇ρ = −ρ∇f. Needs a small ε: D is positive definite for ε ≤ 1/10 and T ≤ 1.
    """
    x = variables(2)
    e, heat = exact(epsilon), exact(temperature)
    loss = wells_loss(x)
    slope, hessian = gradient(loss, x), sp.hessian(loss, x)
    across = sp.Matrix([slope[1], -slope[0]])
    cofactor = sp.Matrix([[hessian[1, 1], -hessian[0, 1]], [-hessian[0, 1], hessian[0, 0]]])
    # cof ∇∇ρ² / ρ written out, so that no quotient of vanishing densities is left
    bump = sp.exp(sp.expand(-loss / heat)) * (4 * across * across.T - 2 * heat * cofactor)
    return make(
        "anisotropic_equilibrium",
        x=x,
        box=WELLS_BOX,
        loss=loss,
        diffusion=sp.eye(2) + e * bump,
        potential=loss,
        temperature=heat,
    )


def rotation_varying(lam: Expression = 1, *, temperature: Expression = 1) -> System:
    """Two wells from (19) with D = I, Q = λ x₁ [[0, 1], [−1, 0]]: e^{−Φ/T} at every T, ∇·j ≠ 0.

    b contains T, so that Φ does not depend on it; Assumption 4 fails because Q depends on x.
    """
    x = variables(2)
    turn = exact(lam) * x[0] * sp.Matrix([[0, 1], [-1, 0]])
    return from_potential(
        "rotation_varying",
        wells_loss(x),
        x=x,
        box=WELLS_BOX,
        rotation=turn,
        temperature=temperature,
    )


def rotating_wells(lam: Expression = 1, *, temperature: Expression = 1) -> System:
    """Two wells from (19) with D = I and a constant Q = λ[[0, 1], [−1, 0]]: Assumption 4 holds.

    b = −(I + Q)∇Φ vanishes where ∇Φ does: a current without any shift of the critical points.
    """
    x = variables(2)
    return from_potential(
        "rotating_wells",
        wells_loss(x),
        x=x,
        box=WELLS_BOX,
        rotation=exact(lam) * sp.Matrix([[0, 1], [-1, 0]]),
        temperature=temperature,
    )


def varying_from_potential(*, temperature: Expression = 1) -> System:
    """Two wells from (19) with D = (1 + x₁²/4 + x₁/2) I and Q = 0: the Φ of Example 19, j = 0."""
    x = variables(2)
    return from_potential(
        "varying_from_potential",
        wells_loss(x),
        x=x,
        box=WELLS_BOX,
        diffusion=(1 + x[0] ** 2 / 4 + x[0] / 2) * sp.eye(2),
        temperature=temperature,
    )
