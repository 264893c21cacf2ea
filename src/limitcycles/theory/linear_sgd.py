"""SGD on a quadratic loss, exactly: what the linear theory predicts for a network near a snapshot.

Near a critical point the loss is ½ xᵀHx and a mini-batch gradient Hx + ξ with Cov(ξ) = D/b. A step
of torch.optim.SGD (dampening 0) is then a linear map of the state z, z' = Az + Bξ:

    heavy ball:  v' = μv + Hx + ξ,  x' = x − ηv'
    Nesterov:    v' = μv + Hx + ξ,  x' = x − η(Hx + ξ + μv')

with z = (x, v), or z = x where μ = 0. The noise of the weights in a step is (η²/b)D for plain SGD.
Nothing is expanded in η: `linear_theory` is the limit of small η, with the time ηk/(1 − μ) after k
steps.

>>> import numpy as np
>>> from limitcycles import linear_sgd
>>> sgd = linear_sgd.LinearSGD(np.diag([1.0, 0.1]), np.diag([1.0, 0.1]), rate=0.1, batch=10)
>>> sgd.covariance().round(4).tolist()  # about (η/2b) D/H
[[0.0053, 0.0], [0.0, 0.005]]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import signal

from limitcycles.statistics import currents
from limitcycles.statistics.blocks import SeriesError


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

    def epoch(
        self,
        examples: int,
        *,
        replacement: bool = True,
        rest: np.ndarray | None = None,
        last: LinearSGD | None = None,
    ) -> Epoch:
        """The same, seen once in an epoch of N = `examples` drawn ones: z' = A…Az + noise.

        An epoch has n batches of sizes b_i, `sizes(examples)`, the last of which may be smaller.
        With replacement they are independent, Cov(ξ_i, ξ_j) = δ_ij D/b_i. Without, an epoch is a
        shuffled pass over all N examples, D has the divisor N, epochs are independent of one
        another, and (finite populations, twice: within a batch and between batches)

            Cov(ξ_i, ξ_j) = N/(N − 1) (δ_ij/b_i − 1/N) D.

        With A_i the transition of step i, B_i its entry and G_i = A_n … A_{i+1} B_i the noise of an
        epoch has the covariance Σ_ij G_i Cov(ξ_i, ξ_j) G_jᵀ.

        `rest` R (d, d), nats² per weight², adds δ_ij R/b_i: noise that shuffling does not cancel.
        There is none where a batch's gradient is the mean of its examples'; with batch
        normalisation it is not (`diffusion.curvature`). `last` describes the step of a last,
        smaller batch if it has a Hessian and a D of its own, as with batch normalisation too: D for
        its own variance, while its covariance with the others is taken from `self`.

        Raises SeriesError: fewer than one step, or than two without replacement; a `last` where all
        batches have one size, or one of another size or dimension.
        """
        sizes = self.sizes(examples)
        whole = len(sizes) - (sizes[-1:] != [self.batch])
        if len(sizes) < (1 if replacement else 2):
            raise SeriesError(f"an epoch of {examples} examples is too short")
        if last is not None and (
            whole == len(sizes) or (last.batch, last.dimension) != (sizes[-1], self.dimension)
        ):
            raise SeriesError(f"no last batch of {last.batch} among {sizes[:1]} … {sizes[-1:]}")
        D, R = self.diffusion, 0.0 if rest is None else np.asarray(rest, dtype=np.float64)
        factor = 1.0 if replacement else examples / (examples - 1)
        A, after = np.eye(len(self.transition)), np.zeros_like(self.transition)
        total = np.zeros_like(self.entry)
        for i in range(len(sizes) - 1, -1, -1):
            step = last if i == whole and last is not None else self
            G = A @ step.entry
            own = factor * step.diffusion + (R if step is self else 0.0)
            after += G @ (own / sizes[i]) @ G.T
            total += G
            A = A @ step.transition
        if not replacement:
            after -= total @ D @ total.T / (examples - 1)
        return Epoch(A, (after + after.T) / 2, self.dimension, len(sizes))

    def sizes(self, examples: int) -> list[int]:
        """Sizes of the batches of an epoch: a last one of a single example is left out, as in
        `limitcycles.training.samplers`."""
        whole, left = divmod(examples, self.batch)
        return [self.batch] * whole + [left] * (left > 1)

    def simulate_epochs(
        self, examples, epochs: int, seed: int, *, replacement: bool = True
    ) -> np.ndarray:
        """The state after each of `epochs`, with noise of real mini-batches; (epochs, d or 2d).

        `examples` (N, d) is the noise of the gradient of each example, of sum zero and covariance D
        (divisor N); an epoch draws N of them with replacement, or shuffles them, and cuts them into
        batches of `sizes(N)`. Starts at x = v = 0: the first epochs, some relaxation times, are not
        stationary. Raises SeriesError: examples that do not fit.
        """
        from limitcycles.statistics.shuffles import batch_sums

        examples = np.ascontiguousarray(examples, dtype=np.float64)
        count = len(examples)
        if examples.shape != (count, self.dimension) or not self.sizes(count):
            raise SeriesError(
                f"examples of shape {examples.shape} are no (N, {self.dimension}) with N at least "
                f"the batch, {self.batch}"
            )
        rng = np.random.default_rng(seed)
        sizes = self.sizes(count)
        powers = [self.entry]
        for _ in sizes[1:]:
            powers.append(self.transition @ powers[-1])
        gain = np.stack(powers[::-1]) / np.array(sizes)[:, None, None]
        starts = np.arange(0, count, self.batch)
        noise = np.empty((epochs, len(self.transition)))
        rows = max(1, 2**20 // count)
        for first in range(0, epochs, rows):
            block = min(rows, epochs - first)
            if replacement:
                drawn = examples[rng.integers(count, size=(block, count))]
                sums = np.add.reduceat(drawn, starts, axis=1)
            else:
                sums = batch_sums(rng, examples, self.batch, block)
            noise[first : first + block] = np.einsum("sij,rsj->ri", gain, sums[:, : len(sizes)])
        return linear_series(np.linalg.matrix_power(self.transition, len(sizes)), noise)

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
