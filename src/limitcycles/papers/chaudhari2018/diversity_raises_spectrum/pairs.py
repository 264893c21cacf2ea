"""The rule of Remark 14: log ratios of pairs of datasets, and what they decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from limitcycles.judging.result import Verdict
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import REAL, estimate

Pair = tuple[str, str]
Logs = Mapping[str, Mapping[int, np.ndarray]]  # ln(mean), ln(std) by arm and seed


def pair_name(pair: Pair) -> str:
    """``mnist < cifar10``: what the paper claims of a pair, in statistics, checks and charts."""
    return " < ".join(pair)


def ratio_name(moment: str, pair: Pair) -> str:
    """Name of the statistic ln(moment of the second arm / moment of the first)."""
    return f"log ratio of the {moment}, {pair_name(pair)}"


def log_ratios(logs: Logs, pair: Pair) -> np.ndarray:
    """ln(second/first), float64 (seed, quantity), over the seeds that both arms have, in order.

    Raises LimitcyclesError: they have none in common.
    """
    low, high = (logs[name] for name in pair)
    seeds = sorted(set(low) & set(high))
    if not seeds:
        raise LimitcyclesError(
            f"the runs of the arms {pair[0]} and {pair[1]} of diversity-raises-spectrum have no "
            "seed in common, by which they are compared; give them the same `seeds`"
        )
    return np.array([high[seed] - low[seed] for seed in seeds])


def sign(values: Sequence[float], parameters: Mapping) -> int:
    """1 if the interval over seeds lies above the rule's `log_ratio`, −1 if below it, else 0.

    One seed has no interval; the value alone is judged then.
    """
    found = estimate(values, REAL, parameters["level"])
    low, high = found.interval or (found.value, found.value)
    return int(low > parameters["log_ratio"]) - int(high < parameters["log_ratio"])


def signs(logs: Logs, pairs: Sequence[Pair], parameters: Mapping) -> np.ndarray:
    """`sign` of each pair and quantity, (pair, quantity)."""
    return np.array([[sign(v, parameters) for v in log_ratios(logs, p).T] for p in pairs])


def first_rule(found: np.ndarray, missing: Sequence[Pair]) -> str:
    """Verdict of the first rule from `signs` of the pairs that could be tested.

    "With a caveat" needs both moments in some pair, or one of the two in every tested pair. With a
    pair `missing` nothing is true of every pair, so neither of the extreme verdicts is given.
    """
    above = found > 0
    if above.all() and not missing:
        return Verdict.REPRODUCED
    if above.all(axis=1).any() or above.all(axis=0).any():
        return Verdict.WITH_CAVEAT
    return Verdict.CONTRADICTED if (found < 0).all() and not missing else Verdict.NOT_REPRODUCED
