"""Checkpoints that are damaged, foreign or hostile are refused, and nothing of them is run."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_runs
import torch

import limitcycles
from limitcycles.configuration import settings
from limitcycles.storage import sources
from limitcycles.storage.files import StorageError
from limitcycles.training import checkpoint as module
from limitcycles.training.checkpoint import Checkpoint, CheckpointError, key

CPU = torch.device("cpu")
STATE = {
    "network": {"weight": torch.arange(500.0), "count": torch.tensor(3)},
    "record": {"metrics": {"train_loss": [1.5, 0.25]}, "snapshots": {0: {"b": torch.ones(7)}}},
    "cuda_generator": None,
    "epoch": 2,
}


@pytest.fixture
def checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state", "abc")
    checkpoint.save(STATE)
    return checkpoint


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def assert_refused(checkpoint, reason="is damaged, or no checkpoint of this program"):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load()
    message = str(caught.value)
    assert str(checkpoint.path) in message
    assert reason in message
    assert message.endswith("Delete it to train from the start.")
    assert "weights_only" not in message  # torch would advise to trust the file


def test_round_trip(checkpoint):
    state = checkpoint.load()
    assert state["record"]["metrics"] == STATE["record"]["metrics"]
    assert torch.equal(state["record"]["snapshots"][0]["b"], torch.ones(7))
    assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])
    assert state["network"]["count"].dtype == torch.int64
    assert state["cuda_generator"] is None
    assert state["epoch"] == 2


def test_none_where_nothing_was_saved(tmp_path):
    assert Checkpoint(tmp_path / "nowhere", "abc").load() is None
    assert not (tmp_path / "nowhere").exists()


def test_keys_do_not_share_a_file(checkpoint):
    other = Checkpoint(checkpoint.path.parent, "def")
    assert other.load() is None
    other.save({"epoch": 9})
    assert checkpoint.load()["epoch"] == 2


def test_a_checkpoint_under_the_name_of_another_is_refused(checkpoint):
    other = Checkpoint(checkpoint.path.parent, "def")
    checkpoint.path.rename(other.path)
    assert_refused(other, "belongs to other settings")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(checkpoint, share):
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(content[: int(share * len(content))])
    assert_refused(checkpoint)


def test_garbage_is_refused(checkpoint):
    checkpoint.path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert_refused(checkpoint)


def test_no_flipped_bit_changes_a_number_unseen(checkpoint):
    """torch.load alone would take most of them."""
    content = checkpoint.path.read_bytes()
    refused = 0
    for position in range(0, len(content), 7):
        spoilt = bytearray(content)
        spoilt[position] ^= 1 << position % 8
        checkpoint.path.write_bytes(spoilt)
        try:
            state = checkpoint.load()
        except CheckpointError:
            refused += 1
        else:  # padding, or a date
            assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])
            assert state["record"]["metrics"] == STATE["record"]["metrics"]
            assert state["epoch"] == 2
    assert refused > 0.5 * len(content) / 7


def test_hostile_pickles_are_not_run(checkpoint, tmp_path):
    target = tmp_path / "made by a pickle"
    hostile = Hostile(target)
    pickle.loads(pickle.dumps(hostile)).close()
    assert target.exists()  # so it works
    target.unlink()
    for state in (hostile, STATE | {"key": "abc", "more": hostile}):
        torch.save(state, checkpoint.path)
        assert_refused(checkpoint)
        checkpoint.path.write_bytes(pickle.dumps(state))
        assert_refused(checkpoint)
        torch.save(state, checkpoint.path, _use_new_zipfile_serialization=False)
        assert_refused(checkpoint)
    assert not target.exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 2}, "abc"])
def test_files_of_other_programs_are_refused(checkpoint, content):
    torch.save(content, checkpoint.path)
    assert_refused(checkpoint)


def test_a_state_that_cannot_be_written_leaves_the_old_one(checkpoint):
    with pytest.raises(StorageError, match="cannot write"):
        Checkpoint(checkpoint.path / "below a file", "abc").save(STATE)
    assert checkpoint.load()["epoch"] == 2


SGD, RECORDING = "limitcycles.training.sgd", "limitcycles.training.trajectories.recording"


def own_key(*, run=None, seeds=(1,), data="d", device=CPU, threads=1, computes=SGD, **more):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        its = run or small_runs.run()
        return key(computes, its, list(seeds), data, device, **more)
    finally:
        torch.set_num_threads(before)


def own_network(content):
    def change(monkeypatch, folder):
        monkeypatch.syspath_prepend(folder)
        (folder / "keyed_net.py").write_text("import keyed_layers")
        (folder / "keyed_layers.py").write_text(content)
        return own_key(run=small_runs.run({"builder": "keyed_net:build"}))

    return change


def other_version(package):
    def change(monkeypatch, folder):
        if package == "torch":
            monkeypatch.setattr(torch, "__version__", "0")
        else:
            real = module.version
            monkeypatch.setattr(module, "version", lambda p: "0" if p == package else real(p))
        return own_key()

    return change


CHANGES = {
    "nothing": lambda *_: own_key(),
    "training": lambda *_: own_key(run=small_runs.run(optimiser=small_runs.sgd())),
    "options of the network": lambda *_: own_key(run=small_runs.run(small_runs.lenet(0.1))),
    "dropout": lambda *_: own_key(run=small_runs.run(small_runs.lenet(0.2))),
    "dataset": lambda *_: own_key(run=small_runs.run() | {"dataset": {"source": "mnist"}}),
    "data": lambda *_: own_key(data="e"),
    "seed": lambda *_: own_key(seeds=(2,)),
    "seeds together": lambda *_: own_key(seeds=(1, 2)),
    "device": lambda *_: own_key(device=torch.device("cuda")),
    "compiled loops": lambda *_: own_key(device=None),
    "threads": lambda *_: own_key(threads=2),
    "windows": lambda *_: own_key(windows=[[1, 2]]),
    "the user's network": own_network("a"),
    "a module that it imports": own_network("b"),
    "the module that computes": lambda *_: own_key(computes=RECORDING),
    **{package: other_version(package) for package in ("torch", "numpy", "numba", "llvmlite")},
}


def test_a_key_changes_with_all_that_decides_the_bits(monkeypatch, tmp_path):
    found = {}
    for name, change in CHANGES.items():
        with monkeypatch.context() as patch:
            found[change(patch, tmp_path)] = name
    assert list(found.values()) == list(CHANGES)


@pytest.mark.parametrize(
    "change",
    [
        lambda: own_key(run=small_runs.run(checkpoint_seconds=3)),
        lambda: own_key(run=small_runs.run() | {"departure": "a note", "seeds": [1, 2, 3]}),
        lambda: (
            own_key(threads=1) if own_key(device=None, threads=2) == own_key(device=None) else 0
        ),
    ],
)
def test_a_key_does_not_change_with_what_decides_nothing(change):
    assert change() == own_key()


LATE = "limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.measure"
EDITS = {  # a file of the library: the modules whose unfinished work an edit of it throws away
    "papers/chaudhari2018/network_currents/charts.py": set(),
    "papers/chaudhari2018/network_currents/rule.py": set(),
    "report/page.py": set(),
    "judging/result.py": set(),
    "training/samplers.py": {SGD, RECORDING, LATE},
    "training/networks.py": {SGD, RECORDING, LATE},
    "training/compiled/loops.py": {RECORDING},
    "training/compiled/ensemble.py": {RECORDING},
    "papers/chaudhari2018/temperature_tracks_mean_eigenvalue/measure.py": {LATE},
}


def in_copy(source, program, *arguments):
    """What a program prints with the library in `source`."""
    path = os.pathsep.join([str(source), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def source(tmp_path):
    """A copy of the library."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        Path(limitcycles.__file__).parent, tmp_path / "source/limitcycles", ignore=ignored
    )
    return tmp_path / "source"


def edited(source, file):
    path = source / "limitcycles" / file
    path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")


def test_only_the_source_that_decides_the_bits_is_in_a_key(source):
    program = """
import sys
from limitcycles.training.checkpoint import means
print(*(means(module, [], None)["code"] for module in sys.argv[1:]))
"""
    modules = (SGD, RECORDING, LATE)
    before = in_copy(source, program, *modules)
    for file, changed in EDITS.items():
        edited(source, file)
        after = in_copy(source, program, *modules)
        assert {m for m, a, b in zip(modules, before, after, strict=True) if a != b} == changed, (
            file
        )
        before = after


def test_an_edited_caption_keeps_an_unfinished_run_and_an_edited_sampler_does_not(source, tmp_path):
    program = """
import sys
import small_runs, torch
from limitcycles.training import sgd
torch.set_num_threads(1)
with small_runs.Steps() as steps:
    try:
        run = small_runs.run(checkpoint_seconds=0)
        sgd.train(small_runs.digits(), run, 0, sys.argv[1], limit_seconds=float(sys.argv[2]))
    except TimeoutError:
        pass
files = [m.__file__ for n, m in sys.modules.items() if n.startswith("limitcycles.")]
print(len(steps), *filter(None, files))
"""
    total = small_runs.EPOCHS * small_runs.STEPS
    for file, left in (("papers/chaudhari2018/rank/charts.py", total - 1),
                       ("training/samplers.py", total)):  # fmt: skip
        state = tmp_path / file.replace("/", "-")
        assert in_copy(source, program, state, 0)[0] == "1"
        edited(source, file)
        steps, *files = in_copy(source, program, state, 1e9)
        assert int(steps) == left
    # Whatever a run imports while it runs is in its key: the optimiser, which is found by name, as
    # the code that its settings name. The dataset counts by its content.
    by_name = "limitcycles.training.optimisers.sgd"
    assert sources.digest(by_name) in settings.own_code(small_runs.run())
    known = sources.closure(SGD, by_name, "limitcycles.datasets")
    assert {str(Path(file).relative_to(source)) for file in files} <= {
        str(path.relative_to(sources.ROOT.parent)) for path in known
    }
