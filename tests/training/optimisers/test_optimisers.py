"""Optimisers against float64 sums from the papers' equations, PyTorch's, and in compiled loops."""

import dataclasses
import importlib
import math

import numpy as np
import own_optimisers as own
import pytest
import small_runs
import torch
from compiled_problem import CLOSE, EXAMPLES, problem
from helpers import one_thread  # noqa: F401
from numba import njit

from limitcycles.configuration import signatures
from limitcycles.training import networks, optimisers, sgd
from limitcycles.training.compiled import steps
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.optimisers import OptimiserError, adam, adamw
from limitcycles.training.optimisers import sgd as descent

STEPS, SIZE = 60, 37
RATES = [0.05] * 30 + [0.01] * 30
rng = np.random.default_rng(0)
START, CURVATURE = rng.standard_normal(SIZE), rng.uniform(0.1, 3, SIZE)
NOISE = 0.3 * rng.standard_normal((STEPS, SIZE))


def by_sgd(x, g, state, rate, *, momentum, nesterov, weight_decay):
    """Heavy ball v ← μv + g, x ← x − ηv; Nesterov x ← x − η(g + μv)."""
    g = g + weight_decay * x
    state["v"] = momentum * state.get("v", 0.0) + g
    return x - rate * (g + momentum * state["v"] if nesterov else state["v"])


def by_adam(x, g, state, rate, *, beta1, beta2, eps, weight_decay):
    """Algorithm 1 of Kingma & Ba, with an L2 penalty."""
    g = g + weight_decay * x
    state["t"] = state.get("t", 0) + 1
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
    m, v = state["m"] / (1 - beta1 ** state["t"]), state["v"] / (1 - beta2 ** state["t"])
    return x - rate * m / (math.sqrt(v) + eps)


def by_adamw(x, g, state, rate, *, weight_decay, **options):
    """Algorithm 2 of Loshchilov & Hutter: the decay of the weight before the step."""
    return by_adam(x, g, state, rate, **options, weight_decay=0.0) - rate * weight_decay * x


CASES = [
    *((descent.Optimiser(m, n, d), by_sgd) for m, n in ((0.0, False), (0.9, False), (0.7, True))
      for d in (0.0, 0.05)),
    *((adam.Optimiser(0.8, 0.95, 1e-3, d), by_adam) for d in (0.0, 0.05)),
    *((adamw.Optimiser(0.8, 0.95, 1e-3, d), by_adamw) for d in (0.0, 0.5)),
]  # fmt: skip
cases = pytest.mark.parametrize(("optimiser", "one"), CASES, ids=lambda case: str(case)[:60])


def by_hand(optimiser, one):
    """The weights after each step, (STEPS, SIZE), in float64: one weight after another."""
    options, path = dataclasses.asdict(optimiser), np.empty((STEPS, SIZE))
    for i in range(SIZE):
        x, state = START[i], {}
        for step, rate in enumerate(RATES):
            gradient = CURVATURE[i] * x + NOISE[step, i]
            path[step, i] = x = one(x, gradient, state, rate, **options)
    return path


@cases
def test_a_step_is_that_of_the_paper(optimiser, one):
    x, curvature = torch.from_numpy(START), torch.from_numpy(CURVATURE)
    state, path = optimiser.init(x), []
    for noise, rate in zip(torch.from_numpy(NOISE), RATES, strict=True):
        before = x.clone(), {name: copied(value) for name, value in state.items()}
        after, new = optimiser.step(x, state, curvature * x + noise, rate)
        assert torch.equal(x, before[0])
        assert all(np.array_equal(state[name], value) for name, value in before[1].items())
        x, state = after, new
        path.append(x.numpy())
    assert state["steps"] == STEPS
    np.testing.assert_allclose(path, by_hand(optimiser, one), rtol=1e-10, atol=1e-13)


def copied(value):
    return value.clone() if isinstance(value, torch.Tensor) else value


def trained(optimizer, weights, dtype=torch.float64):
    path = []
    curvature, noises = torch.from_numpy(CURVATURE).to(dtype), torch.from_numpy(NOISE).to(dtype)
    for noise, rate in zip(noises, RATES, strict=True):
        x = torch.cat([w.detach().ravel() for w in weights])
        gradient = (curvature * x + noise).split([w.numel() for w in weights])
        for weight, part in zip(weights, gradient, strict=True):
            weight.grad = part.reshape(weight.shape)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        path.append(torch.cat([w.detach().ravel() for w in weights]).numpy())
    return np.array(path)


def pieces(dtype):
    return [torch.nn.Parameter(torch.from_numpy(part.copy()).to(dtype))
            for part in (START[:12].reshape(3, 4), START[12:])]  # fmt: skip


@cases
@pytest.mark.parametrize("way", ["PyTorch's", "on one vector"])
def test_in_runs_it_is_that_of_the_paper(optimiser, one, way):
    weights = pieces(torch.float64)
    make = optimiser.torch if way == "PyTorch's" else super_torch(optimiser)
    optimizer = make(weights, 1.0)
    assert (type(optimizer) is optimisers.OnVector) == (way == "on one vector")
    found = trained(optimizer, weights)
    np.testing.assert_allclose(found, by_hand(optimiser, one), rtol=1e-10, atol=1e-13)


def super_torch(optimiser):
    return lambda weights, rate: optimisers.Optimiser.torch(optimiser, weights, rate)


def compiled_path(optimiser):
    take, path = steps.compiled_step(optimiser), np.empty((STEPS, SIZE), np.float32)
    x, vectors = START.astype(np.float32), np.zeros((len(optimiser.vectors), SIZE), np.float32)
    curvature, noise = CURVATURE.astype(np.float32), NOISE.astype(np.float32)
    for step, rate in enumerate(RATES):
        (numbers,) = steps.table(optimiser, rate, step, 1)
        caller(take, x, curvature * x + noise[step], vectors, numbers)
        path[step] = x
    return path


@njit
def caller(take, x, gradient, vectors, numbers):
    take(x, gradient, vectors, numbers)


@cases
def test_compiled_it_is_that_of_the_paper_and_pytorchs_to_rounding(optimiser, one):
    """1e-5 of the largest weight, after 60 steps: what float32 leaves."""
    found, weights = compiled_path(optimiser), pieces(torch.float32)
    peers = trained(optimiser.torch(weights, 1.0), weights, torch.float32)
    for other in (by_hand(optimiser, one), peers):
        np.testing.assert_allclose(found, other, rtol=0, atol=1e-5)


def test_steps_at_once_have_the_numbers_of_steps_one_by_one():
    for optimiser in (adam.Optimiser(), own.Wanders(), descent.Optimiser(0.9)):
        together = steps.table(optimiser, 0.1, 7, 5)
        alone = [steps.table(optimiser, 0.1, 7 + i, 1)[0] for i in range(5)]
        np.testing.assert_array_equal(together, alone)
        numbers = np.float32(optimiser.numbers(0.1, 8))
        np.testing.assert_array_equal(together[0], numbers)


@pytest.mark.parametrize("optimiser", [own.Wanders(), own.Perturbed(0.0), adam.Optimiser()])
def test_a_weight_without_gradient_stays_with_its_state(optimiser):
    first, other = pieces(torch.float64)
    optimizer = super_torch(optimiser)([first, other], 0.1)
    first.grad, other.grad = torch.ones_like(first), torch.ones_like(other)
    optimizer.step()
    start, state = other.detach().clone(), optimizer.state[first]
    before = {name: copied(value)[-25:] for name, value in state.items() if name != "steps"}
    first.grad, other.grad = torch.ones_like(first), None
    moved = first.detach().clone()
    optimizer.step()
    assert torch.equal(other, start)
    assert (first != moved).all()
    for name, values in before.items():
        assert torch.equal(optimizer.state[first][name][-25:], values)


@pytest.mark.parametrize("kind", signatures.optimiser_kinds())
def test_every_kind_is_found_by_the_name_of_its_file(kind):
    path = signatures.optimiser_path(kind)
    made = importlib.import_module(path.partition(":")[0]).Optimiser
    fields = {field.name: field.default for field in dataclasses.fields(made)}
    assert fields["weight_decay"] == 0
    assert signatures.why_not(path) is None
    assert list(signatures.wrong_options(path, fields)) == []
    assert [name for name, _ in signatures.wrong_options(path, {"nothing": 1})] == ["nothing"]
    for name, (least, _) in made.limits.items():
        assert [n for n, _ in signatures.wrong_options(path, {name: least - 1.0})] == [name]
        with pytest.raises(OptimiserError, match=f"{name} of the optimiser .*{kind}.*at least"):
            made(**{name: least - 1.0})
    found = optimisers.of({"optimiser": {"kind": kind}, "weight_decay": 0.25})
    assert found == made(weight_decay=0.25)


@pytest.mark.parametrize(
    ("kind", "options", "decay", "words"),
    [
        ("own_optimisers:nothing", {}, 0.0, "makes a str, not a"),
        ("own_optimisers:Wanders", {"powr": 1}, 0.0, "fails: TypeError: .*powr"),
        ("own_optimisers:Wanders", {}, 0.1, "fails: TypeError: .*weight_decay"),
        ("own_optimisers:Wanders", {"power": 2.0}, 0.0, "2.0 is not allowed.* less than 2"),
    ],
)
def test_what_is_none_is_refused(kind, options, decay, words):
    training = {"optimiser": {"kind": kind, "options": options}, "weight_decay": decay}
    with pytest.raises(OptimiserError, match=words):
        optimisers.of(training)


# ----------------------------------------------------------------------------------- a user's own

OWN = {
    "elementwise": {"kind": "own_optimisers:Wanders", "options": {"power": 0.7}},
    "not elementwise": {"kind": "own_optimisers:Perturbed"},
    "without state": {"kind": "own_optimisers:Plain"},
    "adam": {"kind": "adam"},
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.usefixtures("one_thread")
def test_a_run_with_it_is_stopped_and_goes_on_to_the_same_bits(name, tmp_path):
    data = small_runs.digits()
    rate = {"start": 0.01 if name in ("elementwise", "adam") else 0.1, "factor": 0.5, "at": [0.5]}
    run = small_runs.run(optimiser=OWN[name], epochs=3, learning_rate=rate, snapshots=[0, 100])
    whole = sgd.train(data, run, 0, tmp_path / "whole")
    run["training"]["checkpoint_seconds"] = 0
    for _ in range(12):
        with pytest.raises(TimeoutError):
            sgd.train(data, run, 0, tmp_path / "parts", limit_seconds=0)
    run["training"]["checkpoint_seconds"] = 1e9
    assert sgd.train(data, run, 0, tmp_path / "parts").identical(whole)
    assert whole["train_loss"].values[-1] < 0.7 * whole["train_loss"].values[0]


@pytest.mark.usefixtures("one_thread")
def test_a_run_with_our_sgd_is_that_with_pytorchs(tmp_path):
    data, found = small_runs.digits(), []
    for kind in ("sgd", "own_optimisers:OnVector"):
        optimiser = {"kind": kind, "options": {"momentum": 0.9, "nesterov": True}}
        run = small_runs.run(optimiser=optimiser, weight_decay=0.01, epochs=1, snapshots=[0, 100])
        found.append(sgd.train(data, run, 0, tmp_path / kind)["weights"].values[-1])
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("name", ["elementwise", "without state", "adam"])
def test_the_loops_compile_it(name, norm):
    """An epoch, and one of Gaussian or full-batch steps, as PyTorch takes them."""
    network, images, labels = problem((49, 16, 5), norm)
    training = {"optimiser": OWN[name], "weight_decay": 0.01 * (name != "elementwise")}
    optimiser = optimisers.of(training)
    engine = Engine(network, images, labels, 32, optimiser)
    order = np.random.default_rng(1).integers(0, EXAMPLES, EXAMPLES)
    engine.epoch(order, 0.01)
    engine.descend_all(2, 0.01)
    optimizer = super_torch(optimiser)(network.parameters(), 0.01)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for index in [*torch.from_numpy(order).split(32), slice(None), slice(None)]:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[index]), y[index]).backward()
        optimizer.step()
    limits = CLOSE if name == "without state" else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(engine.weights, networks.flatten(network)[0], **limits)
    assert engine.state()["steps"] == 5


@pytest.mark.parametrize(
    ("optimiser", "words"),
    [
        (own.Perturbed(), r"own_optimisers:Perturbed moves weights together.* train it as a run"),
        (own.Uncompiled(), r"update of the optimiser own_optimisers:Uncompiled cannot be compiled"),
    ],
)
def test_what_the_loops_cannot_take_is_refused(optimiser, words):
    network, images, labels = problem((49, 16, 5))
    with pytest.raises(CompiledError, match=words) as caught:
        Engine(network, images, labels, 32, optimiser)
    assert "\n" not in str(caught.value)
