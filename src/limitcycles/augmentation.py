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
    n, channels, height, width = images.shape
    top, left = torch.randint(2 * pad + 1, (2, n), generator=generator)
    mirrored = torch.randint(2, (n,), generator=generator).bool() & flip
    row = torch.arange(height) + top[:, None]
    column = torch.arange(width)
    column = torch.where(mirrored[:, None], column.flip(0), column) + left[:, None]
    image = torch.arange(n)[:, None, None]
    pixel = (image * (height + 2 * pad) + row[:, :, None]) * (width + 2 * pad) + column[:, None]
    # Channels last: what is picked is a run of channels.
    pixels = F.pad(images, [pad] * 4).permute(0, 2, 3, 1).reshape(-1, channels)
    picked = pixels.index_select(0, pixel.reshape(-1).to(images.device))
    return picked.view(n, height, width, channels).permute(0, 3, 1, 2)
