"""How a system is put together: from its drift, from its potential (Eq. 19), from matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp

from limitcycles.theory.systems.system import (
    Expression,
    Symbols,
    System,
    SystemsError,
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
