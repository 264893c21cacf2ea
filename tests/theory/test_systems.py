"""The test systems against closed forms, and the facts that sympy derives from them."""

import dataclasses
import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import sympy as sp

from limitcycles.theory import systems
from limitcycles.theory.systems import SYSTEMS, SystemsError, find_zero, ornstein_uhlenbeck

HEAT = sp.Symbol("T", positive=True)
LAM = sp.Symbol("lam", real=True)


@pytest.fixture(scope="module")
def built():
    return {name: make() for name, make in SYSTEMS.items()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_numerical_functions_are_vectorised_and_finite(built, name):
    system = built[name]
    d = system.dimension
    low, high = np.array(system.box).T
    points = np.random.default_rng(0).uniform(low, high, (5, 7, d))
    drift, tensor = system.drift(points), system.diffusion(points)
    assert drift.shape == (5, 7, d)
    assert tensor.shape == (5, 7, d, d)
    assert np.isfinite(drift).all()
    assert np.linalg.eigvalsh(tensor).min() >= -1e-12
    np.testing.assert_array_equal(drift[2, 3], system.drift(points[2, 3]))
    for scalar in (system.loss, system.potential):
        if scalar is not None:
            assert scalar(points).shape == (5, 7)
    if system.force is not None:
        assert system.force(points).shape == (5, 7, d)


# name: is ρ = e^{−Φ/T} stationary; Assumption 4; j = 0; −b a gradient; D = cI; Φ = a f (None: no Φ
# or no f). Derived by hand; the library derives them with sympy.
FACTS = {
    "linear_isotropic": (True, True, True, True, True, True),
    "linear_commuting": (True, True, True, True, False, False),
    "linear_non_commuting": (True, True, False, True, False, False),
    "rotational_ou": (True, True, False, False, True, None),
    "rotational_ou_3d": (True, True, False, False, True, None),
    "two_rotations": (True, True, False, False, True, None),
    "coupled_oscillators": (True, True, False, False, True, None),
    "torus_flow": (True, True, False, False, True, None),
    "sphere_flow": (True, True, False, False, True, None),
    "double_well": (True, False, False, False, True, None),
    "gradient_double_well_isotropic": (True, True, True, True, True, True),
    "gradient_double_well_diagonal": (True, True, True, True, False, False),
    "gradient_double_well_tensor": (None, None, None, True, False, None),
    "gradient_double_well_varying_isotropic": (None, None, None, True, True, None),
    "gradient_double_well_varying_diagonal": (True, True, True, True, False, False),
    "gradient_double_well_varying_tensor": (None, None, None, True, False, None),
    "isotropic_from_loss": (True, True, True, True, True, False),
    "rotationally_invariant": (True, True, True, True, False, True),
    "anisotropic_equilibrium": (True, True, True, True, False, True),
    "rotation_varying": (True, False, False, False, True, None),
    "rotating_wells": (True, True, False, False, True, None),
    "varying_from_potential": (True, True, True, False, True, None),
    "hopf_ring": (True, True, False, False, True, None),
    "van_der_pol": (None, None, None, False, True, None),
    "slow_spiral": (True, True, False, False, True, None),
    "pure_rotation": (None, None, None, False, True, None),
    "multiplicative_noise": (True, True, True, True, True, False),
    "sharp_and_wide": (True, True, True, True, True, True),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_derived_facts(built, name):
    system = built[name]

    def held(finding):
        return None if finding is None else finding.holds

    found = (
        held(system.stationary),
        system.meets_assumption_4,
        held(system.force_vanishes),
        held(system.drift_is_gradient),
        held(system.isotropic),
        held(system.potential_proportional_to_loss),
    )
    assert found == FACTS[name]
    if system.symbols.loss is not None:
        slope = systems.gradient(system.symbols.loss, system.symbols.x)
        assert systems.find_zero(system.symbols.drift + slope)
    if system.stationary is not None:  # ∇·(j e^{−Φ/T}) = 0: the two questions are one
        assert held(system.orthogonal) == held(system.divergence_free)


def test_example_19_is_stationary_for_every_strength_at_temperature_1_only():
    assert systems.double_well(LAM).stationary
    hot = systems.double_well(LAM, temperature=HEAT)
    assert hot.symbols.potential is None
    symbols = dataclasses.replace(hot.symbols, potential=systems.double_well(LAM).symbols.potential)
    residual = dataclasses.replace(hot, symbols=symbols).stationary
    assert residual.holds is False
    x1, x2 = hot.symbols.x
    # ∇·j − j·∇Φ/T = (1 − 1/T) j·∇Φ, and J·∇Φ ∝ x₁x₂(2 − x₁²) does not vanish
    power = systems.double_well(LAM).orthogonal.left
    assert find_zero(residual.left - (1 - 1 / HEAT) * power)
    assert find_zero(power / (x1 * x2 * (2 - x1**2))).left.free_symbols >= {LAM}
    assert sp.solve(sp.Eq(residual.left.subs({x1: 1, x2: 1}), 0), HEAT) == [1]


def test_example_19_as_written_in_the_paper():
    system, lam = systems.double_well(1.5), 1.5
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    phi = (x**2 - 1) ** 2 / 4 + y**2 / 2
    force = lam * np.exp(phi - (x**2 + y**2) ** 2 / 4) * np.array([-y, x])
    points = np.stack([x, y], -1)
    np.testing.assert_allclose(system.force(points), force.T, rtol=1e-12)
    np.testing.assert_allclose(system.potential(points), phi, rtol=1e-12)
    minus_grad = -np.array([x**3 - x, y])
    np.testing.assert_allclose(system.drift(points), (minus_grad + force).T, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(system.diffusion(points[0]), np.eye(2))
    assert systems.double_well(0).loss is not None
    assert systems.double_well(0, temperature=3).stationary


def test_no_current_vanishes_at_a_symbolic_temperature():
    for make in (
        systems.rotational_ou,
        systems.isotropic_from_loss,
        systems.rotation_varying,
        systems.varying_from_potential,
        systems.multiplicative_noise,
        systems.hopf_ring,
    ):
        assert make(temperature=HEAT).stationary, make.__name__
    assert systems.rotationally_invariant(sp.Symbol("e"), temperature=HEAT).force_vanishes
    assert systems.anisotropic_equilibrium(sp.Symbol("e"), temperature=HEAT).force_vanishes


def test_ornstein_uhlenbeck_against_the_lyapunov_solver():
    generator = np.random.default_rng(3)
    F = np.round(generator.normal(size=(3, 3)), 3) + 3 * np.eye(3)
    A = np.round(generator.normal(size=(3, 3)), 2)
    D = np.round(A @ A.T, 4)
    system = ornstein_uhlenbeck(F, D, temperature=0.5)
    covariance = scipy.linalg.solve_continuous_lyapunov(F, 2 * D)
    points = generator.normal(size=(4, 3))
    U = np.linalg.inv(covariance)
    np.testing.assert_allclose(
        system.potential(points), np.einsum("pi,ij,pj->p", points, U, points) / 2, rtol=1e-9
    )
    assert system.meets_assumption_4
    half = 6 * np.sqrt(0.5 * np.diag(covariance))
    np.testing.assert_allclose(np.array(system.box)[:, 1], half, rtol=1e-9)


@pytest.mark.parametrize("heat", [0.25, 1, 3])
def test_mode_of_multiplicative_noise(heat):
    system = systems.multiplicative_noise(0.5, 0.1, temperature=heat)
    slope = system.compile(system.potential_gradient_symbol)
    mode = scipy.optimize.brentq(lambda x: slope(np.array([x]))[0], -4.9, 4.9, xtol=1e-14)
    assert mode == pytest.approx(systems.multiplicative_mode(0.5, 0.1, heat), abs=1e-12)


def test_local_entropy_against_quadrature():
    ratio, gamma = 7, 0.3
    system = systems.sharp_and_wide(ratio)
    smooth = systems.sharp_and_wide_local_entropy(ratio, gamma)
    for x in (-2.0, 0.3, 2.0):
        value = scipy.integrate.quad(
            lambda y, x=x: (
                np.exp(-((x - y) ** 2) / (2 * gamma) - system.loss(np.array([y])))
                / np.sqrt(2 * np.pi * gamma)
            ),
            -12,
            12,
            points=[-2, x, 2],
            epsabs=1e-13,
        )[0]
        assert smooth(np.array([x])) == pytest.approx(-np.log(value), abs=1e-9)
    # At the bottoms the sharp well lies (d/2) log((1 + rγ)/(1 + γ)) above the wide one
    for d in (1, 2):
        smooth = systems.sharp_and_wide_local_entropy(ratio, gamma, dimension=d, distance=20)
        bottoms = np.zeros((2, d))
        bottoms[:, 0] = -10, 10
        rise = smooth(bottoms[0]) - smooth(bottoms[1])
        assert rise == pytest.approx(d / 2 * np.log((1 + ratio * gamma) / (1 + gamma)), abs=1e-12)
        loss = systems.sharp_and_wide(ratio, dimension=d, distance=20).loss(bottoms)
        np.testing.assert_allclose(loss, 0, atol=1e-12)


def test_divergence_of_an_antisymmetric_tensor_fixes_its_sign():
    x = systems.variables(2)
    Q = sp.Matrix([[0, x[0]], [-x[0], 0]])
    assert systems.tensor_divergence(Q, x) == sp.ImmutableMatrix([0, -1])
    system = systems.rotation_varying(1)
    wrong = dataclasses.replace(
        system.symbols, drift=system.symbols.drift - 2 * systems.tensor_divergence(Q, x)
    )
    assert dataclasses.replace(system, symbols=wrong).stationary.holds is False


def test_a_finding_that_cannot_be_decided_is_none():
    x = sp.Symbol("x", real=True)
    unknown = sp.Function("g")(x)
    assert find_zero(unknown).holds is None
    assert not find_zero(unknown)
    assert find_zero(sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1).holds is True
    assert find_zero(x - x**2).holds is False


def test_a_system_can_be_pickled_after_use():
    system = systems.double_well(0.5)
    point = np.array([0.3, 0.4])
    before = system.drift(point)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(system)).drift(point), before)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ornstein_uhlenbeck([[1, 0], [0, -1]]), "real part -1"),
        (lambda: ornstein_uhlenbeck([[1, 0]], [[1]]), "square"),
        (lambda: ornstein_uhlenbeck([[1, 0], [0]]), "equal length"),
        (lambda: ornstein_uhlenbeck([[1, 0], [0, 1]], [[1, 0], [0, 0]]), "singular"),
        (lambda: ornstein_uhlenbeck([[1, 0], [0, 1]], [[1, 0], [1, 1]]), "symmetric"),
        (lambda: ornstein_uhlenbeck([[1, 0], [0, 2]], [[1, 2], [2, 1]]), "eigenvalue|singular"),
        (lambda: systems.hopf_ring(temperature=0), "above 0"),
        (lambda: systems.hopf_ring(float("nan")), "finite"),
        (lambda: systems.multiplicative_noise(1, 0.1), "not positive"),
        (lambda: systems.rotationally_invariant(2), "below 1/T"),
        (lambda: systems.sharp_and_wide(0.5), "at least 1"),
        (lambda: systems.gradient_double_well("red"), "isotropic"),
        (lambda: systems.system("nothing"), "double_well"),
        (lambda: systems.double_well(LAM).drift(np.zeros(2)), "lam"),
        (lambda: systems.double_well(1, temperature=HEAT).temperature, "open"),
        (lambda: systems.double_well(1).drift(np.zeros(3)), r"\(\.\.\., 2\)"),
        (
            lambda: systems.from_potential(
                "q",
                systems.variables(1)[0] ** 2,
                x=systems.variables(1),
                box=[(-1, 1)],
                rotation=[[1]],
            ),
            "antisymmetric",
        ),
        (
            lambda: systems.make("b", x=systems.variables(1), box=[(1, 1)], drift=[0]),
            "low, high",
        ),
        (lambda: systems.make("b", x=systems.variables(1), box=[(0, 1)]), "a loss"),
        (
            lambda: systems.make("b", x=systems.variables(1), box=[(0, 1)], drift=[0, 0]),
            "shape",
        ),
    ],
)
def test_bad_input_is_named(build, words):
    with pytest.raises(SystemsError, match=words):
        build()
