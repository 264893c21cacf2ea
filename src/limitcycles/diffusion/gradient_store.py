"""Stored per-sample gradients: a Zarr group with `gradient` (sample, weight) and `square_norm`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from limitcycles.storage.files import StorageError
from limitcycles.storage.provenance import code_version

DEFINITION = (
    "each row is the gradient of the loss of one image, in evaluation mode, not divided by N"
)
UNITS = "nat per unit of weight"


def create(
    path: Path, shape: tuple[int, int], shard: int, precision: str, attrs: dict
) -> zarr.Group:
    """An empty group with `gradient` (sample, weight) in shards of `shard` rows."""
    group = zarr.open_group(path, mode="w")
    group.attrs.update(attrs | {"code_version": code_version(), "definition": DEFINITION})
    # Gradients do not compress; a chunk is what a reader of a few rows fetches.
    chunk = next(c for c in (128, 64, 32, 16, 8, 4, 2, 1) if shard % c == 0)
    array = group.create_array(
        "gradient",
        shape=shape,
        shards=(shard, shape[1]),
        chunks=(chunk, shape[1]),
        dtype=precision,
        compressors=None,
        fill_value=np.nan,  # a missing shard must not read as zeros
        dimension_names=("sample", "weight"),
        config={"write_empty_chunks": True},  # none is empty, and looking costs time
    )
    array.attrs["units"] = UNITS
    return group


def open_store(path: Path | str) -> zarr.Group:
    """The group that `write` made: `gradient` (sample, weight) and `square_norm` (sample).

    Raises StorageError: it is not there, or a part of it is missing.
    """
    with _readable(path):
        group = zarr.open_group(path, mode="r")
        for name in ("gradient", "square_norm"):
            group[name]
        return group


class Reader:
    """One array of the group at `path`, or its first `rows` rows, to be sliced by rows.

    A slice that cannot be read raises StorageError.
    """

    def __init__(self, group: zarr.Group, name: str, path: Path | str, rows: int | None = None):
        self._array, self._path = group[name], path
        self.shape = (self._array.shape[0] if rows is None else rows, *self._array.shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        with _readable(self._path):
            return self._array[start:stop]


@contextlib.contextmanager
def _readable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"cannot read the gradients in {path} ({error}). Delete the folder "
            "and start snakemake again: they will be made anew."
        ) from error


def rows(gradient: np.ndarray, index: np.ndarray, copy: np.ndarray, attrs: dict) -> xr.Dataset:
    """Some rows as a Dataset: `gradient` (sample, weight), `sample` the index of the example.

    `copy` (sample) tells which of its augmentations it is, from 0; 0 where there is none.
    """
    return xr.Dataset(
        {"gradient": (("sample", "weight"), gradient, {"units": UNITS})},
        coords={
            "sample": ("sample", index, {"long_name": "index of the training example"}),
            "copy": ("sample", copy, {"long_name": "index of its augmentation"}),
        },
        attrs=attrs | {"definition": DEFINITION},
    )
