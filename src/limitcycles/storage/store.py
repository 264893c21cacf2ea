"""Zarr stores that xarray opens: datasets, runs and spectra as single .zarr.zip files.

Any program reads one with `xarray.open_zarr("zip::PATH")`.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import xarray as xr
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore, ZipStore

from limitcycles.storage.files import check_zip, replacing, unreadable
from limitcycles.storage.provenance import code_version

EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal data give equal files


def save(dataset: xr.Dataset, path: Path | str) -> None:
    """Write `dataset` to one zip file, whole or not at all, with `code_version` added.

    Equal datasets, with attributes in equal order, give equal bytes. Raises StorageError: no
    space, or no permission.
    """
    entries: dict = {}
    with warnings.catch_warnings():
        # Without it xarray warns each time a user opens the store.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        dataset.assign_attrs(code_version=code_version()).to_zarr(
            MemoryStore(entries), mode="w", consolidated=True, zarr_format=3
        )
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), entries[name].to_bytes())


def load(path: Path | str) -> xr.Dataset:
    """Read a whole store into memory; every byte is checked against its checksum.

    Raises StorageError: no such file, or one that is damaged.
    """
    try:
        check_zip(path)
        with ZipStore(path, mode="r") as store:
            return xr.open_zarr(store, chunks=None).load()
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from error


def save_parts(parts: Mapping[str, xr.Dataset], folder: Path | str) -> None:
    """Write each Dataset to `<folder>/<part>.zarr.zip`. Raises StorageError."""
    for name, part in parts.items():
        save(_with_plain_words(part), Path(folder) / f"{name}.zarr.zip")


def _with_plain_words(part: xr.Dataset) -> xr.Dataset:
    """Words as text of any length: Zarr 3 has no specification yet for text of a fixed length."""
    words = {name: v.astype(object) for name, v in part.variables.items() if v.dtype.kind == "U"}
    coords = {name: part[name].astype(object) for name in words if name in part.coords}
    return part.assign({n: v for n, v in words.items() if n not in coords}).assign_coords(coords)


def load_parts(folder: Path | str) -> dict[str, xr.Dataset]:
    """What `save_parts` wrote to a folder, by name. Raises StorageError: nothing there."""
    paths = sorted(Path(folder).glob("*.zarr.zip"))
    if not paths:
        raise unreadable(folder, FileNotFoundError("it holds no .zarr.zip file"))
    return {path.name.removesuffix(".zarr.zip"): load(path) for path in paths}


def load_snapshots(folders: Iterable[Path | str], percents: Iterable[int]) -> list[xr.Dataset]:
    """The stores `at<percent>.zarr.zip` of those percents in some folders, folder by folder."""
    paths = [Path(folder) / f"at{percent}.zarr.zip" for folder in folders for percent in percents]
    return [load(path) for path in paths if path.exists()]
