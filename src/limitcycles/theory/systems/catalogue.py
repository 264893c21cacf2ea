"""The registry of test systems, and those of it that have no wells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from limitcycles.theory.systems.constructors import (
    from_potential,
    make,
    ornstein_uhlenbeck,
    variables,
)
from limitcycles.theory.systems.system import (
    Expression,
    System,
    SystemsError,
    compiled,
    exact,
    gradient,
)
from limitcycles.theory.systems.wells import (
    anisotropic_equilibrium,
    double_well,
    gradient_double_well,
    isotropic_from_loss,
    rotating_wells,
    rotation_varying,
    rotationally_invariant,
    varying_from_potential,
)


def rotational_ou(
    rate: Expression = 1, *, stiffness: Expression = 1, temperature: Expression = 1
) -> System:
    """b = −k x + ω R x, D = I: Φ = k|x|²/2 and j = ω(−x₂, x₁), a pure rotation with area rate ωT/k.

    ½⟨x₁ dx₂ − x₂ dx₁⟩/dt = ω⟨|x|²⟩/2 = ωT/k.
    """
    k, w = exact(stiffness), exact(rate)
    return ornstein_uhlenbeck([[k, w], [-w, k]], temperature=temperature, name="rotational_ou")


def linear_non_commuting(*, temperature: Expression = 1) -> System:
    """b = −Fx with a symmetric F that does not commute with D: Φ ≠ f and j ≠ 0."""
    return ornstein_uhlenbeck(
        [[2, 1], [1, 2]], [[1, 0], [0, 3]], temperature=temperature, name="linear_non_commuting"
    )


def linear_commuting(*, temperature: Expression = 1) -> System:
    """f = ½(x₁² + 4x₂²), D = diag(1, 2): D commutes with the Hessian; Φ ≠ f, and yet j = 0.

    Against the second half of Lemma 6: D ≠ cI does not imply j ≠ 0.
    """
    return ornstein_uhlenbeck(
        [[1, 0], [0, 4]], [[1, 0], [0, 2]], temperature=temperature, name="linear_commuting"
    )


def linear_isotropic(*, temperature: Expression = 1) -> System:
    """f = ½xᵀFx with a full symmetric F and D = 2I: Φ = f/2 and j = 0."""
    return ornstein_uhlenbeck(
        [[2, 1], [1, 3]], [[2, 0], [0, 2]], temperature=temperature, name="linear_isotropic"
    )


def rotational_ou_3d(*, temperature: Expression = 1) -> System:
    """Linear, d = 3: j = −Qx with Q regular nowhere (d odd), so that every orbit is an ellipse."""
    x = variables(3)
    turn = sp.Matrix([[0, 1, -2], [-1, 0, 3], [2, -3, 0]])
    return from_potential(
        "rotational_ou_3d",
        sum(v**2 for v in x) / 2,
        x=x,
        box=[(-6, 6)] * 3,
        rotation=turn,
        temperature=temperature,
    )


def two_rotations(ratio: Expression | None = None, *, temperature: Expression = 1) -> System:
    """Linear, d = 4: two plane rotations with frequencies 1 and `ratio` (default the golden mean).

    ∇·j = 0 and j ⟂ ∇Φ, and yet orbits close only where the ratio is rational.
    """
    x = variables(4)
    w = (1 + sp.sqrt(5)) / 2 if ratio is None else exact(ratio)
    turn = sp.Matrix([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, w], [0, 0, -w, 0]])
    return from_potential(
        "two_rotations",
        sum(v**2 for v in x) / 2,
        x=x,
        box=[(-6, 6)] * 4,
        rotation=turn,
        temperature=temperature,
    )


def coupled_oscillators(coupling: Expression = 4, *, temperature: Expression = 1) -> System:
    """d = 4: Φ = ½|x|² + κ x₁²x₂², Q the symplectic unit: j is a Hamiltonian flow, mostly chaotic.

    (x₁, x₂) are its positions and (x₃, x₄) its momenta. ∇·j = 0 and j ⟂ ∇Φ exactly.
    """
    x = variables(4)
    zero, one = sp.zeros(2), sp.eye(2)
    return from_potential(
        "coupled_oscillators",
        sum(v**2 for v in x) / 2 + exact(coupling) * x[0] ** 2 * x[1] ** 2,
        x=x,
        box=[(-6, 6)] * 4,
        rotation=sp.Matrix(sp.BlockMatrix([[zero, -one], [one, zero]])),
        temperature=temperature,
    )


def torus_flow(*, toroidal: Expression = 1, temperature: Expression = 1) -> System:
    """d = 3: the level sets of Φ are tori around the x₃ axis, and j winds around them both ways.

    With r² = x₁² + x₂², Φ = 2(r² − 1 − log r²) + x₃²/2 and j = a(−x₂, x₁, 0) + ∇Φ × ∇θ, θ the angle
    around the axis: ∇·j = 0 and j ⟂ ∇Φ exactly. On spheres such a flow has a stream function and
    closes; on tori the ratio of its two frequencies changes from torus to torus and is irrational
    for almost all. The axis itself, where ρ = 0, is not part of the space.
    """
    x = variables(3)
    r2 = x[0] ** 2 + x[1] ** 2
    potential = 2 * (r2 - 1 - sp.log(r2)) + x[2] ** 2 / 2
    around = sp.Matrix([-x[1], x[0], 0])
    slope = gradient(potential, x)
    force = exact(toroidal) * around + sp.Matrix(slope).cross(around / r2)
    return make(
        "torus_flow",
        x=x,
        box=[(-3.5, 3.5), (-3.5, 3.5), (-6, 6)],
        drift=-slope + force.applyfunc(sp.cancel),
        potential=potential,
        temperature=temperature,
    )


def sphere_flow(*, temperature: Expression = 1) -> System:
    """d = 3: Φ = |x|²/2 and j = ∇Φ × ∇ψ with ψ = x₁x₂ + x₃³/3: not linear, and yet it closes.

    j is a curl and runs along the intersections of the level sets of Φ, spheres, with those of ψ:
    almost every orbit is closed.
    """
    x = variables(3)
    potential = sum(v**2 for v in x) / 2
    slope = gradient(potential, x)
    force = sp.Matrix(slope).cross(sp.Matrix(gradient(x[0] * x[1] + x[2] ** 3 / 3, x)))
    return make(
        "sphere_flow",
        x=x,
        box=[(-6, 6)] * 3,
        drift=-slope + force,
        potential=potential,
        temperature=temperature,
    )


# ----------------------------------------------------------------------------------- cycles


def hopf_ring(mu: Expression = 1, omega: Expression = 1, *, temperature: Expression = 1) -> System:
    """b = μx + ω(−x₂, x₁) − |x|²x, D = I: a stable limit cycle for μ > 0.

    Its radius is √μ and its period 2π/ω. Φ = |x|⁴/4 − μ|x|²/2 and j = ω(−x₂, x₁).
    """
    x = variables(2)
    m, w = exact(mu), exact(omega)
    square = x[0] ** 2 + x[1] ** 2
    column, turned = sp.Matrix(x), sp.Matrix([-x[1], x[0]])
    return make(
        "hopf_ring",
        x=x,
        box=[(-4, 4)] * 2,
        drift=m * column + w * turned - square * column,
        potential=square**2 / 4 - m * square / 2,
        temperature=temperature,
    )


def van_der_pol(mu: Expression = 1, *, temperature: Expression = 0.1) -> System:
    """b = (x₂, μ(1 − x₁²)x₂ − x₁), D = I: one limit cycle, period 6.6632868593 at μ = 1; no Φ."""
    x = variables(2)
    drift = sp.Matrix([x[1], exact(mu) * (1 - x[0] ** 2) * x[1] - x[0]])
    box = [(-4, 4), (-6, 6)]
    return make("van_der_pol", x=x, box=box, drift=drift, temperature=temperature)


def slow_spiral(rate: Expression = 0.01, *, temperature: Expression = 1) -> System:
    """b = −εx + (−x₂, x₁), a focus that loses the share 1 − e^{−2πε} of its radius in a turn.

    The negative control of the searches for closed orbits: use `drift`.
    """
    e = exact(rate)
    return ornstein_uhlenbeck([[e, 1], [-1, e]], temperature=temperature, name="slow_spiral")


def pure_rotation(omega: Expression = 1) -> System:
    """b = ω(−x₂, x₁) without noise: every orbit is a circle. It has no steady density."""
    x = variables(2)
    drift = exact(omega) * sp.Matrix([-x[1], x[0]])
    return make("pure_rotation", x=x, box=[(-3, 3)] * 2, drift=drift, diffusion=sp.zeros(2))


# ---------------------------------------------------------------------------- one dimension


def multiplicative_noise(
    slope: Expression = 0.5,
    curvature: Expression = 0.1,
    *,
    temperature: Expression = 1,
) -> System:
    """d = 1, f = x²/2, D = 1 + αx + κx²: Φ = ∫ x/D dx + T log D, with its mode at −αT/(1 + 2κT).

    Φ' = (x + T D')/D. The tails are powers, ρ ~ |x|^{−1/(κT) − 2}. Needs α² < 4κ.
    """
    x = variables(1)
    a, k, heat = exact(slope), exact(curvature), exact(temperature)
    if a.is_number and k.is_number and not a**2 < 4 * k:
        raise SystemsError(f"D = 1 + {a} x + {k} x² is not positive; keep slope² < 4 curvature.")
    noise = 1 + a * x[0] + k * x[0] ** 2
    root = sp.sqrt(4 * k - a**2)
    # ∫ x/(1 + αx + κx²) dx; sympy's own answer to it is complex for some α, κ
    integral = sp.log(noise) / (2 * k) - a / (k * root) * sp.atan((2 * k * x[0] + a) / root)
    return make(
        "multiplicative_noise",
        x=x,
        box=[(-30, 30)],
        loss=x[0] ** 2 / 2,
        diffusion=sp.Matrix([[noise]]),
        potential=integral + heat * sp.log(noise),
        temperature=heat,
    )


def multiplicative_mode(slope: float, curvature: float, temperature: float) -> float:
    """The mode −αT/(1 + 2κT) of `multiplicative_noise`; the critical point of its f is 0."""
    return -slope * temperature / (1 + 2 * curvature * temperature)


def sharp_and_wide(
    ratio: Expression = 10,
    *,
    dimension: int = 1,
    distance: Expression = 4,
    temperature: Expression = 1,
) -> System:
    """f = −log(e^{−|x − a|²/2} + e^{−r|x + a|²/2}), a = (`distance`, 0, …)/2: wells of equal depth.

    The wide well has curvature 1, the sharp one r = `ratio` ≥ 1. Their depths agree to
    e^{−distance²/2}. D = I and Φ = f; far out f is quadratic. See `sharp_and_wide_local_entropy`.
    """
    wide, sharp, x = _wells(exact(ratio), exact(distance), dimension)
    loss = -sp.log(sp.exp(-wide / 2) + sp.exp(-exact(ratio) * sharp / 2))
    half = float(distance) / 2
    return make(
        "sharp_and_wide",
        x=x,
        box=[(-half - 6, half + 6), *[(-6.0, 6.0)] * (dimension - 1)],
        loss=loss,
        potential=loss,
        temperature=temperature,
    )


def sharp_and_wide_local_entropy(
    ratio: Expression, gamma: Expression, *, dimension: int = 1, distance: Expression = 4
) -> Callable[[np.ndarray], np.ndarray]:
    """f_γ of `sharp_and_wide` in closed form: −log of e^{−f} smoothed by G_γ, (..., d) -> (...).

    G_γ is the Gaussian density of covariance γI. A Gaussian of precision k becomes
    (1 + kγ)^{−d/2} exp(−k|x − m|²/(2(1 + kγ))): at its bottom the sharp well rises by
    (d/2) log((1 + rγ)/(1 + γ)) above the wide one.
    """
    r, g = exact(ratio), exact(gamma)
    wide, sharp, x = _wells(r, exact(distance), dimension)
    total = sum(
        (1 + k * g) ** sp.Rational(-dimension, 2) * sp.exp(-k * square / (2 * (1 + k * g)))
        for k, square in ((sp.S.One, wide), (r, sharp))
    )
    return compiled("sharp_and_wide", x, -sp.log(total))


def _wells(ratio: sp.Expr, distance: sp.Expr, dimension: int):
    if ratio.is_number and ratio < 1:
        raise SystemsError(f"ratio is {ratio}; it is sharp over wide, at least 1.")
    x = variables(dimension)
    rest = sum(v**2 for v in x[1:])
    return (x[0] - distance / 2) ** 2 + rest, (x[0] + distance / 2) ** 2 + rest, x


def _double_well_with(noise: str) -> Callable[..., System]:
    def build(**options) -> System:
        return gradient_double_well(noise, **options)

    return build


SYSTEMS: dict[str, Callable[..., System]] = {
    "linear_isotropic": linear_isotropic,
    "linear_commuting": linear_commuting,
    "linear_non_commuting": linear_non_commuting,
    "rotational_ou": rotational_ou,
    "rotational_ou_3d": rotational_ou_3d,
    "two_rotations": two_rotations,
    "coupled_oscillators": coupled_oscillators,
    "torus_flow": torus_flow,
    "sphere_flow": sphere_flow,
    "double_well": double_well,
    **{
        f"gradient_double_well_{noise.replace(' ', '_')}": _double_well_with(noise)
        for noise in (
            "isotropic",
            "diagonal",
            "tensor",
            "varying isotropic",
            "varying diagonal",
            "varying tensor",
        )
    },
    "isotropic_from_loss": isotropic_from_loss,
    "rotationally_invariant": rotationally_invariant,
    "anisotropic_equilibrium": anisotropic_equilibrium,
    "rotation_varying": rotation_varying,
    "rotating_wells": rotating_wells,
    "varying_from_potential": varying_from_potential,
    "hopf_ring": hopf_ring,
    "van_der_pol": van_der_pol,
    "slow_spiral": slow_spiral,
    "pure_rotation": pure_rotation,
    "multiplicative_noise": multiplicative_noise,
    "sharp_and_wide": sharp_and_wide,
}


def system(name: str, **options) -> System:
    """The system of that name in `SYSTEMS`. Raises SystemsError for another name."""
    if name not in SYSTEMS:
        raise SystemsError(f"there is no system {name!r}; give one of {', '.join(SYSTEMS)}.")
    return SYSTEMS[name](**options)
