"""A process ends with the one that it was told of."""

import os
import signal
import subprocess
import sys
import time

import pytest

from limitcycles.runtime.parent import NAME

CHILD = """
import sys, time
from limitcycles.runtime import stopping
from limitcycles.runtime.parent import end_with_parent
end_with_parent()
print("begun", flush=True)
if "saves" in sys.argv:
    with stopping.requests() as asked:
        while asked.signal is None:
            time.sleep(0.01)
    sys.exit(f"saved at {asked.signal.name}")
time.sleep(60)
"""


def start(parent, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        env=os.environ | {NAME: str(parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def parent():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("reaped", [True, False])
def test_it_ends_when_that_is_killed(parent, reaped):
    child = start(parent.pid)
    assert child.stdout.readline() == "begun\n"
    time.sleep(1.2)
    assert child.poll() is None
    parent.kill()  # a zombie until it is waited for
    if reaped:
        parent.wait()
    said = child.communicate(timeout=10)[1]
    assert child.returncode == -signal.SIGTERM
    assert said == f"process {parent.pid}, which started this one, is gone: it ends, too\n"


def test_what_saves_its_state_on_sigterm_does_so(parent):
    child = start(parent.pid, "saves")
    assert child.stdout.readline() == "begun\n"
    parent.kill()
    assert child.communicate(timeout=10)[1].endswith("saved at SIGTERM\n")
    assert child.returncode == 1


def test_one_that_was_gone_before(parent):
    parent.kill()
    parent.wait()
    child = start(parent.pid)
    child.communicate(timeout=10)
    assert child.returncode == -signal.SIGTERM


@pytest.mark.parametrize("name", ["", "nobody"])
def test_nobody_to_end_with(name):
    child = start(name)
    with pytest.raises(subprocess.TimeoutExpired):
        child.communicate(timeout=3)
    child.kill()
    child.communicate()
