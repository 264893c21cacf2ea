"""Modes of the steady density for small noise, by the expansion Φ = Φ₀ + TΦ₁ + O(T²) at a sink.

The density ρ = e^{−Φ/T} of dx = b dt + √(2 T D) dW (Itô) with b and D free of T is stationary if

    T ∇·b − b·∇Φ = T² ∂_i∂_k D_ik − 2T (∇·D)·∇Φ − T D:∇∇Φ + ∇Φ·D∇Φ.

Order 0 gives the second derivatives U of Φ₀ at the sink (`linear_theory.decompose`) and the third
ones, a linear equation; order 1 gives the slope of Φ₁ there. No grid and no density is needed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import sympy as sp

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory import linear_theory
from limitcycles.theory.systems import System


class SmallNoiseError(LimitcyclesError):
    """A system or a point about which nothing can be expanded."""


@dataclass(frozen=True)
class Expansion:
    """At a sink x₀: U (d, d) and `third` (d, d, d), derivatives of Φ₀; `slope` (d,), that of Φ₁.

    The mode is at x₀ + T `shift` + O(T²), shift = −U⁻¹ slope.
    """

    point: np.ndarray
    U: np.ndarray
    third: np.ndarray
    slope: np.ndarray
    shift: np.ndarray


def expand(system: System, point) -> Expansion:
    """Expand Φ at a linearly stable zero `point` (d,) of the drift.

    Raises SmallNoiseError: the drift does not vanish there, or contains the temperature, so that
    its zeros move with it (`system` is built anew to see that); LinearTheoryError: no sink.
    """
    x0 = np.asarray(point, dtype=float)
    symbols = system.symbols
    drift = np.array(symbols.drift).ravel()
    first = _derivatives(system, drift, x0, 1)
    if np.abs(system.drift(x0)).max() > 1e-8 * max(1.0, np.abs(first).max()):
        raise SmallNoiseError(f"{system.name}: the drift at {x0} is {system.drift(x0)}, not zero")
    F, bend = -first, _derivatives(system, drift, x0, 2)
    D = system.diffusion(x0)
    spread = _derivatives(system, np.array(symbols.diffusion), x0, 1)  # ∂_p D_ij
    parts = linear_theory.decompose(F, D)
    parts.covariance(1.0)  # raises where F is not stable
    U = parts.U
    source = np.einsum("ipq,ir->pqr", bend, U)
    source = source + 2 * np.einsum("ijp,iq,jr->qrp", spread, U, U)
    third = _third(F - 2 * D @ U, _cyclic(source))
    pull = np.einsum("iik->k", bend) + 2 * U @ np.einsum("ikk->i", spread)
    pull += np.einsum("ijk,ij->k", spread, U) + np.einsum("ij,ijk->k", D, third)
    slope = np.linalg.solve(2 * U @ D - F.T, pull)
    return Expansion(x0, U, third, slope, -np.linalg.solve(U, slope))


def _derivatives(system: System, entries: np.ndarray, x0: np.ndarray, order: int) -> np.ndarray:
    """Derivatives at x₀, shape entries.shape + (d,) · order."""
    x = system.symbols.x
    at = dict(zip(x, map(float, x0), strict=True))
    values = [
        float(sp.diff(entry, *[x[k] for k in which]).subs(at))
        for entry in entries.ravel()
        for which in itertools.product(range(len(x)), repeat=order)
    ]
    return np.array(values).reshape(*entries.shape, *[len(x)] * order)


def _cyclic(a: np.ndarray) -> np.ndarray:
    """a_pqr + a_qrp + a_rpq."""
    return a + a.transpose(1, 2, 0) + a.transpose(2, 0, 1)


def _third(matrix: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Symmetric C with M_ip C_iqr + M_iq C_ipr + M_ir C_ipq = source."""
    d, one = len(matrix), np.eye(len(matrix))
    operator = np.einsum("ia,bj,ck->abcijk", matrix, one, one)
    operator = operator + np.einsum("ib,aj,ck->abcjik", matrix, one, one)
    operator = operator + np.einsum("ic,aj,bk->abcjki", matrix, one, one)
    flat = np.linalg.solve(operator.reshape(d**3, d**3), source.ravel())
    return flat.reshape(d, d, d)
