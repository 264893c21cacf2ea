"""Quantities of the theory against the linear closed forms and against each other."""

import numpy as np
import pytest
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

from limitcycles.theory.fokker_planck import Grid, evolve, generator, steady_state
from limitcycles.theory.fokker_planck import analysis as an

FULL = np.array([[2.0, 0.9], [0.9, 1.0]])
SPIN = np.array([[0.0, 1.0], [-1.0, 0.0]])
T = 0.5


@pytest.fixture(scope="module")
def linear():
    """An Ornstein–Uhlenbeck process that is not in equilibrium, n = 128²."""
    ou = OrnsteinUhlenbeck([[1, 0.3], [-0.6, 2]], FULL, T)
    made = generator(Grid(*ou.box(5.5), (128, 128)), ou.drift, FULL, T)
    return ou, made, steady_state(made)


def core(made, density):
    """Cells with all but a thousandth of the mass."""
    return density > 1e-3 * density.max()


def test_potential_and_force_of_a_linear_system(linear):
    """Φ = xᵀUx/2 with U = TΣ⁻¹, j = (−F + DU)x."""
    ou, made, rho = linear
    x = made.grid.centres.reshape(*made.grid.shape, 2)
    U = T * np.linalg.inv(ou.covariance)
    exact = x @ (-ou.F + FULL @ U).T
    inside = core(made, rho)
    scale = np.abs(exact[inside]).max()
    for found in (an.force(made, rho), an.force_from_current(made, rho)):
        assert np.abs(found - exact)[inside].max() < 3e-3 * scale
    phi = an.potential(rho, T)
    quadratic = np.einsum("...i,ij,...j->...", x, U, x) / 2
    assert np.ptp((phi - quadratic)[inside]) < 2e-3
    spill = np.abs(an.divergence(made.grid, an.force(made, rho)))[inside].max()
    assert spill < 1e-2  # ∇·j = −tr F + tr DU = 0
    across = np.sum(an.force(made, rho) * an.gradient(made.grid, phi), axis=-1)
    np.testing.assert_allclose(
        across[inside], np.einsum("...i,...i", exact, x @ U)[inside], atol=3e-2
    )


def test_both_forces_converge_to_each_other():
    potential = sympy.sin(X) + sympy.cos(X - Y) / 2
    D = [[2 + sympy.sin(Y), sympy.sin(X)], [sympy.sin(X), 2 + sympy.cos(X + Y) / 2]]
    stream = sympy.cos(Y) * sympy.sin(X) / 10
    b = function(steady_drift(potential, D, 1, stream))
    J = function([sympy.diff(stream, Y), -sympy.diff(stream, X)])
    phi = function(potential)
    from_slope, from_flux = [], []
    for n in (32, 64, 128):
        grid = Grid(0, 2 * np.pi, (n, n), True)
        made = generator(grid, b, function(D))
        rho = steady_state(made)
        exact = (J(grid.centres) * np.exp(phi(grid.centres))[:, None]).reshape(n, n, 2)
        weight = rho[..., None] * grid.volume
        from_slope.append((np.abs(an.force(made, rho) - exact) * weight).sum())
        from_flux.append((np.abs(an.force_from_current(made, rho) - exact) * weight).sum())
    assert (orders(from_slope) > 1.8).all()
    assert (orders(from_flux) > 1.8).all()


def test_free_energy_is_energy_minus_entropy(linear):
    ou, made, steady = linear
    mean, spread = np.array([0.5, 0.2]), 0.6 * ou.covariance
    rho = gaussian(made.grid, mean, spread)
    F = an.free_energy(made, rho, steady)
    split = an.energy(made, rho, steady) - T * an.entropy(made.grid, rho)
    assert pytest.approx(split, abs=1e-12) == F
    inverse = np.linalg.inv(ou.covariance)
    closed = (mean @ inverse @ mean + np.trace(inverse @ spread) - 2) / 2 - np.log(0.6)
    assert pytest.approx(T * closed, rel=1e-3) == F
    assert an.entropy(made.grid, rho) == pytest.approx(
        1 + np.log(2 * np.pi) + np.log(np.linalg.det(spread)) / 2, rel=1e-8
    )


def test_kl_of_close_densities_has_no_cancellation():
    grid = Grid(0, 1, 100)
    reference = grid.normalise(1 + grid.axes[0])
    wave = np.cos(2 * np.pi * grid.axes[0])
    wave -= (wave * reference).sum() / reference.sum()
    for size in (1e-2, 1e-5, 1e-7):
        rho = reference * (1 + size * wave)
        chi2 = float((reference * wave**2).sum() * grid.volume) * size**2 / 2
        assert an.kl(grid, rho, reference) == pytest.approx(chi2, rel=2 * size + 1e-6)
    assert an.kl(grid, reference, reference) == 0


def test_kl_with_zeros():
    grid = Grid(0, 1, 4)
    half, flat = grid.normalise([1, 1, 0, 0]), grid.normalise([1, 1, 1, 1])
    assert an.kl(grid, half, flat) == pytest.approx(np.log(2))
    assert an.kl(grid, flat, half) == np.inf
    assert an.entropy(grid, half) == pytest.approx(np.log(0.5))
    assert an.potential(half, 1.0)[-1] == np.inf


def test_entropy_production_and_area_rate_of_a_linear_system(linear):
    """σ = tr(MᵀD⁻¹MΣ)/T for j = Mx; the area rate is (MΣ)_yx."""
    ou, made, rho = linear
    M = -ou.F + T * FULL @ np.linalg.inv(ou.covariance)
    sigma = np.trace(M.T @ np.linalg.inv(FULL) @ M @ ou.covariance) / T
    assert an.entropy_production(made, rho) == pytest.approx(sigma, rel=5e-3)
    area = ((M @ ou.covariance)[1, 0] - (M @ ou.covariance)[0, 1]) / 2
    assert an.area_rate(made, rho) == pytest.approx(area, rel=5e-3)


def test_entropy_production_in_equilibrium_and_for_singular_diffusion():
    grid = Grid(-6, 6, (60, 60))
    made = generator(grid, lambda x: -x)
    assert an.entropy_production(made, steady_state(made)) < 1e-12
    made = generator(grid, lambda z: np.stack([z[:, 1], -z[:, 0] - z[:, 1]], 1), np.array([0, 1.0]))
    assert an.entropy_production(made, steady_state(made, edge_tolerance=1)) == np.inf


def test_free_energy_falls_at_the_rate_of_its_dissipation():
    """dF/dt = −∫ρ ∇μ·D∇μ, μ = T log(ρ/ρ^ss): in equilibrium systems the entropy production T σ."""
    grid = Grid(-6, 6, (64, 64))
    made = generator(grid, lambda x: -x @ FULL, FULL)
    steady = steady_state(made)
    rho = gaussian(grid, [0.5, 0], 0.7 * np.eye(2))
    dt = 1e-3
    result = evolve(made, rho, [0, dt, 2 * dt], tolerance=1e-9)
    values = [an.free_energy(made, r, steady) for r in result.densities]
    slope = (values[2] - values[0]) / (2 * dt)
    assert -slope == pytest.approx(an.entropy_production(made, result.densities[1]), rel=2e-2)


def test_modes_are_refined_below_the_cell():
    grid = Grid((-3, -4), (3, 4), (61, 50))
    phi = lambda x: (x[:, 0] ** 2 - 1) ** 2 + (x[:, 1] - 0.3 * x[:, 0]) ** 2 - 0.05 * x[:, 0]  # noqa: E731
    positions, heights = an.modes(grid, on_grid(grid, lambda x: -phi(x)))
    roots = np.roots([4, 0, -4, -0.05])  # of dφ/dx = 4x³ − 4x − 0.05
    right, left = roots.max(), roots.min()
    np.testing.assert_allclose(positions, [[right, 0.3 * right], [left, 0.3 * left]], atol=6e-3)
    assert heights[0] > heights[1]


def test_modes_on_a_circle_and_at_a_wall():
    ring = Grid(0, 1, 50, True)
    positions, _ = an.modes(ring, on_grid(ring, lambda x: np.cos(2 * np.pi * (x - 0.997))))
    np.testing.assert_allclose(positions, [[0.997]], atol=1e-3)
    box = Grid(0, 1, 10)
    positions, _ = an.modes(box, box.normalise(np.arange(10.0)))
    np.testing.assert_allclose(positions, [[0.95]])
    positions, _ = an.modes(box, box.normalise([1, 1, 3, 3, 1, 1, 1, 2, 1, 1]))
    assert len(positions) == 3  # the 3s once, the 2, and the shoulder at the left side


def test_stream_function_of_a_known_current():
    potential = X**2 / 2 + Y**2 / 2 + X * Y / 4
    stream = sympy.exp(-potential) * (1 + X / 2)
    D = [[1, sympy.Rational(1, 2)], [sympy.Rational(1, 2), 2]]
    b, psi = function(steady_drift(potential, D, 1, stream)), function(stream)
    errors = []
    for n in (32, 64, 128):
        grid = Grid(-6, 6, (n, n + 8))
        made = generator(grid, b, function(D))
        rho = steady_state(made)
        norm = np.exp(-function(potential)(grid.centres)).sum() * grid.volume
        exact = psi(grid.centres).reshape(grid.shape) / norm
        errors.append(np.abs(an.stream_function(made, rho) - exact).max() / np.abs(exact).max())
    assert errors[-1] < 1e-2
    assert (orders(errors) > 1.8).all()


@pytest.mark.parametrize("periodic", [(True, True), (False, True), (True, False)])
def test_stream_function_gives_the_current_back(periodic):
    def drift(x):
        wave = np.stack([np.sin(x[:, 1]), np.sin(x[:, 0])], 1)
        return wave + np.where(periodic, 0, -(x - np.pi))

    width = [0 if p else 5 for p in periodic]
    low = -np.array(width)
    grid = Grid(tuple(low), tuple(2 * np.pi - low), (96, 96), periodic)
    made = generator(grid, drift, FULL)
    rho = steady_state(made)
    psi = an.stream_function(made, rho)
    J = made.current(rho)
    slope = an.gradient(grid, psi)
    rebuilt = np.stack([slope[..., 1], -slope[..., 0]], axis=-1)
    assert np.abs(rebuilt - J).max() < 4e-2 * np.abs(J).max()


def test_faces_carry_what_the_edges_carry():
    grid = Grid(0, (2 * np.pi, 5), (14, 17), (True, False))
    D = np.array([[1.0, 1.6], [1.6, 3.0]])
    made = generator(grid, lambda x: np.cos(x), D)
    rho = grid.normalise(np.random.default_rng(0).random(grid.shape))
    assert (np.abs(made.offset).sum(1) > 1).any()
    in_x, in_y = an.face_fluxes(made, rho)
    h_x, h_y = grid.spacing
    change = -(in_x - np.roll(in_x, 1, 0)) / h_x - (in_y - np.roll(in_y, 1, 1)) / h_y
    np.testing.assert_allclose(change, made.apply(rho), atol=1e-10)
    assert np.abs(in_y[:, -1]).max() == 0


def test_q_of_a_linear_system_and_the_residual_of_19(linear):
    """Q solves FQ + QFᵀ = FD − DFᵀ (Kwon, Ao & Thouless 2005); (19) holds to O(h²)."""
    ou, made, rho = linear
    q = (ou.F @ FULL - FULL @ ou.F.T)[0, 1] / np.trace(ou.F)
    found = an.antisymmetric_part(made, rho)
    inside = core(made, rho)
    np.testing.assert_allclose(found[..., 0, 1][inside], q, rtol=1.5e-2)
    np.testing.assert_array_equal(found, -found.swapaxes(-1, -2))
    r, size = an.residual_of_19(made, rho)
    assert r.shape == (*made.grid.shape, 2)
    assert size < 5e-3


def test_residual_of_19_is_of_second_order():
    potential = X**4 / 4 + Y**2 / 2 + X * Y / 4
    stream = sympy.exp(-potential) * (1 + X / 2)
    D = [[1 + sympy.sin(Y) / 2, sympy.Rational(1, 2)], [sympy.Rational(1, 2), 2]]
    b = function(steady_drift(potential, D, 1, stream))
    sizes = []
    for n in (32, 64, 128):
        grid = Grid((-3.5, -6), (3.5, 6), (n, n))
        made = generator(grid, b, function(D))
        sizes.append(an.residual_of_19(made, steady_state(made))[1])
    assert sizes[-1] < 1e-2
    assert (orders(sizes) > 1.7).all()


def test_no_stream_function():
    grid = Grid(0, 2 * np.pi, (16, 16), True)
    made = generator(grid, lambda x: 1 + 0 * x)
    with pytest.raises(an.AnalysisError, match="net current of"):
        an.stream_function(made, steady_state(made))
    with pytest.raises(an.AnalysisError, match="needs a steady one"):
        an.stream_function(made, grid.normalise(np.eye(16)))
    with pytest.raises(an.AnalysisError, match="not periodic"):
        an.area_rate(made, steady_state(made))
    line = generator(Grid(-6, 6, 40), lambda x: -x)
    with pytest.raises(an.AnalysisError, match="two dimensions"):
        an.stream_function(line, steady_state(line))
