"""A user's functions may write into their argument, or return one array again and again."""

import numpy as np
import pytest
import torch

from limitcycles.diffusion import curvature
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    expected_variance,
)
from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.blocks import per_weight
from limitcycles.theory import batch_noise, flows, jko, linear_theory
from limitcycles.theory.finite_sums import QuadraticSum, sgd_ensemble
from limitcycles.theory.flows.field import jacobian_of
from limitcycles.theory.fokker_planck import Grid, evolve, generator, steady_state
from limitcycles.theory.functions import FunctionError, pure
from limitcycles.theory.jko import Quantiles, jko_flow_1d
from limitcycles.theory.langevin import histogram_distances, langevin_ensemble, weak_error
from limitcycles.theory.line_expectations import (
    Interval,
    LineSum,
    sde_expectations,
    sgd_expectations,
)
from limitcycles.training import sgd

GRID = Grid(-5, 7, 600)
KEYS = {"step": 0.1, "temperature": 0.5}
EDGES = np.linspace(-6, 6, 201)
BELL = np.exp(-((EDGES[1:] + EDGES[:-1]) ** 2) / 8)


def writing(function):
    """`function`, after whose call the arguments are spoilt, and the value with the next call."""
    kept = {}

    def spoils(*arguments):
        value = np.asarray(function(*[np.array(a) for a in arguments]), dtype=float)
        for a in arguments:
            if a.dtype.kind == "f":
                a -= 1.0
            else:
                a[...] = 0
        held = kept.setdefault(value.shape, np.empty(value.shape))
        held[...] = value
        return held

    return spoils


def towards_one(x):
    return 1.0 - x


def noise(x):
    return 0.5 + 0.1 * np.sin(x[..., 0])


def swirl(x):
    radius = (x**2).sum(-1, keepdims=True)
    return x * (1 - radius) + np.stack([-x[..., 1], x[..., 0]], axis=-1)


def squares(x, k):
    return (1.0 + k[..., None]) * (x - 1.0)


def steady(give):
    made = generator(GRID, give(towards_one), give(noise), 0.4)
    return steady_state(made), GRID.centres


def langevin(give):
    keys = {"step": 0.01, "temperature": 0.3, "seed": 0, "reading": "stratonovich"}
    return langevin_ensemble(give(towards_one), give(noise), np.ones((6, 1)), [0.1, 0.3], **keys)


def sums(give):
    keys = {"samples": 4, "rate": 0.1, "batch": 2, "sampling": "with-replacement", "seed": 0}
    return sgd_ensemble(give(squares), np.zeros((5, 2)), [3, 6], **keys)


def weak(give):
    points, control = np.linspace(0, 1, 8)[:, None], np.linspace(0, 2, 8)[:, None]
    functions = {name: give(lambda x: x[..., 0] ** 2) for name in ("a", "b")}
    found = weak_error(points, functions, {}, control=control)
    return [found["a"].error, found["b"].error], points, control


def flow(give):
    keys = {"step": 0.1, "temperature": 0.5, "curvature": give(lambda x: 1 + x**2)}
    start = Quantiles.from_cells(EDGES, BELL)
    loss, slope = give(lambda x: x**2 / 2 + x**4 / 12), give(lambda x: x + x**3 / 3)
    found = jko_flow_1d(start, loss, slope, [0.2], **keys)[0]
    return found.edges, jko.free_energy_1d(found, loss, temperature=0.5), start.edges


def lines(give):
    line = LineSum(give(lambda x: np.stack([x - 0.1, 0.9 * x + 0.1])), np.array([0.5, 0.5]))
    interval, functions = Interval(-1, 1, 12), [give(np.cos), give(np.sin)]
    return (
        sgd_expectations(line, interval, functions, 0.3, 4, rate=0.1, batch=2),
        sde_expectations(line, interval, functions, 0.3, 0.4, temperature=0.05),
        interval.points,
    )


def searched(give):
    def slope(x):
        return jacobian_of(swirl)(x)

    box = ((-2, 2), (-2, 2))
    found = flows.limit_cycles(give(swirl), box, jacobian=give(slope), samples=12)
    basins = flows.basin_shares(give(swirl), box, search=found, count=5, max_time=20)
    return found.cycles[0].period, found.cycles[0].multiplier, basins.final


def points(give):
    found = flows.fixed_points(give(swirl), ((-2, 2), (-2, 2)))
    return found[0].position, found[0].eigenvalues, jacobian_of(give(swirl))(np.ones(2))


def orbit(give):
    start = np.array([1.0, 0.0])
    found = flows.closes(give(swirl), start, 10.0)
    return found.time, found.distance, start, flows.index_of_box(give(swirl), ((-2, 2), (-2, 2)))


def statistic(give):
    weights = np.asfortranarray(np.random.default_rng(0).normal(size=(20, 3)))
    return per_weight(weights, give(lambda series: series.mean(1))), weights


CALLERS = (steady, langevin, sums, weak, flow, lines, searched, points, orbit, statistic)


@pytest.mark.parametrize("caller", CALLERS)
def test_a_function_that_writes_into_its_argument_changes_nothing(caller):
    for found, expected in zip(caller(writing), caller(lambda f: f), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_centres_of_a_grid_stay():
    def drift(x):
        x -= 1.0
        return -x

    for function in (drift, towards_one, drift):
        density = steady_state(generator(GRID, function, 1.0, 0.4))
        assert (density * GRID.axes[0]).sum() * GRID.volume == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + 1j, "given as drift returned ndarray of complex128; it must"),
        (lambda x: None, "given as drift returned NoneType; it must"),
        (lambda x: [[1.0], [1.0, 2.0]], r"given as drift returned list \(.*inhomogeneous"),
        (lambda x: np.ma.masked_less(x, 0), "function given as drift returns has masked entries"),
        (3.0, "drift must be a function of points, not float"),
    ],
)
def test_functions_that_give_no_numbers(function, message):
    with pytest.raises(FunctionError, match=message):
        generator(GRID, function)


def test_single_precision_is_widened():
    assert pure(lambda x: np.float32(x), "f")(np.ones(2)).dtype == np.float64


def test_losses_of_another_shape_are_refused():
    start, keys = Quantiles.from_cells(EDGES, BELL), {"step": 0.1, "temperature": 0.5}
    with pytest.raises(jko.JkoError, match=r"the gradient has shape \(\) at points of shape"):
        jko_flow_1d(start, np.zeros_like, lambda x: 0.0, [0.2], **keys)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (arguments.number, np.nan, "h must be finite and positive, not nan"),
        (arguments.number, np.inf, "not inf"),
        (arguments.number, 0.0, "not 0.0"),
        (arguments.number, -1, "not -1"),
        (arguments.number, "1s", "h must be a number, not '1s'"),
        (arguments.number, None, "h must be a number, not None"),
        (arguments.whole, 0, "h must be a whole number from 1 on, not 0"),
        (arguments.whole, 2.5, "h must be a whole number, not 2.5"),
        (arguments.whole, np.nan, "h must be a whole number, not nan"),
        (arguments.points, [[1.0, np.nan]], r"h must be finite, not nan at \[0, 1\]"),
        (arguments.points, [1j], "real numbers, not of complex128"),
        (arguments.points, np.ma.masked_equal([1, 2], 2), "h has masked entries.*filled"),
        (arguments.points, [[1], [1, 2]], "h must be an array of numbers"),
        (arguments.ascending, [np.nan], r"h must be finite, not nan at \[0\]"),
        (arguments.ascending, [2, 1], r"h must ascend from 0 on, not \[2.0, 1.0\]"),
        (arguments.ascending, [-1.0, 1], "ascend"),
        (arguments.ascending, [], "ascend"),
        (arguments.ascending, 1.0, "ascend"),
    ],
)
def test_arguments_that_cannot_be(check, value, message):
    with pytest.raises(LimitcyclesError, match=message):
        check("h", value, LimitcyclesError)


def masked(*shape):
    found = np.ma.masked_array(np.ones(shape))
    found[(0,) * len(shape)] = np.ma.masked
    return found


@pytest.mark.parametrize(
    "call",
    [
        lambda: linear_theory.stationary_covariance(masked(2, 2), np.eye(2), 1.0),
        lambda: linear_theory.decompose(np.eye(2), masked(2, 2)),
        lambda: batch_noise.predicted_covariance(masked(4, 2), 2, "with-replacement"),
        lambda: GRID.normalise(masked(600)),
        lambda: evolve(generator(GRID, towards_one), GRID.normalise(np.ones(600)), masked(2)),
        lambda: Quantiles.from_cells(EDGES, masked(200)),
        lambda: jko.jko_flow_2d(masked(4, 4), [np.arange(4.0)] * 2, np.ones((4, 4)), [1.0], **KEYS),
        lambda: QuadraticSum(masked(3, 2, 2), np.ones((3, 2))),
    ],
)
def test_numbers_under_a_mask_are_refused(call):
    with pytest.raises(LimitcyclesError, match=r"masked entries, which are no numbers: fill them"):
        call()


def test_steps_fill_the_intervals():
    lengths, counts = arguments.steps_to(np.array([0.0, 0.3, 1.0]), 0.1, LimitcyclesError)
    np.testing.assert_array_equal(counts, [0, 3, 7])
    np.testing.assert_allclose(lengths * counts, [0, 0.3, 0.7])
    with pytest.raises(LimitcyclesError, match="step: steps of 1e-300 are 1e"):
        arguments.steps_to(np.array([1.0]), 1e-300, LimitcyclesError)


LANGEVIN = {"start": np.zeros((2, 1)), "times": [1.0], "step": 0.1, "temperature": 1.0, "seed": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"times": [np.nan]},
        {"times": [np.inf]},
        {"step": np.inf},
        {"step": np.nan},
        {"step": 1e-300},
        {"temperature": np.inf},
        {"substeps": 1.5},
        {"block": 0},
        {"seed": -1},
        {"start": np.array([[np.nan]])},
    ],
)
def test_langevin_refuses_what_is_not_finite(change):
    (name,) = change
    with pytest.raises(LimitcyclesError, match=f"^{name}"):
        langevin_ensemble(towards_one, 1.0, **LANGEVIN | change)


class InPlace(torch.nn.Module):
    """A network that works on its input."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))

    def forward(self, x):
        x.sub_(0.5).relu_()
        return self.layers(x)


def test_a_network_that_works_in_place_leaves_the_images():
    images = np.random.default_rng(0).normal(size=(6, 1, 2, 2))
    labels, given = np.array([0, 1, 2, 0, 1, 2]), images.copy()
    directions = np.eye(15)[:2]
    curvature.whole_batch_diffusion(InPlace(), images, labels, directions)
    curvature.hessian(InPlace(), images, labels, [np.arange(6)], directions)
    sgd.evaluate(InPlace().double(), torch.from_numpy(images), torch.from_numpy(labels))
    np.testing.assert_array_equal(images, given)


LINE = LineSum(lambda x: np.stack([x - 0.1, x + 0.1]), [0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LineSum(LINE.gradients, [0.5, 0.6]), "chances must not be negative and sum to 1"),
        (lambda: LineSum(LINE.gradients, [1.5, -0.5]), "chances must not be negative"),
        (
            lambda: sgd_expectations(LINE, Interval(-1, 1, 8), [np.cos], 0, -1, rate=1, batch=1),
            "^steps must be a whole number from 0 on, not -1",
        ),
        (
            lambda: sde_expectations(LINE, Interval(-1, 1, 8), [np.cos], 0, np.nan, temperature=1),
            "^time must be finite",
        ),
        (lambda: expected_variance([1.0], 2, 1.5, np.nan, 4, 10), "^rate must be finite"),
        (lambda: expected_variance([1.0], 2, 1.5, 0.1, 4, 1), "^points .* from 2 on, not 1"),
        (
            lambda: histogram_distances([[np.nan]], [[1.0]], paths=3, seed=0),
            "^shares must be finite",
        ),
        (lambda: histogram_distances([[1.0]], [[1.0]], paths=0, seed=0), "^paths .*not 0"),
        (lambda: histogram_distances([[1.0]], [[1.0]], paths=3, seed=0, level=2), "level"),
        (lambda: flows.closes(swirl, np.ones(2), np.nan), "^max_time must be finite"),
        (lambda: flows.fixed_points(swirl, ((-np.inf, 1), (0, 1))), "^box must be finite"),
        (lambda: flows.random_starts(((0, 1),), -1, 0), "^count .* from 1 on, not -1"),
    ],
)
def test_numbers_that_would_pass_through(call, message):
    with pytest.raises(LimitcyclesError, match=message):
        call()
