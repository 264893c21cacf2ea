"""The stores of trajectories, read: without the compiler and PyTorch, which only training needs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import xarray as xr

from limitcycles.storage.files import StorageError

UNREADABLE = (OSError, KeyError, ValueError, RuntimeError)  # what zarr raises on a damaged store


def open_trajectory(path: Path | str) -> xr.Dataset:
    """The store that `record` made, opened, not read. Raises StorageError: it is no such store."""
    try:
        return xr.open_zarr(path, chunks=None)
    except UNREADABLE as error:
        raise StorageError(
            f"cannot read the trajectory {path} ({error}). Delete it and start snakemake again: "
            "it will be made anew."
        ) from error


def read(trajectory: xr.Dataset, start: int, stop: int) -> np.ndarray:
    """The weights after epochs `start` to `stop` − 1, (epochs, d) float32: `values` of them."""
    return values(trajectory, "weights", start, stop)


def values(
    trajectory: xr.Dataset, name: str, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Rows `start` to `stop` − 1 of the variable `name`, every chunk compared with its checksum.

    Raises StorageError: a chunk is damaged, or a row missing (which reads as NaN or −1) or not
    finite.
    """
    try:
        found = trajectory[name][start:stop].values
    except UNREADABLE as error:
        raise _damaged(trajectory, f"`{name}` cannot be read ({error})") from error
    good = np.isfinite(found) if found.dtype.kind == "f" else found >= 0
    if not good.all():
        row = start + int(np.argwhere(~good)[0, 0])
        raise _damaged(trajectory, f"row {row} of `{name}` is missing or not finite")
    return found


def training_of(trajectory: xr.Dataset) -> dict:
    """The section `training` of the settings that the trajectory was recorded with."""
    return json.loads(trajectory.attrs["settings"])["training"]


def after_transient(trajectory: xr.Dataset) -> int:
    """The epoch after which the learning rate is constant: where every measurement begins.

    It is the last step of the schedule: the weights after this epoch are the last ones that the
    rate before had a part in.
    """
    training = training_of(trajectory)
    at = training["learning_rate"]["at"]
    return round(at[-1] * training["epochs"]) if at else 0


def _damaged(trajectory: xr.Dataset, how: str) -> StorageError:
    return StorageError(
        f"the trajectory {trajectory.attrs['run']}, seed {trajectory.attrs['seed']}, is damaged: "
        f"{how}. Delete it and start snakemake again: it will be made anew."
    )
