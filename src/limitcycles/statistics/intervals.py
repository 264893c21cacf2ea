"""Means and their intervals, each on the scale on which its quantity lives.

A symmetric interval m ± t s/√n reaches below 0 for an error of 5 % or above 1 for a correlation
of 0.9, where the quantity cannot be. Here every quantity has a `Scale`: its range, and a function
g that maps the range to all real numbers,

    g(x) = x,   ln(x − low),   or   ln((x − low)/(high − x)),

by how many of its ends are finite; for a correlation, with the ends ±1, the last is twice Fisher's
z. The Student t interval is taken there and mapped back. For the geometric mean it is that of the
logarithms of the values. For a mean m of a quantity with ends it is the one of the delta method,
g(m) ± t g'(m) s/√n, which is an interval of the same mean, and holds where single values lie at an
end, as an error of 0 % does (Agresti, Categorical Data Analysis, 3rd ed., 2013, Sec. 16.1; the mean
of g over such values would be infinite).

Where all values lie at one end, or one of a geometric mean is 0, the spread over values says
nothing about the interval: there is none, and `Estimate.missing` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, expit, stdtrit  # scipy.stats takes half a second to import

MEAN, GEOMETRIC = "mean", "geometric mean"


@dataclass(frozen=True)
class Scale:
    """Range of a quantity, closed, and which `mean` tells it; `name` is that of g.

    An upper end needs a lower one, and a geometric mean the range of numbers from 0 on. Ends of an
    interval outside `cut` are drawn to it: g does not know of it, and the quantity cannot be there.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    mean: str = MEAN
    cut: tuple[float, float] = (-np.inf, np.inf)

    def forward(self, x):
        """g(x), elementwise; ±∞ at the ends."""
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(divide="ignore"):
            if np.isinf(self.low):
                return x
            if np.isinf(self.high):
                return np.log(x - self.low)
            return np.log(x - self.low) - np.log(self.high - x)

    def back(self, y):
        """The inverse of g, elementwise; never outside the range."""
        y = np.asarray(y, dtype=np.float64)
        if np.isinf(self.low):
            return y
        if np.isinf(self.high):
            with np.errstate(over="ignore"):
                return self.low + np.exp(y)
        return np.clip(self.low + (self.high - self.low) * expit(y), self.low, self.high)

    def slope(self, x):
        """g'(x), elementwise, inside the range."""
        x = np.asarray(x, dtype=np.float64)
        if np.isinf(self.low):
            return np.ones_like(x)
        if np.isinf(self.high):
            return 1 / (x - self.low)
        return (self.high - self.low) / ((x - self.low) * (self.high - x))


REAL = Scale("linear")  # log ratios, slopes, differences, rates with a sign
POSITIVE = Scale("log", 0, mean=GEOMETRIC)  # eigenvalues, ranks, ratios, variances, norms, times
EXPECTED = Scale("log", 0)  # positive too, of which the expectation itself is meant
SHARE_LOG = Scale("log", 0, mean=GEOMETRIC, cut=(0, 100))  # positive percentages far below 100
FROM_ONE = Scale("log", 0, mean=GEOMETRIC, cut=(1, np.inf))  # numbers of at least 1
PERCENT = Scale("logit", 0, 100)  # errors, and shares of weights or runs in percent
CORRELATION = Scale("Fisher z", -1, 1)


def count_of(most: int) -> Scale:
    """Scale of a number of things out of `most`, at least 1."""
    return Scale("logit", 0, most)


class Estimate(NamedTuple):
    """A mean, its interval (low, high) or None, and then `missing`: why there is none."""

    value: float
    interval: tuple[float, float] | None
    missing: str | None


def estimate(values, scale: Scale, level: float = 0.95) -> Estimate:
    """The mean of `values`, of the kind and on the scale of the quantity, with its t interval.

    `values` has shape (n,), in the unit of the quantity; the interval has n − 1 degrees of freedom
    and the probability `level`. See the module for the equations and for values at an end.
    Invalid where values are not independent, or on the scale far from normal.
    Raises ValueError: no value, one that is not finite, or one outside the range.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values, not {values.tolist()}")
    if (values < scale.low).any() or (values > scale.high).any():
        raise ValueError(
            f"values of this quantity lie between {scale.low:g} and {scale.high:g}, not "
            f"{values.tolist()}"
        )
    geometric = scale.mean == GEOMETRIC
    if geometric and not values.all():
        return Estimate(0.0, None, "a value is 0, and has no logarithm")
    numbers = scale.forward(values) if geometric else values
    n, alike = numbers.size, not np.ptp(numbers)
    middle = float(numbers[0] if alike else numbers.mean())
    mapped = geometric and not alike
    value = float(scale.back(middle) if mapped else values[0] if alike else middle)
    if n == 1:
        return Estimate(value, None, "one value")
    if value in (scale.low, scale.high):
        return Estimate(value, None, f"all values are {value:g}, an end of the range")
    if alike:
        return Estimate(value, (value, value), None)
    error = numbers.std(ddof=1) / np.sqrt(n)
    on = REAL if geometric else scale  # numbers of a geometric mean are on it already
    low, high = _ends(middle, error, n - 1, on, level)
    if geometric:
        low, high = np.clip((scale.back(low), scale.back(high)), *scale.cut)
        low, high = min(low, value), max(high, value)
    if not (np.isfinite(low) and np.isfinite(high)):
        return Estimate(value, None, "wider than floating-point numbers reach")
    return Estimate(value, (float(low), float(high)), None)


def mean_interval(mean, error, freedom: int, scale: Scale, level: float = 0.95):
    """Ends of t intervals of means with standard errors `error`, by the delta method; elementwise.

    Two arrays like `mean`, in its unit: both ends are the mean itself where it is an end of the
    range, and its error then 0. Raises ValueError: a mean outside the range.
    """
    mean, error = np.asarray(mean, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if ((mean < scale.low) | (mean > scale.high)).any():
        raise ValueError(f"a mean lies outside the range from {scale.low:g} to {scale.high:g}")
    at_end = (mean == scale.low) | (mean == scale.high)
    inside = np.where(at_end, scale.back(0.0), mean)
    low, high = _ends(inside, error, freedom, scale, level)
    return np.where(at_end, mean, low), np.where(at_end, mean, high)


def exact_binomial(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper–Pearson interval of the probability of a hit, from `hits` in `n` independent trials.

    It holds its level for every probability, and is wider than it need be. NaN where n is 0.
    Raises ValueError: hits below 0 or above n.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is no share")
    if not n:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low = betaincinv(hits, n - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, n - hits, 1 - tail) if hits < n else 1.0
    return float(low), float(high)


def _ends(mean, error, freedom: int, scale: Scale, level: float):
    half = stdtrit(freedom, (1 + level) / 2) * error * scale.slope(mean)
    centre = scale.forward(mean)
    # There and back is rounded: without that the mean lies between the ends.
    low = np.minimum(scale.back(centre - half), mean)
    high = np.maximum(scale.back(centre + half), mean)
    return np.where(half > 0, low, mean), np.where(half > 0, high, mean)
