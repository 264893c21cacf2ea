"""Intervals over seeds."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes half a second to import


def t_interval(values, level: float = 0.95) -> tuple[float, tuple[float, float] | None]:
    """Mean and two-sided Student t interval of the mean; the interval is None for one value.

    Invalid where seeds are not independent or far from normal; with n seeds it has n − 1 degrees
    of freedom. Raises ValueError: no value, or one that is not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values, not {values.tolist()}")
    mean = float(values.mean())
    if values.size == 1:
        return mean, None
    error = values.std(ddof=1) / np.sqrt(values.size)
    half = float(stdtrit(values.size - 1, (1 + level) / 2) * error)
    return mean, (mean - half, mean + half)


def log_t_interval(values, level: float = 0.95) -> tuple[float, tuple[float, float] | None]:
    """Geometric mean and its t interval on the log scale. Raises ValueError: a value ≤ 0."""
    values = np.asarray(values, dtype=float)
    if (values <= 0).any():
        raise ValueError(f"a geometric mean needs positive values, not {values.tolist()}")
    mean, interval = t_interval(np.log(values), level)
    return float(np.exp(mean)), interval and tuple(float(v) for v in np.exp(interval))
