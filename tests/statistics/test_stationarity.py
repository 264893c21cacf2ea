"""Gates on series that are stationary, and on series that are not."""

import numpy as np
import pytest
import torch

from limitcycles.statistics import nulls, stationarity
from limitcycles.statistics.blocks import SeriesError
from limitcycles.theory.linear_sgd import LinearSGD

H = np.array([[1.0, 0.3], [0.3, 0.5]])
D = np.array([[0.4, -0.1], [-0.1, 2.0]])
KINDS = [(0.0, False), (0.9, False), (0.9, True), (0.5, True)]


def test_halves_by_hand():
    # Halves of four values, two batches each: means (0, 2) and (3, 5); see `batch_means`.
    series = np.array([[-1.0], [1], [1], [3], [2], [4], [4], [6]])
    result = stationarity.halves(series, batches=4, shift=10, ratio=100)
    deviation = series.std()
    assert result.shift == pytest.approx((4 - 1) / deviation)
    half = 6.313752 * np.sqrt(1 + 1) / deviation  # t(0.95, 1); errors √2/√2 = 1
    assert result.shift_high - result.shift == pytest.approx(half)
    assert result.log_ratio == pytest.approx(0)
    np.testing.assert_allclose(result.log_ratio_high, 0, atol=1e-12)  # (x − m)² batches are equal


def test_stationary_series_pass_and_others_do_not():
    ou = nulls.simulate("ornstein-uhlenbeck", (40, 20000), 0, phi=0.95).T
    assert stationarity.halves(ou).same.mean() > 0.9
    trend = np.linspace(0, 1.5, 20000)[:, None] * ou.std()
    assert not stationarity.halves(ou + trend).same.any()
    louder = ou * np.where(np.arange(20000) < 10000, 1, 1.4)[:, None]
    result = stationarity.halves(louder)
    assert not result.same.any()
    assert np.exp(result.log_ratio.mean()) == pytest.approx(1.96, rel=0.1)
    assert not stationarity.halves(np.concatenate([ou[:, :1], louder[:, :1]], axis=1)).passed


def test_random_walks_do_not_pass():
    walks = nulls.simulate("random-walk", (400, 5000), 1).T
    assert stationarity.halves(walks).same.mean() < 0.02


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_a_deviation_at_the_tolerance_passes_as_seldom_as_said(shift):
    points = np.random.default_rng(2).standard_normal((2000, 2000))
    points[1000:] += shift / np.sqrt(1 - shift**2 / 4)  # half a deviation of the whole run
    passed = stationarity.halves(points, batches=30).same.mean()
    assert abs(passed - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_too_short_a_run_does_not_pass():
    short = nulls.simulate("ornstein-uhlenbeck", (200, 400), 3, phi=0.95).T
    assert stationarity.halves(short).same.mean() < 0.2


# ---------------------------------------------------------------- FDR1


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_relation_holds_exactly_in_the_stationary_state(momentum, nesterov):
    # Both sides from the closed covariance of (x, v), g = Hx + ξ with ξ of covariance D/b.
    model = LinearSGD(H, D, 0.2, 5, momentum, nesterov)
    sigma = model.covariance()
    xx, C = sigma[:2, :2], D / 5
    dissipation = np.trace(H @ xx)  # E[x·g]
    if momentum:
        xv, vv = sigma[:2, 2:], sigma[2:, 2:]
        gg = H @ xx @ H + C
        gv = H @ xv  # E[g vᵀ], v before the step
        new_vv = momentum**2 * vv + momentum * (gv + gv.T) + gg
        gv_new = gg + momentum * gv
    else:
        new_vv = gv_new = H @ xx @ H + C
    if nesterov:
        uu = gv_new + gv_new.T
        uu = (H @ xx @ H + C) + momentum * uu + momentum**2 * new_vv
        uv = gv_new + momentum * new_vv
        right = 0.1 * (1 - momentum) * np.trace(uu) + 0.2 * momentum**2 * np.trace(uv)
    else:
        right = 0.1 * (1 + momentum) * np.trace(new_vv)
    assert dissipation == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_relation_with_the_full_gradient(momentum, nesterov):
    model = LinearSGD(H, D, 0.2, 5, momentum, nesterov)
    x, g, v = model.simulate(40000, 1)
    terms = {"rate": 0.2, "momentum": momentum, "nesterov": nesterov}
    _, right = stationarity.fluctuation_dissipation_terms(x, g, v, **terms)
    left = np.einsum("ij,jk,ik->i", x, H, x)
    for result in (
        stationarity.fluctuation_dissipation(left, right),
        stationarity.fluctuation_dissipation(left[::7], right),
    ):
        assert result.passed
        assert abs(result.ratio - 1) < 3 * (result.high - result.low)
    # Another momentum than that of the run is noticed.
    wrong = terms | {"momentum": 0.2, "nesterov": False}
    _, right = stationarity.fluctuation_dissipation_terms(x, g, v, **wrong)
    assert not stationarity.fluctuation_dissipation(left, right).passed


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sides_with_mini_batches_differ_by_boundary_terms(momentum):
    # Σθ·g − (η/2)(1 + μ)Σ|v|² of any run of heavy ball, stationary or not.
    eta = 0.2
    x, g, v = LinearSGD(H, D, eta, 5, momentum).simulate(300, 2, start=[3.0, -2.0])
    left, right = stationarity.fluctuation_dissipation_terms(
        x[1:], g[1:], v[1:], rate=eta, momentum=momentum
    )
    theta = x - x[1:].mean(0)
    end = theta[-1] - eta * v[-1]
    boundary = (1 - momentum) * (theta[1] @ theta[1] - end @ end) / (2 * eta)
    boundary += momentum * (theta[-1] @ v[-1] - theta[0] @ v[0])
    boundary += momentum * eta * (v[0] @ v[0] - v[-1] @ v[-1])
    assert left.sum() - right.sum() == pytest.approx(boundary, rel=1e-9)
    assert abs(boundary) > 0.1


def test_a_walk_breaks_the_relation():
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(40):
        g = rng.standard_normal((3000, 1))
        x = -0.1 * (np.cumsum(g, axis=0) - g)  # a step of rate 0.1 each, no restoring force
        passed += stationarity.fluctuation_dissipation(
            *stationarity.fluctuation_dissipation_terms(x, g, g, rate=0.1)
        ).passed
    assert passed <= 2


def test_steps_are_read_off_the_weights():
    x, g, v = LinearSGD(H, D, 0.2, 5, 0.9).simulate(50, 4)
    theta, gradient, velocity = stationarity.steps_of(x, rate=0.2, momentum=0.9)
    np.testing.assert_allclose(theta, x[1:-1])
    np.testing.assert_allclose(gradient, g[1:-1], atol=1e-12)
    np.testing.assert_allclose(velocity, v[1:-1], atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_steps_are_those_of_torch(momentum, nesterov):
    x, g, v = LinearSGD(H, D, 0.2, 5, momentum, nesterov).simulate(30, 5, start=[1.0, 2.0])
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.2, momentum=momentum, nesterov=nesterov)
    for k in range(30):
        np.testing.assert_allclose(x[k], weights.detach().numpy(), atol=1e-12)
        weights.grad = torch.from_numpy(g[k].copy())
        optimiser.step()
        if momentum:
            buffer = optimiser.state[weights]["momentum_buffer"].numpy()
            np.testing.assert_allclose(v[k], buffer, atol=1e-12)


def test_exceptions():
    with pytest.raises(SeriesError, match="shift"):
        stationarity.halves(np.zeros((100, 1)), ratio=0.5)
    with pytest.raises(SeriesError, match="batches"):
        stationarity.halves(np.zeros((20, 1)))
    with pytest.raises(SeriesError, match="direction"):
        stationarity.halves(np.zeros(100))
    with pytest.raises(SeriesError, match="one shape"):
        stationarity.fluctuation_dissipation_terms(*np.zeros((2, 5, 1)), np.zeros((5, 2)), rate=1)
    with pytest.raises(SeriesError, match="momentum"):
        stationarity.fluctuation_dissipation_terms(*np.zeros((3, 5, 1)), rate=1, momentum=1)
    with pytest.raises(SeriesError, match="positive"):
        stationarity.fluctuation_dissipation(np.ones(100), np.zeros(100))
    with pytest.raises(SeriesError, match="four"):
        stationarity.steps_of(np.zeros((3, 2)), rate=1, momentum=0)


def test_still_series_do_not_pass():
    assert not stationarity.halves(np.ones((100, 1))).passed
