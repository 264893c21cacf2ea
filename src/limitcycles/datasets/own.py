"""A user's own dataset: a function named by its dotted path."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from limitcycles import plugins
from limitcycles.datasets.errors import DatasetError

_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def load(dotted: str, options: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """Call `function(**options)` and check what it returns.

    It returns NumPy arrays (train_images, train_labels, test_images, test_labels). Images are
    (n, height, width) or (n, channel, height, width): uint8 grey levels, or floats already scaled
    as the network shall see them. Labels are (n,) whole numbers from 0.

    Returns train images, train labels, test images, test labels: images (n, channel, height, width)
    of uint8 or float32, labels int32.

    Raises
    ------
    DatasetError
        The function fails, or an array has a wrong type, shape or value.
    plugins.PluginError
        There is no such function.
    """
    function = plugins.resolve(dotted)
    if not callable(function):
        raise DatasetError(f'source: "{dotted}" is no function but {type(function).__name__}.')
    try:
        returned = function(**options)
    except Exception as error:
        raise DatasetError(
            f'source: "{dotted}" called with the options {dict(options)} failed: '
            f"{type(error).__name__}: {error}."
        ) from error
    if not isinstance(returned, tuple | list) or len(returned) != 4:
        raise DatasetError(f'source: "{dotted}" must return the four arrays ({", ".join(_PARTS)}).')
    arrays = []
    for name, array in zip(_PARTS, returned, strict=True):
        check = _images if name.endswith("images") else _labels
        arrays.append(check(array, f'source: "{dotted}": {name}'))
    for split, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if len(images) != len(labels):
            raise DatasetError(
                f'source: "{dotted}": there are {len(images)} {split}_images but '
                f"{len(labels)} {split}_labels; give one label for each image."
            )
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise DatasetError(
            f'source: "{dotted}": train_images have (channel, height, width) '
            f"{arrays[0].shape[1:]}, test_images {arrays[2].shape[1:]}; they must be the same."
        )
    if arrays[0].dtype != arrays[2].dtype:
        raise DatasetError(
            f'source: "{dotted}": train_images are {arrays[0].dtype}, test_images '
            f"{arrays[2].dtype}; both must be uint8, or both floats."
        )
    return tuple(arrays)


def _images(array: Any, what: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim not in (3, 4) or 0 in array.shape:
        raise DatasetError(
            f"{what}: {_describe(array)}; give a NumPy array of (n, height, width) or "
            "(n, channel, height, width) that is not empty."
        )
    if array.ndim == 3:
        array = array[:, np.newaxis]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise DatasetError(f"{what}: {_describe(array)}; give uint8 (0 to 255) or floats.")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise DatasetError(f"{what}: it has values that are not finite in float32; remove them.")
    return array


def _labels(array: Any, what: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or len(array) == 0:
        raise DatasetError(f"{what}: {_describe(array)}; give a NumPy array of (n,), not empty.")
    if not np.issubdtype(array.dtype, np.integer):
        raise DatasetError(f"{what}: {_describe(array)}; give whole numbers (int64).")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise DatasetError(
            f"{what}: they run from {array.min()} to {array.max()}; number the classes from 0."
        )
    return array.astype(np.int32)


def _describe(array: Any) -> str:
    if isinstance(array, np.ndarray):
        return f"it is {array.dtype} of shape {array.shape}"
    return f"it is a {type(array).__name__}"
