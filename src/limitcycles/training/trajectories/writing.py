"""The stores of trajectories while they grow: see `limitcycles.training.trajectories.recording`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.errors import ZarrUserWarning

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage.files import StorageError
from limitcycles.training.compiled.engines import Engines
from limitcycles.training.compiled.ensemble import Ensemble

CHUNK = (512, 64)  # (epochs, weights) that are read at once: between one weight and one epoch


class Rows:
    """Epochs `start` to `stop` of all members, in memory; the first `filled` of them are there."""

    def __init__(self, writer: Writer, start: int, stop: int):
        self.writer, self.start, self.filled = writer, start, 0
        layers, shape = writer.engine.layers, (len(writer.paths), stop - start)
        self.weights = np.empty((*shape, layers.weights), np.float32)
        self.moments = np.empty((*shape, 2 * layers.moments), np.float32)
        self.loss = np.empty(shape, np.float32)
        self.windows: list[tuple[int, np.ndarray]] = []
        self.gradients: list[tuple] = []

    def add(self, epoch: int, loss: np.ndarray, state: dict, path: np.ndarray | None) -> None:
        engine, i = self.writer.engine, epoch - self.start
        self.weights[:, i] = state["weights"]
        self.moments[:, i] = np.concatenate([state["mean"], state["variance"]], axis=1)
        self.loss[:, i] = loss
        self.filled = i + 1
        if path is not None and path.shape[1]:
            self.windows.append((epoch, path))
        if epoch in self.writer.gradient_row:
            frozen, batches = engine.full_gradient(frozen=True), engine.full_gradient(frozen=False)
            self.gradients.append((self.writer.gradient_row[epoch], frozen, batches))


class Writer:
    """The stores of trajectories that are trained together, written block by block."""

    def __init__(
        self,
        paths: list[Path],
        engine: Engines | Ensemble,
        epochs: int,
        block: int,
        plan: dict,
    ):
        self.paths, self.engine, self.epochs, self.block = paths, engine, epochs, block
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

    def create(self, attrs: list[dict]) -> None:
        """Empty stores in place of what is there. Raises StorageError."""
        self._groups = []
        for path, own in zip(self.paths, attrs, strict=True):
            with _writable(path):
                self._groups.append(self._create(path, own))

    def _create(self, path: Path, attrs: dict) -> zarr.Group:
        engine, epochs = self.engine, self.epochs + 1
        d, moments = engine.layers.weights, 2 * engine.layers.moments
        count = len(self.gradient_row)
        group = zarr.open_group(path, mode="w")
        group.attrs.update(attrs)
        for name, width in (("weights", d), ("moments", moments)):
            chunks = (min(CHUNK[0], self.block), min(CHUNK[1], max(width, 1)))
            shards = (_multiple(self.block, chunks[0]), _multiple(max(width, 1), chunks[1]))
            dims = ("epoch", name.removesuffix("s"))
            _array(group, name, (epochs, width), dims, "f4", "1", chunks=chunks, shards=shards)
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
            zarr.consolidate_metadata(path)
        return group

    def open(self, key: str) -> bool:
        """Whether all stores of an earlier process with these settings are there to go on with."""
        try:
            self._groups = [zarr.open_group(path, mode="r+") for path in self.paths]
        except (OSError, ValueError, KeyError):
            return False
        for path in self.paths:
            for left in path.rglob("*.partial"):  # of a process that was killed while writing
                left.unlink()
        return all(group.attrs.get("key") == key for group in self._groups)

    def rows(self, start: int, stop: int) -> Rows:
        return Rows(self, start, stop)

    def write(self, rows: Rows) -> None:
        """The rows that were added, into all stores. Raises StorageError."""
        for member, path in enumerate(self.paths):
            with _writable(path):
                self._write(member, rows)

    def _write(self, member: int, rows: Rows) -> None:
        count, group = rows.filled, self._groups[member]
        part = slice(rows.start, rows.start + count)
        group["weights"][part] = rows.weights[member, :count]
        if rows.moments.shape[2]:
            group["moments"][part] = rows.moments[member, :count]
        group["loss"][part] = rows.loss[member, :count]
        for row, (loss, error, gradient), (batch_loss, _, batch_gradient) in rows.gradients:
            group["gradient_evaluation"][row] = gradient[member]
            group["gradient_training"][row] = batch_gradient[member]
            group["loss_evaluation"][row] = loss[member]
            group["loss_training"][row] = batch_loss[member]
            group["error_evaluation"][row] = error[member]
        for epoch, path in rows.windows:
            first = self.window_row[epoch]
            group["window_weights"][first : first + path.shape[1]] = path[member]


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Free space, then start "
            "again: what was finished before is kept."
        ) from error
    except ValueError as error:  # a chunk that has rows of earlier blocks is read first
        raise StorageError(
            f"the trajectory {path} is damaged ({error}). Delete it and start again: it will be "
            "made anew."
        ) from error


def _multiple(size: int, of: int) -> int:
    return -(-size // of) * of


def _array(group, name, shape, dims, dtype, units, *, data=None, chunks=None, shards=None):
    """An array with a checksum of each chunk; what is not written reads as NaN or −1.

    Not compressed, as weights do not compress.
    """
    array = group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks or "auto",
        shards=shards,
        compressors=[Crc32cCodec()],
        fill_value=np.nan if dtype.startswith("f") else -1,
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )
    array.attrs["units"] = units
    if data is not None:
        array[:] = data
