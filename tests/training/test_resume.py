"""A run that was killed, stopped or cut short by a full disk ends as if nothing had happened."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import paused_training
import pytest
import small_disk
import small_runs
from small_runs import EPOCHS, STEPS, Steps

from limitcycles.storage import store
from limitcycles.storage.sole_writer import TakenOverError, Turn
from limitcycles.training import sgd
from limitcycles.training.checkpoint import CheckpointError

TOTAL = EPOCHS * STEPS
INTERVAL = 7  # seconds between checkpoints, of a clock that counts steps
EACH_STEP = INTERVAL  # seconds that a step takes on it, so that a checkpoint follows each step
EVERY_7 = 1
RUNS = {
    "fc": (None, small_runs.run(checkpoint_seconds=INTERVAL)),
    "lenet": (
        28,
        small_runs.run(
            small_runs.lenet(dropout=0.3),
            optimiser={"kind": "adamw"},
            learning_rate={"start": 0.01, "factor": 0.2, "at": [0.4, 0.8]},
            weight_decay=1e-2,
            sampler="with-replacement",
            augmentation={"flip": True, "pad": 3},
            checkpoint_seconds=INTERVAL,
        ),
    ),
}


@dataclass
class Reference:
    """What an uninterrupted process makes, and of what."""

    dataset: Path
    run: dict
    steps: list[str]
    result: bytes = b""


class Case:
    """One process after another at the same run; all but the dataset lies in `folder`."""

    def __init__(self, folder: Path, dataset: Path, run: dict, *, disk: Path | None = None):
        self.folder, self.dataset, self.run = folder, dataset, run
        self.disk = disk or folder  # of the state, the log and the result
        self.state = self.disk / "state"
        self.result = self.disk / "results" / "run.zarr.zip"
        self.log = self.disk / "train.log"

    def plan(
        self,
        point: str | None = None,
        call: int = 1,
        *,
        seconds_a_step: float = EACH_STEP,
        nap: float = 0,
        limit: int | None = None,
    ) -> Path:
        """Plan a process that pauses at the `call`-th passing of `point`.

        It sleeps `nap` seconds at each step, and can write no file of more than `limit` bytes.
        """
        for name in ("paused", "steps", "go"):
            (self.folder / name).unlink(missing_ok=True)
        plan = {
            "dataset": str(self.dataset),
            "run": self.run,
            "seed": 5,
            "state": str(self.state),
            "log": str(self.log),
            "result": str(self.result),
            "point": point,
            "call": call,
            "seconds_a_step": seconds_a_step,
            "nap": nap,
            "limit": limit,
        }
        path = self.folder / "plan.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        return path

    def start(self, *arguments, **more) -> multiprocessing.Process:
        return paused_training.start(self.plan(*arguments, **more))

    def start_fresh(self, *arguments, **more) -> subprocess.Popen:
        """Start a new interpreter, as the workflow does."""
        return subprocess.Popen(
            [sys.executable, paused_training.__file__, str(self.plan(*arguments, **more))],
            env=os.environ | {"PYTHONPATH": str(paused_training.PATHS[0]), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )

    def finish(self) -> list[str]:
        """Run to the end; the steps that were made."""
        process = self.start()
        process.join(120)
        assert process.exitcode == 0, self.said()
        return self.steps()

    def pause(self, point: str, call: int, **more) -> multiprocessing.Process:
        """Run to a point; the process that waits there."""
        process = self.start(point, call, **more)
        while not (self.folder / "paused").exists():
            assert process.is_alive(), self.said()
            time.sleep(0.002)
        return process

    def kill(self, point: str, call: int, **more) -> list[str]:
        """Run to a point and kill the process there; the steps that were made."""
        process = self.pause(point, call, **more)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not self.result.exists()
        return self.steps()

    def fail(self, process: multiprocessing.Process) -> str:
        """Let a process fail; what it said, without its progress."""
        (self.folder / "go").touch()
        process.join(120)
        assert process.exitcode == 1, self.said()
        assert not self.result.exists()
        lines = self.said().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("run seed 5"))

    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8")

    def steps(self) -> list[str]:
        path = self.folder / "steps"
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def leftovers(self) -> list[str]:
        """Names of temporary folders with something in them."""
        return [path.name for path in self.disk.glob("*/.*") if any(path.iterdir())]

    def assert_as_uninterrupted(self, reference: Reference) -> None:
        assert self.result.read_bytes() == reference.result
        (one,) = self.state.iterdir()  # nothing temporary is left
        assert one.name.startswith("checkpoint-")
        assert list(self.result.parent.iterdir()) == [self.result]


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """The reference of a run, made at the first asking."""
    made = {}

    def reference(name: str) -> Reference:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            size, run = RUNS[name]
            store.save(small_runs.digits(size), folder / "digits.zarr.zip")
            case = Case(folder, folder / "digits.zarr.zip", run)
            assert case.start_fresh().wait(120) == 0
            steps = case.steps()
            assert len(set(steps)) == len(steps) == TOTAL
            made[name] = Reference(case.dataset, run, steps, case.result.read_bytes())
            case.assert_as_uninterrupted(made[name])
        return made[name]

    return reference


@pytest.mark.parametrize(
    ("name", "point", "call", "seconds_a_step", "made", "repeated", "leftovers"),
    [
        ("fc", "evaluation", 2, EACH_STEP, 0, 0, 0),  # before training
        ("fc", "step", 5, EACH_STEP, 5, 1, 0),  # in the first epoch
        ("fc", "step", 5, EVERY_7, 5, 5, 0),  # before the first checkpoint
        ("fc", "step", 26, EVERY_7, 26, 5, 0),  # in the middle of an epoch
        ("fc", "evaluation", 6, EACH_STEP, 20, 0, 0),  # between two epochs
        ("fc", "half a checkpoint", 13, EACH_STEP, 13, 1, 1),
        ("fc", "before the replacement", 17, EACH_STEP, 17, 1, 1),
        ("fc", "after the replacement", 17, EACH_STEP, 17, 0, 0),
        ("fc", "after the last checkpoint", 1, EACH_STEP, 50, 0, 0),
        ("fc", "half a result", 4, EACH_STEP, 50, 0, 1),
        ("lenet", "step", 33, EVERY_7, 33, 5, 0),
        ("lenet", "half a checkpoint", 28, EACH_STEP, 28, 1, 1),
    ],
)
def test_a_killed_run_ends_as_an_uninterrupted_one(
    references, tmp_path, name, point, call, seconds_a_step, made, repeated, leftovers
):
    """`made` steps before the kill; `repeated` of them again, no more than an interval has."""
    reference = references(name)
    case = Case(tmp_path, reference.dataset, reference.run)
    assert case.kill(point, call, seconds_a_step=seconds_a_step) == reference.steps[:made]
    assert len(case.leftovers()) == leftovers
    assert case.finish() == reference.steps[made - repeated :]
    assert repeated <= INTERVAL / seconds_a_step
    case.assert_as_uninterrupted(reference)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_end_saves_first(references, tmp_path, number):
    """At the next step, and not at the time of its next checkpoint."""
    reference = references("lenet")
    case = Case(tmp_path, reference.dataset, reference.run)
    process = case.pause("step", 24, seconds_a_step=EVERY_7)
    os.kill(process.pid, number)
    assert case.fail(process) == (
        f"train: run, seed 5: in epoch 3 of {EPOCHS} when {number.name} asked this process to "
        "end. It is saved: start again, and it goes on from there.\n"
    )
    assert case.steps() == reference.steps[:24]
    assert case.finish() == reference.steps[24:]
    case.assert_as_uninterrupted(reference)


def test_killed_twice_while_a_checkpoint_is_written(references, tmp_path):
    reference = references("fc")
    case = Case(tmp_path, reference.dataset, reference.run)
    case.kill("half a checkpoint", 13)
    first = case.leftovers()
    case.kill("half a checkpoint", 4)
    assert len(first) == len(case.leftovers()) == 1
    assert case.leftovers() != first  # the one of the first kill went with the next write
    assert case.finish() == reference.steps[15:]
    case.assert_as_uninterrupted(reference)


def test_killed_again_and_again_at_any_moment(references, tmp_path):
    """New interpreters without a pause, killed while they run."""
    reference = references("lenet")
    case = Case(tmp_path, reference.dataset, reference.run)
    kills = 0
    while not case.result.exists():
        process = case.start_fresh(nap=0.02)
        while process.poll() is None and len(case.steps()) < 20:
            time.sleep(0.003)
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
        kills += process.returncode != 0
        steps = case.steps()
        first = reference.steps.index(steps[0])
        assert steps == reference.steps[first : first + len(steps)]
    assert kills > 0
    assert case.finish() == []
    case.assert_as_uninterrupted(reference)


@pytest.mark.parametrize("kind", ["real disk", "limit"])
def test_a_full_disk_costs_nothing_that_was_done(references, tmp_path, kind):
    reference = references("fc")
    if kind == "real disk":
        with small_disk.mounted(tmp_path / "disk") as disk:
            case = Case(tmp_path, reference.dataset, reference.run, disk=disk)
            process = case.pause("step", 21)
            before = checkpoints(case)
            ballast = small_disk.fill(disk)
            said = case.fail(process)
            ballast.unlink()
            assert_kept(case, reference, before, said, "No space left on device")
    else:
        case = Case(tmp_path, reference.dataset, reference.run)
        case.kill("step", 21)
        before = checkpoints(case)
        (size,) = (len(content) for content in before.values())
        # The next checkpoint is of the same size, to a few bytes: it must not fit.
        said = case.fail(case.start(limit=size - 4096))
        assert_kept(case, reference, before, said, "File too large")


def checkpoints(case: Case) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in case.state.iterdir() if path.is_file()}


def assert_kept(case, reference, before, said, reason):
    """One sentence, the checkpoint of before, nothing half-written; with space, it goes on."""
    (path,) = before
    sentence = (
        f"train: cannot write {path}: {reason}. Free space or choose another folder, then start "
        "again: what was finished before is kept.\n"
    )
    assert said.replace(f"the log {case.log} is cut off: {reason}\n", "") == sentence
    assert checkpoints(case) == before
    assert list(case.state.iterdir()) == [path]
    assert case.finish() == reference.steps[20:]
    case.assert_as_uninterrupted(reference)


def stop(dataset, run, state, *, times=1, seed=5):
    """Stop a run right after each of its first checkpoints."""
    for _ in range(times):
        with pytest.raises(TimeoutError):
            sgd.train(dataset, run, seed, state, limit_seconds=0)


@pytest.mark.parametrize("name", RUNS)
def test_stopped_after_each_step(one_thread, tmp_path, name):
    size, run = RUNS[name]
    run = run | {"training": run["training"] | {"checkpoint_seconds": 0}}
    dataset = small_runs.digits(size)
    whole = sgd.train(dataset, run, 5, tmp_path / "whole")
    with Steps() as steps:
        stop(dataset, run, tmp_path / "parts", times=TOTAL)
        parts = sgd.train(dataset, run, 5, tmp_path / "parts")
    assert len(steps) == TOTAL
    assert parts.identical(whole)


def changed_training(**training_settings):
    return lambda run, dataset: (small_runs.run(**training_settings), dataset, 5)


CHANGES = {
    "learning rate": changed_training(learning_rate={"start": 0.05, "factor": 0.2, "at": [0.4]}),
    "schedule": changed_training(learning_rate={"start": 0.1, "factor": 0.2, "at": [0.8]}),
    "optimiser": changed_training(optimiser=small_runs.sgd(0.9)),
    "weight decay": changed_training(weight_decay=1e-3),
    "sampler": changed_training(sampler="index-list"),
    "augmentation": changed_training(augmentation={"flip": False, "pad": 1}),
    "seed": lambda run, dataset: (run, dataset, 6),
    "network": lambda run, dataset: (
        run
        | {"network": run["network"] | {"options": run["network"]["options"] | {"classes": 11}}},
        dataset,
        5,
    ),
    "entry of the dataset": lambda run, dataset: (
        run | {"dataset": run["dataset"] | {"pixels": "unit"}},
        dataset,
        5,
    ),
    "source of the dataset": lambda run, dataset: (
        run,
        dataset.assign(train_image=1 - dataset["train_image"]).assign_attrs(sha256="other"),
        5,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_settings_never_continue_another_run(one_thread, digits, tmp_path, change):
    run = small_runs.run(checkpoint_seconds=0)
    stop(digits, run, tmp_path / "old", times=3)
    other, dataset, seed = CHANGES[change](run, digits)
    with Steps() as steps:
        after = sgd.train(dataset, other, seed, tmp_path / "old")
    assert len(steps) == TOTAL  # from the start
    fresh = sgd.train(dataset, other, seed, tmp_path / "new")
    assert after.identical(fresh)


def test_a_changed_network_of_the_user_never_continues(one_thread, digits, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "net_of_a_user.py"
    file.write_text("from small_runs import linear\n")
    run = small_runs.run({"builder": "net_of_a_user:linear"}, checkpoint_seconds=0)
    stop(digits, run, tmp_path / "state", times=3)
    with Steps() as steps:
        stop(digits, run, tmp_path / "state", times=2)
    assert len(steps) == 2  # it goes on
    file.write_text("from small_runs import linear  # changed\n")
    with Steps() as steps:
        sgd.train(digits, run, 5, tmp_path / "state")
    assert len(steps) == TOTAL


def test_a_continued_run_says_where(one_thread, digits, tmp_path, capsys):
    run = small_runs.run(checkpoint_seconds=0)
    stop(digits, run, tmp_path, times=STEPS + 3)
    capsys.readouterr()
    sgd.train(digits, run, 5, tmp_path)
    line, bar, *_ = capsys.readouterr().err.splitlines()
    assert line == "run seed 5, continued at epoch 2"
    assert bar.startswith(f"{line}:  20%")
    stop(digits, run, tmp_path / "first", times=2)  # in the first epoch
    assert "run seed 5, continued at epoch 1\n" in capsys.readouterr().err


def test_a_run_that_was_taken_over_writes_nothing(one_thread, digits, tmp_path, monkeypatch):
    def taken(self):
        raise TakenOverError("taken")

    run = small_runs.run(checkpoint_seconds=0)
    stop(digits, run, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Turn, "check", taken)
    with pytest.raises(TakenOverError):
        sgd.train(digits, run, 5, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_changed_interval_continues(one_thread, digits, tmp_path):
    stop(digits, small_runs.run(checkpoint_seconds=0), tmp_path, times=30)
    with Steps() as steps:
        sgd.train(digits, small_runs.run(checkpoint_seconds=60), 5, tmp_path)
    assert len(steps) == TOTAL - 30


def test_a_damaged_checkpoint_stops_the_run_until_it_is_deleted(one_thread, digits, tmp_path):
    run = small_runs.run(checkpoint_seconds=0)
    whole = sgd.train(digits, run, 5, tmp_path / "whole")
    stop(digits, run, tmp_path / "state", times=4)
    (path,) = (tmp_path / "state").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="Delete it to train from the start"):
        sgd.train(digits, run, 5, tmp_path / "state")
    path.unlink()
    assert sgd.train(digits, run, 5, tmp_path / "state").identical(whole)
