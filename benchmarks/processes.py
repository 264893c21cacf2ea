"""Contestants as processes: each alone in its own, so that its peak memory means something.

A worker reads one JSON object a line on standard input and answers each with one on standard
output; what libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class ContestantError(Exception):
    """A contestant that cannot do what it was asked, in its own words."""


def memory_mib() -> dict[str, float]:
    """Memory of this process in MiB, now and at its peak (Linux).

    `ru_maxrss` would not do: a new process starts with the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text()

    def field(name):
        return int(status.split(f"{name}:")[1].split()[0]) / 1024

    return {"now_mib": field("VmRSS"), "peak_mib": field("VmHWM")}


def serve(answer: Callable[[dict], dict]) -> None:
    """The loop of a worker: `answer` maps a request to its reply; its errors become replies."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # a peer may fail in any way; the others go on
            reply = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        print(json.dumps(reply), file=replies, flush=True)


class Worker:
    """A running worker, kept to `cores` of this process."""

    def __init__(self, script: Path, arguments: list[str], cores: list[int]):
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(cores),
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def send(self, **request) -> None:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict:
        """The reply to the last request. Raises ContestantError."""
        line = self.process.stdout.readline()
        if not line:
            raise ContestantError(f"the process ended with exit code {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise ContestantError(reply["error"])
        return reply

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Team:
    """One contestant on all cores: one worker with all of them, or one worker a core."""

    def __init__(self, script: Path, arguments: list[str], cores: list[int], processes: int):
        groups = [cores] if processes == 1 else [[core] for core in cores[:processes]]
        self.workers = [
            Worker(script, [*arguments, f"--part={i}", f"--parts={len(groups)}"], group)
            for i, group in enumerate(groups)
        ]

    def ask(self, **request) -> list[dict]:
        """Send one request to all workers, and wait for all replies. Raises ContestantError."""
        for worker in self.workers:
            worker.send(**request)
        return [worker.receive() for worker in self.workers]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def cores_for(count: int) -> list[int]:
    """The first `count` cores that this process may use. Raises SystemExit: there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        sys.exit(f"--cores {count}: only {len(allowed)} cores are available")
    return allowed[:count]


def log(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_script(command: list[str], cores: list[int]) -> str:
    """Run a Python script on `cores`; what it prints on standard output.

    Raises ContestantError: it ended with another exit code than 0.
    """
    done = subprocess.run(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(cores),
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise ContestantError(f"{Path(command[0]).name} ended with exit code {done.returncode}")
    return done.stdout


def _environment(cores: list[int]) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(len(cores)))
