"""Linear stochastic dynamics dx = −Fx dt + sqrt(2 T D) dW near a critical point (Lemma 20).

F is the linearised drift (the Hessian of the loss, or any square matrix), D the constant diffusion
matrix, T = β⁻¹ the temperature; all arrays are float64. F = (D + Q)U with Q antisymmetric and U
symmetric (Kwon, Ao & Thouless, PNAS 102, 13029, 2005) gives the potential Φ = ½ xᵀUx and the mean
force j = −QUx, and where F is stable the stationary density is exp(−Φ/T), with covariance
Σ = T U⁻¹. All of it is a statement about the linearisation only.

>>> from limitcycles import linear_theory
>>> found = linear_theory.decompose(F=[[1, -1], [1, 1]], D=[[1, 0], [0, 1]])
>>> found.Q.tolist(), found.U.tolist()
([[0.0, -1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
>>> found.entropy_production()  # nats per unit of time
2.0
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError

ROUNDING = 1e-12  # relative; below it a singular value or a sum of eigenvalues counts as zero


class LinearTheoryError(LimitcyclesError):
    """A linear system for which the theory gives no answer."""


def _matrix(name: str, matrix) -> np.ndarray:
    arguments.check_filled(name, matrix, LinearTheoryError)
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise LinearTheoryError(f"{name} must be a square matrix, not of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise LinearTheoryError(f"{name} has a value that is NaN or infinite")
    return matrix


def _diffusion(D, drift: np.ndarray) -> np.ndarray:
    D = _matrix("D", D)
    if D.shape != drift.shape:
        raise LinearTheoryError(f"F has shape {drift.shape} and D {D.shape}: they must be equal")
    scale = np.abs(D).max()
    asymmetry = np.abs(D - D.T).max()
    if asymmetry > ROUNDING * scale:
        raise LinearTheoryError(
            f"D is not symmetric: an entry and its mirror differ by {asymmetry:.3g}; "
            "give (D + Dᵀ)/2 if that is rounding"
        )
    D = (D + D.T) / 2
    lowest, highest = np.linalg.eigvalsh(D)[[0, -1]]
    if lowest < -ROUNDING * len(D) * max(abs(lowest), highest):
        raise LinearTheoryError(
            f"D is not positive semi-definite: its lowest eigenvalue is {lowest:.6g}"
        )
    return D


def _temperature(temperature: float) -> float:
    return arguments.number("temperature", temperature, LinearTheoryError)


def _stable(drift: np.ndarray) -> None:
    values = np.linalg.eigvals(drift)
    worst = values[np.argmin(values.real)]
    if worst.real <= ROUNDING * np.abs(values).max():
        raise LinearTheoryError(
            f"F is not stable: its eigenvalue {worst:.6g} has no positive real part, so that no "
            "stationary covariance exists; `decompose` does not need one"
        )


def stationary_covariance(F, D, temperature: float, *, step: float | None = None) -> np.ndarray:
    """Σ of dx = −Fx dt + sqrt(2 T D) dW, from FΣ + ΣFᵀ = 2TD; shape (d, d), symmetric.

    With `step` = h, of its Euler–Maruyama steps x ← x − hFx + sqrt(2 T h D) ξ instead, which are
    those of SGD with learning rate h and T = h/(2b):  Σ = (1 − hF) Σ (1 − hF)ᵀ + 2ThD.

    D may be singular. Time O(d³). Raises LinearTheoryError: F is not stable (an eigenvalue with a
    real part ≤ 0), the step is too long for it, D is not symmetric positive semi-definite.
    """
    F = _matrix("F", F)
    D, temperature = _diffusion(D, F), _temperature(temperature)
    _stable(F)
    if step is None:
        sigma = scipy.linalg.solve_continuous_lyapunov(F, 2 * temperature * D)
        return (sigma + sigma.T) / 2
    step = arguments.number("step", step, LinearTheoryError)
    propagator = np.eye(len(F)) - step * F
    radius = float(np.abs(np.linalg.eigvals(propagator)).max())
    if radius >= 1:
        raise LinearTheoryError(
            f"steps of {step:g} have no stationary covariance: they multiply a deviation by "
            f"{radius:.6g}; take a shorter step"
        )
    noise = 2 * temperature * step * D
    sigma = scipy.linalg.solve_discrete_lyapunov(propagator, noise, method="bilinear")
    return (sigma + sigma.T) / 2


def commutator(F, D, *, relative: bool = False) -> float:
    """‖FD − DFᵀ‖_F: zero if and only if the linear theory gives no current (Q = 0).

    With `relative`, divided by 2‖FD‖_F: the share, between 0 and 1, of FD that is antisymmetric.
    For a symmetric F (a Hessian) it is the commutator of F and D. An anisotropic D that shares its
    eigenvectors with F gives zero. Raises LinearTheoryError as `decompose`, for D and shapes.
    """
    F = _matrix("F", F)
    product = F @ _diffusion(D, F)
    norm = float(np.linalg.norm(product - product.T))
    size = float(np.linalg.norm(product))
    return norm / (2 * size) if relative and size else norm


@dataclass(frozen=True)
class Decomposition:
    """F = (D + Q)U with Q antisymmetric and U symmetric; all of shape (d, d).

    `residual` is ‖F − (D + Q)U‖_F/‖F‖_F with these exactly symmetric and antisymmetric matrices.
    `antisymmetry` is ‖Q + Qᵀ‖_F/‖Q‖_F and `symmetry` ‖U − Uᵀ‖_F/‖U‖_F as the equations gave them,
    before what is left was projected away; where Q is zero but for rounding, ‖D‖_F stands in the
    place of ‖Q‖_F. `gap` is the smallest |λ_i + λ_j|, i ≠ j, of eigenvalues of F relative to the
    largest |λ| (infinite for d = 1), and `regularity` the smallest singular value of D + Q relative
    to the largest: rounding errors grow as their inverses.
    """

    F: np.ndarray
    D: np.ndarray
    Q: np.ndarray
    U: np.ndarray
    residual: float
    antisymmetry: float
    symmetry: float
    gap: float
    regularity: float

    def potential(self, x) -> np.ndarray:
        """Φ = ½ xᵀUx for points x of shape (..., d); shape (...). Independent of T."""
        x = np.asarray(x, dtype=float)
        return np.einsum("...i,ij,...j->...", x, self.U, x) / 2

    @property
    def force_matrix(self) -> np.ndarray:
        """−QU: the mean force, current over density, is j = −QUx (Eq. 8 with this Φ)."""
        return -self.Q @ self.U

    def force(self, x) -> np.ndarray:
        """j = −QUx = −Fx + DUx for points x of shape (..., d); the same shape."""
        return np.asarray(x, dtype=float) @ self.force_matrix.T

    def covariance(self, temperature: float) -> np.ndarray:
        """T U⁻¹, which is Σ where F is stable. Raises LinearTheoryError elsewhere."""
        temperature = _temperature(temperature)
        _stable(self.F)
        sigma = temperature * np.linalg.inv(self.U)
        return (sigma + sigma.T) / 2

    def area_rate(self, temperature: float) -> np.ndarray:
        """A with A_ab = ½ E[x_a dx_b − x_b dx_a]/dt = T Q_ab, in the stationary state.

        It is the antisymmetric part of E[x dxᵀ]/dt = −ΣFᵀ; the Itô and the Stratonovich product
        agree in it. A_ab > 0: the plane (a, b) is swept from axis a towards axis b. In the plane
        of two vectors u, v it is uᵀAv. Raises LinearTheoryError where F is not stable.
        """
        temperature = _temperature(temperature)
        _stable(self.F)
        return temperature * self.Q

    def entropy_production(self) -> float:
        """E[jᵀ(TD)⁻¹j] = −tr(D⁻¹QUQ) in nats per unit of time; it does not depend on T.

        Raises LinearTheoryError where F is not stable, or where D is singular: a current along a
        direction without noise makes it infinite, and rounding decides what is printed.
        """
        _stable(self.F)
        values = np.linalg.eigvalsh(self.D)
        if values[0] <= ROUNDING * len(values) * values[-1]:
            raise LinearTheoryError(
                f"D is singular (eigenvalues from {values[0]:.3g} to {values[-1]:.3g}), so that "
                "entropy production depends on a noise floor: use `area_rate`, or project F and D "
                "on a subspace that is named"
            )
        solved = scipy.linalg.solve(self.D, self.Q @ self.U @ self.Q, assume_a="pos")
        return max(0.0, float(-np.trace(solved)))


def decompose(F, D) -> Decomposition:
    """Kwon–Ao–Thouless decomposition F = (D + Q)U, in any dimension and also at saddles.

    U = (D + Q)⁻¹F is symmetric if and only if FQ + QFᵀ = FD − DFᵀ, which has one antisymmetric
    solution Q if no two eigenvalues of F sum to zero (one single eigenvalue zero is allowed: U is
    singular then). D may be singular as long as D + Q is regular. Where F is stable this U is
    T Σ⁻¹; elsewhere exp(−Φ/T) is no density, but F = (D + Q)U holds as it stands. Time O(d³).

    Raises LinearTheoryError: two eigenvalues of F sum to zero (a centre, a symmetric saddle), D + Q
    is singular, D is not symmetric positive semi-definite (with the eigenvalue), shapes differ.
    """
    F = _matrix("F", F)
    D = _diffusion(D, F)
    gap = _gap(F)
    product = F @ D
    with warnings.catch_warnings():
        # A single eigenvalue zero makes the equation singular on v vᵀ, v its eigenvector, and SciPy
        # says so. That is a symmetric matrix: the projection on antisymmetric ones removes it.
        warnings.simplefilter("ignore", RuntimeWarning)
        raw = scipy.linalg.solve_continuous_lyapunov(F, product - product.T)
    Q = (raw - raw.T) / 2
    scale = np.linalg.norm(Q)
    if scale <= ROUNDING * np.linalg.norm(D):
        scale = np.linalg.norm(D)
    singular = np.linalg.svd(D + Q, compute_uv=False)
    if singular[-1] <= ROUNDING * singular[0]:
        raise LinearTheoryError(
            f"D + Q is singular (singular values from {singular[-1]:.3g} to {singular[0]:.3g}), so "
            "that U = (D + Q)⁻¹F does not exist: neither noise nor drift reaches some direction; "
            "project F and D on the others"
        )
    solved = np.linalg.solve(D + Q, F)
    U = (solved + solved.T) / 2
    return Decomposition(
        F=F,
        D=D,
        Q=Q,
        U=U,
        residual=_ratio(F - (D + Q) @ U, np.linalg.norm(F)),
        antisymmetry=_ratio(raw + raw.T, scale),
        symmetry=_ratio(solved - solved.T, np.linalg.norm(solved)),
        gap=gap,
        regularity=float(singular[-1] / singular[0]),
    )


def _ratio(difference: np.ndarray, scale: float) -> float:
    norm = float(np.linalg.norm(difference))
    return norm / float(scale) if scale else norm


def _gap(F: np.ndarray) -> float:
    values = np.linalg.eigvals(F)
    if len(values) == 1:
        return np.inf
    sums = np.abs(values[:, None] + values)
    np.fill_diagonal(sums, np.inf)
    i, j = np.unravel_index(np.argmin(sums), sums.shape)
    largest = np.abs(values).max()
    if sums[i, j] <= ROUNDING * len(F) * largest:
        raise LinearTheoryError(
            f"the eigenvalues {values[i]:.6g} and {values[j]:.6g} of F sum to zero, so that no "
            "unique antisymmetric Q exists; take one of them out of F and D"
        )
    return float(sums[i, j] / largest)


def transition(F, D, temperature: float, time: float) -> tuple[np.ndarray, np.ndarray]:
    """(P, C): after `time`, x given x₀ is Gaussian with mean P x₀ and covariance C, both (d, d).

    P = exp(−Ft) and C = 2T ∫₀ᵗ exp(−Fs) D exp(−Fᵀs) ds, exact for any F, stable or not: Van Loan's
    block exponential over a short time, then doubled. The law of the stochastic differential
    equation without a time step. Raises LinearTheoryError: as for D above, or a negative time.
    """
    F = _matrix("F", F)
    D, temperature = _diffusion(D, F), _temperature(temperature)
    time = arguments.number("time", time, LinearTheoryError, zero=True)
    d = len(F)
    doublings = max(0, int(np.ceil(np.log2(max(np.linalg.norm(F, 1) * time, 1)))))
    short = time / 2**doublings
    blocks = np.block([[-F, 2 * temperature * D], [np.zeros_like(F), F.T]]) * short
    exponential = scipy.linalg.expm(blocks)
    P = exponential[:d, :d]
    C = exponential[:d, d:] @ P.T
    for _ in range(doublings):
        C = C + P @ C @ P.T
        P = P @ P
    return P, (C + C.T) / 2
