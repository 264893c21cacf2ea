"""Ensembles of dx = b(x) dt + sqrt(2 T D(x)) dW, and what they are compared by.

Itô, as everywhere in this library, unless the Stratonovich reading is asked for as a control. The
schemes have weak order 1 in the time step; near a wall nothing is reflected: paths live in all of
R^d. For linear drift and constant D `linear_theory.transition` has no time step at all.

>>> import numpy as np
>>> from limitcycles import langevin
>>> start = np.zeros((4000, 1))
>>> paths = langevin.langevin_ensemble(
...     lambda x: -x, 1.0, start, [0, 5], step=0.05, temperature=0.5, seed=0
... )
>>> paths.shape, bool(abs(paths[-1].var() - 0.5) < 0.05)  # the variance is T
((2, 4000, 1), True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.theory.functions import pure

NEGATIVE = 1e-10  # relative; a smaller negative eigenvalue of D(x) is rounding and counts as zero
READINGS = ("ito", "stratonovich")


class LangevinError(LimitcyclesError):
    """An ensemble that cannot be simulated as asked."""


def langevin_ensemble(
    drift: Callable[[np.ndarray], np.ndarray],
    diffusion,
    start,
    times,
    *,
    step: float,
    temperature: float,
    seed: int,
    reading: str = "ito",
    antithetic: bool = False,
    substeps: int = 1,
    block: int = 65536,
) -> np.ndarray:
    """Euler–Maruyama paths at `times`; shape (len(times), paths, d), float64.

    `drift` maps (..., d) to (..., d). `diffusion` is D: a number c for c·1, an array (d,) for a
    diagonal or (d, d) for a tensor; or a function of points (..., d) that gives (...), (..., d) or
    (..., d, d), read in the same way. D may be singular. `start` has shape (paths, d). Each
    interval between times is cut into equal steps of at most `step`.

    "ito":           x ← x + b(x) h + B(x) ΔW,  B = sqrt(2 T D), the symmetric root
    "stratonovich":  x ← x + b(x) h + ½ [B(x) + B(x + B(x) ΔW)] ΔW, another equation if D varies:
                     in one dimension its Itô drift is b + T D'/2.

    `antithetic`: paths 2i and 2i + 1 see opposite noise (their means are what is independent).
    `substeps`: ΔW is the sum of so many increments: runs with the same seed and the same step
    divided by `substeps` see the same Brownian paths (if the steps divide the intervals), so that
    differences between steps stand out of the noise. Blocks of `block` paths bound the memory,
    about 8·block·(3d² + 6d) bytes; the numbers depend on `seed` and `block`.

    Raises LangevinError: shapes that do not fit, an argument that is not finite or has the wrong
    sign, D not positive semi-definite (eigenvalue, point and time), a path that is no longer finite
    (time).
    """
    start = arguments.points("start", start, LangevinError)
    if start.ndim != 2 or not start.size:
        raise LangevinError(f"start has shape (paths, d), not {start.shape}")
    times = arguments.ascending("times", times, LangevinError)
    if reading not in READINGS:
        raise LangevinError(f"the reading is one of {', '.join(READINGS)}, not {reading!r}")
    step = arguments.number("step", step, LangevinError)
    temperature = arguments.number("temperature", temperature, LangevinError, zero=True)
    substeps = arguments.whole("substeps", substeps, LangevinError)
    block = arguments.whole("block", block, LangevinError)
    seed = arguments.whole("seed", seed, LangevinError, least=0)
    if antithetic and (len(start) % 2 or block % 2):
        raise LangevinError(
            f"antithetic paths come in pairs: {len(start)} paths in blocks of {block} do not"
        )
    drift = pure(drift, "drift")
    root = _Root(diffusion, temperature, start.shape[1])
    lengths, counts = arguments.steps_to(times, step, LangevinError)
    result = np.empty((len(times), *start.shape))
    starts = range(0, len(start), block)
    streams = np.random.default_rng(seed).spawn(len(starts))
    with track(total=int(counts.sum()) * len(starts), unit="step", what="Langevin") as bar:
        for first, rng in zip(starts, streams, strict=True):
            x = start[first : first + block].copy()
            _moved(drift, x)  # where there are no steps, too
            now = 0.0
            for row, (h, count) in enumerate(zip(lengths, counts, strict=True)):
                for _ in range(count):
                    noise = _increments(rng, x.shape, h, substeps, antithetic)
                    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                        kick = root.apply(x, noise, now)
                        if reading == "stratonovich" and root.varies:
                            kick = (kick + root.apply(x + kick, noise, now)) / 2
                        x += _moved(drift, x) * h + kick
                    now += h
                    if not np.isfinite(x).all():
                        raise LangevinError(
                            f"a path is no longer finite at time {now:g}: drift or D grow too fast "
                            f"for steps of {h:g}; take shorter ones"
                        )
                    bar.update()
                result[row, first : first + block] = x
    return result


def _moved(drift, x: np.ndarray) -> np.ndarray:
    """The drift at x (paths, d), of that shape."""
    found = drift(x)
    if found.shape != x.shape:
        raise LangevinError(f"the drift has shape {found.shape} at points of shape {x.shape}")
    return found


def _increments(rng, shape, h, substeps, antithetic) -> np.ndarray:
    """Brownian increments over a step of length h: sums of those over its parts."""
    half = (shape[0] // 2 if antithetic else shape[0], shape[1])
    noise = rng.standard_normal(half)
    for _ in range(substeps - 1):
        noise += rng.standard_normal(half)
    noise *= np.sqrt(h / substeps)
    if not antithetic:
        return noise
    return np.stack([noise, -noise], axis=1).reshape(shape)


class _Root:
    """B = sqrt(2 T D(x)), applied to noise."""

    def __init__(self, diffusion, temperature: float, dimension: int):
        self.temperature = temperature
        self.dimension = dimension
        self.varies = callable(diffusion)
        if self.varies:
            self.diffusion = pure(diffusion, "diffusion")
            return
        D = arguments.points("D", diffusion, LangevinError)
        if D.shape not in ((), (dimension,), (dimension, dimension)):
            raise LangevinError(
                f"D of shape {D.shape} does not fit paths in {dimension} dimensions"
            )
        self.constant = self._root(D[None], np.zeros((1, dimension)), 0.0)[0]

    def apply(self, x: np.ndarray, noise: np.ndarray, time: float) -> np.ndarray:
        if self.varies:
            D = self.diffusion(x)
            if D.shape not in (x.shape[:1], x.shape, (*x.shape, self.dimension)):
                raise LangevinError(f"D(x) has shape {D.shape} at points of shape {x.shape}")
            B = self._root(D, x, time)
            if B.ndim == 1:
                return B[:, None] * noise
            return B * noise if B.ndim == 2 else np.einsum("nij,nj->ni", B, noise)
        return self.constant * noise if self.constant.ndim < 2 else noise @ self.constant.T

    def _root(self, D: np.ndarray, x: np.ndarray, time: float) -> np.ndarray:
        """The root of one number, diagonal or tensor for each point, D of shape (n, ...)."""
        if D.ndim < 3:
            self._check(D.reshape(len(D), -1).min(1), D.reshape(len(D), -1).max(1), x, time)
            return np.sqrt(2 * self.temperature * np.maximum(D, 0))
        if np.abs(D - D.swapaxes(1, 2)).max() > 1e-9 * np.abs(D).max():
            raise LangevinError("D(x) is not symmetric: an entry differs from its mirror")
        if self.dimension == 2:
            return np.sqrt(2 * self.temperature) * self._root_of_two(D, x, time)
        values, vectors = np.linalg.eigh(D)
        self._check(values[:, 0], values[:, -1], x, time)
        values = np.sqrt(2 * self.temperature * np.maximum(values, 0))
        return (vectors * values[:, None, :]) @ vectors.swapaxes(1, 2)

    def _root_of_two(self, D: np.ndarray, x: np.ndarray, time: float) -> np.ndarray:
        # sqrt(D) = (D + s·1)/sqrt(tr D + 2s), s = sqrt(det D), from the theorem of Cayley and
        # Hamilton: ten times as fast as eigenvectors.
        trace = D[:, 0, 0] + D[:, 1, 1]
        determinant = D[:, 0, 0] * D[:, 1, 1] - D[:, 0, 1] * D[:, 1, 0]
        gap = np.hypot(D[:, 0, 0] - D[:, 1, 1], 2 * D[:, 0, 1])
        self._check((trace - gap) / 2, (trace + gap) / 2, x, time)
        s = np.sqrt(np.maximum(determinant, 0))
        norm = np.sqrt(np.maximum(trace + 2 * s, 0))
        norm[norm == 0] = 1  # D = 0
        B = D / norm[:, None, None]
        B[:, 0, 0] += s / norm
        B[:, 1, 1] += s / norm
        return B

    def _check(self, lowest, highest, x, time) -> None:
        bad = lowest < -NEGATIVE * np.maximum(np.abs(highest), np.abs(lowest))
        if bad.any():
            worst = int(np.argmax(bad))
            where = f" at x = {x[worst].tolist()}, time {time:g}" if self.varies else ""
            raise LangevinError(
                f"D is not positive semi-definite: it has the eigenvalue {lowest[worst]:.6g}{where}"
            )


# ---------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class WeakError:
    """E φ(x) over an ensemble minus its reference, and the standard error of that mean."""

    error: float
    standard_error: float

    def resolved(self, factor: float = 5.0) -> bool:
        """Whether the error stands out of its own noise, `factor` standard errors."""
        return abs(self.error) > factor * self.standard_error


def weak_error(
    points,
    test_functions: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    reference: Mapping[str, float],
    *,
    antithetic: bool = False,
    control=None,
) -> dict[str, WeakError]:
    """For each test function φ, mean φ over the points (paths, d) minus its reference value.

    `control`, points of the same shape that saw the same noise with a shorter step, replaces
    the reference value: the error is then the mean of φ(points) − φ(control), and for a scheme of
    order p and a step n times shorter it is 1 − n^−p of the whole. `antithetic`: as the ensemble
    was made. Raises LangevinError: a test function without a reference, or shapes that differ.
    """
    points = arguments.points("points", points, LangevinError)
    if control is not None:
        control = arguments.points("control", control, LangevinError)
        if control.shape != points.shape:
            raise LangevinError(
                f"the control has shape {control.shape}, the points {points.shape}: they must agree"
            )
    result = {}
    for name, function in test_functions.items():
        function = pure(function, f"test function {name!r}")
        values = function(points)
        if values.shape != points.shape[:1]:
            raise LangevinError(
                f"test function {name!r} gave shape {values.shape}, not {points.shape[:1]}"
            )
        if control is not None:
            values = values - function(control)
        elif name in reference:
            values = values - reference[name]
        else:
            raise LangevinError(f"there is no reference value for the test function {name!r}")
        if antithetic:
            values = values.reshape(-1, 2).mean(1)
        spread = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.inf
        result[name] = WeakError(float(values.mean()), float(spread))
    return result


def cell_shares(points, edges) -> np.ndarray:
    """Share of the points (paths, d) in each cell of a grid, shape of the grid; float64.

    `edges` holds one ascending array per dimension. Points outside are in no cell, so that the
    sum may be below 1.
    """
    points = np.asarray(points, dtype=np.float64)
    counts, _ = np.histogramdd(points, bins=[np.asarray(e, dtype=np.float64) for e in edges])
    return counts / len(points)


@dataclass(frozen=True)
class HistogramDistances:
    """L1 distances of histograms to a solution at several times, and the `envelope` of draws.

    Both of shape (times,). `inside` says for each time whether the distance is within it.
    """

    distance: np.ndarray
    envelope: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        return self.distance <= self.envelope


def histogram_distances(
    shares, masses, *, paths: int, seed: int, draws: int = 2000, level: float = 0.95
) -> HistogramDistances:
    """L1 distance Σ_cells |share − mass| at each time, with an envelope shared over the times.

    `shares`, from `cell_shares`, and `masses`, cell masses of the solution, have shape
    (times, ...). Under the claim a histogram of `paths` points is one multinomial draw from the
    masses: `draws` of them give a distance at each time, standardised by its mean and deviation,
    and a share `level` of the draws lies below the envelope at all times together. Times are drawn
    independently; where an ensemble's histograms are correlated over time the envelope errs on the
    wide side. What the ensemble's own time step adds counts as distance: choose it small enough.
    Raises LangevinError: shapes that differ, negative masses, or a sum above 1.
    """
    shares = arguments.points("shares", shares, LangevinError)
    masses = arguments.points("masses", masses, LangevinError)
    if shares.shape != masses.shape or shares.ndim < 2:
        raise LangevinError(
            f"shares and masses have one shape (times, ...), not {shares.shape} and {masses.shape}"
        )
    shares, masses = (v.reshape(len(v), -1) for v in (shares, masses))
    sums = masses.sum(1)
    if (masses < 0).any() or (sums > 1 + 1e-9).any():
        raise LangevinError(
            f"masses must not be negative nor sum to more than 1; the lowest is {masses.min():g}, "
            f"the largest sum {sums.max():g}"
        )
    paths = arguments.whole("paths", paths, LangevinError)
    draws = arguments.whole("draws", draws, LangevinError, least=2)
    if not 0 < level < 1:
        raise LangevinError(f"a level lies between 0 and 1, not {level}")
    rng = np.random.default_rng(seed)
    null = np.empty((draws, len(masses)))
    for column, mass in enumerate(masses):
        occupied = mass[mass > 0]
        outside = max(0.0, 1 - float(occupied.sum()))
        law = np.append(occupied, outside)
        law /= law.sum()
        size = max(1, 2**22 // law.size)
        for first in range(0, draws, size):
            part = slice(first, min(first + size, draws))
            drawn = rng.multinomial(paths, law, size=part.stop - first)[:, :-1] / paths
            null[part, column] = np.abs(drawn - occupied).sum(1)
    centre, spread = null.mean(0), null.std(0)
    spread[spread == 0] = 1
    widest = np.quantile(((null - centre) / spread).max(1), level)
    return HistogramDistances(np.abs(shares - masses).sum(1), centre + widest * spread)
