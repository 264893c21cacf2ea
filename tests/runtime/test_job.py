"""One step as a process: exit codes, one sentence or a traceback, and the log."""

from limitcycles.runtime.job import logged

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_disk
import torch

import limitcycles
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track

STEP = """
import sys
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.job import logged
with logged(sys.argv[1], "train"):
    print("half way", file=sys.stderr)
    {}
print("after", file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("pass", 0, "half way\n"),
        ("raise LimitcyclesError('no such run; use x')", 1, "train: no such run; use x\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("sys.exit(3)", 3, "half way\n"),
    ],
)
def test_a_process_ends_with_its_exit_code_and_the_log_tells_why(tmp_path, line, code, said):
    log = tmp_path / "logs" / "deep" / "train.log"
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(line), str(log)],
        env=os.environ | {"PYTHONPATH": str(Path(limitcycles.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr == log.read_text(encoding="utf-8") + ("" if code else "after\n")
    assert log.read_text(encoding="utf-8").startswith("half way\n")
    assert log.read_text(encoding="utf-8").endswith(said)
    assert ("Traceback" in done.stderr) == ("1 / 0" in line)


def leave(log, error, text=""):
    """Run a step that prints, then raises; the exit code."""
    with pytest.raises(SystemExit) as caught:
        _step(log, error, text)
    return caught.value.code


def _step(log, error, text):
    with logged(log, "spectrum"):
        print(text, file=sys.stderr)
        raise error


def test_an_error_a_user_can_mend_is_one_sentence(tmp_path, capsys):
    class Own(LimitcyclesError):
        pass

    before = sys.stderr
    assert leave(tmp_path / "a.log", Own("rank τ: 3 is too few; use 4")) == 1
    assert sys.stderr is before
    assert capsys.readouterr().err == "\nspectrum: rank τ: 3 is too few; use 4\n"
    assert (tmp_path / "a.log").read_text() == "\nspectrum: rank τ: 3 is too few; use 4\n"


def too_large_for_torch():
    torch.empty(2**50)


def too_large_for_numpy():
    np.empty(2**55)


@pytest.mark.parametrize("ask", [too_large_for_numpy, too_large_for_torch])
def test_too_little_memory_is_one_sentence(tmp_path, capsys, ask):
    with pytest.raises(SystemExit), logged(tmp_path / "step.log", "step"):
        ask()
    said = capsys.readouterr().err
    assert said.startswith("step: there is not enough memory for these settings; take fewer")
    assert "Traceback" not in said


def test_any_other_error_is_a_traceback(tmp_path, capsys):
    assert leave(tmp_path / "a.log", RuntimeError("odd")) == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "in _step" in said
    assert (tmp_path / "a.log").read_text() == said


def test_an_interrupt_passes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _step(tmp_path / "a.log", KeyboardInterrupt(), "begun")
    assert (tmp_path / "a.log").read_text() == "begun\n"


def test_the_log_is_written_as_it_happens(tmp_path):
    with logged(tmp_path / "a.log", "train"):
        print("begun", file=sys.stderr)
        assert (tmp_path / "a.log").read_text() == "begun\n"


def test_a_new_try_starts_a_new_log(tmp_path):
    for text in ("first", "second"):
        leave(tmp_path / "a.log", LimitcyclesError("stop"), text)
    assert (tmp_path / "a.log").read_text() == "second\nspectrum: stop\n"


@pytest.mark.parametrize("count", [1, 2])
def test_threads_of_torch(tmp_path, count):
    with logged(tmp_path / "a.log", "train", count):
        assert torch.get_num_threads() == count


def test_a_log_that_cannot_be_written_hides_no_message(tmp_path, capsys):
    log = tmp_path / "a.log"
    with small_disk.files_of_at_most(10):
        assert leave(log, LimitcyclesError("no space left; free some"), "half way") == 1
    assert capsys.readouterr().err == (
        f"half way\nspectrum: no space left; free some\nthe log {log} is cut off: File too large\n"
    )
    assert log.read_text() == "half way\ns"


def test_a_log_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert leave(tmp_path / "file" / "a.log", RuntimeError("never reached")) == 1
    said = capsys.readouterr().err
    assert said == f"spectrum: cannot write the log {tmp_path / 'file' / 'a.log'}: File exists\n"


def test_progress_in_a_log_is_whole_lines(tmp_path):
    with logged(tmp_path / "a.log", "train"):
        for _ in track(range(3), unit="epoch", what="small-fc seed 0"):
            pass
        print("done", file=sys.stderr)
    lines = (tmp_path / "a.log").read_text().split("\n")
    assert lines[0].startswith("small-fc seed 0:   0%")
    assert lines[-3].startswith("small-fc seed 0: 100%")
    assert "3/3" in lines[-3]
    assert lines[-2:] == ["done", ""]
    assert not any("\r" in line for line in lines)


def test_threads_of_torch_imported_within_the_step(tmp_path):
    code = """
import sys
from limitcycles.charts import drawing, files

from limitcycles.judging import judge as claims

from limitcycles.storage import store
from limitcycles.runtime.job import logged
assert "torch" not in sys.modules  # a second of each job that judges or draws
with logged(sys.argv[1], "train", 1):
    import torch
    print(torch.get_num_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        env=os.environ | {"PYTHONPATH": str(Path(limitcycles.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


def test_nothing_looks_for_garbage_while_a_step_is_imported(tmp_path):
    code = (
        "import gc, sys; from limitcycles.runtime.job import logged; assert not gc.isenabled()\n"
        "with logged(sys.argv[1], 'step'): assert gc.isenabled()"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "log"], check=True)
    for script in (Path(__file__).parents[2] / "workflow/scripts").glob("*.py"):
        first = script.read_text(encoding="utf-8").partition("\n")[0]
        assert first == "from limitcycles.runtime.job import logged", script
