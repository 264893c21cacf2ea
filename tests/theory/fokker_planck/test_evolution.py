"""Evolution against matrix exponentials and the Ornstein–Uhlenbeck process; what is kept."""

import warnings

import numpy as np
import pytest
from fokker_planck_cases import OrnsteinUhlenbeck, gaussian, orders
from scipy.linalg import expm

from limitcycles.theory.fokker_planck import (
    EdgeMassWarning,
    EvolutionError,
    Grid,
    GridError,
    evolve,
    extrapolated_evolve,
    generator,
    steady_state,
)
from limitcycles.theory.fokker_planck.analysis import free_energy, total_variation

# Small grids do for what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:the cell P.clet number:UserWarning")

FULL = np.array([[2.0, 0.9], [0.9, 1.0]])
SPIN = np.array([[0.0, 1.0], [-1.0, 0.0]])


def small(periodic=True):
    grid = Grid(0, 2 * np.pi, (12, 10), periodic)
    return generator(grid, lambda x: 2 * np.sin(x[:, ::-1] + [0, 1]), FULL, 0.5)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_against_the_matrix_exponential(tolerance):
    made = small()
    start = made.grid.normalise(np.random.default_rng(0).random(made.grid.shape) ** 4)
    times = [0.0, 0.3, 1.0, 1.0, 4.0]
    result = evolve(made, start, times, tolerance=tolerance)
    np.testing.assert_array_equal(result.times, times)
    for time, density in zip(times, result.densities, strict=True):
        exact = (expm(time * made.matrix.toarray()) @ start.ravel()).reshape(made.grid.shape)
        assert total_variation(made.grid, density, exact) <= tolerance
    assert result.error <= tolerance * result.steps


@pytest.mark.parametrize(
    ("F", "D"), [(np.eye(2) + SPIN / 2, np.eye(2)), (np.array([[1, 0.3], [-0.6, 2]]), FULL)]
)
def test_rotating_ornstein_uhlenbeck(F, D):
    ou = OrnsteinUhlenbeck(F, D)
    mean, spread = np.array([1.0, -0.5]), np.diag([0.5, 0.8])
    errors = []
    for n in (32, 64, 128):
        grid = Grid(*ou.box(6), (n, n))
        made = generator(grid, ou.drift, D)
        times = [0.0, 0.5, 1.0]
        result = evolve(made, gaussian(grid, mean, spread), times, tolerance=1e-6)
        errors.append(
            max(
                total_variation(grid, rho, gaussian(grid, *ou.at(t, mean, spread)))
                for t, rho in zip(times, result.densities, strict=True)
            )
        )
    assert errors[-1] < 2e-3
    assert (orders(errors) > 1.8).all()


@pytest.mark.parametrize("seed", range(4))
def test_mass_and_sign_from_a_single_cell(seed):
    """A sharp beginning, rates from 1 to 10⁴, several decades of time."""
    rng = np.random.default_rng(seed)
    grid = Grid(-3, 3, (40, 40))
    made = generator(grid, lambda x: -(x**3) + x @ rng.normal(size=(2, 2)), FULL)
    start = np.zeros(grid.shape)
    start[tuple(rng.integers(5, 35, 2))] = 1 / grid.volume
    result = evolve(
        made, start, [0, 1e-4, 1e-2, 1, 100], tolerance=1e-4, every_step=True, edge_tolerance=1
    )
    assert result.densities.min() >= 0
    masses = result.densities.sum(axis=(1, 2)) * grid.volume
    assert np.abs(masses - 1).max() < 1e-12
    assert len(result.times) == result.steps + 1
    assert result.factorisations < result.steps


@pytest.mark.parametrize("spin", [0.0, 3.0])
def test_free_energy_falls_at_every_step(spin):
    ou = OrnsteinUhlenbeck(np.eye(2) + spin * SPIN, FULL)
    grid = Grid(*ou.box(5.5), (48, 48))
    made = generator(grid, ou.drift, FULL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steady = steady_state(made)
    start = gaussian(grid, [1.5, 0], 0.2 * np.eye(2))
    result = evolve(made, start, [0, 20], tolerance=1e-5, every_step=True, edge_tolerance=1)
    values = np.array([free_energy(made, rho, steady) for rho in result.densities])
    assert (np.diff(values) <= 1e-10 * values[:-1] + 1e-25).all()
    assert values[-1] < 1e-10 * values[0]


def test_steady_state_stays():
    made = small(periodic=False)
    steady = steady_state(made, edge_tolerance=1)
    result = evolve(made, steady, [0, 10], edge_tolerance=1)
    assert total_variation(made.grid, result.densities[-1], steady) < 1e-12


def test_every_step_is_kept_only_on_demand():
    made = small()
    start = made.grid.normalise(np.eye(12, 10))
    few = evolve(made, start, [0, 1])
    all_steps = evolve(made, start, [0, 1], every_step=True)
    assert few.densities.shape == (2, 12, 10)
    assert len(all_steps.times) == few.steps + 1
    assert (np.diff(all_steps.times) > 0).all()
    np.testing.assert_array_equal(few.densities[-1], all_steps.densities[-1])


def test_one_dimension_and_one_time():
    grid = Grid(-6, 6, 64)
    made = generator(grid, lambda x: -x)
    start = gaussian(grid, 1, np.eye(1))
    assert evolve(made, start, [2.0]).densities.shape == (1, 64)
    after = evolve(made, start, [0, 1]).densities[-1]
    assert total_variation(grid, after, gaussian(grid, np.exp(-1), np.eye(1))) < 1e-3


@pytest.mark.parametrize("times", [[], [1, 0], [0, np.nan], [[0, 1]]])
def test_bad_times(times):
    made = small()
    with pytest.raises(EvolutionError, match="must not decrease"):
        evolve(made, made.grid.normalise(np.ones((12, 10))), times)


def test_bad_tolerance_and_density():
    made = small()
    flat = made.grid.normalise(np.ones((12, 10)))
    with pytest.raises(EvolutionError, match="between 0 and 1"):
        evolve(made, flat, [0, 1], tolerance=0)
    with pytest.raises(GridError, match="not 1"):
        evolve(made, 2 * flat, [0, 1])


def test_density_that_reaches_the_side():
    grid = Grid(-3, 3, 60)
    made = generator(grid, lambda x: 2 + 0 * x)
    with pytest.warns(EdgeMassWarning):
        evolve(made, gaussian(grid, 0, 0.1 * np.eye(1)), [0, 1])


def rotating_errors(n, evolve_with):
    ou = OrnsteinUhlenbeck(np.array([[1, 0.3], [-0.6, 2]]), FULL)
    mean, spread = np.array([0.7, -0.3]), np.diag([0.8, 0.5])
    grid = Grid(*ou.box(6), (n, n))
    times = [0.0, 0.4, 1.0]
    result = evolve_with(
        generator(grid, ou.drift, FULL), gaussian(grid, mean, spread), times, tolerance=1e-6
    )
    return [
        total_variation(grid, rho, gaussian(grid, *ou.at(t, mean, spread)))
        for t, rho in zip(times, result.densities, strict=True)
    ]


def test_extrapolation_is_of_fourth_order():
    errors = np.array([rotating_errors(n, extrapolated_evolve) for n in (48, 96)])
    assert (errors[:, 0] < 1e-14).all()
    assert (orders(errors[:, 1:]) > 3.4).all()
    assert (errors[-1, 1:] < np.array(rotating_errors(96, evolve))[1:] / 10).all()


def test_extrapolation_on_a_circle():
    """Periodic: the drifting and spreading wave of constant drift and diffusion."""
    errors = []
    for n in (16, 32):
        grid = Grid(0, 2 * np.pi, n, True)
        made = generator(grid, lambda x: np.full_like(x, 0.7), 1.0, 0.3)
        x = grid.axes[0]
        start = (1 + 0.5 * np.cos(x)) / (2 * np.pi)
        exact = (1 + 0.5 * np.exp(-0.3) * np.cos(x - 0.7)) / (2 * np.pi)
        result = extrapolated_evolve(made, start, [0, 1], tolerance=1e-9)
        errors.append(total_variation(grid, result.densities[-1], exact))
    assert errors[-1] < 3e-5
    assert orders(errors)[0] > 3.4


def test_extrapolation_keeps_sign_and_mass():
    grid = Grid(-6, 6, (40, 40))
    made = generator(grid, lambda x: -x, 1.0, 0.5)
    result = extrapolated_evolve(made, gaussian(grid, [1, 0], 0.5 * np.eye(2)), [0, 1, 1, 50])
    assert result.densities.min() >= 0
    np.testing.assert_allclose(result.densities.sum(axis=(1, 2)) * grid.volume, 1, rtol=1e-12)
    assert total_variation(grid, result.densities[-1], gaussian(grid, 0, 0.5 * np.eye(2))) < 1e-6


def test_what_cannot_be_extrapolated_is_refused():
    odd = Grid(-6, 6, (24, 25))
    with pytest.raises(EvolutionError, match="even"):
        extrapolated_evolve(
            generator(odd, lambda x: -x), gaussian(odd, 0, np.eye(2)), [0, 1], tolerance=1e-3
        )
    grid = Grid(-6, 6, (24, 24))
    sharp = np.zeros(grid.shape)
    sharp[12, 12] = 1 / grid.volume
    with pytest.raises(EvolutionError, match="does not resolve"):
        extrapolated_evolve(generator(grid, lambda x: -x), sharp, [0, 1])
