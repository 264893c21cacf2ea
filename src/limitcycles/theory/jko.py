"""Steps of Jordan, Kinderlehrer and Otto (JKO) for isotropic, constant D = c·1 (Cor. 8).

(FP) is then ∂ρ/∂t = ∇·(ρ∇f + cT∇ρ) = c ∇·(ρ ∇δF/δρ) with Φ = f/c and the free energy of (11),
F(ρ) = E_ρ[Φ] + T ∫ρ log ρ = T KL(ρ‖ρ^ss) + constant. A step of length τ is

    ρ_{n+1} = argmin_ρ  F(ρ) + W₂²(ρ, ρ_n)/(2cτ)
            = argmin_ρ  E_ρ[f] + cT ∫ρ log ρ + W₂²(ρ, ρ_n)/(2τ),

an implicit Euler step in the Wasserstein metric, of order 1 in τ. A Gaussian of standard deviation
σ that diffuses freely (f = 0) gets σ' = (σ + sqrt(σ² + 4cTτ))/2, that is σ'² = σ² + 2cTτ + O(τ²);
for f = kx²/2, σ' solves (σ' − σ)/τ + kσ' = cT/σ' and the mean shrinks by 1/(1 + kτ).

In one dimension the steps are exact for densities that are constant between quantiles. In two they
go through entropic transport (POT) on a grid, with a bias that is stated and removed to first
order. Nothing here knows the equation that they are compared with; for the negative control, pass
twice the temperature. Invalid where D varies or is not isotropic: W₂ is then the wrong metric.

>>> import numpy as np
>>> from limitcycles import jko
>>> edges = np.linspace(-6, 6, 401)
>>> start = jko.Quantiles.from_cells(edges, np.exp(-((edges[1:] - 0.015) ** 2) / 2))
>>> last = jko.jko_flow_1d(
...     start, lambda x: x**2, lambda x: 2 * x, [0, 4], step=0.1, temperature=1.0
... )[-1]
>>> round(last.variance, 2)  # that of exp(−f/T), f = x²
0.5
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.interpolate import PchipInterpolator

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.theory.functions import pure

NEWTON_STEPS = 200
POINTS, WEIGHTS = (v / 2 for v in np.polynomial.legendre.leggauss(3))
POINTS = POINTS + 0.5  # on (0, 1)
MOST_CELLS = 4096  # of a 2-D grid: plan, kernel and cost take 128 MiB each
NARROWEST = 0.7  # cells; a Gaussian kernel of this width on a lattice has its variance to 0.3 %
SINKHORN_STEPS, SINKHORN_TOLERANCE = 20_000, 1e-9
SMALLEST = 1e-200  # a mass below it would underflow in the kernel


class JkoError(LimitcyclesError):
    """A JKO step that has no solution, or none to the accuracy asked for."""


# ---------------------------------------------------------------- one dimension


@dataclass(frozen=True)
class Quantiles:
    """A density on a line that is constant between edges: mass `masses[i]` from x_i to x_{i+1}.

    `edges` (m + 1,) ascend, `masses` (m,) are positive and sum to 1. float64.
    """

    edges: np.ndarray
    masses: np.ndarray

    @classmethod
    def from_cells(cls, edges, masses) -> Quantiles:
        """From the cell masses of a density on a grid; empty cells at both ends are dropped.

        The masses are normalised. Take cells narrow against the density, and reach into the tails
        (mass 1e-12): masses stay with their quantiles, edges move. Raises JkoError: shapes, edges
        that do not ascend, negative masses, or an empty cell between others.
        """
        for name, value in {"edges": edges, "masses": masses}.items():
            arguments.check_filled(name, value, JkoError)
        edges, masses = (np.asarray(v, dtype=np.float64) for v in (edges, masses))
        if edges.ndim != 1 or masses.shape != (len(edges) - 1,) or not masses.size:
            raise JkoError(f"{masses.shape} masses do not fit edges of shape {edges.shape}")
        if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
            raise JkoError("edges must be finite and ascend")
        if not np.isfinite(masses).all() or (masses < 0).any() or masses.sum() <= 0:
            raise JkoError("masses must be finite, not negative, and not all zero")
        used = np.flatnonzero(masses)
        first, last = used[0], used[-1] + 1
        masses = masses[first:last]
        if (masses == 0).any():
            hole = first + int(np.argmin(masses))
            raise JkoError(
                f"the density has a hole between {edges[hole]:g} and {edges[hole + 1]:g}: its "
                "free energy needs a positive density; take wider cells or a later time"
            )
        return cls(edges[first : last + 1].copy(), masses / masses.sum())

    def cell_masses(self, edges) -> np.ndarray:
        """Masses between other edges (n + 1,), shape (n,), from a monotone cubic distribution."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.masses)])
        within = np.clip(np.asarray(edges, dtype=np.float64), self.edges[0], self.edges[-1])
        return np.diff(PchipInterpolator(self.edges, cumulative)(within))

    @property
    def mean(self) -> float:
        return float(self.masses @ (self.edges[1:] + self.edges[:-1])) / 2

    @property
    def variance(self) -> float:
        middle, width = (self.edges[1:] + self.edges[:-1]) / 2 - self.mean, np.diff(self.edges)
        return float(self.masses @ (middle**2 + width**2 / 12))

    def wasserstein(self, other: Quantiles) -> float:
        """W₂ to a density with the same masses, whose quantiles are the edges; exact."""
        if not np.array_equal(self.masses, other.masses):
            raise JkoError("the two densities have different masses: take both from one flow")
        move = other.edges - self.edges
        return float(np.sqrt(self.masses @ _mean_square(move)))


def _mean_square(move: np.ndarray) -> np.ndarray:
    """Mean of the square of a displacement that is linear between edges."""
    return (move[:-1] ** 2 + move[:-1] * move[1:] + move[1:] ** 2) / 3


def free_energy_1d(
    density: Quantiles, loss: Callable, *, temperature: float, diffusivity: float = 1.0
) -> float:
    """F(ρ) = (1/c) E_ρ[f] + T ∫ρ log ρ (11), without the constant −T log Z."""
    temperature = arguments.number("temperature", temperature, JkoError, zero=True)
    diffusivity = arguments.number("diffusivity", diffusivity, JkoError)
    step = _Step(density, loss, None, None, np.inf, diffusivity * temperature)
    return step.value(density.edges) / diffusivity


def jko_step_1d(
    density: Quantiles,
    loss: Callable,
    gradient: Callable,
    *,
    step: float,
    temperature: float,
    diffusivity: float = 1.0,
    curvature: Callable | None = None,
) -> Quantiles:
    """One JKO step, the minimum over all positions of the edges; masses stay (see the module).

    `loss`, `gradient` and `curvature` are f, f' and f'' of points of any shape. The entropy
    and W₂ are exact for these densities, E[f] by Gauss quadrature with three points for each piece.
    Newton steps with a tridiagonal Hessian; without `curvature` f'' is a difference of f', which
    changes the way to the minimum and not the minimum. Unique if τ < 1/max(−f'').

    Raises JkoError: no minimum found, mostly because the step is too long where f is concave.
    """
    step = arguments.number("step", step, JkoError)
    temperature = arguments.number("temperature", temperature, JkoError)
    diffusivity = arguments.number("diffusivity", diffusivity, JkoError)
    problem = _Step(density, loss, gradient, curvature, step, diffusivity * temperature)
    x = density.edges.copy()
    value = problem.value(x)
    for _ in range(NEWTON_STEPS):
        move = problem.newton(x)
        shrink = np.diff(move) / np.diff(x)
        longest = 0.9 / max(-shrink.min(), 0.9)  # keeps the order of the edges
        slope = problem.slope @ move
        if not np.isfinite(slope):
            break
        length = longest
        # Near the minimum a decrease drowns in the rounding of the value, hence the allowance.
        allowance = 1e-13 * (1 + abs(value))
        while length > 1e-12:
            trial = problem.value(x + length * move)
            if trial <= value + 1e-4 * length * slope + allowance:
                break
            length /= 2
        x = x + length * move
        value = trial
        if length == 1 and np.abs(move).max() <= 1e-9 * (x[-1] - x[0]):
            return Quantiles(x, density.masses)
    raise JkoError(
        f"a JKO step of {step:g} found no minimum in {NEWTON_STEPS} Newton steps: it has a unique "
        "one for steps below 1/max(−f''), so take a shorter step"
    )


class _Step:
    """c·(F + W₂²/(2cτ)) as a function of the edges, with its derivatives."""

    def __init__(self, before: Quantiles, loss, gradient, curvature, step, strength):
        self.before, self.masses = before.edges, before.masses
        self.loss = _on_nodes(loss, "loss")
        self.gradient = _on_nodes(gradient, "gradient")
        self.curvature = _on_nodes(curvature, "curvature")
        self.step, self.strength = step, strength
        self.slope = np.zeros_like(self.before)

    def value(self, x: np.ndarray) -> float:
        width = np.diff(x)
        if (width <= 0).any():
            return np.inf
        nodes = x[:-1, None] + width[:, None] * POINTS
        each = self.loss(nodes) @ WEIGHTS + self.strength * np.log(self.masses / width)
        each = each + _mean_square(x - self.before) / (2 * self.step)
        return float(self.masses @ each)

    def newton(self, x: np.ndarray) -> np.ndarray:
        """The step to the minimum of the quadratic model; `slope` is the gradient at x."""
        width, w = np.diff(x), self.masses
        nodes = x[:-1, None] + width[:, None] * POINTS
        first = self.gradient(nodes)
        if self.curvature is not None:
            second = self.curvature(nodes)
        else:
            h = 1e-5 * (1 + np.abs(nodes))
            second = (self.gradient(nodes + h) - self.gradient(nodes - h)) / (2 * h)
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise JkoError(f"the loss has no finite slope between {x[0]:g} and {x[-1]:g}")
        move = x - self.before
        pull = self.strength / width
        left = w * (first @ (WEIGHTS * (1 - POINTS)) + pull)
        right = w * (first @ (WEIGHTS * POINTS) - pull)
        left += w * (2 * move[:-1] + move[1:]) / (6 * self.step)
        right += w * (move[:-1] + 2 * move[1:]) / (6 * self.step)
        stiff = pull / width
        own = stiff + 1 / (3 * self.step)
        banded = np.zeros((2, len(x)))  # upper form: row 0 beside the diagonal, row 1 the diagonal
        banded[1, :-1] = w * (second @ (WEIGHTS * (1 - POINTS) ** 2) + own)
        banded[1, 1:] += w * (second @ (WEIGHTS * POINTS**2) + own)
        cross = second @ (WEIGHTS * POINTS * (1 - POINTS)) - stiff + 1 / (6 * self.step)
        banded[0, 1:] = w * cross
        self.slope = np.zeros_like(x)
        self.slope[:-1] += left
        self.slope[1:] += right
        try:
            return -scipy.linalg.solveh_banded(banded, self.slope)
        except np.linalg.LinAlgError as error:
            raise JkoError(
                f"a JKO step of {self.step:g} is not convex: f has a curvature of "
                f"{second.min():.4g} here, so take steps below {-1 / second.min():.3g}"
            ) from error


def _on_nodes(function: Callable | None, name: str) -> Callable | None:
    """`function`, seen to give one number for each point. Raises JkoError: it does not."""
    if function is None:
        return None
    function = pure(function, name)

    def values(nodes: np.ndarray) -> np.ndarray:
        found = function(nodes)
        if found.shape != nodes.shape:
            raise JkoError(
                f"the {name} has shape {found.shape} at points of shape {nodes.shape}; it must be "
                "the same"
            )
        return found

    return values


def jko_flow_1d(
    start: Quantiles,
    loss: Callable,
    gradient: Callable,
    times,
    *,
    step: float,
    temperature: float,
    diffusivity: float = 1.0,
    curvature: Callable | None = None,
) -> list[Quantiles]:
    """Densities at `times` by JKO steps (`jko_step_1d`); equal ones of at most `step` between."""
    lengths, counts = _steps(times, step)
    density, result = start, []
    with track(total=int(counts.sum()), unit="step", what="JKO") as bar:
        for length, count in zip(lengths, counts, strict=True):
            for _ in range(count):
                density = jko_step_1d(
                    density,
                    loss,
                    gradient,
                    step=length,
                    temperature=temperature,
                    diffusivity=diffusivity,
                    curvature=curvature,
                )
                bar.update()
            result.append(density)
    return result


def _steps(times, step) -> tuple[np.ndarray, np.ndarray]:
    times = arguments.ascending("times", times, JkoError)
    return arguments.steps_to(times, arguments.number("step", step, JkoError), JkoError)


# ---------------------------------------------------------------- two dimensions


def jko_flow_2d(
    start,
    centres,
    loss,
    times,
    *,
    step: float,
    temperature: float,
    diffusivity: float = 1.0,
    entropic: float = 0.5,
) -> np.ndarray:
    """Cell masses at `times` by entropic JKO steps on a grid; shape (len(times), nx, ny), float64.

    `start` are the cell masses (nx, ny), positive sum; `centres` two arrays (nx,), (ny,) with equal
    spacings; `loss` the f at the centres (nx, ny). In each step the plan P with P1 = ρ_n minimises

        ⟨|x − y|², P⟩/(2τ) + ε Σ P log P + θ' KL(Pᵀ1 ‖ exp(−f/θ')),

    which POT solves as semi-relaxed unbalanced transport (Chizat, Peyré, Schmitzer & Vialard 2018;
    entropic JKO steps: Peyré 2015), with ε = `entropic`·cT. Bias: the plan blurs each step by a
    variance τε along each axis, as if cT were larger by ε/2. θ' = cT − ε/2 takes this back, and
    what is left is O(τ²) a step like the error of JKO itself. ε = 0 would be JKO as it is, but the
    blur is also what lets mass move by less than a cell: sqrt(τε) must be at least 0.7 cells.

    The edge of the grid acts as a wall. Time O((nx ny)²) for each of some 10 to 50 Sinkhorn
    iterations a step. Raises JkoError: a grid too coarse for the step or too large, `entropic`
    outside (0, 2), shapes, or no convergence.
    """
    for name, value in {"start": start, "loss": loss}.items():
        arguments.check_filled(name, value, JkoError)
    start, loss = (np.asarray(v, dtype=np.float64) for v in (start, loss))
    axes = [np.asarray(v, dtype=np.float64) for v in centres]
    if len(axes) != 2 or start.shape != tuple(len(a) for a in axes) or loss.shape != start.shape:
        raise JkoError(
            f"masses {start.shape}, losses {loss.shape} and centres "
            f"{[a.shape for a in axes]} are not of one 2-D grid"
        )
    if start.size > MOST_CELLS:
        raise JkoError(
            f"a grid of {start.size} cells needs plans of {8 * start.size**2 / 2**20:.0f} MiB: "
            f"take at most {MOST_CELLS} cells"
        )
    if not np.isfinite(start).all() or (start < 0).any() or start.sum() <= 0:
        raise JkoError("masses must be finite, not negative, and not all zero")
    if not np.isfinite(loss).all():
        raise JkoError("the loss is NaN or infinite at a cell's centre")
    if not 0 < entropic < 2:
        raise JkoError(f"entropic must lie between 0 and 2, not {entropic}")
    temperature = arguments.number("temperature", temperature, JkoError)
    diffusivity = arguments.number("diffusivity", diffusivity, JkoError)
    cell = max(_spacing(axis) for axis in axes)
    strength = diffusivity * temperature
    lengths, counts = _steps(times, step)
    taken = lengths[counts > 0]
    if taken.size and np.sqrt(taken.min() * entropic * strength) < NARROWEST * cell:
        raise JkoError(
            f"cells of {cell:g} are too coarse for steps of {taken.min():g}: the entropic kernel "
            f"has a width of {np.sqrt(taken.min() * entropic * strength):.3g}; use cells below "
            f"{np.sqrt(taken.min() * entropic * strength) / NARROWEST:.3g} or longer steps"
        )
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = ((points[:, None, :] - points[None, :, :]) ** 2).sum(-1)
    density = start.ravel() / start.sum()
    result, warm = [], None
    with track(total=int(counts.sum()), unit="step", what="JKO") as bar:
        for length, count in zip(lengths, counts, strict=True):
            for _ in range(count):
                density, warm = _entropic_step(
                    density, loss.ravel(), distance, length, strength, entropic, warm
                )
                bar.update()
            result.append(density.reshape(start.shape))
    return np.array(result)


def _spacing(axis: np.ndarray) -> float:
    widths = np.diff(axis)
    if (
        axis.ndim != 1
        or widths.size < 1
        or (widths <= 0).any()
        or np.ptp(widths) > 1e-9 * abs(axis[-1] - axis[0])
    ):
        raise JkoError("the centres of the cells must ascend with equal spacings")
    return float(widths[0])


def _entropic_step(density, loss, distance, step, strength, entropic, warm):
    import ot  # loads every array library that it finds: only where it is needed

    reg = entropic * strength
    weight = strength - reg / 2
    # Masses of order 1, as POT's stopping rule takes them to be; the scale drops out of the plan.
    before = np.maximum(density * density.size, SMALLEST)
    target = np.maximum(np.exp(-(loss - loss.min()) / weight), SMALLEST)
    plan, log = ot.unbalanced.sinkhorn_unbalanced(
        before,
        target,
        distance / (2 * step),
        reg,
        (np.inf, weight),
        c=np.ones_like(distance),
        warmstart=warm,
        numItermax=SINKHORN_STEPS,
        stopThr=SINKHORN_TOLERANCE,
        log=True,
    )
    if not log["err"] or log["err"][-1] >= SINKHORN_TOLERANCE or not np.isfinite(plan).all():
        raise JkoError(
            f"the transport of a JKO step of {step:g} did not converge in {len(log['err'])} "
            "iterations: raise `entropic`, or take shorter steps on a finer grid"
        )
    after = plan.sum(0)
    return after / after.sum(), (log["logu"], log["logv"])
