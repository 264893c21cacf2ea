"""Data whose answer is known, and how often a detector of currents gives it.

Each process gives the coordinates (step, plane, 2) of one plane. All but `driven` have no current.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import stats

from limitcycles.runtime.progress import track
from limitcycles.statistics import currents
from limitcycles.statistics.blocks import SeriesError, probability
from limitcycles.statistics.long_run import BATCHES
from limitcycles.statistics.stationarity import halves
from limitcycles.theory import linear_theory
from limitcycles.theory.linear_sgd import LinearSGD, linear_series

STEPS = 20_000  # of a run, if nothing else is said
Process = Callable[[np.random.Generator, int], np.ndarray]


def white_noise(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Independent normal points; the coordinates are correlated, 0.6."""
    points = rng.standard_normal((steps, 2))
    points[:, 1] = 0.6 * points[:, 0] + 0.8 * points[:, 1]
    return points[:, None]


def random_walk(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Sums of white noise: no current, and no stationary state either.

    The area interval alone finds currents too often in it; the gate has to stop it.
    """
    return np.cumsum(white_noise(rng, steps), axis=0)


def reversible(rng: np.random.Generator, steps: int) -> np.ndarray:
    """A reversible OU process, F = DU with D and U that do not commute.

    Relaxation times of 50 and 7 steps; anisotropic noise, correlated coordinates, no current.
    """
    D, U = np.array([[1.0, 0.5], [0.5, 0.6]]), np.array([[0.06, 0.02], [0.02, 0.15]])
    return _ornstein_uhlenbeck(D @ U, D, rng, steps)[:, None]


def underdamped(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Two positions of a reversible underdamped OU process: damped swings, no current.

    Stiffnesses 0.09 and 0.02 on axes turned by 40°, friction 0.1: periods of 21 and 47 steps,
    damped in 20.
    """
    c, s = np.cos(np.radians(40)), np.sin(np.radians(40))
    axes = np.array([[c, -s], [s, c]])
    zero, one = np.zeros((2, 2)), np.eye(2)
    F = np.block([[zero, -one], [axes @ np.diag([0.09, 0.02]) @ axes.T, 0.1 * one]])
    D = scipy.linalg.block_diag(zero, 0.1 * one)
    return _ornstein_uhlenbeck(F, D, rng, steps)[:, None, :2]


def sgd_without_replacement(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Ends of epochs of SGD on a quadratic whose H and D commute, 64 examples in batches of 8.

    Shuffled anew each epoch; relaxation times of 12.5 and 5 epochs. A step is an epoch.
    """
    examples = rng.standard_normal((64, 2))
    examples = np.linalg.qr(examples - examples.mean(0))[0] * [8.0, 16.0]  # D = diag(1, 4)
    model = LinearSGD(np.diag([0.1, 0.25]), np.diag([1.0, 4.0]), 0.1, 8)
    warm = 200
    states = model.simulate_epochs(
        examples, steps + warm, int(rng.integers(2**63)), replacement=False
    )
    return states[warm:, None]


STRENGTH = 0.12  # radians turned in one relaxation time
RELAXATION = 20.0  # steps


def driven(rng: np.random.Generator, steps: int, *, strength: float = STRENGTH) -> np.ndarray:
    """A rotational OU process, dx = −(1 + sJ)x dt/τ + dW: it turns `strength` s radians in τ steps.

    τ = `RELAXATION`. In n steps the area rate is s/√(1 + s²) · √(n/τ) standard deviations from 0:
    3.8 for the default of s and 20,000 steps.
    """
    F = np.array([[1.0, strength], [-strength, 1.0]]) / RELAXATION
    return _ornstein_uhlenbeck(F, np.eye(2), rng, steps)[:, None]


NULLS: dict[str, Process] = {
    "white noise": white_noise,
    "random walk": random_walk,
    "reversible OU": reversible,
    "reversible underdamped OU": underdamped,
    "SGD without replacement": sgd_without_replacement,
}


def _ornstein_uhlenbeck(F, D, rng, steps) -> np.ndarray:
    """Stationary points of dx = −Fx dt + sqrt(2D) dW at whole times; no time step."""
    A, C = linear_theory.transition(F, D, 1.0, 1.0)
    sigma = linear_theory.stationary_covariance(F, D, 1.0)
    start = np.linalg.cholesky(sigma) @ rng.standard_normal(len(A))
    noise = rng.standard_normal((steps, len(A))) @ np.linalg.cholesky(C).T
    return linear_series(A, noise, start)


# ---------------------------------------------------------------- detectors and their rates


@dataclass(frozen=True)
class Detection:
    """What a detector says of one run: whether it is `stationary`, and whether it has a `current`.

    A current means something only in a run that is stationary.
    """

    stationary: bool
    current: bool


def detect(
    coordinates,
    *,
    level: float = 0.95,
    batches: int = BATCHES,
    surrogates: bool = False,
    shift: float = 0.5,
    ratio: float = 1.5,
) -> Detection:
    """The detector of currents: a gate (`stationarity.halves`) and `currents.area_rates`.

    `coordinates` (step, plane, 2). A current is found if the interval of at least one plane, at
    Šidák's level, excludes 0; with `surrogates`, if the circular area rate of that plane lies
    outside the envelope of surrogates with independent phases as well, ±z deviations at the same
    level (`currents.surrogate_deviation`; a sum over many frequencies, so nearly normal).
    """
    rates = currents.area_rates(coordinates, level=level, batches=batches)
    found = rates.significant
    if surrogates:
        z = stats.norm.ppf((1 + level ** (1 / len(found))) / 2)
        deviation = currents.surrogate_deviation(coordinates)
        found = found & (np.abs(currents.circular_area_rates(coordinates)) > z * deviation)
    flat = np.asarray(coordinates, dtype=np.float64).reshape(len(coordinates), -1)
    gate = halves(flat, shift=shift, ratio=ratio, level=level, batches=batches)
    return Detection(gate.passed, bool(found.any()))


@dataclass(frozen=True)
class Share:
    """`count` of `total`, with the Clopper–Pearson interval of the probability; NaN of nothing."""

    count: int
    total: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """count/total."""
        return self.count / self.total if self.total else float("nan")


def share(count: int, total: int, *, level: float = 0.95) -> Share:
    """The share with its exact binomial interval. Raises SeriesError: a count above the total."""
    if not 0 <= count <= total:
        raise SeriesError(f"{count} of {total} is no share")
    tail = (1 - probability(level)) / 2
    if not total:
        return Share(0, 0, float("nan"), float("nan"))
    low = stats.beta.ppf(tail, count, total - count + 1) if count else 0.0
    high = stats.beta.isf(tail, count + 1, total - count) if count < total else 1.0
    return Share(count, total, float(low), float(high))


@dataclass(frozen=True)
class Rates:
    """Of all runs: the share that is `stationary`, that has a current (`ungated`), that has both
    (`found`); and `gated`, the share with a current of those that are stationary."""

    stationary: Share
    ungated: Share
    found: Share
    gated: Share


def rates(
    process: Process,
    *,
    replications: int,
    seed: int,
    steps: int = STEPS,
    detector: Callable[[np.ndarray], Detection] = detect,
    level: float = 0.95,
    done: Callable[[], object] | None = None,
) -> Rates:
    """How often `detector` finds a current in independent runs of `process`, intervals at `level`.

    Each run draws from a stream of its own of `seed`. For a process without current `gated` is the
    rate of false positives, for one with a current `found` is the power. `done` is called after
    each run; without it there is a progress bar.
    """
    streams = np.random.default_rng(seed).spawn(replications)
    if done is None:
        streams = track(streams, unit="run", what="calibration", delay=10)
    results = []
    for rng in streams:
        results.append(detector(process(rng, steps)))
        if done is not None:
            done()
    stationary = sum(r.stationary for r in results)
    current = sum(r.current for r in results)
    both = sum(r.stationary and r.current for r in results)
    return Rates(
        share(stationary, replications, level=level),
        share(current, replications, level=level),
        share(both, replications, level=level),
        share(both, stationary, level=level),
    )
