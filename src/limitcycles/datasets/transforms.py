"""What is done to the originals: a subset, a resize, the scale of the pixels.

Images are (n, channel, height, width); grey levels run from 0 to 255 until `scale`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from limitcycles.datasets.errors import DatasetError

PIXELS = ("unit", "raw")


def select(
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int] | None,
    first: int | None = None,
    per_class: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the given classes, the first `per_class` of each, the `first` of those.

    They keep their order. None stands for all.

    Labels keep their numbers: the authors' {0, 1} subset has a 10-way output.

    Raises
    ------
    DatasetError
        A class that the labels do not have, or more images asked for than there are.
    """
    if classes is not None:
        known = np.unique(labels)
        missing = sorted(set(classes) - set(known.tolist()))
        if missing or not classes:
            raise DatasetError(
                f"classes: {list(classes)}: the dataset has the labels {known.tolist()}; "
                "give a list of some of those, or null for all."
            )
        kept = np.isin(labels, classes)
        images, labels = images[kept], labels[kept]
    if per_class is not None:
        fewest = int(np.unique(labels, return_counts=True)[1].min())
        if not 1 <= per_class <= fewest:
            raise DatasetError(
                f"train_images_per_class: {per_class}: give a number from 1 to {fewest}, the "
                "training images of the smallest class, or null for all."
            )
        of_each = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
        kept = np.sort(np.concatenate(of_each))
        images, labels = images[kept], labels[kept]
    if first is not None:
        if not 1 <= first <= len(labels):
            raise DatasetError(
                f"train_images: {first}: give a number from 1 to {len(labels)}, the training "
                "images there are, or null for all."
            )
        images, labels = images[:first], labels[:first]
    return images, labels


def block_mean(images: np.ndarray, size: int) -> np.ndarray:
    """The mean of each block of pixels, float32 (n, channel, size, size); exact for bytes.

    28x28 to 7x7 takes the means of 4x4 blocks. Raises DatasetError where the size does not divide
    height and width.
    """
    n, channel, height, width = images.shape
    if height % size or width % size:
        raise DatasetError(
            f"resize: method block-mean, size {size}: it does not divide the {height}x{width} "
            "pixels of the originals; choose a size that does, or the method bilinear."
        )
    blocks = images.reshape(n, channel, size, height // size, size, width // size)
    return blocks.mean(axis=(3, 5), dtype=np.float64).astype(np.float32)


def bilinear(images: np.ndarray, size: int) -> np.ndarray:
    """Bilinear resize, float32 (n, channel, size, size), without rounding to grey levels.

    Downwards the triangle filter is widened to the scale (antialias), so that no pixel is skipped.
    """
    found = interpolate(
        torch.from_numpy(images.astype(np.float32)),
        size=(size, size),
        mode="bilinear",
        antialias=True,
    ).numpy()
    # Means of pixels lie between them; rounding in float32 must not carry one outside.
    return found.clip(images.min(), images.max())


def wrapped(images: np.ndarray, size: int) -> np.ndarray:
    """A resize consistent with the one in the authors' code, float32 (n, channel, size, size).

    The originals were floats x from 0 to 255. The conversion to a PIL image of that day takes
    floats to run from 0 to 1: it multiplies them by 255 and casts to a byte, which keeps the low
    eight bits. A whole x becomes

        255 x mod 256 = (256 - x) mod 256,

    so 0 stays 0, the full ink 255 becomes 1, and the half-tones at the rim of a stroke stay grey:
    pictures of edges. Then comes PIL's bilinear resize of bytes: the triangle filter widened to
    the scale, along the rows first, then the columns, each rounded to bytes, with weights that are
    whole multiples of 2^-22. The bytes are those of Pillow 13.0.

    Whether the paper's figures come from this is not known: the data behind them is not public.

    Raises
    ------
    DatasetError
        The images are not bytes, so there is nothing to wrap around.
    """
    if images.dtype != np.uint8:
        raise DatasetError(
            f"resize: method wrapped: it needs images of uint8, these are {images.dtype}; "
            "use the method bilinear or block-mean."
        )
    height, width = images.shape[2:]
    turned = np.negative(images).astype(np.int32)  # in bytes, -x is 256 - x mod 256
    rows = _round_off(turned @ _pil_weights(width, size).T)
    return _round_off(_pil_weights(height, size) @ rows).astype(np.float32)


_PIL_BITS = 22


def _pil_weights(old: int, new: int) -> np.ndarray:
    """Triangle filter from old to new pixels, (new, old) int32 in units of 2^-22."""
    step = old / new
    centres = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old) + 0.5 - centres[:, np.newaxis]) / max(step, 1.0)
    weights = np.clip(1 - distance, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.floor(weights * 2**_PIL_BITS + 0.5).astype(np.int32)


def _round_off(sums: np.ndarray) -> np.ndarray:
    """Sums of weighted bytes back to whole grey levels; they stay below 2^31."""
    return (sums + (1 << (_PIL_BITS - 1))) >> _PIL_BITS


RESIZE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "block-mean": block_mean,
    "bilinear": bilinear,
    "wrapped": wrapped,
}


def scale(images: np.ndarray, pixels: str) -> np.ndarray:
    """Grey levels 0 to 255 as float32: as they are ("raw"), or in [0, 1] ("unit")."""
    images = images.astype(np.float32)
    return images / np.float32(255) if pixels == "unit" else images
