"""One writer at a time, and nobody is kept out by a process that died."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from limitcycles.storage import sole_writer as module
from limitcycles.storage.sole_writer import TakenOverError, sole_writer

HOLD = """
import sys, time
from limitcycles.storage.sole_writer import sole_writer
with sole_writer(sys.argv[1], "training") as turn:
    print("mine", flush=True)
    sys.stdin.readline()
    turn.check()
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that is the writer of `tmp_path`/state until it reads a line."""
    started = []

    def begin() -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(tmp_path / "state")]
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        started.append(subprocess.Popen(command, text=True, stderr=subprocess.STDOUT, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_one_waits_and_says_for_whom(start, tmp_path):
    first, second = start(), None
    assert first.stdout.readline() == "mine\n"
    second = start()
    assert second.stdout.readline() == (
        f"training: process {first.pid} on {os.uname().nodename} writes to {tmp_path}/state; "
        "waiting\n"
    )
    time.sleep(2 * module.POLL)
    assert second.poll() is None
    first.communicate("\n")
    assert first.returncode == 0
    assert second.stdout.readline() == "mine\n"
    second.communicate("\n")
    assert second.returncode == 0
    assert list(tmp_path.iterdir()) == []  # not even the lock


def test_a_killed_one_keeps_nobody_out(start, tmp_path):
    first = start()
    assert first.stdout.readline() == "mine\n"
    second = start()
    second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "mine\n"
    assert second.communicate("\n") == ("", None)
    assert second.returncode == 0


@pytest.mark.parametrize("locks", ["lost", "none"])
def test_one_that_lost_its_lock_ends_before_it_writes(start, tmp_path, monkeypatch, locks):
    """As when a machine that was cut off comes back."""
    first = start()
    assert first.stdout.readline() == "mine\n"
    (path,) = tmp_path.iterdir()
    if locks == "lost":  # what a server does when the lease ends: the file is free for others
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    else:

        def flock(handle, how):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", flock)
    with sole_writer(tmp_path / "state", "training") as turn:
        said = first.communicate("\n")[0]
        assert first.returncode == 1
        assert (
            f"TakenOverError: {tmp_path}/state: process {os.getpid()} on {os.uname().nodename} "
            "writes here now"
        ).removeprefix("TakenOverError") in said.replace("limitcycles.storage.sole_writer.", "")
        turn.check()  # the first one has not removed the mark of the second
    assert list(tmp_path.iterdir()) == []


def test_an_error_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path / "state", "training"):
        raise ZeroDivisionError
    with sole_writer(tmp_path / "state", "training") as turn:
        turn.check()
        turn.path.unlink()
        with pytest.raises(TakenOverError, match="another process writes here now"):
            turn.check()
