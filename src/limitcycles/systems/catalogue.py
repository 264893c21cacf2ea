"""The test systems: those of the paper, and those that its claims need beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import sympy as sp

from limitcycles.systems.system import (
    Expression,
    Symbols,
    System,
    SystemsError,
    compiled,
    exact,
    exact_matrix,
    gradient,
    is_zero,
    tensor_divergence,
    tidy,
)


def variables(dimension: int) -> tuple[sp.Symbol, ...]:
    """x1 … xd, real."""
    return tuple(sp.symbols(f"x1:{dimension + 1}", real=True))


def make(
    name: str,
    *,
    x: Sequence[sp.Symbol],
    box: Sequence[Sequence[float]],
    drift=None,
    loss: sp.Expr | None = None,
    diffusion=None,
    potential: sp.Expr | None = None,
    temperature: Expression = 1,
) -> System:
    """A system from its expressions: the drift, or the loss whose negative gradient it is.

    `diffusion` defaults to I. Raises SystemsError for shapes that do not fit, or neither drift
    nor loss.
    """
    if drift is None and loss is None:
        raise SystemsError(f"{name}: give a drift or a loss.")
    d = len(x)
    drift = -gradient(loss, x) if drift is None else sp.ImmutableMatrix(drift)
    tensor = sp.eye(d) if diffusion is None else diffusion
    symbols = Symbols(
        x=tuple(x),
        drift=sp.ImmutableMatrix(drift),
        diffusion=sp.ImmutableMatrix(tensor),
        temperature=_positive(name, temperature),
        loss=loss,
        potential=potential,
    )
    return System(name, symbols, tuple((float(low), float(high)) for low, high in box))


def _positive(name: str, temperature: Expression) -> sp.Expr:
    value = exact(temperature)
    if value.is_number and not value > 0:
        raise SystemsError(f"{name}: the temperature is {value}; it must be above 0.")
    return value


def from_potential(
    name: str,
    potential: sp.Expr,
    *,
    x: Sequence[sp.Symbol],
    box: Sequence[Sequence[float]],
    diffusion=None,
    rotation=None,
    temperature: Expression = 1,
) -> System:
    """The drift that has e^{−Φ/T} as steady state for any D and antisymmetric Q (Eq. 19).

    −b = "∇f" = (D + Q)∇Φ − T ∇·(D + Q), which need not be a gradient (`drift_is_gradient`); then
    j = −Q∇Φ + T ∇·Q. `rotation` is Q, default 0. b depends on T where D or Q depend on x.
    Raises SystemsError for a Q that is not antisymmetric.
    """
    d = len(x)
    noise = sp.ImmutableMatrix(sp.eye(d) if diffusion is None else diffusion)
    turn = sp.ImmutableMatrix(sp.zeros(d) if rotation is None else rotation)
    if turn.shape != (d, d) or not is_zero(turn + turn.T):
        raise SystemsError(f"{name}: Q is not antisymmetric ({d}, {d}); give (Q − Qᵀ)/2.")
    heat = _positive(name, temperature)
    whole = noise + turn
    drift = -whole * gradient(potential, x) + heat * tensor_divergence(whole, x)
    return make(
        name,
        x=x,
        box=box,
        drift=drift.applyfunc(tidy),
        diffusion=noise,
        potential=potential,
        temperature=heat,
    )


def ornstein_uhlenbeck(
    F, D=None, *, temperature: Expression = 1, name: str = "ornstein_uhlenbeck"
) -> System:
    """dx = −Fx dt + √(2TD) dW: Φ = ½ xᵀUx with F U⁻¹ + U⁻¹Fᵀ = 2D (Lemma 20), solved exactly.

    F and D have shape (d, d); floats are taken as the decimals that they print. The box is six
    standard deviations each way. Raises SystemsError: F without a steady state (an eigenvalue with
    real part ≤ 0), or a Σ that is not positive definite (D too singular for F).
    """
    F = exact_matrix(F)
    d = F.shape[0]
    D = sp.eye(d) if D is None else exact_matrix(D)
    if F.shape != (d, d) or D.shape != (d, d):
        raise SystemsError(f"{name}: F and D must be square alike, not {F.shape} and {D.shape}.")
    lowest = np.linalg.eigvals(np.array(F, dtype=float)).real.min()
    if lowest <= 0:
        raise SystemsError(
            f"{name}: F has an eigenvalue with real part {lowest:.3g}; without all of them above 0 "
            "there is no steady state. Use `make` for a drift that has none."
        )
    entries = {(i, k): sp.Symbol(f"s{i}_{k}") for i in range(d) for k in range(i, d)}
    covariance = sp.Matrix(d, d, lambda i, k: entries[min(i, k), max(i, k)])
    equation = F * covariance + covariance * F.T - 2 * D
    found = sp.solve([equation[i, k] for i, k in entries], list(entries.values()), dict=True)[0]
    covariance = covariance.subs(found)
    width = np.linalg.eigvalsh(np.array(covariance, dtype=float))
    if width.min() <= 1e-12 * width.max():
        raise SystemsError(f"{name}: D is too singular for F: the steady state has no density.")
    x = variables(d)
    column = sp.Matrix(x)
    heat = _positive(name, temperature)
    scale = float(heat) if heat.is_number else 1.0
    half = [6 * float(np.sqrt(scale * float(covariance[i, i]))) for i in range(d)]
    symmetric = F == F.T
    return make(
        name,
        x=x,
        box=[(-h, h) for h in half],
        drift=-F * column,
        loss=sp.expand((column.T * F * column)[0] / 2) if symmetric else None,
        diffusion=D,
        potential=sp.expand((column.T * covariance.inv() * column)[0] / 2),
        temperature=heat,
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


# ------------------------------------------------------------------------------- two wells

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
