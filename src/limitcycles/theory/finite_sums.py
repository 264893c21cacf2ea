"""SGD on a finite sum f = (1/N) Σ_k f_k: ensembles, and exact moments where the f_k are quadratic.

SGD is x ← x − (η/b) Σ_{k∈B} ∇f_k(x) with a mini-batch B of b examples; T = η/(2b).

With z = (1, x) a quadratic f_k has dynamics linear in z, and E[z⊗…⊗z] (p factors: all moments up to
order p) of SGD and of its stochastic differential equation (3) follow linear equations. They give
weak errors without sampling noise.

With η/b = 2T held fixed, one unit of time sees 1/(2T) examples whatever η is, each with a kick
−2T∇f_k: the third and higher cumulants of these kicks do not vanish with η. `limit_moments` are
what the moments of SGD with replacement extrapolate to. Those of orders one and two obey the
equations of (3); from order three on they differ from (3) by terms of order T². (η cannot reach 0
in this way at all: b = 1 is the end.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import scipy.linalg

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.theory.batch_noise import check_batch, draw_batches
from limitcycles.theory.functions import pure
from limitcycles.theory.linear_theory import transition

SHUFFLED = "shuffled-epochs"
LARGEST_OPERATOR = 4096  # rows; 128 MiB


class FiniteSumError(LimitcyclesError):
    """A finite sum, or SGD on it, that is not possible as asked."""


def sgd_ensemble(
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start,
    snapshots,
    *,
    samples: int,
    rate: float,
    batch: int,
    sampling: str,
    seed: int,
    block: int = 16384,
) -> np.ndarray:
    """Paths of SGD with independent mini-batches; x after each number of steps in `snapshots`.

    `gradient(x, k)` is ∇f_k(x) for x of shape (..., d) and example numbers k of shape (...), which
    broadcast; it gives (..., d). `start` has shape (paths, d); the result (len(snapshots), paths,
    d), float64. `sampling`: "with-replacement" (App. A.1), "without-replacement" (App. A.2: b
    different examples, drawn anew each step), or "shuffled-epochs" (a permutation of the N
    examples cut into batches, b divides N), whose steps within an epoch are not independent.

    Blocks of `block` paths bound the memory, 8·block·(b·d + N) bytes; the numbers depend on `seed`
    and `block`. Raises FiniteSumError: an argument that is not possible, a path that is no longer
    finite (with the step).
    """
    start = arguments.points("start", start, FiniteSumError)
    if start.ndim != 2:
        raise FiniteSumError(f"start has shape (paths, d), not {start.shape}")
    snapshots = arguments.ascending("snapshots", snapshots, FiniteSumError)
    snapshots = [arguments.whole("snapshots", n, FiniteSumError, least=0) for n in snapshots]
    samples = arguments.whole("samples", samples, FiniteSumError)
    rate = arguments.number("rate", rate, FiniteSumError, sign=True)
    block = arguments.whole("block", block, FiniteSumError)
    seed = arguments.whole("seed", seed, FiniteSumError, least=0)
    if sampling != SHUFFLED:
        check_batch(samples, batch, sampling)
    elif samples % arguments.whole("batch", batch, FiniteSumError):
        raise FiniteSumError(f"epochs of {samples} examples cannot be cut into batches of {batch}")
    gradient = pure(gradient, "gradient")
    result = np.empty((len(snapshots), *start.shape))
    starts = range(0, len(start), block)
    streams = np.random.default_rng(seed).spawn(len(starts))
    total = snapshots[-1] * len(starts)
    with track(total=total, unit="step", what="SGD ensemble") as bar:
        for first, rng in zip(starts, streams, strict=True):
            x = start[first : first + block].copy()
            batches = _batches(samples, batch, len(x), sampling, rng)
            done = 0
            for row, steps in enumerate(snapshots):
                for step in range(done, steps):
                    with np.errstate(over="ignore", invalid="ignore"):
                        each = gradient(x[:, None, :], next(batches))
                        if np.shape(each) != (len(x), batch, x.shape[1]):
                            raise FiniteSumError(
                                f"gradient(x, k) gave shape {np.shape(each)} for x of shape "
                                f"{(len(x), 1, x.shape[1])} and k of shape {(len(x), batch)}; "
                                f"it must broadcast them to {(len(x), batch, x.shape[1])}"
                            )
                        x -= rate * each.mean(1)
                    if not np.isfinite(x).all():
                        raise FiniteSumError(
                            f"a path of SGD is no longer finite after step {step + 1}: "
                            f"lower the learning rate {rate:g}"
                        )
                    bar.update()
                done = steps
                result[row, first : first + block] = x
    return result


def _batches(samples, batch, paths, sampling, rng) -> Iterator[np.ndarray]:
    while sampling != SHUFFLED:
        yield draw_batches(samples, batch, paths, sampling, rng)
    while True:
        order = rng.permuted(np.tile(np.arange(samples), (paths, 1)), axis=1)
        yield from np.split(order, samples // batch, axis=1)


@dataclass(frozen=True)
class QuadraticSum:
    """∇f_k(x) = A_k x − h_k: `hessians` of shape (N, d, d), symmetric, `offsets` (N, d); float64.

    Where every A_k is the same, D is constant and (3) is an Ornstein–Uhlenbeck process; otherwise
    D(x) is quadratic in x.
    """

    hessians: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        for name in ("hessians", "offsets"):
            arguments.check_filled(name, getattr(self, name), FiniteSumError)
        A, h = (np.asarray(v, dtype=np.float64) for v in (self.hessians, self.offsets))
        if A.ndim != 3 or h.ndim != 2 or A.shape != (*h.shape, h.shape[1]) or len(h) < 2:
            raise FiniteSumError(
                f"hessians (N, d, d) and offsets (N, d), N ≥ 2, cannot be {A.shape} and {h.shape}"
            )
        if not (np.isfinite(A).all() and np.isfinite(h).all()):
            raise FiniteSumError("a hessian or an offset is NaN or infinite")
        if not np.allclose(A, A.swapaxes(1, 2), rtol=1e-12, atol=0):
            raise FiniteSumError("hessians must be symmetric")
        object.__setattr__(self, "hessians", A)
        object.__setattr__(self, "offsets", h)

    @property
    def samples(self) -> int:
        return len(self.offsets)

    @property
    def dimension(self) -> int:
        return self.offsets.shape[1]

    def gradient(self, x, k) -> np.ndarray:
        """∇f_k(x) for x (..., d) and k (...), which broadcast; shape (..., d)."""
        return np.einsum("...ij,...j->...i", self.hessians[k], x) - self.offsets[k]

    def drift(self, x) -> np.ndarray:
        """−∇f(x), shape (..., d)."""
        return self.offsets.mean(0) - np.asarray(x) @ self.hessians.mean(0)

    def diffusion(self, x) -> np.ndarray:
        """D(x) of Eq. 2, shape (..., d, d)."""
        x = np.asarray(x)
        each = self.gradient(x[..., None, :], np.arange(self.samples))
        centred = each - each.mean(-2, keepdims=True)
        return np.einsum("...ki,...kj->...ij", centred, centred) / self.samples

    def generators(self) -> np.ndarray:
        """G_k with ∇f_k(x) in the lower rows of G_k z, z = (1, x); shape (N, 1 + d, 1 + d)."""
        G = np.zeros((self.samples, 1 + self.dimension, 1 + self.dimension))
        G[:, 1:, 0] = -self.offsets
        G[:, 1:, 1:] = self.hessians
        return G


def point_moments(x, order: int) -> np.ndarray:
    """z⊗…⊗z with z = (1, x), averaged over the leading axes of x (..., d).

    Shape (1 + d,)·order: entry [i, j, …] is the mean of z_i z_j …, so that [0, …, 0] is 1,
    [0, …, 0, 1] the mean of x_1, and [1, …, 1] the raw moment of x_1 of that order. The start of
    every `*_moments` function, and what ensembles are compared by.
    """
    x = np.atleast_2d(arguments.points("x", x, FiniteSumError))
    x = x.reshape(-1, x.shape[-1])
    z = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    letters = "abcdefghijkl"[:order]
    terms = ",".join(f"z{letter}" for letter in letters)
    return np.einsum(f"{terms}->{letters}", *[z] * order, optimize=True) / len(x)


def sgd_moments(
    problem: QuadraticSum, start, steps: int, *, rate: float, batch: int, sampling: str
) -> np.ndarray:
    """E[z⊗…⊗z] of SGD after `steps` steps, exact; the shape of `start` (see `point_moments`).

    `sampling` is "with-replacement" or "without-replacement" (batches drawn anew each step). The
    epochs of shuffled sampling have no such recursion: use `sgd_ensemble`.
    """
    check_batch(problem.samples, batch, sampling)
    start, order, size = _checked(problem, start)
    steps = arguments.whole("steps", steps, FiniteSumError, least=0)
    rate = arguments.number("rate", rate, FiniteSumError, sign=True)
    G, scale = problem.generators(), -rate / batch
    operator = np.zeros((size, size))
    for slots in _subsets(range(order)):
        for partition in _partitions(slots):
            ways = _ways(partition, problem.samples, batch, sampling)
            if ways:
                blocks = {block: _power_mean(G, len(block)) for block in partition}
                operator += scale ** len(slots) * ways * _kronecker(blocks, order, G.shape[1])
    return _apply(np.linalg.matrix_power(operator, steps), start)


def sde_moments(problem: QuadraticSum, start, time: float, *, temperature: float) -> np.ndarray:
    """E[z⊗…⊗z] of dx = −∇f dt + sqrt(2 T D(x)) dW (3), Itô, after `time`; exact.

    By Itô's formula d/dt E[z⊗…⊗z] = M E[z⊗…⊗z], where M is the sum of −Ḡ on each factor and of
    2T(E[G_k⊗G_k] − Ḡ⊗Ḡ), which is 2T D(x), on each pair of factors.
    """
    start, order, size = _checked(problem, start)
    time = arguments.number("time", time, FiniteSumError, zero=True)
    temperature = arguments.number("temperature", temperature, FiniteSumError, zero=True)
    G = problem.generators()
    mean, pair = _power_mean(G, 1), _pair(G)
    generator = np.zeros((size, size))
    for slot in range(order):
        generator -= _kronecker({(slot,): mean}, order, G.shape[1])
    for slots in itertools.combinations(range(order), 2):
        generator += 2 * temperature * _kronecker({slots: pair}, order, G.shape[1])
    return _apply(scipy.linalg.expm(time * generator), start)


def limit_moments(problem: QuadraticSum, start, time: float, *, temperature: float) -> np.ndarray:
    """E[z⊗…⊗z] to which SGD with replacement extrapolates as η → 0 with η/b = 2T fixed.

    A step's operator is a polynomial in b; continued to real b = η/(2T), (operator − 1)/η tends to
    (1/2T) Σ (−2T)^|A| κ_A over all sets A of factors, κ_A the joint cumulant over k of G_k on them.
    Without the sets of three and more it is the operator of `sde_moments`.
    """
    start, order, size = _checked(problem, start)
    time = arguments.number("time", time, FiniteSumError, zero=True)
    temperature = arguments.number("temperature", temperature, FiniteSumError)
    G = problem.generators()
    generator = np.zeros((size, size))
    for slots in _subsets(range(order)):
        for partition in _partitions(slots):
            blocks = {block: _power_mean(G, len(block)) for block in partition}
            if blocks:
                sign = (-1) ** (len(blocks) - 1) * math.factorial(len(blocks) - 1)
                weight = sign * (-2 * temperature) ** len(slots) / (2 * temperature)
                generator += weight * _kronecker(blocks, order, G.shape[1])
    return _apply(scipy.linalg.expm(time * generator), start)


def sgd_characteristic(
    problem: QuadraticSum, start, wave, steps: int, *, rate: float, batch: int, sampling: str
) -> complex:
    """E[exp(i ξ·x)] of SGD from the point `start` (d,), ξ = `wave` (d,); exact.

    Real and imaginary part are the means of the smooth test functions cos ξ·x and sin ξ·x. Needs
    one Hessian for all examples. Without replacement only for b = 1, where it makes no difference.
    """
    hessian = _common_hessian(problem)
    check_batch(problem.samples, batch, sampling)
    if sampling != "with-replacement" and batch > 1:
        raise FiniteSumError(
            f"the characteristic function for b = {batch} needs draws with replacement"
        )
    propagator = np.eye(problem.dimension) - rate * hessian
    steps = arguments.whole("steps", steps, FiniteSumError, least=0)
    rate = arguments.number("rate", rate, FiniteSumError, sign=True)
    start, wave = _in_space(problem, start=start, wave=wave)
    value = 1 + 0j
    for _ in range(steps):  # the last kick first: it is not propagated
        value *= np.exp(1j * rate / batch * (problem.offsets @ wave)).mean() ** batch
        wave = propagator.T @ wave
    return complex(value * np.exp(1j * wave @ start))


def sde_characteristic(
    problem: QuadraticSum, start, wave, time: float, *, temperature: float
) -> complex:
    """E[exp(i ξ·x)] of (3) from the point `start` (d,); Gaussian. Needs one Hessian for all."""
    hessian = _common_hessian(problem)
    start, wave = _in_space(problem, start=start, wave=wave)
    P, C = transition(hessian, problem.diffusion(start), temperature, time)
    # x follows dx = −(Ax − h̄) dt: propagate (1, x), so that a singular A needs no fixed point.
    lifted = scipy.linalg.expm(-time * problem.generators().mean(0))
    return complex(np.exp(1j * wave @ (lifted[1:, 0] + P @ start) - wave @ C @ wave / 2))


def _in_space(problem: QuadraticSum, **vectors) -> Iterator[np.ndarray]:
    """Vectors (d,). Raises FiniteSumError: another shape, or not finite."""
    for name, value in vectors.items():
        value = arguments.points(name, value, FiniteSumError)
        if value.shape != (problem.dimension,):
            raise FiniteSumError(f"{name} has shape ({problem.dimension},), not {value.shape}")
        yield value


def _common_hessian(problem: QuadraticSum) -> np.ndarray:
    A = problem.hessians
    if not np.allclose(A, A[0], rtol=1e-12, atol=0):
        raise FiniteSumError("the characteristic function is known for equal Hessians only")
    return A[0]


# ---------------------------------------------------------------- operators on z⊗…⊗z


def _checked(problem: QuadraticSum, start) -> tuple[np.ndarray, int, int]:
    start = arguments.points("start", start, FiniteSumError)
    width = 1 + problem.dimension
    if start.ndim < 1 or start.shape != (width,) * start.ndim:
        raise FiniteSumError(
            f"start must have shape ({width}, …, {width}) from `point_moments`, not {start.shape}"
        )
    if start.size > LARGEST_OPERATOR:
        raise FiniteSumError(
            f"moments of order {start.ndim} in {problem.dimension} dimensions need an operator of "
            f"{start.size} rows, more than {LARGEST_OPERATOR}: lower the order"
        )
    return start, start.ndim, start.size


def _apply(operator: np.ndarray, start: np.ndarray) -> np.ndarray:
    return (operator @ start.ravel()).reshape(start.shape)


def _power_mean(matrices: np.ndarray, power: int) -> np.ndarray:
    """Mean over k of M_k⊗…⊗M_k, axes (row, column) of each factor in turn."""
    letters = "abcdefghijklmnopqrstuvwxy"[: 2 * power]
    terms = ",".join("z" + letters[2 * i : 2 * i + 2] for i in range(power))
    return np.einsum(f"{terms}->{letters}", *[matrices] * power, optimize=True) / len(matrices)


def _pair(G: np.ndarray) -> np.ndarray:
    mean = G.mean(0)
    return _power_mean(G, 2) - np.multiply.outer(mean, mean)


def _kronecker(blocks: dict[tuple[int, ...], np.ndarray], order: int, width: int) -> np.ndarray:
    """The operator with each tensor of `blocks` on its slots and the identity on the others."""
    blocks = dict(blocks)
    taken = {slot for block in blocks for slot in block}
    for slot in set(range(order)) - taken:
        blocks[(slot,)] = np.eye(width)
    axes = [slot for block in blocks for slot in block]
    tensor = reduce(np.multiply.outer, blocks.values())
    # Axis 2i is the row and 2i + 1 the column of slot axes[i]: all rows first, slots in order.
    rows = [2 * axes.index(slot) for slot in range(order)]
    return tensor.transpose(rows + [r + 1 for r in rows]).reshape(width**order, width**order)


def _subsets(slots) -> Iterator[tuple[int, ...]]:
    slots = tuple(slots)
    for size in range(len(slots) + 1):
        yield from itertools.combinations(slots, size)


def _partitions(slots: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to split `slots` into blocks: those in a block see the same example."""
    if not slots:
        yield ()
        return
    first, rest = slots[0], slots[1:]
    for others in _subsets(rest):
        left = tuple(slot for slot in rest if slot not in others)
        for partition in _partitions(left):
            yield ((first, *others), *partition)


def _ways(partition, samples: int, batch: int, sampling: str) -> float:
    """Coefficient of Π_blocks E_k[G_k⊗…] in E over batches of the product of Σ_{k∈B} G_k.

    With replacement: b(b − 1)… choices of different draws, independent of each other. Without: the
    draws are of different examples, and inclusion and exclusion write sums over different examples
    as products of full sums, which merges blocks; `partition` is the result of a merger, so that
    all its refinements contribute.
    """
    if sampling == "with-replacement":
        return float(math.perm(batch, len(partition)))
    total = 0.0
    for parts in itertools.product(*(list(_partitions(block)) for block in partition)):
        blocks = sum(len(p) for p in parts)
        if blocks > batch:
            continue
        sign = math.prod((-1) ** (len(p) - 1) * math.factorial(len(p) - 1) for p in parts)
        total += math.perm(batch, blocks) / math.perm(samples, blocks) * sign
    return total * float(samples) ** len(partition)
