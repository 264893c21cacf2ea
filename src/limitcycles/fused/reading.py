"""The stores of trajectories, read: without the compiler and PyTorch, which only training needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from limitcycles.files import StorageError


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
    wrong = ~(np.abs(square_norm(weights) - known) <= 1e-9 * known)
    if wrong.any():
        raise StorageError(
            f"the trajectory is damaged at epoch {start + int(np.argmax(wrong))}. Delete it and "
            "start snakemake again: it will be made anew."
        )
    return weights


def square_norm(weights: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", weights, weights, dtype=np.float64)
