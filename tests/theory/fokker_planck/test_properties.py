"""Mass, sign, symmetries and units for random fields, and steady states by an exact elimination."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from limitcycles.theory.fokker_planck import Grid, SteadyStateError, evolve, generator, steady_state

pytestmark = [
    pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.GridWarning"),
    pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.EdgeMassWarning"),
]


@st.composite
def problems(draw):
    """(grid, drift, diffusion, temperature): waves in a box, D regular, singular or zero."""
    d = draw(st.integers(1, 2))
    cells = draw(st.lists(st.integers(4, 40 if d == 1 else 9), min_size=d, max_size=d))
    periodic = draw(st.lists(st.booleans(), min_size=d, max_size=d))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    waves, phases = rng.integers(-2, 3, (3, d)), rng.uniform(0, 6, 3)
    size = rng.normal(size=(3, d)) * draw(st.sampled_from([0.1, 1.0, 10.0]))
    root = rng.normal(size=(d, d)) * rng.uniform(size=d) ** draw(st.sampled_from([0, 8]))
    D = root @ root.T * draw(st.sampled_from([1.0, 1.0, 0.0]))

    def drift(x):
        return np.sin(2 * np.pi * x @ waves.T + phases) @ size

    def diffusion(x):
        return D * (1 + 0.5 * np.sin(2 * np.pi * x[:, 0]))[:, None, None]

    grid = Grid([0.0] * d, [1.0] * d, cells, periodic)
    return grid, drift, diffusion, draw(st.sampled_from([1e-3, 0.1, 1.0, 30.0]))


def elimination(matrix):
    """The stationary vector of a dense generator, columns as sources, without any subtraction.

    Grassmann, Taksar & Heyman (1985): each entry has its relative accuracy, whatever the rates.
    """
    rates = matrix.T.copy()  # rates[i, k] from i to k
    n = len(rates)
    for last in range(n - 1, 0, -1):
        rates[:last, last] /= rates[last, :last].sum()
        rates[:last, :last] += np.outer(rates[:last, last], rates[last, :last])
    result = np.ones(n)
    for k in range(1, n):
        result[k] = result[:k] @ rates[:k, k]
    return result / result.sum()


def at(grid, seed):
    """A positive density over the grid."""
    return grid.normalise(np.random.default_rng(seed).uniform(0.1, 1, grid.shape))


@settings(max_examples=120)
@given(problems())
def test_a_markov_chain(problem):
    made = generator(*problem)
    matrix = made.matrix.toarray()
    rates = -np.diag(matrix)
    assert (matrix - np.diag(np.diag(matrix)) >= 0).all()
    assert np.abs(matrix.sum(0)).max() <= 1e-12 * rates.max(initial=1e-300)


@settings(max_examples=120)
@given(problems())
def test_the_steady_state_has_its_mass_and_every_digit(problem):
    made = generator(*problem)
    matrix = made.matrix.toarray()
    try:
        density = steady_state(made)
    except SteadyStateError:
        # True of the chain itself in one dimension: two cells towards which all rates lead.
        lowest = (matrix <= matrix.T).all(0)
        assert made.grid.dimension == 2 or lowest.sum() >= 2 or not np.any(made.diffusion)
        return
    assert (density >= 0).all()
    assert density.sum() * made.grid.volume == pytest.approx(1, abs=1e-12)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = elimination(matrix).reshape(made.grid.shape) / made.grid.volume
    if np.isfinite(expected).all():  # else there are cells that no path leaves
        np.testing.assert_allclose(
            density, expected, rtol=1e-3, atol=1e-12 * density.max()
        )  # what is let through


@settings(max_examples=30)
@given(problems(), st.integers(0, 100))
def test_mass_and_sign_are_kept(problem, seed):
    made = generator(*problem)
    fastest = -made.matrix.diagonal().min() or 1.0
    times = np.array([0, 0.3, 3]) / fastest
    start = at(made.grid, seed)
    found = evolve(made, start, times, tolerance=1e-5)
    assert (found.densities >= 0).all()
    mass = found.densities.reshape(3, -1).sum(1) * made.grid.volume
    np.testing.assert_allclose(mass, 1, rtol=0, atol=1e-12)
    expected = scipy.linalg.expm(times[-1] * made.matrix.toarray()) @ start.ravel()
    off = np.abs(found.densities[-1].ravel() - expected).sum() * made.grid.volume / 2
    assert off <= 1e-5


def regular(problem):
    """The problem with so much noise that no barrier is high."""
    grid, drift, diffusion, temperature = problem
    return grid, drift, lambda x: diffusion(x) + np.eye(grid.dimension), max(temperature, 1.0)


@settings(max_examples=40)
@given(problems(), st.integers(0, 1))
def test_a_mirrored_problem_has_the_mirrored_density(problem, axis):
    grid, drift, diffusion, temperature = regular(problem)
    axis %= grid.dimension
    sign = np.where(np.arange(grid.dimension) == axis, -1.0, 1.0)

    def mirrored(x):
        return np.where(sign < 0, 1 - x, x)

    def other_drift(x):
        return sign * drift(mirrored(x))

    def other_diffusion(x):
        return diffusion(mirrored(x)) * np.outer(sign, sign)

    density = steady_state(generator(grid, drift, diffusion, temperature))
    other = steady_state(generator(grid, other_drift, other_diffusion, temperature))
    np.testing.assert_allclose(np.flip(other, axis), density, rtol=1e-7, atol=1e-12 * density.max())


@settings(max_examples=40)
@given(problems())
def test_the_order_of_the_axes_does_not_count(problem):
    grid, drift, diffusion, temperature = regular(problem)
    turned = Grid(grid.low[::-1], grid.high[::-1], grid.cells[::-1], grid.periodic[::-1])
    density = steady_state(generator(grid, drift, diffusion, temperature))
    other = steady_state(
        generator(
            turned,
            lambda x: drift(x[:, ::-1])[:, ::-1],
            lambda x: diffusion(x[:, ::-1])[:, ::-1, ::-1],
            temperature,
        )
    )
    np.testing.assert_allclose(other.T, density, rtol=1e-7, atol=1e-12 * density.max())


@settings(max_examples=40)
@given(problems(), *[st.sampled_from([1e-9, 0.25, 1.0, 64.0, 1e12])] * 3)
def test_units_of_length_time_and_temperature(problem, length, time, heat):
    grid, drift, diffusion, temperature = regular(problem)
    d = grid.dimension
    low, high = (tuple(length * v for v in side) for side in (grid.low, grid.high))
    made = generator(
        Grid(low, high, grid.cells, grid.periodic),
        lambda x: length / time * drift(x / length),
        lambda x: length**2 / time / heat * diffusion(x / length),
        temperature * heat,
    )
    plain = generator(grid, drift, diffusion, temperature)
    density = steady_state(plain)
    other = length**d * steady_state(made)
    np.testing.assert_allclose(other, density, rtol=1e-6, atol=1e-12 * density.max())
    start, times = at(grid, 0), np.array([0, 0.01, 0.02])
    found = evolve(plain, start, times, tolerance=1e-4).densities[-1]
    again = length**d * evolve(made, start / length**d, times * time, tolerance=1e-4).densities[-1]
    np.testing.assert_allclose(again, found, rtol=1e-3, atol=1e-6 * found.max())
