"""Datasets: from a published source, or a user's own function, to one labelled xarray.Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from limitcycles.configuration import plugins
from limitcycles.datasets import digits, idx, own, specification, transforms, whitening
from limitcycles.datasets.cache import default_cache, originals
from limitcycles.datasets.catalogue import CATALOGUES, Catalogue
from limitcycles.datasets.errors import DatasetError, UnreachableError
from limitcycles.datasets.sources import Log
from limitcycles.storage.files import user_path

__all__ = ["DatasetError", "build", "default_cache", "unreachable"]


@dataclass(frozen=True)
class _Loaded:
    """Train images, train labels, test images, test labels.

    Images are (n, channel, height, width); tokens, in their place, int32 (n, length).
    """

    arrays: tuple[np.ndarray, ...]
    source: str
    origin: str
    licence: str
    sha256: str


def build(
    spec: Mapping[str, Any],
    *,
    cache: Path | None = None,
    data_folder: Path | str | None = None,
    log: Log = print,
    catalogues: Mapping[str, Catalogue] = CATALOGUES,
) -> xr.Dataset:
    """The dataset of one entry of `datasets` in the config.

    The order of the steps: `classes`, `train_images_per_class`, `train_images` (the first n of what
    is left; the test images are all kept), `resize`, `pixels`, `whiten`. Labels are never
    renumbered.

    Parameters
    ----------
    spec
        source: digits, a name in `catalogues`, or "package.module:function" (see `own.load`, called
        with `options`); classes: labels kept, or null; train_images_per_class, train_images:
        numbers, or null; resize: {method: block-mean | bilinear | wrapped, size: pixels a side}, or
        null; pixels: unit (0 to 1) or raw (0 to 255); whiten: {regulariser: ε}, for
        `whitening.normalise_contrast` and then `whitening.zca` fitted on all training images, or
        null; optional: see `unreachable`, no part of the dataset.
    cache
        Folder for the downloaded originals; `default_cache()` where none is given.
    data_folder
        Folder with the original files, tried first; ~ and $VARIABLES are put in.
    log
        Told, a line at a time, where the data comes from.
    catalogues
        The published datasets.

    Returns
    -------
    xarray.Dataset
        train_image (train, channel, height, width) and test_image (test, ...) float32, or int64
        (train, position) where the source gives tokens; train_label (train) and test_label (test)
        int64. Attributes: source, origin (what delivered it), licence, sha256 (`idx.digest` of the
        decoded originals), spec (JSON).

    Raises
    ------
    DatasetError
        The specification cannot be met, or no source delivers.
    plugins.PluginError
        A dotted path that leads nowhere.
    files.StorageError
        `data_folder` or LIMITCYCLES_CACHE names an environment variable that is not set.
    """
    full = specification.complete(spec, ["digits", *catalogues])
    data_folder = _folder(data_folder)
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
    images = [_scaled(train[0], full), _scaled(test[0], full)]
    if full["whiten"] is not None:
        whole = None if len(train[0]) == len(train_images) else _scaled(train_images, full)
        _whiten(images, whole, full["whiten"]["regulariser"], log)
    units = "token" if images[0].ndim == 2 else _units(train[0].dtype, full)
    return xr.Dataset(
        {
            **_variables("train", images[0], train[1], units),
            **_variables("test", images[1], test[1], units),
        },
        attrs={
            "source": loaded.source,
            "origin": loaded.origin,
            "licence": loaded.licence,
            "sha256": loaded.sha256,
            "spec": specification.canonical(full),
        },
    )


def unreachable(
    spec: Mapping[str, Any],
    *,
    cache: Path | None = None,
    data_folder: Path | str | None = None,
    log: Log = print,
    catalogues: Mapping[str, Catalogue] = CATALOGUES,
) -> str | None:
    """Why the originals of a dataset cannot be had on this machine; None where they can.

    The originals are fetched into the cache as `build` would. The parameters are those of `build`.
    The first line is short; the lines after it list each attempt and what to do. What ships with a
    library, or comes from a function of the user's own, is never unreachable.

    Raises
    ------
    DatasetError
        The specification is wrong, the user's own folder is not there or has damaged files and no
        other source delivers, or the cache cannot be written: all of them are the user's to mend.
    """
    source = specification.complete(spec, ["digits", *catalogues])["source"]
    data_folder = _folder(data_folder)
    if source not in catalogues:
        return None
    try:
        originals(
            catalogues[source], cache=cache or default_cache(), data_folder=data_folder, log=log
        )
    except UnreachableError as error:
        return str(error)
    return None


def _folder(data_folder: Path | str | None) -> Path | None:
    return None if data_folder is None else user_path(str(data_folder), "data_folder")


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
        if arrays[0].ndim == 2:
            _check_tokens(full)
        else:
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


def _with_channel(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Grey images (n, height, width) as (n, 1, height, width); the other arrays as they are."""
    return tuple(array[:, np.newaxis] if array.ndim == 3 else array for array in arrays)


def _check_tokens(full: Mapping[str, Any]) -> None:
    """Tokens are names, not quantities: there is nothing to average, scale or whiten."""
    for key in ("resize", "whiten"):
        if full[key] is not None:
            raise DatasetError(
                f'{key}: {full[key]}: "{full["source"]}" gives tokens, not images; write null.'
            )


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


def _scaled(images: np.ndarray, full: Mapping[str, Any]) -> np.ndarray:
    """Images after `resize` and `pixels`, float32; tokens as they are, int64."""
    if images.ndim == 2:
        return images.astype(np.int64)
    pixels = full["pixels"] if images.dtype == np.uint8 else "raw"
    if full["resize"] is not None:
        images = transforms.RESIZE[full["resize"]["method"]](images, full["resize"]["size"])
    return transforms.scale(images, pixels)


def _whiten(
    images: list[np.ndarray], whole: np.ndarray | None, regulariser: float, log: Log
) -> None:
    """Train and test images of the list, each replaced, so that few copies are held at a time.

    Fitted on `whole`, all training images of the source, so that the images that two subsets share
    are the same in both; None where the list has them all.
    """
    log(f"global contrast normalisation and ZCA whitening, regulariser {regulariser:g}")
    for index, part in enumerate(images):
        images[index] = whitening.normalise_contrast(part)
    fit_on = images[0] if whole is None else whitening.normalise_contrast(whole)
    fitted = whitening.zca(fit_on, regulariser)
    for index, part in enumerate(images):
        images[index] = fitted(part)


def _units(given: np.dtype, full: Mapping[str, Any]) -> str:
    if full["whiten"] is not None or full["pixels"] == "unit":
        return "1"
    return "grey level (0 to 255)" if given == np.uint8 else "own"


def _variables(
    split: str, images: np.ndarray, labels: np.ndarray, units: str
) -> dict[str, xr.Variable]:
    axes = ("position",) if images.ndim == 2 else ("channel", "height", "width")
    return {
        f"{split}_image": xr.Variable(
            (split, *axes),
            images,
            {"long_name": f"{split} images", "units": units},
        ),
        f"{split}_label": xr.Variable(
            (split,),
            labels.astype(np.int64),
            {"long_name": f"{split} labels", "units": "class"},
        ),
    }
