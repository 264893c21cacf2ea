"""The generator is a Markov chain, second order, and exact where Scharfetter–Gummel is."""

import warnings

import numpy as np
import pytest
from fokker_planck_cases import OrnsteinUhlenbeck, X, Y, function, on_grid, orders, steady_drift

from limitcycles.theory.fokker_planck import Grid, GridWarning, generator
from limitcycles.theory.fokker_planck.generator import GeneratorError, bernoulli


def is_markov(matrix):
    off = matrix.copy()
    off.setdiag(0)
    scale = np.abs(matrix.diagonal()).max()
    return off.data.min() >= 0 and np.abs(matrix.sum(axis=0)).max() <= 1e-13 * scale


def random_fields(seed, d, rank):
    """Smooth periodic fields on [0, 2π]^d with D of the given rank, in random directions."""
    rng = np.random.default_rng(seed)
    phase, strength = rng.uniform(0, 6.28, (d, 4)), 30 * rng.normal(size=(d, 4))
    root = rng.normal(size=(d, rank, 3))

    def drift(x):
        waves = np.stack([x[:, 0], x[:, -1], x.sum(1), x[:, 0] - 2 * x[:, -1]], axis=-1)
        return np.einsum("ij,nij->ni", strength, np.sin(waves[:, None] + phase))

    def diffusion(x):
        part = root[..., 0] + root[..., 1] * np.sin(x[:, :1, None] + 1)
        part = part + root[..., 2] * np.cos(x[:, -1:, None])
        return part @ part.swapaxes(1, 2)

    return drift, diffusion


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("d", "rank"), [(1, 1), (2, 2), (2, 1), (2, 0)])
@pytest.mark.parametrize("periodic", [True, False])
def test_markov_chain_for_random_fields(seed, d, rank, periodic):
    drift, diffusion = random_fields(seed, d, rank)
    grid = Grid((0,) * d, 2 * np.pi, (21, 16)[:d], periodic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GridWarning)
        made = generator(grid, drift, diffusion, temperature=0.3)
    assert is_markov(made.matrix)
    density = grid.normalise(np.random.default_rng(seed).random(grid.shape))
    assert abs(made.apply(density).sum()) <= 1e-12 * np.abs(made.matrix).sum()
    change = np.zeros(grid.size)  # dρ/dt is minus what the fluxes carry away
    flux = made.fluxes(density)
    np.add.at(change, made.tail, -flux)
    np.add.at(change, made.head, flux)
    scale = np.abs(made.matrix.diagonal()).max()
    np.testing.assert_allclose(change, made.apply(density).ravel(), atol=1e-12 * scale)


def test_bernoulli():
    z = np.array([-800.0, -1.0, 0.0, 1e-9, 1.0, 800.0])
    np.testing.assert_allclose(
        bernoulli(z), [800, 1 / (1 - np.exp(-1)), 1, 1 - 5e-10, 1 / (np.e - 1), 0], rtol=1e-12
    )


@pytest.mark.parametrize("D", [1.0, np.array([0.5, 3.0]), np.array([[2.0, 1.2], [1.2, 1.0]])])
def test_detailed_balance_is_exact_for_constant_diffusion(D):
    """Φ = (x² − 1)²/4 + (x + y)²/2: a quartic, for which Simpson's rule is exact."""
    grid = Grid(-3, 3, (40, 30))
    full = D * np.eye(2) if np.ndim(D) < 2 else D

    def slope(x):
        both = x.sum(1)
        return np.stack([x[:, 0] ** 3 - x[:, 0] + both, both], axis=1)

    made = generator(grid, lambda x: -slope(x) @ full, D, temperature=0.7)
    log_density = lambda x: -((x[:, 0] ** 2 - 1) ** 2 / 4 + x.sum(1) ** 2 / 2) / 0.7  # noqa: E731
    density = on_grid(grid, log_density)
    rho = density.ravel()
    there, back = made.forward * rho[made.tail], made.backward * rho[made.head]
    np.testing.assert_allclose(there, back, rtol=1e-10, atol=1e-300)


def test_operator_is_second_order():
    """L ρ against −∇·J by sympy, with a full tensor whose superbase is the same everywhere."""
    import sympy

    rho = sympy.exp(sympy.sin(X) * sympy.cos(Y))
    D = [[3 + sympy.sin(Y), 1 + sympy.cos(X) / 4], [1 + sympy.cos(X) / 4, 2 + sympy.cos(X + Y) / 2]]
    b = [sympy.sin(X + Y) + 1, sympy.cos(2 * X)]
    J = [b[i] * rho - sympy.diff(D[i][0] * rho, X) - sympy.diff(D[i][1] * rho, Y) for i in range(2)]
    rate = function(-sympy.diff(J[0], X) - sympy.diff(J[1], Y))
    flow, density = function(J), function(rho)
    errors, current_errors = [], []
    for n in (32, 64, 128):
        grid = Grid((0, 0), 2 * np.pi, (n, n + n // 2), True)
        made = generator(grid, function(b), function(D))
        rho_n = density(grid.centres).reshape(grid.shape)
        errors.append(np.abs(made.apply(rho_n).ravel() - rate(grid.centres)).max())
        difference = made.current(rho_n).reshape(-1, 2) - flow(grid.centres)
        current_errors.append(np.abs(difference).max())
    assert (orders(errors) > 1.9).all()
    assert (orders(current_errors) > 1.9).all()


def test_pure_advection_goes_upwind():
    grid = Grid(0, 1, 10, True)
    made = generator(grid, lambda x: np.full_like(x, 2.0), 0.0)
    assert is_markov(made.matrix)
    density = np.zeros(10)
    density[3] = 10.0
    change = made.apply(density)
    assert change[3] == pytest.approx(-200)
    assert change[4] == pytest.approx(200)


def test_singular_diffusion_keeps_the_drift_outside_its_range():
    """Underdamped: D = diag(0, 1), b = (v, −x − v); the mean velocity of L is b to O(h)."""
    grid = Grid(-4, 4, (40, 40))
    made = generator(
        grid, lambda z: np.stack([z[:, 1], -z[:, 0] - z[:, 1]], 1), np.array([0.0, 1.0])
    )
    assert is_markov(made.matrix)
    inner = (np.abs(grid.centres) < 3.5).all(1)
    for axis in range(2):
        mean_step = made.matrix.T @ grid.centres[:, axis]
        np.testing.assert_allclose(
            mean_step[inner], made.drift.reshape(-1, 2)[inner, axis], atol=0.1
        )


def test_no_corner_is_cut_off():
    """With D along one diagonal the two other corners would have no edge at all."""
    D = np.array([[10.0, 9.4], [9.4, 9.0]])
    ou = OrnsteinUhlenbeck(np.eye(2), D)
    low, high = ou.box(3)
    made = generator(Grid(low, high, (64, 64)), ou.drift, D)
    assert (np.abs(made.matrix.diagonal()) > 0).all()


def test_diffusion_may_be_scalar_diagonal_or_tensor():
    grid = Grid(0, 1, (6, 5), True)
    one = generator(grid, np.sin, 2.0).matrix
    for same in (
        lambda x: np.full(len(x), 2.0),
        lambda x: np.full((len(x), 2), 2.0),
        lambda x: np.broadcast_to(2 * np.eye(2), (len(x), 2, 2)),
        np.array([2.0, 2.0]),
        2 * np.eye(2),
    ):
        assert abs(generator(grid, np.sin, same).matrix - one).max() < 1e-12


@pytest.mark.parametrize(
    ("drift", "diffusion", "message"),
    [
        (lambda x: x[:, 0], 1.0, r"drift has shape \(36,\) at points of shape \(36, 2\)"),
        (lambda x: x * np.nan, 1.0, r"drift is \[nan nan\] at"),
        (lambda x: x, lambda x: np.ones((2, 2)), r"diffusion has shape \(2, 2\)"),
        (lambda x: x, np.ones(3), r"diffusion has shape \(3,\)"),
        (lambda x: x, np.inf, r"diffusion must be finite, not inf"),
        (lambda x: x, 1j, "diffusion must be an array of real numbers, not of complex128"),
        (lambda x: x, "1", "diffusion must be an array of real numbers"),
        (lambda x: x, np.ma.masked_equal([1.0, 2.0], 2), "diffusion has masked entries"),
        (lambda x: x, np.array([[1.0, 0.5], [0.2, 1.0]]), r"not symmetric at .*by 0\.3"),
        (lambda x: x, np.array([[1.0, 2.0], [2.0, 1.0]]), r"not positive semi-definite .*-1"),
        (lambda x: x, -1.0, "not positive semi-definite"),
        (lambda x: x, lambda x: x, r"not positive semi-definite at \[-0\.8"),
    ],
)
def test_bad_fields(drift, diffusion, message):
    with pytest.raises(GeneratorError, match=message):
        generator(Grid(-1, 1, (6, 6)), drift, diffusion)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_bad_temperature(temperature):
    with pytest.raises(GeneratorError, match="must be positive"):
        generator(Grid(0, 1, 8), lambda x: x, 1.0, temperature)


def test_grid_too_coarse_for_the_drift():
    with pytest.warns(GridWarning, match=r"Péclet number is \d"):
        generator(Grid(-1, 1, 20), lambda x: -x, 1.0, temperature=1e-3)


def test_diffusion_too_anisotropic_for_the_grid():
    u = np.array([1.0, np.sqrt(2)])
    with pytest.warns(GridWarning, match="too anisotropic"):
        made = generator(Grid(-1, 1, (32, 32)), lambda x: -x, np.outer(u, u))
    assert np.abs(made.offset).max() <= 4
    assert is_markov(made.matrix)


def test_steady_drift_of_the_cases_is_right():
    """The maker of manufactured drifts, checked on Φ = (x² + y²)/2 with a rotation."""
    import sympy

    b = steady_drift((X**2 + Y**2) / 2, [[1, 0], [0, 1]], 1, sympy.exp(-(X**2 + Y**2) / 2))
    assert sympy.simplify(b[0] + X + Y) == 0
    assert sympy.simplify(b[1] + Y - X) == 0
