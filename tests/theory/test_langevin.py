"""Ensembles against laws in closed form, and the tools that compare them."""

import itertools

import numpy as np
import pytest
import scipy.stats

from limitcycles.statistics.convergence import log_log_slope
from limitcycles.theory import langevin
from limitcycles.theory.langevin import LangevinError, langevin_ensemble, weak_error
from limitcycles.theory.linear_theory import stationary_covariance, transition

F = np.array([[1.0, 0.8], [-1.2, 1.5]])
D = np.array([[1.0, 0.4], [0.4, 0.5]])


def linear(x):
    return -x @ F.T


def euler_law(start, steps, h, temperature, D=D, F=F):
    """Mean and covariance of the steps themselves, exactly."""
    P = np.eye(len(F)) - h * F
    mean, C = np.array(start, dtype=float), np.zeros_like(F)
    for _ in range(steps):
        mean, C = P @ mean, P @ C @ P.T + 2 * temperature * h * D
    return mean, C


def assert_law(points, mean, C):
    """First and second moments within 4.5 standard errors."""
    n = len(points)
    np.testing.assert_array_less(np.abs(points.mean(0) - mean), 4.5 * np.sqrt(np.diag(C) / n))
    scale = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / n)
    np.testing.assert_array_less(np.abs(np.cov(points.T) - C), 4.5 * scale + 1e-15)


FORMS = {
    "tensor": D,
    "function giving tensors": lambda x: np.broadcast_to(D, (*x.shape, 2)),
    "diagonal": np.array([1.0, 0.25]),
    "function giving diagonals": lambda x: np.broadcast_to([1.0, 0.25], x.shape),
    "number": 0.6,
    "function giving numbers": lambda x: np.full(x.shape[:-1], 0.6),
    "singular tensor": np.outer([1.0, 2.0], [1.0, 2.0]),
    "no noise along one axis": np.array([1.0, 0.0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_linear_steps_have_their_exact_law(form):
    diffusion = FORMS[form]
    points = langevin_ensemble(
        linear,
        diffusion,
        np.tile([1.0, -0.5], (40_000, 1)),
        [0.2, 0.5],
        step=0.05,
        temperature=0.3,
        seed=0,
        block=15_000,
    )
    assert points.shape == (2, 40_000, 2)
    tensor = np.asarray(diffusion(np.zeros((1, 2)))[0] if callable(diffusion) else diffusion)
    if tensor.ndim < 2:
        tensor = tensor * np.eye(2)
    for at, steps in zip(points, (4, 10), strict=True):
        assert_law(at, *euler_law([1.0, -0.5], steps, 0.05, 0.3, tensor))


def test_three_dimensions_take_roots_by_eigenvectors():
    rng = np.random.default_rng(1)
    B = rng.normal(size=(3, 2))  # rank 2
    tensor, drift = B @ B.T, np.diag([1.0, 2.0, 3.0])
    for diffusion in (tensor, lambda x: np.broadcast_to(tensor, (*x.shape, 3))):
        points = langevin_ensemble(
            lambda x: -x @ drift,
            diffusion,
            np.ones((30_000, 3)),
            [0.3],
            step=0.1,
            temperature=0.5,
            seed=0,
        )[0]
        assert_law(points, *euler_law(np.ones(3), 3, 0.1, 0.5, tensor, drift))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_roots_square_to_their_tensor(d, rank):
    B = np.random.default_rng(rank).normal(size=(50, d, rank))
    tensors = B @ B.swapaxes(1, 2)
    roots = langevin._Root(lambda x: tensors, 0.5, d)._root(tensors, np.zeros((50, d)), 0.0)
    np.testing.assert_allclose(roots @ roots, tensors, atol=1e-7)
    np.testing.assert_allclose(roots, roots.swapaxes(1, 2), atol=1e-12)


def test_times_that_no_step_divides():
    """Equal, shorter steps: 0.25 in three, and a snapshot at the start."""
    points = langevin_ensemble(
        linear, D, np.ones((5, 2)), [0.0, 0.25], step=0.1, temperature=0.0, seed=0
    )
    np.testing.assert_array_equal(points[0], np.ones((5, 2)))
    np.testing.assert_allclose(points[1], np.tile(euler_law([1, 1], 3, 0.25 / 3, 0)[0], (5, 1)))


def test_the_same_seed_gives_the_same_paths():
    start = np.zeros((9, 2))
    keys = {"step": 0.1, "temperature": 1.0, "block": 4}
    a, b, c = (langevin_ensemble(linear, D, start, [1.0], seed=s, **keys) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert len(np.unique(a)) == 18  # blocks do not repeat each other
    assert (start == 0).all()


def test_antithetic_paths_mirror_each_other():
    points = langevin_ensemble(
        linear, D, np.zeros((8, 2)), [1.0], step=0.1, temperature=1, seed=0, antithetic=True
    )[0]
    np.testing.assert_allclose(points[::2], -points[1::2], atol=1e-14)
    errors = weak_error(points, {"x": lambda x: x[:, 0]}, {"x": 0.0}, antithetic=True)
    assert errors["x"].standard_error < 1e-14


def test_substeps_see_the_same_brownian_path():
    """Without drift the sums are the paths: a step of 0.4 in four parts, and four of 0.1."""
    keys = {"temperature": 1.0, "seed": 3}

    def still(x):
        return np.zeros_like(x)

    coarse = langevin_ensemble(still, D, np.zeros((7, 2)), [2.0], step=0.4, substeps=4, **keys)
    fine = langevin_ensemble(still, D, np.zeros((7, 2)), [2.0], step=0.1, **keys)
    np.testing.assert_allclose(coarse, fine, atol=1e-12)


def test_weak_order_one_of_a_nonlinear_equation():
    """Differences between a step and its half, on common paths; varying D, Itô."""
    start = np.full((40_000, 1), 1.0)

    def run(step, substeps):
        return langevin_ensemble(
            lambda x: -(x**3),
            lambda x: 1 + x**2 / 2,
            start,
            [1.0],
            step=step,
            temperature=0.2,
            seed=0,
            substeps=substeps,
            antithetic=True,
        )[0]

    tests = {"cos": lambda x: np.cos(x[:, 0])}
    steps, found = [0.2, 0.1, 0.05], []
    runs = [run(0.2, 8), run(0.1, 4), run(0.05, 2), run(0.025, 1)]
    for coarse, fine in itertools.pairwise(runs):
        error = weak_error(coarse, tests, {}, control=fine, antithetic=True)["cos"]
        assert error.resolved()
        found.append(error.error)
    assert log_log_slope(steps, found).slope == pytest.approx(1, abs=0.3)


def test_ito_and_stratonovich_are_two_equations():
    """Geometric Brownian motion, D = x²: E x = x₀ e^{−at} in Itô, x₀ e^{(T − a)t} else."""
    temperature, a = 0.3, 0.5
    keys = {"step": 0.01, "temperature": temperature, "seed": 0}
    start = np.ones((60_000, 1))
    for reading, rate in (("ito", -a), ("stratonovich", temperature - a)):
        points = langevin_ensemble(
            lambda x: -a * x, lambda x: x**2, start, [1.0], reading=reading, **keys
        )[0]
        error = points.std() / len(points) ** 0.5
        assert points.mean() == pytest.approx(np.exp(rate), abs=4 * error + 0.003)
        # Both are lognormal, log x with variance 2Tt and mean −at − T t or −at.
        assert np.log(points).mean() == pytest.approx(rate - temperature, abs=0.02)


def test_constant_noise_reads_the_same():
    keys = {"step": 0.1, "temperature": 1.0, "seed": 0}
    ito, other = (
        langevin_ensemble(linear, D, np.zeros((5, 2)), [1.0], reading=r, **keys)
        for r in langevin.READINGS
    )
    np.testing.assert_array_equal(ito, other)


def test_long_paths_reach_the_stationary_covariance():
    points = langevin_ensemble(
        linear, D, np.zeros((50_000, 2)), [6.0], step=0.05, temperature=0.4, seed=0
    )[0]
    assert_law(points, np.zeros(2), stationary_covariance(F, D, 0.4, step=0.05))
    C = transition(F, D, 0.4, 6.0)[1]
    np.testing.assert_allclose(C, np.cov(points.T), atol=0.03)


def test_weak_error_by_hand():
    points = np.array([[1.0], [2.0], [3.0]])
    found = weak_error(points, {"square": lambda x: x[:, 0] ** 2}, {"square": 4.0})["square"]
    assert found.error == pytest.approx(14 / 3 - 4)
    assert found.standard_error == pytest.approx(np.std([1, 4, 9], ddof=1) / 3**0.5)
    assert not found.resolved()


EDGES = [np.linspace(-4, 4, 21), np.linspace(-3, 3, 16)]


def gaussian_masses(scale=1.0):
    parts = [np.diff(scipy.stats.norm.cdf(edges, scale=scale)) for edges in EDGES]
    return np.outer(*parts)


def test_shares_by_hand():
    points = [[0.5, 0.5], [0.5, 0.6], [1.5, 0.5], [9, 9]]
    found = langevin.cell_shares(points, [[0, 1, 2], [0, 1]])
    np.testing.assert_array_equal(found, [[0.5], [0.25]])


def test_the_envelope_holds_as_often_as_said():
    """Over three times together; histograms of other densities leave it."""
    rng = np.random.default_rng(0)
    masses = np.array([gaussian_masses(s) for s in (0.5, 0.8, 1.0)])
    held = []
    for trial in range(150):
        points = [rng.normal(0, s, size=(800, 2)) for s in (0.5, 0.8, 1.0)]
        shares = np.array([langevin.cell_shares(p, EDGES) for p in points])
        found = langevin.histogram_distances(
            shares, masses, paths=800, seed=trial, draws=200, level=0.9
        )
        held.append(found.inside.all())
    assert abs(np.mean(held) - 0.9) < 4 * (0.09 / 150) ** 0.5 + 0.01
    wrong = langevin.histogram_distances(shares, masses[[1, 2, 0]], paths=800, seed=0, draws=200)
    assert not wrong.inside.any()


def test_distances_by_hand():
    found = langevin.histogram_distances([[0.5, 0.3]], [[0.6, 0.4]], paths=10, seed=0, draws=50)
    assert found.distance == pytest.approx([0.2])
    assert found.inside.all()


KEYS = {"step": 0.1, "temperature": 1.0, "seed": 0}
START = np.zeros((4, 2))


def test_a_drift_that_changes_its_shape_on_the_way_is_refused():
    def drift(x):
        return -x if np.all(x == 0) else -x[:1]

    with pytest.raises(LangevinError, match=r"drift has shape \(1, 2\) at points of"):
        langevin_ensemble(drift, 1.0, START, [1.0], **KEYS)


@pytest.mark.parametrize(
    ("drift", "diffusion", "change", "message"),
    [
        (lambda x: 1 + x**3, 1.0, {"times": [90.0]}, "no longer finite at time"),
        (lambda x: x[..., 0], 1.0, {}, r"drift has shape \(4,\)"),
        (linear, np.eye(3), {}, r"D of shape \(3, 3\) does not fit"),
        (linear, lambda x: np.ones((4, 3)), {}, r"D\(x\) has shape \(4, 3\)"),
        (linear, -0.5, {}, "eigenvalue -0.5$"),
        (linear, np.array([1.0, -0.25]), {}, "eigenvalue -0.25$"),
        (linear, np.array([[1.0, 2.0], [2.0, 1.0]]), {}, "eigenvalue -1$"),
        (linear, np.array([[1.0, 2.0], [0.0, 1.0]]), {}, "not symmetric"),
        (
            linear,
            lambda x: np.broadcast_to(np.diag([1.0, -2.0]), (*x.shape, 2)),
            {},
            r"eigenvalue -2 at x = \[0.0, 0.0\], time 0$",
        ),
        (linear, 1.0, {"times": [1.0, 0.5]}, "ascend"),
        (linear, 1.0, {"times": [-1.0]}, "ascend"),
        (linear, 1.0, {"start": np.zeros(2)}, r"not \(2,\)"),
        (linear, 1.0, {"step": 0.0}, "step must be finite and positive, not 0.0"),
        (linear, 1.0, {"reading": "backward"}, "not 'backward'"),
        (linear, 1.0, {"antithetic": True, "start": np.zeros((3, 2))}, "3 paths in blocks"),
    ],
)
def test_ensembles_that_cannot_be(drift, diffusion, change, message):
    keys = {"start": START, "times": [1.0]} | KEYS | change
    with pytest.raises(LangevinError, match=message):
        langevin_ensemble(drift, diffusion, **keys)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weak_error(START, {"x": lambda x: x[:, 0]}, {}), "no reference value.*'x'"),
        (lambda: weak_error(START, {"x": lambda x: x}, {"x": 0.0}), r"gave shape \(4, 2\)"),
        (lambda: weak_error(START, {}, {}, control=START[1:]), "must agree"),
        (
            lambda: langevin.histogram_distances([[1.0]], [[1.0, 0.0]], paths=9, seed=0),
            r"not \(1, 1\) and \(1, 2\)",
        ),
        (
            lambda: langevin.histogram_distances([[1.0, 0]], [[1.2, -0.2]], paths=9, seed=0),
            "lowest is -0.2",
        ),
    ],
)
def test_comparisons_that_cannot_be(call, message):
    with pytest.raises(LangevinError, match=message):
        call()
