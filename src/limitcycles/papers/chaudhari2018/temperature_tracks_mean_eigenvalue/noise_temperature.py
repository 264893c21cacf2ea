"""What noise of a known temperature does to weights in a number of steps (Remark 15).

With learning rate η, mini-batches of b drawn with replacement and D the covariance of the gradient
of one example, a step of plain SGD adds noise of covariance (η²/b)D, that is (η/b)D in a unit of
the time ηk of (3); its mean over the weights is (η/b)·mean λ(D), the temperature of Remark 15.
How far that noise carries the weights depends on the loss as well, F being its Hessian:

- Where a weight is at rest around a minimum, FΣ + ΣF = (η/b)D for small η. With D = m·1 and one F
  for all networks, Σ = (ηm/2b)F⁻¹: the temperature decides, as the remark says. With D = F, as near
  the minimum of a likelihood, Σ = η/(2b), whatever mean λ is: η alone decides.
- Where the loss is flat the weights diffuse, and the variance over n steps is η²m(n + 1)/(6b),
  m = mean λ(D): it is the temperature times η·n, so that the temperature decides it by unit of time
  and not by step.

`expected_variance` is the first with D = F and the second in one formula.
"""

from __future__ import annotations

import numpy as np

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError


def matched_rates(mean_eigenvalues, largest: float) -> np.ndarray:
    """Learning rates inverse to mean λ(D), the largest being `largest`; float64.

    Raises LimitcyclesError: a mean eigenvalue that is not positive and finite.
    """
    means = np.asarray(mean_eigenvalues, dtype=np.float64)
    if not (np.isfinite(means) & (means > 0)).all():
        raise LimitcyclesError(
            f"no learning rate is inverse to the mean eigenvalues {means.tolist()}: each must be "
            "positive; train the networks less, or leave the one without noise out of the claim"
        )
    return largest * means.min() / means


def equal_rate(matched) -> float:
    """The learning rate of all networks where η/b alone is equal: the geometric mean."""
    return float(np.exp(np.mean(np.log(matched))))


def expected_variance(
    eigenvalue, weights: int, trace: float, rate: float, batch: int, points: int
) -> float:
    """Mean over the weights of E[variance over `points` steps], if the Hessian is D; weight².

    Along an eigenvector with eigenvalue λ of D (nat² per weight²) plain SGD on the loss ½λx² is
    x' = (1 − ηλ)x + ηξ, Var ξ = λ/b. With n points a stationary one has the variogram
    E(x_i − x_j)² = 2γ(1 − (1 − ηλ)^|i−j|), γ = η/(b(2 − ηλ)), and the unbiased variance is the mean
    of half of it over pairs: γ for nηλ ≫ 1, η²λ(n + 1)/(6b) for nηλ ≪ 1, where no start matters.
    Eigenvalues that were not computed share evenly what `eigenvalue` leaves of `trace`. Infinite
    where ηλ ≥ 2.
    """
    rate = arguments.number("rate", rate, LimitcyclesError)
    points = arguments.whole("points", points, LimitcyclesError, least=2)
    batch = arguments.whole("batch", batch, LimitcyclesError)
    known = np.maximum(arguments.points("eigenvalue", eigenvalue, LimitcyclesError), 0)
    rest = weights - len(known)
    left = max(trace - known.sum(), 0.0) / rest if rest else 0.0
    values, times = np.append(known, left), np.append(np.ones(len(known)), rest)
    e = rate * values
    if e.max() >= 2:
        return float("inf")
    n = points
    slow = n * e < 0.03  # there the closed sum cancels, and two terms of its series do
    small, large = e[slow], np.where(slow, 1.0, e)
    pairs = n * (n - 1) / 2 - (1 - large) / large**2 * (n * large - 1 + (1 - large) ** n)
    pairs[slow] = small * n * (n**2 - 1) / 6 - small**2 * (n + 1) * n * (n - 1) * (n - 2) / 24
    gamma = rate / (batch * (2 - e))
    return float((times * gamma * pairs).sum() / (n * (n - 1) / 2) / weights)


def diffusive_variance(mean_eigenvalue: float, rate: float, batch: int, points: int) -> float:
    """E[variance over `points` steps] of weights on a flat loss: η² mean λ (n + 1)/(6b)."""
    return rate**2 * mean_eigenvalue * (points + 1) / (6 * batch)
