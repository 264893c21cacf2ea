"""Shape of a fully connected network, and where its weights stand in the arrays of the loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training.compiled.compiling import compiled
from limitcycles.training.compiled.simd import LANES
from limitcycles.training.plain import why_not_plain


@compiled
def padded(units):
    """The next multiple of 16: numbers in a row of a layer with that many units."""
    return (units + LANES - 1) // LANES * LANES


class CompiledError(LimitcyclesError):
    """A network, data or options that the compiled loops cannot take."""


KINDS = nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU
NEXT = {  # what may follow what, Flatten aside
    type(None): (nn.Linear,),
    nn.Linear: (nn.BatchNorm1d, nn.ReLU),
    nn.BatchNorm1d: (nn.ReLU,),
    nn.ReLU: (nn.Linear,),
}


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

        Raises CompiledError: images of another size, labels that are no classes of the network, or
        a batch of one example with batch normalisation.
        """
        if not np.issubdtype(images.dtype, np.floating):
            raise CompiledError(
                f"the inputs are {images.dtype}, tokens for an embedding; a trajectory takes images"
            )
        images = np.ascontiguousarray(images.reshape(len(images), -1), np.float32)
        pixels, classes = int(self.units[0]), int(self.units[-1])
        if images.shape[1] != pixels:
            raise CompiledError(
                f"the images have {images.shape[1]} pixels, the network takes {pixels}"
            )
        if len(labels) != len(images) or not 0 <= min(labels) <= max(labels) < classes:
            raise CompiledError(
                f"{len(images)} images need as many labels of 0 to {classes - 1}; there are "
                f"{len(labels)}, of {min(labels)} to {max(labels)}"
            )
        if batch < 1 or (batch == 1 and self.moments):
            raise CompiledError(f"a batch of {batch} has no variance for batch normalisation")
        return images

    @classmethod
    def of(cls, network: nn.Module) -> Layers:
        """Read the shape off a plain sequence (`limitcycles.training.plain`) of float32 layers.

        Raises CompiledError: any other network; names the first layer that is not as it must be.
        """
        if (why := why_not_plain(network, KINDS)) is None:
            widths, normed, norms, before = [], [], [], None
            for path, layer in network._modules.items():
                why = _why_not_here(layer, before, widths, norms)
                if why is not None:
                    why = f"layer {path} ({type(layer).__name__}) {why}"
                    break
                if type(layer) is nn.Linear:
                    widths = widths or [layer.weight.shape[1]]
                    widths.append(layer.weight.shape[0])
                    normed.append(0)
                elif type(layer) is nn.BatchNorm1d:
                    normed[-1] = 1
                    norms.append((layer.eps, layer.momentum))
                if type(layer) is not nn.Flatten:
                    before = layer
            else:
                if type(before) is nn.Linear:
                    eps, momentum = norms[0] if norms else (0.0, 0.0)
                    return cls(np.array(widths), np.array(normed), eps, momentum)
                end = "nothing" if before is None else type(before).__name__
                why = f"it ends with {end} where Linear would"
        raise CompiledError(
            "the compiled loops take a torch.nn.Sequential of linear layers with bias, each but "
            f"the last followed by BatchNorm1d (or none) and ReLU; here, {why}. Change it, or "
            "train it as a run, without a trajectory."
        )


def _why_not_here(
    layer: nn.Module, before: nn.Module | None, widths: list[int], norms: list[tuple]
) -> str | None:
    """Why this layer cannot follow `before`, the units `widths` and the (eps, momentum) `norms`."""
    if type(layer) is nn.Flatten:
        given = layer.start_dim, layer.end_dim
        return None if given == (1, -1) else f"has start_dim, end_dim {given}, not (1, -1)"
    if type(layer) not in NEXT[type(before)]:
        allowed = " or ".join(kind.__name__ for kind in NEXT[type(before)])
        return f"stands where {allowed} would"
    for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"has a {name} of {tensor.dtype}, not float32"
    if type(layer) is nn.Linear:
        if layer.bias is None:
            return "has no bias"
        outputs, inputs = layer.weight.shape
        if layer.bias.shape != (outputs,):
            return f"has {outputs} outputs and a bias of shape {tuple(layer.bias.shape)}"
        if widths and inputs != widths[-1]:
            return f"takes {inputs} numbers and gets {widths[-1]}"
    if type(layer) is nn.BatchNorm1d:
        if not (layer.affine and layer.track_running_stats):
            return "needs affine=True and track_running_stats=True"
        if not layer.momentum:
            return f"has momentum={layer.momentum}; it must be a number above 0"
        its = layer.weight, layer.bias, layer.running_mean, layer.running_var
        if any(t.shape != (widths[-1],) for t in its):
            return f"takes {layer.num_features} numbers and gets {widths[-1]}"
        if norms and (layer.eps, layer.momentum) != norms[0]:
            return f"has other eps and momentum than the first, {norms[0]}"
    return None
