"""A user's own dataset: a function named by its dotted path."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from limitcycles.configuration import plugins
from limitcycles.datasets.errors import DatasetError

_PARTS = ("train_images", "train_labels", "test_images", "test_labels")
_LARGEST = np.iinfo(np.int32).max


def load(dotted: str, options: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """Call `function(**options)` and check what it returns.

    It returns NumPy arrays (train_images, train_labels, test_images, test_labels). Images are
    (n, height, width) or (n, channel, height, width): uint8 grey levels, or floats already scaled
    as the network shall see them. In place of images there may be tokens: whole numbers from 0,
    (n, length), for a network that begins with an embedding. Labels are (n,) whole numbers from 0,
    without gaps.

    Returns train images, train labels, test images, test labels: images (n, channel, height, width)
    of uint8 or float32, tokens (n, length) of int32, labels int32.

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
        returned = function(**copy.deepcopy(dict(options)))  # it may change what it is given
    except (Exception, SystemExit) as error:
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
            f'source: "{dotted}": a train image has the shape {arrays[0].shape[1:]}, a test image '
            f"{arrays[2].shape[1:]}; they must be the same."
        )
    if arrays[0].dtype != arrays[2].dtype:
        raise DatasetError(
            f'source: "{dotted}": train_images are {arrays[0].dtype}, test_images '
            f"{arrays[2].dtype}; both must be uint8, or both floats."
        )
    _check_classes(arrays[1], arrays[3], f'source: "{dotted}"')
    return tuple(arrays)


def _images(array: Any, what: str) -> np.ndarray:
    _check_array(array, what)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        return _tokens(array, what)
    if array.ndim not in (3, 4):
        raise DatasetError(
            f"{what}: {_describe(array)}; give images of (n, height, width) or (n, channel, "
            "height, width), or tokens of (n, length) in int64."
        )
    if array.ndim == 3:
        array = array[:, np.newaxis]
    elif array.shape[3] in (1, 3, 4) and min(array.shape[1:3]) > 4:
        raise DatasetError(
            f"{what}: {_describe(array)}, which looks like (n, height, width, channel); give "
            "(n, channel, height, width): images.transpose(0, 3, 1, 2). Channels of so few pixels "
            "are given as (n, channel, 1, pixels)."
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise DatasetError(
            f"{what}: {_describe(array)}; give uint8 (0 to 255) or floats; only tokens of "
            "(n, length) are whole numbers of another type."
        )
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    bad = ~np.isfinite(array)
    if bad.any():
        examples = np.unique(np.nonzero(bad)[0])
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise DatasetError(
            f"{what}: {len(examples)} of {len(array)} have values that are not finite in float32, "
            f"first [{', '.join(map(str, first))}] (example, channel, row, column), which is "
            f"{array[first]}; mend or remove them."
        )
    return array


def _tokens(array: np.ndarray, what: str) -> np.ndarray:
    low, high = array.min(), array.max()
    if low < 0 or high > _LARGEST:
        raise DatasetError(
            f"{what}: tokens that run from {low} to {high}; number them from 0 to {_LARGEST} at "
            "most."
        )
    return np.ascontiguousarray(array, dtype=np.int32)


def _labels(array: Any, what: str) -> np.ndarray:
    _check_array(array, what)
    if array.ndim != 1:
        hint = " (of one-hot rows: labels.argmax(1))" if array.ndim == 2 else ""
        raise DatasetError(f"{what}: {_describe(array)}; give one of (n,){hint}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise DatasetError(f"{what}: {_describe(array)}; give whole numbers: labels.astype(int).")
    if array.min() < 0 or array.max() > _LARGEST:
        raise DatasetError(
            f"{what}: they run from {array.min()} to {array.max()}; number the classes from 0."
        )
    return array.astype(np.int32)


def _check_classes(train: np.ndarray, test: np.ndarray, what: str) -> None:
    """Raise DatasetError unless the labels are 0 to K - 1, each of some example."""
    largest = int(train.max())
    if test.max() > largest:
        raise DatasetError(
            f"{what}: test_labels run to {test.max()}, train_labels to {largest} only; leave such "
            "examples out, or give the training set some of each class."
        )
    found = np.union1d(train, test)
    if len(found) <= largest:
        expected = np.arange(len(found))
        first = int(expected[found != expected][0])
        raise DatasetError(
            f"{what}: no example has the label {first}, though labels run to {largest}; number the "
            f"{len(found)} classes from 0 to {len(found) - 1}: "
            "np.unique(labels, return_inverse=True)[1]."
        )


def _check_array(array: Any, what: str) -> None:
    if not isinstance(array, np.ndarray):
        near = {
            "Tensor": "tensor.numpy()",
            "list": "np.array(...)",
            "DataFrame": "frame.to_numpy()",
        }
        hint = near.get(type(array).__name__)
        raise DatasetError(
            f"{what}: {_describe(array)}; give a NumPy array{f': {hint}' if hint else ''}."
        )
    if np.ma.is_masked(array):
        raise DatasetError(
            f"{what}: {np.ma.count_masked(array)} of its entries are masked, which are no numbers; "
            "fill them, as with .filled(0), or leave the examples out."
        )
    if array.size == 0:
        raise DatasetError(f"{what}: {_describe(array)}; it must not be empty.")


def _describe(array: Any) -> str:
    if isinstance(array, np.ndarray):
        return f"it is {array.dtype} of shape {array.shape}"
    return f"it is a {type(array).__name__}"
