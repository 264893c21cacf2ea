"""Steady states against closed forms, manufactured solutions and brute force; what is refused."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import sympy
from fokker_planck_cases import (
    OrnsteinUhlenbeck,
    X,
    Y,
    function,
    gaussian,
    on_grid,
    orders,
    steady_drift,
)

from limitcycles.theory.fokker_planck import (
    EdgeMassWarning,
    Grid,
    GridWarning,
    SteadyStateError,
    extrapolated_steady_state,
    generator,
    steady_state,
)
from limitcycles.theory.fokker_planck.analysis import total_variation
from limitcycles.theory.fokker_planck.factors import Factors, dissection

FULL = np.array([[2.0, 0.9], [0.9, 1.0]])
SPIN = np.array([[0.0, 1.0], [-1.0, 0.0]])


def ou_error(ou, n, solve=steady_state, sigmas=5.5):
    grid = Grid(*ou.box(sigmas), n)
    made = generator(grid, ou.drift, ou.D, ou.temperature)
    return total_variation(grid, solve(made), gaussian(grid, 0, ou.covariance))


@pytest.mark.parametrize(
    ("F", "D"),
    [
        (np.eye(2) + SPIN / 2, np.eye(2)),
        (np.array([[1, 0.3], [-0.6, 2]]), FULL),
        (np.array([[2.0, 0.5], [-0.5, 1.0]]), np.array([2.0, 1.0]) * np.eye(2)),
    ],
)
def test_rotating_ornstein_uhlenbeck(F, D):
    """The requirement: total variation below 1e-4 at 128²; second order."""
    ou = OrnsteinUhlenbeck(F, D, 0.5)
    errors = [ou_error(ou, (n, n)) for n in (32, 64, 128)]
    assert errors[-1] < 1e-4
    assert (orders(errors) > 1.9).all()


@pytest.mark.parametrize(("F", "bound"), [(np.eye(2) + SPIN, 2e-5), (np.eye(2) + 2 * SPIN, 3e-4)])
def test_extrapolation_is_of_fourth_order(F, bound):
    ou = OrnsteinUhlenbeck(F, FULL)
    errors = [ou_error(ou, (n, n), extrapolated_steady_state) for n in (64, 128)]
    assert errors[-1] < bound
    assert errors[-1] < ou_error(ou, (128, 128)) / 10
    assert orders(errors)[0] > 3.4


@pytest.mark.filterwarnings("ignore:the cell P.clet number:UserWarning")
def test_anisotropic_tensor_on_cells_that_are_not_square():
    """D with eigenvalues 1:100, at 30° to cells of 1:2.7."""
    turn = np.array([[3**0.5, -1], [1, 3**0.5]]) / 2
    D = turn @ np.diag([1.0, 0.01]) @ turn.T
    ou = OrnsteinUhlenbeck(np.eye(2) + 0.3 * SPIN, D)
    errors = [ou_error(ou, (n, 2 * n)) for n in (32, 64, 128)]
    assert errors[-1] < 5e-3
    assert (orders(errors) > 1.7).all()


def manufactured_error(grid, potential, D, stream, temperature):
    b = function(steady_drift(potential, D, sympy.nsimplify(temperature), stream))
    made = generator(grid, b, function(D), temperature)
    phi = function(potential)
    exact = on_grid(grid, lambda x: -phi(x) / temperature)
    return total_variation(grid, steady_state(made), exact)


VARIABLE = {
    "scalar": [[2 + sympy.sin(X + Y), 0], [0, 2 + sympy.sin(X + Y)]],
    "diagonal": [[2 + sympy.sin(Y), 0], [0, 1 + sympy.cos(X) / 2]],
    "tensor": [
        [2 + sympy.sin(Y), sympy.Rational(6, 5) * sympy.sin(X)],
        [sympy.Rational(6, 5) * sympy.sin(X), 2 + sympy.cos(X + Y) / 2],
    ],
    # eigenvalues far apart, off-diagonal of both signs
    "strong": [
        [3 + 2 * sympy.cos(Y), sympy.Rational(5, 2) * sympy.sin(X)],
        [sympy.Rational(5, 2) * sympy.sin(X), 8 + sympy.cos(X)],
    ],
}


@pytest.mark.parametrize("name", VARIABLE)
def test_manufactured_periodic(name):
    potential = sympy.sin(X) + sympy.cos(X - Y) / 2
    stream = sympy.cos(Y) * sympy.sin(X) / 10
    errors = [
        manufactured_error(
            Grid(0, 2 * np.pi, (n, n + n // 4), True), potential, VARIABLE[name], stream, 0.5
        )
        for n in (48, 96, 192)
    ]
    assert errors[-1] < 3e-4
    # Where the superbase changes the weights have kinks: 1.76, 1.89, 1.93 on finer and finer grids.
    assert orders(errors)[-1] > 1.8


@pytest.mark.parametrize("name", ["diagonal", "tensor"])
def test_manufactured_decaying(name):
    """Two wells in a box without flux, D(x) and a current around both."""
    potential = (X**2 - 1) ** 2 / 4 + Y**2 / 2 + X * Y / 4
    stream = sympy.exp(-potential) * (1 + X) / 4
    errors = [
        manufactured_error(
            Grid((-3.5, -5.5), (3.5, 5.5), (n, n)), potential, VARIABLE[name], stream, 1
        )
        for n in (32, 64, 128)
    ]
    assert errors[-1] < 1e-3
    assert (orders(errors) > 1.75).all()


@pytest.mark.parametrize("periodic", [True, False])
def test_multiplicative_noise_in_one_dimension(periodic):
    """Itô: ρ ∝ e^{−U}/D with U' = −b/(T D), here U = −sin x or x²/2, D = 2 + cos x."""
    width = np.pi if periodic else 6
    slope = (lambda x: -np.cos(x)) if periodic else (lambda x: x)
    U = (lambda x: -np.sin(x)) if periodic else (lambda x: x**2 / 2)
    D = lambda x: 2 + np.cos(x)  # noqa: E731
    errors = []
    for n in (16, 32, 64):
        grid = Grid(-width, width, n, periodic)
        made = generator(grid, lambda x: -0.5 * D(x) * slope(x), lambda x: D(x[:, 0]), 0.5)
        exact = on_grid(grid, lambda x: -U(x) - np.log(D(x)))
        errors.append(total_variation(grid, steady_state(made), exact))
    assert errors[-1] < 1e-5  # Simpson's rule makes it nearly exact


def test_periodic_drift_with_a_net_current():
    """One dimension, b = 1 + sin x: J = constant, ρ by quadrature of the closed form."""
    errors = []
    for n in (32, 64, 128):
        grid = Grid(0, 2 * np.pi, n, True)
        made = generator(grid, lambda x: 1 + np.sin(x))
        s = (np.arange(4000) + 0.5) * (2 * np.pi / 4000)
        x = grid.centres
        U = lambda z: -z + np.cos(z)  # noqa: E731
        exact = np.exp(U(x + s) - U(x)).mean(1)  # ρ ∝ e^{−U(x)} ∫_x^{x+2π} e^{U}
        errors.append(total_variation(grid, steady_state(made), grid.normalise(exact)))
    assert errors[-1] < 1e-3
    assert (orders(errors) > 1.9).all()


@pytest.mark.parametrize("seed", range(5))
def test_against_the_null_space(seed):
    rng = np.random.default_rng(seed)
    strength = 3 * rng.normal(size=(2, 3))

    def drift(x):
        return np.stack([np.sin(x[:, 0]), np.cos(x.sum(1)), np.sin(x[:, 1] + 1)], 1) @ strength.T

    grid = Grid(0, 2 * np.pi, (9, 11), (bool(seed % 2), False))
    made = generator(grid, drift, np.array([[2.0, 0.9], [0.9, 0.7]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rho = steady_state(made)
    null = scipy.linalg.null_space(made.matrix.toarray(), rcond=1e-12)
    assert null.shape[1] == 1
    exact = null[:, 0] / (null[:, 0].sum() * grid.volume)
    np.testing.assert_allclose(rho.ravel(), exact, rtol=1e-8, atol=1e-10)
    assert rho.min() >= 0
    assert abs(rho.sum() * grid.volume - 1) < 1e-14


def test_far_tails_keep_their_digits():
    grid = Grid(-30, 30, 400)
    made = generator(grid, lambda x: -x)
    exact = on_grid(grid, lambda x: -(x**2) / 2)
    np.testing.assert_allclose(steady_state(made), exact, rtol=1e-9)
    assert exact.min() < 1e-180


def test_mode_is_found_in_a_corner_of_a_large_box():
    ou = OrnsteinUhlenbeck(np.eye(2), np.eye(2))
    grid = Grid((-6, -6), (60, 60), (300, 300))
    made = generator(grid, ou.drift)
    assert total_variation(grid, steady_state(made), gaussian(grid, 0, ou.covariance)) < 1e-12


@pytest.mark.parametrize(
    ("grid", "reach"),
    [
        (Grid(0, 1, (20, 13), False), (1, 2)),
        (Grid(0, 1, (17, 24), True), (2, 1)),
        (Grid(0, 1, (5, 40), (True, False)), (3, 3)),
        (Grid(0, 1, 50, True), (2,)),
    ],
)
def test_dissection_orders_every_cell_once(grid, reach):
    order = dissection(grid, np.array(reach))
    np.testing.assert_array_equal(np.sort(order), np.arange(grid.size))


def test_factors_solve_both_ways():
    grid = Grid(0, 1, (9, 8), True)
    made = generator(grid, lambda x: np.cos(6.28 * x[:, ::-1]), FULL)
    matrix = np.eye(grid.size) - 0.1 * made.matrix.toarray()
    factors = Factors(matrix, dissection(grid, np.array([1, 1])))
    right = np.random.default_rng(0).normal(size=grid.size)
    np.testing.assert_allclose(matrix @ factors.solve(right), right, atol=1e-11)
    np.testing.assert_allclose(matrix.T @ factors.solve(right, transposed=True), right, atol=1e-11)


def test_disconnected_domain():
    """Two basins without noise between them: D and b vanish on a wall three cells wide."""
    inside = lambda x: (np.abs(x[:, 0]) > 0.3).astype(float)  # noqa: E731
    made = generator(Grid(-1, 1, 20), lambda x: 0 * x, inside)
    with pytest.raises(SteadyStateError, match=r"\d parts of the domain are never left"):
        steady_state(made)


def test_barrier_too_high_for_rounding():
    made = generator(Grid(-2, 2, 400), lambda x: x - x**3, 1.0, temperature=0.006)
    with pytest.raises(
        SteadyStateError,
        match=r"from \[-?\d\.\d+\] it .* the mode at \[-?\d\.\d+\].*may change their weights",
    ):
        steady_state(made)


def test_domain_too_small():
    made = generator(Grid(-2, 2, 50), lambda x: -x)
    with pytest.warns(EdgeMassWarning, match=r"hold 0\.00\d+ of the mass"):
        steady_state(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steady_state(made, edge_tolerance=0.1)


def test_grid_too_coarse_for_the_density():
    with pytest.warns(GridWarning, match="in the median cell"):
        made = generator(Grid(-1, 1, 32), lambda x: -x, 1.0, temperature=1e-3)
    with pytest.warns(GridWarning, match="in the mean over the density"):
        steady_state(made)


def test_extrapolation_needs_even_cells():
    made = generator(Grid(-6, 6, 51), lambda x: -x)
    with pytest.raises(SteadyStateError, match="even number of cells"):
        extrapolated_steady_state(made)


@pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.GridWarning")
@pytest.mark.parametrize("spin", [0.0, 1.0])
@pytest.mark.parametrize("cells", [512, 511, (64, 64), (63, 63)])
@pytest.mark.parametrize(
    ("temperature", "D"),
    [(1, 0.0), (3e-6, 1.0), (1e-6, 1.0), (1e-12, 1.0), (1e-300, 1.0), (1.0, 1e-320), (1.0, 1e-170)],
)
def test_all_mass_beside_the_stable_point(cells, spin, temperature, D):
    grid = Grid(*np.broadcast_to([[-3], [3]], (2, np.size(cells))), np.atleast_1d(cells))
    turn = spin * np.array([[0, 1], [-1, 0]])[: grid.dimension, : grid.dimension]
    made = generator(grid, lambda x: -x - x @ turn, D, temperature)
    density = steady_state(made)
    masses = density.ravel() * grid.volume
    beside = (np.abs(grid.centres) < 0.6 * grid.spacing).all(1)
    assert masses[beside].sum() == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(masses[beside], 1 / beside.sum(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.GridWarning")
def test_without_noise_a_stable_point_within_a_cell_has_it_all():
    grid = Grid((-3, -3), (3, 3), (60, 60))
    density = steady_state(generator(grid, lambda x: [0.25, -1.15] - x, 0.0))
    k = int(np.argmax(density))
    np.testing.assert_allclose(grid.centres[k], [0.25, -1.15], atol=grid.spacing[0])
    assert density.ravel()[k] * grid.volume == pytest.approx(1, abs=1e-12)


@pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.GridWarning")
def test_two_stable_points_without_noise_are_told():
    with pytest.raises(SteadyStateError, match="2 parts of the domain are never left"):
        steady_state(generator(Grid(-2, 2, 100), lambda x: x - x**3, 0.0))


@pytest.mark.filterwarnings("ignore::limitcycles.theory.fokker_planck.GridWarning")
@pytest.mark.parametrize("barrier", [1e-3, 1.0, 10.0])
def test_weights_of_wells_are_right_or_refused(barrier):
    """The well at the wall, in which the search may start, holds next to nothing."""
    made = generator(Grid(0, 1, 11), lambda x: barrier * np.sin(4 * np.pi * x + 4), 0.05, 0.1)
    logs = np.concatenate([[0], np.cumsum(np.log(made.forward / made.backward))])
    expected = np.exp(logs - logs.max())
    expected /= expected.sum() * made.grid.volume
    if barrier > 5:
        with pytest.raises(SteadyStateError, match="may change their weights"):
            steady_state(made)
        return
    np.testing.assert_allclose(steady_state(made), expected, rtol=1e-3)  # what is let through
