"""The spectrum of the diffusion matrix of a network at its weights, from its examples."""

from __future__ import annotations

import copy

import torch
import xarray as xr
from torch import Tensor, nn

from limitcycles.diffusion.per_sample import BLOCK, PerSampleGradients
from limitcycles.diffusion.row_source import SpectrumError
from limitcycles.diffusion.spectrum import of_rows, summarise
from limitcycles.runtime.devices import pick_device


def spectrum_of(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    exact_up_to: int = 14000,
    leading: int = 400,
    tolerance: float = 1e-4,
    memory_mib: float = 4096,
    seed: int = 0,
    device: str = "auto",
) -> xr.Dataset:
    """The spectrum of D (Eq. 2) for the cross-entropy of `network` in evaluation mode.

    Parameters
    ----------
    network: any module that `PerSampleGradients` takes; it is left as it is.
    inputs, targets: the N examples, (N, ...) and labels (N,) int64.
    exact_up_to: all eigenvalues, in float64, where min(N, d) is at most this, d the number of
        weights. Above it, `matrix_free`: the `leading` largest ones with a relative error of at
        most `tolerance`, and all above the paper's rank threshold, from a random start (`seed`).
    memory_mib: per-sample gradients that take more than half of it are computed anew in each pass.
    device: "auto" (CUDA where there is one), "cpu" or "cuda".

    Returns what `diffusion.spectrum.summarise` makes: `eigenvalue` with `error_bound`, both in
    gradient squared, `rank_curve`, and ranks, trace and `method` as attributes.

    Raises BatchCouplingError, NetworkError: as `PerSampleGradients`. Raises SpectrumError,
    UnresolvedError: as `Rows` and `matrix_free`, and where there is not one label an input.

    >>> import torch
    >>> from limitcycles import spectrum_of
    >>> network = torch.nn.Linear(3, 2)
    >>> inputs, labels = torch.randn(50, 3), torch.randint(2, (50,))
    >>> found = spectrum_of(network, inputs, labels)
    >>> found.method, found.sizes["index"], int(found.rank_float32)  # two classes: half of 8
    ('exact', 8, 4)
    """
    if len(inputs) != len(targets):
        raise SpectrumError(f"{len(targets)} labels for {len(inputs)} inputs: give one each")
    where = pick_device(device)
    gradients = _Gradients(copy.deepcopy(network).to(where), inputs, targets, where)
    samples, weights = gradients.shape
    fits = 2 * samples * weights * gradients.each.dtype.itemsize <= memory_mib * 2**20
    settings = {
        "exact_up_to": exact_up_to,
        "leading": leading,
        "tolerance": tolerance,
        "memory_mib": memory_mib / 2 if fits else memory_mib,
        "seed": seed,
    }
    return summarise(of_rows(gradients[:] if fits else gradients, settings, device))


class _Gradients:
    """An array (N, d) of per-sample gradients whose rows are computed when they are sliced."""

    def __init__(self, network: nn.Module, inputs: Tensor, targets: Tensor, where: torch.device):
        self.inputs, self.targets, self.where = inputs, targets, where
        self.each = PerSampleGradients(network, inputs.to(where), targets.to(where))
        self.shape = (len(inputs), self.each.weights)

    def __getitem__(self, rows: slice) -> Tensor:
        inputs, targets = self.inputs[rows], self.targets[rows]
        found = torch.empty(
            len(inputs), self.each.weights, dtype=self.each.dtype, device=self.where
        )
        blocks = (inputs.split(BLOCK), targets.split(BLOCK), found.split(BLOCK))
        for some, labels, out in zip(*blocks, strict=True):
            self.each(some.to(self.where), labels.to(self.where), out)
        return found
