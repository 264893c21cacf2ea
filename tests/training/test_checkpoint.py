"""Checkpoints that are damaged, foreign or hostile are refused, and nothing of them is run."""

import pickle

import numpy as np
import pytest
import small_runs
import torch

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


def own_key(*, run=None, seeds=(1,), data="d", device=CPU, threads=1, **more):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return key(run or small_runs.run(), list(seeds), data, device, **more)
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


def other_source(monkeypatch, folder):
    monkeypatch.setattr(module, "code_version", lambda: "other")
    return own_key()


CHANGES = {
    "nothing": lambda *_: own_key(),
    "training": lambda *_: own_key(run=small_runs.run(momentum={"kind": "none"})),
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
    "the library": other_source,
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
