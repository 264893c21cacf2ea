"""Random flips and crops of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(images: Tensor, generator: torch.Generator, flip: bool, pad: int) -> Tensor:
    """A random flip and crop of each image, as the authors' code has them.

    Each image is padded by `pad` zeros on every side and cut to its old size, at one of the
    (2 pad + 1)² places with equal probability; with `flip`, left and right then change places with
    probability 1/2. Zero is a pixel's value after all that the dataset does to it.

    Parameters
    ----------
    images: shape (n, channel, height, width), any dtype, on any device.
    generator: of the CPU, so that all devices get the same images. It is asked for 3 n numbers
        whatever `flip` and `pad` are.

    Returns new images of the same shape, dtype and device, in channels-last memory.
    """
    return _changed(images, _draw(len(images), generator, flip, pad), pad)


class Copies:
    """All images `copies` times, each time augmented anew: `len` and slices are those of a tensor.

    Row a·n + i is image i of n in its copy a. What happens to each row is drawn here, by `augment`
    of all images, copy after copy; so the first copies are the same however many there are. Images
    are made when a slice asks for them. Parameters as for `augment`.
    """

    def __init__(self, images: Tensor, copies: int, generator: torch.Generator, **how):
        self._images, self._pad = images, how["pad"]
        self._changes = torch.cat(
            [_draw(len(images), generator, **how) for _ in range(copies)], dim=1
        )

    def __len__(self) -> int:
        return self._changes.shape[1]

    def __getitem__(self, rows: slice) -> Tensor:
        """Images of these rows, shape (rows, channel, height, width)."""
        index = torch.arange(*rows.indices(len(self)))
        images = self._images[(index % len(self._images)).to(self._images.device)]
        return _changed(images, self._changes[:, index], self._pad)


def _draw(n: int, generator: torch.Generator, flip: bool, pad: int) -> Tensor:
    """Row and column where each image is cut, and whether it is mirrored: (3, n) int64."""
    place = torch.randint(2 * pad + 1, (2, n), generator=generator)
    mirrored = torch.randint(2, (1, n), generator=generator) * flip
    return torch.cat([place, mirrored])


def _changed(images: Tensor, changes: Tensor, pad: int) -> Tensor:
    n, channels, height, width = images.shape
    top, left, mirrored = changes
    row = torch.arange(height) + top[:, None]
    column = torch.arange(width)
    column = torch.where(mirrored[:, None] == 1, column.flip(0), column) + left[:, None]
    image = torch.arange(n)[:, None, None]
    pixel = (image * (height + 2 * pad) + row[:, :, None]) * (width + 2 * pad) + column[:, None]
    # Channels last: what is picked is a run of channels.
    pixels = F.pad(images, [pad] * 4).permute(0, 2, 3, 1).reshape(-1, channels)
    picked = pixels.index_select(0, pixel.reshape(-1).to(images.device))
    return picked.view(n, height, width, channels).permute(0, 3, 1, 2)
