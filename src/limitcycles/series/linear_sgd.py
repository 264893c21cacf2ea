"""SGD on a quadratic loss, exactly: what the linear theory predicts for a network near a snapshot.

Near a critical point the loss is ½ xᵀHx and a mini-batch gradient Hx + ξ with Cov(ξ) = D/b. A step
of torch.optim.SGD (dampening 0) is then a linear map of the state z, z' = Az + Bξ:

    heavy ball:  v' = μv + Hx + ξ,  x' = x − ηv'
    Nesterov:    v' = μv + Hx + ξ,  x' = x − η(Hx + ξ + μv')

with z = (x, v), or z = x where μ = 0. The noise of the weights in a step is (η²/b)D for plain SGD.
Nothing is expanded in η: `linear_theory` is the limit of small η, with the time ηk/(1 − μ) after k
steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import signal, stats

from limitcycles.series import currents
from limitcycles.series.blocks import SeriesError, probability


@dataclass(frozen=True)
class LinearSGD:
    """SGD with learning rate η = `rate`, batches of `batch`, on the loss ½ xᵀHx.

    `hessian` H (d, d), symmetric, in nats per weight² (add weight decay to its diagonal);
    `diffusion` D (d, d), the covariance of the gradient of one example, in nats² per weight².
    """

    hessian: np.ndarray
    diffusion: np.ndarray
    rate: float
    batch: int
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        H, D = (np.asarray(m, dtype=np.float64) for m in (self.hessian, self.diffusion))
        if H.ndim != 2 or H.shape[0] != H.shape[1] or D.shape != H.shape:
            raise SeriesError(f"H and D have one shape (d, d), not {H.shape} and {D.shape}")
        for name, m in (("H", H), ("D", D)):
            if not np.allclose(m, m.T, rtol=1e-9, atol=1e-12 * np.abs(m).max()):
                raise SeriesError(f"{name} is not symmetric; give ({name} + {name}ᵀ)/2")
        if not (self.rate > 0 and self.batch >= 1 and 0 <= self.momentum < 1):
            raise SeriesError(
                "rate > 0, batch ≥ 1 and 0 ≤ momentum < 1, not "
                f"{self.rate}, {self.batch} and {self.momentum}"
            )
        if self.nesterov and not self.momentum:
            raise SeriesError("Nesterov needs momentum")
        object.__setattr__(self, "hessian", (H + H.T) / 2)
        object.__setattr__(self, "diffusion", (D + D.T) / 2)

    @property
    def dimension(self) -> int:
        """d: the number of weights."""
        return len(self.hessian)

    @property
    def transition(self) -> np.ndarray:
        """A of one step: (2d, 2d) on (x, v) with momentum, (d, d) without."""
        H, eta, mu, one = self.hessian, self.rate, self.momentum, np.eye(self.dimension)
        if not mu:
            return one - eta * H
        if self.nesterov:
            return np.block([[one - eta * (1 + mu) * H, -eta * mu**2 * one], [H, mu * one]])
        return np.block([[one - eta * H, -eta * mu * one], [H, mu * one]])

    @property
    def entry(self) -> np.ndarray:
        """B: how the noise ξ of a gradient enters the state; (2d, d) or (d, d)."""
        one = np.eye(self.dimension)
        if not self.momentum:
            return -self.rate * one
        factor = 1 + self.momentum if self.nesterov else 1
        return np.concatenate([-self.rate * factor * one, one])

    @property
    def noise(self) -> np.ndarray:
        """Covariance of the noise of the state in one step, BDBᵀ/b, with independent batches."""
        return self.entry @ self.diffusion @ self.entry.T / self.batch

    def covariance(self) -> np.ndarray:
        """Stationary Σ of the state, Σ = AΣAᵀ + BDBᵀ/b; the weights are its first d rows.

        Raises SeriesError: the steps are not stable (an eigenvalue of A not inside the unit circle:
        flat directions, a saddle, a rate too high); project H and D on the others.
        """
        return _stationary(self.transition, self.noise)

    def epoch(self, steps: int, *, replacement: bool = True) -> Epoch:
        """The same, seen once in `steps` steps: z' = Aⁿz + noise. See `Epoch`.

        `replacement` False: an epoch is a shuffled pass over N = nb examples, n = `steps`, so that
        its n noises sum to zero and Cov(ξ_i, ξ_j) = (n δ_ij − 1)/(n − 1) C with
        C = D/b · (N − b)/(N − 1); epochs are independent of one another. With G_i = A^{n−1−i}B,

            noise = n/(n − 1) [Σ_i G_i C G_iᵀ − (1/n) (Σ_i G_i) C (Σ_i G_i)ᵀ].

        With D the covariance with the divisor N. Raises SeriesError: fewer than one step, or than
        two without replacement.
        """
        if steps < (1 if replacement else 2):
            raise SeriesError(f"an epoch of {steps} steps is too short")
        C = self.diffusion / self.batch
        if not replacement:
            examples = steps * self.batch
            C = C * (examples - self.batch) / (examples - 1)
        A, G = self.transition, self.entry
        noise, total = np.zeros_like(A), np.zeros_like(G)
        for _ in range(steps):
            noise += G @ C @ G.T
            total += G
            G = A @ G
        if not replacement:
            noise = steps / (steps - 1) * (noise - total @ C @ total.T / steps)
        return Epoch(np.linalg.matrix_power(A, steps), (noise + noise.T) / 2, self.dimension, steps)

    def simulate_epochs(
        self, examples, epochs: int, seed: int, *, replacement: bool = True
    ) -> np.ndarray:
        """The state after each of `epochs`, with noise of real mini-batches; (epochs, d or 2d).

        `examples` (N, d) is the noise of the gradient of each example, of sum zero and covariance D
        (divisor N), N a multiple of the batch; an epoch draws N of them with replacement, or
        shuffles them. Starts at x = v = 0: the first epochs, some relaxation times, are not
        stationary. Raises SeriesError: examples that do not fit.
        """
        from limitcycles.series.shuffles import batch_sums  # loads a compiler

        examples = np.ascontiguousarray(examples, dtype=np.float64)
        count = len(examples)
        if examples.shape != (count, self.dimension) or count % self.batch or not count:
            raise SeriesError(
                f"examples of shape {examples.shape} are no (N, {self.dimension}) with N a "
                f"multiple of the batch, {self.batch}"
            )
        rng = np.random.default_rng(seed)
        steps = count // self.batch
        powers = [self.entry]
        for _ in range(steps - 1):
            powers.append(self.transition @ powers[-1])
        gain = np.stack(powers[::-1])
        noise = np.empty((epochs, len(self.transition)))
        for first in range(0, epochs, 4096):
            rows = min(4096, epochs - first)
            if replacement:
                index = rng.integers(count, size=(rows, count))
                sums = examples[index].reshape(rows, steps, self.batch, -1).sum(2)
            else:
                sums = batch_sums(rng, examples, self.batch, rows)
            noise[first : first + rows] = np.einsum("sij,rsj->ri", gain, sums) / self.batch
        return linear_series(np.linalg.matrix_power(self.transition, steps), noise)

    def simulate(self, steps: int, seed: int, *, start=None) -> tuple[np.ndarray, ...]:
        """(x, g, v) of a run with independent normal noise; each of shape (steps, d).

        x before each step, g the gradient it used, v the buffer after it. From a stationary state,
        or from `start` = x with v = 0, as torch starts.
        """
        d = self.dimension
        rng = np.random.default_rng(seed)
        root = _root(self.diffusion / self.batch)
        if start is None:
            state = _root(self.covariance()) @ rng.standard_normal(len(self.transition))
        else:
            state = np.concatenate([np.asarray(start, dtype=np.float64), np.zeros(d)])
        x, v = state[:d].copy(), state[d : 2 * d].copy() if self.momentum else np.zeros(d)
        eta, mu = self.rate, self.momentum
        result = np.empty((3, steps, d))
        noise = rng.standard_normal((steps, d)) @ root.T
        for k in range(steps):
            result[0, k] = x
            g = self.hessian @ x + noise[k]
            v = mu * v + g
            x = x - eta * (g + mu * v if self.nesterov else v)
            result[1, k], result[2, k] = g, v
        return tuple(result)


@dataclass(frozen=True)
class Epoch:
    """A linear process seen at intervals: z' = `transition` z + noise of covariance `noise`."""

    transition: np.ndarray
    noise: np.ndarray
    dimension: int
    steps: int

    def covariance(self) -> np.ndarray:
        """Stationary Σ of the state at the ends of epochs. Raises SeriesError: not stable."""
        return _stationary(self.transition, self.noise)

    def area_rate(self, plane) -> float:
        """Mean area per epoch in a plane (2, d) of weights, of the chords between its ends.

        Not `steps` times that of a step: what is swept within an epoch is not seen. In weight²; see
        `currents.linear_area_rate`.
        """
        return currents.linear_area_rate(self.transition, self.covariance(), self._plane(plane))

    def area_variance(self, plane) -> float:
        """Long-run variance of that area, normal noise: `currents.linear_area_variance`."""
        return currents.linear_area_variance(self.transition, self.covariance(), self._plane(plane))

    def _plane(self, plane) -> np.ndarray:
        plane = np.asarray(plane, dtype=np.float64)
        if plane.shape != (2, self.dimension):
            raise SeriesError(f"a plane has shape (2, {self.dimension}), not {plane.shape}")
        return np.pad(plane, [(0, 0), (0, len(self.transition) - self.dimension)])


@dataclass(frozen=True)
class Slope:
    """Measured rates against predicted ones: `slope` with its interval, and what is left.

    A perfect theory gives 1. `chi_square` is the sum of squared residuals over squared errors,
    with `freedom` degrees of freedom: far above it, no slope describes the planes.
    """

    slope: float
    low: float
    high: float
    chi_square: float
    freedom: int


def prediction_slope(predicted, measured, errors, *, level: float = 0.95) -> Slope:
    """Slope s of measured = s · predicted over planes, least squares with weights 1/error².

    All of shape (plane,), in one unit; the errors of the planes independent. Normal interval
    s ± z (Σ p²/e²)^(−1/2), times sqrt(χ²/freedom) where that is above 1, so that planes which
    disagree widen it. The error of the prediction itself (H, D) is left out: it biases s towards 0.
    Raises SeriesError: shapes that differ, errors not positive, no prediction but 0.
    """
    p, m, e = (np.asarray(a, dtype=np.float64) for a in (predicted, measured, errors))
    if p.ndim != 1 or p.shape != m.shape or p.shape != e.shape or len(p) < 2:
        raise SeriesError(
            f"two planes or more, of one shape, not {p.shape}, {m.shape} and {e.shape}"
        )
    if not (e > 0).all() or not p.any():
        raise SeriesError("errors have to be positive, and a prediction other than 0")
    information = float(((p / e) ** 2).sum())
    slope = float((p * m / e**2).sum()) / information
    chi_square = float((((m - slope * p) / e) ** 2).sum())
    freedom = len(p) - 1
    half = stats.norm.ppf((1 + probability(level)) / 2) / np.sqrt(information)
    half = float(half * max(1.0, np.sqrt(chi_square / freedom)))
    return Slope(slope, slope - half, slope + half, chi_square, freedom)


def linear_series(A, noise, start=None) -> np.ndarray:
    """z_{k+1} = A z_k + noise_k for `noise` (step, d), from z = `start` (0); z_1 … (step, d).

    By the eigenvectors of A, one filter for each. Raises SeriesError: A is too close to a matrix
    that has no basis of eigenvectors (condition above 10⁸).
    """
    A, noise = np.asarray(A, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    values, vectors = np.linalg.eig(A)
    condition = float(np.linalg.cond(vectors))
    if not condition < 1e8:
        raise SeriesError(f"the eigenvectors of A are nearly dependent (condition {condition:.3g})")
    inverse = np.linalg.inv(vectors)
    modes = noise @ inverse.T
    begin = values * (inverse @ np.asarray(np.zeros(len(A)) if start is None else start))
    for mode, value in enumerate(values):
        modes[:, mode] = signal.lfilter([1.0], [1.0, -value], modes[:, mode], zi=[begin[mode]])[0]
    return (modes @ vectors.T).real


def _stationary(A: np.ndarray, noise: np.ndarray) -> np.ndarray:
    radius = float(np.abs(np.linalg.eigvals(A)).max())
    if radius >= 1:
        raise SeriesError(
            f"there is no stationary covariance: the steps multiply a deviation by {radius:.9g}; "
            "leave flat directions and saddles out, or lower the rate"
        )
    sigma = scipy.linalg.solve_discrete_lyapunov(A, noise)
    return (sigma + sigma.T) / 2


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))
