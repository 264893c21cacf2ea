"""Shape of a fully connected network, and where its weights stand in the arrays of the loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from limitcycles.errors import LimitcyclesError
from limitcycles.fused.kernels import compiled
from limitcycles.fused.simd import LANES


@compiled
def padded(units):
    """The next multiple of 16: numbers in a row of a layer with that many units."""
    return (units + LANES - 1) // LANES * LANES


class FusedError(LimitcyclesError):
    """A network, data or options that the compiled loops cannot take."""


@dataclass(frozen=True)
class Layers:
    """Shape of a network of linear layers, each but the last followed by [batch norm,] ReLU.

    `units` (layers + 1,) int64 from the pixels to the classes, `normed` (layers,) int64: 1 where
    batch normalisation follows, `eps` and `momentum` those of all batch normalisations.
    """

    units: np.ndarray
    normed: np.ndarray
    eps: float
    momentum: float

    @property
    def weights(self) -> int:
        """d, the number of weights: W, b, then scale and shift, layer by layer."""
        outputs = self.units[1:]
        return int((outputs * (self.units[:-1] + 1) + 2 * self.normed * outputs).sum())

    @property
    def moments(self) -> int:
        """Numbers of units with batch normalisation: as many running means, and variances."""
        return int((self.normed * self.units[1:]).sum())

    def places(self) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Where weights (d,) and moments stand in the padded arrays, and the lengths of those."""
        weights, moments, at, unit = [], [], 0, 0
        for inputs, outputs, normed in zip(
            self.units[:-1], self.units[1:], self.normed, strict=True
        ):
            width, here = padded(outputs), np.arange(outputs)
            weights.append((here[:, None] + np.arange(inputs) * width + at).ravel())
            for row in range(1 + 2 * normed):  # bias, scale, shift
                weights.append(at + (inputs + row) * width + here)
            at += (inputs + 1 + 2 * normed) * width
            if normed:
                moments.append(unit + here)
                unit += width
        none = np.empty(0, np.int64)
        return np.concatenate(weights), np.concatenate([none, *moments]), int(at), int(unit)

    def checked(self, images: np.ndarray, labels: np.ndarray, batch: int) -> np.ndarray:
        """The images as (examples, pixels) float32.

        Raises FusedError: images of another size, labels that are no classes of the network, or a
        batch of one example with batch normalisation.
        """
        images = np.ascontiguousarray(images.reshape(len(images), -1), np.float32)
        pixels, classes = int(self.units[0]), int(self.units[-1])
        if images.shape[1] != pixels:
            raise FusedError(
                f"the images have {images.shape[1]} pixels, the network takes {pixels}"
            )
        if len(labels) != len(images) or not 0 <= min(labels) <= max(labels) < classes:
            raise FusedError(
                f"{len(images)} images need as many labels of 0 to {classes - 1}; there are "
                f"{len(labels)}, of {min(labels)} to {max(labels)}"
            )
        if batch < 1 or (batch == 1 and self.moments):
            raise FusedError(f"a batch of {batch} has no variance for batch normalisation")
        return images

    @classmethod
    def of(cls, network: nn.Module) -> Layers:
        """Read the shape off a `torch.nn.Sequential`. Raises FusedError: other layers, or order."""
        layers = (
            [m for m in network if not isinstance(m, nn.Flatten)]
            if isinstance(network, nn.Sequential)
            else []
        )
        widths, normed, norms = [], [], []
        expected: tuple[type, ...] = (nn.Linear,)
        for layer in layers:
            if not isinstance(layer, expected):
                break
            if isinstance(layer, nn.Linear):
                if layer.bias is None or (widths and layer.in_features != widths[-1]):
                    break
                widths = widths or [layer.in_features]
                widths.append(layer.out_features)
                normed.append(0)
                expected = (nn.BatchNorm1d, nn.ReLU)
            elif isinstance(layer, nn.BatchNorm1d):
                if not (layer.affine and layer.track_running_stats and layer.momentum):
                    break
                normed[-1] = 1
                norms.append((layer.eps, layer.momentum))
                expected = (nn.ReLU,)
            else:
                expected = (nn.Linear,)
        else:
            if layers and isinstance(layers[-1], nn.Linear) and len(set(norms)) <= 1:
                eps, momentum = norms[0] if norms else (0.0, 0.0)
                return cls(np.array(widths), np.array(normed), eps, momentum)
        raise FusedError(
            "the compiled loops take a torch.nn.Sequential of linear layers with bias, each but "
            f"the last followed by BatchNorm1d (or none) and ReLU; this one is {network}"
        )
