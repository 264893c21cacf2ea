"""Long trajectories: what is stored, and that no end of a process spoils it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small_disk
import small_runs
import torch
import xarray as xr
from helpers import one_thread  # noqa: F401

import limitcycles
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.seeds import stream
from limitcycles.storage.files import StorageError
from limitcycles.training import networks, optimisers
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.samplers import gaussian_weights, without_replacement
from limitcycles.training.sgd import DivergenceError
from limitcycles.training.trajectories import reading, recording

EXAMPLES, EPOCHS, BLOCK = 100, 37, 8


def dataset(seed=0, count=EXAMPLES) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "train_image": (
                ("sample", "channel", "row", "column"),
                rng.random((count, 1, 7, 7), dtype=np.float32),
            ),
            "train_label": ("sample", rng.integers(0, 5, count)),
        },
        attrs={"sha256": f"made up, {seed}"},
    )


def run(epochs=EPOCHS, **training) -> dict:
    return {
        "network": {
            "builder": "fc",
            "options": {"inputs": 49, "hidden": 16, "classes": 5},
            "weights": 917,
        },
        "dataset": {},
        "training": {
            "epochs": epochs,
            "batch_size": 32,
            "learning_rate": {"start": 0.1, "factor": 0.1, "at": [0.5]},
            "optimiser": small_runs.sgd(0.9, nesterov=True),
            "weight_decay": 0.0,
            "sampler": "without-replacement",
        }
        | training,
    }


def record(folder, *, seed=3, data=None, settings=None, **options) -> xr.Dataset:
    path = recording.record(
        data or dataset(), settings or run(), seed, folder, block=BLOCK, gradient_every=10,
        windows=((4, 2),), **options
    )  # fmt: skip
    return reading.open_trajectory(path)


SEEDS = (3, 4, 5)


def record_ensemble(folder, *, device="cpu", settings=None, **options) -> list[xr.Dataset]:
    stores = {seed: folder / f"seed{seed}" / recording.NAME for seed in SEEDS}
    paths = recording.record_seeds(
        dataset(), settings or run(), stores, folder, device=device, block=BLOCK,
        gradient_every=10, windows=((4, 2),), **options
    )  # fmt: skip
    assert paths == list(stores.values())
    return [reading.open_trajectory(path) for path in paths]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    return record_ensemble(tmp_path_factory.mktemp("ensemble"))


def control(sampler) -> dict:
    return run(sampler=sampler, optimiser=small_runs.sgd())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return record(tmp_path_factory.mktemp("whole"))


def test_weights_are_those_of_the_engine(whole):
    data, settings = dataset(), run()
    torch.manual_seed(stream(3, "initialisation"))
    network = networks.build(settings["network"])
    engine = Engine(
        network,
        data["train_image"].values,
        data["train_label"].values,
        32,
        optimisers.of(settings["training"]),
    )
    order = torch.Generator().manual_seed(stream(3, "sampler"))
    stored = reading.read(whole, 0, EPOCHS + 1)
    assert stored.shape == (EPOCHS + 1, 917)
    np.testing.assert_array_equal(stored[0], engine.weights)
    for epoch in range(1, EPOCHS + 1):
        rate = 0.1 if epoch <= round(0.5 * EPOCHS) else 0.01
        index = without_replacement(EXAMPLES, order).numpy()
        losses, path = engine.epoch(index, rate, keep=10)
        np.testing.assert_array_equal(stored[epoch], engine.weights)
        assert float(whole["loss"][epoch]) == pytest.approx(losses.mean(dtype=float), rel=1e-6)
        if epoch in (4, 5):
            inside = whole["window_epoch"].values == epoch
            np.testing.assert_array_equal(whole["window_weights"].values[inside], path)
        if epoch in (30, EPOCHS):
            row = int(np.flatnonzero(whole["gradient_epoch"].values == epoch)[0])
            for frozen, mode in ((True, "evaluation"), (False, "training")):
                loss, _, gradient = engine.full_gradient(frozen=frozen)
                assert float(whole[f"loss_{mode}"][row]) == loss
                np.testing.assert_array_equal(
                    whole[f"gradient_{mode}"].values[row], gradient.astype(np.float32)
                )
    assert whole["gradient_epoch"].values.tolist() == [0, 10, 20, 30, EPOCHS]
    assert np.isnan(whole["loss"].values[0])
    assert np.isfinite(whole["loss"].values[1:]).all()
    assert whole["moments"].shape == (EPOCHS + 1, 32)


@pytest.mark.parametrize("sampler", ["full-batch", "gaussian"])
def test_controls_take_all_examples_in_every_step(sampler, tmp_path):
    whole, data = record(tmp_path, settings=control(sampler)), dataset()
    torch.manual_seed(stream(3, "initialisation"))
    network = networks.build(run()["network"])
    engine = Engine(
        network,
        data["train_image"].values,
        data["train_label"].values,
        32,
        optimisers.of(control(sampler)["training"]),
    )
    order = torch.Generator().manual_seed(stream(3, "sampler"))
    stored = reading.read(whole, 0, EPOCHS + 1)
    for epoch in range(1, EPOCHS + 1):
        rate = 0.1 if epoch <= round(0.5 * EPOCHS) else 0.01
        shares = None
        if sampler == "gaussian":
            shares = gaussian_weights(4, EXAMPLES, 32, order).numpy()
        losses, path = engine.descend_all(4, rate, shares=shares, keep=4)
        np.testing.assert_array_equal(stored[epoch], engine.weights)
        assert float(whole["loss"][epoch]) == pytest.approx(losses.mean(), rel=1e-6)
        if epoch in (4, 5):
            inside = whole["window_epoch"].values == epoch
            np.testing.assert_array_equal(whole["window_weights"].values[inside], path)
    if sampler == "full-batch":  # nothing rises without noise
        assert (np.diff(whole["loss"].values[1:]) < 0).all()


def test_one_weight_and_one_epoch_are_read_alone(whole):
    everything = whole["weights"].values
    np.testing.assert_array_equal(whole["weights"][:, 700].values, everything[:, 700])
    np.testing.assert_array_equal(whole["weights"][20].values, everything[20])


def files(folder: Path) -> dict[str, bytes]:
    """Of all stores below the folder."""
    stores = folder.rglob(recording.NAME)
    found = [p for store in stores for p in store.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


SCRIPT = """
import json, os, sys, time
from pathlib import Path
epochs = []
sys.path[:0] = json.loads(sys.argv[2])
import torch
torch.set_num_threads(1)
import test_trajectory as case
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.compiled.ensemble import Ensemble
def slow(real):
    def method(self, *arguments, **options):
        if arguments[1] > 0:  # the rate, which is 0 where the first step is checked
            epochs.append(1)
        if arguments[1] > 0 and len(epochs) == int(sys.argv[6]):
            os.kill(os.getpid(), int(sys.argv[5]))
        time.sleep(0.01)
        return real(self, *arguments, **options)
    return method
Engine.epoch, Engine.descend_all = slow(Engine.epoch), slow(Engine.descend_all)
Ensemble.epoch = slow(Ensemble.epoch)
print("ready", flush=True)
getattr(case, sys.argv[3])(Path(sys.argv[1]), settings=json.loads(sys.argv[4]))
"""


@pytest.mark.parametrize(
    ("function", "settings", "kills_wanted"),
    [
        ("record", run(), 4),
        ("record", control("gaussian"), 3),
        ("record_ensemble", run(), 4),
    ],
    ids=["mini-batches", "gaussian", "ensemble"],
)
def test_killed_again_and_again_it_ends_with_the_same_bits(
    function, settings, kills_wanted, tmp_path
):
    reference, folder = tmp_path / "whole", tmp_path / "killed"
    globals()[function](reference, settings=settings)
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(20):
        process = begin(folder, function, settings)
        time.sleep(rng.uniform(0.1, 0.35))
        if process.poll() is None and kills < kills_wanted:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break
        kills += 1
    assert process.returncode == 0
    assert kills >= 2
    assert_same_files(folder, reference)


def begin(folder, function, settings, number=signal.SIGTERM, at=0) -> subprocess.Popen:
    """A process that is about to record slowly; it gets a signal in its epoch `at`, from 1."""
    places = [str(Path(limitcycles.__file__).parents[1]), str(Path(__file__).parent),
              str(Path(__file__).parents[2])]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), json.dumps(places), function,
         json.dumps(settings), str(int(number)), str(at)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def assert_same_files(folder, reference):
    mine, theirs = files(folder), files(reference)
    assert set(mine) == set(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []


@pytest.mark.parametrize(
    ("function", "number"), [("record", signal.SIGTERM), ("record_ensemble", signal.SIGUSR1)]
)
def test_asked_to_end_it_saves_the_block_that_it_is_in(function, number, tmp_path):
    reference, folder = tmp_path / "whole", tmp_path / "stopped"
    globals()[function](reference, settings=run())
    for epochs, reached in ((11, 11), (9, 20)):  # neither is the end of a block
        process = begin(folder, function, run(), number, epochs)
        said = process.communicate()[1]
        assert process.returncode == 1, said
        assert said.endswith(
            f"after epoch {reached} of 37 when {number.name} asked this process to end. It is "
            "saved: start again, and it goes on from there.\n"
        )
    process = begin(folder, function, run())
    process.communicate()
    assert process.returncode == 0
    assert_same_files(folder, reference)


def test_a_finished_trajectory_is_not_made_again(tmp_path):
    record(tmp_path)
    before = files(tmp_path)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / recording.NAME).rglob("c/*")}
    record(tmp_path)
    after = files(tmp_path)
    assert [name for name in after if after[name] != before.get(name)] == []
    assert times
    assert all(p.stat().st_mtime_ns == then for p, then in times.items())


@pytest.mark.parametrize("kind", ["adam", "own_optimisers:Wanders"])
@pytest.mark.parametrize("device", [None, "cpu"], ids=["compiled", "ensemble"])
def test_one_of_another_optimiser_goes_on_to_the_same_bits(kind, device, tmp_path, monkeypatch):
    rate = {"start": 0.01, "factor": 0.5, "at": [0.5]}
    options = {
        "settings": run(optimiser={"kind": kind, "options": {}}, learning_rate=rate),
        "device": device,
    }
    whole = record(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(recording.Checkpoint, "save", killed_after(2))
        with pytest.raises(Killed):
            record(tmp_path / "parts", **options)
    again = record(tmp_path / "parts", **options)
    np.testing.assert_array_equal(again["weights"].values, whole["weights"].values)
    assert whole["loss"].values[-1] < 0.9 * whole["loss"].values[1]


def test_other_settings_start_anew_and_never_continue(whole, tmp_path):
    record(tmp_path, settings=run(weight_decay=0.1))
    record(tmp_path, data=dataset(1))
    record(tmp_path)  # its own checkpoint is gone with its store
    again = record(tmp_path, seed=3)
    np.testing.assert_array_equal(again["weights"].values, whole["weights"].values)


def test_settings_that_come_back_do_not_go_on_in_the_store_of_others(whole, tmp_path):
    record(tmp_path)
    record(tmp_path, settings=run(weight_decay=0.1))
    again = record(tmp_path)
    np.testing.assert_array_equal(again["weights"].values, whole["weights"].values)


@pytest.mark.parametrize("file", ["users_net.py", "users_layers.py"])
def test_a_changed_network_of_the_user_never_continues(tmp_path, monkeypatch, file):
    """Its first weights are ten times as large; what was trained before is not gone on with."""
    monkeypatch.syspath_prepend(tmp_path)
    sources = {
        "users_net.py": "from users_layers import network\n\n\n"
        "def build():\n    made = network()\n    made[-1].weight.data *= 1\n    return made\n",
        "users_layers.py": "from limitcycles.training import networks\n\n\ndef network():\n"
        "    made = networks.fully_connected(49, 16, 5)\n"
        "    made[-1].weight.data *= 1\n    return made\n",
    }
    for name, content in sources.items():
        (tmp_path / name).write_text(content)
        sys.modules.pop(name.removesuffix(".py"), None)
    settings = run() | {"network": {"builder": "users_net:build", "options": {}, "weights": 917}}
    with monkeypatch.context() as patch:
        patch.setattr(recording.Checkpoint, "save", killed_after(2))
        with pytest.raises(Killed):
            record(tmp_path / "state", settings=settings)
    before = np.linalg.norm(stored(tmp_path / "state")[0])
    (tmp_path / file).write_text(sources[file].replace("*= 1", "*= 10"))
    for name in ("users_net", "users_layers"):
        sys.modules.pop(name)
    again = record(tmp_path / "state", settings=settings)
    fresh = record(tmp_path / "fresh", settings=settings)
    assert np.linalg.norm(fresh["weights"][0]) > 2 * before
    np.testing.assert_array_equal(again["weights"].values, fresh["weights"].values)


def killed_after(times):
    saved, left = recording.Checkpoint.save, list(range(times))

    def save(self, state):
        if not left:
            raise Killed
        left.pop()
        saved(self, state)

    return save


def stored(folder):
    return xr.open_zarr(folder / recording.NAME)["weights"].values


def test_a_continued_one_says_where(tmp_path, monkeypatch, capsys):
    record(tmp_path)
    assert "continued" not in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(recording.Checkpoint, "save", killed_after(2))
        with pytest.raises(Killed):
            record(tmp_path, seed=4)
    capsys.readouterr()
    record(tmp_path, seed=4)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"trajectory seed 4, continued at epoch {2 * BLOCK}"
    assert said[1].startswith(f"{said[0]}:  ")  # the bar
    assert f"{EPOCHS}/{EPOCHS}" in said[-1]


class Killed(BaseException):
    """Ends a call as a signal would."""


@pytest.mark.parametrize("before", ["finished", "settings that come back"])
def test_an_old_checkpoint_does_not_meet_a_new_store(before, whole, tmp_path, monkeypatch):
    record(tmp_path)
    if before == "finished":
        (tmp_path / recording.NAME).rename(tmp_path / "moved away")
    else:
        record(tmp_path, settings=run(weight_decay=0.1))

    def killed(self, rows):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recording.Writer, "write", killed)
        with pytest.raises(Killed):
            record(tmp_path)
    xr.testing.assert_identical(record(tmp_path).load(), whole.load())


def shards(path, name: str) -> list[Path]:
    return sorted(p for p in (Path(path) / name / "c").rglob("*") if p.is_file())


def change(file: Path, byte: int, bits: int) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= bits
    file.write_bytes(content)


REMEDY = "is damaged: .* Delete it and start snakemake again: it will be made anew"


def test_a_lost_shard_is_found(tmp_path):
    path = record(tmp_path).encoding["source"]
    shards(path, "weights")[2].unlink()
    stored = reading.open_trajectory(path)
    with pytest.raises(StorageError, match=f"seed 3, is damaged: row {2 * BLOCK} of `weights`"):
        reading.read(stored, 0, EPOCHS + 1)
    assert reading.read(stored, 0, 2 * BLOCK).shape == (2 * BLOCK, 917)


def test_a_sign_that_flips_and_a_shard_cut_off_are_found(tmp_path):
    path = record(tmp_path).encoding["source"]
    first, second, third, *_ = shards(path, "weights")
    change(first, 4 * 10 + 3, 0x80)  # little endian: the sign is in the last byte
    second.write_bytes(second.read_bytes()[:-1000])
    third.write_bytes(b"")
    stored = reading.open_trajectory(path)
    for start in (0, BLOCK, 2 * BLOCK):
        with pytest.raises(StorageError, match=REMEDY):
            reading.read(stored, start, start + BLOCK)
        with pytest.raises(StorageError, match=REMEDY):
            reading.read(stored, start, start + 1)
    assert np.isfinite(reading.read(stored, 3 * BLOCK, EPOCHS + 1)).all()


@pytest.mark.parametrize(
    "name", ["moments", "gradient_training", "loss_evaluation", "error_evaluation",
             "gradient_epoch", "window_weights", "window_epoch"]
)  # fmt: skip
def test_every_variable_has_a_checksum(name, tmp_path):
    path = record(tmp_path).encoding["source"]
    stored, file = reading.open_trajectory(path), shards(path, name)[0]
    assert len(reading.values(stored, name, 1, 3)) == 2
    change(file, 2, 1)
    with pytest.raises(StorageError, match=REMEDY):
        reading.values(stored, name)
    file.write_bytes(file.read_bytes()[:2])
    with pytest.raises(StorageError, match=REMEDY):
        reading.values(stored, name)
    file.unlink()
    with pytest.raises(StorageError, match=f"row 0 of `{name}` is missing"):
        reading.values(stored, name)


def test_a_damaged_chunk_to_which_rows_are_added(tmp_path, monkeypatch):
    real = recording.Writer.write

    def write(self, rows):
        if rows.start:
            raise Killed
        real(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(recording.Writer, "write", write)
        with pytest.raises(Killed):
            record(tmp_path)
    change(shards(tmp_path / recording.NAME, "loss_training")[0], 2, 1)
    with pytest.raises(StorageError, match=r"is damaged .* Delete it and start again"):
        record(tmp_path)


@pytest.mark.parametrize("size", [500, 20_000])  # of the metadata and of the first shard
def test_a_full_disk_is_said_and_the_run_goes_on(size, whole, tmp_path):
    with pytest.raises(StorageError) as caught, small_disk.files_of_at_most(size):
        record(tmp_path)
    path = tmp_path / recording.NAME
    assert str(caught.value).startswith(f"cannot write {path}: File too large. Free space")
    xr.testing.assert_identical(record(tmp_path).load(), whole.load())


def test_a_real_disk_that_is_full(whole, tmp_path):
    with small_disk.mounted(tmp_path / "disk") as disk:
        ballast = small_disk.fill(disk)
        with pytest.raises(StorageError, match=r"No space left on device\. Free space"):
            record(disk)
        with open(ballast, "r+b") as file:
            file.truncate(2**20 - 250_000)  # room for some of the blocks
        with pytest.raises(StorageError, match=r"No space left on device\. Free space"):
            record(disk)
        assert list(disk.glob("checkpoint-*"))
        ballast.unlink()
        xr.testing.assert_identical(record(disk).load(), whole.load())


def test_divergence_names_the_epoch(tmp_path):
    with pytest.raises(DivergenceError, match=r"not finite in epoch \d+"):
        record(tmp_path, settings=run(learning_rate={"start": 1e30, "factor": 1, "at": []}))


def test_windows_outside_are_refused(tmp_path):
    with pytest.raises(LimitcyclesError, match="must lie within 1 and 37"):
        recording.record(dataset(), run(), 0, tmp_path, windows=((37, 2),))


def test_what_is_no_trajectory_is_said(tmp_path):
    with pytest.raises(StorageError, match="cannot read the trajectory"):
        reading.open_trajectory(tmp_path)


def test_an_ensemble_records_what_the_compiled_loops_do_to_rounding(whole, ensemble):
    theirs, mine = whole.load(), ensemble[0].load()
    for name in theirs.variables:
        assert mine[name].dims == theirs[name].dims
        assert mine[name].dtype == theirs[name].dtype
        assert mine[name].attrs == theirs[name].attrs
        close = {"rtol": 1e-3, "atol": 1e-4}  # float32 steps in another order, over 37 epochs
        np.testing.assert_allclose(mine[name], theirs[name], **close, err_msg=name)
    np.testing.assert_array_equal(mine["weights"][0], theirs["weights"][0])
    assert np.abs(mine["weights"][-1] - mine["weights"][0]).max() > 0.1
    assert [store.attrs["seed"] for store in ensemble] == list(SEEDS)


def test_compiled_seeds_together_are_those_alone(whole, tmp_path):
    together = record_ensemble(tmp_path, device=None)
    alone = record(tmp_path / "alone", seed=5)
    for mine, theirs in ((together[0], whole), (together[2], alone)):
        xr.testing.assert_identical(mine.drop_attrs(), theirs.drop_attrs())


def test_an_ensemble_of_which_one_store_is_lost_is_made_anew(ensemble, tmp_path):
    stores = record_ensemble(tmp_path)
    for path in sorted(Path(stores[1].encoding["source"]).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    again = record_ensemble(tmp_path)
    for mine, whole in zip(again, ensemble, strict=True):
        xr.testing.assert_identical(mine.load(), whole.load())


def test_compiled_loops_do_not_go_on_where_an_ensemble_stopped(tmp_path):
    first = record_ensemble(tmp_path)[0].load()
    assert record_ensemble(tmp_path, device=None)[0].attrs["key"] != first.attrs["key"]


def test_an_ensemble_names_the_seed_that_diverges(tmp_path):
    with pytest.raises(DivergenceError, match=r"seed [345]: .* not finite in epoch \d+"):
        record_ensemble(
            tmp_path, settings=run(learning_rate={"start": 1e30, "factor": 1, "at": []})
        )


@pytest.mark.parametrize("sampler", ["full-batch", "gaussian"])
def test_an_ensemble_refuses_steps_over_all_images(sampler, tmp_path):
    with pytest.raises(CompiledError, match=f"{sampler} has compiled loops only; use the CPU"):
        record_ensemble(tmp_path, settings=run(sampler=sampler))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_augmentation_is_refused(device, tmp_path):
    with pytest.raises(CompiledError, match=r"training\.augmentation is for runs only.*write null"):
        record_ensemble(
            tmp_path, device=device, settings=run(augmentation={"flip": True, "pad": 4})
        )
