"""A training process for tests to kill: `python paused_training.py PLAN.json`.

It logs each step (a digest of the weights after it). At the point that the plan names it writes
the file `paused`, and waits there to be killed, or for the file `go`. `start` makes such processes
from one that has imported torch already, which saves seconds each.
"""

from limitcycles.runtime.job import logged

import hashlib
import json
import multiprocessing
import os
import resource
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401  (the first optimiser imports it)
from torch.optim.optimizer import register_optimizer_step_post_hook

import limitcycles
from limitcycles.storage import store
from limitcycles.training import sgd

PATHS = (Path(limitcycles.__file__).parents[1], Path(__file__).parent)


def start(plan: Path) -> multiprocessing.Process:
    """Start a process at a plan; what it says goes to the file `said` beside it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_speak_to_file, args=(plan,))
    with pytest.MonkeyPatch.context() as patch:  # for the server, which the first call starts
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, PATHS)))
        patch.setenv("OMP_NUM_THREADS", "1")
        process.start()
    return process


def _speak_to_file(plan: Path) -> None:
    os.dup2(os.open(plan.parent / "said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
    main(plan)


def main(path: Path) -> None:
    """Train as the workflow does, with the pause of the plan."""
    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    if plan["limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan["limit"], plan["limit"]))
    Pauses(Path(path).parent, plan).set_up()
    with logged(plan["log"], "train"):
        run = sgd.train(store.load(plan["dataset"]), plan["run"], plan["seed"], Path(plan["state"]))
        store.save(run, plan["result"])


class Pauses:
    """The log of steps, a clock that counts them, and the pause."""

    def __init__(self, folder: Path, plan: dict):
        self.folder, self.plan, self.steps = folder, plan, 0

    def set_up(self) -> None:
        register_optimizer_step_post_hook(self.log_step)
        # How many steps lie between two checkpoints is then known.
        clock = types.SimpleNamespace(monotonic=lambda: self.steps * self.plan["seconds_a_step"])
        sgd.time = clock
        point = self.plan["point"]
        if point == "evaluation":
            self.stop(sgd, "evaluate")
        elif point == "half a checkpoint":
            self.stop(Path, "write_bytes", middle=_half)
        elif point == "before the replacement":
            self.stop(os, "replace")
        elif point == "after the replacement":
            self.stop(os, "replace", after=True)
        elif point == "after the last checkpoint":
            self.stop(sgd._Training, "result")
        elif point == "half a result":
            self.stop(zipfile.ZipFile, "writestr")
        elif point not in ("step", None):
            raise ValueError(point)

    def log_step(self, optimizer, *_) -> None:
        self.steps += 1
        digest = hashlib.sha256()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                digest.update(parameter.detach().numpy().tobytes())
        with open(self.folder / "steps", "a", encoding="utf-8") as file:
            file.write(digest.hexdigest()[:16] + "\n")
        time.sleep(self.plan["nap"])
        if self.plan["point"] == "step" and self.steps == self.plan["call"]:
            self.pause()

    def pause(self) -> None:
        (self.folder / "paused").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.002)

    def stop(self, owner, name: str, *, middle=None, after: bool = False) -> None:
        """Pause at one call of a function: before it, after it, or once `middle` has run."""
        real, calls = getattr(owner, name), []

        def function(*arguments, **more):
            calls.append(1)
            mine = len(calls) == self.plan["call"]
            if mine and middle:
                middle(*arguments)
            if mine and not after:
                self.pause()
            result = real(*arguments, **more)
            if mine and after:
                self.pause()
            return result

        setattr(owner, name, function)


def _half(path: Path, content: memoryview) -> None:
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
