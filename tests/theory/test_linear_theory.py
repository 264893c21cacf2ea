"""Linear theory against closed forms, brute-force linear algebra and exact simulation."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from limitcycles.theory import linear_theory as theory
from limitcycles.theory.linear_theory import LinearTheoryError, decompose, stationary_covariance


def random_system(seed, d, *, rank=None):
    """A stable F and a D of the rank, both full of entries."""
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(d, d))
    F += (0.3 - np.linalg.eigvals(F).real.min()) * np.eye(d)
    B = rng.normal(size=(d, rank or d))
    return F, B @ B.T / d


def kronecker_covariance(F, D, temperature):
    """FΣ + ΣFᵀ = 2TD as d² equations."""
    eye = np.eye(len(F))
    system = np.kron(F, eye) + np.kron(eye, F)
    return np.linalg.solve(system, 2 * temperature * D.ravel()).reshape(F.shape)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_covariance_by_brute_force(d, seed):
    F, D = random_system(seed, d)
    sigma = stationary_covariance(F, D, 0.7)
    np.testing.assert_allclose(sigma, kronecker_covariance(F, D, 0.7), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(sigma, sigma.T)


def test_covariance_is_the_time_integral():
    F, D = random_system(3, 3)

    def integrand(t):
        P = scipy.linalg.expm(-F * t)
        return (2 * 0.4 * P @ D @ P.T).ravel()

    integral, _ = scipy.integrate.quad_vec(integrand, 0, 150, epsabs=1e-11)
    np.testing.assert_allclose(stationary_covariance(F, D, 0.4).ravel(), integral, rtol=1e-8)


def test_covariance_of_one_dimension_by_hand():
    assert stationary_covariance([[4.0]], [[2.0]], 3.0) == pytest.approx(1.5)  # TD/F
    # x ← (1 − hF)x + noise of variance 2ThD: 2ThD/(1 − (1 − hF)²), h = 1/8
    assert stationary_covariance([[4.0]], [[2.0]], 3.0, step=0.125) == pytest.approx(1.5 / 0.75)


@pytest.mark.parametrize("step", [1e-4, 0.01, 0.2])
def test_covariance_of_steps_by_brute_force(step):
    F, D = random_system(4, 3)
    P = np.eye(3) - step * F
    system = np.eye(9) - np.kron(P, P)
    expected = np.linalg.solve(system, 2 * 0.4 * step * D.ravel()).reshape(3, 3)
    np.testing.assert_allclose(
        stationary_covariance(F, D, 0.4, step=step), expected, rtol=1e-9, atol=1e-12
    )


def test_singular_noise_has_a_covariance():
    F = np.array([[0.0, -1.0], [1.0, 1.0]])  # noise on the second coordinate reaches both
    np.testing.assert_allclose(
        stationary_covariance(F, np.diag([0.0, 1.0]), 2.0), 2 * np.eye(2), atol=1e-12
    )


@pytest.mark.parametrize("d", [2, 3, 8, 40])
@pytest.mark.parametrize("seed", range(3))
def test_decomposition_of_random_systems(d, seed):
    F, D = random_system(seed, d)
    found = decompose(F, D)
    assert found.residual < 1e-9
    assert found.antisymmetry < 1e-9
    assert found.symmetry < 1e-9
    np.testing.assert_array_equal(found.Q, -found.Q.T)
    np.testing.assert_array_equal(found.U, found.U.T)
    # Independent: Σ by d² equations for small d, then U = TΣ⁻¹ and Q = FΣ/T − D.
    sigma = kronecker_covariance(F, D, 0.5) if d < 10 else stationary_covariance(F, D, 0.5)
    scale = np.abs(found.U).max()
    np.testing.assert_allclose(found.U, 0.5 * np.linalg.inv(sigma), atol=1e-7 * scale)
    np.testing.assert_allclose(found.Q, F @ sigma / 0.5 - D, atol=1e-8 * np.abs(found.Q).max())
    np.testing.assert_allclose(found.covariance(0.5), sigma, rtol=1e-6, atol=1e-9)


def put_together(seed, d, signs):
    """Known D, Q, U with the signs of the eigenvalues of U."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    U = rotation @ np.diag(signs * rng.uniform(0.5, 2, d)) @ rotation.T
    Q = rng.normal(size=(d, d))
    Q -= Q.T
    B = rng.normal(size=(d, d))
    return B @ B.T + 0.1 * np.eye(d), Q, (U + U.T) / 2


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1), (-1, -1, -1), (1, 1, 1, 1, -1)])
def test_what_was_put_together_comes_back(signs):
    D, Q, U = put_together(5, len(signs), np.array(signs))
    found = decompose((D + Q) @ U, D)
    np.testing.assert_allclose(found.Q, Q, atol=1e-9)
    np.testing.assert_allclose(found.U, U, atol=1e-9)
    np.testing.assert_allclose(found.potential(np.eye(len(U))), np.diag(U) / 2)


def test_the_hessian_does_not_stand_in_for_U():
    """The negative control of the ledger's rule: residual 1e-8 fails by far."""
    F = np.diag([1.0, 3.0])
    D = np.array([[1.0, 0.6], [0.6, 1.0]])
    found = decompose(F, D)
    assert found.residual < 1e-14
    assert np.linalg.norm(F - (D + found.Q) @ F) > 0.1 * np.linalg.norm(F)


def test_singular_noise_where_the_current_fills_in():
    Q = np.array([[0.0, 2.0], [-2.0, 0.0]])
    U = np.diag([1.0, 3.0])
    D = np.diag([0.0, 1.0])
    found = decompose((D + Q) @ U, D)
    np.testing.assert_allclose(found.Q, Q, atol=1e-12)
    np.testing.assert_allclose(found.U, U, atol=1e-12)


def test_one_flat_direction_is_allowed():
    """Eigenvalue 0 of F alone: U is singular, Q unique, and no warning is left over."""
    D, Q, _ = put_together(6, 3, np.ones(3))
    U = np.diag([2.0, 1.0, 0.0])
    found = decompose((D + Q) @ U, D)
    np.testing.assert_allclose(found.Q, Q, atol=1e-8)
    np.testing.assert_allclose(found.U, U, atol=1e-8)


def test_rotation_by_hand():
    """F = 1 + ω (0 −1; 1 0)... with D = 1: Σ = T, Q = F − 1, U = 1."""
    omega, temperature = 0.8, 0.3
    F = np.array([[1.0, -omega], [omega, 1.0]])
    found = decompose(F, np.eye(2))
    np.testing.assert_allclose(found.U, np.eye(2), atol=1e-14)
    np.testing.assert_allclose(found.Q, [[0, -omega], [omega, 0]], atol=1e-14)
    # −Fx turns (1, 0) towards (0, −1): clockwise, so that the plane (0, 1) is swept negatively.
    np.testing.assert_allclose(found.force([1.0, 0.0]), [0, -omega], atol=1e-14)
    assert found.area_rate(temperature)[0, 1] == pytest.approx(-omega * temperature)
    assert found.entropy_production() == pytest.approx(2 * omega**2)


@pytest.mark.parametrize("seed", range(3))
def test_force_is_drift_plus_diffusion_of_the_potential(seed):
    F, D = random_system(seed, 4)
    found = decompose(F, D)
    x = np.random.default_rng(seed).normal(size=(5, 3, 4))
    expected = -(x @ F.T) + x @ (D @ found.U).T
    np.testing.assert_allclose(found.force(x), expected, atol=1e-9)
    assert found.potential(x).shape == (5, 3)
    # Assumption 4 always holds here: ∇·j = −tr QU = 0 and j·∇Φ = 0.
    assert np.trace(found.force_matrix) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose((found.force(x) * (x @ found.U)).sum(-1), 0, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_area_rate_and_entropy_production_from_the_covariance(seed):
    F, D = random_system(seed, 4)
    temperature = 0.6
    found = decompose(F, D)
    sigma = kronecker_covariance(F, D, temperature)
    product = -sigma @ F.T  # E[x dxᵀ]/dt
    np.testing.assert_allclose(
        found.area_rate(temperature), (product - product.T) / 2, rtol=1e-7, atol=1e-9
    )
    j = -F + temperature * D @ np.linalg.inv(sigma)
    expected = np.trace(j.T @ np.linalg.inv(temperature * D) @ j @ sigma)
    assert found.entropy_production() == pytest.approx(expected, rel=1e-7)


def test_area_rate_of_simulated_paths():
    F = np.array([[1.0, 0.5], [-1.5, 2.0]])
    D = np.array([[1.0, 0.3], [0.3, 0.4]])
    rng = np.random.default_rng(0)
    P, C = theory.transition(F, D, 0.5, 0.02)
    x = rng.multivariate_normal([0, 0], stationary_covariance(F, D, 0.5), size=400_000)
    y = x @ P.T + rng.multivariate_normal([0, 0], C, size=len(x))
    area = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]) / 2 / 0.02
    error = area.std() / len(x) ** 0.5
    assert abs(area.mean() - decompose(F, D).area_rate(0.5)[0, 1]) < 4 * error + 0.02
    assert error < 0.02 < abs(area.mean()) / 10


def test_no_current_where_noise_and_hessian_commute():
    rng = np.random.default_rng(7)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    F = rotation @ np.diag([1.0, 2, 3, 4]) @ rotation.T
    D = rotation @ np.diag([5.0, 0.1, 2, 0.01]) @ rotation.T  # far from isotropic
    F, D = (F + F.T) / 2, (D + D.T) / 2
    assert theory.commutator(F, D, relative=True) < 1e-14
    found = decompose(F, D)
    assert np.abs(found.Q).max() < 1e-13
    assert found.antisymmetry < 1e-8
    assert found.entropy_production() == pytest.approx(0, abs=1e-12)
    # An anisotropy as strong that is turned against F drives one.
    assert theory.commutator(F, np.diag([5.0, 0.1, 2, 0.01]), relative=True) > 0.05


def test_commutator_by_hand():
    F, D = np.diag([1.0, 3.0]), np.array([[1.0, 0.5], [0.5, 1.0]])
    # FD = (1 ½; 3/2 3), minus its mirror: ±1 beside the diagonal.
    assert theory.commutator(F, D) == pytest.approx(2**0.5)
    assert theory.commutator(F, D, relative=True) == pytest.approx(2**0.5 / (2 * 12.5**0.5))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert theory.commutator(turn, np.eye(2), relative=True) == pytest.approx(1)
    assert theory.commutator(np.zeros((2, 2)), np.eye(2), relative=True) == 0


@pytest.mark.parametrize("time", [0.0, 1e-3, 0.5, 7.0])
@pytest.mark.parametrize("shift", [0.0, -0.8])
def test_transition_against_quadrature(time, shift):
    F, D = random_system(8, 3)
    F = F + shift * np.eye(3)  # shifted, it is unstable
    P, C = theory.transition(F, D, 0.4, time)
    np.testing.assert_allclose(P, scipy.linalg.expm(-F * time), rtol=1e-9, atol=1e-10)

    def integrand(s):
        part = scipy.linalg.expm(-F * s)
        return 0.8 * part @ D @ part.T

    expected, _ = scipy.integrate.quad_vec(integrand, 0, time, epsabs=1e-11, epsrel=1e-11)
    np.testing.assert_allclose(C, expected, rtol=1e-8, atol=1e-10)


def test_transition_over_a_long_time_is_stationary():
    F, D = random_system(9, 4)
    P, C = theory.transition(F, D, 0.4, 500.0)
    assert np.abs(P).max() < 1e-12
    np.testing.assert_allclose(C, stationary_covariance(F, D, 0.4), rtol=1e-8)


STABLE, WHITE = np.diag([1.0, 2.0]), np.eye(2)


@pytest.mark.parametrize(
    ("F", "D", "message"),
    [
        (np.diag([1.0, -1.0]), WHITE, "1.* and .*-1.* sum to zero"),
        (np.array([[0.0, -2.0], [2.0, 0.0]]), WHITE, "sum to zero"),
        (np.diag([0.0, 0.0, 1.0]), np.eye(3), "sum to zero"),
        (STABLE, np.diag([1.0, -0.25]), "lowest eigenvalue is -0.25"),
        (STABLE, np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric.*0.5"),
        (STABLE, np.diag([1.0, 0.0]), r"D \+ Q is singular"),
        (STABLE, np.zeros((2, 2)), r"D \+ Q is singular"),
        (STABLE, np.eye(3), r"\(2, 2\) and D \(3, 3\)"),
        (np.ones((2, 3)), WHITE, r"F must be a square matrix.*\(2, 3\)"),
        (np.diag([1.0, np.nan]), WHITE, "F has a value that is NaN"),
    ],
)
def test_systems_without_a_decomposition(F, D, message):
    with pytest.raises(LinearTheoryError, match=message):
        decompose(F, D)


def test_a_saddle_has_no_stationary_state():
    saddle = np.diag([1.0, -0.5])
    found = decompose(saddle, WHITE)
    for call in (
        lambda: stationary_covariance(saddle, WHITE, 1.0),
        lambda: found.covariance(1.0),
        lambda: found.area_rate(1.0),
        found.entropy_production,
    ):
        with pytest.raises(LinearTheoryError, match=r"not stable: its eigenvalue -0\.5"):
            call()


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(LinearTheoryError, match="temperature must be finite and positive"):
        stationary_covariance(STABLE, WHITE, temperature)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (1.5, "no stationary covariance"),
        (0.0, "step must be finite and positive, not 0.0"),
        (-0.1, "step must be finite and positive, not -0.1"),
        (np.nan, "step must be finite and positive, not nan"),
    ],
)
def test_steps_without_a_covariance(step, message):
    with pytest.raises(LinearTheoryError, match=message):
        stationary_covariance(STABLE, WHITE, 1.0, step=step)


def test_no_transition_back_in_time():
    with pytest.raises(LinearTheoryError, match="not negative, not -1"):
        theory.transition(STABLE, WHITE, 1.0, -1.0)


def test_entropy_production_needs_noise_everywhere():
    D = np.diag([0.0, 1.0])
    found = decompose((D + np.array([[0.0, 2.0], [-2.0, 0.0]])) @ STABLE, D)
    assert found.area_rate(0.5)[0, 1] == pytest.approx(1)
    with pytest.raises(LinearTheoryError, match="area_rate"):
        found.entropy_production()
