"""Test systems dx = b(x) dt + √(2 T D(x)) dW (Itô) with everything that follows from them.

Only the drift b, the tensor D, the temperature T = β⁻¹ and, where known, the loss f and the
potential Φ = −T log ρ^ss are written down, as sympy expressions. All else is derived from them:
the force j (Eq. 8), its divergence and its power j·∇Φ, the curl of the drift, whether e^{−Φ/T} is
stationary, whether Assumption 4 holds.

The divergence of a tensor is taken over its second index, (∇·M)_i = Σ_k ∂_k M_ik. For the symmetric
D it does not matter. For the antisymmetric Q it fixes a sign: this is the one under which equation
(19), ∇f = (D + Q)∇Φ − T ∇·(D + Q), makes e^{−Φ/T} stationary.

Arrays of points have shape (..., d), float64. T, f and Φ share one unit; D has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from limitcycles.runtime.errors import LimitcyclesError

Expression = sp.Expr | float | int
Box = tuple[tuple[float, float], ...]

PROBES = 6  # random points, at 30 digits, at which an expression is seen not to vanish
PROBE_ZERO = sp.Float("1e-20")


class SystemsError(LimitcyclesError):
    """A system that cannot be built, or asked for something that it does not have."""


@dataclass(frozen=True)
class Finding:
    """The answer to "does this vanish identically?".

    `holds` is True (sympy reduces it to zero), False (it differs from zero at a point) or None
    (neither could be shown); `left` is what remains, a sympy expression or matrix.
    """

    holds: bool | None
    left: sp.Expr | sp.ImmutableMatrix

    def __bool__(self) -> bool:
        return self.holds is True


@dataclass(frozen=True)
class Symbols:
    """The definition of a system in sympy: x (d,), drift (d, 1), diffusion (d, d), T, f, Φ."""

    x: tuple[sp.Symbol, ...]
    drift: sp.ImmutableMatrix
    diffusion: sp.ImmutableMatrix
    temperature: sp.Expr
    loss: sp.Expr | None = None
    potential: sp.Expr | None = None


@dataclass(frozen=True)
class System:
    """A stochastic differential equation dx = b dt + √(2 T D) dW (Itô), exact and numerical.

    Parameters
    ----------
    name
        For tables and messages.
    symbols
        What defines it.
    box
        ((low, high), ...), d pairs: large enough for the density at `temperature`.

    `drift` (..., d), `diffusion` (..., d, d), `loss`, `potential` (...) and `force` (..., d) are
    vectorised NumPy functions of points (..., d); `loss`, `potential` and `force` are None where
    there is no closed form. The other attributes are symbolic, and None without a potential.

    Raises SystemsError: shapes that do not fit, a D that is not symmetric or, where it is
    constant, has a negative eigenvalue, or an empty box.
    """

    name: str
    symbols: Symbols
    box: Box

    def __post_init__(self) -> None:
        d, s = len(self.symbols.x), self.symbols
        if s.drift.shape != (d, 1) or s.diffusion.shape != (d, d):
            raise SystemsError(
                f"{self.name}: for {d} variables the drift has shape ({d}, 1) and D ({d}, {d}), "
                f"not {s.drift.shape} and {s.diffusion.shape}."
            )
        if len(self.box) != d or any(not low < high for low, high in self.box):
            raise SystemsError(f"{self.name}: the box {self.box} needs {d} pairs (low, high).")
        if not is_zero(s.diffusion - s.diffusion.T):
            raise SystemsError(f"{self.name}: D is not symmetric; give (D + Dᵀ)/2.")
        if not s.diffusion.free_symbols:
            lowest = np.linalg.eigvalsh(np.array(s.diffusion, dtype=float)).min()
            if lowest < -1e-12:
                raise SystemsError(
                    f"{self.name}: D has the eigenvalue {lowest:.3g}; a covariance has none below "
                    "0. Check its entries."
                )

    def __getstate__(self) -> dict:
        """Fields only: compiled functions cannot be pickled, and are made again when asked for."""
        return {"name": self.name, "symbols": self.symbols, "box": self.box}

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.symbols.x)

    @property
    def temperature(self) -> float:
        """T as a number. Raises SystemsError where T is a symbol."""
        if self.symbols.temperature.free_symbols:
            raise SystemsError(f"{self.name}: the temperature {self.symbols.temperature} is open.")
        return float(self.symbols.temperature)

    # ------------------------------------------------------------------------ numerical

    def compile(self, expression: sp.Expr | sp.MatrixBase) -> Callable[[np.ndarray], np.ndarray]:
        """A vectorised function of points (..., d) for an expression in this system's x.

        A scalar gives (...), a column (d, 1) gives (..., d), another matrix (m, n) (..., m, n).
        Raises SystemsError for a parameter that has no number yet, or (when called) for points
        of another dimension.
        """
        return compiled(self.name, self.symbols.x, expression)

    @cached_property
    def drift(self) -> Callable[[np.ndarray], np.ndarray]:
        """b: (..., d) -> (..., d)."""
        return self.compile(self.symbols.drift)

    @cached_property
    def jacobian(self) -> Callable[[np.ndarray], np.ndarray]:
        """∂b_i/∂x_k: (..., d) -> (..., d, d)."""
        return self.compile(self.jacobian_symbol)

    @cached_property
    def diffusion(self) -> Callable[[np.ndarray], np.ndarray]:
        """D: (..., d) -> (..., d, d), the full tensor, without the factor T."""
        function, shape = self.compile(self.symbols.diffusion), (self.dimension,) * 2
        return lambda points: function(points).reshape(np.shape(points)[:-1] + shape)

    @cached_property
    def loss(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """f: (..., d) -> (...), or None where −b is no gradient."""
        return None if self.symbols.loss is None else self.compile(self.symbols.loss)

    @cached_property
    def potential(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Φ: (..., d) -> (...), up to a constant, or None where it has no closed form."""
        return None if self.symbols.potential is None else self.compile(self.symbols.potential)

    @cached_property
    def force(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """j: (..., d) -> (..., d), Eq. 8, or None without a potential."""
        return None if self.force_symbol is None else self.compile(self.force_symbol)

    # ------------------------------------------------------------------------- symbolic

    @cached_property
    def jacobian_symbol(self) -> sp.ImmutableMatrix:
        """∂b_i/∂x_k, (d, d)."""
        return sp.ImmutableMatrix(self.symbols.drift.jacobian(sp.Matrix(self.symbols.x)))

    @cached_property
    def potential_gradient_symbol(self) -> sp.ImmutableMatrix | None:
        """∇Φ, (d, 1)."""
        potential = self.symbols.potential
        return None if potential is None else gradient(potential, self.symbols.x)

    @cached_property
    def force_symbol(self) -> sp.ImmutableMatrix | None:
        """j = b + D∇Φ − T ∇·D (Eq. 8 with b in place of −∇f), (d, 1)."""
        if self.potential_gradient_symbol is None:
            return None
        s = self.symbols
        parts = s.diffusion * self.potential_gradient_symbol
        noise = s.temperature * tensor_divergence(s.diffusion, s.x)
        return sp.ImmutableMatrix((s.drift + parts - noise).applyfunc(tidy))

    @cached_property
    def stationary(self) -> Finding | None:
        """Is ∇·J = 0 for ρ = e^{−Φ/T}? With J = jρ the residual is ∇·J/ρ = ∇·j − j·∇Φ/T."""
        if self.force_symbol is None:
            return None
        s = self.symbols
        power = self.force_symbol.dot(self.potential_gradient_symbol)
        return find_zero(vector_divergence(self.force_symbol, s.x) - power / s.temperature)

    @cached_property
    def force_vanishes(self) -> Finding | None:
        """Is j = 0, so that the steady state is in detailed balance?"""
        return None if self.force_symbol is None else find_zero(self.force_symbol)

    @cached_property
    def divergence_free(self) -> Finding | None:
        """Is ∇·j = 0 (Assumption 4)?"""
        if self.force_symbol is None:
            return None
        return find_zero(vector_divergence(self.force_symbol, self.symbols.x))

    @cached_property
    def orthogonal(self) -> Finding | None:
        """Is j·∇Φ = 0 (A5)? Where e^{−Φ/T} is stationary, j·∇Φ = T ∇·j: the same question."""
        if self.force_symbol is None:
            return None
        return find_zero(self.force_symbol.dot(self.potential_gradient_symbol))

    @property
    def meets_assumption_4(self) -> bool | None:
        """Is e^{−Φ/T} the steady state and ∇·j = 0? None: no potential, or undecided."""
        if self.stationary is None:
            return None
        both = (self.stationary.holds, self.divergence_free.holds)
        return False if False in both else None if None in both else True

    @cached_property
    def drift_is_gradient(self) -> Finding:
        """Is −b the gradient of some f, that is ∂_i b_k = ∂_k b_i? `left` is that curl, (d, d)."""
        return find_zero(self.jacobian_symbol - self.jacobian_symbol.T)

    @cached_property
    def isotropic(self) -> Finding:
        """Is D(x) = c(x) I?"""
        tensor = self.symbols.diffusion
        return find_zero(tensor - tensor.trace() / self.dimension * sp.eye(self.dimension))

    @cached_property
    def constant_diffusion(self) -> Finding:
        """Does D not depend on x?"""
        columns = [self.symbols.diffusion.diff(variable) for variable in self.symbols.x]
        return find_zero(sp.Matrix.hstack(*columns))

    @cached_property
    def potential_proportional_to_loss(self) -> Finding | None:
        """Is Φ = a f + constant for some number a (Lemma 6, "up to a scaling factor")?

        Then ∇Φ and ∇f are parallel everywhere with a constant ratio; `left` is ∇Φ − a∇f with a
        the ratio of their squares, and, if that vanishes, ∇a.
        """
        if self.symbols.loss is None or self.symbols.potential is None:
            return None
        above, below = self.potential_gradient_symbol, gradient(self.symbols.loss, self.symbols.x)
        ratio = sp.simplify(above.dot(below) / below.dot(below))
        parallel = find_zero(above - ratio * below)
        return find_zero(gradient(ratio, self.symbols.x)) if parallel else parallel


def gradient(scalar: sp.Expr, x: Sequence[sp.Symbol]) -> sp.ImmutableMatrix:
    """∇f, (d, 1)."""
    return sp.ImmutableMatrix([sp.diff(scalar, variable) for variable in x])


def vector_divergence(field: sp.MatrixBase, x: Sequence[sp.Symbol]) -> sp.Expr:
    """∇·v of a column (d, 1)."""
    return sum((sp.diff(field[i], variable) for i, variable in enumerate(x)), sp.S.Zero)


def tensor_divergence(tensor: sp.MatrixBase, x: Sequence[sp.Symbol]) -> sp.ImmutableMatrix:
    """(∇·M)_i = Σ_k ∂_k M_ik, (d, 1): over the second index."""
    return sp.ImmutableMatrix([vector_divergence(tensor[i, :], x) for i in range(len(x))])


def is_zero(expression: sp.Expr | sp.MatrixBase) -> bool:
    """Whether sympy reduces an expression, or every entry of a matrix, to zero."""
    return find_zero(expression).holds is True


def find_zero(expression: sp.Expr | sp.MatrixBase) -> Finding:
    """Simplify; where something is left, evaluate it at random points to see that it is not 0."""
    if isinstance(expression, sp.MatrixBase):
        parts = [find_zero(entry) for entry in expression]
        left = sp.ImmutableMatrix(*expression.shape, [part.left for part in parts])
        held = [part.holds for part in parts]
        return Finding(False if False in held else None if None in held else True, left)
    left = tidy(expression)
    if left == 0:
        return Finding(True, sp.S.Zero)
    if any(abs(value) > PROBE_ZERO for value in _probe(left)):
        return Finding(False, left)
    left = sp.simplify(left)
    return Finding(True, sp.S.Zero) if left == 0 else Finding(None, left)


def _probe(expression: sp.Expr) -> list[sp.Expr]:
    """Values at seeded random rational points, 30 digits; parameters in (0, 1) too."""
    generator = np.random.default_rng(0)
    unknown = sorted(expression.free_symbols, key=str)
    values = []
    for _ in range(PROBES):
        at = {u: sp.Rational(int(generator.integers(1, 997)), 997) for u in unknown}
        value = expression.subs(at).evalf(30)
        if value.is_number and value.is_finite:
            values.append(value)
    return values


def tidy(expression: sp.Expr) -> sp.Expr:
    """Exponentials with one exponent, polynomials expanded and factored: quick, and usually all."""
    merged = sp.powsimp(sp.expand(expression), combine="exp")
    merged = merged.replace(sp.exp, lambda argument: sp.exp(sp.expand(argument)))
    return sp.factor_terms(sp.factor(merged)) if merged != 0 else merged


def exact(value: Expression) -> sp.Expr:
    """0.1 becomes 1/10: floats would leave rounding where a proof needs 0."""
    if isinstance(value, sp.Basic):
        return value
    if not np.isfinite(value):
        raise SystemsError(f"a parameter is {value}; give a finite number or a sympy symbol.")
    return sp.Rational(str(value)) if isinstance(value, float) else sp.Rational(value)


def exact_matrix(matrix) -> sp.ImmutableMatrix:
    rows = matrix.tolist() if hasattr(matrix, "tolist") else matrix
    try:
        return sp.ImmutableMatrix([[exact(entry) for entry in row] for row in rows])
    except (TypeError, ValueError) as error:
        raise SystemsError(f"{rows} is not a matrix: give rows of equal length.") from error


def compiled(name: str, x: tuple[sp.Symbol, ...], expression):
    is_matrix = isinstance(expression, sp.MatrixBase)
    unknown = sorted(expression.free_symbols - set(x), key=str)
    if unknown:
        raise SystemsError(f"{name}: {unknown} have no value; build the system with numbers.")
    shape = expression.shape if is_matrix else ()
    if is_matrix and shape[1] == 1:
        shape = shape[:1]
    entries = list(expression) if is_matrix else [expression]
    function = sp.lambdify(x, entries, modules="numpy", cse=True)
    present = [i for i, entry in enumerate(entries) if entry != 0]

    def evaluate(points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        if points.ndim == 0 or points.shape[-1] != len(x):
            raise SystemsError(
                f"{name}: points have shape (..., {len(x)}), not {points.shape}; the last axis "
                "holds the coordinates."
            )
        values = function(*(points[..., i] for i in range(len(x))))
        result = np.zeros((*points.shape[:-1], len(entries)))
        for i in present:
            result[..., i] = values[i]
        return result.reshape(points.shape[:-1] + shape)

    return evaluate
