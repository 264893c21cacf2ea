"""Covariance of mini-batch gradients at fixed weights (Def. 1, App. A): exact and from draws.

g_k are the N per-sample gradients, the rows of an array of shape (N, d); ḡ their mean;
D = (1/N) Σ_k (g_k − ḡ)(g_k − ḡ)ᵀ and D' = N/(N − 1) D. A mini-batch gradient is the mean of b
of them. What the paper claims for its covariance is `predicted_covariance`; nothing else here uses
these formulas.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.statistics.intervals import EXPECTED, estimate

SAMPLINGS = ("with-replacement", "without-replacement")
MOST_BATCHES = 2_000_000  # about a minute
BLOCK_BYTES = 64 * 2**20


class BatchNoiseError(LimitcyclesError):
    """Mini-batches that cannot be drawn or counted as asked."""


def check_batch(samples: int, batch: int, sampling: str) -> None:
    """Raises BatchNoiseError unless batches of this size can be drawn in this way."""
    if sampling not in SAMPLINGS:
        raise BatchNoiseError(f"the sampling is one of {', '.join(SAMPLINGS)}, not {sampling!r}")
    if batch < 1 or batch != int(batch):
        raise BatchNoiseError(f"a mini-batch holds a whole number of examples ≥ 1, not {batch}")
    if sampling == "without-replacement" and batch > samples:
        raise BatchNoiseError(
            f"{batch} of {samples} examples cannot be drawn without replacement: use b ≤ {samples}"
        )


def _gradients(gradients) -> np.ndarray:
    arguments.check_filled("gradients", gradients, BatchNoiseError)
    gradients = np.asarray(gradients, dtype=np.float64)
    if gradients.ndim != 2 or len(gradients) < 2:
        raise BatchNoiseError(
            f"gradients have shape (N, d) with N ≥ 2, one row per example, not {gradients.shape}"
        )
    if not np.isfinite(gradients).all():
        raise BatchNoiseError("a per-sample gradient is NaN or infinite")
    return gradients


def _centred(gradients: np.ndarray) -> np.ndarray:
    """The rows minus their mean; twice, as the first mean has a rounding of its own."""
    centred = gradients - gradients.mean(0)
    return centred - centred.mean(0)


def predicted_covariance(gradients, batch: int, sampling: str) -> np.ndarray:
    """What the paper claims: D/b (Def. 1), or (1/b)(1 − b/N) D' (A2). Shape (d, d), float64."""
    gradients = _gradients(gradients)
    samples = len(gradients)
    check_batch(samples, batch, sampling)
    centred = _centred(gradients)
    if sampling == "with-replacement":
        return centred.T @ centred / (samples * batch)
    return (1 - batch / samples) / batch * (centred.T @ centred) / (samples - 1)


def batch_covariance_by_enumeration(gradients, batch: int, sampling: str) -> np.ndarray:
    """Covariance of the mini-batch gradient by going through every mini-batch.

    Subsets of b examples, equally likely; or multisets, each with the number of orders in which it
    can be drawn as its weight. Shape (d, d), float64, exact but for rounding, from the definition
    alone. Raises BatchNoiseError: more than 2 million batches.
    """
    gradients = _gradients(gradients)
    samples = len(gradients)
    check_batch(samples, batch, sampling)
    replace = sampling == "with-replacement"
    count = math.comb(samples + batch - 1, batch) if replace else math.comb(samples, batch)
    if count > MOST_BATCHES:
        raise BatchNoiseError(
            f"there are {count} mini-batches of {batch} of {samples} examples, more than "
            f"{MOST_BATCHES}: take fewer examples, or draw (`batch_noise`)"
        )
    choose = itertools.combinations_with_replacement if replace else itertools.combinations
    orders = math.factorial(batch)
    centred = _centred(gradients)  # covariance does not change, rounding shrinks
    weight_sum, mean, square = 0.0, np.zeros(gradients.shape[1]), 0.0
    batches = choose(range(samples), batch)
    while chosen := list(itertools.islice(batches, 4096)):
        means = centred[np.array(chosen)].mean(1)
        weights = np.array([orders / _repeats(c) if replace else 1.0 for c in chosen])
        weight_sum += weights.sum()
        mean = mean + weights @ means
        square = square + (means.T * weights) @ means
    mean = mean / weight_sum
    return square / weight_sum - np.outer(mean, mean)


def _repeats(chosen: tuple[int, ...]) -> int:
    """Π n_k! over how often each example occurs in a sorted tuple."""
    return math.prod(math.factorial(len(list(run))) for _, run in itertools.groupby(chosen))


@dataclass(frozen=True)
class BatchNoise:
    """Drawn mini-batch gradients against a predicted covariance C.

    `ratio` is tr(cov)/tr(C) with its `interval`, on the log scale (None where C = 0: b = N without
    replacement; or one draw), `distance` ‖cov − C‖_F/‖C‖_F and `envelope` the (lower, upper) bounds
    of it in simulated draws whose covariance is C; `p_value` is the two-sided rank of the distance
    among them, at least 2/(replications + 1). `full_batch_ratio` is tr(cov)/tr(D').
    """

    batch: int
    draws: int
    ratio: float | None
    interval: tuple[float, float] | None
    distance: float | None
    envelope: tuple[float, float] | None
    p_value: float | None
    full_batch_ratio: float


def draw_batches(
    samples: int, batch: int, draws: int, sampling: str, rng: np.random.Generator
) -> np.ndarray:
    """Indices of independent mini-batches, shape (draws, b), int64."""
    check_batch(samples, batch, sampling)
    if sampling == "with-replacement":
        return rng.integers(samples, size=(draws, batch))
    if batch == samples:
        return np.tile(np.arange(samples), (draws, 1))
    if batch**2 < samples:  # most draws with replacement have no example twice: redo the others
        drawn = rng.integers(samples, size=(draws, batch))
        while (twice := (np.diff(np.sort(drawn, axis=1), axis=1) == 0).any(1)).any():
            drawn[twice] = rng.integers(samples, size=(int(twice.sum()), batch))
        return drawn
    keys = rng.random((draws, samples))
    return np.argpartition(keys, batch - 1, axis=1)[:, :batch]


def batch_noise(
    gradients,
    batch: int,
    *,
    draws: int,
    claim: str,
    seed: int,
    indices=None,
    sampling: str | None = None,
    replications: int = 100,
    level: float = 0.95,
) -> BatchNoise:
    """Draw mini-batches and compare their covariance with `predicted_covariance` of `claim`.

    cov = (1/M) Σ_m (g_m − ḡ)(g_m − ḡ)ᵀ over M = `draws` mini-batch gradients g_m, whose mean ḡ is
    known; the trace is a mean of M independent values, hence its Student t interval. The batches
    are drawn by `sampling` (by default as `claim` says; another for a negative control), or given
    as `indices`, shape (M, b), for instance from the sampler that a training used.

    The envelope holds the middle `level` of ‖cov − C‖_F/‖C‖_F in `replications` repetitions with
    fresh draws by `claim`. Gaussian draws would not do: for small b the gradients' heavy tails
    widen the distance. It shares the draws' code, so that what it tests is C, or a sampler that
    is given by `indices`; `batch_covariance_by_enumeration` tests C by itself.

    Works in min(N, d) dimensions; time O(replications · M · min(b², N²)). Raises
    BatchNoiseError: sizes that do not fit, an index outside 0 … N − 1, gradients all equal.
    """
    gradients = _gradients(gradients)
    samples = len(gradients)
    check_batch(samples, batch, claim)
    rng, null = np.random.default_rng(seed).spawn(2)
    if indices is not None:
        indices = np.asarray(indices)
        if indices.shape != (draws, batch) or indices.min() < 0 or indices.max() >= samples:
            raise BatchNoiseError(
                f"indices must have shape ({draws}, {batch}) and lie in 0 … {samples - 1}, not "
                f"shape {indices.shape} from {indices.min()} to {indices.max()}"
            )
    centred = _centred(gradients)
    rounding = 4 * np.finfo(np.float64).eps * np.abs(gradients).max(0)
    if (np.abs(centred) <= rounding).all():
        raise BatchNoiseError("all per-sample gradients are equal: there is no noise to compare")
    # All that is returned is a ratio: in this unit no square leaves the range of floats.
    centred /= 2.0 ** np.frexp(np.abs(centred).max())[1]
    spread = float((centred**2).sum())
    if gradients.shape[1] > samples:  # a rotation of the rows: lengths and angles stay
        values, vectors = np.linalg.eigh(centred @ centred.T)
        noise = len(values) * np.finfo(float).eps * values[-1]  # one is 0, and its root must be
        centred = vectors * np.sqrt(np.where(values > noise, values, 0))

    predicted = predicted_covariance(centred, batch, claim)
    drawn = _deviations(centred, batch, draws, sampling or claim, rng, indices)
    covariance, squares = _moments(drawn)
    trace, trace_interval, _ = estimate(squares, EXPECTED, level)
    full_batch_ratio = trace / (spread / (samples - 1))
    if batch == samples and claim == "without-replacement":
        return BatchNoise(batch, draws, None, None, None, None, None, full_batch_ratio)

    def distance(matrix):
        return float(np.linalg.norm(matrix - predicted) / np.linalg.norm(predicted))

    simulated = [
        distance(_simulated_covariance(centred, batch, draws, claim, null))
        for _ in track(range(replications), unit="replication", what=f"envelope for b = {batch}")
    ]
    total = float(np.trace(predicted))
    tail = (1 - level) / 2
    low, high = np.quantile(simulated, [tail, 1 - tail])
    measured = distance(covariance)
    beyond = min(sum(d >= measured for d in simulated), sum(d <= measured for d in simulated))
    return BatchNoise(
        batch=batch,
        draws=draws,
        ratio=trace / total,
        interval=trace_interval and tuple(v / total for v in trace_interval),
        distance=measured,
        envelope=(float(low), float(high)),
        p_value=min(1.0, 2 * (1 + beyond) / (1 + replications)),
        full_batch_ratio=full_batch_ratio,
    )


def _moments(blocks: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Σ_m δ_m δ_mᵀ/M and the |δ_m|² of all rows δ_m."""
    total, squares = 0.0, []
    for deviations in blocks:
        total = total + deviations.T @ deviations
        squares.append((deviations**2).sum(1))
    squares = np.concatenate(squares)
    return total / squares.size, squares


def _deviations(centred, batch, draws, sampling, rng, indices=None) -> Iterator[np.ndarray]:
    """Blocks of mini-batch gradients minus ḡ: how often each example occurs, times its row."""
    for drawn in _drawn(len(centred), batch, draws, sampling, rng, indices):
        yield _occurrences(drawn, len(centred)) @ centred / batch


def _simulated_covariance(centred, batch, draws, sampling, rng) -> np.ndarray:
    """Σ_m δ_m δ_mᵀ/M without the δ_m: how often each pair of examples occurs, once for all rows."""
    samples = len(centred)
    pairs = np.zeros((samples, samples))
    for drawn in _drawn(samples, batch, draws, sampling, rng):
        if batch**2 < samples:  # fewer pairs than entries of a row
            cells = (samples * drawn[:, :, None] + drawn[:, None, :]).ravel()
            pairs += np.bincount(cells, minlength=samples**2).reshape(samples, samples)
        else:
            occurs = _occurrences(drawn, samples).astype(np.float32)  # exact: small whole numbers
            pairs += occurs.T @ occurs
    return centred.T @ pairs @ centred / (draws * batch**2)


def _drawn(samples, batch, draws, sampling, rng, indices=None) -> Iterator[np.ndarray]:
    """Blocks of mini-batches, shape (≤ draws, b): those given, or fresh ones."""
    size = max(1, BLOCK_BYTES // (8 * max(samples, batch)))
    for start in range(0, draws, size):
        if indices is not None:
            yield indices[start : start + size]
        else:
            yield draw_batches(samples, batch, min(size, draws - start), sampling, rng)


def _occurrences(drawn, samples: int) -> np.ndarray:
    """How often each example is in each mini-batch, shape (draws, N), float64."""
    cells = (drawn + samples * np.arange(len(drawn))[:, None]).ravel()
    occurs = np.bincount(cells, minlength=len(drawn) * samples)
    return occurs.reshape(len(drawn), samples).astype(np.float64)
