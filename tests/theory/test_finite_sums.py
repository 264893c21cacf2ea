"""Exact moments of SGD against every path, of equations against their ensembles."""

import itertools

import numpy as np
import pytest
import scipy.integrate

from limitcycles.statistics.convergence import log_log_slope
from limitcycles.theory import finite_sums as sums
from limitcycles.theory.batch_noise import SAMPLINGS, BatchNoiseError
from limitcycles.theory.finite_sums import FiniteSumError, QuadraticSum, point_moments

RATE = 0.2


@pytest.fixture
def problem():
    """Three examples in two dimensions, D varies with x."""
    rng = np.random.default_rng(0)
    B = rng.normal(size=(3, 2, 2))
    return QuadraticSum(B @ B.swapaxes(1, 2) / 2 + np.eye(2) / 2, rng.normal(size=(3, 2)))


@pytest.fixture
def skewed():
    """One Hessian, offsets with a third cumulant, in one dimension."""
    offsets = np.array([[-1.0], [-1.0], [-1.0], [5.0], [0.5]])
    return QuadraticSum(np.full((5, 1, 1), 1.3), offsets)


def all_paths(problem, x, steps, batch, sampling):
    """The end of every path of SGD, each as likely as every other."""
    examples = range(problem.samples)
    draws = list(
        itertools.product(examples, repeat=batch)
        if sampling == "with-replacement"
        else itertools.permutations(examples, batch)
    )
    points = np.array([x])
    for _ in range(steps):
        points = np.concatenate(
            [
                points - RATE * np.mean([problem.gradient(points, k) for k in draw], axis=0)
                for draw in draws
            ]
        )
    return points


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_moments_of_sgd_are_those_of_all_its_paths(problem, sampling, batch, order):
    x = np.array([0.7, -1.2])
    points = all_paths(problem, x, 2, batch, sampling)
    found = sums.sgd_moments(
        problem, point_moments(x, order), 2, rate=RATE, batch=batch, sampling=sampling
    )
    np.testing.assert_allclose(found, point_moments(points, order), rtol=1e-11, atol=1e-12)


def test_gradient_and_diffusion_by_hand():
    problem = QuadraticSum([[[1.0]], [[3.0]]], [[0.0], [2.0]])  # x and 3x − 2
    assert problem.gradient(np.array([2.0]), 1) == pytest.approx(4)
    assert problem.drift([2.0]) == pytest.approx(-3)  # −(2x − 1)
    assert problem.diffusion([2.0]) == pytest.approx(1)  # (x − 1)²
    assert problem.diffusion(np.zeros((4, 3, 1))).shape == (4, 3, 1, 1)


def test_generators_are_the_gradients(problem):
    x = np.array([0.3, 2.0])
    for k in range(3):
        expected = np.append(0, problem.gradient(x, k))
        np.testing.assert_allclose(problem.generators()[k] @ np.append(1, x), expected)


def test_first_moments_by_hand():
    """Moments in the order of z⊗z, for points 1 and 3."""
    np.testing.assert_allclose(point_moments([[1.0], [3.0]], 2), [[1, 2], [2, 5]])
    assert point_moments([[1.0], [3.0]], 3)[1, 1, 1] == 14


def moment_equations(problem, x, time, temperature):
    """Mean and second moment of (3) from its own equations, by an adaptive integrator."""

    def rates(_, state):
        m, M = state[:2], state[2:].reshape(2, 2)
        A, h = problem.hessians, problem.offsets
        Am, hm = A.mean(0), h.mean(0)
        drift = hm - Am @ m
        # E[(A_k x − h_k)(A_k x − h_k)ᵀ], minus that of the mean gradient
        each = np.array(
            [
                a @ M @ a - np.outer(a @ m, b) - np.outer(b, a @ m) + np.outer(b, b)
                for a, b in zip(A, h, strict=True)
            ]
        )
        whole = Am @ M @ Am - np.outer(Am @ m, hm) - np.outer(hm, Am @ m) + np.outer(hm, hm)
        cross = np.outer(m, hm) - M @ Am
        return np.concatenate(
            [drift, (cross + cross.T + 2 * temperature * (each.mean(0) - whole)).ravel()]
        )

    begin = np.concatenate([x, np.outer(x, x).ravel()])
    done = scipy.integrate.solve_ivp(rates, (0, time), begin, rtol=1e-10, atol=1e-12)
    return done.y[:2, -1], done.y[2:, -1].reshape(2, 2)


def test_moments_of_the_equation_by_its_own(problem):
    x = np.array([0.7, -1.2])
    mean, second = moment_equations(problem, x, 1.5, 0.2)
    found = sums.sde_moments(problem, point_moments(x, 2), 1.5, temperature=0.2)
    np.testing.assert_allclose(found[0, 1:], mean, rtol=1e-7)
    np.testing.assert_allclose(found[1:, 1:], second, rtol=1e-7)
    third = sums.sde_moments(problem, point_moments(x, 3), 1.5, temperature=0.2)
    np.testing.assert_allclose(third[0], found, rtol=1e-9)


def minimum(problem):
    return np.linalg.solve(problem.hessians.mean(0), problem.offsets.mean(0))


@pytest.mark.parametrize("index", [(0, 0, 1), (0, 1, 1)], ids=["mean", "second moment"])
def test_sgd_converges_in_two_moments(problem, index):
    """Weak order 1 with η/b fixed, and not to an equation of another temperature."""
    temperature, time = 0.01, 1.28
    batches = np.array([1, 2, 4, 8])
    etas = 2 * temperature * batches
    # From near the minimum: far from it the drift's error hides that of a wrong D.
    start = point_moments(minimum(problem) + np.array([0.1, -0.1]), 3)
    found = [
        sums.sgd_moments(
            problem, start, round(time / eta), rate=eta, batch=int(b), sampling="with-replacement"
        )[index]
        for b, eta in zip(batches, etas, strict=True)
    ]
    exact, doubled = (
        sums.sde_moments(problem, start, time, temperature=factor * temperature)[index]
        for factor in (1, 2)
    )
    slope = log_log_slope(etas, found - exact)
    assert slope.interval[0] > 0.5
    assert slope.slope == pytest.approx(1, abs=0.25)
    if index[1]:
        assert log_log_slope(etas, found - doubled).slope < 0.5


def test_third_cumulants_stay_when_the_batch_shrinks_with_the_rate(skewed):
    """With T = η/(2b) fixed the third moment tends to another limit than that of (3)."""
    temperature, time = 0.05, 2.0
    start = point_moments([0.0], 3)
    equation = sums.sde_moments(skewed, start, time, temperature=temperature)
    limit = sums.limit_moments(skewed, start, time, temperature=temperature)
    np.testing.assert_allclose(limit[0], equation[0], rtol=1e-9)  # two moments agree
    gaps = []
    for b in (4, 2, 1):
        eta = 2 * temperature * b
        sgd = sums.sgd_moments(
            skewed, start, round(time / eta), rate=eta, batch=b, sampling="with-replacement"
        )
        gaps.append((sgd - limit)[1, 1, 1])
    assert log_log_slope([4, 2, 1], gaps).slope == pytest.approx(1, abs=0.3)
    # dκ₃/dt = −3Aκ₃ + (2T)² E[(h − h̄)³] by hand; that of the Gaussian equation stays zero.
    h = skewed.offsets[:, 0]
    kick = (2 * temperature) ** 2 * np.mean((h - h.mean()) ** 3)
    expected = kick * (1 - np.exp(-3 * 1.3 * time)) / (3 * 1.3)
    assert (limit - equation)[1, 1, 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch", [1, 3])
def test_characteristic_functions(skewed, batch):
    x = np.array([0.4])
    points = all_paths(skewed, x, 2, batch, "with-replacement")[:, 0]
    found = sums.sgd_characteristic(
        skewed, x, [1.7], 2, rate=RATE, batch=batch, sampling="with-replacement"
    )
    assert found == pytest.approx(np.exp(1.7j * points).mean(), abs=1e-12)
    # The equation is Gaussian: its moments give its characteristic function.
    moments = sums.sde_moments(skewed, point_moments(x, 2), 0.8, temperature=0.1)
    mean, variance = moments[0, 1], moments[1, 1] - moments[0, 1] ** 2
    expected = np.exp(1.7j * mean - variance * 1.7**2 / 2)
    assert sums.sde_characteristic(skewed, x, [1.7], 0.8, temperature=0.1) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_ensemble_has_the_exact_moments(problem, sampling):
    start = np.tile([0.7, -1.2], (60_000, 1))
    ensemble = sums.sgd_ensemble(
        problem.gradient,
        start,
        [0, 1, 6],
        samples=3,
        rate=RATE,
        batch=2,
        sampling=sampling,
        seed=0,
        block=25_000,
    )
    assert ensemble.shape == (3, 60_000, 2)
    np.testing.assert_array_equal(ensemble[0], start)
    for points, steps in zip(ensemble[1:], (1, 6), strict=True):
        exact = sums.sgd_moments(
            problem, point_moments(start[0], 3), steps, rate=RATE, batch=2, sampling=sampling
        )
        z = np.concatenate([np.ones((len(points), 1)), points], axis=1)
        for i, j, k in itertools.product(range(3), repeat=3):
            values = z[:, i] * z[:, j] * z[:, k]
            error = values.std() / len(values) ** 0.5
            assert abs(values.mean() - exact[i, j, k]) < 4.5 * error + 1e-12


def test_an_epoch_sees_every_example_once():
    """With f_k = −h_k·x the sum of an epoch does not depend on its order."""
    problem = QuadraticSum(np.zeros((6, 1, 1)), np.arange(6.0)[:, None])
    run = sums.sgd_ensemble(
        problem.gradient,
        np.zeros((50, 1)),
        [2, 3, 6],
        samples=6,
        rate=0.5,
        batch=2,
        sampling=sums.SHUFFLED,
        seed=0,
    )
    assert run[0].std() > 0.1
    np.testing.assert_allclose(run[1], 0.5 * 7.5)
    np.testing.assert_allclose(run[2], 0.5 * 15)


def test_ensembles_repeat_by_seed_and_do_not_touch_their_start(problem):
    start = np.zeros((10, 2))
    a, b, c = (
        sums.sgd_ensemble(
            problem.gradient,
            start,
            [3],
            samples=3,
            rate=RATE,
            batch=1,
            sampling="with-replacement",
            seed=seed,
            block=4,
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (start == 0).all()
    assert len(np.unique(a[0, :, 0])) > 5  # blocks do not repeat each other


KEYS = {"samples": 3, "rate": RATE, "batch": 1, "sampling": "with-replacement", "seed": 0}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rate": 1e200}, FiniteSumError, "no longer finite after step"),
        ({"batch": 2, "sampling": sums.SHUFFLED}, FiniteSumError, "3 examples.*batches of 2"),
        ({"batch": 4, "sampling": "without-replacement"}, BatchNoiseError, "b ≤ 3"),
        ({"sampling": "other"}, BatchNoiseError, "not 'other'"),
    ],
)
def test_ensembles_that_cannot_be(problem, change, error, message):
    with pytest.raises(error, match=message):
        sums.sgd_ensemble(problem.gradient, np.ones((4, 2)), [9], **(KEYS | change))


@pytest.mark.parametrize(
    ("start", "snapshots", "gradient", "message"),
    [
        (np.ones(2), [1], None, r"\(paths, d\), not \(2,\)"),
        (np.ones((2, 2)), [3, 1], None, "ascend"),
        (np.ones((2, 2)), [1], lambda x, k: x, "must broadcast"),
    ],
)
def test_inputs_of_the_wrong_shape(problem, start, snapshots, gradient, message):
    if gradient is not None:
        start = np.ones((2, 2))
    with pytest.raises(FiniteSumError, match=message):
        sums.sgd_ensemble(gradient or problem.gradient, start, snapshots, **(KEYS | {"batch": 2}))


def test_sums_and_moments_that_cannot_be(problem, skewed):
    with pytest.raises(FiniteSumError, match="symmetric"):
        QuadraticSum(np.ones((2, 2, 2)) * [[1, 2], [3, 4]], np.ones((2, 2)))
    with pytest.raises(FiniteSumError, match=r"\(2, 2, 2\) and \(3, 2\)"):
        QuadraticSum(np.ones((2, 2, 2)), np.ones((3, 2)))
    with pytest.raises(FiniteSumError, match="NaN"):
        QuadraticSum(np.ones((2, 1, 1)), [[1], [np.nan]])
    with pytest.raises(FiniteSumError, match="equal Hessians"):
        sums.sde_characteristic(problem, [0, 0], [1, 1], 1.0, temperature=1.0)
    with pytest.raises(FiniteSumError, match="lower the order"):
        sums.sde_moments(problem, point_moments([0, 0], 8), 1.0, temperature=1.0)
    with pytest.raises(FiniteSumError, match="point_moments"):
        sums.sde_moments(problem, np.ones((2, 2)), 1.0, temperature=1.0)
    with pytest.raises(FiniteSumError, match="with replacement"):
        sums.sgd_characteristic(
            skewed, [0], [1], 1, rate=0.1, batch=2, sampling="without-replacement"
        )
