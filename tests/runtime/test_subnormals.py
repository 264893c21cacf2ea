"""Subnormal numbers are taken as zero in every loop, on every thread, and nowhere else."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import small_runs
import torch
from numba import njit
from torch import nn

from limitcycles.diffusion import gradients
from limitcycles.runtime.subnormals import SubnormalWarning, are_flushed, flushed
from limitcycles.training import constant_rate, networks
from limitcycles.training import sgd as training
from limitcycles.training.compiled.engines import Engines
from limitcycles.training.compiled.ensemble import Ensemble
from limitcycles.training.optimisers import sgd
from limitcycles.training.trajectories import reading, recording

TINY = float(np.finfo(np.float32).tiny)  # the smallest normal number

pytestmark = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor has no such mode"
)


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request):
    """On one thread and on two, which are there, in the usual mode, before anything begins."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    assert shares() == (1, 1)
    yield
    assert not are_flushed()
    assert shares() == (1, 1)
    torch.set_num_threads(before)


def shares() -> tuple[float, float]:
    """Of products that are subnormal, those that are kept: in element-wise and matrix products."""
    small = torch.full((512, 512), 1e-25)
    return tuple(
        float((found != 0).double().mean())
        for found in (small * 1e-15, small @ torch.full((512, 512), 1e-17))
    )


@njit
def halve(values):
    for i in range(len(values)):
        values[i] *= np.float32(0.5)


class TestFlushed:
    def test_on_all_threads_of_an_operation(self):
        with flushed():
            assert are_flushed()
            assert shares() == (0, 0)

    def test_operands_and_results_of_compiled_loops_and_numpy(self):
        values = np.full(100, TINY, np.float32)
        with flushed(torch_threads=False):
            halve(values)
            assert (values == 0).all()
            assert (np.full(100, TINY / 2, np.float32) * np.float32(1e30) == 0).all()
        values[:] = TINY
        halve(values)
        assert (values > 0).all()

    def test_afterwards_as_before(self):
        with flushed():
            with flushed():
                pass
            assert are_flushed()
        assert not are_flushed()
        with pytest.raises(KeyError), flushed():
            raise KeyError
        assert not are_flushed()

    def test_what_a_caller_has_set_stays(self):
        torch.set_flush_denormal(True)
        with flushed():
            assert are_flushed()
        kept = are_flushed()
        torch.set_flush_denormal(False)
        assert kept

    def test_backward_passes(self):
        x = torch.full((512, 512), 1e-20, requires_grad=True)
        with flushed():
            (gradient,) = torch.autograd.grad((x @ x * 1e-25).sum(), x)
        assert (gradient == 0).all()

    def test_other_threads(self):
        """A thread has the mode of the one that started it, for good."""
        with ThreadPoolExecutor(1) as before:
            assert not before.submit(are_flushed).result()
            with flushed(), ThreadPoolExecutor(1) as inside:
                assert inside.submit(are_flushed).result()
                assert not before.submit(are_flushed).result()

    def test_a_processor_without_the_mode(self, monkeypatch):
        monkeypatch.setattr(torch, "set_flush_denormal", lambda mode: False)
        with pytest.warns(SubnormalWarning, match="cannot take subnormal numbers"), flushed():
            assert not are_flushed()


# ------------------------------------------------------------------------------------ loops

SEEN: list[bool] = []


class Watched(nn.Module):
    """Notes the mode in each forward and each backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = networks.fully_connected(64, 8, 10)

    def forward(self, x):
        SEEN.append(are_flushed())
        x = self.layers(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: SEEN.append(are_flushed()))
        return x


def watched() -> nn.Module:
    return Watched()


@pytest.fixture(scope="module")
def digits():
    return small_runs.digits()


def seen() -> set[bool]:
    found = set(SEEN)
    SEEN.clear()
    return found


def test_training_constant_rate_and_gradients(digits, tmp_path):
    run = small_runs.run({"builder": f"{__name__}:watched"})
    result = training.train(digits, run, 0, tmp_path / "state")
    assert seen() == {True}
    images, labels = training.tensors(digits, "train", "cpu")
    index = torch.arange(40).reshape(5, 8)
    constant_rate.gradient_variance(watched(), images, labels, index)
    assert seen() == {True}
    constant_rate.descend(watched(), images, labels, index, 0.1)
    assert seen() == {True}
    gradients.write(result, digits, 100, tmp_path / "rows.zarr", threads=2)
    assert seen() == {True}


def vanishing(lowest: float = 0.1) -> nn.Module:
    """Three of eight hidden units are off, with weights of 10^`lowest` to 100 times TINY."""
    network = networks.fully_connected(64, 8, 10, norm=False)
    with torch.no_grad():
        size = TINY * 10.0 ** torch.linspace(lowest, 2, 64)
        network[1].weight[:3] = -size
        network[1].bias[:3] = -TINY
    return network


def subnormal(values, above: float = 1) -> int:
    """Numbers below the smallest normal one, or so many times it, that are not 0."""
    size = np.abs(np.asarray(values))
    return int(((size > 0) & (size < above * TINY)).sum())


def on_thread(mode: bool, function):
    """`function()` on a new thread in this mode."""

    def inside():
        torch.set_flush_denormal(mode)
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inside).result()


@pytest.mark.parametrize("machine", [Engines, Ensemble])
def test_a_step_flushes_and_its_bits_are_those_of_every_caller(machine, digits):
    images, labels = digits["train_image"].values, digits["train_label"].values
    torch.manual_seed(0)
    made = machine([vanishing()], images, labels, 32, sgd.Optimiser(0.9, False, 0.01))
    start, order = made.state(), np.arange(320)[None]
    start["weights"] *= np.float32(0.3)
    assert subnormal(start["weights"]) > 30
    ends = []

    def steps():
        losses, path = made.epoch(order, 0.1, keep=1)
        assert subnormal(path) == 0
        if machine is Engines:
            made.descend_all(2, 0.1, shares=[None])
        return [*made.gradient(order[:, :9]), *made.full_gradient(), losses, path]

    for mode in (False, True):
        made.restore(start)
        ends.append([*on_thread(mode, steps), *made.state().values()])
    for one, two in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, two)
    assert subnormal(made.weights) == 0


def in_parts(parts, digits, run, folder):
    """The run, stopped after each of the first steps."""
    run["training"]["checkpoint_seconds"] = 0
    for _ in range(parts):
        with pytest.raises(TimeoutError):
            training.train(digits, run, 0, folder, limit_seconds=0)
    run["training"]["checkpoint_seconds"] = 1e9
    return training.train(digits, run, 0, folder)["weights"].values


def test_training_ends_with_the_same_bits_in_every_mode_killed_or_not(digits, tmp_path):
    spec = {"builder": f"{__name__}:vanishing"}
    options = {"weight_decay": 0.1, "optimiser": small_runs.sgd(0.5)}
    found = []
    for mode in (False, True):
        for parts in (0, 12):
            given = digits, small_runs.run(spec, **options), tmp_path / f"{parts} {mode}"
            found.append(on_thread(mode, functools.partial(in_parts, parts, *given)))
    assert subnormal(found[0][0], above=1e3) == 195
    assert subnormal(found[0]) == 0
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


class Killed(BaseException):
    pass


def test_a_trajectory_ends_with_the_same_bits_in_every_mode_killed_or_not(
    digits, tmp_path, monkeypatch
):
    spec = {"builder": f"{__name__}:vanishing", "options": {"lowest": -2}}
    run = small_runs.run(spec, weight_decay=0.1, epochs=6)
    train_epoch = recording._train

    def killed_at(last):
        def epoch(engine, training, number, *rest):
            if number == last:
                raise Killed
            return train_epoch(engine, training, number, *rest)

        return epoch

    def record(stops, folder):
        for last in stops:
            monkeypatch.setattr(recording, "_train", killed_at(last))
            with pytest.raises(Killed):
                recording.record(digits, run, 0, folder, block=1)
        monkeypatch.setattr(recording, "_train", train_epoch)
        return recording.record(digits, run, 0, folder, block=1)

    found = []
    for mode in (False, True):
        for stops in ((), (2, 5)):
            given = stops, tmp_path / f"{len(stops)} {mode}"
            path = on_thread(mode, functools.partial(record, *given))
            found.append(reading.open_trajectory(path)["weights"].values)
    assert subnormal(found[0][0], above=1e3) > 90
    assert subnormal(found[0]) == 0
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
