"""Rank correlation over networks, one value a seed: τ-b, its bootstrap and its permutations."""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau

from limitcycles.statistics.intervals import REAL, Scale, estimate

RESAMPLES = 2000  # of the bootstrap over networks


def taus(scores: np.ndarray, errors: np.ndarray) -> list[float]:
    """Kendall's τ-b over networks, one a seed; both arrays (network, seed).

    Where all scores or all errors are equal nothing is ranked: τ is taken as 0.
    """
    return [
        0.0 if 0 in (np.ptp(s), np.ptp(e)) else float(kendalltau(s, e).statistic)
        for s, e in zip(scores.T, errors.T, strict=True)
    ]


def weighted_taus(scores: np.ndarray, errors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """τ-b where network i stands there `counts[r, i]` times; scores and errors of one seed.

    Parameters
    ----------
    scores, errors
        Shape (networks,).
    counts
        Shape (resamples, networks), how often each network is drawn.

    Returns
    -------
    Shape (resamples,). With s and e the signs of the differences of each pair, this is
    Σ s e / √(Σ s² Σ e²) over all pairs. Copies of a network are tied with each other in both, and
    τ-b leaves such pairs out: only pairs of different networks count. 0 where nothing is ranked.
    """
    s, e = (np.sign(np.subtract.outer(values, values)) for values in (scores, errors))

    def over_pairs(product):
        return np.einsum("ri,ij,rj->r", counts, product, counts, optimize=True)

    norm = np.sqrt(over_pairs(s * s) * over_pairs(e * e))
    return np.divide(over_pairs(s * e), norm, out=np.zeros(len(norm)), where=norm > 0)


def bootstrap(scores: np.ndarray, errors: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of the mean τ over seeds; networks are drawn again, with replacement.

    Both arrays (network, seed). A network is drawn with all its seeds. A draw of one network only
    ranks nothing and is left out. Seeded: the same numbers give the same interval.
    """
    networks = len(scores)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(networks, np.full(networks, 1 / networks), size=RESAMPLES)
    drawn = drawn[(drawn > 0).sum(axis=1) > 1].astype(float)
    means = np.mean(
        [weighted_taus(s, e, drawn) for s, e in zip(scores.T, errors.T, strict=True)], axis=0
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def passes(values: list[float], parameters: dict, scale: Scale = REAL) -> int:
    """Sign of τ where its interval excludes 0 and |mean| is large enough, else 0.

    The rule has the interval on the linear scale.
    """
    mean, interval, _ = estimate(values, scale, parameters["level"])
    low, high = interval or (mean, mean)
    excluded = low > 0 or high < 0
    return int(np.sign(mean)) if excluded and abs(mean) >= parameters["tau"] else 0


def permuted_share(scores: np.ndarray, errors: np.ndarray, parameters: dict) -> float:
    """Share of `permutations` of the scores among the networks that pass; arrays (network, seed).

    Each seed has its own permutation: networks and scores have nothing to do with each other.
    """
    generator = np.random.default_rng(0)
    hits = sum(
        bool(passes(taus(generator.permuted(scores, axis=0), errors), parameters))
        for _ in range(parameters["permutations"])
    )
    return hits / parameters["permutations"]
