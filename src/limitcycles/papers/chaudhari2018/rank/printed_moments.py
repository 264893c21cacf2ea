"""What "mean ± std of the eigenvalues" in the captions of Figs 1 and 2 can mean at all.

A caption gives the rank r, the mean m and the standard deviation s of the eigenvalues of a d × d
diffusion matrix. With λ_max = L and the threshold of the rank c = L·τ, τ = d·ε(float32)
(Sec. IV-A), r eigenvalues lie above c and at most at L, one of them is L, and d − r lie in [0, c].
Then m and s leave only some L, which differ between three readings of the caption:

all: m and s are over all d eigenvalues, as they are;
clipped: over all d, those below c counted as c (what the authors' plotting code likely did);
above: over the r above c only.

With the sums S₁ = n·m and S₂ = n·(m² + s²), n = d or r, an L is possible if and only if S₂ lies
between the smallest and the largest sum of squares of eigenvalues that keep these bounds and have
the sum S₁. The set of eigenvalues with a given sum is convex, so that every value in between is
attained. The smallest has what is free as equal as the bounds allow; the largest fills one
eigenvalue after the other to its upper bound, first those above c: to raise x by δ adds
(2x + δ)·δ, more for larger x and in one piece. As functions of L both are quadratic between the
points at which an eigenvalue meets its bound, so that the ends of the possible L are roots.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import product

import numpy as np

from limitcycles.statistics.thresholds import paper_threshold

READINGS = ("all", "clipped", "above")
_SLACK = 1e-9  # of S₂, relative: rounding


@dataclass(frozen=True)
class Caption:
    """Rank r (number), mean and std (gradient squared) of d eigenvalues; τ relative to λ_max."""

    weights: int
    rank: int
    mean: float
    std: float
    threshold: float

    @property
    def below(self) -> int:
        """Number of eigenvalues at or below the threshold."""
        return self.weights - self.rank


def of_paper(weights: int, rank_percent: float, mean: float, std: float) -> Caption:
    """A caption of the paper: rank in % of d, to the nearest whole number; τ = d·ε(float32)."""
    rank = max(round(rank_percent / 100 * weights), 1)
    return Caption(weights, rank, mean, std, paper_threshold(weights))


def roundings(weights: int, rank_percent: float, mean: float, std: float) -> list[Caption]:
    """Captions at the ends of what rounds to the printed numbers, and the printed one itself.

    The last digit of each number as it is written here is taken to be the last that was printed.
    """
    ends = [
        (value - half, value, value + half)
        for value in (rank_percent, mean, std)
        for half in (float(Decimal(5).scaleb(Decimal(repr(value)).as_tuple().exponent - 1)),)
    ]
    return list(dict.fromkeys(of_paper(weights, *numbers) for numbers in product(*ends)))


def square_sums(caption: Caption, reading: str, largest) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of squares that λ_max = `largest` leaves; NaN where it leaves none.

    `largest`, an array of any shape, in the unit of the mean; the answer, float64 of that shape, in
    its square. Raises KeyError: no such reading.
    """
    count, fixed, small = _counts(caption, reading)
    top = np.asarray(largest, dtype=float)
    cut, others = caption.threshold * top, caption.rank - 1
    # What is left to share out when each eigenvalue stands at its lower bound.
    free = count * caption.mean - top - (fixed + others) * cut
    room = others * (top - cut) + small * cut
    slack = _SLACK * count * caption.mean
    allowed = (free >= -slack) & (free <= room + slack)
    free = np.clip(free, 0, room)
    base = top**2 + fixed * cut**2

    in_small = np.minimum(free, small * cut)
    level = cut + (free - in_small) / max(others, 1)
    least = base + others * level**2 + in_small**2 / max(small, 1)

    in_large = np.minimum(free, others * (top - cut))
    full, rest = _filled(in_large, top - cut, others)
    most = base + full * top**2 + (others - full) * cut**2 + rest * (2 * cut + rest)
    full, rest = _filled(free - in_large, cut, small)
    most = most + full * cut**2 + rest**2
    return np.where(allowed, least, np.nan), np.where(allowed, most, np.nan)


def _filled(amount: np.ndarray, size: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """How many pieces of `size` the amount fills, and what is over."""
    full = np.clip(np.floor(amount / size), 0, most)
    return full, amount - full * size


def _counts(caption: Caption, reading: str) -> tuple[int, int, int]:
    """Eigenvalues that are averaged over; of them, those counted as c; those free in [0, c]."""
    return {
        "all": (caption.weights, 0, caption.below),
        "clipped": (caption.weights, caption.below, 0),
        "above": (caption.rank, 0, 0),
    }[reading]


def possible(caption: Caption, reading: str, largest) -> np.ndarray:
    """Whether a spectrum with λ_max = `largest` can have the caption, elementwise."""
    count, _, _ = _counts(caption, reading)
    squares = count * (caption.mean**2 + caption.std**2)
    least, most = square_sums(caption, reading, largest)
    return (least <= squares * (1 + _SLACK)) & (squares <= most * (1 + _SLACK))


@lru_cache(maxsize=512)
def largest_eigenvalue(caption: Caption, reading: str) -> tuple[float, float] | None:
    """Smallest and largest λ_max that the caption allows (unit of the mean); None: none at all.

    λ_max in between need not all be possible (`possible` tells). Raises KeyError: no such reading.
    """
    count, fixed, small = _counts(caption, reading)
    squares = count * (caption.mean**2 + caption.std**2)
    total, tau, others = count * caption.mean, caption.threshold, caption.rank - 1
    # Where an eigenvalue of the largest sum meets its bound, and where the level of the smallest
    # sum meets c; the first and the last are the ends of what S₁ allows.
    filled = 1 + (fixed + others) * tau + (1 - tau) * np.arange(others + 1)
    raised = caption.rank + (fixed + np.arange(small + 1)) * tau
    level = 1 + (fixed + others + small) * tau
    joints = np.unique(total / np.concatenate([filled, raised, [level]]))
    left, right = joints[:-1], joints[1:]
    # Quadratic between two joints: three values give the roots. At a joint the two sides agree.
    inner = [left + share * (right - left) for share in (0.25, 0.5, 0.75)]
    roots = [
        left + share * (right - left)
        for sums in zip(*(square_sums(caption, reading, x) for x in inner), strict=True)
        for share in _roots(*(s - squares for s in sums))
    ]
    ends = np.unique(np.concatenate([joints, *(root[np.isfinite(root)] for root in roots)]))
    points = np.concatenate([ends, (ends[:-1] + ends[1:]) / 2])
    points = points[possible(caption, reading, points)]
    return (float(points.min()), float(points.max())) if points.size else None


def _roots(first, middle, last) -> tuple[np.ndarray, np.ndarray]:
    """Roots within (0, 1) of the quadratics with these values at 1/4, 1/2 and 3/4; else NaN."""
    a = 8 * (first - 2 * middle + last)
    b = 2 * (last - first) - a
    c = middle - b / 2 - a / 4
    with np.errstate(divide="ignore", invalid="ignore"):
        q = -(b + np.copysign(np.sqrt(b**2 - 4 * a * c), b)) / 2
        found = q / a, c / q
    return tuple(np.where((root > 0) & (root < 1), root, np.nan) for root in found)


def range_of_paper(
    weights: int, rank_percent: float, mean: float, std: float, reading: str
) -> tuple[float, float] | None:
    """`largest_eigenvalue` over what rounds to the printed numbers; None: none at all.

    Numbers between the ends of a rounding can move the range in its fourth digit.
    """
    found = [
        largest_eigenvalue(caption, reading)
        for caption in roundings(weights, rank_percent, mean, std)
    ]
    found = [ends for ends in found if ends is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def least_share_of_threshold(caption: Caption) -> float | None:
    """How near the threshold the d − r eigenvalues below it lie if "all" is meant, at the least.

    No possible spectrum has a smaller mean of theirs, divided by c; None if none is possible. With
    their sum σ given, the squares are least if they are equal and the r − 1 between c and L too:
    L² + (S₁ − σ − L)²/(r − 1) + σ²/(d − r) ≤ S₂ bounds σ from below, a quadratic for each L.
    """
    ends = largest_eigenvalue(caption, "all")
    if ends is None or not caption.below:
        return None
    total = caption.weights * caption.mean
    squares = caption.weights * (caption.mean**2 + caption.std**2)
    top = np.linspace(*ends, 2001)
    cut, others, small = caption.threshold * top, caption.rank - 1, caption.below
    rest = total - top
    if not others:
        return float(np.min(rest / small / cut))
    # σ²·(1/small + 1/others) − 2σ·rest/others + rest²/others + L² − S₂ ≤ 0
    a, b = 1 / small + 1 / others, rest / others
    root = np.sqrt(np.maximum(b**2 - a * (rest**2 / others + top**2 - squares), 0))
    least = np.maximum((b - root) / a, rest - others * top)
    return float(np.min(np.maximum(least, 0) / small / cut))
