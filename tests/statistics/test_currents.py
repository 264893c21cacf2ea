"""Areas against geometry, brute-force moments and simulation."""

import numpy as np
import pytest
import scipy.linalg
import xarray as xr

from limitcycles.statistics import currents
from limitcycles.statistics.blocks import SeriesError
from limitcycles.theory import linear_theory
from limitcycles.theory.linear_sgd import linear_series

PLANE = np.eye(2)


def system(seed, d=3):
    """A stable A, the noise and the stationary covariance, full of entries."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(d, d))
    A *= 0.85 / np.abs(np.linalg.eigvals(A)).max()
    B = rng.normal(size=(d, d))
    return A, B @ B.T, scipy.linalg.solve_discrete_lyapunov(A, B @ B.T), rng.normal(size=(2, d))


def run(A, noise, steps, seed, warm=500):
    rng = np.random.default_rng(seed)
    steps += warm
    return linear_series(A, rng.standard_normal((steps, len(A))) @ np.linalg.cholesky(noise).T)[
        warm:
    ]


def test_area_of_a_polygon():
    # A turn around a regular 12-gon of radius 2: 12 triangles of area ½·4·sin 30° = 1 each.
    angle = 2 * np.pi * np.arange(13) / 12
    circle = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shifted = circle[:-1, None] + np.array([5.0, -3.0])
    np.testing.assert_allclose(currents.areas(shifted), 1)
    np.testing.assert_allclose(currents.areas(shifted[:, :, ::-1]), -1)
    np.testing.assert_allclose(currents.circular_area_rates(shifted), 1)


def test_projection_in_blocks():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(5000, 9)).astype(np.float32)
    planes = rng.normal(size=(4, 2, 9))
    expected = np.einsum("ed,pxd->epx", weights.astype(float), planes)
    np.testing.assert_allclose(currents.project(weights, planes), expected)
    lazy = xr.DataArray(weights, dims=("epoch", "weight"))
    np.testing.assert_array_equal(currents.project(lazy, planes), currents.project(weights, planes))


def test_cycling_frequency_of_a_clean_turn():
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(60001) / 300 + np.cumsum(0.01 * rng.standard_normal(60001))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    stretched = circle @ np.array([[3.0, 1.0], [0.0, 0.2]])
    for points in (circle, stretched):
        result = currents.area_rates(points[:, None])
        assert result.frequency == pytest.approx(1 / 300, rel=0.02)
        width = result.frequency_high - result.frequency_low
        assert abs(result.frequency - 1 / 300) < width < 0.1 / 300  # 4 errors
        assert result.significant.all()
    assert currents.area_rates(circle[:, None, ::-1]).frequency == pytest.approx(-1 / 300, rel=0.02)


def test_a_flat_plane_has_no_frequency():
    x = np.random.default_rng(2).normal(size=1000)
    result = currents.area_rates(np.stack([x, 2 * x], axis=1)[:, None])
    assert np.isnan(result.frequency).all()
    np.testing.assert_allclose(result.rate, 0, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_exact_rate_against_simulation(seed):
    A, noise, sigma, plane = system(seed)
    points = run(A, noise, 400000, seed)
    measured = currents.area_rates(currents.project(points, plane[None]))
    exact = currents.linear_area_rate(A, sigma, plane)
    assert abs(measured.rate[0] - exact) < 4 * measured.error[0]
    assert abs(exact) > 10 * measured.error[0]  # so that a wrong sign or factor is seen


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_variance_against_fourth_moments(seed):
    # Isserlis' theorem pair by pair: E[abcd] − E[ab]E[cd] = E[ac]E[bd] + E[ad]E[bc].
    A, _, sigma, (u, v) = system(seed)

    def covariance(a, j, b, k):  # of a·x_j and b·x_k
        power = np.linalg.matrix_power(A, abs(j - k)) @ sigma
        return a @ power @ b if j >= k else b @ power @ a

    def product(a, i, b, j, c, k, d, m):
        return covariance(a, i, c, k) * covariance(b, j, d, m) + covariance(
            a, i, d, m
        ) * covariance(b, j, c, k)

    def lagged(k):
        one = [(0.5, u, v), (-0.5, v, u)]
        return sum(
            f * g * product(a, 0, b, 1, c, k, d, k + 1) for f, a, b in one for g, c, d in one
        )

    total = lagged(0) + 2 * sum(lagged(k) for k in range(1, 150))
    assert currents.linear_area_variance(A, sigma, [u, v]) == pytest.approx(total, rel=1e-8)


def test_exact_variance_against_many_runs():
    A, noise, sigma, plane = system(3)
    rates = [
        currents.areas(currents.project(run(A, noise, 2000, seed), plane[None])).mean()
        for seed in range(600)
    ]
    exact = currents.linear_area_variance(A, sigma, plane) / 2000
    assert np.var(rates) == pytest.approx(exact, rel=4 * np.sqrt(2 / 600))


def test_short_steps_give_the_linear_theory():
    # Itô's formula: dA = ½ξ|x|²dt + ½ε(x dW_y − y dW_x), and d|x|² = (2ε² − 2γ|x|²)dt + 2ε x·dW,
    # so that A_T has the variance Tε⁴/(4γ)(1 + ξ²/γ²) for long T.
    gamma, xi, epsilon, h = 1.3, -2.0, 0.7, 1e-5
    F = np.array([[gamma, xi], [-xi, gamma]])
    A = np.eye(2) - h * F
    sigma = linear_theory.stationary_covariance(F, np.eye(2), epsilon**2 / 2, step=h)
    area = linear_theory.decompose(F, np.eye(2)).area_rate(epsilon**2 / 2)[0, 1]
    assert currents.linear_area_rate(A, sigma, PLANE) / h == pytest.approx(area, rel=1e-3)
    exact = epsilon**4 / (4 * gamma) * (1 + xi**2 / gamma**2)
    assert currents.linear_area_variance(A, sigma, PLANE) / h == pytest.approx(exact, rel=1e-3)


def test_batch_errors_agree_with_the_closed_variance():
    A, noise, sigma, plane = system(4)
    errors = [
        currents.area_rates(currents.project(run(A, noise, 5000, seed), plane[None])).error
        for seed in range(60)
    ]
    exact = currents.linear_area_variance(A, sigma, plane) / 5000
    assert np.mean(np.square(errors)) == pytest.approx(exact, rel=0.15)


def test_planes_are_corrected_for():
    points = np.random.default_rng(5).standard_normal((400, 3000, 2))
    twenty = [currents.area_rates(points[:, k : k + 20]) for k in range(0, 3000, 20)]
    families = np.mean([r.significant.any() for r in twenty])
    assert abs(families - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 150)
    singles = np.mean([currents.area_rates(points[:, [k]]).significant[0] for k in range(1500)])
    assert abs(singles - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 1500)
    for result in twenty[:10]:
        np.testing.assert_array_equal(result.significant, result.p_value < 0.05)


def driven(steps, seed):
    F = np.array([[1.0, 0.8], [-0.8, 1.0]]) / 20
    A, noise = linear_theory.transition(F, np.eye(2), 1.0, 1.0)
    return run(A, noise, steps, seed)[:, None]


@pytest.mark.parametrize("length", [1000, 1001])
@pytest.mark.parametrize("phases", currents.PHASES)
def test_surrogates_keep_spectra(phases, length):
    points = driven(length, 8)
    other = currents.surrogates(points, phases=phases, seed=1)
    assert other.shape == points.shape
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(other, axis=0)), np.abs(np.fft.rfft(points, axis=0)), rtol=1e-8
    )
    assert np.corrcoef(other[:, 0, 0], points[:, 0, 0])[0, 1] < 0.7


@pytest.mark.parametrize("length", [1000, 1001])
def test_common_phases_keep_the_current_and_independent_ones_do_not(length):
    points = driven(length, 9)
    observed = currents.circular_area_rates(points)
    common = currents.surrogates(points, phases="common", seed=2)
    np.testing.assert_allclose(currents.circular_area_rates(common), observed, rtol=1e-8)
    apart = currents.surrogates(points, phases="independent", seed=2)
    assert abs(currents.circular_area_rates(apart)[0]) < 0.3 * abs(observed[0])
    np.testing.assert_allclose(currents.areas(points).mean(0), observed, rtol=0.05)


def test_surrogate_areas_without_surrogates():
    points = driven(500, 10)
    principal = currents._principal(points)
    np.testing.assert_allclose(
        currents.circular_area_rates(principal), currents.circular_area_rates(points)
    )
    made = [
        currents.circular_area_rates(
            currents.surrogates(principal, phases="independent", seed=seed)
        )[0]
        for seed in range(1500)
    ]
    deviation = currents.surrogate_deviation(points)[0]
    assert abs(np.mean(made)) < 4 * deviation / np.sqrt(1500)
    assert np.std(made) == pytest.approx(deviation, rel=4 * np.sqrt(0.5 / 1500))


def test_surrogates_of_independent_coordinates_have_the_closed_variance():
    A, noise = np.diag([0.9, 0.6]), np.eye(2)
    sigma = scipy.linalg.solve_discrete_lyapunov(A, noise)
    exact = currents.linear_area_variance(A, sigma, PLANE) / 4000
    squares = [
        currents.surrogate_deviation(run(A, noise, 4000, seed)[:, None])[0] ** 2
        for seed in range(40)
    ]
    assert np.mean(squares) == pytest.approx(exact, rel=0.05)


def test_exceptions():
    points = np.zeros((50, 1, 2))
    with pytest.raises(SeriesError, match="plane, 2"):
        currents.areas(np.zeros((50, 2)))
    with pytest.raises(SeriesError, match="infinite"):
        currents.areas(points + np.inf)
    with pytest.raises(SeriesError, match="planes"):
        currents.project(np.zeros((10, 3)), np.zeros((1, 2, 4)))
    with pytest.raises(SeriesError, match="phases"):
        currents.surrogates(points, phases="none", seed=0)
    with pytest.raises(SeriesError, match="batches"):
        currents.area_rates(points)
    with pytest.raises(SeriesError, match=r"\(2, d\)"):
        currents.linear_area_rate(np.eye(2), np.eye(2), np.eye(3))
