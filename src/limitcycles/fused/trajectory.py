"""A long trajectory of SGD: the weights after every epoch, in a store that grows while it runs.

The store is a Zarr group that xarray opens: `weights` (epoch, weight) and what belongs to each
epoch. It is written in blocks of epochs, each a shard, and the state of training goes into a
checkpoint after each block. A process that is killed at any moment loses its block at most; the
next one writes it anew, to the same bits, so that no epoch is missing or there twice.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from limitcycles import networks
from limitcycles.checkpoint import Checkpoint
from limitcycles.errors import LimitcyclesError
from limitcycles.files import StorageError
from limitcycles.fused.engine import Descent, Engine
from limitcycles.progress import track
from limitcycles.provenance import code_version
from limitcycles.samplers import CONTROLS, SAMPLERS
from limitcycles.seeds import stream
from limitcycles.settings import digest, identity
from limitcycles.training import DivergenceError, learning_rate

BLOCK = 1024  # epochs in a shard: some seconds of work
CHUNK = (512, 64)  # (epochs, weights) that are read at once: between one weight and one epoch
NAME = "trajectory.zarr"


def record(
    dataset: xr.Dataset,
    run: dict,
    seed: int,
    folder: Path,
    *,
    gradient_every: int = 100,
    windows: tuple[tuple[int, int], ...] = (),
    block: int = BLOCK,
    name: str = "trajectory",
) -> Path:
    """Train one network with the compiled loops, and keep its weights after every epoch.

    Parameters
    ----------
    dataset: as `limitcycles.datasets.build` returns it; the training part is used.
    run: resolved settings of the run (`limitcycles.settings.resolve_run`); `snapshots` and
        `checkpoint_seconds` of its `training` are not used.
    seed: all random streams (initialisation, sampler) derive from it.
    folder: takes the store and the checkpoint. A call with other settings starts anew there.
    gradient_every: epochs between full gradients; epoch 0 and the last have theirs too.
    windows: (first, epochs): the weights after each step of these epochs are kept as well.
    block: epochs in a shard and between checkpoints.

    Returns the path of the store, a Zarr group with, by `epoch` (0: before training):

    - `weights` (epoch, weight) float32, in the order of `networks.flatten`, and `square_norm`
      (epoch) float64, their sum of squares: the checksum that `read` compares;
    - `moments` (epoch, moment) float32: running means, then variances, of batch normalisation;
    - `loss` (epoch) float32: mean over the steps of the epoch, in training mode, nats; NaN at 0.
      Of all examples, equally weighted, where the steps take all (`samplers.CONTROLS`);
    - `gradient_epoch` (gradient) int64 and, in evaluation and in training mode,
      `gradient_evaluation`, `gradient_training` (gradient, weight) float32 (nats per unit of
      weight), `loss_evaluation`, `loss_training` (nats) and `error_evaluation` (percent): see
      `Engine.full_gradient`;
    - `window_weights` (step, weight) float32 with `window_epoch` (step) int64, the epoch (from 1)
      of each of these steps.

    Raises
    ------
    DivergenceError: a loss is no longer finite; names the epoch. What was written stays.
    CheckpointError, StorageError: the state cannot be used or written.
    """
    training = run["training"]
    network = _network(run, seed)
    engine = Engine(
        network,
        dataset["train_image"].values,
        dataset["train_label"].values,
        training["batch_size"],
    )
    plan = {"gradient_every": gradient_every, "windows": [list(w) for w in windows]}
    key = digest(
        {
            "run": identity(run),
            "seed": seed,
            "data": dataset.attrs["sha256"],
            "code": code_version(),
            "block": block,
            **plan,
        }
    )
    checkpoint = Checkpoint(folder, key)
    writer = _Writer(Path(folder) / NAME, engine, training["epochs"], block, plan)
    order = torch.Generator().manual_seed(stream(seed, "sampler"))
    saved = checkpoint.load() if writer.open(key) else None
    if saved is None:
        attrs = {"run": name, "seed": seed, "settings": json.dumps(run, sort_keys=True)}
        writer.create(attrs | {"code_version": code_version(), "key": key})
        done = 0  # rows that are in the store
    else:
        done = saved["done"]
        order.set_state(saved["order"])
        engine.restore({part: values.numpy() for part, values in saved["engine"].items()})
    total = training["epochs"] + 1
    with track(total=total, unit="epoch", what=f"{name} seed {seed}") as bar:
        bar.update(done)
        while done < total:
            stop = min(done + block, total)
            rows = writer.rows(done, stop)
            for epoch in range(done, stop):
                loss, path = np.nan, None
                if epoch:
                    losses, path = _train(engine, training, epoch, order, writer.in_window(epoch))
                    loss = float(losses.mean())
                    if not np.isfinite(loss) or not np.isfinite(engine.weights).all():
                        raise DivergenceError(
                            f"{name}, seed {seed}: a loss or a weight is not finite in epoch "
                            f"{epoch}. Lower training.learning_rate.start."
                        )
                rows.add(epoch, loss, path)
                bar.update()
            writer.write(rows)
            done = stop
            checkpoint.save(
                {
                    "done": done,
                    "order": order.get_state(),
                    "engine": {k: torch.from_numpy(v) for k, v in engine.state().items()},
                }
            )
    return writer.path


def _train(
    engine: Engine, training: dict, epoch: int, order: torch.Generator, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Epoch `epoch` (from 1), as the sampler has it; losses and, to `keep`, weights of its steps.

    Only `order` is random: its state before the epoch decides the epoch.
    """
    sampler, descent = training["sampler"], Descent.of(training)
    rate = learning_rate(training["learning_rate"], epoch - 1, training["epochs"])
    steps = engine.steps(engine.examples)
    kept = steps if keep else 0
    if sampler in SAMPLERS:
        index = SAMPLERS[sampler](engine.examples, order).numpy()
        return engine.epoch(index, rate, descent, keep=kept)
    shares = CONTROLS[sampler](steps, engine.examples, engine.batch, order)
    shares = None if shares is None else shares.numpy()
    return engine.descend_all(steps, rate, descent, shares=shares, keep=kept)


def _network(run: dict, seed: int) -> torch.nn.Module:
    torch.manual_seed(stream(seed, "initialisation"))
    return networks.build(run["network"]).train()


class _Rows:
    """The epochs of one block, in memory."""

    def __init__(self, writer: _Writer, start: int, stop: int):
        self.writer, self.start = writer, start
        engine, count = writer.engine, stop - start
        self.weights = np.empty((count, engine.layers.weights), np.float32)
        self.moments = np.empty((count, 2 * engine.layers.moments), np.float32)
        self.loss = np.empty(count, np.float32)
        self.windows: list[tuple[int, np.ndarray]] = []
        self.gradients: list[tuple] = []

    def add(self, epoch: int, loss: float, path: np.ndarray | None) -> None:
        engine, i = self.writer.engine, epoch - self.start
        state = engine.state()
        self.weights[i] = state["weights"]
        self.moments[i] = np.concatenate([state["mean"], state["variance"]])
        self.loss[i] = loss
        if path is not None and len(path):
            self.windows.append((epoch, path))
        if epoch in self.writer.gradient_row:
            frozen, batches = engine.full_gradient(frozen=True), engine.full_gradient(frozen=False)
            self.gradients.append((self.writer.gradient_row[epoch], frozen, batches))


class _Writer:
    """The store of one trajectory, written block by block."""

    def __init__(self, path: Path, engine: Engine, epochs: int, block: int, plan: dict):
        self.path, self.engine, self.epochs, self.block = path, engine, epochs, block
        every = plan["gradient_every"]
        at = sorted({*range(0, epochs + 1, every), epochs})
        self.gradient_row = {epoch: row for row, epoch in enumerate(at)}
        steps = engine.steps(engine.examples)
        inside = [e for first, count in plan["windows"] for e in range(first, first + count)]
        if (inside and not (min(inside) >= 1 and max(inside) <= epochs)) or len(inside) > len(
            set(inside)
        ):
            raise LimitcyclesError(
                f"windows {plan['windows']} (first epoch, epochs) must lie within 1 and {epochs} "
                "and not overlap"
            )
        self.window_row = {epoch: row * steps for row, epoch in enumerate(sorted(inside))}
        self.steps = steps

    def in_window(self, epoch: int) -> bool:
        return epoch in self.window_row

    def create(self, attrs: dict) -> None:
        """An empty store in place of what is there."""
        engine, epochs = self.engine, self.epochs + 1
        d, moments = engine.layers.weights, 2 * engine.layers.moments
        count = len(self.gradient_row)
        group = zarr.open_group(self.path, mode="w")
        group.attrs.update(attrs)
        for name, width in (("weights", d), ("moments", moments)):
            chunks = (min(CHUNK[0], self.block), min(CHUNK[1], max(width, 1)))
            shards = (_multiple(self.block, chunks[0]), _multiple(max(width, 1), chunks[1]))
            dims = ("epoch", name.removesuffix("s"))
            _array(group, name, (epochs, width), dims, "f4", "1", chunks=chunks, shards=shards)
        _array(group, "square_norm", (epochs,), ("epoch",), "f8", "1", chunks=(self.block,))
        _array(group, "loss", (epochs,), ("epoch",), "f4", "nat", chunks=(self.block,))
        _array(group, "epoch", (epochs,), ("epoch",), "i8", "epoch", data=np.arange(epochs))
        at = np.array(list(self.gradient_row))
        _array(group, "gradient_epoch", at.shape, ("gradient",), "i8", "epoch", data=at)
        for mode in ("evaluation", "training"):
            _array(group, f"gradient_{mode}", (count, d), ("gradient", "weight"), "f4",
                   "nat per unit of weight")  # fmt: skip
            _array(group, f"loss_{mode}", (count,), ("gradient",), "f8", "nat")
        _array(group, "error_evaluation", (count,), ("gradient",), "f8", "percent")
        if self.window_row:
            of = np.repeat(list(self.window_row), self.steps)
            _array(group, "window_epoch", of.shape, ("step",), "i8", "epoch", data=of)
            _array(group, "window_weights", (len(of), d), ("step", "weight"), "f4", "1")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
            zarr.consolidate_metadata(self.path)
        self._group = group

    def open(self, key: str) -> bool:
        """Whether the store of an earlier process with these settings is there to go on with."""
        try:
            self._group = zarr.open_group(self.path, mode="r+")
        except (OSError, ValueError, KeyError):
            return False
        for left in self.path.rglob("*.partial"):  # of a process that was killed while writing
            left.unlink()
        return self._group.attrs.get("key") == key

    def rows(self, start: int, stop: int) -> _Rows:
        return _Rows(self, start, stop)

    def write(self, rows: _Rows) -> None:
        part = slice(rows.start, rows.start + len(rows.weights))
        group = self._group
        try:
            group["weights"][part] = rows.weights
            if rows.moments.shape[1]:
                group["moments"][part] = rows.moments
            group["loss"][part] = rows.loss
            group["square_norm"][part] = _square_norm(rows.weights)
            for row, (loss, error, gradient), (batch_loss, _, batch_gradient) in rows.gradients:
                group["gradient_evaluation"][row] = gradient
                group["gradient_training"][row] = batch_gradient
                group["loss_evaluation"][row] = loss
                group["loss_training"][row] = batch_loss
                group["error_evaluation"][row] = error
            for epoch, path in rows.windows:
                first = self.window_row[epoch]
                group["window_weights"][first : first + len(path)] = path
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {error.strerror or error}. Free space, then start "
                "again: what was finished before is kept."
            ) from error


def _multiple(size: int, of: int) -> int:
    return -(-size // of) * of


def _array(group, name, shape, dims, dtype, units, *, data=None, chunks=None, shards=None):
    """An array without compression (weights do not compress); what is not written reads as NaN."""
    array = group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks or "auto",
        shards=shards,
        compressors=None,
        fill_value=np.nan if dtype.startswith("f") else -1,
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )
    array.attrs["units"] = units
    if data is not None:
        array[:] = data


def _square_norm(weights: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", weights, weights, dtype=np.float64)


def open_trajectory(path: Path | str) -> xr.Dataset:
    """The store that `record` made, opened, not read. Raises StorageError: it is no such store."""
    try:
        return xr.open_zarr(path, chunks=None)
    except (OSError, KeyError, ValueError) as error:
        raise StorageError(
            f"cannot read the trajectory {path} ({error}). Delete it and start snakemake again: "
            "it will be made anew."
        ) from error


def read(trajectory: xr.Dataset, start: int, stop: int) -> np.ndarray:
    """The weights after epochs `start` to `stop` − 1, (epochs, d) float32, checked.

    Raises StorageError: their norms are not those that were noted when they were written.
    """
    weights = trajectory["weights"][start:stop].values
    known = trajectory["square_norm"][start:stop].values
    wrong = ~(np.abs(_square_norm(weights) - known) <= 1e-9 * known)
    if wrong.any():
        raise StorageError(
            f"the trajectory is damaged at epoch {start + int(np.argmax(wrong))}. Delete it and "
            "start snakemake again: it will be made anew."
        )
    return weights
