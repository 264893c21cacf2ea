"""The linear theory of SGD against simulation, torch's steps and the limit of small rates."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from limitcycles.statistics import currents
from limitcycles.statistics.blocks import SeriesError
from limitcycles.theory import linear_theory
from limitcycles.theory.linear_sgd import LinearSGD, linear_series

H = np.array([[1.0, 0.3, 0.0], [0.3, 0.6, 0.2], [0.0, 0.2, 0.4]])
ROOT = np.array([[0.5, 0.0, 0.0], [1.0, 0.3, 0.0], [-1.0, 0.4, 1.2]])
D = ROOT @ ROOT.T
PLANE = np.eye(3)[:2]
KINDS = [(0.0, False), (0.9, False), (0.9, True)]


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_the_map_is_the_step(momentum, nesterov):
    model = LinearSGD(H, D, 0.2, 4, momentum, nesterov)
    x, g, v = model.simulate(20, 0, start=[1.0, -2.0, 0.5])
    for k in range(1, 19):
        state = np.concatenate([x[k], v[k - 1]]) if momentum else x[k]
        after = np.concatenate([x[k + 1], v[k]]) if momentum else x[k + 1]
        noise = g[k] - H @ x[k]
        np.testing.assert_allclose(model.transition @ state + model.entry @ noise, after)


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_steps_are_those_of_torch(momentum, nesterov):
    x, g, v = LinearSGD(H, D, 0.2, 5, momentum, nesterov).simulate(30, 5, start=[1.0, 2.0, -0.5])
    weights = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.2, momentum=momentum, nesterov=nesterov)
    for k in range(30):
        np.testing.assert_allclose(x[k], weights.detach().numpy(), atol=1e-12)
        weights.grad = torch.from_numpy(g[k].copy())
        optimiser.step()
        if momentum:
            buffer = optimiser.state[weights]["momentum_buffer"].numpy()
            np.testing.assert_allclose(v[k], buffer, atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_fluctuation_and_dissipation_are_in_balance(momentum, nesterov):
    # Yaida's first relation (2018): both sides from the covariance of (x, v), with g = Hx + ξ
    # and ξ of covariance D/b.
    model = LinearSGD(H, D, 0.2, 5, momentum, nesterov)
    sigma = model.covariance()
    xx, C = sigma[:3, :3], D / 5
    dissipation = np.trace(H @ xx)  # E[x·g]
    if momentum:
        xv, vv = sigma[:3, 3:], sigma[3:, 3:]
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
def test_covariance_by_brute_force_and_by_simulation(momentum, nesterov):
    model = LinearSGD(H, D, 0.2, 4, momentum, nesterov)
    A, sigma = model.transition, model.covariance()
    equations = np.eye(A.size) - np.kron(A, A)
    brute = np.linalg.solve(equations, model.noise.ravel()).reshape(A.shape)
    np.testing.assert_allclose(sigma, brute, rtol=1e-8, atol=1e-12)
    x, g, _ = model.simulate(100000, 1)
    np.testing.assert_allclose(
        np.cov(x.T), sigma[:3, :3], atol=0.08 * np.sqrt(np.prod(np.diag(sigma)[[0, 2]]))
    )
    np.testing.assert_allclose(np.cov((g - x @ H).T), D / 4, atol=0.02)


def test_one_weight_by_hand():
    # σ² = η²C/(1 − (1 − ηh)²); heavy ball: σ² = ηC(1 + μ)/(h(1 − μ)(2(1 + μ) − ηh)).
    eta, h, C = 0.3, 0.7, 2.0
    plain = LinearSGD([[h]], [[4 * C]], eta, 4).covariance()[0, 0]
    assert plain == pytest.approx(eta**2 * C / (1 - (1 - eta * h) ** 2))
    mu = 0.8
    ball = LinearSGD([[h]], [[4 * C]], eta, 4, mu).covariance()[0, 0]
    assert ball == pytest.approx(eta * C * (1 + mu) / (h * (1 - mu) * (2 * (1 + mu) - eta * h)))


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
@pytest.mark.parametrize("steps", [1, 5])
def test_area_rate_by_simulation(momentum, nesterov, steps):
    model = LinearSGD(H, D, 0.2, 4, momentum, nesterov)
    x = model.simulate(200000, 2)[0]
    measured = currents.area_rates(currents.project(x[::steps], PLANE[None]))
    epoch = model.epoch(4 * steps)
    assert abs(measured.rate[0] - epoch.area_rate(PLANE)) < 4 * measured.error[0]
    assert abs(epoch.area_rate(PLANE)) > 8 * measured.error[0]
    predicted = np.sqrt(epoch.area_variance(PLANE) / (len(x[::steps]) - 1))
    assert measured.error[0] == pytest.approx(predicted, rel=0.5)


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_small_rates_give_the_linear_theory(momentum, nesterov):
    # Time ηk/(1 − μ), temperature η/(2b(1 − μ)).
    eta, b = 1e-5 * (1 - momentum), 4
    model = LinearSGD(H, D, eta, b, momentum, nesterov)
    theory = linear_theory.decompose(H, D)
    temperature = eta / (2 * b * (1 - momentum))
    exact = theory.covariance(temperature)
    np.testing.assert_allclose(model.covariance()[:3, :3], exact, atol=1e-3 * exact.max())
    steps = 1000  # long against 1/(1 − μ), short against 1/(ηh)
    time = eta * steps / (1 - momentum)
    exact = theory.area_rate(temperature)[0, 1] * time
    assert model.epoch(b * steps).area_rate(PLANE) == pytest.approx(exact, rel=0.03)


def test_no_current_where_the_matrices_commute():
    model = LinearSGD(H, H @ H + 0.5 * H, 0.2, 4)
    assert model.epoch(28).area_rate(PLANE) == pytest.approx(0, abs=1e-15)
    assert abs(LinearSGD(H, D, 0.2, 4).epoch(28).area_rate(PLANE)) > 1e-3


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_epochs_are_steps_in_a_row(momentum, nesterov):
    model = LinearSGD(H, D, 0.2, 4, momentum, nesterov)
    epoch = model.epoch(24)
    noise = np.zeros_like(model.noise)
    for _ in range(6):
        noise = model.transition @ noise @ model.transition.T + model.noise
    np.testing.assert_allclose(epoch.noise, noise, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(epoch.covariance(), model.covariance(), rtol=1e-8)


def examples(count, seed):
    e = np.random.default_rng(seed).exponential(size=(count, 3)) @ ROOT.T
    return e - e.mean(0)


@pytest.mark.parametrize("count", [24, 22, 25])  # 22: the last has two; 25: one is left out
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_epochs_of_real_batches(momentum, nesterov, replacement, count):
    noise = examples(count, 3)
    model = LinearSGD(H, noise.T @ noise / count, 0.3, 4, momentum, nesterov)
    states = model.simulate_epochs(noise, 60000, 4, replacement=replacement)[500:]
    epoch = model.epoch(count, replacement=replacement)
    assert epoch.steps == 6
    sigma = epoch.covariance()
    size = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
    assert np.abs((np.cov(states.T) - sigma) / size).max() < 0.04
    d = model.dimension
    measured = currents.area_rates(currents.project(states[:, :d], PLANE[None]))
    assert abs(measured.rate[0] - epoch.area_rate(PLANE)) < 4 * measured.error[0]


def walk(model, noises, last=None):
    """The state after one epoch from 0 with these noises of batches, step by step."""
    z = np.zeros(len(model.transition))
    for i, noise in enumerate(noises):
        step = last if last is not None and i == len(noises) - 1 else model
        z = step.transition @ z + step.entry @ noise
    return z


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_noise_of_all_shuffles_with_a_smaller_last_batch(momentum, nesterov):
    values = examples(5, 1)  # batches of three and two
    model = LinearSGD(H, values.T @ values / 5, 0.3, 3, momentum, nesterov)
    ends = [
        walk(model, [values[list(o[:3])].mean(0), values[list(o[3:])].mean(0)])
        for o in itertools.permutations(range(5))
    ]
    exact = model.epoch(5, replacement=False)
    np.testing.assert_allclose(exact.noise, np.cov(np.transpose(ends), ddof=0), atol=1e-12)
    np.testing.assert_allclose(exact.transition, np.linalg.matrix_power(model.transition, 2))
    assert model.sizes(4) == [3]
    assert model.sizes(5) == [3, 2]
    assert LinearSGD(H, D, 0.3, 1).sizes(3) == [1, 1, 1]


@pytest.mark.parametrize(("momentum", "nesterov"), KINDS)
def test_noise_that_shuffling_leaves_and_a_last_batch_of_its_own(momentum, nesterov):
    rng = np.random.default_rng(0)
    R, own = np.diag([0.3, 0.1, 0.2]), 5 * D + np.eye(3)
    model = LinearSGD(H, D, 0.2, 4, momentum, nesterov)
    last = LinearSGD(2 * H, own, 0.2, 2, momentum, nesterov)
    epoch = model.epoch(10, rest=R, last=last)
    roots = [np.linalg.cholesky(m) for m in ((D + R) / 4, (D + R) / 4, own / 2)]
    ends = [
        walk(model, [root @ rng.standard_normal(3) for root in roots], last) for _ in range(40000)
    ]
    size = np.sqrt(np.outer(*2 * [np.diag(epoch.noise)]))
    assert np.abs((np.cov(np.transpose(ends)) - epoch.noise) / size).max() < 0.03
    state = rng.standard_normal(len(model.transition))
    np.testing.assert_allclose(
        epoch.transition @ state,
        last.transition @ (model.transition @ (model.transition @ state)),
    )
    # Without replacement the rest is added to what the shuffle leaves.
    shuffled = model.epoch(12, replacement=False).noise
    added = model.epoch(12, replacement=False, rest=R).noise - shuffled
    alone = LinearSGD(H, R, 0.2, 4, momentum, nesterov).epoch(12).noise
    np.testing.assert_allclose(added, alone, atol=1e-14)


def test_shuffling_quiets_flat_directions():
    # To first order in ηh the noises of an epoch sum to nothing in a flat direction.
    flat = LinearSGD([[1e-4]], [[1.0]], 0.1, 1)
    with_, without = (flat.epoch(50, replacement=r).covariance()[0, 0] for r in (True, False))
    assert without < 1e-4 * with_
    # Where it is quite flat, the noises of an epoch cancel altogether.
    assert LinearSGD([[0.0]], [[1.0]], 0.1, 1).epoch(50, replacement=False).noise == pytest.approx(
        0, abs=1e-15
    )


def test_noise_of_shuffled_epochs_by_all_permutations():
    values = np.array([[1.0], [-3.0], [0.5], [1.5]])
    model = LinearSGD([[2.0]], [[(values**2).mean()]], 0.1, 1)
    ends = []
    for order in itertools.permutations(values[:, 0]):
        x = 0.0
        for noise in order:
            x -= 0.1 * (2 * x + noise)
        ends.append(x)
    exact = model.epoch(4, replacement=False).noise[0, 0]
    assert exact == pytest.approx(np.var(ends), rel=1e-10)
    pairs = LinearSGD([[2.0]], [[(values**2).mean()]], 0.1, 2)
    ends = []
    for order in itertools.permutations(values[:, 0]):
        x = 0.0
        for noise in (np.mean(order[:2]), np.mean(order[2:])):
            x -= 0.1 * (2 * x + noise)
        ends.append(x)
    assert pairs.epoch(4, replacement=False).noise[0, 0] == pytest.approx(np.var(ends), rel=1e-10)


def test_linear_series_is_the_recursion():
    rng = np.random.default_rng(6)
    A = 0.4 * rng.normal(size=(4, 4))
    noise, x = rng.normal(size=(50, 4)), rng.normal(size=4)
    found = linear_series(A, noise, x)
    for k in range(50):
        x = A @ x + noise[k]
        np.testing.assert_allclose(found[k], x, atol=1e-10)


def test_a_run_from_the_stationary_state_stays_there():
    model = LinearSGD(H, D, 0.2, 4, 0.9)
    starts = np.array([model.simulate(2, seed)[0] for seed in range(3000)])
    sigma = model.covariance()[:3, :3]
    for k in range(2):
        np.testing.assert_allclose(
            np.cov(starts[:, k].T) / sigma.max(), sigma / sigma.max(), atol=0.1
        )


def test_exceptions():
    for change, match in (
        ({"rate": -1.0}, "rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"nesterov": True}, "Nesterov"),
        ({"diffusion": np.eye(2)}, "one shape"),
        ({"hessian": np.triu(np.ones((3, 3)))}, "H is not symmetric"),
    ):
        arguments = {"hessian": H, "diffusion": D, "rate": 0.1, "batch": 4} | change
        with pytest.raises(SeriesError, match=match):
            LinearSGD(**arguments)
    with pytest.raises(SeriesError, match="multiply a deviation by 1"):
        LinearSGD(np.diag([1.0, 0.0, 1.0]), D, 0.1, 4).covariance()
    with pytest.raises(SeriesError, match="plane"):
        LinearSGD(H, D, 0.1, 4).epoch(12).area_rate(np.eye(3))
    with pytest.raises(SeriesError, match="short"):
        LinearSGD(H, D, 0.1, 4).epoch(5, replacement=False)
    for examples_, last in ((8, 2), (10, 3)):
        with pytest.raises(SeriesError, match="no last batch"):
            LinearSGD(H, D, 0.1, 4).epoch(examples_, last=LinearSGD(H, D, 0.1, last))
    with pytest.raises(SeriesError, match="at least the batch"):
        LinearSGD(H, D, 0.1, 4).simulate_epochs(np.zeros((6, 2)), 5, 0)
    with pytest.raises(SeriesError, match="dependent"):
        linear_series(np.array([[0.5, 1.0], [0.0, 0.5]]), np.zeros((5, 2)))


def test_stationary_solution_of_a_critical_ball():
    # A double eigenvalue, √μ = 1 − √(ηh): no basis of eigenvectors, but a covariance.
    eta, h = 0.1, 0.4
    mu = (1 - np.sqrt(eta * h)) ** 2
    model = LinearSGD([[h]], [[1.0]], eta, 1, mu)
    sigma = model.covariance()
    residual = model.transition @ sigma @ model.transition.T + model.noise - sigma
    assert np.abs(scipy.linalg.norm(residual)) < 1e-10 * scipy.linalg.norm(sigma)
