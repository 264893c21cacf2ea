"""Datasets: from a published source, or a user's own function, to one labelled xarray.Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from limitcycles import plugins
from limitcycles.datasets import digits, idx, own, specification, transforms
from limitcycles.datasets.cache import default_cache, originals
from limitcycles.datasets.catalogue import CATALOGUES, Catalogue
from limitcycles.datasets.errors import DatasetError
from limitcycles.datasets.sources import Log

__all__ = ["DatasetError", "build", "default_cache"]


@dataclass(frozen=True)
class _Loaded:
    """Train images, train labels, test images, test labels; images (n, channel, height, width)."""

    arrays: tuple[np.ndarray, ...]
    source: str
    origin: str
    licence: str
    sha256: str


def build(
    spec: Mapping[str, Any],
    *,
    cache: Path | None = None,
    data_folder: Path | None = None,
    log: Log = print,
    catalogues: Mapping[str, Catalogue] = CATALOGUES,
) -> xr.Dataset:
    """The dataset of one entry of `datasets` in the config.

    The order of the steps: `classes`, `train_images_per_class`, `train_images` (the first n of what
    is left; the test images are all kept), `resize`, `pixels`. Labels are never renumbered.

    Parameters
    ----------
    spec
        source: digits, mnist, fashion-mnist, or "package.module:function" (see `own.load`, called
        with `options`); classes: labels kept, or null; train_images_per_class, train_images:
        numbers, or null; resize: {method: block-mean | bilinear | wrapped, size: pixels a side}, or
        null; pixels: unit (0 to 1) or raw (0 to 255).
    cache
        Folder for the downloaded originals; `default_cache()` where none is given.
    data_folder
        Folder with the original files, tried first.
    log
        Told, a line at a time, where the data comes from.
    catalogues
        The published datasets.

    Returns
    -------
    xarray.Dataset
        train_image (train, channel, height, width) and test_image (test, ...) float32;
        train_label (train) and test_label (test) int64. Attributes: source, origin (what
        delivered it), licence, sha256 (`idx.digest` of the decoded originals), spec (JSON).

    Raises
    ------
    DatasetError
        The specification cannot be met, or no source delivers.
    plugins.PluginError
        A dotted path that leads nowhere.
    """
    full = specification.complete(spec, ["digits", *catalogues])
    loaded = _load(full, catalogues, cache, data_folder, log)
    train_images, train_labels, test_images, test_labels = loaded.arrays
    train = transforms.select(
        train_images,
        train_labels,
        full["classes"],
        full["train_images"],
        full["train_images_per_class"],
    )
    test = transforms.select(test_images, test_labels, full["classes"])
    return xr.Dataset(
        {**_variables("train", *train, full), **_variables("test", *test, full)},
        attrs={
            "source": loaded.source,
            "origin": loaded.origin,
            "licence": loaded.licence,
            "sha256": loaded.sha256,
            "spec": specification.canonical(full),
        },
    )


def _load(
    full: Mapping[str, Any],
    catalogues: Mapping[str, Catalogue],
    cache: Path | None,
    data_folder: Path | None,
    log: Log,
) -> _Loaded:
    source = full["source"]
    if plugins.is_dotted(source):
        log(f"calling {source}")
        arrays = own.load(source, full["options"])
        _check_scale(arrays, full)
        return _Loaded(arrays, source, source, "not stated", idx.digest(arrays))
    if source == "digits":
        log("digits: read from scikit-learn")
        arrays = _with_channel(*digits.load())
        return _Loaded(arrays, digits.CITATION, "scikit-learn", digits.LICENCE, digits.SHA256)
    entry = catalogues[source]
    got = originals(entry, cache=cache or default_cache(), data_folder=data_folder, log=log)
    arrays = _with_channel(*got.arrays)
    return _Loaded(arrays, entry.citation, got.origin, entry.licence, got.sha256)


def _with_channel(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Grey images (n, height, width) as (n, 1, height, width)."""
    return train_images[:, np.newaxis], train_labels, test_images[:, np.newaxis], test_labels


def _check_scale(arrays: tuple[np.ndarray, ...], full: Mapping[str, Any]) -> None:
    """A user's own floats are never rescaled, so `unit` must already be true of them."""
    for images in (arrays[0], arrays[2]):
        inside = images.min() >= 0 and images.max() <= 1
        if images.dtype != np.uint8 and full["pixels"] == "unit" and not inside:
            raise DatasetError(
                f'pixels: unit: the float images of "{full["source"]}" run from '
                f"{images.min():g} to {images.max():g}; return floats in [0, 1], or say "
                "pixels: raw to leave them as they are."
            )


def _variables(
    split: str, images: np.ndarray, labels: np.ndarray, full: Mapping[str, Any]
) -> dict[str, xr.Variable]:
    bytes_given = images.dtype == np.uint8
    if full["resize"] is not None:
        images = transforms.RESIZE[full["resize"]["method"]](images, full["resize"]["size"])
    images = transforms.scale(images, full["pixels"] if bytes_given else "raw")
    units = "1" if full["pixels"] == "unit" else "grey level (0 to 255)" if bytes_given else "own"
    return {
        f"{split}_image": xr.Variable(
            (split, "channel", "height", "width"),
            images,
            {"long_name": f"{split} images", "units": units},
        ),
        f"{split}_label": xr.Variable(
            (split,),
            labels.astype(np.int64),
            {"long_name": f"{split} labels", "units": "class"},
        ),
    }
